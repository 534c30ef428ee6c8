"""What prepared statements read does not grow with the ledger, on both engines: a few rows of five thousand.

All of them are tried, those that are prepared when their module is imported and those that are made for a
number of values. A new one fails here until its parameters have values in `GIVEN`.
"""

import importlib
import json
import pkgutil
import sqlite3
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any

import asyncpg
import pytest
from clew.stores import ledger
from clew.stores.ledger import conversations, customers, history, queue, tail
from clew.stores.ledger.connection import Connection, executing
from clew.stores.ledger.database import Database
from clew.stores.ledger.engines import database_at
from clew.stores.ledger.prepared import Prepared
from sqlalchemy import text
from sqlalchemy.dialects import postgresql, sqlite

NOW = 1_796_000_000.0
ROWS = 5_000
# Of what has a site, every second row is of the shop; a customer has one order, a coupon ten uses.
_SITE = "CASE WHEN n % 2 = 0 THEN 'shop' ELSE 'other' END"
_STATE = "CASE WHEN n > 4980 THEN 'due' WHEN n > 4970 THEN 'sending' ELSE 'delivered' END"
_OPEN = "CASE WHEN n > 4980 THEN 'open' ELSE 'closed' END"
_FILL = (
    "INSERT INTO policies (version, policy) VALUES ('v1', '{}')",
    "INSERT INTO orders (id, site, order_id, version, state, total, currency, refunded, details, channel, "
    "source, sources, doubts, placed_at, recorded_at, changed_at, decision, visitor, coupon, conversation) "
    "{c}"
    f"SELECT n, {_SITE}, 'o' || n, 1, 'placed', '10.00', 'EUR', '0', '{{}}', 'web', 'api', '{{}}', '[]', "
    f"{NOW} + n, {NOW} + n, {NOW}, n, 'v' || n, 'c' || (n / 10), 't' || n FROM c",
    f"INSERT INTO order_numbers (site, number, \"order\") {{c}}SELECT {_SITE}, 'o' || n, n FROM c",
    'INSERT INTO sightings (id, site, "order", key, source, at, said, loose, around, visitor, email_hash) {c}'
    f"SELECT n, {_SITE}, n, 'k' || n, 'api', {NOW} + n, '{{}}', {{f}}, {NOW} + n, 'v' || n, 'e' || n FROM c",
    'INSERT INTO decisions (id, "order", order_version, at, policy, inputs, reason, considered) {c}'
    f"SELECT n, n, 1, {NOW}, 'v1', '{{}}', 'why', '[]' FROM c",
    'INSERT INTO shares (decision, partner, place, "order", site, part, reason) {c}'
    f"SELECT n, 'p' || (n % 7), 0, n, {_SITE}, '1', 'why' FROM c WHERE n % 100 <> 0",
    'INSERT INTO commission_entries ("order", site, partner, currency, kind, at, source, "by", why, value, '
    "stands, part) {c}"
    f"SELECT n, {_SITE}, 'p' || (n % 7), 'EUR', 'credited', {NOW}, 'credit', '', '', 100, {{f}}, '1' FROM c",
    'INSERT INTO commissions ("order", partner, currency, site, state, amount, value, locked, paid, '
    "lockable, unpaid, placed_at, changed_at) {c}"
    f"SELECT n, 'p' || (n % 7), 'EUR', {_SITE}, 'pending', 100, 1000, 0, 0, {{f}}, {{f}}, 1, 1 FROM c",
    'INSERT INTO postbacks (id, "order", site, partner, sequence, event, report, state, attempts, next_at, '
    "created_at) {c}"
    f"SELECT 'pb_' || n, n, {_SITE}, 'p' || (n % 7), 1, 'order', '{{}}', {_STATE}, 1, 0, {NOW} + n FROM c",
    "INSERT INTO attempts (postback, at, request, outcome) {c}"
    f"SELECT 'pb_' || n, {NOW}, '', 'delivered' FROM c",
    "INSERT INTO conversations (id, site, visitor, language, state, started_at, updated_at, said) {c}"
    f"SELECT 't' || n, {_SITE}, 'v' || n, 'en', {_OPEN}, {NOW}, {NOW}, 1 FROM c",
    "INSERT INTO conversation_tags (conversation, tag, site, agent, at) {c}"
    f"SELECT 't' || n, 'tag', {_SITE}, 'bo', {NOW} FROM c",
    "INSERT INTO desk_log (id, site, conversation, kind, at) {c}"
    f"SELECT n, {_SITE}, 't' || n, 'note', {NOW} FROM c",
    'INSERT INTO blocks (id, site, visitor, client, "by", why, at, until) {c}'
    f"SELECT n, {_SITE}, 'v' || n, 'n' || n, 'bo', '', {NOW}, {NOW} + n FROM c",
    "INSERT INTO messages (id, conversation, author, text, at) {c}"
    f"SELECT n, 't' || n, 'visitor', 'hello', {NOW} FROM c",
    "INSERT INTO files (id, site, conversation, message, name, type, size, at) {c}"
    f"SELECT 'f' || n, {_SITE}, 't' || n, n, 'a.txt', 'text/plain', 5, {NOW} FROM c",
    'INSERT INTO rule_revisions (id, site, number, at, "by", note, text, rules, own, count, size) {c}'
    f"SELECT n, {_SITE}, n, {NOW}, 'bo', '', '', '', '{{}}', 0, 0 FROM c",
    "INSERT INTO offers (code, site, conversation, visitor, agent, label, page, coupon_key, single, made_at, "
    'expires_at, clicks, others, clicked_at, counts_until, "order", version, changed_at) {c}'
    f"SELECT 'f' || n, {_SITE}, 't' || n, 'v' || n, 'bo', 'x', '/', 'k' || n, {{f}}, {NOW}, {NOW}, 1, 0, "
    f"{NOW}, {NOW}, CASE WHEN n % 2 = 0 THEN n END, 1, {NOW} FROM c",
)
_NUMBERS = {
    "sqlite": f"WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < {ROWS}) ",
    "postgresql": f"WITH c(n) AS (SELECT * FROM generate_series(1, {ROWS})) ",
}
GIVEN: Mapping[str, Any] = {
    "file": "f3000",
    "site": "shop",
    "order": 3000,
    "row": 3000,
    "number": 3000,
    "of_order": 3000,
    "decision": 3000,
    **{f"missed{place}": 3000 + place for place in range(4)},
    "version": "v1",
    "visitor": "v3000",
    "email": "e3000",
    "coupon": "c300",
    "key": "k3000",
    "placed_at": NOW,
    "partner": "p2",
    "key_order": 3000,
    "key_partner": "p2",
    "key_currency": "EUR",
    "currency": "EUR",
    "before": NOW + 4000,
    "since": NOW + ROWS - 50,
    "until": NOW + ROWS,
    "now": NOW - 1,
    "limit": 20,
    "each": 4,
    "among": 50,
    "lease": 1.0,
    **{f"id{n}": f"pb_{4990 + n}" for n in range(4)},
    **{f"number{n}": f"o{2 * n + 2}" for n in range(3)},
    **{f"conversation{n}": f"t{3000 + n}" for n in range(3)},
    # What is written.
    **dict.fromkeys(("spelling", "named_by", "agent", "merged_into", "finished_at", "ref")),
    **dict.fromkeys(("last_answer", "last_status", "waits_until", "decided_at")),
    **dict.fromkeys(("amount", "value", "locked", "paid", "attempts", "tried", "written"), 1),
    **dict.fromkeys(("placed", "placed_at", "changed_at", "next_at", "accepted_at"), NOW),
    "job": "a call's name",
    **dict.fromkeys(("token", "host"), "x"),
    "conversation": "t3000",
    "client_id": "c3000",
    **dict.fromkeys(("kind", "by", "department", "why", "text"), "note"),
    "at": NOW,
    "after": ROWS - 20,
    **dict.fromkeys(("page", "client", "last")),
    "updated_at": NOW,
    **dict.fromkeys(("lockable", "unpaid"), False),
    **{name: [] for name in ("details", "sources", "doubts")},
    **dict.fromkeys(("order_id", "state", "source", "channel"), "page"),
    **dict.fromkeys(("total", "refunded"), "1.00"),
}
"""A value for each parameter of a condition, by its name."""

