"""An order, however it was seen: who earns it, where it was closed, and who must be told."""

import asyncio
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

from ...orders.doubt import Doubt
from ...orders.model import Channel, OrderSeen
from ...postbacks.model import Report
from ...referral.credit import DAY, Credit, credit
from ...referral.touches import Touch, merge
from ...referral.visitor import Ordered, Visitor
from ...stores.ledger.orders import Recorded
from ..site import SiteRuntime
from .doubts import Shown, doubt_of
from .sightings import reports_of, tell_recorded, told_again

if TYPE_CHECKING:
    from ..service import Service

# Pauses before each try to write an order that nobody will tell us of again.
TRIES = (0.0, 0.2, 1.0, 5.0, 20.0)


@dataclass(frozen=True, slots=True)
class Weighed:
    """What a sighting of an order comes to, by itself."""

    placed: float
    channel: Channel
    conversation: str | None
    credit: Credit
    reports: list[Report]
    doubt: Doubt | None


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
    weighed = await _weighed(service, site, order, who, conversation, shown, now)
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
    by_page = shown is not None and not shown.by_browser
    await told_again(service, site, order, recorded, weighed, visitor, by_page)
    again = await service.ledger.orders.get(site.name, order.id)
    return (
        recorded
        if again is None
        else Recorded(**{f.name: getattr(again, f.name) for f in fields(again)}, created=False)
    )


async def _weighed(
    service: "Service",
    site: SiteRuntime,
    order: OrderSeen,
    who: Visitor | None,
    conversation: str | None,
    shown: Shown | None,
    now: float,
) -> Weighed:
    """Who earns the order, through which channel, who must be told, and what stands against telling them."""
    placed = min(order.placed_at, now) if order.placed_at is not None else now
    visitor = who.id if who is not None else None
    channel, talked_in = await _channel(service, site, order, visitor, conversation, placed)
    earned = credit(who.touches if who is not None else (), placed, site.terms, now)
    reports = reports_of(order, channel, earned, placed) if order.is_sale else []
    doubt = await doubt_of(service, site, order, who, shown, now) if reports and who is not None else None
    return Weighed(placed, channel, conversation or talked_in, earned, reports, doubt)


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


async def _channel(
    service: "Service",
    site: SiteRuntime,
    order: OrderSeen,
    visitor: str | None,
    conversation: str | None,
    placed: float,
) -> tuple[Channel, str | None]:
    """`chat` when the visitor wrote within the window before it ordered; a talk that began after the order
    did not bring it (E13). Who reports the order may say the channel itself."""
    if order.channel is not None:
        return order.channel, None
    if conversation is not None:
        return "chat", conversation
    if visitor is None:
        return "web", None
    since = placed - site.settings.chat.window_hours * 3600
    # What was written before an order that is seen now came before it, even if the clock was set back since.
    until = placed if order.placed_at is not None else placed + DAY
    talked_in = await service.ledger.conversations.visitor_talked(site.name, visitor, since, until)
    return ("chat" if talked_in is not None else "web"), talked_in


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
