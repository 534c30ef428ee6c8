"""What is due to a partner: the difference between what it has been told of an order and how the order stands.

Pure. One event for each change that matters to the partner: a new order, another amount, an order or a share
that is gone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Final

from ..orders.history import Order
from ..orders.money import amount_text
from ..referral.decision import Decision
from ..settings.model import Partner
from .model import Postback, Report, State

NEW, ADJUST, CANCEL = "order", "adjust", "cancel"
EVENTS: Final[Sequence[str]] = (NEW, ADJUST, CANCEL)

TOLD: Final[frozenset[State]] = frozenset({"sending", "delivered", "unknown"})
"""The states of a postback of which the partner may have heard."""


def reports(order: Order, decision: Decision, channel: str) -> dict[str, Report]:
    """By partner, what each should have of the order as it stands. Empty where nobody earns it, or it is no
    sale and never was one to a partner."""
    if order.total is None or order.currency is None:
        return {}
    found = {}
    for share in decision.shares:
        if share.click is None or share.touched_at is None:
            continue
        amount = order.amount * share.part
        found[share.partner] = Report(
            event=NEW if order.is_sale else CANCEL,
            partner=share.partner,
            click_id=share.click.value,
            click_param=share.click.param,
            order_id=order.number,
            amount=amount_text(amount, order.currency),
            currency=order.currency,
            channel=channel,
            order_time=int(order.placed_at),
            landing_time=int(share.touched_at),
            voucher=order.coupon or "",
            state=order.state,
        )
    return found


def change(told: Report | None, now: Report | None) -> Report | None:
    """The event that brings a partner from what it was told to what holds now; None where it knows.

    A partner that was told nothing hears of no cancellation. One that was told of a cancellation and earns
    again is told of a change: its own record of the order exists.
    """
    if told is None:
        return None if now is None or now.event == CANCEL else now
    if now is None or now.event == CANCEL:
        if told.event == CANCEL:
            return None
        last = told if now is None else now
        nothing = amount_text(Decimal(), last.currency)
        return replace(last, event=CANCEL, amount=nothing, click_id=told.click_id)
    if told.event == CANCEL or _values(told) != _values(now):
        return replace(now, event=ADJUST)
    return None


def _values(report: Report) -> tuple[str, str, str]:
    return report.amount, report.currency, report.click_id


def last_told(sent: Sequence[Postback]) -> Mapping[str, Report]:
    """By partner, what it was told last, or may have been; `sent` in the order of their sequence."""
    return {p.partner: p.report for p in sent if p.state in TOLD}


def takes(partner: Partner, event: str) -> bool:
    """Whether a partner's call can tell of this kind of event: a signed webhook of all, a URL template of
    all if it has `{event}` in it."""
    if event == NEW:
        return True
    if partner.network is not None:
        return False
    return partner.secret is not None or "{event}" in (partner.postback or "")
