"""Totals by partner, channel and week: exact, on both engines, against sums that are made row by row."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from clew.credit.division import divided
from clew.orders.model import SALES, STATES
from clew.orders.money import amount_text
from clew.stores.ledger.connection import Connection
from clew.stores.ledger.database import Database
from clew.stores.ledger.engines import database_at
from clew.stores.ledger.errors import LedgerBusyError
from clew.stores.ledger.schema import commissions, decisions, orders, policies, shares
from clew.stores.ledger.totals import FRESH, MOST_WEEKS, UNDONE, Kept, Total, Totals, Weeks
from sqlalchemy import text

BERLIN = ZoneInfo("Europe/Berlin")
NOW = 1_796_000_000.0  # Monday 2026-11-30, 01:53 in Berlin
WEEKS = Weeks.until(NOW, 4, BERLIN)


@pytest.fixture
async def db(ledger_address: str) -> AsyncIterator[Database]:
    found = database_at(ledger_address)
    await found.open()
    yield found
    await found.close()


def order(row: int, **values: Any) -> dict[str, Any]:
    """A row of an order; `parts` are its shares: partner, part and commission. A commission that ends with
    an x was declined: the decision gives it, and the partner earns nothing."""
    return {
        "id": row,
        "site": "shop",
        "order_id": f"o{row}",
        "version": 1,
        "state": "placed",
        "total": "10.00",
        "currency": "EUR",
        "refunded": "0",
        "details": {},
        "channel": "web",
        "source": "api",
        "sources": {},
        "doubts": [],
        "placed_at": NOW,
        "recorded_at": NOW,
        "changed_at": NOW,
        "merged_into": None,
        "parts": [("anna", "1", "1.00")],
        **values,
    }


def units(amount: str) -> int:
    return int(amount.replace(".", ""))


async def put(db: Database, *rows: dict[str, Any]) -> None:
    decided = [
        {"id": row["id"], "order": row["id"], "order_version": 1, "at": NOW, "policy": "v1", "inputs": {}}
        | {"reason": "", "considered": []}
        for row in rows
    ]
    parts = [
        {"decision": row["id"], "order": row["id"], "partner": partner, "place": place, "part": part}
        | {"commission": commission and commission.removesuffix("x"), "reason": "", "site": row["site"]}
        for row in rows
        for place, (partner, part, commission) in enumerate(row["parts"])
    ]
    earned = [
        {"order": row["id"], "partner": partner, "currency": row["currency"], "site": row["site"], "value": 0}
        | {"state": "declined" if declined else "pending"}
        | {"amount": None if commission is None else 0 if declined else units(commission)}
        | {"locked": 0, "paid": 0, "lockable": False, "unpaid": False}
        | {"placed_at": row["placed_at"], "changed_at": NOW}
        for row in rows
        if row["currency"] is not None
        for partner, _, commission in row["parts"]
        for declined in [str(commission).endswith("x")]
    ]
    plain = [
        {"decision": row["id"]} | {name: value for name, value in row.items() if name != "parts"}
        for row in rows
    ]

    async def work(tx: Connection) -> None:
        await tx.execute(policies.insert().values(version="v1", policy={}))
        for table, values in (
            (orders, plain),
            (decisions, decided),
            (shares, parts),
            (commissions, earned),
        ):
            if values:
                await tx.execute(table.insert(), values)

    await db.transact(work, 60)


def random_orders(seed: int, number: int) -> list[dict[str, Any]]:
    dice = random.Random(seed)
    rows = []
    for row in range(1, number + 1):
        currency = dice.choice(["EUR", "JPY", "KWD", None])
        total, refunded, parts = None, Decimal(), list[tuple[str, str, str | None]]()
        if currency is not None:
            total = amount_text(Decimal(dice.randrange(10**6)) / 1000, currency)
            refunded = dice.choice([Decimal(), Decimal(total) / 2, Decimal(total), Decimal("12.5")])
            split = dice.choice([(), ("1",), ("0.6", "0.4"), ("0.333334", "0.333333", "0.333333")])
            names = dice.sample(["anna", "bert", "carl", "=dora"], len(split))
            earned = [
                dice.choice([None, f"{amount_text(Decimal(dice.randrange(10**4)) / 100, currency)}{said}"])
                for _ in split
                for said in [dice.choice(["", "", "x"])]
            ]
            parts = list(zip(names, split, earned, strict=True))
        rows.append(
            order(
                row,
                site=dice.choice(["shop", "shop", "other"]),
                state=dice.choice(STATES),
                total=total,
                currency=currency,
                refunded=str(refunded),
                channel=dice.choice(["web", "chat", "phone"]),
                placed_at=dice.uniform(WEEKS.starts[0] - 86400, WEEKS.end + 86400),
                merged_into=dice.choice([None] * 9 + [1]),
                parts=parts,
            )
        )
    return rows


def expected(rows: Sequence[dict[str, Any]], site: str, start: float, end: float) -> set[Total]:
    """The totals of a week, added up as one would by hand."""
    found: dict[tuple[str | None, str, str], list[Any]] = {}
    for row in rows:
        if row["site"] != site or row["merged_into"] is not None or not start <= row["placed_at"] < end:
            continue
        amounts: list[Decimal] = []
        if row["total"] is not None:
            left = max(Decimal(row["total"]) - Decimal(row["refunded"]), Decimal())
            parts = [Decimal(part) for _, part, _ in row["parts"]]
            amounts = divided(left, row["currency"], parts) if len(parts) > 1 else [left]
        for place, (partner, _, commission) in enumerate(row["parts"] or [(None, "1", None)]):
            line = found.setdefault(
                (partner, row["channel"], row["currency"] or ""), [0, 0, 0, 0, Decimal(), Decimal()]
            )
            is_sale = row["state"] in SALES
            line[0] += is_sale
            line[1] += is_sale and place == 0
            line[2] += row["state"] in UNDONE
            declined = str(commission).endswith("x")
            line[3] += partner is not None and row["currency"] is not None and not declined
            line[4] += amounts[place] if is_sale and amounts else Decimal()
            line[5] += Decimal(commission or 0) if not declined else 0
    return {Total(site, *key[:2], start, key[2], *line) for key, line in found.items()}


@pytest.mark.parametrize("seed", range(3))
async def test_they_are_what_one_adds_up_by_hand(db: Database, seed: int) -> None:
    rows = random_orders(seed, 300)
    await put(db, *rows)
    found = await Totals(db).of(["shop", "other"], WEEKS, NOW)
    by_hand = {
        total
        for start, end in WEEKS.pairs()
        for site in ("shop", "other")
        for total in expected(rows, site, start, end)
    }
    assert len(by_hand) > 100
    assert set(found) == by_hand
    assert len(found) == len(by_hand)


async def test_large_amounts_are_exact(db: Database) -> None:
    """No float, and no whole number of 64 bits that runs over."""
    most = "999999999999999.99"
    await put(db, *[order(n, total=most, parts=[("anna", "1", "0.01")]) for n in range(1, 401)])
    (found,) = await Totals(db).of(["shop"], WEEKS, NOW)
    assert found.revenue == 400 * Decimal(most)
    assert found.commission == Decimal("4.00")


async def test_a_week_begins_on_monday_in_the_sites_time_zone(db: Database) -> None:
    monday = WEEKS.starts[-1]
    await put(
        db, order(1, placed_at=monday - 0.001), order(2, placed_at=monday), order(3, placed_at=WEEKS.end)
    )
    found = await Totals(db).of(["shop"], WEEKS, NOW)
    assert [(total.week, total.orders) for total in found] == [(WEEKS.starts[-2], 1), (monday, 1)]


def test_weeks_with_a_change_of_the_clocks_are_an_hour_off() -> None:
    weeks = Weeks.until(NOW, 10, BERLIN)
    lengths = [end - start for start, end in weeks.pairs()]
    assert sorted(set(lengths)) == [7 * 86400, 7 * 86400 + 3600]
    assert weeks.starts[-1] <= NOW < weeks.end
    assert len(Weeks.until(NOW, 10_000, BERLIN).starts) == MOST_WEEKS
    assert len(Weeks.until(NOW, -3, BERLIN).starts) == 1


async def test_only_the_partner_that_is_asked_for(db: Database) -> None:
    await put(db, order(1), order(2, parts=[("bert", "1", None)]), order(3, parts=[]))
    totals = Totals(db)
    assert {t.partner for t in await totals.of(["shop"], WEEKS, NOW, partner="bert")} == {"bert"}
    assert {t.partner for t in await totals.of(["shop"], WEEKS, NOW)} == {"anna", "bert", None}


async def test_many_pages_read_once_and_soon_again(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    await put(db, order(1))
    totals, read = Totals(db), list[float]()
    real = totals.week

    async def counted(site: str, start: float, end: float) -> Any:
        read.append(start)
        return await real(site, start, end)

    monkeypatch.setattr(totals, "week", counted)
    await asyncio.gather(*(totals.of(["shop"], WEEKS, NOW) for _ in range(5)))
    assert sorted(read) == list(WEEKS.starts)
    await totals.of(["shop"], WEEKS, NOW + FRESH - 1)
    assert len(read) == 4
    await totals.of(["shop"], WEEKS, NOW + FRESH)
    assert len(read) == 8


async def test_what_was_read_last_is_kept_longest() -> None:
    """Read anew, it moves behind what was read before: the next one that is too many is the oldest."""
    kept, read = Kept[str](2), list[str]()

    async def get(key: str, now: float) -> None:
        async def reading() -> str:
            read.append(key)
            return key

        await kept.get(key, now, reading)

    for key, now in (("a", 0), ("b", 1), ("a", FRESH), ("c", FRESH + 0.5), ("a", FRESH + 0.6)):
        await get(key, now)
    assert read == ["a", "b", "a", "c"]
    await get("b", FRESH + 0.7)
    assert read[-1] == "b"


SLOW = {
    "sqlite": "WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s) SELECT count(*) FROM s",
    "postgresql": "SELECT pg_sleep(60)",
}


async def test_a_question_that_takes_too_long_is_ended_and_the_next_is_answered(db: Database) -> None:
    async def slow(connection: Connection) -> None:
        await connection.execute(text(SLOW[db.dialect]))

    async def quick(connection: Connection) -> Any:
        return await connection.scalar(text("SELECT 7"))

    # More than there are threads or connections.
    for _ in range(10):
        with pytest.raises(LedgerBusyError, match=r"longer than 0\.1 s"):
            await db.query(slow, 0.1)
    assert await db.query(quick, 5) == 7
    assert await db.query(quick) == 7
    if db.dialect == "postgresql":
        again = await db.query(lambda c: c.scalar(text("SHOW statement_timeout")))
        assert again == "35s"
