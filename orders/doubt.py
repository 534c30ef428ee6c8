"""Checks an order's amount against other amounts that are known, before a partner is notified. Pure.

A wrong amount is mostly misread, and then ten, a hundred or a thousand times too large or small. Shipping,
taxes and vouchers make a smaller difference.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from math import log10
from statistics import median
from typing import Final, Literal

from ..settings.model import Hold
from .model import Figure, OrderSeen
from .money import amount_text

# confirm: waits for the shop's server. checkout: no sign that the visitor ordered. browser: reported by the
# browser only. amount, currency: contradicts other amounts. conflict: two reports of the order disagree.
# manual: the partner has no call for such an event, so a person has to report it. nothing: there is nothing
# to report, so it does not wait for anybody.
# agent: an agent recorded more than one agent may. code: a partner's coupon that may have leaked.
# loop: the shop's server has reported it too often.
# self, velocity, crowd, bot, brand, unseen, claim: `credit/fraud.py`.
Kind = Literal[
    "confirm",
    "checkout",
    "browser",
    "amount",
    "currency",
    "conflict",
    "manual",
    "nothing",
    "agent",
    "code",
    "net",
    "loop",
    "self",
    "velocity",
    "crowd",
    "bot",
    "brand",
    "unseen",
    "claim",
]
SUSPECTED: Final[frozenset[Kind]] = frozenset(
    {"self", "velocity", "crowd", "bot", "brand", "unseen", "claim"}
)
"""Signs that a partner did not earn the order by honest means. "code" and "checkout" have rules of their
own."""
UNDOUBTED: Final[Sequence[Kind]] = ("manual", "nothing")
"""What says that no call is made, and nothing against the order."""

# Of a normal distribution the median absolute deviation is 0.6745 standard deviations (Iglewicz and Hoaglin,
# 1993); beyond three of them lies one order in 370.
_TO_DEVIATION = 1.4826
_DEVIATIONS = 3.0


@dataclass(frozen=True, slots=True)
class Doubt:
    """Why an order is held: the kind, and the reason with both amounts as text."""

    kind: Kind
    text: str


def amount_doubt(
    order: OrderSeen, figures: Sequence[Figure], earlier: Sequence[tuple[Decimal, str]], policy: Hold
) -> Doubt | None:
    """The doubt about the order's amount or currency; None if there is none.

    `figures` are other amounts for this order; `earlier` are total and currency of the site's earlier orders
    that are not in doubt.
    """
    if not policy.amounts or order.total is None or order.currency is None:
        return None
    amount = f"{amount_text(order.total, order.currency)} {order.currency}"
    for figure in (*order.figures, *figures):
        if figure.currency is not None and figure.currency != order.currency:
            return Doubt("currency", f"{amount}, but {figure.what} is in {figure.currency}: {figure}")
        if _times(order.total, figure.total) >= policy.factor:
            return Doubt("amount", f"{amount}, but {figure.what} is {figure}")
    if len(earlier) < policy.orders:
        return None
    alike = [total for total, currency in earlier if currency == order.currency]
    if not alike:
        others = ", ".join(sorted({currency for _, currency in earlier}))
        return Doubt("currency", f"{amount}, but the site's last {len(earlier)} orders are in {others}")
    if len(alike) < policy.orders or (usual := _off(order.total, alike, float(policy.factor))) is None:
        return None
    middle = amount_text(Decimal(usual), order.currency)
    return Doubt(
        "amount",
        f"{amount}, but the median of the site's last {len(alike)} orders is {middle} {order.currency}",
    )


def agent_doubt(by: str, total: Decimal | None, currency: str | None, policy: Hold) -> Doubt | None:
    """The doubt about an order that an agent records or corrects; None up to the limit for one agent."""
    limit = policy.agent_limit
    if limit is None or total is None or currency is None or total <= limit:
        return None
    amount = f"{amount_text(total, currency)} {currency}"
    return Doubt(
        "agent", f"{by} recorded {amount}, above the limit of {limit} for one agent: another one decides"
    )


def _times(first: Decimal, second: Decimal) -> Decimal:
    """The ratio of the larger to the smaller; 1 if one is zero, since a voucher may reduce a total to
    zero."""
    low, high = sorted((first, second))
    return high / low if low > 0 else Decimal(1)


def _off(total: Decimal, earlier: Sequence[Decimal], factor: float) -> float | None:
    """The median of the earlier orders if the total is too far from it, on a logarithmic scale; else None.

    Uses the median absolute deviation, since a few wrong orders change neither it nor the median. For a shop
    whose orders vary by powers of ten, the allowed distance grows.
    """
    logs = [log10(amount) for amount in earlier if amount > 0]
    if total <= 0 or not logs:
        return None
    middle = median(logs)
    spread = _TO_DEVIATION * median(abs(one - middle) for one in logs)
    return 10**middle if abs(log10(total) - middle) >= max(log10(factor), _DEVIATIONS * spread) else None
