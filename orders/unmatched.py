"""Selectors that find nothing on the pages that they are for: a theme has changed, or they never fitted.

Nothing tells so by itself: rules about the cart never hold, orders never come. Counted in memory, for each
site and selector, since it last found something.
"""

import re
import time
from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from ..settings.model import PageType, Site

SECONDS: Final = 24 * 3600.0
"""A selector is told of once it has found nothing for so long,"""

PAGES: Final = {"cart": 20, "confirmation": 5}
"""and on so many pages of its kind. Carts are often empty; a confirmation page never is."""

_CODE: Final = re.compile(r"[A-Z]{3}")


class Events(Protocol):
    """Receives notices."""

    def notice(self, name: str, *, site: str, key: str, **fields: object) -> bool:
        """Report something that needs a person."""


@dataclass(slots=True)
class _Since:
    at: float
    pages: int = 0


class Unmatched:
    """Watches the selectors of all sites. `clock` gives seconds that never go back."""

    def __init__(self, events: Events, clock: Callable[[], float] = time.monotonic) -> None:
        self._events = events
        self._clock = clock
        self._since: dict[tuple[str, str], _Since] = {}

    def asked(self, site: Site, kind: PageType | None) -> dict[str, str]:
        """The selectors, by key, of which a page of this kind has to be asked whether they match."""
        return {
            key: selector
            for wanted, key, selector in _selectors(site)
            if kind == wanted or (wanted == "cart" and self._of(site, key).pages)
        }

    def page(
        self, site: Site, kind: PageType | None, asked: Mapping[str, str], matched: Container[str]
    ) -> None:
        """Take a page that was read: what it was `asked`, and the keys of what `matched`."""
        now = self._clock()
        for key, selector in asked.items():
            since = self._of(site, key)
            wanted: PageType = "cart" if key.startswith("cart.") else "confirmation"
            if key in matched:
                since.at, since.pages = now, 0
            elif kind == wanted:
                since.pages += 1
                if since.pages >= PAGES[wanted] and now - since.at >= SECONDS:
                    self._events.notice(
                        "selector_unmatched",
                        site=site.name,
                        key=key,
                        selector=selector,
                        kind=wanted,
                        pages=since.pages,
                    )

    def forget(self, site: str) -> None:
        """Begin anew with a site: its selectors are others, or it is gone."""
        for place in [place for place in self._since if place[0] == site]:
            del self._since[place]

    def _of(self, site: Site, key: str) -> _Since:
        return self._since.setdefault((site.name, key), _Since(self._clock()))


def _selectors(site: Site) -> Iterator[tuple[PageType, str, str]]:
    """The kind of page that each selector is for, its place in the settings, and itself."""
    for name, selector in site.cart.model_dump(exclude_none=True).items():
        if not _CODE.fullmatch(selector):
            yield "cart", f"cart.{name}", selector
    if site.order is not None:
        for name, selector in site.order.model_dump(include={"id", "total", "currency"}).items():
            if selector != "jsonld" and not _CODE.fullmatch(selector):
                yield "confirmation", f"order.{name}", selector
