"""Sums of orders for people: exact on both engines, of a bounded number of orders at a time."""

import random
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from decimal import Decimal
from typing import Any

import pytest
from clew.orders.model import SALES, STATES
from clew.orders.money import amount_text
from clew.stores.ledger import commissions, reports
from clew.stores.ledger.commissions import Commissions, WantedCommissions
from clew.stores.ledger.connection import Connection
from clew.stores.ledger.database import Database
from clew.stores.ledger.engines import database_at
from clew.stores.ledger.errors import LedgerBusyError
from clew.stores.ledger.reports import OrderFilter, Reports, Sum
from clew.stores.ledger.schema import commissions as commissions_table
from clew.stores.ledger.schema import decisions, orders, policies, postbacks, shares

NOW = 1_796_000_000.0
CALLS = ("delivered", "refused", "held", "due", "superseded")


@pytest.fixture
async def db(ledger_address: str) -> AsyncIterator[Database]:
    found = database_at(ledger_address)
    await found.open()
    yield found
    await found.close()


def order(row: int, dice: random.Random) -> dict[str, Any]:
    """An order of no partner or one, and its postbacks: state and amount. Many are recorded at one time."""
    currency = dice.choice(["EUR", "JPY", "KWD"])
    total = Decimal(dice.choice([dice.randrange(10**6), 999_999_999_999_999_000])) / 1000
    partner, told = dice.choice(["anna", "bert", None]), dice.choice([currency, currency, "EUR"])
    return {
        "id": row,
        "site": dice.choice(["shop", "shop", "other"]),
        "order_id": f"o{row}",
        "state": dice.choice(STATES),
        "total": amount_text(total, currency),
        "currency": currency,
        "refunded": dice.choice(["0", "0", "12.5"]),
        "channel": dice.choice(["web", "chat"]),
        "recorded_at": NOW + dice.randrange(6),
        "merged_into": dice.choice([None] * 9 + [1]),
        "partner": partner,
        "told": told,
        "commission": dice.choice([None, amount_text(total / 10, currency)]),
        "calls": [
            (dice.choice(CALLS), amount_text(total // 2, told))
            for _ in range(dice.randrange(3) if partner is not None else 0)
        ],
    }


async def put(db: Database, rows: Sequence[dict[str, Any]]) -> None:
    fixed: dict[str, Any] = {"version": 1, "details": {}, "source": "api", "sources": {}, "doubts": []}
    fixed |= {"placed_at": NOW, "changed_at": NOW}
    decided: dict[str, Any] = {"order_version": 1, "at": NOW, "policy": "v1", "inputs": {}, "considered": []}
    call: dict[str, Any] = {"event": "order", "attempts": 0, "next_at": NOW}
    own = ("id", "site", "order_id", "state", "total", "currency", "refunded", "channel", "recorded_at")
    tables = {
        orders: [{n: r[n] for n in (*own, "merged_into")} | fixed | {"decision": r["id"]} for r in rows],
        decisions: [decided | {"id": r["id"], "order": r["id"], "reason": ""} for r in rows],
        shares: [
            {"decision": r["id"], "order": r["id"], "site": r["site"], "partner": r["partner"], "place": 0}
            | {"part": "1", "reason": "", "commission": r["commission"]}
            for r in rows
            if r["partner"] is not None
        ],
        commissions_table: [
            {"order": r["id"], "partner": r["partner"], "currency": r["currency"], "site": r["site"]}
            | {"value": 0, "state": "pending", "locked": 0, "paid": 0, "lockable": False, "unpaid": False}
            | {"amount": r["commission"] and int(r["commission"].replace(".", ""))}
            | {"placed_at": NOW, "changed_at": NOW}
            for r in rows
            if r["partner"] is not None
        ],
        postbacks: [
            call
            | {"id": f"pb{r['id']}_{n}", "order": r["id"], "site": r["site"], "partner": r["partner"]}
            | {"sequence": n, "state": state, "created_at": NOW + n}
            | {"report": {"amount": amount, "currency": r["told"]}}
            for r in rows
            for n, (state, amount) in enumerate(r["calls"])
        ],
    }

    async def work(tx: Connection) -> None:
        await tx.execute(policies.insert().values(version="v1", policy={}))
        for table, values in tables.items():
            await tx.execute(table.insert(), values)

    await db.transact(work, 60)


def expected(rows: Sequence[dict[str, Any]], since: float | None, until: float | None) -> set[Sum]:
    """The sums, added up as one would by hand."""
    found: defaultdict[tuple[Any, ...], list[Any]] = defaultdict(
        lambda: [0, Decimal(), 0, Decimal(), 0, 0, 0, Decimal()]
    )
    for row in rows:
        at = row["recorded_at"]
        # A test order is no order.
        if (
            row["state"] == "test"
            or row["merged_into"] is not None
            or not (since or 0) <= at < (until or NOW * 2)
        ):
            continue
        calls = [state for state, _ in row["calls"] if state != "superseded"]
        told = [Decimal(amount) for state, amount in row["calls"] if state == "delivered"]
        line = found[row["site"], row["partner"], row["channel"], row["currency"]]
        left = max(Decimal(row["total"]) - Decimal(row["refunded"]), Decimal())
        line[0] += 1
        line[1] += left if row["state"] in SALES else 0
        line[2] += bool(told)
        if told:
            found[row["site"], row["partner"], row["channel"], row["told"]][3] += told[-1]
        line[4] += bool(calls) and calls[-1] not in ("delivered", "refused")
        line[5] += bool(calls) and calls[-1] == "refused"
        line[6] += 1
        line[7] += Decimal(row["commission"] or 0) if row["partner"] is not None else 0
    return {Sum(*key, *line) for key, line in found.items()}


@pytest.mark.parametrize("at_once", [1, 7, 1000])
async def test_sums_are_what_one_adds_up_by_hand_however_many_orders_are_read_at_once(
    db: Database, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    dice = random.Random(at_once)
    rows = [order(n, dice) for n in range(1, 61)]
    await put(db, rows)
    monkeypatch.setattr(reports, "AT_ONCE", at_once)
    for since, until in ((None, None), (NOW + 1, NOW + 4), (NOW + 9, None)):
        found = await Reports(db).sums(OrderFilter(since=since, until=until))
        assert set(found) == expected(rows, since, until)
        assert len(found) == len(set(found))
    of_shop = await Reports(db).sums(OrderFilter(site="shop", partner="anna"))
    every = expected(rows, None, None)
    assert set(of_shop) == {one for one in every if (one.site, one.partner) == ("shop", "anna")}


async def test_a_partners_orders_of_all_sites_are_listed_newest_first(db: Database) -> None:
    dice = random.Random(3)
    rows = [order(n, dice) for n in range(1, 61)]
    await put(db, rows)
    own = [r["order_id"] for r in rows if r["partner"] == "anna" and r["merged_into"] is None]
    lines = await Reports(db).orders(OrderFilter(partner="anna"), 5)
    assert [line.id for line in lines] == own[::-1][:5]
    every = await Reports(db).orders(OrderFilter(partner="anna"))
    assert [line.id for line in every] == own[::-1]


async def test_sums_that_take_too_long_are_given_up(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    dice = random.Random(5)
    await put(db, [order(n, dice) for n in range(1, 2001)])
    monkeypatch.setattr(reports, "SECONDS", 0.001)
    with pytest.raises(LedgerBusyError, match="longer than"):
        await Reports(db).sums(OrderFilter())


async def test_lists_and_sums_have_a_time_limit(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    limits: list[float | None] = []
    ask = db.query

    async def query(work: Any, seconds: float | None = None) -> Any:
        limits.append(seconds)
        return await ask(work, seconds)

    monkeypatch.setattr(db, "query", query)
    assert await Commissions(db).sums(WantedCommissions()) == ()
    assert limits == [commissions.SECONDS]
    assert await Reports(db).orders(OrderFilter(site="shop"), 5) == ()
    assert limits == [commissions.SECONDS, reports.SECONDS]
