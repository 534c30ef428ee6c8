"""Facts from the visitor's last pages: what it saw in this visit, in which order and how often.

The trail has the last 50 pages of all visits, with addresses as they may be stored.
"""

from collections.abc import Callable, Sequence
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from ..referral.masking import HIDDEN, SEARCH_PARAMS
from ..referral.visitor import Page, Visitor
from ..settings.model import PageType
from .site import SiteRuntime

WORDS_LENGTH: Final = 100  # characters of a search term
QUERY: Final = 4096  # characters of a query in which they are looked for


class Trail:
    """The pages of this visit, oldest first; `view` and `url` are those of the page it is on now."""

    __slots__ = ("_kinds", "_paths", "_site", "pages", "path", "view")

    def __init__(self, site: SiteRuntime, visitor: Visitor, view: str, url: str) -> None:
        self._site = site
        self.view = view
        self.path = urlsplit(site.masking.stored(url)).path
        began = visitor.visit_at
        self.pages: Sequence[Page] = [page for page in visitor.trail if page.at >= began]
        self._paths: list[str] | None = None
        self._kinds: list[PageType | None] | None = None

    @property
    def paths(self) -> list[str]:
        """The paths of the pages."""
        if self._paths is None:
            self._paths = [urlsplit(page.url).path for page in self.pages]
        return self._paths

    @property
    def kinds(self) -> list[PageType | None]:
        """The kinds of the pages."""
        if self._kinds is None:
            self._kinds = [self._site.kind_of(page.url) for page in self.pages]
        return self._kinds

    def previous(self) -> int | None:
        """The place of the page before the one it is on."""
        places = range(len(self.pages) - 1, -1, -1)
        here = next((n for n in places if self.pages[n].view == self.view), None) if self.view else None
        if here is None:
            # Asked about a page that it is not on: `clew explain`.
            here = len(self.pages)
            if here and self.paths[-1] == self.path:
                here -= 1
        return here - 1 if here else None

    def times(self) -> int:
        """How often the path was opened, this time included."""
        return max(1, self.paths.count(self.path))


def previous(trail: Trail) -> str | None:
    """The path of the page before."""
    place = trail.previous()
    return None if place is None else trail.paths[place]


def previous_type(trail: Trail) -> str | None:
    """Its kind."""
    place = trail.previous()
    return None if place is None else trail.kinds[place]


def paths(trail: Trail) -> str:
    """All paths in their order."""
    return " > ".join(trail.paths)


def types(trail: Trail) -> str:
    """All kinds in their order."""
    return " > ".join(kind or "other" for kind in trail.kinds)


def seen(kind: str) -> Callable[[Trail], int]:
    """Counts the pages of a kind."""

    def count(trail: Trail) -> int:
        return sum(found == kind for found in trail.kinds)

    return count


def furthest(site: SiteRuntime, trail: Trail) -> int:
    """The largest step of the checkout that was reached."""
    return max((site.step_of(page.url) for page in trail.pages), default=0)


def search_words(trail: Trail) -> str | None:
    """What was searched for last on a page of the kind `search`."""
    searches = (
        page for page, kind in zip(trail.pages[::-1], trail.kinds[::-1], strict=True) if kind == "search"
    )
    found = (shop_words(urlsplit(page.url).query) for page in searches)
    return next((words for words in found if words is not None), None)


def shop_words(query: str) -> str | None:
    """What the query of a search page searches for."""
    given = parameters(query[:QUERY])
    words = next((given[name] for name in SEARCH_PARAMS if given.get(name, "").strip()), "")
    return words.strip()[:WORDS_LENGTH] if words and words != HIDDEN else None


def parameters(query: str) -> dict[str, str]:
    """The parameters of a query, the last one of each name."""
    if "%" in query or "+" in query:
        return dict(parse_qsl(query, keep_blank_values=True, max_num_fields=None))
    # Nothing is encoded: the same result in a fifth of the time.
    pairs = [pair.partition("=") for pair in query.split("&") if pair]
    return {name: value for name, _, value in pairs}
