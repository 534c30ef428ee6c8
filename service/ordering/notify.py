"""Emits the events for reports of orders and decisions about postbacks."""

from ...events.events import Events
from ...orders.doubt import SUSPECTED
from ...orders.model import SALES
from ...orders.money import amount_text
from ...postbacks.model import Postback
from ...stores.ledger.orders import StoredOrder
from .book import SERVER, Entry, held


def notify(events: Events, entry: Entry) -> None:
    """Report a new or changed order, its credit, and the doubt that holds it."""
    before, after = entry.before, entry.after
    if entry.crowded:
        fields = {"order": after.order_id, "source": entry.sighting.source, "kept": entry.added}
        events.notice("order_crowded", site=after.site, key=after.order_id, **fields)
    if before is None:
        events.emit(
            "order",
            site=after.site,
            order=after.order_id,
            total=_amount(after),
            currency=after.currency,
            state=after.state,
            channel=after.channel,
            source=after.source,
            visitor=after.visitor,
        )
    else:
        _notify_known(events, entry, before)
    if (why := _overpaid(after)) and (before is None or _overpaid(before) != why):
        events.notice("order_conflict", site=after.site, key=after.order_id, order=after.order_id, why=why)
    if before is None or (before.partner, before.click) != (after.partner, after.click):
        events.emit(
            "credit",
            site=after.site,
            order=after.order_id,
            partner=after.partner,
            reason=after.reason,
            visitor=after.visitor,
        )
    for doubt in after.doubts:
        if doubt.kind == "code" and (before is None or doubt not in before.doubts):
            fields = {"order": after.order_id, "why": doubt.text}
            events.notice("code_leaked", site=after.site, key=after.partner or "", **fields)
        elif doubt.kind in SUSPECTED and (before is None or doubt not in before.doubts):
            events.notice(
                "fraud_suspected",
                site=after.site,
                key=f"{after.partner} {doubt.kind}",
                order=after.order_id,
                partner=after.partner,
                kind=doubt.kind,
                why=doubt.text,
            )
    _notify_postbacks(events, entry)


def _notify_known(events: Events, entry: Entry, before: StoredOrder) -> None:
    """Report a further sighting of an order: a repeat, a correction, or a conflict."""
    after, sighting = entry.after, entry.sighting
    fields = {"order": after.order_id, "source": sighting.source, "visitor": sighting.visitor}
    if _stands(before) != _stands(after):
        values = {"total": _amount(after), "currency": after.currency, "state": after.state}
        events.emit("order_corrected", site=after.site, **fields, **values)
    elif why := _conflict(entry):
        events.notice("order_conflict", site=after.site, key=after.order_id, order=after.order_id, why=why)
    else:
        events.emit("order_repeated", site=after.site, **fields)


def _notify_postbacks(events: Events, entry: Entry) -> None:
    after, correction = entry.after, entry.sighting.correction
    doubt = held(entry.postbacks)
    if doubt is not None:
        fields = {"order": after.order_id, "partner": after.partner, "why": doubt.text}
        if doubt.kind == "confirm":  # waiting for the server is normal
            events.emit("order_held", site=after.site, key=doubt.kind, **fields)
        else:
            events.notice("order_held", site=after.site, key=doubt.kind, **fields)
    if entry.before is not None and entry.before.doubts:
        by = correction.by if correction is not None else SERVER
        for row in entry.postbacks:
            if row.state != "held":
                notify_settled(events, row, by)


def notify_settled(events: Events, row: Postback, by: str) -> None:
    """Report how a postback in doubt was settled, and by whom."""
    _notify_postback(events, "postback_settled", row, by)


def notify_retried(events: Events, row: Postback, by: str) -> None:
    """Report that a postback is sent again, and by whom."""
    _notify_postback(events, "postback_retried", row, by)


def _notify_postback(events: Events, event: str, row: Postback, by: str) -> None:
    events.emit(
        event,
        site=row.site,
        postback=row.id,
        order=row.report.order_id,
        state=row.state,
        amount=row.report.amount,
        currency=row.report.currency,
        agent=by,
    )


def _stands(order: StoredOrder) -> tuple[object, ...]:
    return order.total, order.currency, order.state, order.refunded


def _amount(order: StoredOrder) -> str | None:
    if order.total is None or order.currency is None:
        return None
    return amount_text(order.total, order.currency)


def _overpaid(order: StoredOrder) -> str:
    """How much more was given back than the order's total; an empty text if nothing. Partners are told that
    the order is taken back, which is wrong if the shop reports a refund twice under two ids."""
    if order.total is None or order.currency is None or order.refunded <= order.total:
        return ""
    refunded = amount_text(order.refunded, order.currency)
    return f"refunds of {refunded} {order.currency}, more than the total of {_amount(order)}"


def _conflict(entry: Entry) -> str:
    """How a report differs from the order; an empty text if it does not."""
    after, sighting, parts = entry.after, entry.sighting, []
    if sighting.total is not None and (sighting.total, sighting.currency) != (after.total, after.currency):
        parts.append(
            f"{sighting.total} {sighting.currency} by the {sighting.source}, "
            f"but {after.total} {after.currency} by the {after.source}"
        )
    if sighting.state is not None and (sighting.state in SALES) != (after.state in SALES):
        parts.append(f"{sighting.state} by the {sighting.source}, but it is {after.state}")
    if None not in (sighting.visitor, after.visitor) and sighting.visitor != after.visitor:
        parts.append("shown to another visitor than the order's")
    return "; ".join(parts)
