"""An order's items and commission groups, with the part of the reported amount that falls to each.

What a partner is told of an order is one amount: after refunds, discounts on the whole order, and its share.
The shop's item prices know nothing of them. So the amount is spread over the items in proportion to their
own values, to the last minor unit, and the rest of each item's price is its discount. Refunds that name
items are taken from the values of these: an item that went back has nothing of the amount.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_FLOOR, ROUND_HALF_UP, ROUND_UP, Decimal

from ..orders.model import Item
from ..orders.money import minor_digits
from .model import Report


@dataclass(frozen=True, slots=True)
class Line:
    """One item. unit_price × quantity − discount is `total`, and all totals are the reported amount.
    `change` is the difference to what was reported before. `group` is empty if the partner has none."""

    sku: str
    name: str
    category: str
    group: str
    quantity: Decimal
    unit_price: Decimal
    discount: Decimal
    total: Decimal
    change: Decimal
    tax: Decimal | None
    index: int
    count: int


@dataclass(frozen=True, slots=True)
class Part:
    """A commission group, and the part of the amount that falls to it."""

    group: str
    amount: Decimal


def lines(report: Report, groups: Mapping[str, str], default: str, without_items: str) -> tuple[Line, ...]:
    """The order's items; none if they, or the price of one, are not known.

    `groups` has the commission group of a category or of an item id, `default` is that of all others. Where
    the items are not known and `without_items` is not empty, it is the id of one line over the whole amount.
    """
    amount, unit = Decimal(report.amount), Decimal(1).scaleb(-minor_digits(report.currency))
    before = Decimal(report.before or 0)
    items = report.items
    if not items or any(item.price is None for item in items):
        if not without_items:
            return ()
        items = (Item(id=without_items, price=max(amount, before)),)
    values = [_value(item) for item in items]
    totals = spread(amount, _weights(report.left, values), unit)
    earlier = spread(before, _weights(report.left_before, values), unit)
    found = []
    for number, (item, total, was) in enumerate(zip(items, totals, earlier, strict=True), start=1):
        quantity = item.quantity if item.quantity > 0 else Decimal(1)
        price = (item.price or Decimal()).quantize(unit, ROUND_HALF_UP)
        if price * quantity < total:
            price = (total / quantity).quantize(unit, ROUND_UP)
        found.append(
            Line(
                sku=item.id,
                name=item.name,
                category=item.category,
                group=groups.get(item.id) or groups.get(item.category) or default,
                quantity=quantity,
                unit_price=price,
                discount=(price * quantity).quantize(unit, ROUND_HALF_UP) - total,
                total=total,
                change=total - was,
                tax=item.tax,
                index=number,
                count=len(items),
            )
        )
    return tuple(found)


def parts(report: Report, found: Sequence[Line], default: str) -> tuple[Part, ...]:
    """The commission groups of the order, in the order of their first item; one for all if no items are
    known. None where an item has no group."""
    if not found:
        return (Part(default, Decimal(report.amount)),) if default else ()
    if any(not line.group for line in found):
        return ()
    amounts: dict[str, Decimal] = {}
    for line in found:
        amounts[line.group] = amounts.get(line.group, Decimal()) + line.total
    # A group of which all went back has no part.
    left = {group: amount for group, amount in amounts.items() if amount} if report.left else amounts
    return tuple(Part(group, amount) for group, amount in (left or amounts).items())


def spread(amount: Decimal, weights: Sequence[Decimal], unit: Decimal) -> list[Decimal]:
    """The amount in multiples of `unit`, in proportion to the weights: together exactly the amount.

    By the largest remainder (Hamilton): what rounding down leaves goes to those that lost most by it.
    """
    whole = sum(weights, Decimal())
    if whole <= 0:
        weights = [Decimal(1)] * len(weights)
        whole = Decimal(len(weights))
    exact = [amount * weight / whole for weight in weights]
    found = [one.quantize(unit, ROUND_FLOOR) for one in exact]
    left = int((amount - sum(found, Decimal())) / unit)
    by_loss = sorted(range(len(exact)), key=lambda n: (found[n] - exact[n], n))
    for n in by_loss[:left]:
        found[n] += unit
    return found


def _weights(left: Sequence[Decimal], values: Sequence[Decimal]) -> Sequence[Decimal]:
    """What is left of the items' values; all of it where nothing or all went back, such as where only the
    shipping is left."""
    return left if any(left) and len(left) == len(values) else values


def _value(item: Item) -> Decimal:
    return max((item.price or Decimal()) * item.quantity - (item.discount or Decimal()), Decimal())
