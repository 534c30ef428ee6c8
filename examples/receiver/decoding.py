"""Reads a call as its network would: the reverse of how clew renders it from the catalogue."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from clew.orders.money import minor_digits
from clew.referral.calls import ELEMENT, ORDER_KEY, REPORT, CallEntry, Param
from clew.referral.catalogue import Network

ITEMS = 500  # of an order that are read


class WrongCallError(ValueError):
    """The network would refuse the call; the text says why."""


@dataclass(frozen=True, slots=True)
class Told:
    """A report as a network understands it. `amount` is None where the call names none."""

    order: str
    event: str
    amount: Decimal | None
    currency: str
    click: str


@dataclass(frozen=True, slots=True)
class Received:
    """A request, with its query and body taken apart."""

    path: str
    query: Mapping[str, str]
    form: Mapping[str, str]
    document: Any
    text: str

    @classmethod
    def of(cls, target: str, headers: Mapping[str, str], body: bytes) -> "Received":
        """Takes a request apart; `headers` have lower-case names."""
        parts, text = urlsplit(target), body.decode("utf-8", "replace")
        document, form = None, dict[str, str]()
        if "json" in headers.get("content-type", ""):
            try:
                document = json.loads(text, parse_float=Decimal)
            except (ValueError, RecursionError):
                raise WrongCallError("the body is not JSON") from None
        elif "urlencoded" in headers.get("content-type", ""):
            form = dict(parse_qsl(text, keep_blank_values=True))
        return cls(parts.path, dict(parse_qsl(parts.query, keep_blank_values=True)), form, document, text)


def entries_of(network: Network, method: str, received: Received) -> list[tuple[CallEntry, dict[str, str]]]:
    """The calls of the network that this may be, and the values in its address. Raises WrongCallError."""
    found = []
    for entry in network.calls:
        values = _address(entry, received)
        if method == entry.method and values is not None and _is(entry, received):
            found.append((entry, values))
    if not found:
        raise WrongCallError(f"{network.name} has no call {method} {received.path}")
    return found


def read(network: Network, method: str, received: Received) -> tuple[CallEntry, list[Told]]:
    """Which call of the network it is, and what it says. Raises WrongCallError if something is missing."""
    wrong: WrongCallError | None = None
    for entry, address in entries_of(network, method, received):
        try:
            reports = [_told(entry, received, address, n) for n in range(_count(entry, received))]
        except WrongCallError as error:
            wrong = wrong or error
        else:
            return entry, reports
    raise wrong or WrongCallError("no such call")


def _address(entry: CallEntry, received: Received) -> dict[str, str] | None:
    path, _, fixed = (*entry.url.split("/", 3), "")[3].partition("?")
    pattern = "".join(
        f"(?P<{part[1:-1]}>[^/]*)" if part.startswith("{") else re.escape(part)
        for part in re.split(r"(\{[a-z0-9_]+\})", "/" + path)
    )
    found = re.match(pattern + ("" if entry.encoding == "path" else "$"), received.path)
    fixed_pairs = parse_qsl(re.sub(r"\{[a-z0-9_]+\}", "", fixed), keep_blank_values=True)
    if found is None or any(value and received.query.get(name) != value for name, value in fixed_pairs):
        return None
    return {name: unquote(value) for name, value in found.groupdict().items()}


def _is(entry: CallEntry, received: Received) -> bool:
    """Whether its constants, by which calls to one address differ, are those of this entry."""
    if entry.encoding == "graphql":
        return isinstance(received.document, dict) and received.document.get("query") == entry.document
    constants = (param for param in entry.params if param.source == "const" and param.place == "body")
    return all(_same(_one(entry, param, received, 0), param.argument) for param in constants)


def _same(found: object, constant: str) -> bool:
    return found is None or str(found).lower() == constant.lower() or (found is True and constant == "1")


def _count(entry: CallEntry, received: Received) -> int:
    """How many reports the call carries."""
    for param in entry.params:
        if ORDER_KEY in param.path:
            count = len(_orders(entry, param, received))
            if not 1 <= count <= entry.batch:
                raise WrongCallError(f"an object of 1 to {entry.batch} reports is expected")
            return count
        if REPORT in param.path:
            around = param.path[: param.path.index(REPORT)]
            listed = _at(_root(entry, received), around, 0, 0)
            if not isinstance(listed, list) or not 1 <= len(listed) <= entry.batch:
                raise WrongCallError(f"a list of 1 to {entry.batch} reports is expected")
            return len(listed)
    return 1


def _told(entry: CallEntry, received: Received, address: Mapping[str, str], number: int) -> Told:
    def first(*sources: str) -> str:
        for param in entry.params:
            if param.source in sources:
                found = (
                    address.get(param.name) if param.place == "url" else _one(entry, param, received, number)
                )
                if found is not None:
                    return str(found).removeprefix(param.prefix)
        return ""

    for param in entry.params:
        plain = param.place == "body" and not param.each and not param.when
        if param.required and plain and _one(entry, param, received, number) is None:
            raise WrongCallError(f"{param.name} is missing")
    keyed = [_orders(entry, param, received)[number] for param in entry.params if ORDER_KEY in param.path]
    order = first("order_id") or "".join(keyed[:1]) or first("kept") or first("click_id", "click_ids")
    currency = first("currency")
    if not order:
        raise WrongCallError("the order's number is missing")
    try:
        amount = _amount(entry, received, number, currency or "EUR")
    except (InvalidOperation, TypeError):
        raise WrongCallError("an amount is not a number") from None
    return Told(order, _event(entry, received, number), amount, currency, first("click_id", "click_ids"))


def _orders(entry: CallEntry, param: Param, received: Received) -> list[str]:
    """The numbers of the orders that are keys of an object."""
    around = param.path[: param.path.index(ORDER_KEY)]
    keyed = _at(_root(entry, received), around, 0, 0)
    return list(keyed) if isinstance(keyed, dict) else []


def _event(entry: CallEntry, received: Received, number: int) -> str:
    for param in entry.params:
        if param.source == "event":
            found = str(_one(entry, param, received, number))
            return next((event for event, word in param.values.items() if word == found), found)
    for purpose in ("cancel", "decline", "approve", "adjust"):
        if entry.purposes <= {purpose, "cancel", "decline"} and purpose in entry.purposes:
            return purpose
    return "order" if "conversion" in entry.purposes else "adjust"


def _amount(entry: CallEntry, received: Received, number: int, currency: str) -> Decimal | None:
    """The amount that is named; else the sum of the commission groups, or of the items."""
    by_source = {param.source: param for param in entry.params}
    if (param := by_source.get("amount")) is not None:
        found = _one(entry, param, received, number)
        if found is not None:
            return _money(found, param, currency)
    for source in ("part.amount", "item.line_total", "item.change"):
        if (param := by_source.get(source)) is not None:
            values = list(_many(entry, param, received, number))
            if values:
                return sum((_money(v, param, currency) for v in values if v not in (None, "")), Decimal())
    price, count = by_source.get("item.unit_price"), by_source.get("item.quantity")
    if price is None:
        return None
    prices = [_money(v, price, currency) for v in _many(entry, price, received, number)]
    counts = [Decimal(str(v)) for v in _many(entry, count, received, number)] if count else []
    less = by_source.get("item.discount")
    discounts = [_money(v, less, currency) for v in _many(entry, less, received, number)] if less else []
    zeros = [Decimal()] * len(prices)
    lines = zip(prices, counts or [Decimal(1)] * len(prices), discounts or zeros, strict=True)
    return sum((p * c - d for p, c, d in lines), Decimal()) if prices else None


def _money(found: Any, param: Param, currency: str) -> Decimal:
    amount = Decimal(str(found))
    amount = amount.scaleb(-minor_digits(currency)) if param.format == "minor" else amount
    return -amount if param.negative else amount


# -- values


def _one(entry: CallEntry, param: Param, received: Received, number: int, element: int = 0) -> Any:
    name = param.name.replace("{n}", str(element + 1)).replace("{i}", str(element))
    if param.place == "query" or entry.encoding == "query":
        return received.query.get(name)
    match entry.encoding:
        case "form":
            return received.form.get(name)
        case "json" | "graphql":
            return _at(_root(entry, received), param.path or (name,), number, element)
        case "path":
            return _segment(received.path, name, element if param.each else None)
        case "xml":
            before, _, after = entry.document.partition(f"{{{name}}}")
            around = re.escape(before[-20:].split("}")[-1]) + "(.*?)" + re.escape(after[:20].split("{")[0])
            found = re.search(around, received.text, re.DOTALL)
            return found[1] if found and found[1] else None
    return None


def _many(entry: CallEntry, param: Param, received: Received, number: int) -> Iterator[Any]:
    """The values of all items, or of all commission groups."""
    if param.join:
        found = _one(entry, param, received, number)
        yield from str(found).split(param.join) if found else ()
        return
    for element in range(ITEMS):
        if (value := _one(entry, param, received, number, element)) is None:
            return
        yield value


def _root(entry: CallEntry, received: Received) -> Any:
    document = received.document
    return (
        document.get("variables") if entry.encoding == "graphql" and isinstance(document, dict) else document
    )


def _at(node: Any, path: Sequence[str | int], report: int, element: int) -> Any:
    for step in path:
        step = report if step == REPORT else element if step == ELEMENT else step
        if step == ORDER_KEY and isinstance(node, dict):
            step = list(node)[report] if report < len(node) else ""
            node = node.get(step)
            continue
        if isinstance(step, str):
            step = step.replace("{n}", str(element + 1)).replace("{i}", str(element))
        if isinstance(node, dict) and isinstance(step, str):
            node = node.get(step)
        elif isinstance(node, list) and isinstance(step, int) and step < len(node):
            node = node[step]
        else:
            return None
    return node


def _segment(path: str, name: str, element: int | None) -> str | None:
    """A key:value segment, or one in the brackets of an item."""
    plain, *groups = path.split("[")
    text = plain if element is None else groups[element] if element < len(groups) else ""
    for pair in text.rstrip("]").split("/"):
        key, separator, value = pair.partition(":")
        if separator and key == name:
            return unquote(value)
    return None
