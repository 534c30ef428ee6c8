"""Orders as they are reported: each report is a sighting, which is credited, written down and told."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

from msgspec import structs

from ...events.events import Events
from ...orders.history import Order
from ...orders.model import Channel, OrderError, OrderSeen
from ...orders.money import amount_text, checked_currency
from ...orders.sighting import Correction, Sighting
from ...postbacks.model import Postback
from ...referral.credit import DAY
from ...referral.decision import Decision, Inputs, Policy, decide
from ...referral.touches import Touch, merge
from ...referral.visitor import Ordered, Visitor
from ...settings.model import Partner
from ...stores.ledger.books import Ledger
from ...stores.ledger.history import Known
from ...stores.ledger.orders import StoredOrder
from ...stores.ledger.outbox import OutboxError
from ...stores.visits import Visits
from ..clock import Clock
from ..site import SiteRuntime
from .book import Entry, Kept, OrderBook, held
from .doubts import Shown, doubts_of
from .notify import notify

# Pauses before each try to write an order that nobody will tell us of again.
TRIES = (0.0, 0.2, 1.0, 5.0, 20.0)


@dataclass(frozen=True, slots=True)
class Recorded:
    """What a report of an order came to. `created`: the order was not known before. `held` says why its
    partner is not told of it yet, None where nothing stands against it."""

    order: StoredOrder
    created: bool
    held: str | None


class Ordering:
    """Records orders, credits them, and has partners told. `due` is called when a postback is due."""

    def __init__(
        self, ledger: Ledger, visits: Visits, events: Events, clock: Clock, due: Callable[[], None]
    ) -> None:
        self._ledger = ledger
        self._visits = visits
        self._events = events
        self._clock = clock
        self._due = due
        self._book = OrderBook(ledger)

    async def record(
        self,
        site: SiteRuntime,
        seen: OrderSeen,
        *,
        visitor: str | None,
        touches: tuple[Touch, ...] = (),
        conversation: str | None = None,
        agent: str | None = None,
        shown: Shown | None = None,
        raw: str | None = None,
    ) -> Recorded:
        """Write a sighting, and what the order comes to with it: its amounts and state, who earns it, and the
        postbacks due, or held.

        `touches` are those of the visitor's cookie; `shown` belongs to an order that a page showed. Raises
        what the ledger raises.
        """
        now = self._clock.now()
        known = await self._visitor(site, visitor, touches)
        sighting = Sighting.of(
            seen,
            site=site.name,
            at=now,
            visitor=visitor,
            conversation=conversation,
            agent=agent,
            touches=tuple(touch.to_json() for touch in known.touches) if known is not None else (),
            doubts=await doubts_of(self._ledger.orders, site, seen, known, shown, now),
        )
        entry = await self._book.add(sighting, _SiteCrediting(site, self._ledger), now, raw=raw)
        if entry.postbacks:
            self._due()
        notify(self._events, entry)
        if entry.added and visitor is not None and entry.after.visitor == visitor:
            await self._note_ordered(site, visitor, entry.after.placed_at, shown)
        return Recorded(entry.after, entry.before is None, await self._ledger.outbox.held(entry.after.row))

    async def record_seen(
        self,
        site: SiteRuntime,
        order: OrderSeen,
        visitor: str | None,
        touches: tuple[Touch, ...],
        shown: Shown | None = None,
    ) -> None:
        """Record an order that a page showed. Nobody will tell us of it again, so a ledger that fails is
        tried for half a minute; then, or when clew stops before, all of the order goes into the log."""
        failure: BaseException | None = None
        try:
            for pause in TRIES:
                await asyncio.sleep(pause)
                try:
                    await self.record(site, order, visitor=visitor, touches=touches, shown=shown)
                except Exception as error:
                    failure = error
                else:
                    return
        except asyncio.CancelledError:
            self._notify_unrecorded(site, order, visitor, touches, failure)
            raise
        self._notify_unrecorded(site, order, visitor, touches, failure)

    def _notify_unrecorded(
        self,
        site: SiteRuntime,
        order: OrderSeen,
        visitor: str | None,
        touches: tuple[Touch, ...],
        failure: BaseException | None,
    ) -> None:
        self._events.emit(
            "order_unrecorded",
            site=site.name,
            order=order.id,
            total=str(order.total),
            currency=order.currency,
            coupon=order.coupon,
            visitor=visitor,
            touches=[touch.to_json() for touch in touches],
            error=repr(failure),
        )

    async def _visitor(
        self, site: SiteRuntime, visitor: str | None, touches: tuple[Touch, ...]
    ) -> Visitor | None:
        """What is known of the visitor, with the touches of its cookie."""
        if visitor is None:
            return Visitor("", touches=touches) if touches else None
        try:
            known = await self._visits.get(site.name, visitor)
        except Exception as error:
            # The cookie's touches have to do.
            self._events.emit("fault", site=site.name, where="order", error=repr(error))
            known = None
        if known is None:
            return Visitor(visitor, touches=touches)
        return structs.replace(known, touches=merge(known.touches, touches))

    async def _note_ordered(
        self, site: SiteRuntime, visitor: str, placed: float, shown: Shown | None
    ) -> None:
        page = shown.page if shown is not None else ""
        try:
            await self._visits.change(site.name, visitor, [Ordered(placed, page)], self._clock.now())
        except Exception as error:
            self._events.emit("fault", site=site.name, where="order", error=repr(error))


class _SiteCrediting:
    """What orders of a site are credited by now."""

    def __init__(self, site: SiteRuntime, ledger: Ledger) -> None:
        self._site = site
        self._ledger = ledger

    def decide(self, inputs: Inputs, known: Known | None) -> tuple[Policy, Decision]:
        """By the site's terms."""
        return self._site.policy, decide(inputs, self._site.policy)

    async def channel(self, order: Order, known: Known | None) -> tuple[Channel, str | None]:
        """`chat` when the visitor wrote within the window before it ordered; a conversation that began after
        the order did not bring it. The source of a report may name the channel itself."""
        if order.channel is not None:
            return order.channel, order.conversation
        if order.conversation is not None:
            return "chat", order.conversation
        if order.visitor is None:
            return "web", None
        since = order.placed_at - self._site.settings.chat.window_hours * 3600
        # What was written before an order that is seen now came before it, even if the clock was set back.
        until = order.placed_at if order.time_is_told else order.placed_at + DAY
        talks = self._ledger.conversations
        talked_in = await talks.visitor_talked(self._site.name, order.visitor, since, until)
        return ("chat" if talked_in is not None else "web"), talked_in

    def partner(self, partner: str) -> Partner | None:
        """A partner of the site."""
        return self._site.partners.get(partner)


