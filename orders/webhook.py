"""Reads an order from the body of a webhook, by the entry of its source (`sources.toml`). Pure."""

import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from email.utils import parsedate_to_datetime
from hashlib import sha256
from typing import Any, Final

import jmespath
from jmespath.exceptions import JMESPathError
from jmespath.parser import ParsedResult

from .checks import TEXT_LENGTH
from .intake import ITEMS, NUMBERS, REFUND_ITEMS, parsed_order
from .model import OrderError, OrderSeen
from .money import checked_currency, minor_digits
from .sources_schema import Read, WebhookSource

LANDING_LENGTH: Final = 4096
CARRIER_LENGTH: Final = 4096


@dataclass(frozen=True, slots=True)
class Understood:
    """What a webhook says of an order. `carrier` is a text that may have clew's token, `landing` the address
    at which the visit began. `unknown_state` is a word of the shop system whose meaning is not known: the
    order's state is then not told."""

    order: OrderSeen
    carrier: str | None = None
    landing: str | None = None
    unknown_state: str | None = None


def place_of(place: str | None, headers: Mapping[str, str], body: Mapping[str, Any]) -> str:
    """The text at a place of an entry ("header:NAME" or "body:EXPRESSION"); empty if it has none."""
    kind, _, rest = (place or "").partition(":")
    if kind == "header":
        return _plain(headers.get(rest.lower(), ""), TEXT_LENGTH)
    if kind == "body":
        found = jmespath.search(rest, body)
        return _plain(str(found), TEXT_LENGTH) if isinstance(found, str | int) else ""
    return ""


def _plain(text: str, length: int) -> str:
    """The text's beginning, with what no encoding has replaced: JSON may have half of a surrogate pair, and
    customers may write into a cart what they like."""
    return text[:length].encode("utf-8", "replace").decode("utf-8")


def is_about_order(source: WebhookSource, topic: str) -> bool:
    """Whether a topic reports orders."""
    return source.same is not None or any(not r.topics or topic in r.topics for r in source.reads)


def understand(
    name: str,
    source: WebhookSource,
    topic: str,
    body: Mapping[str, Any],
    states: Mapping[str, str] = {},
) -> Understood | None:
    """What a webhook of the source `name` says; None if it is not about an order, or says nothing new of it.

    `states` are the owner's own words for states. Raises OrderError if it cannot be read.
    """
    if source.same is not None:
        parsed = parsed_order(body, "webhook")
        return Understood(parsed.order, carrier=parsed.visitor)
    for read in source.reads:
        if (not read.topics or topic in read.topics) and (read.only is None or _found(read.only, body)):
            return _Reader(name, source, read, states).order(body)
    return None


