"""Facts read off a copy of a page, after its bytes were sent: selectors, structured data, the title.

What is found here is a hint from a page that anybody could have written; it is never the truth about money.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from selectolax.lexbor import LexborHTMLParser, LexborNode, SelectolaxError

from .charsets import decoded
from .linked import LinkedData, linked_data
from .markup import Markup, safe_markup

MATCHES: Final = 20
"""Most elements of a selector that are looked at for a text."""

TEXT: Final = 10_000
"""Longest text returned, in characters."""

# Elements whose value stands in an attribute (HTML §5.2.4 and, for forms, §4.10.5).
_VALUES: Final = {"data": "value", "input": "value", "meta": "content"}

# An edge of one of these between two characters is seen as nothing at all; that of any other parts them.
_INLINE_NAMES: Final = (
    "a abbr b bdi bdo big cite code data em font i ins label mark q small span strong sub sup time tt u var"
)
_INLINE: Final = frozenset(_INLINE_NAMES.split())
_NOT_SHOWN: Final = frozenset(["script", "style", "template", "noscript", "datalist"])

EDGE: Final = "\ufdd0"
"""Stands in `Shown.text` where an inline element begins or ends."""

RAISED: Final = "\ufdd1"
"""Stands in `Shown.text` where a `<sup>` begins."""

_MARKS: Final = dict.fromkeys(map(ord, (EDGE, RAISED)))


@dataclass(frozen=True, slots=True)
class Shown:
    """What an element shows: its text with `EDGE` and `RAISED`, white space
    collapsed, up to `TEXT` characters.

    `machine` is whether it is an attribute's value instead. `stated` is the attribute `content` of an
    element with microdata or RDFa, beside its text. `language` is the nearest `lang`.
    """

    text: str
    machine: bool = False
    stated: str | None = None
    language: str | None = None


def read(copy: bytes, charset: str | None) -> "Document":
    """The page of which `copy` holds the first bytes, decoded from its content coding.

    `charset` is that of the Content-Type header, None where it names none. Raises PageError for a page that
    would make the parser run away. Takes about 2 ms per 100 KB, most of them without the interpreter's lock.
    """
    markup = safe_markup(decoded(copy, charset))
    return Document(LexborHTMLParser(markup.text), markup)


class Document:
    """A parsed page, to be asked and dropped."""

    __slots__ = ("_markup", "_tree")

    def __init__(self, tree: LexborHTMLParser, markup: Markup) -> None:
        self._tree = tree
        self._markup = markup

    @property
    def title(self) -> str:
        """The text of the first `<title>`, white space collapsed; empty where there is none."""
        return self.text("title") or ""

    def text(self, selector: str) -> str | None:
        """The text of the first element that matches and has any, white space collapsed, up to `TEXT`
        characters.

        Of `meta` it is the attribute `content`, of `input` and `data` the `value`. None where nothing
        matches, or where the selector is none (`selectors.selector_error` tells).
        """
        found = self.shown(selector)
        return _plain(found.text) if found is not None else None

    def shown(self, selector: str) -> Shown | None:
        """As `text`, with the edges of the elements within."""
        try:
            nodes = self._tree.css(selector)
        except (SelectolaxError, UnicodeEncodeError):
            return None
        return next((found for node in nodes[:MATCHES] if (found := _shown(node)) is not None), None)

    def has(self, selector: str) -> bool:
        """Whether an element matches; false where the selector is none."""
        try:
            return self._tree.css_first(selector) is not None
        except (SelectolaxError, UnicodeEncodeError):
            return False

    def jsonld(self) -> LinkedData:
        """The page's JSON-LD; see `linked.linked_data`."""
        return linked_data(self._markup.linked)


def _plain(text: str) -> str:
    return " ".join(text.replace(EDGE, " ").replace(RAISED, " ").split())


def _shown(node: LexborNode) -> Shown | None:
    attributes = node.attributes
    attribute = _VALUES.get(node.tag or "")
    if attribute:
        value = " ".join((attributes.get(attribute) or "").translate(_MARKS).split())[:TEXT]
        return Shown(value, machine=True, language=_language(node)) if value else None
    text = " ".join("".join(_pieces(node)).split())[:TEXT]
    if not _plain(text):
        return None
    stated = attributes.get("content") if "itemprop" in attributes or "property" in attributes else None
    return Shown(text, stated=stated, language=_language(node))


def _pieces(top: LexborNode) -> Iterator[str]:
    """The text nodes within, and what parts them; at most `TEXT` nodes."""
    node: LexborNode | None = top.child
    for _ in range(TEXT):
        if node is None:
            return
        if node.tag == "-text":
            yield (node.text_content or "").translate(_MARKS)
        elif node.tag not in _NOT_SHOWN:
            yield RAISED if node.tag == "sup" else _edge(node)
            if node.child is not None:
                node = node.child
                continue
        while True:
            yield _edge(node)
            if node.next is not None:
                node = node.next
                break
            node = node.parent
            if node is None or node == top:
                return


def _edge(node: LexborNode) -> str:
    tag = node.tag or ""
    return "" if tag.startswith("-") or tag in _NOT_SHOWN else EDGE if tag in _INLINE else " "


def _language(node: LexborNode | None) -> str | None:
    for _ in range(TEXT):
        if node is None or node.tag == "-document":
            return None
        if (language := node.attributes.get("lang")) and language.strip():
            return language.strip()
        node = node.parent
    return None
