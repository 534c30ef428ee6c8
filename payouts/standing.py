"""What a credit decision gives each partner for an order as it stands."""

from collections.abc import Mapping

from ..credit.arrivals import DAY
from ..credit.decision import Decision, Share
from ..credit.division import divided
from ..credit.terms import Terms
from ..orders.history import Order
from .account import Standing, minor


def standings(order: Order, decision: Decision, terms: Terms) -> dict[str, Standing]:
    """By partner. `order` is what of it counts for partners (`orders/net.py`). Empty while its amount is not
    known."""
    if order.total is None or order.currency is None:
        return {}
    currency = order.currency
    values = divided(order.amount, currency, [share.part for share in decision.shares])
    # A free order stands, one of which everything was refunded does not.
    stands = order.is_sale and not (order.total and not order.amount)
    return {
        share.partner: Standing(
            currency,
            minor(value, currency) if stands else 0,
            _amount(share, currency, stands=stands),
            stands,
            order.placed_at + hold_days(share, terms) * DAY,
            str(share.part),
        )
        for share, value in zip(decision.shares, values, strict=True)
    }


def hold_days(share: Share, terms: Terms) -> int:
    """Days from the order until a share is approved by itself: those of the terms that gave the commission,
    else of the partner, else of the site."""
    commission, further = share.commission, terms.further
    if commission is not None and commission.hold_days is not None:
        return commission.hold_days
    return further.holds.get(share.partner, further.hold_days)


def _amount(share: Share, currency: str, *, stands: bool) -> int | None:
    if share.commission is None:
        return None
    return minor(share.commission.amount, currency) if stands else 0


def reason(order: Order, decision: Decision, partner: str, before: Mapping[str, object]) -> str:
    """Why a partner's commission is what it is now, as text. `before` are its accounts, empty at first."""
    share = next((one for one in decision.shares if one.partner == partner), None)
    if share is None:
        return f"the order is not credited to {partner} any more: {decision.reason}"
    if not order.is_sale:
        return f"the order is {order.state.replace('_', ' ')}"
    if order.refunded:
        return f"{order.refunded:f} {order.currency} of the order were refunded"
    return share.reason if not before else f"the order or its credit changed: {share.reason}"