OTHERS: Mapping[str, Mapping[str, Any]] = {
    # By names that mean something else elsewhere.
    "_ADD": {"before": "bo"},
    "_CHANGE_ORDER": {"before": 1},
    **{key: {"key": "t3000"} for key in ("_VISITOR_SAID", "_AGENT_SAID")},
    "_PRESENT": {"before": NOW},
    "_RATED": {"key": "t3000", "rating": 5, "rating_text": None},
    **{name: {"row": "pb_4990"} for name in ("BEGIN", "FINISH", "FINISH_ACCEPTED", "FINISH_DELIVERED")},
}
MOST = 250
"""Rows that a statement may read in PostgreSQL: those of the queues of 14 partners are the most."""
STEPS = 12_000
"""Steps of SQLite's machine: it takes more than that to go through a table, or through half of an index."""


def prepared(dialect: str) -> Iterator[tuple[str, Prepared]]:
    """All that read or change rows, by module and name."""
    yield "queue.claim", queue.claim(4)
    yield "history._by_numbers", history._by_numbers(3)
    yield "conversations._of_several", conversations._of_several(3)
    yield "tail._shown", tail._shown(4)
    modules = [
        importlib.import_module(f"{ledger.__name__}.{m.name}") for m in pkgutil.iter_modules(ledger.__path__)
    ]
    known = set()
    for module in modules:
        for name, value in vars(module).items():
            one = value.get(dialect) if isinstance(value, dict) else value
            if isinstance(one, Prepared) and id(one) not in known and not one.statement.is_insert:
                known.add(id(one))
                yield f"{module.__name__.rpartition('.')[2]}.{name}", one
    assert len(known) > 30


