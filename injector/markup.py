"""Makes a page safe for the parser: refuses what takes more than linear time, removes what holds no facts.

The HTML tree builder is not linear: a tag of 120,000 attributes takes 22 seconds, 40,000 nested elements take
2 seconds, 10,000 options of one `<select>` 1 second, and 16 KB of `<b>` and `<p>` take 660 MB, because each
open `<b>` is created again for each `<p>` (HTML §13.2.4.3). So the tags are counted first, once and in linear
time. Scripts, styles, comments, SVG and MathML are emptied in the same pass: the parser never sees their
content, and never enters the tokenizer states in which tags are read differently than here.
"""

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

SIZE: Final = 2 * 1024 * 1024
"""Maximum length of a page, in characters."""

TAGS: Final = 60_000
"""Maximum number of tags in a page. 512 KB of nothing but product tiles have 50,000."""

ATTRIBUTES: Final = 256  # also in _TAG
"""Maximum number of attributes of one tag; the parser compares each with all before it."""

ROOTS: Final = 16
"""Maximum number of `<html>` and `<body>` tags: the parser merges the attributes of all into the first."""

NODES: Final = 500_000
STEPS: Final = 20_000_000
"""Maximum cost of a page: the number of its tags times the depth to which it nests formatting elements
(`NODES`) and other elements (`STEPS`). The largest category pages reach a tenth of that."""

OPTIONS: Final = 5_000_000
"""Maximum cost of options: each costs as many steps as there are options before it in its `<select>`."""

_TAG: Final = re.compile(
    r"""<(?:
      (?P<comment> !--(?:-?>|(?s:.*?)(?:--!?>|\Z)) )
    | (?P<bogus> (?:[!?]|/(?![a-z]))[^>]*+>? )
    | (?P<end> /?)(?P<name> [a-z][^\t\n\f\r\x20/>]*+ )
      (?:  [\t\n\f\r\x20/]*+ [^\t\n\f\r\x20/>] [^\t\n\f\r\x20/>=]*+
           (?: [\t\n\f\r\x20]*+ = [\t\n\f\r\x20]*+
               (?: "[^"]*+(?:"|\Z) | '[^']*+(?:'|\Z) | [^\t\n\f\r\x20>"'][^\t\n\f\r\x20>]*+ )?+ )?+
      ){0,256}+
      (?P<more> [\t\n\f\r\x20/]*+ [^\t\n\f\r\x20/>] )?+
      [\t\n\f\r\x20/]*+ >?
    )""",
    re.ASCII | re.IGNORECASE | re.VERBOSE,
)

_EMPTIED: Final = frozenset(["iframe", "math", "noembed", "noframes", "script", "style", "svg", "xmp"])
_TEXT: Final = frozenset(("textarea", "title"))
_END: Final = {
    name: re.compile(rf"</{name}(?=[\t\n\f\r />])", re.ASCII | re.IGNORECASE) for name in _EMPTIED | _TEXT
}
_FORMATTING_NAMES: Final = "a b big code em font i nobr s small strike strong tt u"
_FORMATTING: Final = frozenset(_FORMATTING_NAMES.split())
# Elements without an end tag, or whose end tag may be omitted: they nest only inside other elements.
_FLAT_NAMES: Final = (
    "area base br col embed hr img input link meta param source track wbr keygen frame image p li dt "
    "dd option optgroup tr td th thead tbody tfoot colgroup rt rp html head body plaintext"
)
_FLAT: Final = frozenset(_FLAT_NAMES.split())
_LINKED: Final = re.compile(
    r"[\s/\"']type\s*=\s*[\"']?\s*application/ld\+json\s*[;\"'\s/>]", re.ASCII | re.IGNORECASE
)


_JSON: Final = re.compile(
    r"[\s/\"']type\s*=\s*[\"']?\s*application/json\s*[;\"'\s/>]", re.ASCII | re.IGNORECASE
)
_ID: Final = re.compile(r"[\s/\"']id\s*=\s*[\"']?([A-Za-z0-9_:.-]{1,100})[\"'\s/>]", re.ASCII | re.IGNORECASE)
DATA: Final = 50
"""Maximum number of scripts of JSON that are kept."""


