"""What a partner's coupon code does to the credit of an order (A-table row 14)."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from .arrivals import Arrival
from .terms import Coupons, Further

# A shop that takes several codes names them in one text.
_BETWEEN = re.compile(r"[,;|\s]+")


@dataclass(frozen=True, slots=True)
class Code:
    """A coupon that belongs to a partner, as the shop wrote it, and what it is worth."""

    text: str
    partner: str
    policy: Coupons


def folded(code: str) -> str:
    """A code as codes are compared: shops print them in either case."""
    return code.strip().casefold()


def code_of(coupon: str | None, terms: Further) -> Code | None:
    """The first code of a partner in the order's coupon."""
    if not coupon or not terms.codes:
        return None
    for text in (coupon, *_BETWEEN.split(coupon)):
        partner = terms.codes.get(folded(text))
        if partner is not None:
            return Code(text.strip(), partner, terms.coupons.get(partner, terms.coupon))
    return None


def by_codes(arrivals: Sequence[Arrival], code: Code | None, terms: Further) -> list[Arrival]:
    """The arrivals, without those that the coupon policy excludes."""
    return [_by_code(one, code, terms) for one in arrivals]


def _by_code(arrival: Arrival, code: Code | None, terms: Further) -> Arrival:
    if arrival.lost or arrival.click is None:
        return arrival
    if code is not None and code.policy in ("code_first", "code_only"):
        if arrival.partner == code.partner:
            return arrival
        return replace(arrival, lost=f"the code {code.text} of {code.partner} counts before clicks")
    own = terms.coupons.get(arrival.partner, terms.coupon)
    if own == "code_only" and arrival.partner in terms.codes.values():
        return replace(arrival, lost=f"{arrival.partner} earns by its codes only")
    return arrival


def leaked(code: Code | None, orders: int, strangers: int, terms: Further) -> str:
    """Why a code looks leaked; empty if it does not. `orders` used it within the alarm's days, `strangers` of
    them without ever coming by its partner."""
    leak = terms.leaks.get(code.partner) if code is not None else None
    if code is None or leak is None or not leak.orders or strangers < leak.orders:
        return ""
    if strangers * 100 < leak.percent * orders:
        return ""
    return (
        f"the code {code.text} of {code.partner} may have leaked: {strangers} of {orders} orders with it in "
        f"{leak.days} days are of buyers who never came by {code.partner}"
    )
