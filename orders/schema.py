"""Reads schema.org values in JSON-LD: one or several, plain or in an object of their own."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from ..injector.linked import Conflicting
from .model import OrderError
from .money import LIMIT
from .pricetext import read_machine_amount

Node = Mapping[str, Any]


def types_of(node: Node) -> set[str]:
    """The names in `@type`, without the vocabulary's URL."""
    kind = node.get("@type")
    names = kind if isinstance(kind, list) else [kind]
    return {n.rpartition("/")[2].removeprefix("schema:") for n in names if isinstance(n, str)}


def text_of(value: Any) -> str | None:
    """The text of a value, None if it has none. Raises OrderError for a duplicate key."""
    if isinstance(value, Mapping):
        value = value.get("@value") or value.get("value") or value.get("name") or value.get("@id")
    _check_once(value)
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        return None
    return str(value).strip() or None


def maps_of(value: Any) -> list[Node]:
    """The objects of a value that may be one or several. Raises OrderError for a duplicate key."""
    _check_once(value)
    if isinstance(value, Mapping):
        return [value]
    return [v for v in value if isinstance(v, Mapping)] if isinstance(value, list) else []


def number_of(value: Any, currency: str | None) -> Decimal:
    """An amount: with a dot for decimals and no grouping, as schema.org defines; other text as people write
    it.

    Raises OrderError.
    """
    _check_once(value)
    if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
        raise OrderError(f"total: {str(value)[:40]!r} in the JSON-LD is not a number")
    # str of a float is its shortest form: the text of the page, up to 15 digits.
    number = read_machine_amount(str(value), currency)
    if abs(number) >= LIMIT:
        raise OrderError(f"total: {str(value)[:40]} in the JSON-LD is too large to be true")
    return number


def _check_once(value: Any) -> None:
    if isinstance(value, Conflicting):
        values = " and ".join(repr(v)[:40] for v in value.values[:2])
        raise OrderError(f"total: the JSON-LD order has a key twice, with {values}")
