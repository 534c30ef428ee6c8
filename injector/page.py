"""Reads facts from a copy of a page after its bytes were sent: by selectors, structured data, the title.

Facts from a page are hints only, since anybody could have written it. Amounts of money are never trusted.
"""

from typing import Final

from selectolax.lexbor import LexborHTMLParser, LexborNode, SelectolaxError

from .charsets import decoded
from .linked import LinkedData, linked_data
from .markup import Markup, safe_markup
from .shown import Shown, Visibility, plain, shown, visibility_of

VALUE: Final = 500
"""Maximum length of an attribute's value, in characters."""

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

    __slots__ = ("_markup", "_parsed")

    def __init__(self, markup: Markup) -> None:
        self._markup = markup
        self._parsed: LexborHTMLParser | None = None

    @property
    def _tree(self) -> LexborHTMLParser:
        """Parsed when a selector is asked for: structured data needs no tree."""
        if self._parsed is None:
            self._parsed = LexborHTMLParser(self._markup.text)
        return self._parsed

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
        try:
            nodes = self._tree.css(selector)
        except (SelectolaxError, UnicodeEncodeError):
            return None
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
        try:
            nodes = self._tree.css(selector)
        except (SelectolaxError, UnicodeEncodeError):
            return []
        found = (shown(node) for node in nodes[:most] if visibility_of(node) is Visibility.EVERYBODY)
        return [text for one in found if one is not None and (text := plain(one.text))]

    def attribute(self, selector: str, name: str) -> str | None:
        """An attribute of the first matching element."""
        try:
            node = self._tree.css_first(selector)
        except (SelectolaxError, UnicodeEncodeError):
            return None
        value = node.attributes.get(name) if node is not None else None
        return None if value is None else value[:VALUE]

    def data(self, name: str) -> str | None:
        """The content of the script of JSON with this id."""
        return self._markup.data.get(name)

    def value(self, selector: str) -> str | None:
        """The value of the first matching element in microdata (HTML §5.2.4): an attribute, or its text."""
        try:
            node = self._tree.css_first(selector)
        except (SelectolaxError, UnicodeEncodeError):
            return None
        if node is None:
            return None
        attributes = node.attributes
        for name in ("content", "href", "src", "value", "datetime"):
            if attributes.get(name):
                return " ".join((attributes[name] or "").split())[:VALUE]
        return (plain(node.text(deep=True)) or None) if node.tag != "meta" else None

    def has(self, selector: str) -> bool:
        """Whether an element matches; false if the selector is invalid."""
        try:
            return self._tree.css_first(selector) is not None
        except (SelectolaxError, UnicodeEncodeError):
            return False

    def jsonld(self) -> LinkedData:
        """The page's JSON-LD; see `linked.linked_data`."""
        return linked_data(self._markup.linked)
