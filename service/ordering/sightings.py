"""An order that is told of, for the first time or again: what is in the log, and what a later word changes.

A page is a hint, the shop's server is the truth. As long as no partner has been told, a better word
corrects what was recorded: an amount, who the visitor is, that it is a sale after all. After that it is a
conflict for a person.
"""

from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, cast

from ...orders.doubt import Doubt
from ...orders.model import Channel, OrderSeen, State
from ...orders.money import amount_text
from ...postbacks.model import Postback, Report
from ...referral.credit import Considered, Credit
from ...stores.ledger.orders import Recorded
from ..site import SiteRuntime
from .doubts import amounts_doubt

if TYPE_CHECKING:
    from ..service import Service
    from .recording import Weighed

EVENT = "order"
SERVER = "the shop's server"
# An order that was in one of these may become a sale: the money has come.
NOT_YET: frozenset[State] = frozenset({"payment_due", "problem"})


def tell_recorded(service: "Service", recorded: Recorded, weighed: "Weighed") -> None:
    """Tell of a new order, its credit, and a doubt that holds it."""
    service.journal.emit(
        "order",
        site=recorded.site,
        order=recorded.order_id,
        total=amount_text(recorded.total, recorded.currency),
        currency=recorded.currency,
        state=recorded.state,
        channel=recorded.channel,
        source=recorded.source,
        visitor=recorded.visitor,
    )
    tell_credit(service, recorded, weighed)


def tell_credit(service: "Service", recorded: Recorded, weighed: "Weighed") -> None:
    """Tell who earns an order, and of a doubt that holds it."""
    earned = weighed.credit
    service.journal.emit(
        "credit",
        site=recorded.site,
        order=recorded.order_id,
        partner=earned.partner,
        reason=earned.reason,
        visitor=recorded.visitor,
    )
    if weighed.doubt is not None:
        _tell_held(service, recorded, weighed.doubt)


def _tell_held(service: "Service", recorded: Recorded, doubt: Doubt) -> None:
    fields = {"order": recorded.order_id, "partner": recorded.partner, "why": doubt.text}
    if doubt.kind == "confirm":  # nothing is wrong yet
        service.journal.emit("order_held", site=recorded.site, key=doubt.kind, **fields)
    else:
        service.journal.notice("order_held", site=recorded.site, key=doubt.kind, **fields)


def tell_settled(service: "Service", row: Postback, by: str) -> None:
    """Tell what became of a postback that was in doubt, and who decided."""
    _tell_postback(service, "postback_settled", row, by)


def tell_retried(service: "Service", row: Postback, by: str) -> None:
    """Tell that a postback is sent once more, and who wants it."""
    _tell_postback(service, "postback_retried", row, by)


def _tell_postback(service: "Service", event: str, row: Postback, by: str) -> None:
    service.journal.emit(
        event,
        site=row.site,
        postback=row.id,
        order=row.report.order_id,
        state=row.state,
        amount=row.report.amount,
        currency=row.report.currency,
        agent=by,
    )


async def told_again(
    service: "Service",
    site: SiteRuntime,
    order: OrderSeen,
    known: Recorded,
    weighed: "Weighed",
    visitor: str | None,
    by_page: bool,
) -> None:
    """See to the sighting of an order that is known. Raises what the ledger raises."""
    same = (order.total, order.currency) == (known.total, known.currency)
    others = visitor is not None and known.visitor is not None and visitor != known.visitor
    # Anybody can open a page without our cookie: that says nothing of whose the order is.
    nobody = visitor is None and order.source in ("page", "browser")
    paid = order.is_sale and known.state in NOT_YET and not nobody
    whose = visitor if visitor is not None and (known.visitor is None or order.source == "api") else None
    # A browser can tell of any number before the order is placed: what the shop sent takes its place.
    better = by_page and known.source == "browser" and not nobody and not (others and weighed.doubt)
    decided = False
    if better and order.is_sale:
        decided = await _decide_anew(service, order, known, weighed, visitor, better=True)
    elif paid or (order.is_sale and whose not in (None, known.visitor)):
        decided = await _decide_anew(service, order, known, weighed, whose or known.visitor)
    if order.source == "api" and known.source != "api" and order.is_sale:
        await _confirm(service, site, order, known)
    agrees = same and not others and order.is_sale == (known.state == "placed")
    if agrees or (decided and (same or not better)):
        service.journal.emit(
            "order_repeated", site=site.name, order=order.id, source=order.source, visitor=visitor
        )
        return
    why = _conflict(order, known, others)
    wrong = not same and (order.source != "api" or known.source == "api")
    if not order.is_sale or (wrong and not decided):
        await service.ledger.outbox.hold(known.row, Doubt("conflict", why))
    service.journal.notice("order_conflict", site=site.name, key=order.id, order=order.id, why=why)


async def _decide_anew(
    service: "Service",
    order: OrderSeen,
    known: Recorded,
    weighed: "Weighed",
    visitor: str | None,
    *,
    better: bool = False,
) -> bool:
    if visitor == known.visitor and weighed.credit.partner is None and known.partner is not None:
        weighed = _as_credited(order, known, weighed)
    done = await service.ledger.orders.anew(
        known,
        state=order.state,
        visitor=visitor,
        channel=weighed.channel,
        conversation=weighed.conversation,
        credit=weighed.credit,
        reports=weighed.reports,
        doubt=weighed.doubt,
        now=service.now(),
        better=order if better else None,
    )
    if done:
        service.worker.wake()
        tell_credit(service, known, weighed)
    return done


def _as_credited(order: OrderSeen, known: Recorded, weighed: "Weighed") -> "Weighed":
    """Who tells of it now knows nothing of the visitor: what was decided at first stands."""
    considered = tuple(Considered(**touch) for touch in known.considered)
    earned = Credit(known.partner, known.click, known.touched_at, known.reason, considered)
    channel = order.channel or cast("Channel", known.channel)
    reports = reports_of(order, channel, earned, known.placed_at)
    return replace(weighed, channel=channel, conversation=known.conversation, credit=earned, reports=reports)


async def _confirm(
    service: "Service",
    site: SiteRuntime,
    order: OrderSeen,
    known: Recorded,
) -> None:
    """The shop's server tells of an order: what is held is due with its amount."""
    same = (order.total, order.currency) == (known.total, known.currency)
    # Two that agree are not doubted because a third, the orders before, were smaller.
    doubt = None if same else await amounts_doubt(service, site, order, {})
    settled = await service.ledger.outbox.confirm(
        known.row,
        service.now(),
        by=SERVER,
        total=Decimal(order.total),
        currency=order.currency,
        doubt=doubt,
    )
    for row in settled:
        tell_settled(service, row, SERVER)
    if settled:
        service.worker.wake()


def _conflict(order: OrderSeen, known: Recorded, others: bool) -> str:
    parts = []
    if (order.total, order.currency) != (known.total, known.currency):
        parts.append(
            f"{known.total} {known.currency} by the {known.source}, "
            f"then {order.total} {order.currency} by the {order.source}"
        )
    if order.state != known.state:
        parts.append(f"{known.state}, then {order.state}")
    if others:
        parts.append("shown to another visitor than at first")
    return "told of in two ways: " + "; ".join(parts)


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
