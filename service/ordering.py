"""An order, however it was seen: who earns it, where it was closed, and who must be told."""

import asyncio
from typing import TYPE_CHECKING

from ..orders.model import Channel, OrderSeen
from ..orders.money import amount_text
from ..postbacks.model import Report
from ..referral.credit import DAY, Credit, credit
from ..referral.touches import Touch, merge
from ..referral.visitor import Ordered
from ..stores.ledger.orders import Recorded
from .site import SiteRuntime

if TYPE_CHECKING:
    from .service import Service

EVENT = "order"
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
) -> Recorded:
    """Write order, credit and the postbacks due in one transaction; a known order changes nothing.

    `touches` are those of the visitor's cookie. Raises what the ledger raises.
    """
    now = service.now()
    placed = min(order.placed_at, now) if order.placed_at is not None else now
    channel, talked_in = await _channel(service, site, order, visitor, conversation, placed)
    earned = credit(await _touches(service, site, visitor, touches), placed, site.terms, now)
    recorded = await service.ledger.orders.record(
        site.name,
        order,
        visitor=visitor,
        channel=channel,
        conversation=conversation or talked_in,
        agent=agent,
        credit=earned,
        reports=_reports(order, channel, earned, placed),
        now=now,
    )
    if recorded.created:
        service.worker.wake()
        _tell(service, site, order, channel, earned, visitor)
        if visitor is not None:
            await _note_ordered(service, site, visitor, placed)
    return recorded


async def record_seen_order(
    service: "Service", site: SiteRuntime, order: OrderSeen, visitor: str | None, touches: tuple[Touch, ...]
) -> None:
    """Record an order that a page showed. Nobody will tell us of it again, so a ledger that fails is tried
    for half a minute; then, or when clew stops before, all of the order goes into the log."""
    failure: BaseException | None = None
    try:
        for pause in TRIES:
            await asyncio.sleep(pause)
            try:
                await service.record_order(site, order, visitor=visitor, touches=touches)
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
    """`chat` when the visitor wrote within the window before he ordered; a talk that began after the order
    did not bring it (E13). Who reports the order may say the channel himself."""
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


async def _touches(
    service: "Service", site: SiteRuntime, visitor: str | None, touches: tuple[Touch, ...]
) -> tuple[Touch, ...]:
    if visitor is None:
        return touches
    try:
        known = await service.visits.get(site.name, visitor)
    except Exception as error:
        # The cookie's touches have to do.
        service.journal.emit("fault", site=site.name, where="order", error=repr(error))
        known = None
    return merge(known.touches, touches) if known is not None else touches


async def _note_ordered(service: "Service", site: SiteRuntime, visitor: str, placed: float) -> None:
    try:
        await service.visits.change(site.name, visitor, [Ordered(placed)], service.now())
    except Exception as error:
        service.journal.emit("fault", site=site.name, where="order", error=repr(error))


def _reports(order: OrderSeen, channel: Channel, earned: Credit, placed: float) -> list[Report]:
    if earned.partner is None or earned.click is None or earned.touched_at is None:
        return []
    return [
        Report(
            event=EVENT,
            partner=earned.partner,
            click_id=earned.click.value,
            click_param=earned.click.param,
            order_id=order.id,
            amount=amount_text(order.total, order.currency),
            currency=order.currency,
            channel=channel,
            order_time=int(placed),
            landing_time=int(earned.touched_at),
            voucher=order.coupon or "",
        )
    ]


def _tell(
    service: "Service",
    site: SiteRuntime,
    order: OrderSeen,
    channel: Channel,
    earned: Credit,
    visitor: str | None,
) -> None:
    service.journal.emit(
        "order",
        site=site.name,
        order=order.id,
        total=amount_text(order.total, order.currency),
        currency=order.currency,
        channel=channel,
        source=order.source,
        visitor=visitor,
    )
    service.journal.emit(
        "credit",
        site=site.name,
        order=order.id,
        partner=earned.partner,
        reason=earned.reason,
        visitor=visitor,
    )
