"""Reads schema.org/Order in a page's JSON-LD: number, total, currency and coupon, in the shapes in use."""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import islice
from typing import Any

from .model import Figure, OrderError, OrderState
from .prices import order_total, summed
from .schema import text_of, types_of
from .status import latest_moment, order_state

OBJECTS = 2000  # maximum number of objects read in a page's JSON-LD; orders are near the top


@dataclass(frozen=True, slots=True)
class LinkedOrder:
    """An order in JSON-LD; a field is None if it has none. `total` is not rounded; `items` is the sum of
    what was ordered."""

    id: str | None
    total: Decimal | None
    currency: str | None
    coupon: str | None
    state: OrderState = "placed"
    placed_at: float | None = None
    items: Decimal | None = None

    def figures(self, *, total: bool) -> tuple[Figure, ...]:
        """Its amounts, to compare with the order's total; including its own total if `total` is true."""
        amounts = (
            ("the items in the page's JSON-LD", self.items),
            ("the page's JSON-LD", self.total if total else None),
        )
        return tuple(Figure(what, amount, self.currency) for what, amount in amounts if amount is not None)


def linked_orders(documents: Sequence[Any]) -> tuple[LinkedOrder, ...]:
    """The orders in the JSON-LD documents of a page, in order, one for each number.

    Raises OrderError naming the part if an order's total or currency is invalid.
    """
    found: dict[str | None, LinkedOrder] = {}
    for node in _objects(documents):
        if "Order" not in types_of(node):
            continue
        order = _read(node)
        known = found.setdefault(order.id, order)
        if known.total is not None and order.total is not None and known.total != order.total:
            raise OrderError(
                f"total: the JSON-LD has order {order.id!r} twice, with the totals {known.total} and "
                f"{order.total}; set `total` to a CSS selector"
            )
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


def _read(node: Mapping[str, Any]) -> LinkedOrder:
    number = text_of(node.get("orderNumber")) or text_of(node.get("confirmationNumber"))
    total, currency = order_total(node)
    return LinkedOrder(
        number,
        total,
        currency,
        text_of(node.get("discountCode")),
        order_state(text_of(node.get("orderStatus"))),
        latest_moment(text_of(node.get("orderDate"))),
        _items(node),
    )


def _items(node: Mapping[str, Any]) -> Decimal | None:
    try:
        return summed(dict(node))[0]
    except OrderError:
        return None  # only a figure to compare with
