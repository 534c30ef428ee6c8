"""Reads the order and the cart of pages in threads, since pages are untrusted and parsing may be slow.

The parser releases the interpreter's lock, so a page that takes a second does not delay the loop. One page of
a site is read at a time, so a site with hostile pages occupies one of several threads. The number of waiting
pages is limited, and pages that may show an order have precedence over those that only show a cart.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from ...events.events import Events
from ...injector.markup import PageError
from ...injector.page import read
from ...orders.cart import read_cart
from ...orders.model import OrderError, OrderSeen
from ...orders.page import order_on
from ...orders.product import Product, read_product
from ...settings.model import Cart, CustomFact, Order, ProductPage
from ..custom_facts import Value, of_page, said
from ..effects import ReadPage
from ..limits import network_of
from ..site import SiteRuntime

THREADS: Final = 2
SITE_WAITING: Final = 32
"""Maximum number of a site's waiting pages, and a quarter of it for one client network. The second half is
reserved for pages from the shop itself that may have an order. Each page has at most 512 KB."""
WAITING: Final = 64
"""Maximum number of waiting pages of all sites, divided in the same way."""
NOTHING: Final[Mapping[str, str]] = MappingProxyType({})
SLOW: Final = 2.0
"""Seconds after which a page is reported as slow; it is still read to the end."""


@dataclass(frozen=True, slots=True)
class PageRead:
    """The result for a page. `unreadable` says why its order could not be read, `refused` why the whole page
    could not; `matched` are the keys of the given selectors that match."""

    order: OrderSeen | None = None
    unreadable: OrderError | None = None
    cart: dict[str, str] | None = None
    refused: str | None = None
    matched: frozenset[str] = frozenset()
    product: Product | None = None
    happened: tuple[str, ...] = ()
    values: Mapping[str, Value] = field(default_factory=dict)


def read_page(
    page: ReadPage,
    order: Order | None,
    cart: Cart | None,
    selectors: Mapping[str, str] = NOTHING,
    product: ProductPage | None = None,
    own: Mapping[str, CustomFact] = MappingProxyType({}),
) -> PageRead:
    """Read the order, the cart and the product of a page, each if its settings are given. If the page has an
    order, the others are not read. `matched` has the keys of those `selectors` that match."""
    if page.look_in:
        return PageRead(happened=said(page.look_in, page.body))
    try:
        document = read(page.body, _charset(page.content_type))
    except PageError as error:
        return PageRead(refused=str(error))
    unreadable: OrderError | None = None
    # A button that says whether a product can be had may be without text.
    matched = frozenset(
        key
        for key, selector in selectors.items()
        if (document.has if key.startswith("product.") else document.text)(selector)
    )
    happened = tuple(event for event, selector in page.look_for if document.has(selector))
    if order is not None:
        try:
            if (seen := order_on(document, order)) is not None:
                return PageRead(order=seen, matched=matched, happened=happened)
        except OrderError as error:
            unreadable = error
    found = read_cart(document, cart) if cart is not None else None
    shown = read_product(document, product) if product is not None else None
    values = {name: value for name, one in own.items() if (value := of_page(one, document)) is not None}
    if document.costly is not None:
        return PageRead(refused=document.costly)
    return PageRead(None, unreadable, found, None, matched, shown, happened, values)


class PageReader:
    """Reads pages in its threads. Must be closed."""

    def __init__(self, events: Events) -> None:
        self._events = events
        self._threads = ThreadPoolExecutor(THREADS, "clew-page")
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._waiting: Counter[str] = Counter()  # by site
        self._of_client: Counter[tuple[str, str]] = Counter()  # by site and client network

    async def read(
        self, site: SiteRuntime, page: ReadPage, selectors: Mapping[str, str] = NOTHING
    ) -> PageRead:
        """Read a page in a thread; see `read_page`. If too many pages wait, it is refused with an event."""
        order = site.settings.order if page.order else None
        cart = site.settings.cart if page.cart else None
        product = site.settings.product if page.product else None
        own = site.page_facts if page.values else {}
        client_key = (site.name, network_of(page.client) or "")
        if self._full(site, client_key, trusted=order is not None and not page.by_browser):
            return self._refused(site, page, "too many pages wait to be read")
        self._waiting[site.name] += 1
        self._of_client[client_key] += 1
        try:
            async with self._turns[site.name]:
                work = asyncio.get_running_loop().run_in_executor(
                    self._threads, read_page, page, order, cart, selectors, product, own
                )
                _, late = await asyncio.wait({work}, timeout=SLOW)
                if late:
                    self._refused(site, page, f"reading it takes longer than {SLOW:g} seconds")
                found = await work
        finally:
            self._waiting[site.name] -= 1
            self._of_client[client_key] -= 1
            # Drops entries without waiting pages.
            self._waiting += Counter()
            self._of_client += Counter()
        if found.refused is not None:
            self._refused(site, page, found.refused)
        if found.cart is not None and "value" in found.cart and "currency" not in found.cart:
            self._events.notice(
                "currency_unknown", site=site.name, key="cart", page=site.masking.stored(page.address)
            )
        return found

    def _full(self, site: SiteRuntime, client_key: tuple[str, str], *, trusted: bool) -> bool:
        """Whether the queue is full. Pages reported by a browser, or with a cart only, must not displace an
        order that the shop sent."""
        share = 1 if trusted else 2
        return (
            self._waiting[site.name] >= SITE_WAITING // share
            or self._waiting.total() >= WAITING // share
            or (bool(client_key[1]) and self._of_client[client_key] >= SITE_WAITING // 4)
        )

    def _refused(self, site: SiteRuntime, page: ReadPage, why: str) -> PageRead:
        self._events.notice(
            "page_unread",
            site=site.name,
            key=why,
            page=site.masking.stored(page.address),
            why=why,
            order=page.order,
        )
        return PageRead(refused=why)

    def forget(self, site: str) -> None:
        """Drop the state of a removed site, unless pages of it still wait to be read."""
        if not self._waiting[site]:
            self._turns.pop(site, None)

    def close(self) -> None:
        """Read no more pages."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _charset(content_type: bytes) -> str | None:
    for part in content_type.decode("latin-1").split(";")[1:]:
        name, _, value = part.partition("=")
        if name.strip().lower() == "charset":
            return value.strip().strip("\"'") or None
    return None