class PageError(ValueError):
    """The page is too costly to parse; the message says why."""


@dataclass(slots=True)
class Markup:
    """`text` is the input for the parser, `linked` the JSON-LD scripts in document order, `data` the other
    scripts of JSON by their ids."""

    text: str
    linked: list[str] = field(default_factory=list)
    data: dict[str, str] = field(default_factory=dict)


def safe_markup(page: str) -> Markup:
    """The page without parts that hold no facts. Raises PageError if parsing it would cost too much."""
    if len(page) > SIZE:
        raise PageError(f"the page has {len(page)} characters; at most {SIZE} are read")
    cost, pieces, linked, data = _Cost(), [], [], dict[str, str]()
    kept = at = 0  # offsets: copied to `pieces` up to `kept`, read up to `at`
    while (tag := _TAG.search(page, at)) is not None:
        at = tag.end()
        name = (tag["name"] or "").lower()
        if not name or name == "plaintext":
            pieces.append(page[kept : tag.start()])
            kept = at
            continue
        cost.count(name, ends=bool(tag["end"]), more=tag["more"] is not None)
        end = _END.get(name)
        if tag["end"] or end is None:
            continue
        if name in ("svg", "math") and page.endswith("/>", 0, at):
            pieces.append(f"{page[kept : tag.start()]}<{name}></{name}>")
            kept = at
            continue
        closing = end.search(page, at)
        content = page[at : closing.start() if closing else len(page)]
        if name == "script" and _LINKED.search(tag[0]):
            linked.append(content)
        elif name == "script" and len(data) < DATA and _JSON.search(tag[0]) and (named := _ID.search(tag[0])):
            data.setdefault(named[1], content)
        pieces.append(page[kept:at])
        if name in _TEXT:
            pieces.append(content.replace("<", "&lt;"))
        kept = at = at + len(content)
    cost.check()
    pieces.append(page[kept:])
    return Markup("".join(pieces), linked, data)


class _Cost:
    """The parser's cost for the tags read so far."""

    def __init__(self) -> None:
        self._tags = self._roots = self._options = self._option_steps = 0
        self._open: Counter[str] = Counter()
        self._depth, self._deepest = [0, 0], [0, 0]  # of other elements, of formatting elements

    def count(self, name: str, *, ends: bool, more: bool) -> None:
        """Count one tag. Raises PageError."""
        self._tags += 1
        if self._tags > TAGS:
            raise PageError(f"the page has more than {TAGS} tags")
        if more:
            raise PageError(f"a tag <{name[:20]}> has more than {ATTRIBUTES} attributes")
        if name in _FLAT:
            if not ends:
                self._flat(name)
            return
        kind = name in _FORMATTING
        if ends:
            if self._open[name]:
                self._open[name] -= 1
                self._depth[kind] -= 1
        elif name not in ("a", "nobr") or not self._open[name]:  # a second <a> or <nobr> closes the first
            self._open[name] += 1
            self._depth[kind] += 1
            self._deepest[kind] = max(self._deepest[kind], self._depth[kind])
            if name == "select":
                self._options = 0

    def _flat(self, name: str) -> None:
        if name == "option":
            self._options += 1
            self._option_steps += self._options if self._open["select"] else 0
        elif name in ("html", "body"):
            self._roots += 1

    def check(self) -> None:
        """Raises PageError if the cost is too high."""
        if self._roots > ROOTS:
            raise PageError(f"the page has more than {ROOTS} tags <html> and <body>")
        if self._option_steps > OPTIONS:
            raise PageError("a <select> of the page has too many options")
        if self._tags * self._deepest[0] > STEPS or self._tags * self._deepest[1] > NODES:
            raise PageError(
                f"the page nests {self._tags} tags up to {sum(self._deepest)} levels deep, too many to parse"
            )