async def settle(
    ledger: Ledger,
    partners: Callable[[str], list[Partner]],
    postback_id: str,
    now: float,
    *,
    by: str,
    send: bool = True,
    amount: Decimal | None = None,
    currency: str | None = None,
    site: str | None = None,
) -> Entry:
    """A person decides on an order whose postback is held: it is sent, with another amount if one is given,
    or refused. What was refused may still be sent.

    `partners` are those of a site by its name. `by` says who decides. With `site` only one of that site is
    found. Raises OutboxError for an unknown id and for any other state, OrderError for an amount that cannot
    be.
    """
    found = await ledger.outbox.get(postback_id, site=site)
    if found is None:
        raise OutboxError(f"{postback_id}: no such postback")
    if found.state not in ("held", "refused"):
        raise OutboxError(f"{postback_id}: it is {found.state}, not held")
    if found.hold == "manual":
        raise OutboxError(f"{postback_id}: {found.why}. Then mark it as told")
    order = await ledger.orders.at(found.order)
    if order is None:
        raise OutboxError(f"{postback_id}: its order is another one now")
    correction = Correction(by=by, why=found.why or "", release=send, refuse=not send)
    right = _corrected(order, amount, currency)
    sighting = Sighting(
        site=found.site,
        source="agent",
        at=now,
        id=order.order_id,
        total=right[0],
        currency=right[1],
        state=None,
        agent=by,
        correction=correction,
    )
    return await OrderBook(ledger).add(sighting, Kept(partners(found.site)), now)


def _corrected(
    order: StoredOrder, amount: Decimal | None, currency: str | None
) -> tuple[Decimal | None, str | None]:
    """Another amount of an order, checked; nothing where it stays."""
    if amount is None and currency is None:
        return None, None
    code = checked_currency(currency) if currency is not None else order.currency
    right = order.total if amount is None else amount
    if right is None or code is None:
        raise OrderError("total: the order has no amount yet; name both the amount and the currency")
    total = Decimal(amount_text(right, code))
    if total != right:
        raise OrderError(f"total: {code} has fewer digits after the separator than {right}")
    return total, code


def settled(entry: Entry, postback_id: str) -> Postback:
    """The postback that a decision came to. Raises OutboxError where there is nothing left to tell."""
    if not entry.postbacks:
        raise OutboxError(f"{postback_id}: there is nothing to tell the partner any more")
    return next((row for row in entry.postbacks if row.id == postback_id), entry.postbacks[-1])


__all__ = ["Ordering", "Recorded", "held", "settle", "settled"]
