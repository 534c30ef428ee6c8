"""schema.org/Order in a page's JSON-LD: number, total, currency and code, in the shapes that shops write."""

import re
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import islice
from typing import Any

from .model import OrderError, State
from .money import LIMIT, checked_currency
from .pricetext import read_amount
from .standing import latest_moment, order_state

_MACHINE = re.compile(r"[+-]?\d{1,40}(?:\.\d{1,40})?(?:[eE][+-]?\d{1,2})?", re.ASCII)
OBJECTS = 2000  # objects looked at in one page's JSON-LD; an order stands near the top of any real one


@dataclass(frozen=True, slots=True)
class LinkedOrder:
    """What a JSON-LD order tells. None where it does not say; `total` as written, not yet rounded."""

    id: str | None
    total: Decimal | None
    currency: str | None
    coupon: str | None
    state: State = "placed"
    placed_at: float | None = None


def linked_orders(documents: Sequence[Any]) -> tuple[LinkedOrder, ...]:
    """The orders in the JSON-LD documents of a page, each number once, in their order.

    Raises OrderError, naming the part, for an order whose total or currency cannot be used.
    """
    found: dict[str | None, LinkedOrder] = {}
    for node in _objects(documents):
        if "Order" not in _types(node):
            continue
        order = _read(node)
        found.setdefault(order.id, order)
    return tuple(found.values())


def _objects(root: Any) -> Iterator[Mapping[str, Any]]:
    # Breadth first and bounded: `@graph`, `mainEntity`, lists in lists; deep nesting costs no stack.
    queue: deque[Any] = deque([root])
    for _ in range(OBJECTS):
        if not queue:
            return
        node = queue.popleft()
        if isinstance(node, Mapping):
            yield node
        inner = node.values() if isinstance(node, Mapping) else node
        queue.extend(
            islice((v for v in inner if isinstance(v, Mapping | list | tuple)), OBJECTS - len(queue))
        )


def _types(node: Mapping[str, Any]) -> set[str]:
    kind = node.get("@type")
    names = kind if isinstance(kind, list) else [kind]
    return {n.rpartition("/")[2].removeprefix("schema:") for n in names if isinstance(n, str)}


def _read(node: Mapping[str, Any]) -> LinkedOrder:
    number = _text(node.get("orderNumber")) or _text(node.get("confirmationNumber"))
    total, currency = _total(node)
    return LinkedOrder(
        number,
        total,
        currency,
        _text(node.get("discountCode")),
        order_state(_text(node.get("orderStatus"))),
        latest_moment(_text(node.get("orderDate"))),
    )


def _text(value: Any) -> str | None:
    if isinstance(value, Mapping):
        value = value.get("@value") or value.get("value") or value.get("name") or value.get("@id")
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        return None
    return str(value).strip() or None


def _total(node: Mapping[str, Any]) -> tuple[Decimal | None, str | None]:
    """Price, else what is due, else the sum of the offers.

    What is due may be nothing because all is paid, so nothing due counts only where no offer tells more.
    """
    own = _price(node)
    if own[0] is not None:
        return own
    due: tuple[Decimal | None, str | None] = (None, None)
    for holder in (node, *_maps(node.get("partOfInvoice"))):
        for owed in _maps(holder.get("totalPaymentDue")):
            due = _price(owed)
            if due[0]:
                return due[0], due[1] or own[1]
    offers = _offers(node)
    total, currency = offers if offers[0] is not None else due
    return total, currency or own[1] or due[1]


def _offers(node: Mapping[str, Any]) -> tuple[Decimal | None, str | None]:
    prices = [(_price(offer), _quantity(offer)) for offer in _maps(node.get("acceptedOffer"))]
    if not prices or any(amount is None for (amount, _), _ in prices):
        return None, None
    currencies = {currency for (_, currency), _ in prices if currency}
    if len(currencies) > 1:
        raise OrderError(f"currency: the JSON-LD offers are in {', '.join(sorted(currencies))}")
    total = sum((amount * quantity for (amount, _), quantity in prices if amount is not None), Decimal(0))
    return total, currencies.pop() if currencies else None


def _quantity(offer: Mapping[str, Any]) -> Decimal:
    for holder in (offer, *_maps(offer.get("itemOffered"))):
        for key in ("eligibleQuantity", "orderQuantity"):
            value = holder.get(key)
            number = value.get("value") if isinstance(value, Mapping) else value
            if number is not None:
                return _number(number, "")
    return Decimal(1)


def _price(node: Mapping[str, Any]) -> tuple[Decimal | None, str | None]:
    """Price and currency of an Order, Offer, PriceSpecification or MonetaryAmount."""
    written = _text(node.get("priceCurrency")) or _text(node.get("currency"))
    currency = checked_currency(written) if written else None
    for key in ("price", "value"):
        value = node.get(key)
        if isinstance(value, Mapping):
            amount, inner = _price(value)
            if amount is not None:
                return amount, inner or currency
        elif value is not None and value != "":
            return _number(value, currency or ""), currency
    for inner_node in _maps(node.get("priceSpecification")):
        amount, inner = _price(inner_node)
        if amount is not None:
            return amount, inner or currency
    return None, currency


def _number(value: Any, currency: str) -> Decimal:
    """schema.org: a dot for decimals and no grouping. Text of another shape is read as people write it."""
    if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
        raise OrderError(f"total: {str(value)[:40]!r} in the JSON-LD is not a number")
    # str of a float is its shortest form: what stood in the page, up to 15 digits.
    text = str(value).strip()
    number = Decimal(text) if _MACHINE.fullmatch(text) else read_amount(text, currency)
    if abs(number) >= LIMIT:
        raise OrderError(f"total: {text[:40]} in the JSON-LD is too large to be true")
    return number


def _maps(value: Any) -> list[Mapping[str, Any]]:
    if isinstance(value, Mapping):
        return [value]
    return [v for v in value if isinstance(v, Mapping)] if isinstance(value, list) else []
