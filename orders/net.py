"""What of an order's amount counts for partners: without tax or shipping, without some goods, in one
currency.

Pure. The order itself stays as it was reported.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import ROUND_HALF_UP, Decimal
from fnmatch import fnmatchcase
from typing import Any, Final

from msgspec import convert, json

from ..settings.model import Net
from .history import Order
from .model import Item, Refund
from .money import minor_digits
from .refunded import Counting, taken, value_of


@dataclass(frozen=True, slots=True)
class NetRule:
    """What counts. `tax`, `shipping`: whether they are part of it. `discount`: whether the discount is
    deducted. `without` are patterns of ids and categories of goods that do not count. `currency` is the one
    to convert to, by `rates` (one unit of a currency in it); None converts nothing."""

    tax: bool = True
    shipping: bool = True
    discount: bool = True
    without: tuple[str, ...] = ()
    currency: str | None = None
    rates: Mapping[str, Decimal] | None = None

    @classmethod
    def of(cls, settings: Net) -> "NetRule":
        """The rule of `[sites.net]`."""
        return cls(
            settings.tax == "include",
            settings.shipping == "include",
            settings.discount == "deduct",
            tuple(settings.without),
            settings.currency,
            dict(settings.rates),
        )

    def to_json(self) -> dict[str, Any]:
        """Plain data for the ledger."""
        found: dict[str, Any] = json.decode(json.encode(self))
        return found

    @classmethod
    def from_json(cls, data: Any) -> "NetRule":
        """The reverse of `to_json`."""
        return convert(data, cls)

    @property
    def is_gross(self) -> bool:
        """Whether the whole amount counts."""
        kept = self.tax and self.shipping and self.discount
        return kept and not self.without and self.currency is None


GROSS: Final = NetRule()
"""The whole amount counts."""


def net(order: Order, rule: NetRule) -> Decimal:
    """What of an order counts now, after its refunds; see `netted`."""
    return netted(order, rule)[0].amount


def netted(order: Order, rule: NetRule) -> tuple[Order, tuple[str, ...]]:
    """The order with the amounts that count, and what the rule asks for and the order does not say.

    A refund takes what counts of the goods that it gives back (see `refunded.taken`); one of goods that do
    not count takes nothing. Amounts have the currency's minor digits, halves rounded up.
    """
    if rule.is_gross or order.total is None or order.currency is None:
        return order, ()
    missing = tuple(name for name in _asked(rule) if getattr(order, name) is None)
    if rule.without and order.items is None:
        missing = (*missing, "items")
    rate = _rate(order.currency, rule)
    if rate is None:
        return order, (*missing, f"a rate for {order.currency}")
    part = 1 - _left_out(order, rule)
    whole = _counted(order, order.total, rule)
    counted = whole * part
    currency = rule.currency or order.currency
    total = _rounded(counted * rate, currency)
    refunds = _refunds(order, order.total, whole, part, rule, rate)
    refunded = sum((one.amount for one in refunds), Decimal())
    found = replace(
        order,
        total=total,
        currency=currency,
        refunds=refunds,
        refunded=total if order.refunded >= order.total else min(refunded, total),
        items=_items(order, rule, rate),
        net=_converted(order.net, rate, currency),
        tax=_converted(order.tax, rate, currency),
        shipping=_converted(order.shipping, rate, currency),
        discount=_converted(order.discount, rate, currency),
    )
    return found, missing


def _asked(rule: NetRule) -> tuple[str, ...]:
    asked = (("tax", not rule.tax), ("shipping", not rule.shipping), ("discount", not rule.discount))
    return tuple(name for name, is_asked in asked if is_asked)


def _counted(order: Order, total: Decimal, rule: NetRule) -> Decimal:
    """The amount without what does not count. What the order does not say is left in."""
    if order.net is not None and not rule.tax and not rule.shipping and rule.discount:
        return min(order.net, total)
    found = total
    if not rule.tax:
        found -= order.tax or Decimal()
    if not rule.shipping:
        found -= order.shipping or Decimal()
    if not rule.discount:
        found += order.discount or Decimal()
    return max(found, Decimal())


def _is_left_out(item: Item, rule: NetRule) -> bool:
    names = (item.id.lower(), item.category.lower())
    return any(fnmatchcase(name, pattern.lower()) for pattern in rule.without for name in names if name)


def _left_out(order: Order, rule: NetRule) -> Decimal:
    """The part of the goods' value, from 0 to 1, that does not count."""
    values = [(value_of(item), _is_left_out(item, rule)) for item in order.items or ()]
    whole = sum((value for value, _ in values), Decimal())
    if not whole:
        return Decimal(1) if values and all(left for _, left in values) else Decimal()
    return sum((value for value, left in values if left), Decimal()) / whole


def _refunds(
    order: Order, total: Decimal, whole: Decimal, part: Decimal, rule: NetRule, rate: Decimal
) -> tuple[Refund, ...]:
    """The refunds with what they take of what counts. They are rounded so that what is left of the order is
    exact."""
    left_out = frozenset(item.id for item in order.items or () if _is_left_out(item, rule))
    factor = whole / total if total and part else Decimal()
    how = Counting(total, whole, factor, rule.tax, rule.shipping, rule.discount, left_out)
    amounts = taken(order, how)
    currency, found = rule.currency or order.currency or "", []
    left, shown = whole * part, _rounded(whole * part * rate, currency)
    for refund, amount in zip(order.refunds, amounts, strict=True):
        left = max(left - amount, Decimal())
        before, shown = shown, _rounded(left * rate, currency)
        kept = (one for one in refund.items if one.id not in left_out)
        items = tuple(replace(one, amount=_converted(one.amount, rate, currency)) for one in kept)
        found.append(Refund(refund.id, before - shown, items))
    return tuple(found)


def _items(order: Order, rule: NetRule, rate: Decimal) -> tuple[Item, ...] | None:
    if order.items is None:
        return None
    kept = (item for item in order.items if not _is_left_out(item, rule))
    if rate == 1:
        return tuple(kept)

    def times(amount: Decimal | None) -> Decimal | None:
        return None if amount is None else amount * rate

    return tuple(replace(i, price=times(i.price), discount=times(i.discount), tax=times(i.tax)) for i in kept)


def _rate(currency: str, rule: NetRule) -> Decimal | None:
    if rule.currency in (None, currency):
        return Decimal(1)
    return (rule.rates or {}).get(currency)


def _converted(amount: Decimal | None, rate: Decimal, currency: str) -> Decimal | None:
    return None if amount is None else _rounded(amount * rate, currency)


def _rounded(amount: Decimal, currency: str) -> Decimal:
    return amount.quantize(Decimal(1).scaleb(-minor_digits(currency)), ROUND_HALF_UP)
