"""Compares what was delivered with what the ledger holds and with what the partners counted."""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from .partner import Account, Books
from .plan import Order, Stand, Step, optional, stand
from .stores import Stores

ORDERS = """
SELECT o.id, o.order_id, o.state, o.total, o.refunded, o.merged_into, s.partner
FROM orders AS o LEFT JOIN shares AS s ON s.decision = o.decision
"""
POSTBACKS = """
SELECT p.id, o.order_id, p.partner, p.sequence, p.event, p.state, p.report, p.last_answer, p.why
FROM postbacks AS p JOIN orders AS o ON o.id = p."order" ORDER BY o.id, p.partner, p.sequence
"""
LOOSE = 'SELECT count(*) AS waiting FROM sightings WHERE loose AND "order" IS NULL'


@dataclass(frozen=True)
class Held:
    """What the ledger holds at the end."""

    orders: Mapping[str, Sequence[Mapping[str, Any]]]
    postbacks: Mapping[tuple[str, str], Sequence[Mapping[str, Any]]]
    loose: int
    attempts: int

    @classmethod
    def of(cls, stores: Stores) -> "Held":
        """Read it."""
        orders, postbacks = defaultdict(list), defaultdict(list)
        for row in stores.rows(ORDERS):
            orders[row["order_id"]].append(row)
        for row in stores.rows(POSTBACKS):
            postbacks[row["partner"], row["order_id"]].append(row)
        (waiting,) = stores.rows(LOOSE)
        (attempts,) = stores.rows("SELECT count(*) AS made FROM attempts")
        return cls(orders, postbacks, waiting["waiting"], attempts["made"])


def violations(
    orders: Sequence[Order], told: Mapping[str, Sequence[Step]], held: Held, books: Books
) -> Iterator[str]:
    """The violations: the order, the expected and the actual value."""
    yield from books.wrong
    if held.loose:
        yield f"{held.loose} reports without a number wait for their order, which is there"
    planned = {order.number: order for order in orders}
    for number in held.orders.keys() - planned.keys():
        yield f"order {number}: nobody placed it, but it is in the ledger"
    for order in orders:
        yield from _of_order(order, told.get(order.number, ()), held, books)


def _of_order(order: Order, told: Sequence[Step], held: Held, books: Books) -> Iterator[str]:
    rows = held.orders.get(order.number, ())
    name = f"order {order.number} ({order.form}, {order.partner or 'nobody'})"
    if not rows and optional(order.steps, told):
        return
    expected = stand(order, told or order.steps)
    assert expected is not None
    if len(rows) != 1 or rows[0]["merged_into"] is not None:
        yield f"{name}: expected once in the ledger, it is there {len(rows)} times: {rows}"
        return
    row = rows[0]
    there = (row["state"], Decimal(row["total"]), Decimal(row["refunded"]), row["partner"])
    partner = order.partner if expected.visitor else None
    wanted = (expected.state, expected.total, expected.refunded, partner)
    if there != wanted:
        fields = "state, total, refunded and partner"
        yield f"{name}: expected {fields} {_shown(wanted)}, there is {_shown(there)}"
    for other in {
        partner for partner, number in held.postbacks if number == order.number and partner != order.partner
    }:
        yield f"{name}: {other} was told of it"
    if order.partner is not None:
        account = books.accounts.get((order.partner, order.number), Account())
        own = held.postbacks.get((order.partner, order.number), ())
        yield from _of_partner(name, order, expected, own, account)


def _of_partner(
    name: str, order: Order, expected: Stand, rows: Sequence[Mapping[str, Any]], account: Account
) -> Iterator[str]:
    worth = expected.worth if expected.visitor else Decimal()
    told = [f"{event.kind} {event.amount}" for event in account.counted]
    if account.worth != worth:
        due = [f"{row['sequence']}. {row['event']} {row['state']} {row['last_answer']}" for row in rows]
        yield f"{name}: expected {worth} at its partner, which counted {told}; the ledger has {due}"
    for row in rows:
        if row["state"] not in ("delivered", "superseded"):
            yield f"{name}: postback {row['id']} is {row['state']} ({row['why'] or row['last_answer']})"
    if any(event.click != order.click for event in account.counted):
        yield f"{name}: expected click {order.click}, the partner got {account.counted}"
    yield from _of_calls(name, rows, account)
    news = [event for event in account.counted if event.kind == "order"]
    if len(news) > 1:
        yield f"{name}: the partner counted it {len(news)} times as a new order"


def _of_calls(name: str, rows: Sequence[Mapping[str, Any]], account: Account) -> Iterator[str]:
    """What was called delivered has come, and what counted came in the order of its sequence."""
    names = {row["id"]: _names(row) for row in rows}
    for row in rows:
        if row["state"] == "delivered" and account.keys.isdisjoint(names[row["id"]]):
            yield f"{name}: {row['id']} ({row['event']}) is delivered, but never came: {account.keys}"
    last = 0
    for event in account.counted:
        possible = [row["sequence"] for row in rows if event.key in names[row["id"]]]
        if not possible:
            yield f"{name}: the partner counted {event.key}, which is in no postback of the ledger"
            continue
        later = [sequence for sequence in possible if sequence > last]
        if not later:
            counted = [one.key for one in account.counted]
            yield f"{name}: {event.key} is number {possible[0]}, and came after number {last}: {counted}"
            continue
        last = min(later)


def _names(row: Mapping[str, Any]) -> set[str]:
    """The keys by which the partner may know a postback."""
    report = row["report"]
    report = json.loads(report) if isinstance(report, str) else report
    return {row["id"], f"by hand {row['id']}", f"{row['event']} {Decimal(report['amount'])}"}


def _shown(values: Sequence[object]) -> str:
    return ", ".join(map(str, values))
