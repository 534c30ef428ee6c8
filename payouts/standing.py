"""What a credit decision gives each partner for an order as it stands."""

import re
from collections.abc import Mapping
from typing import Final, get_args

from ..credit.arrivals import DAY
from ..credit.decision import Decision, Share
from ..credit.division import divided
from ..credit.terms import Terms
from ..orders.history import Order
from ..orders.model import OrderState
from .account import Standing, minor

# How the reasons begin that tell more than a partner may read.
_GONE: Final = "the order is not credited to"
_CHANGED: Final = "the order or its credit changed"
_STATES: Final = "|".join(state.replace("_", " ") for state in get_args(OrderState))
# Those that tell nothing else.
_PLAIN: Final = re.compile(
    rf"the order is (?:{_STATES})|[0-9.]{{1,40}} [A-Z]{{3}} of the order were refunded"
)


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
        return f"{_GONE} {partner} any more: {decision.reason}"
    if not order.is_sale:
        return f"the order is {order.state.replace('_', ' ')}"
    if order.refunded:
        return f"{order.refunded:f} {order.currency} of the order were refunded"
    return share.reason if not before else f"{_CHANGED}: {share.reason}"


def outgoing(kind: str, why: str) -> str:
    """The reason of an entry (`payouts.account.Kind`) for files that leave the shop: a fixed text, or that of
    a refund or a state. Reasons may have other partners, and what agents wrote, with their names."""
    if kind in ("approved", "declined"):
        return kind
    if why.startswith(_GONE):
        return f"{_GONE} the partner any more"
    if _PLAIN.fullmatch(why):
        return why
    return (
        _CHANGED if kind == "clawback" or why.startswith(_CHANGED) else "the order is credited to the partner"
    )
