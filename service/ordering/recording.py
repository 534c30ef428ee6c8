"""An order, however it was seen: who earns it, where it was closed, and who must be told."""

import asyncio
from dataclasses import fields, replace
from typing import TYPE_CHECKING

from ...orders.model import OrderSeen
from ...referral.touches import Touch, merge
from ...referral.visitor import Ordered, Visitor
from ...stores.ledger.orders import Recorded
from ..site import SiteRuntime
from .doubts import Shown
from .sightings import tell_recorded, told_again
from .weighing import weighed_of

if TYPE_CHECKING:
    from ..service import Service

# Pauses before each try to write an order that nobody will tell us of again.
TRIES = (0.0, 0.2, 1.0, 5.0, 20.0)


async def record_order(
    service: "Service",
    site: SiteRuntime,
    order: OrderSeen,
    *,
    visitor: str | None,
    touches: tuple[Touch, ...],
    conversation: str | None,
    agent: str | None,
    shown: Shown | None = None,
) -> Recorded:
    """Write order, credit and the postbacks due, or held, in one transaction.

    An order that is known stays as it is; what is told of it besides may settle or raise a doubt.
    `touches` are those of the visitor's cookie; `shown` belongs to an order of source `page`.
    Raises what the ledger raises.
    """
    now = service.now()
    who = await _visitor(service, site, visitor, touches)
    weighed = await weighed_of(service, site, order, who, conversation, shown, now)
    recorded = await service.ledger.orders.record(
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
        service.worker.wake()
        tell_recorded(service, recorded, weighed)
        await _note_ordered(service, site, visitor, weighed.placed, shown)
        return recorded
    if await told_again(service, site, order, recorded, who, visitor, conversation, shown):
        await _note_ordered(service, site, visitor, weighed.placed, shown)
    again = await service.ledger.orders.get(site.name, order.id)
    return (
        recorded
        if again is None
        else Recorded(**{f.name: getattr(again, f.name) for f in fields(again)}, created=False)
    )


async def record_seen_order(
    service: "Service",
    site: SiteRuntime,
    order: OrderSeen,
    visitor: str | None,
    touches: tuple[Touch, ...],
    shown: Shown | None = None,
) -> None:
    """Record an order that a page showed. Nobody will tell us of it again, so a ledger that fails is tried
    for half a minute; then, or when clew stops before, all of the order goes into the log."""
    failure: BaseException | None = None
    try:
        for pause in TRIES:
            await asyncio.sleep(pause)
            try:
                await service.record_order(site, order, visitor=visitor, touches=touches, shown=shown)
            except Exception as error:
                failure = error
            else:
                return
    except asyncio.CancelledError:
        _tell_unrecorded(service, site, order, visitor, touches, failure)
        raise
    _tell_unrecorded(service, site, order, visitor, touches, failure)


def _tell_unrecorded(
    service: "Service",
    site: SiteRuntime,
    order: OrderSeen,
    visitor: str | None,
    touches: tuple[Touch, ...],
    failure: BaseException | None,
) -> None:
    service.journal.emit(
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
    service: "Service", site: SiteRuntime, visitor: str | None, touches: tuple[Touch, ...]
) -> Visitor | None:
    """What is known of the visitor, with the touches of its cookie."""
    if visitor is None:
        return Visitor("", touches=touches) if touches else None
    try:
        known = await service.visits.get(site.name, visitor)
    except Exception as error:
        # The cookie's touches have to do.
        service.journal.emit("fault", site=site.name, where="order", error=repr(error))
        known = None
    if known is None:
        return Visitor(visitor, touches=touches)
    return replace(known, touches=merge(known.touches, touches))


async def _note_ordered(
    service: "Service", site: SiteRuntime, visitor: str | None, placed: float, shown: Shown | None
) -> None:
    if visitor is None:
        return
    page = shown.page if shown is not None else ""
    try:
        await service.visits.change(site.name, visitor, [Ordered(placed, page)], service.now())
    except Exception as error:
        service.journal.emit("fault", site=site.name, where="order", error=repr(error))
