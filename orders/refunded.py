"""What each refund takes of the amount of an order that counts for partners. Pure.

A refund that names goods takes what these goods count, and the rest of it is shipping, as far as shipping was
paid. One that names none and gives back the price of whole pieces is a refund of these. All others take the
same part of what counts as they have of the whole.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import Final

from .history import Order
from .model import Item, Refund
from .money import minor_digits

ZERO: Final = Decimal()
MOST_SUMS: Final = 256
"""Different prices of whole pieces together that are tried for a refund without items."""


@dataclass(frozen=True, slots=True)
class Counting:
    """How an order is counted: `counted` is what of its `total` counts, before goods are left out, `factor`
    its part. `tax` and `shipping`: whether they are part of it; `discount`: whether it is deducted.
    `left_out` are the ids of goods that do not count."""

    total: Decimal
    counted: Decimal
    factor: Decimal
    tax: bool
    shipping: bool
    discount: bool
    left_out: frozenset[str]

    @property
    def of_goods(self) -> Decimal:
        """What part of money counts that was paid for goods, where it is not known for which."""
        return Decimal(1) if self.tax and self.discount else self.factor


@dataclass(frozen=True, slots=True)
class _Goods:
    """All pieces of one id: `value` by the prices of the order's lines, `gross` as the customer paid it,
    `counted` what counts of it."""

    quantity: Decimal
    value: Decimal
    gross: Decimal
    counted: Decimal


def value_of(item: Item) -> Decimal:
    """What a line costs after its own discount."""
    return max((item.price or ZERO) * item.quantity - (item.discount or ZERO), ZERO)


def taken(order: Order, how: Counting) -> list[Decimal]:
    """What each refund of the order takes of what counts, not rounded."""
    goods, (shipping, of_it) = _goods(order, how), _shipping(order, how)
    sums = _sums(goods.values(), order.currency or "") if any(not one.items for one in order.refunds) else {}
    found = []
    for refund in order.refunds:
        if not refund.items:
            found.append(_unnamed(refund.amount, how, sums))
            continue
        gross, counted = _named(refund, goods, how)
        if gross > refund.amount:
            # Less was given back than the goods had cost.
            counted, gross = counted * refund.amount / gross, refund.amount
        rest = refund.amount - gross
        if all(one.id in how.left_out for one in refund.items):
            rest = ZERO
        paid = min(rest, shipping)
        shipping, rest = shipping - paid, rest - paid
        counted += paid * of_it
        found.append(counted + rest * how.of_goods)
    return found


def _shipping(order: Order, how: Counting) -> tuple[Decimal, Decimal]:
    """What was paid for shipping, and what part of it counts."""
    shipping, taxes = order.shipping or ZERO, [item.tax for item in order.items or ()]
    if not shipping or not how.discount:
        return shipping, how.factor
    tax = (order.tax or ZERO) - sum((one or ZERO for one in taxes), ZERO)
    if how.tax or not taxes or None in taxes or not 0 <= tax < shipping:
        return shipping, how.factor if how.shipping else ZERO
    return shipping + tax, shipping / (shipping + tax) if how.shipping else ZERO


def _named(refund: Refund, goods: Mapping[str, _Goods], how: Counting) -> tuple[Decimal, Decimal]:
    """What the goods that a refund names were paid with, and what of that counts."""
    gross = counted = ZERO
    for one in refund.items:
        own = goods.get(one.id)
        if own is None or not own.value or not own.quantity:
            amount = one.amount or ZERO
            gross += amount
            counted += ZERO if one.id in how.left_out else amount * how.of_goods
        elif one.amount is None:
            pieces = min(one.quantity, own.quantity)
            gross += own.gross * pieces / own.quantity
            counted += own.counted * pieces / own.quantity
        else:
            gross += own.gross * one.amount / own.value
            counted += own.counted * one.amount / own.value
    return gross, counted


def _unnamed(amount: Decimal, how: Counting, sums: Mapping[Decimal, Decimal]) -> Decimal:
    if how.left_out:
        return amount * how.factor
    return sums.get(amount, amount * how.factor)


def _goods(order: Order, how: Counting) -> dict[str, _Goods]:
    """The order's goods by id. Empty where a price is not known."""
    items = order.items or ()
    whole = sum(map(value_of, items), ZERO)
    if not whole or any(item.price is None for item in items):
        return {}
    tax, discount, is_net = _basis(order, items, whole, how)
    scale = (whole - discount) / whole
    goods_counted = max(how.counted - ((order.shipping or ZERO) if how.shipping else ZERO), ZERO)
    share = min(goods_counted / (whole - discount), Decimal(1)) if whole > discount else ZERO
    found: dict[str, _Goods] = {}
    for item in items:
        value = value_of(item) * scale
        own_tax = item.tax if item.tax is not None else tax * value_of(item) / whole
        gross = value + own_tax if is_net else value
        if not how.discount:
            counted = gross * how.factor
        elif how.tax:
            counted = gross
        elif is_net:
            counted = value
        elif item.tax is not None:
            counted = gross - item.tax
        else:
            counted = value * share
        if item.id in how.left_out:
            counted = ZERO
        before = found.get(item.id) or _Goods(ZERO, ZERO, ZERO, ZERO)
        found[item.id] = _Goods(
            before.quantity + item.quantity,
            before.value + value,
            before.gross + gross,
            before.counted + max(counted, ZERO),
        )
    return found


def _basis(
    order: Order, items: Sequence[Item], whole: Decimal, how: Counting
) -> tuple[Decimal, Decimal, bool]:
    """The goods' tax, what of the order's discount the lines do not have, and whether prices are without
    tax: what makes the lines come to the order's total."""
    goods = how.total - (order.shipping or ZERO)
    taxes = [order.tax or ZERO]
    if all(item.tax is not None for item in items):
        taxes.insert(0, sum((item.tax or ZERO for item in items), ZERO))
    near = Decimal(len(items)).scaleb(-minor_digits(order.currency or ""))
    for discount in (ZERO, min(order.discount or ZERO, whole)):
        if abs(whole - discount - goods) < near:
            return taxes[0], discount, False
        for tax in taxes:
            if tax and abs(whole - discount - goods + tax) < near:
                return tax, discount, True
    # The lines do not come to the total: they have their part of it.
    return taxes[0], min(max(whole - goods, ZERO), whole), False


def _sums(goods: Iterable[_Goods], currency: str) -> dict[Decimal, Decimal]:
    """What counts of whole pieces together, by what they were paid with. Empty where there are too many."""
    cent = Decimal(1).scaleb(-minor_digits(currency))
    found = {ZERO: ZERO}
    for one in goods:
        pieces = int(one.quantity)
        if not 0 < pieces == one.quantity:
            continue
        if len(found) * (pieces + 1) > MOST_SUMS:
            return {}
        known = dict(found)
        for n in range(1, pieces + 1):
            for gross, counted in known.items():
                paid = (gross + one.gross * n / pieces).quantize(cent, ROUND_HALF_UP)
                found.setdefault(paid, counted + one.counted * n / pieces)
    del found[ZERO]
    return found
