"""Finds selectors that match nothing on the pages they are for: the theme has changed, or they never fitted.

Otherwise nobody would notice: rules about the cart, the product or a fact of the site's own never apply, and
no orders are read. Pages are counted in memory, by site and selector, since the selector last matched.
"""

import re
import time
from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from ..settings.model import CustomFact, PageType, Site

SECONDS: Final = 24 * 3600.0
"""A selector is reported after it has matched nothing for so long,"""

PAGES: Final = {"cart": 20, "confirmation": 5, "product": 20}
"""and on so many pages of its type. Carts are often empty; a confirmation page never is."""

FACT_PAGES: Final = 200
"""Pages of any type, for a fact of the site's own."""

FLAG_DAYS: Final = 7
"""A fact that is true or false may be false of all visitors of a day, for example if none logs in."""

_KINDS: Final[Mapping[str, PageType]] = {
    "cart": "cart",
    "order": "confirmation",
    "product": "product",
}
_CODE: Final = re.compile(r"[A-Z]{3}")


class Events(Protocol):
    """Receives notices."""

    def notice(self, name: str, *, site: str, key: str, **fields: object) -> bool:
        """Report an event that needs a person."""


@dataclass(slots=True)
class _Counter:
    since: float
    pages: int = 0


class SelectorWatch:
    """Watches the selectors of all sites. `clock` is a monotonic clock, in seconds."""

    def __init__(self, events: Events, clock: Callable[[], float] = time.monotonic) -> None:
        self._events = events
        self._clock = clock
        self._counters: dict[tuple[str, str], _Counter] = {}

    def selectors_for(self, site: Site, kind: PageType | None, *, product: bool = False) -> dict[str, str]:
        """The selectors, by key, to try on a page of this type. `product`: its product is read."""
        return {
            key: selector
            for wanted, key, selector in _selectors(site)
            if (kind == wanted and (product or wanted != "product"))
            or (wanted == "cart" and self._counter(site, key).pages)
        }

    def record(
        self, site: Site, kind: PageType | None, tried: Mapping[str, str], matched: Container[str]
    ) -> None:
        """Count a page on which selectors were tried, by key. `matched` are the keys of those that
        matched."""
        for key, selector in tried.items():
            wanted = _KINDS[key.partition(".")[0]]
            if key in matched or kind == wanted:
                self._count(site, key, selector, wanted, matched=key in matched, most=PAGES[wanted])

    def record_facts(self, site: Site, read: Mapping[str, CustomFact], matched: Container[str]) -> None:
        """Count a page on which facts of the site's own were looked for. `matched` are the names of those
        that it shows."""
        for name, custom in read.items():
            seconds = SECONDS * FLAG_DAYS if custom.type == "bool" else SECONDS
            looked_for = custom.selector or custom.json_path or ""
            found = name in matched
            key = f"facts.{name}"
            self._count(site, key, looked_for, "shop", matched=found, most=FACT_PAGES, seconds=seconds)

    def _count(
        self,
        site: Site,
        key: str,
        selector: str,
        kind: str,
        *,
        matched: bool,
        most: int,
        seconds: float = SECONDS,
    ) -> None:
        counter, now = self._counter(site, key), self._clock()
        if matched:
            counter.since, counter.pages = now, 0
            return
        counter.pages += 1
        if counter.pages >= most and now - counter.since >= seconds:
            fields = {"selector": selector, "kind": kind, "pages": counter.pages}
            self._events.notice("selector_unmatched", site=site.name, key=key, **fields)

    def forget(self, site: str) -> None:
        """Drop the counts of a site whose settings changed or that was removed."""
        for place in [place for place in self._counters if place[0] == site]:
            del self._counters[place]

    def _counter(self, site: Site, key: str) -> _Counter:
        return self._counters.setdefault((site.name, key), _Counter(self._clock()))


def _selectors(site: Site) -> Iterator[tuple[PageType, str, str]]:
    """The page type, key and text of each selector of a site."""
    for name, selector in site.cart.model_dump(exclude_none=True).items():
        if not _CODE.fullmatch(selector):
            yield "cart", f"cart.{name}", selector
    for name, selector in site.product.model_dump(exclude_none=True).items():
        yield "product", f"product.{name}", selector
    if site.order is not None:
        for name, selector in site.order.model_dump(include={"id", "total", "currency"}).items():
            if selector != "jsonld" and not _CODE.fullmatch(selector):
                yield "confirmation", f"order.{name}", selector
