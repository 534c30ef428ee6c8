"""What the owner's pages cost with a million orders: the list, filtered, as a page of the desk, and the
report by partner, channel and week."""

import asyncio
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import asyncpg
import million
from clew.stores.ledger.engines import database_at
from clew.stores.ledger.totals import Totals, Weeks
from database_servers import Postgres
from desks import PASSWORD, DeskServer, login
from options import Options
from pinned import BenchError
from report import Section, spread, table

LOADS = 9  # of each page in a round
FILTERS = {
    "a partner with many orders, paid": f"partner={million.partner(0)}&state=paid",
    "a partner with many orders, charged back": f"partner={million.partner(0)}&state=charged_back",
    "a partner with few orders, cancelled": f"partner={million.partner(39)}&state=cancelled",
    "a partner that shares orders, refunded": "partner=second&state=refunded",
    "a partner nobody knows, placed": "partner=nobody&state=placed",
}


def bench_owner(options: Options) -> Section:
    """`orders_page_ms` is the slowest of the filters' medians, `report_1m_s` the slower of the medians, of
    both engines."""
    figures: dict[str, float] = {}
    rows: list[list[str]] = []
    with tempfile.TemporaryDirectory(prefix="clew-bench-") as name:
        for engine in ("sqlite", "postgresql"):
            with _filled(engine, Path(name)) as address:
                pages, reports = asyncio.run(_measured(Path(name), address, options))
            figures[f"orders_page_ms_{engine}"] = max(statistics.median(one) for one in pages.values())
            figures[f"report_1m_s_{engine}"] = statistics.median(reports)
            rows += [[engine, what, f"{spread(found, '.1f')} ms"] for what, found in pages.items()]
            rows.append([engine, "the report of 52 weeks", f"{spread(reports, '.2f')} s"])
    for key, digits in (("orders_page_ms", 1), ("report_1m_s", 2)):
        figures[key] = max(figures[f"{key}_{engine}"] for engine in ("sqlite", "postgresql"))
        figures |= {one: round(value, digits) for one, value in figures.items() if one.startswith(key)}
    text = (
        f"{million.ORDERS:,} orders of a site, {million.PARTNERS + 1} partners. The first page of the list, "
        "as the desk sends it, and the sums of all orders by partner, channel and week, read anew each time. "
        "In one process; PostgreSQL on the same machine."
    )
    return Section(figures, table("The owner's pages", text, ("ledger", "", "median"), rows))


@contextmanager
def _filled(engine: str, folder: Path) -> Iterator[str]:
    """The address of a ledger with the orders."""
    if engine == "sqlite":
        path = folder / "ledger.db"
        asyncio.run(_tables(f"sqlite:{path}"))
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            for pragma in ("foreign_keys=OFF", "synchronous=OFF"):
                connection.execute(f"PRAGMA {pragma}")
            connection.execute("BEGIN")
            for statement in million.statements(engine):
                connection.execute(statement)
            connection.execute("COMMIT")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        yield f"sqlite:{path}"
        return
    server = Postgres(fast=False)
    server.start()
    try:
        address = server.url(server.database())
        asyncio.run(_tables(address))
        asyncio.run(_fill(address))
        yield address
    finally:
        server.remove()


async def _tables(address: str) -> None:
    db = database_at(address)
    await db.open()
    await db.close()


async def _fill(address: str) -> None:
    connection = await asyncpg.connect(address)
    await connection.execute("SET synchronous_commit = off")
    for statement in million.statements("postgresql"):
        await connection.execute(statement, timeout=1800)
    await connection.execute("VACUUM ANALYZE", timeout=1800)
    await connection.close()


async def _measured(
    folder: Path, address: str, options: Options
) -> tuple[dict[str, list[float]], list[float]]:
    """Milliseconds of each page, and seconds of the report."""
    desk = DeskServer(folder, ledger=address)
    await desk.service.open()
    pages: dict[str, list[float]] = {what: [] for what in FILTERS}
    reports: list[float] = []
    try:
        await desk.agents.add("bench", PASSWORD, site=None, now=desk.service.clock.now())
        client = desk.client()
        await login(client, "bench")
        weeks = Weeks.until(million.UNTIL - 1, million.WEEKS, ZoneInfo("UTC"))
        for _ in range(options.rounds):
            for what, query in FILTERS.items():
                for _ in range(LOADS):
                    pages[what].append(await _page(client, f"desk/orders?{query}"))
            began = time.perf_counter()
            found = await Totals(desk.service.ledger.db).of([million.SITE], weeks, 0.0)
            reports.append(time.perf_counter() - began)
            counted = sum(total.main + total.undone for total in found)
            if counted < million.ORDERS:
                raise BenchError(f"the report has {counted} orders")
    finally:
        await desk.service.close()
    return pages, reports


async def _page(client: Any, path: str) -> float:
    began = time.perf_counter()
    answer = await client.get(path)
    took = (time.perf_counter() - began) * 1e3
    if answer.status_code != 200:
        raise BenchError(f"{path}: {answer.status_code}")
    return took
