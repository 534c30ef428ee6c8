"""The owner's list of orders: each order that matches once, newest first, whatever is asked for."""

import itertools
import random
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from clew.orders.model import STATES
from clew.stores.ledger import lists
from clew.stores.ledger.connection import Connection
from clew.stores.ledger.database import Database
from clew.stores.ledger.engines import database_at
from clew.stores.ledger.lists import NOBODY, Lists, WantedList
from clew.stores.ledger.schema import decisions, orders, policies, postbacks, shares

NOW = 1_796_000_000.0


@pytest.fixture
async def db(ledger_address: str) -> AsyncIterator[Database]:
    found = database_at(ledger_address)
    await found.open()
    yield found
    await found.close()


def rows(seed: int, number: int) -> list[dict[str, Any]]:
    """Orders, many of them placed at the same second."""
    dice = random.Random(seed)
    return [
        {
            "id": n,
            "site": dice.choice(["shop", "shop", "other"]),
            "state": dice.choice(STATES),
            "channel": dice.choice(["web", "chat", "phone"]),
            "placed_at": NOW + dice.randrange(number // 3) / 4,
            "merged_into": dice.choice([None] * 9 + [1]),
            "partners": dice.choice([[], ["anna"], ["anna", "bert"], ["carl"]]),
            "held": dice.random() < 0.2,
        }
        for n in range(1, number + 1)
    ]


async def put(db: Database, given: Sequence[dict[str, Any]]) -> None:
    own = ("id", "site", "state", "channel", "placed_at", "merged_into")
    fixed: dict[str, Any] = {"version": 1, "total": "1.00", "currency": "EUR", "refunded": "0", "details": {}}
    fixed |= {"source": "api", "sources": {}, "doubts": [], "recorded_at": NOW, "changed_at": NOW}
    decided: dict[str, Any] = {"order_version": 1, "at": NOW, "policy": "v1", "inputs": {}, "considered": []}
    call: dict[str, Any] = {"partner": "anna", "sequence": 1, "event": "order", "report": {}, "attempts": 0}
    call |= {"next_at": NOW, "created_at": NOW}
    tables = (
        (
            orders,
            [
                {n: r[n] for n in own} | fixed | {"order_id": f"o{r['id']}", "decision": r["id"]}
                for r in given
            ],
        ),
        (decisions, [decided | {"id": r["id"], "order": r["id"], "reason": f"why {r['id']}"} for r in given]),
        (
            shares,
            [
                {"decision": r["id"], "order": r["id"], "site": r["site"], "partner": p, "place": n}
                | {"part": "1", "reason": ""}
                for r in given
                for n, p in enumerate(r["partners"])
            ],
        ),
        (
            postbacks,
            [
                call
                | {"id": f"pb{r['id']}", "order": r["id"], "site": r["site"]}
                | {"state": "held" if r["held"] else "delivered", "why": "in doubt" if r["held"] else None}
                for r in given
            ],
        ),
    )

    async def work(tx: Connection) -> None:
        await tx.execute(policies.insert().values(version="v1", policy={}))
        for table, values in tables:
            await tx.execute(table.insert(), values)

    await db.transact(work, 60)


def matches(row: dict[str, Any], sites: Sequence[str], wanted: WantedList) -> bool:
    of_partner = (
        wanted.partner is None
        or (wanted.partner == NOBODY and not row["partners"])
        or wanted.partner in row["partners"]
    )
    return (
        row["site"] in sites
        and row["merged_into"] is None
        and of_partner
        and wanted.state in (None, row["state"])
        and wanted.channel in (None, row["channel"])
        and (not wanted.held or row["held"])
        and (wanted.since is None or row["placed_at"] >= wanted.since)
        and (wanted.until is None or row["placed_at"] < wanted.until)
    )


async def every(db: Database, sites: Sequence[str], wanted: WantedList, limit: int) -> list[int]:
    """The rows of all pages."""
    found, after = list[int](), None
    for pages in itertools.count(1):
        page = await Lists(db).page(sites, wanted, after=after, limit=limit)
        assert len(page.orders) <= limit
        found += [order.row for order in page.orders]
        assert page.after is None or after is None or page.after < after
        after = page.after
        if after is None:
            return found
        assert pages < 200
    raise AssertionError


WANTED = [
    WantedList(),
    *(WantedList(partner=name) for name in ("anna", "bert", NOBODY, "nobody we know")),
    WantedList(state="paid"),
    WantedList("anna", "placed", "chat"),
    WantedList(held=True),
    WantedList("bert", held=True, channel="web"),
    WantedList(NOBODY, since=NOW + 3, until=NOW + 9),
    WantedList(state="test", since=NOW + 5),
]


@pytest.mark.slow
@pytest.mark.parametrize(("searched", "rare"), [(20_000, 2_000), (7, 2_000), (7, 0), (1, 0)])
async def test_the_pages_have_each_order_that_matches_once(
    db: Database, monkeypatch: pytest.MonkeyPatch, searched: int, rare: int
) -> None:
    monkeypatch.setattr(lists, "SEARCHED", searched)
    monkeypatch.setattr(lists, "RARE", rare)
    given = rows(searched, 120)
    await put(db, given)
    for sites in (["shop"], ["shop", "other"]):
        for wanted in WANTED:
            expected = [
                row["id"]
                for row in sorted(given, key=lambda row: (row["placed_at"], row["id"]), reverse=True)
                if matches(row, sites, wanted)
            ]
            assert await every(db, sites, wanted, 9 if searched > 1 else 3) == expected, (sites, wanted)


async def test_a_line_has_amount_credit_and_why(db: Database) -> None:
    given = [
        {"id": 1, "site": "shop", "state": "paid", "channel": "chat", "placed_at": NOW, "merged_into": None}
        | {"partners": ["anna", "bert"], "held": True}
    ]
    await put(db, given)
    (line,) = (await Lists(db).page(["shop"], WantedList(), limit=5)).orders
    assert (line.total, line.currency, line.reason, line.held) == ("1.00", "EUR", "why 1", "in doubt")
    assert [part.partner for part in line.parts] == ["anna", "bert"]
    assert await Lists(db).rows([1]) == (line,)
    assert await Lists(db).rows([]) == ()


async def test_a_search_that_finds_little_says_how_far_it_came(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lists, "SEARCHED", 10)
    monkeypatch.setattr(lists, "RARE", 0)
    await put(
        db, [row | {"partners": ["anna"] if row["id"] == 1 else [], "site": "shop"} for row in rows(1, 60)]
    )
    page = await Lists(db).page(["shop"], WantedList("anna"), limit=5)
    assert page.searched
    assert page.after is not None