class _Reader:
    def __init__(self, name: str, source: WebhookSource, read: Read, states: Mapping[str, str]) -> None:
        self._name = name
        self._source = source
        self._read = read
        self._states = {**read.states, **states}
        self._currency = ""

    def order(self, body: Mapping[str, Any]) -> Understood | None:
        read = self._read
        doc = body if read.base is None else _found(read.base, body)
        if not isinstance(doc, Mapping):
            raise OrderError(f"the body has no order where {self._source.title} should send it")

        def at(expression: ParsedResult | None) -> Any:
            return None if expression is None else _found(expression, doc)

        code = at(read.currency)
        self._currency = checked_currency(code) if isinstance(code, str) and code.strip() else ""
        word = at(read.state)
        state = self._states.get(str(word)) if word is not None else None
        unknown = str(word)[:60] if word is not None and state is None else None
        refunds = [one for row in _rows(at(read.refunds)) if (one := self._refund(row)) is not None]
        if sum(len(one["items"]) for one in refunds) > REFUND_ITEMS:
            # As with items: some of them would make wrong sums.
            refunds = [{**one, "items": []} for one in refunds]
        values: dict[str, Any] = {
            "id": _id(at(read.number)),
            "numbers": self._numbers(at(read.key), at(read.numbers)),
            "currency": self._currency or None,
            "state": "test" if at(read.test) else state or None,
            "refunds": refunds,
            "placed_at": _time(at(read.placed_at)),
            "updated_at": _time(at(read.updated_at)),
            "email_hash": _hash(at(read.email)),
            "customer": at(read.customer),
            "coupon": _text(at(read.coupon)),
            "recurring": bool(at(read.recurring)),
            "items": self._items(at(read.items)),
        }
        values |= {n: self._amount(at(getattr(read, n)), n) for n in ("total", "tax", "shipping", "net")}
        values["discount"] = _abs(self._amount(at(read.discount), "discount"))
        values = {name: value for name, value in values.items() if value is not None and value != []}
        if not {"total", "state", "refunds"} & values.keys():
            return None
        parsed = parsed_order(values, "webhook")
        carrier, landing = at(read.carrier), at(read.landing)
        return Understood(
            parsed.order,
            _plain(carrier, CARRIER_LENGTH) if isinstance(carrier, str) else None,
            _plain(landing, LANDING_LENGTH) if isinstance(landing, str) and landing else None,
            unknown,
        )

    def _numbers(self, key: object, others: object) -> list[str]:
        """Further numbers. The system's own key is a number of its own: it may be another order's number."""
        own = _id(key)
        found = [] if own is None else [f"{self._name}:{own}"]
        rows = others if isinstance(others, list) else [others]
        return [*found, *(one for row in rows if (one := _id(row)) is not None)][:NUMBERS]

    def _amount(self, value: object, part: str) -> Decimal | None:
        """An amount in the major unit; the sum of a list of them."""
        if isinstance(value, list):
            found = [one for row in value if (one := self._amount(row, part)) is not None]
            return sum(found, Decimal()) if found else None
        if value is None or value == "":
            return None
        try:
            amount = Decimal(value.strip() if isinstance(value, str) else str(value))
        except InvalidOperation:
            raise OrderError(f"{part}: {str(value)[:40]!r} is no amount") from None
        if not amount.is_finite() or abs(amount.adjusted()) > 30:
            raise OrderError(f"{part}: {str(value)[:40]!r} is no amount")
        if not self._source.minor:
            return amount
        if not self._currency:
            raise OrderError("currency: it is missing, and amounts are in its minor units")
        digits = self._source.minor_digits.get(self._currency, minor_digits(self._currency))
        return amount.scaleb(-digits)

    def _items(self, rows: object) -> list[dict[str, Any]] | None:
        found = _rows(rows)
        if not found or len(found) > ITEMS:
            # Some of the items would make wrong sums.
            return None
        return [self._item(row) for row in found]

    def _item(self, row: Mapping[str, Any]) -> dict[str, Any]:
        amounts = {n: self._amount(row.get(n), f"items: {n}") for n in ("price", "discount", "tax")}
        total, subtotal = (self._amount(row.get(n), f"items: {n}") for n in ("total", "subtotal"))
        quantity = self._quantity(row)
        if subtotal is not None and total is not None:
            amounts["price"] = subtotal / quantity if quantity else subtotal
            amounts["discount"] = subtotal - total
        texts = {name: _text(row.get(name)) for name in ("id", "name", "category")}
        return {"id": "item", **_said(texts), "quantity": quantity, **_said(amounts)}

    def _quantity(self, row: Mapping[str, Any]) -> Decimal:
        try:
            found = Decimal(str(row.get("quantity") or 1))
        except InvalidOperation:
            raise OrderError(f"quantity: {str(row.get('quantity'))[:40]!r} is no number") from None
        if not found.is_finite():
            return Decimal(1)
        if abs(found.adjusted()) > 12:
            raise OrderError(f"quantity: {str(row.get('quantity'))[:40]!r} is no number of pieces")
        return abs(found)

    def _refund(self, row: Mapping[str, Any]) -> dict[str, Any] | None:
        amount = _abs(self._amount(row.get("amount"), "refunds: amount"))
        name = _id(row.get("id"))
        if not amount or name is None:
            # What was only put back into stock.
            return None
        items = []
        for one in _rows(row.get("items"))[:ITEMS]:
            of_item = _abs(self._amount(one.get("amount"), "refunds: items: amount"))
            name_of = _text(one.get("id")) or "item"
            items.append({"id": name_of, "quantity": self._quantity(one), **_said({"amount": of_item})})
        return {"id": name, "amount": amount, "items": items}


def _found(expression: ParsedResult, doc: object) -> Any:
    try:
        found = expression.search(doc)
    except (JMESPathError, TypeError, ValueError) as error:
        raise OrderError(f"{expression.expression}: {str(error)[:100]}") from error
    return None if found == "" else found


def _said(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _rows(value: object) -> list[Mapping[str, Any]]:
    return [row for row in value if isinstance(row, Mapping)] if isinstance(value, list) else []


def _id(value: object) -> str | None:
    text = str(value).strip() if isinstance(value, str | int) and not isinstance(value, bool) else ""
    return text or None


def _text(value: object) -> str | None:
    """A text of the shop without control characters, cut to what the ledger holds."""
    if not isinstance(value, str | int) or isinstance(value, bool):
        return None
    kept: Iterable[str] = str(value)[: 2 * TEXT_LENGTH]
    plain = "".join(" " if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") else c for c in kept)
    return plain.strip()[:TEXT_LENGTH].strip() or None


def _abs(amount: Decimal | None) -> Decimal | None:
    return None if amount is None else abs(amount)


def _hash(email: object) -> str | None:
    text = email.strip().lower() if isinstance(email, str) else ""
    return sha256(text.encode("utf-8", "replace")).hexdigest() if "@" in text else None


def _time(value: object) -> int | Decimal | str | None:
    """Unix seconds, or RFC 3339 with its zone; UTC if the shop system names none."""
    if isinstance(value, int | Decimal) and not isinstance(value, bool):
        return value
    if not isinstance(value, str):
        return None
    text = value.strip()
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        try:
            moment = parsedate_to_datetime(text)
        except (ValueError, IndexError, OverflowError):
            raise OrderError(f"a time: {text[:40]!r} cannot be read") from None
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).isoformat()
