"""Facts read off a copy of a page, after its bytes were sent: selectors, structured data, the title.

What is found here is a hint from a page that anybody could have written; it is never the truth about money.
"""

from typing import Final

from selectolax.lexbor import LexborHTMLParser, LexborNode, SelectolaxError

from .charsets import decoded
from .linked import LinkedData, linked_data
from .markup import Markup, safe_markup
from .shown import Shown, Veil, plain, shown, veil_around

MATCHES: Final = 20
"""Most elements of a selector that are looked at for a text."""


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
        characters. One that is hidden counts only if none is shown, one that is struck through never.

        Of `meta` it is the attribute `content`, of `input` and `data` the `value`. None where nothing
        matches, or where the selector is none (`selectors.selector_error` tells).
        """
        found = self.shown(selector)
        return plain(found.text) if found is not None else None

    def shown(self, selector: str) -> Shown | None:
        """As `text`, with the edges of the elements within."""
        try:
            nodes = self._tree.css(selector)
        except (SelectolaxError, UnicodeEncodeError):
            return None
        hidden: list[LexborNode] = []
        for node in nodes[:MATCHES]:
            veil = veil_around(node)
            if veil is Veil.HIDDEN:
                hidden.append(node)
            elif veil is not Veil.STRUCK and (found := shown(node)) is not None:
                return found
        return next((found for node in hidden if (found := shown(node)) is not None), None)

    def has(self, selector: str) -> bool:
        """Whether an element matches; false where the selector is none."""
        try:
            return self._tree.css_first(selector) is not None
        except (SelectolaxError, UnicodeEncodeError):
            return False

    def jsonld(self) -> LinkedData:
        """The page's JSON-LD; see `linked.linked_data`."""
        return linked_data(self._markup.linked)
