"""What a decision may have to wait for: the product of a page that is just being read, and numbers of the
ledger. A decision waits a quarter of a second for it at most, and only where a rule asks."""

import asyncio
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import structs

from ..events.events import Events
from ..orders.model import SALES
from ..referral.visitor import Visitor
from ..settings.addresses import split
from ..stores.ledger.books import Ledger
from ..stores.visits import Visits
from .clock import Clock
from .fact_calls import FactCalls
from .facts import NO_ORDERS, NOBODY, Client, Found, Orders, Product
from .host_names import HostNames
from .limits import Limits, Rate, parts_of
from .ordering.shopping import page_mark
from .site import SiteRuntime

if TYPE_CHECKING:
    from ..referral.memory import Memory

WAIT_SECONDS: Final = 0.25
PRODUCTS: Final = 4096
"""Pages whose products a process remembers."""
PRODUCT_SECONDS: Final = 600.0
OF_CLIENT: Final = 300
OF_SITE: Final = 3000
"""Pages of unknown visitors whose products are kept in PRODUCT_SECONDS: any query makes another page."""
NUMBERS: Final = 4096
NUMBER_SECONDS: Final = 10.0
# A page that another process has just read may be in the store a moment later.
AGAIN_SECONDS: Final = 2
FRESH_SECONDS: Final = 2
MOST: Final = 100
"""Up to so many orders and conversations are counted."""


