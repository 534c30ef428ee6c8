"""Reads facts from a copy of a page after its bytes were sent: by selectors, structured data, the title.

Facts from a page are hints only, since anybody could have written it. Amounts of money are never trusted.
"""

from functools import lru_cache
from math import comb
from typing import Final

from selectolax.lexbor import LexborHTMLParser, LexborNode, SelectolaxError

from .charsets import decoded
from .linked import LinkedData, linked_data
from .markup import Markup, safe_markup
from .shown import Shown, Visibility, plain, shown, visibility_of

VALUE: Final = 500
"""Maximum length of an attribute's value, in characters."""

STEPS: Final = 5_000_000
"""Maximum number of steps for one selector, some 20 ns each, in which no other thread runs: of `a b c d` the
parser tries all ways to choose three ancestors of each `d`, and of `a ~ b` all siblings before each `b`."""

SIBLING: Final = 6
"""Steps that a sibling takes."""

WALKED: Final = 200_000
"""Maximum number of ancestors and siblings that are counted for that."""

MATCHES: Final = 20
"""Maximum number of matching elements that are searched for a text."""


def read(copy: bytes, charset: str | None) -> "Document":
    """Parse a page. `copy` holds its first bytes, decoded from its content coding.

    `charset` comes from the Content-Type header; None if it names none. Raises PageError if parsing would
    cost too much. Takes about 2 ms per 100 KB, mostly without holding the GIL.
    """
    markup = safe_markup(decoded(copy, charset))
    return Document(markup)


class Document:
    """A parsed page that can be queried by CSS selector."""

    __slots__ = ("_markup", "_parsed", "costly")

    def __init__(self, markup: Markup) -> None:
        self._markup = markup
        self._parsed: LexborHTMLParser | None = None
        # Why a selector was not tried on this page.
        self.costly: str | None = None

    @property
    def _tree(self) -> LexborHTMLParser:
        """Parsed when a selector is asked for: structured data needs no tree."""
        if self._parsed is None:
            self._parsed = LexborHTMLParser(self._markup.text)
        return self._parsed

    def _nodes(self, selector: str) -> list[LexborNode]:
        """All matching elements; none if the selector is invalid, or would take too long (`costly`)."""
        try:
            for last, ancestors, siblings in _chains(selector):
                if (ancestors > 1 or siblings) and not self._affordable(last, ancestors, siblings):
                    self.costly = f"the selector {selector[:100]!r} takes too long on this page"
                    return []
            return self._tree.css(selector)
        except (SelectolaxError, UnicodeEncodeError):
            return []

    def _affordable(self, last: str, ancestors: int, siblings: int) -> bool:
        steps = walked = 0
        for found in self._tree.css(last):
            above = before = 0
            node: LexborNode | None = found
            while node is not None:
                above += 1
                one = node.prev if siblings else None
                while one is not None and walked <= WALKED:
                    before, walked, one = before + 1, walked + 1, one.prev
                node, walked = node.parent, walked + 1
            steps += comb(above, ancestors) * comb(before, siblings) * (SIBLING if siblings else 1)
            if steps > STEPS or walked > WALKED:
                return False
        return True

    @property
    def title(self) -> str:
        """The text of the first `<title>`, white space collapsed; empty if there is none."""
        return self.text("title") or ""

    def text(self, selector: str) -> str | None:
        """The text of the first matching element that has a text, white space collapsed, up to `TEXT`
        characters. Hidden elements count only if no other has a text; struck-through ones never count.

        For `meta` it is the attribute `content`, for `input` and `data` the attribute `value`. None if
        nothing matches, or if the selector is invalid (see `selectors.selector_error`).
        """
        found = self.shown(selector)
        return plain(found.text) if found is not None else None

    def shown(self, selector: str) -> Shown | None:
        """Like `text`, with marks for the elements inside."""
        nodes = self._nodes(selector)
        hidden: list[LexborNode] = []
        for node in nodes[:MATCHES]:
            visibility = visibility_of(node)
            if visibility is Visibility.HIDDEN:
                hidden.append(node)
            elif visibility is not Visibility.STRUCK_THROUGH and (found := shown(node)) is not None:
                return found
        return next((found for node in hidden if (found := shown(node)) is not None), None)

    def texts(self, selector: str, most: int) -> list[str]:
        """The texts of the matching elements that are shown, at most so many."""
        nodes = self._nodes(selector)
        found = (shown(node) for node in nodes[:most] if visibility_of(node) is Visibility.EVERYBODY)
        return [text for one in found if one is not None and (text := plain(one.text))]

    def attribute(self, selector: str, name: str) -> str | None:
        """An attribute of the first matching element."""
        node = next(iter(self._nodes(selector)), None)
        value = node.attributes.get(name) if node is not None else None
        return None if value is None else value[:VALUE]

    def data(self, name: str) -> str | None:
        """The content of the script of JSON with this id."""
        return self._markup.data.get(name)

    def value(self, selector: str) -> str | None:
        """The value of the first matching element in microdata (HTML §5.2.4): an attribute, or its text."""
        node = next(iter(self._nodes(selector)), None)
        if node is None:
            return None
        attributes = node.attributes
        for name in ("content", "href", "src", "value", "datetime"):
            if attributes.get(name):
                return " ".join((attributes[name] or "").split())[:VALUE]
        return (plain(node.text(deep=True)) or None) if node.tag != "meta" else None

    def has(self, selector: str) -> bool:
        """Whether an element matches; false if the selector is invalid."""
        return bool(self._nodes(selector))

    def jsonld(self) -> LinkedData:
        """The page's JSON-LD; see `linked.linked_data`."""
        return linked_data(self._markup.linked)


@lru_cache(maxsize=1024)
def _chains(selector: str) -> tuple[tuple[str, int, int], ...]:
    """Of each selector in a list: its last part, and how many ancestors and earlier siblings at any distance
    it asks for, also inside of brackets."""
    found: list[tuple[str, int, int]] = []
    last, ancestors, siblings, depth, quote, gap = "", 0, 0, 0, "", False
    for at, letter in enumerate(selector):
        if quote:
            quote = "" if letter == quote and selector[at - 1] != "\\" else quote
        elif letter.isspace():
            gap = gap or (bool(last.strip()) and selector[:at].rstrip()[-1:] not in ">+~,([")
            last += letter if depth else ""
            continue
        elif letter in ">+~" and selector[at + 1 : at + 2] != "=":
            siblings += letter == "~"
            last, gap = (last + letter if depth else ""), False
            continue
        elif letter == "," and not depth:
            found.append((_bare(last), ancestors, siblings))
            last, ancestors, siblings, gap = "", 0, 0, False
            continue
        else:
            if gap and letter not in ",)]":
                ancestors += 1
                last = last if depth else ""
            gap = False
            quote = letter if letter in "\"'" else ""
            depth += (letter in "([") - (letter in ")]")
            # It is looked for below each element, at any distance.
            ancestors += letter == "(" and selector.endswith(":has", 0, at)
        last += letter
    found.append((_bare(last), ancestors, siblings))
    return tuple(found)


def _bare(last: str) -> str:
    """A part without what stands in brackets of a pseudo-class, which may be as slow itself."""
    return last.partition("(")[0].rpartition(":")[0] or "*" if "(" in last else last or "*"
