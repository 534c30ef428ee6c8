"""Performs the effects of an exchange: stores touches before the request, reads pages after the response."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import replace
from typing import Any

from ..events.events import Events
from ..orders.cart import is_empty
from ..orders.model import OrderError
from ..orders.selector_watch import SelectorWatch
from ..referral.cookie import Known
from ..referral.happenings import CartTurned, Happened, Posted, ProductShown, ValuesShown
from ..referral.landing import Dropped
from ..referral.touches import AUTOMATED, CROWD, DOUBTS, Touch, doubted
from ..referral.visitor import CartSeen, Change, ClickedAgain, SeenAs, Shopped, Touched, Visitor
from ..settings.model import Order
from ..stores.visits import Visits
from .click_watch import ClickWatch
from .clicks import ClickCounts
from .clock import Clock
from .effects import (
    Before,
    Finished,
    JoinVisitor,
    NotifyDropped,
    NotifyEmbedded,
    NotifyHandover,
    ReadPage,
    SaveAgain,
    SaveShopped,
)
from .handing import Handing
from .limits import LimitedError
from .ordering.doubts import Shown
from .ordering.reading import PageRead, PageReader
from .ordering.recording import Ordering, seen_consent
from .ordering.shopping import is_settled, page_mark
from .outside import Outside
from .site import SiteRuntime
from .visitors import Visitors

CART_PATH_LENGTH = 200
# Maximum time that a landing waits for the visit store.
TOUCH_SECONDS = 0.25
# Maximum time that the last byte of a confirmation page waits until its order is on disk. It takes some
# milliseconds, and a fifth of a second for the first order that the ledger does not accept.
SECURE_SECONDS = 2.0


class Attribution:
    """Stores who sent a visitor, and what the visitor does until it orders. `later` runs work in the
    background."""

    def __init__(
        self,
        visits: Visits,
        visitors: Visitors,
        ordering: Ordering,
        pages: PageReader,
        selector_watch: SelectorWatch,
        events: Events,
        clock: Clock,
        clicks: ClickCounts,
        later: Callable[[Coroutine[Any, Any, None]], None],
        handing: Handing,
        outside: Outside,
    ) -> None:
        self._outside = outside
        self._clicks = clicks
        self._visits = visits
        self._visitors = visitors
        self._ordering = ordering
        self._pages = pages
        self._selector_watch = selector_watch
        self._events = events
        self._clock = clock
        self._later = later
        self._handing = handing
        self.click_watch = ClickWatch(events, clock)

    async def perform(self, site: SiteRuntime, effects: Iterable[Before]) -> None:
        """Store touches, and that the visitor shops. A store that fails is reported, and the request
        continues: the touch is in the cookie too, and only there until the cookie has come back once."""
        for effect in effects:
            if isinstance(effect, NotifyDropped):
                self.notify_dropped(site, effect.dropped)
            elif isinstance(effect, JoinVisitor):
                await self._handing.join(site, effect)
            elif isinstance(effect, NotifyHandover):
                self._handing.refused(site, effect.why)
            elif isinstance(effect, NotifyEmbedded):
                for partner in effect.partners:
                    self.click_watch.embedded(site.name, partner)
            elif isinstance(effect, SaveShopped):
                await self._change(site, effect.known, [Shopped()], effect.client, "checkout")
            elif isinstance(effect, SaveAgain):
                again = [ClickedAgain(effect.partners)]
                await self._change(site, effect.known, again, effect.client, "touch")
            else:
                touch = effect.touch
                if effect.known is not None:
                    await self._change(site, effect.known, [Touched(touch)], effect.client, "touch")
                self.notify_touch(site, effect.visitor, touch)

    def notify_touch(self, site: SiteRuntime, visitor: str, touch: Touch) -> None:
        """Report a touch that was stored, and a click that did not come from outside."""
        self._events.touch(site.name, visitor, touch, site.masking)
        for partner in site.clicks.partners(touch):
            if not touch.doubt:
                crowd = site.settings.fraud.network_clicks if CROWD in touch.signs else 0
                automated = AUTOMATED in touch.signs and site.settings.fraud.automated == "note"
                self.click_watch.clicked(
                    site.name, partner, shown=touch.shown, crowd=crowd, automated=automated
                )
        for click in touch.clicks:
            if click.partner is None:
                continue
            if not doubted(touch, click.partner, site.terms.inside):
                self._clicks.count(site.name, click.partner, self._clock.now(), site.zone)
            else:
                self._events.notice(
                    "click_suspicious",
                    site=site.name,
                    key=f"{click.partner} {touch.doubt}",
                    partner=click.partner,
                    visitor=visitor,
                    why=DOUBTS[touch.doubt],
                    landing=site.masking.logged(touch.landing),
                )

    def notify_dropped(self, site: SiteRuntime, dropped: Iterable[Dropped]) -> None:
        """Report parameters without a click id."""
        for one in dropped:
            self._events.notice(
                "click_dropped",
                site=site.name,
                key=f"{one.partner} {one.param} {one.why}",
                partner=one.partner,
                param=one.param,
                why=one.why,
            )

    async def _change(
        self,
        site: SiteRuntime,
        known: Known,
        changes: Sequence[Change],
        client: str | None,
        where: str,
    ) -> None:
        # A browser that runs no scripts is seen in a partner's network here only.
        owners = site.clicks.owners(client)
        changes = [*changes, SeenAs(owners)] if owners else changes
        try:
            async with asyncio.timeout(TOUCH_SECONDS):
                await self._visitors.note(site, known, changes, client, where)
        except TimeoutError as error:
            self._visitors.failed(site.name, where, error)

    def finish(self, finished: Finished) -> None:
        """Count the outcome of a response, and read its page's facts now that the bytes are sent."""
        site = finished.site
        outcome, reason = finished.outcome
        metrics = self._events.metrics
        metrics.answered(site.name, outcome, reason)
        if finished.began:
            metrics.took("page", site.name, outcome, self._clock.monotonic() - finished.began)
        if reason.by_policy:
            self._events.notice(
                "policy",
                site=site.name,
                key=reason.value,
                outcome=outcome,
                reason=reason.value,
                path=_shown(site, finished.path, finished.query),
            )
        for directive, hosts in finished.forbidden.items():
            self._events.notice(
                "provider_forbidden",
                site=site.name,
                key=directive,
                provider=site.settings.chat.provider,
                directive=directive,
                hosts=" ".join(hosts),
                path=_shown(site, finished.path, finished.query),
            )
        if finished.fault is not None:
            self._events.emit("fault", site=site.name, where="exchange", error=repr(finished.fault))
        if finished.unread and not finished.effects:
            address = _shown(site, finished.path, finished.query)
            self._notify_unread(site, address, finished.unread.text, key=finished.unread.value)
        if site.signals.wanted:
            self._note_happened(finished)
        for page in finished.effects:
            if not (page.order and finished.secured):
                self._begins(site, page)
                self._later(self.read_page(site, page))

    def _begins(self, site: SiteRuntime, page: ReadPage) -> None:
        """A page is going to be read: a decision on it waits for what the page shows."""
        if page.product or page.values:
            self._outside.begins(site.name, page_mark(page.path, page.query))

    def _note_happened(self, finished: Finished) -> None:
        """Keep the events of a request that a known visitor has sent."""
        wanted, names = finished.site.signals.wanted, finished.happened
        if finished.is_page and finished.began and "slow_page" in wanted:
            took = self._clock.monotonic() - finished.began
            if took > finished.site.settings.slow_seconds:
                names = (*names, "slow_page")
        changes: list[Change] = [Happened(tuple(names))] if names else []
        if finished.sent is not None:
            changes.append(Posted(finished.sent.mark, finished.sent.again))
        if not changes or (known := finished.recognise()) is None:
            return
        client = finished.request_head.client if finished.request_head is not None else None
        try:
            # At once, where that is possible: the page asks for a decision soon.
            at = self._clock.now()
            if self._visitors.update_at_once(finished.site, known, lambda _: changes, client, at) is not None:
                return
        except LimitedError:
            return
        except Exception as error:
            self._visitors.failed(finished.site.name, "events", error)
            return
        self._later(self._visitors.note(finished.site, known, changes, client, "events"))

    def secure(self, finished: Finished) -> asyncio.Future[None] | None:
        """Start to record the order of a page before its last byte is sent. The future is done once the order
        is on disk, or after a short timeout. None if the page shows no order."""
        page = next((page for page in finished.effects if page.order), None)
        if page is None or finished.secured:
            return None
        finished.secured = True
        loop = asyncio.get_running_loop()
        safe = loop.create_future()

        def done() -> None:
            if not safe.done():
                safe.set_result(None)

        late = loop.call_later(SECURE_SECONDS, done)
        safe.add_done_callback(lambda _: late.cancel())
        self._begins(finished.site, page)
        self._later(self._read_securely(finished.site, page, done))
        return safe

    async def _read_securely(self, site: SiteRuntime, page: ReadPage, done: Callable[[], None]) -> None:
        try:
            await self.read_page(site, page, done)
        finally:
            done()

    async def read_page(
        self, site: SiteRuntime, page: ReadPage, safe: Callable[[], None] = lambda: None
    ) -> None:
        """Read the order and cart of a page, and record them. `safe` is called once an order is on disk."""
        selectors = self._selector_watch.selectors_for(site.settings, page.kind, product=page.product)
        found = PageRead()
        try:
            found = await self._pages.read(site, page, selectors)
        finally:
            if page.product or page.values:
                await self._note_shown(site, page, found)
        if found.happened and page.known is not None:
            await self._change(site, page.known, [Happened(found.happened)], page.client, "events")
        if found.refused is None:
            self._selector_watch.record(site.settings, page.kind, selectors, found.matched)
            if page.values and found.order is None:
                there = {name for name, value in found.values.items() if value is not False}
                self._selector_watch.record_facts(site.settings, site.page_facts, there)
        if found.order is not None:
            if page.known is not None:
                # An order proves that the cookie is kept: store the visitor with the cookie's touches.
                await self._change(site, page.known, [], page.client, "order")
            shown = Shown(page_mark(page.path, page.query), page.came, page.by_browser)
            order = replace(found.order, source="browser") if page.by_browser else found.order
            await self._ordering.record_seen(
                site, order, page.visitor, page.touches, shown, safe, seen_consent(page.consent)
            )
            return
        if page.order and found.refused is None:
            await self._note_no_order(site, page, found.unreadable)
        if page.cart and page.known is not None and found.refused is None:
            await self._note_cart(site, page, page.known, found.cart)

    async def _note_shown(self, site: SiteRuntime, page: ReadPage, found: PageRead) -> None:
        """Keep what a page shows for the decision on it: the visitor's own product and values, or, of a
        visitor who is not known, the page's product for everybody."""
        mark = page_mark(page.path, page.query)
        try:
            if page.known is not None:
                changes: list[Change] = [] if found.product is None else [ProductShown(mark, found.product)]
                if page.values and found.refused is None and found.order is None:
                    passing = {name for name, custom in site.page_facts.items() if custom.keep == "page"}
                    lasting = {name: value for name, value in found.values.items() if name not in passing}
                    if lasting or passing:
                        here = {name: value for name, value in found.values.items() if name in passing}
                        changes.append(ValuesShown(mark, lasting, here))
                if changes:
                    await self._change(site, page.known, changes, page.client, "facts")
        finally:
            # Whatever became of it: decisions wait for that.
            await self._outside.read(
                site.name, mark, found.product, public=page.known is None, client=page.client
            )

    async def _note_no_order(self, site: SiteRuntime, page: ReadPage, unreadable: OrderError | None) -> None:
        """An order page showed no readable order. If the visitor's order is known, nothing is missing: many
        shops show it only once, so that a reload no longer has it, or their server reports it."""
        settings, address = site.settings.order, _shown(site, page.path, page.query)
        if settings is None:
            return
        if unreadable is None and not page.gap and await self._is_known(site, page):
            fields = {"source": "page", "visitor": page.visitor, "page": address}
            self._events.emit("order_repeated", site=site.name, order=None, **fields)
            return
        if unreadable is not None:
            self._notify_unread(site, address, str(unreadable), key=unreadable.part)
        elif page.gap:
            self._notify_unread(site, address, page.gap.text, key=page.gap.value)
        else:
            self._notify_unread(site, address, nothing_found(settings), key="no order")

    async def _is_known(self, site: SiteRuntime, page: ReadPage) -> bool:
        if page.visitor is None:
            return False
        visitor = await self._visitors.find(site.name, page.visitor, "order")
        return visitor is not None and is_settled(visitor)

    def _notify_unread(self, site: SiteRuntime, address: str, why: str, *, key: str) -> None:
        """Report that an order page was shown, but no order was read on it."""
        self._events.notice(
            "order_unreadable", site=site.name, key=key, type="confirmation", page=address, why=why
        )

    async def _note_cart(
        self, site: SiteRuntime, page: ReadPage, known: Known, cart: dict[str, str] | None
    ) -> None:
        """Store the cart that the page shows. An empty cart resets it, and so does a page without a cart if
        one was stored."""
        cart = {} if cart is not None and is_empty(cart) else cart
        path = page.path[:CART_PATH_LENGTH]
        try:
            stored = await self._visits.get(site.name, known.visitor)
            seen = stored or Visitor(known.visitor)
            if not cart and not seen.cart:
                return
            if cart is None and path not in seen.cart_on and page.kind != "cart":
                return
            if cart and "products" not in cart and "products" in seen.cart:
                cart["products"] = seen.cart["products"]  # most pages show the sum alone
            if cart != dict(seen.cart) or (cart and path not in seen.cart_on):
                turned: list[Change] = [CartTurned(cart or {})] if site.keeps.cart else []
                changes = [*turned, CartSeen(cart or {}, path)]
                await self._visitors.remember(site, known, changes, page.client)
        except LimitedError:
            pass  # the next page will show it again
        except Exception as error:
            self._visitors.failed(site.name, "cart", error)


def _shown(site: SiteRuntime, path: str, query: str) -> str:
    """A page's address for people. Many shops distinguish their pages by the query only."""
    return site.masking.stored(f"{path}?{query}" if query else path)


def nothing_found(order: Order) -> str:
    """Why a page may have no order, as text."""
    if order.id == "jsonld":
        return "it contains no order in JSON-LD; set `id`, `total` and `currency` to CSS selectors"
    return f"no element with text matches {order.id!r}, the setting `id`"