class Outside:
    """Finds it, and remembers it for a while."""

    def __init__(
        self,
        visits: Visits,
        ledger: Ledger,
        events: Events,
        clock: Clock,
        calls: FactCalls,
        limits: Limits,
    ) -> None:
        self._host_names = HostNames(events, clock, limits)
        self._limits = limits
        self._calls = calls
        self._visits = visits
        self._ledger = ledger
        self._events = events
        self._clock = clock
        self._products: OrderedDict[tuple[str, str], tuple[float, Product]] = OrderedDict()
        self._reading: dict[tuple[str, str], asyncio.Future[None]] = {}
        self._numbers: OrderedDict[tuple[object, ...], tuple[float, Any]] = OrderedDict()

    # -- products

    def begins(self, site: str, mark: str) -> None:
        """A page is going to be read: who asks about it waits for that."""
        if (site, mark) not in self._reading and len(self._reading) < PRODUCTS:
            self._reading[site, mark] = asyncio.get_running_loop().create_future()

    def fresh(self, site: str, mark: str) -> bool:
        """Whether the product of a page is remembered."""
        return self._remembered(site, mark) is not None

    async def read(
        self, site: str, mark: str, product: Product | None, *, public: bool, client: str | None
    ) -> None:
        """A page was read; None: it could not be. `public`: it was not a known visitor's own page. `client`
        is the address of who asked for it."""
        # What is known stays as it is until it expires: a page that many ask for is written once.
        public = public and product != self._remembered(site, mark) and self._may_keep(site, client)
        if product is not None and public:
            self._products[site, mark] = (self._clock.monotonic() + PRODUCT_SECONDS, product)
            self._products.move_to_end((site, mark))
            while len(self._products) > PRODUCTS:
                self._products.popitem(last=False)
        if (waited := self._reading.pop((site, mark), None)) is not None and not waited.done():
            waited.set_result(None)
        if product is not None and public:
            try:
                data = msgspec.json.encode(product)
                await self._visits.put_page(site, _key(mark), data, self._clock.now(), PRODUCT_SECONDS)
            except Exception as error:
                self._events.failed(error, site=site, where="product")

    def _may_keep(self, site: str, client: str | None) -> bool:
        parts = parts_of(client, f"products {site}", Rate(OF_CLIENT, PRODUCT_SECONDS))
        own = sum(self._limits.crowded(*one) for one in parts)
        return not own and not self._limits.crowded(f"products {site}", Rate(OF_SITE, PRODUCT_SECONDS))

    def _remembered(self, site: str, mark: str) -> Product | None:
        found = self._products.get((site, mark))
        return found[1] if found is not None and found[0] > self._clock.monotonic() else None

    # -- decisions

    def at_once(self, site: SiteRuntime, visitor: Visitor, url: str, client: Client) -> Found | None:
        """What is known without waiting; None if something has to be waited for."""
        wanted = site.waits_for
        product = orders = chats = None
        values: dict[str, Any] = {}
        crowded = False
        if wanted.values and (site.name, page_mark(*split(url))) in self._reading:
            return None
        if wanted.called:
            called = self._calls.known(site, visitor.id, client)
            if called.waiting:
                return None
            values, crowded = called.values, called.crowded
        hostname: str | None = None
        if wanted.hostname and site.asks_dns:
            name = self._host_names.known(site.name, client.address)
            if isinstance(name, asyncio.Future):
                return None
            hostname = name
        if wanted.product and site.may_show_product(url):
            mark = page_mark(*split(url))
            product = _own(visitor, mark)
            if product is None:
                product = self._remembered(site.name, mark)
            if product is None:
                return None
        if wanted.orders:
            orders = NO_ORDERS if not visitor.ordered_at else self._number("orders", site.name, visitor)
            if orders is None:
                return None
        if wanted.chats:
            talked = visitor.talked_at or (visitor.talk is not None and visitor.talk.talked)
            chats = 0 if not talked else self._number("chats", site.name, visitor)
            if chats is None:
                return None
        return Found(product, orders, chats, again=crowded, values=values, hostname=hostname)

    async def find(
        self, site: SiteRuntime, visitor: Visitor, url: str, seconds: int, client: Client = NOBODY
    ) -> Found:
        """The same, after waiting; `seconds` is how long the page has been shown."""
        values: dict[str, Any] = {}
        late = False
        if site.waits_for.called:
            called = self._calls.known(site, visitor.id, client)
            if called.waiting:
                _, pending = await asyncio.wait(called.waiting, timeout=WAIT_SECONDS)
                late = bool(pending)
                called = self._calls.known(site, visitor.id, client)
            values, late = called.values, late or called.crowded
        hostname: str | None = None
        if site.waits_for.hostname and site.asks_dns:
            name = self._host_names.known(site.name, client.address)
            if isinstance(name, asyncio.Future):
                done, _ = await asyncio.wait({name}, timeout=WAIT_SECONDS)
                late = late or not done
                hostname = name.result() if done and not name.exception() else None
            else:
                hostname = name
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                found = await self._find(site, visitor, url, seconds)
                again = found.again or late
                return structs.replace(found, values=values, again=again, hostname=hostname)
        except Exception as error:
            self._events.failed(error, site=site.name, where="facts")
            return Found(values=values, again=late, hostname=hostname)

    def close(self) -> None:
        """Ask for nothing more."""
        self._host_names.close()

    async def _find(self, site: SiteRuntime, visitor: Visitor, url: str, seconds: int) -> Found:
        wanted, product, again = site.waits_for, None, False
        memory: Memory | None = None
        if wanted.values and (reading := self._reading.get((site.name, page_mark(*split(url))))) is not None:
            await asyncio.shield(reading)
            stored = await self._visits.get(site.name, visitor.id)
            memory = stored.memory if stored is not None else None
        orders = chats = None
        if wanted.product and site.may_show_product(url):
            product = await self._product(site.name, visitor, page_mark(*split(url)))
            again = product is None and seconds < FRESH_SECONDS
        if wanted.orders:
            orders = NO_ORDERS if not visitor.ordered_at else self._number("orders", site.name, visitor)
            if orders is None:
                past = await self._ledger.orders.of_visitor(site.name, visitor.id, limit=MOST)
                orders = Orders(
                    sum(order.state in SALES for order in past),
                    max((order.placed_at for order in past if order.state != "cancelled"), default=0.0),
                )
                self._remember("orders", site.name, visitor, orders)
        if wanted.chats:
            talked = visitor.talked_at or (visitor.talk is not None and visitor.talk.talked)
            chats = 0 if not talked else self._number("chats", site.name, visitor)
            if chats is None:
                chats = len(await self._ledger.inbox.of_visitor(site.name, visitor.id, MOST))
                self._remember("chats", site.name, visitor, chats)
        return Found(product, orders, chats, again, memory)

    async def _product(self, site: str, visitor: Visitor, mark: str) -> Product | None:
        product = _own(visitor, mark)
        if product is None and (reading := self._reading.get((site, mark))) is not None:
            await asyncio.shield(reading)
            stored = await self._visits.get(site, visitor.id)
            product = None if stored is None else _own(stored, mark)
        if product is None:
            product = self._remembered(site, mark)
        if product is None:
            data = await self._visits.page(site, _key(mark), self._clock.now())
            product = None if data is None else msgspec.json.decode(data)
        return product

    def _number(self, what: str, site: str, visitor: Visitor) -> Any:
        found = self._numbers.get(_state(what, site, visitor))
        return found[1] if found is not None and found[0] > self._clock.monotonic() else None

    def _remember(self, what: str, site: str, visitor: Visitor, number: object) -> None:
        self._numbers[_state(what, site, visitor)] = (self._clock.monotonic() + NUMBER_SECONDS, number)
        while len(self._numbers) > NUMBERS:
            self._numbers.popitem(last=False)


def _key(mark: str) -> str:
    """In place of a visitor's id, which has no such letters."""
    return f"product!{mark}"


def _own(visitor: Visitor, mark: str) -> Product | None:
    """The product that the visitor's own page showed."""
    if visitor.memory is None:
        return None
    return next((product for at, product in visitor.memory.products if at == mark), None)


def _state(what: str, site: str, visitor: Visitor) -> tuple[object, ...]:
    """The key of a number: it is asked for again once the visitor has ordered or talked since."""
    since = visitor.order_seen_at if what == "orders" else visitor.talked_at
    return what, site, visitor.id, since
