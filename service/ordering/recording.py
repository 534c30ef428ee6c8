"""An order, however it was seen: who earns it, where it was closed, and who must be told."""

import asyncio
from collections.abc import Callable
from dataclasses import fields

from msgspec import structs

from ...events.events import Events
from ...orders.model import OrderSeen
from ...referral.touches import Touch, merge
from ...referral.visitor import Ordered, Visitor
from ...stores.ledger.books import Ledger
from ...stores.ledger.orders import Recorded
from ...stores.visits import Visits
from ..clock import Clock
from ..site import SiteRuntime
from .doubts import Shown
from .sightings import Sightings
from .weighing import weighed_of

# Pauses before each try to write an order that nobody will tell us of again.
TRIES = (0.0, 0.2, 1.0, 5.0, 20.0)


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
        self._sightings = Sightings(ledger, events, clock, due)

    async def record(
        self,
        site: SiteRuntime,
        order: OrderSeen,
        *,
        visitor: str | None,
        touches: tuple[Touch, ...] = (),
        conversation: str | None = None,
        agent: str | None = None,
        shown: Shown | None = None,
    ) -> Recorded:
        """Write order, credit and the postbacks due, or held, in one transaction.

        An order that is known stays as it is; what is told of it besides may settle or raise a doubt.
        `touches` are those of the visitor's cookie; `shown` belongs to an order of source `page`.
        Raises what the ledger raises.
        """
        now = self._clock.now()
        who = await self._visitor(site, visitor, touches)
        weighed = await weighed_of(self._ledger, site, order, who, conversation, shown, now)
        recorded = await self._ledger.orders.record(
            site.name,
            order,
            visitor=visitor,
            channel=weighed.channel,
            conversation=weighed.conversation,
            agent=agent,
            credit=weighed.credit,
            reports=weighed.reports,
            doubt=weighed.doubt,
            now=now,
        )
        if recorded.created:
            self._due()
            self._sightings.recorded(recorded, weighed)
            await self._note_ordered(site, visitor, weighed.placed, shown)
            return recorded
        if await self._sightings.again(site, order, recorded, who, visitor, conversation, shown):
            await self._note_ordered(site, visitor, weighed.placed, shown)
        again = await self._ledger.orders.get(site.name, order.id)
        return (
            recorded
            if again is None
            else Recorded(**{f.name: getattr(again, f.name) for f in fields(again)}, created=False)
        )

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
        self, site: SiteRuntime, visitor: str | None, placed: float, shown: Shown | None
    ) -> None:
        if visitor is None:
            return
        page = shown.page if shown is not None else ""
        try:
            await self._visits.change(site.name, visitor, [Ordered(placed, page)], self._clock.now())
        except Exception as error:
            self._events.emit("fault", site=site.name, where="order", error=repr(error))
