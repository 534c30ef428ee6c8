"""What one sighting of an order comes to by itself: who earns it, through which channel, who must be told."""

from dataclasses import dataclass

from ...orders.doubt import Doubt
from ...orders.model import Channel, OrderSeen
from ...orders.money import amount_text
from ...postbacks.model import Report
from ...referral.credit import DAY, Credit, credit
from ...referral.visitor import Visitor
from ...stores.ledger.books import Ledger
from ..site import SiteRuntime
from .doubts import Shown, doubt_of

EVENT = "order"


@dataclass(frozen=True, slots=True)
class Weighed:
    """What a sighting of an order comes to, by itself."""

    placed: float
    channel: Channel
    conversation: str | None
    credit: Credit
    reports: list[Report]
    doubt: Doubt | None


async def weighed_of(
    ledger: Ledger,
    site: SiteRuntime,
    order: OrderSeen,
    who: Visitor | None,
    conversation: str | None,
    shown: Shown | None,
    now: float,
    *,
    confirmed: bool = False,
) -> Weighed:
    """Who earns the order, through which channel, who must be told, and what stands against telling them.

    `confirmed` says that the shop's server has told of the order. Raises what the ledger raises.
    """
    placed = min(order.placed_at, now) if order.placed_at is not None else now
    visitor = who.id if who is not None else None
    channel, talked_in = await _channel(ledger, site, order, visitor, conversation, placed)
    earned = credit(who.touches if who is not None else (), placed, site.terms, now)
    reports = reports_of(order, channel, earned, placed) if order.is_sale else []
    doubt = None
    if reports and who is not None:
        doubt = await doubt_of(ledger.orders, site, order, who, shown, now, confirmed=confirmed)
    return Weighed(placed, channel, conversation or talked_in, earned, reports, doubt)


async def _channel(
    ledger: Ledger,
    site: SiteRuntime,
    order: OrderSeen,
    visitor: str | None,
    conversation: str | None,
    placed: float,
) -> tuple[Channel, str | None]:
    """`chat` when the visitor wrote within the window before it ordered; a talk that began after the order
    did not bring it. Who reports the order may say the channel itself."""
    if order.channel is not None:
        return order.channel, None
    if conversation is not None:
        return "chat", conversation
    if visitor is None:
        return "web", None
    since = placed - site.settings.chat.window_hours * 3600
    # What was written before an order that is seen now came before it, even if the clock was set back since.
    until = placed if order.placed_at is not None else placed + DAY
    talked_in = await ledger.conversations.visitor_talked(site.name, visitor, since, until)
    return ("chat" if talked_in is not None else "web"), talked_in


def reports_of(order: OrderSeen, channel: Channel, earned: Credit, placed: float) -> list[Report]:
    """What is due to partners for an order that is a sale."""
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
