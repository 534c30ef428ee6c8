"""The order that an agent writes down: what was typed, read strictly, since a partner is paid by it."""

import re
from collections.abc import Mapping
from decimal import Decimal

from .intake import parsed_order
from .model import OrderError, OrderSeen

# Digits with at most one separator, a dot or a comma: "1.299" with three digits after it has two readings.
_AMOUNT = re.compile(r"(\d{1,15})(?:[.,](\d+))?", re.ASCII)


def read_sale(fields: Mapping[str, str]) -> OrderSeen:
    """The order in the form's fields `order_id`, `total` and `currency`. Raises OrderError."""
    typed = fields.get("total", "").strip()
    total = read_amount(typed)
    values = {"id": fields.get("order_id", ""), "total": total, "currency": fields.get("currency", "")}
    order = parsed_order(values, "agent").order
    if order.total != total:
        raise OrderError(
            f"total: {order.currency} has fewer digits after the separator than {typed[:40]!r}; "
            "write it without thousands, for example 1299.00"
        )
    return order


def read_amount(typed: str) -> Decimal:
    """The amount that a person typed. Raises OrderError."""
    amount = _AMOUNT.fullmatch(typed.strip())
    if amount is None:
        raise OrderError(
            f"total: {typed.strip()[:40]!r} is no amount; write it without thousands, for example 1299.00"
        )
    return Decimal(f"{amount[1]}.{amount[2] or '0'}")