@pytest.fixture
async def db(ledger_address: str) -> AsyncIterator[Database]:
    found = database_at(ledger_address)
    await found.open()
    engine = found.dialect
    false, json = ("false", "::json") if engine == "postgresql" else ("0", "")

    async def fill(tx: Connection) -> None:
        for statement in _FILL:
            written = statement.replace("{c}", _NUMBERS[engine]).replace("{f}", false)
            await tx.execute(text(written.replace("'{}'", f"'{{}}'{json}").replace("'[]'", f"'[]'{json}")))

    await found.transact(fill, 60)
    await found.transact(executing(text("ANALYZE")))
    if engine == "sqlite":
        # clew keeps no statistics there.
        await found.transact(executing(text("DELETE FROM sqlite_stat1")))
    yield found
    await found.close()


def steps(file: str, statement: str, given: Sequence[Any]) -> int:
    """How many steps SQLite takes for a statement."""
    count = 0

    def step() -> None:
        nonlocal count
        count += 100

    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("BEGIN")
        connection.set_progress_handler(step, 100)
        connection.execute(statement, given).fetchall()
        connection.set_progress_handler(None, 0)
        connection.execute("ROLLBACK")
    return count


async def rows(address: str, statement: str, given: Sequence[Any]) -> float:
    """How many rows PostgreSQL reads for a statement, with those that it throws away."""
    connection = await asyncpg.connect(address)
    try:
        undone = connection.transaction()
        await undone.start()
        # Of so few rows it would rather read all than look up a few dozen: with years of orders it would not.
        for way in ("seqscan", "hashjoin", "mergejoin"):
            await connection.execute(f"SET LOCAL enable_{way} = off")
        found = await connection.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", *given)
        await undone.rollback()
    finally:
        await connection.close()
    return sum(_read(json.loads(found)[0]["Plan"]))


def _read(plan: Mapping[str, Any]) -> Iterator[float]:
    if "Relation Name" in plan and plan["Node Type"] != "ModifyTable":
        yield plan["Actual Loops"] * (plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0))
    for below in plan.get("Plans", ()):
        yield from _read(below)


async def test_no_prepared_statement_goes_through_a_table(db: Database) -> None:
    costs: dict[str, float] = {}
    dialect = sqlite.dialect() if db.dialect == "sqlite" else postgresql.asyncpg.dialect()
    for name, statement in prepared(db.dialect):
        compiled = statement.of(dialect)
        given = compiled.values({**GIVEN, **OTHERS.get(name.partition(".")[2], {})})
        if db.dialect == "sqlite":
            costs[name] = steps(db.address.removeprefix("sqlite:"), compiled.text, given)
        else:
            costs[name] = await rows(db.address, compiled.text, given)
    most = STEPS if db.dialect == "sqlite" else MOST
    assert not {name: cost for name, cost in costs.items() if cost > most}


async def test_of_an_address_in_all_reports_only_the_newest_are_read(db: Database) -> None:
    """Anybody can place orders with somebody's address."""
    await db.transact(executing(text("UPDATE sightings SET email_hash = 'e3000'")))
    dialect = sqlite.dialect() if db.dialect == "sqlite" else postgresql.asyncpg.dialect()
    compiled = customers._LINKED.of(dialect)
    given = compiled.values({**GIVEN, "visitor": f"v{ROWS}", "limit": 3})
    if db.dialect == "sqlite":
        assert steps(db.address.removeprefix("sqlite:"), compiled.text, given) <= STEPS
    else:
        assert await rows(db.address, compiled.text, given) <= MOST
    found = await customers.Customers(db).linked("shop", "e3000", f"v{ROWS}", 3)
    assert found == [f"v{ROWS - n}" for n in (2, 4, 6)]


async def test_what_goes_through_a_table_is_detected(db: Database) -> None:
    if db.dialect == "sqlite":
        found = "SELECT count(*) FROM postbacks WHERE last_status = ?"
        assert steps(db.address.removeprefix("sqlite:"), found, [3]) > STEPS
        half = "SELECT count(*) FROM orders WHERE site = ? AND agent IS NULL"
        assert steps(db.address.removeprefix("sqlite:"), half, ["shop"]) > STEPS
    else:
        found = "SELECT count(*) FROM postbacks WHERE last_status = $1"
        assert await rows(db.address, found, [3]) > MOST
