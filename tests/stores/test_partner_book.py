"""What a partner's pages read is found by an index, on both engines: it does not grow with others' orders."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest
from clew.postbacks.model import Postback
from clew.stores.ledger.books import Ledger
from clew.stores.ledger.commissions import WantedCommissions
from clew.stores.ledger.connection import Connection
from sqlalchemy import event, text

NOW = 1_796_000_000.0
ROWS = 10_000
OWN = 40
# Of every thousandth order: of the partner `anna` at `shop`; all others are of another partner or site.
_WHO = "CASE WHEN n % 250 = 0 THEN 'anna' ELSE 'p' || (n % 7) END"
_SITE = "CASE WHEN n % 250 <> 0 AND n % 3 = 0 THEN 'other' ELSE 'shop' END"
_NUMBERS = {
    "sqlite": "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < {0}) ",
    "postgresql": "WITH c(n) AS (SELECT * FROM generate_series(1, {0})) ",
}
_FILL = (
    "INSERT INTO orders (id, site, order_id, version, state, total, currency, refunded, details, channel, "
    "source, sources, doubts, placed_at, recorded_at, changed_at, decision) {c}"
    f"SELECT n, {_SITE}, 'o' || n, 1, 'placed', '10.00', 'EUR', '0', '{{}}', 'web', 'api', '{{}}', '[]', "
    f"{NOW} + n, {NOW}, {NOW}, n FROM c",
    'INSERT INTO shares (decision, partner, place, "order", site, part, reason) {c}'
    f"SELECT n, {_WHO}, 0, n, {_SITE}, '1', 'why' FROM c",
    'INSERT INTO commissions ("order", partner, currency, site, state, amount, value, locked, paid, '
    "lockable, unpaid, placed_at, changed_at) {c}"
    f"SELECT n, {_WHO}, 'EUR', {_SITE}, 'pending', 100, 1000, 0, 0, false, false, {NOW} + n, {NOW} FROM c",
    'INSERT INTO postbacks (id, "order", site, partner, sequence, event, report, state, attempts, next_at, '
    "created_at) {c}"
    f"SELECT 'pb_' || n, n, {_SITE}, {_WHO}, 1, 'order', '{{}}', 'delivered', 1, 0, {NOW} + n FROM c",
    "INSERT INTO attempts (postback, at, request, outcome) {c}"
    f"SELECT 'pb_' || n, {NOW}, '', 'delivered' FROM c",
    "INSERT INTO partner_clicks (site, partner, day, count) {c}"
    "SELECT 'shop', 'q' || n, '2026-11-27', 1 FROM c",
    "INSERT INTO partner_sessions (token, site, partner, host, csrf, created_at, expires_at, generation) {c}"
    f"SELECT 't' || n, 'shop', 'q' || (n % 999), 'shop.test', 'c', {NOW}, {NOW} + 999, 0 FROM c",
)
LAST = Postback(
    *("pb_5000", 5_000, "shop", "anna", 1, "order"),
    report=None,  # type: ignore[arg-type]
    state="delivered",
    attempts=1,
    next_at=0,
    lease_until=None,
    last_answer=None,
    created_at=NOW + 5_000,
    finished_at=None,
)
Ask = Callable[[Ledger], Awaitable[Any]]
ASKED: dict[str, Ask] = {
    "details": lambda own: own.partner_book.details("shop", "anna", [500, 1000, 1500]),
    "place": lambda own: own.partner_book.place("shop", "anna", "o1000"),
    "first order": lambda own: own.partner_book.first_order("shop", "anna"),
    "attempts": lambda own: own.partner_book.attempts("pb_1000"),
    "followed": lambda own: own.partner_book.followed(LAST),
    "a call": lambda own: own.partner_book.call("shop", "anna", "pb_7"),
    "clicks": lambda own: own.partner_clicks.of("shop", "anna", "2026-01-01", "2027-01-01"),
    "session": lambda own: own.partner_access.session("token", "shop", "shop.test", NOW),
    "the first page of orders": lambda own: own.commissions.page(
        WantedCommissions(site="shop", partner="anna"), limit=20
    ),
    "a late page of orders": lambda own: own.commissions.page(
        WantedCommissions(site="shop", partner="anna"), limit=5, after=(NOW + 1250, 1250, "anna", "EUR")
    ),
    "a month": lambda own: own.commissions.sums(
        WantedCommissions(site="shop", partner="anna", since=NOW, until=NOW + ROWS)
    ),
}


# Five of the partner's orders, whichever page it is.
MOST = {"a late page of orders": 25}


@pytest.fixture
async def ledger(ledger_address: str) -> AsyncIterator[Ledger]:
    found = Ledger(ledger_address)
    await found.db.open()

    async def fill(tx: Connection) -> None:
        if found.db.dialect == "postgresql":
            # Without what they belong to.
            await tx.execute(text("SET LOCAL session_replication_role = replica"))
        else:
            await tx.execute(text("PRAGMA defer_foreign_keys = 1"))
            columns = '(id, "order", order_version, at, policy, inputs, reason, considered)'
            await tx.execute(text("INSERT INTO policies (version, policy) VALUES ('v', '{}')"))
            many = _NUMBERS["sqlite"].format(ROWS)
            rows = f"{many} SELECT n, n, 1, {NOW}, 'v', '{{}}', 'why', '[]' FROM c"
            await tx.execute(text(f"INSERT INTO decisions {columns} {rows}"))
        for statement in _FILL:
            await tx.execute(text(statement.replace("{c}", _NUMBERS[found.db.dialect].format(ROWS))))

    await found.db.transact(fill, 60)
    if found.db.dialect == "postgresql":
        await found.db.query(lambda connection: connection.execute(text("ANALYZE")))
    yield found
    await found.db.close()


def _read(plan: dict[str, Any]) -> Iterator[float]:
    """How many rows each scan of a table reads, with those that it throws away."""
    if "Relation Name" in plan:
        loops = plan["Actual Loops"]
        yield loops * (plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0))
    for below in plan.get("Plans", ()):
        yield from _read(below)


async def test_all_that_is_read_is_found_by_an_index(ledger: Ledger) -> None:
    """In PostgreSQL by the number of rows that are read, in SQLite by the plan."""
    asked: list[tuple[str, Any]] = []

    def hear(_c: object, _cursor: object, statement: str, given: Any, _x: object, _many: bool) -> None:
        asked.append((statement, given))

    db = ledger.db
    async with db.read() as connection:
        engine = await connection.run_sync(lambda found: found.engine)
    for name, ask in {**ASKED, "calls": calls, "further calls": further}.items():
        asked.clear()
        event.listen(engine, "before_cursor_execute", hear)
        await ask(ledger)
        event.remove(engine, "before_cursor_execute", hear)
        assert asked, name
        for statement, given in asked:
            if not statement.startswith(("SELECT", "WITH")):
                continue
            how = "EXPLAIN QUERY PLAN" if db.dialect == "sqlite" else "EXPLAIN (ANALYZE, FORMAT JSON)"
            async with db.read() as connection:
                rows = await connection.run_sync(
                    lambda found, how=how, statement=statement, given=given: found.exec_driver_sql(
                        f"{how} {statement}", given
                    ).freeze()()
                )
            found = rows.all()
            if db.dialect == "sqlite":
                assert not [step[3] for step in found if step[3].startswith("SCAN")], (name, found)
                if "late" in name:
                    assert any("placed_at<?" in step[3] for step in found), found
            else:
                assert sum(_read(found[0][0][0]["Plan"])) <= MOST.get(name, 6 * OWN), (name, found)


async def calls(ledger: Ledger) -> None:
    """The first page."""
    await _page(ledger, None)


async def further(ledger: Ledger) -> None:
    """A later page."""
    await _page(ledger, LAST)


async def _page(ledger: Ledger, before: Postback | None) -> None:
    # These postbacks have no report.
    with contextlib.suppress(TypeError):
        await ledger.partner_book.calls("shop", "anna", before=before, limit=20)
