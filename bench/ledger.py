"""What orders and postbacks cost beside the bare work: the same rows inserted by the same driver, the same
calls made by the same HTTP client."""

import asyncio
import itertools
import json
import os
import random
import sqlite3
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import asyncpg
import peers
import sqlalchemy as sa
from clew.orders.model import OrderSeen
from clew.postbacks.client import Client, Progress
from clew.postbacks.model import Report
from clew.postbacks.render import render
from clew.referral.touches import Click, Touch
from clew.referral.visitor import Touched
from clew.service.service import Service
from clew.settings.model import Partner as PartnerSettings
from clew.settings.model import Settings
from clew.stores.ledger import schema
from clew.stores.ledger.engines import database_at
from database_servers import Postgres
from options import Options
from pinned import LOAD_CORE, SERVER_CORE, BenchError, running
from report import Section, median, ratios, spread, table
from visitors import SITE
from visits import CALLS, answer
from visits import rate as delivered
from workloads import HOST, write_shop

WRITERS = 8
ORDERS = 400  # of one turn
TOKEN = "the-token-of-the-bench"
PARTNER = {
    "id": "friend",
    "param": "ref",
    "postback": "http://127.0.0.1:{port}/sale?c={{click_id}}&o={{order_id}}&a={{amount}}",
    "allow_private": True,
}
_PARTNER = """
[[sites.partners]]
id = "friend"
param = "friend"
postback = "{postback}"
allow_private = true
"""
TABLES = (
    schema.orders,
    schema.order_numbers,
    schema.sightings,
    schema.decisions,
    schema.shares,
    schema.commission_entries,
    schema.commissions,
    schema.postbacks,
)


def bench_ledger(options: Options) -> Section:
    """Raises BenchError."""
    found = [asyncio.run(measure_sqlite(options)), measure_postgres(options)]
    found += [measure_api(options), asyncio.run(measure_calls(options))]
    figures: dict[str, float] = {}
    for section in found:
        figures |= section.figures
    return Section(figures, "\n".join(section.table for section in found))


# -- orders, in one process


def settings(folder: Path, port: int, ledger: str | None = None) -> Settings:
    """A site with one partner whose postbacks go to a port of this machine."""
    database = ledger or f"sqlite:{folder / 'clew.db'}"
    partner = PARTNER | {"postback": str(PARTNER["postback"]).format(port=port)}
    site = {"name": "bench", "hosts": [HOST], "partners": [partner], "hold": {"amounts": False}}
    return Settings.model_validate(
        {"secret": "s" * 40, "ledger": database, "store": f"sqlite:{folder / 'visits.db'}", "sites": [site]}
    )


@dataclass
class Book:
    """A service that records orders of one visitor, and the rows that one of them makes."""

    service: Service
    numbers: "itertools.count[int]"

    async def record(self) -> None:
        """One order, credited to the partner, with its postback due."""
        order = OrderSeen(f"o{next(self.numbers)}", Decimal("59.90"), "EUR", "api")
        await self.service.ordering.record(self.service.sites["bench"], order, visitor="v1")

    async def rows(self) -> dict[str, list[dict[str, Any]]]:
        """The rows of the first order, by table."""
        async with self.service.ledger.db.read() as connection:
            return {
                t.name: [dict(row) for row in (await connection.execute(sa.select(t).limit(1))).mappings()]
                for t in TABLES
            }


async def opened(folder: Path, ledger: str | None = None) -> Book:
    """A book with one order."""
    book = Book(Service(settings(folder, 9, ledger)), itertools.count())
    await book.service.open()
    touch = Touch(int(time.time()) - 60, (Click("", "ref", "c1", "friend"),), {}, "", "/")
    await book.service.visits.change("bench", "v1", [Touched(touch)], time.time())
    book.service.events.emit = lambda *_, **__: None  # type: ignore[method-assign]
    await book.record()
    return book


async def measure_sqlite(options: Options) -> Section:
    """Orders a second with eight writers, beside bare inserts in turn."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        book = await opened(folder)
        bare = Bare(folder / "bare.db", await book.rows())
        await bare.open(folder / "clew.db")
        section = await compared(options, "sqlite", "SQLite, synchronous=FULL", book, bare.insert)
        await bare.close()
        await book.service.close()
    return section


def measure_postgres(options: Options) -> Section:
    """The same on PostgreSQL, which has the other core."""
    server = Postgres(fast=False)
    server.start()
    try:
        ledger, bare = server.url(server.database()), server.url(server.database())
        return asyncio.run(_measure_postgres(options, ledger, bare))
    finally:
        server.remove()


async def _measure_postgres(options: Options, ledger: str, bare: str) -> Section:
    like = database_at(bare)
    await like.open()
    await like.close()
    async with asyncpg.create_pool(bare, min_size=WRITERS, max_size=WRITERS) as pool:
        with tempfile.TemporaryDirectory() as name:
            book = await opened(Path(name), ledger)
            inserts = BarePostgres(pool, await book.rows())
            await inserts.prepare()
            text = "PostgreSQL, synchronous_commit=on, on this machine"
            section = await compared(options, "postgres", text, book, inserts.insert)
            await book.service.close()
    return section


async def compared(
    options: Options, engine: str, text: str, book: Book, bare: Callable[[], Awaitable[None]]
) -> Section:
    """Rates of orders and of bare inserts, in turn."""
    rng, rates = random.Random(options.seed), {"clew": list[float](), "bare": list[float]()}
    for _ in range(options.rounds):
        for which in rng.sample(sorted(rates), 2):
            rates[which].append(await rate(book.record if which == "clew" else bare))
    rows = [["clew", spread(rates["clew"])], ["bare inserts", spread(rates["bare"])]]
    share = ratios(rates["clew"], rates["bare"])
    rows.append(["the first to the second", spread(share, ".2f")])
    text = (
        f"{WRITERS} writers, each order a transaction with the same rows: order, sighting, decision, share, "
        f"postback. {text}. {options.rounds} rounds of {ORDERS} orders in turn."
    )
    figures = {f"orders_vs_bare_{engine}": median(share, 3)}
    figures[f"orders_in_process_per_s_{engine}"] = median(rates["clew"], 0)
    return Section(figures, table("Orders beside bare inserts", text, ("", "a second"), rows))


async def rate(work: Callable[[], Awaitable[None]]) -> float:
    """How often a second `work` is done by all writers together."""

    async def write() -> None:
        for _ in range(ORDERS // WRITERS):
            await work()

    began = time.perf_counter()
    await asyncio.gather(*(write() for _ in range(WRITERS)))
    return ORDERS / (time.perf_counter() - began)


class Bare:
    """Inserts the rows of an order by plain SQL: one connection in a thread, as clew has it."""

    def __init__(self, path: Path, rows: dict[str, list[dict[str, Any]]]) -> None:
        self._path = path
        self._rows = rows
        self._thread = ThreadPoolExecutor(1)
        self._number = itertools.count(10)
        self._connection: sqlite3.Connection | None = None

    async def open(self, like: Path) -> None:
        """Make a file with the same tables."""
        await self._do(partial(self._open, like))

    async def insert(self) -> None:
        """The rows of one order, in one transaction."""
        await self._do(partial(self._insert, next(self._number)))

    async def close(self) -> None:
        """Close the file."""
        if self._connection is not None:
            await self._do(self._connection.close)
        self._thread.shutdown()

    async def _do(self, work: Callable[[], None]) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _open(self, like: Path) -> None:
        connection = self._connection = sqlite3.connect(self._path, isolation_level=None)
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=OFF"):
            connection.execute(f"PRAGMA {pragma}")
        with closing(sqlite3.connect(like)) as other:
            made = other.execute(
                "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%'"
            )
            for (statement,) in made.fetchall():
                connection.execute(statement)

    def _insert(self, number: int) -> None:
        connection = self._connection
        assert connection is not None
        connection.execute("BEGIN IMMEDIATE")
        for name, rows in self._rows.items():
            for row in rows:
                values = _values(name, row, number)
                columns = ", ".join(f'"{column}"' for column in values)
                marks = ", ".join("?" * len(values))
                connection.execute(f"INSERT INTO {name} ({columns}) VALUES ({marks})", list(values.values()))
        connection.execute("COMMIT")


class BarePostgres:
    """Inserts the rows of an order by plain SQL with clew's driver, on as many connections as there are
    writers."""

    def __init__(self, pool: asyncpg.Pool, rows: dict[str, list[dict[str, Any]]]) -> None:
        self._pool = pool
        self._rows = rows
        self._number = itertools.count(10)

    async def prepare(self) -> None:
        """Leave the rows to themselves."""
        async with self._pool.acquire() as connection:
            for name in self._rows:
                await connection.execute(f"ALTER TABLE {name} DISABLE TRIGGER ALL")

    async def insert(self) -> None:
        """The rows of one order, in one transaction."""
        number = next(self._number)
        async with self._pool.acquire() as connection, connection.transaction():
            for name, rows in self._rows.items():
                for row in rows:
                    values = _values(name, row, number)
                    columns = ", ".join(f'"{column}"' for column in values)
                    marks = ", ".join(f"${place}" for place in range(1, len(values) + 1))
                    await connection.execute(
                        f"INSERT INTO {name} ({columns}) VALUES ({marks})", *values.values()
                    )


def _values(name: str, row: dict[str, Any], number: int) -> dict[str, Any]:
    keys: dict[str, Any] = {"id": f"pb{number}" if name == "postbacks" else number, "order": number}
    keys |= {"order_id": f"b{number}", "number": f"b{number}", "decision": number}
    plain = {k: json.dumps(v) if isinstance(v, dict | list) else v for k, v in row.items()}
    return plain | {key: value for key, value in keys.items() if key in row}


# -- orders, over HTTP


def measure_api(options: Options) -> Section:
    """Orders a second through `POST orders`, and how long it takes until the partner has been called."""
    with tempfile.TemporaryDirectory(prefix="clew-bench-") as name, ExitStack() as stack:
        folder = Path(name)
        write_shop(folder, options.seed)
        origin, upstream = peers.shop(folder)
        partner = Partner()
        stack.callback(partner.stop)
        command, port = peers.clew(folder, upstream)
        file = folder / "clew.toml"
        name_line = f'name = "{SITE}"'
        text = file.read_text().replace(name_line, f'{name_line}\napi_token = "{TOKEN}"')
        file.write_text(text + _PARTNER.format(postback=str(PARTNER["postback"]).format(port=partner.port)))
        stack.enter_context(running(origin, upstream, folder, LOAD_CORE))
        stack.enter_context(running(command, port, folder, SERVER_CORE))
        os.sched_setaffinity(0, {int(LOAD_CORE)})
        rates = [posted(port, number) for number in range(options.rounds)]
        waits = [partner.waited(port, number) for number in range(40)]
    rows = [["orders a second", spread(rates)], ["order to postback, ms", spread(waits, ".1f")]]
    text = f"{WRITERS} connections that send `POST orders`, one worker on one core, SQLite."
    figures = {"orders_per_s": median(rates, 0), "order_to_postback_ms": median(waits, 1)}
    return Section(figures, table("Orders by the API", text, ("", ""), rows))


def post(connection: HTTPConnection, number: str, visitor: str | None = None) -> None:
    """Send one order. Raises BenchError unless it was recorded."""
    order = {"id": number, "total": "59.90", "currency": "EUR", **({"visitor": visitor} if visitor else {})}
    headers = {"Host": HOST, "Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    connection.request("POST", "/-/clew/orders", json.dumps(order), headers)
    response = connection.getresponse()
    body = response.read()
    if response.status != 201:
        raise BenchError(f"POST orders: {response.status} {body[:200]!r}")


def posted(port: int, turn: int) -> float:
    """Orders a second of one turn."""
    failed: list[Exception] = []

    def write(writer: int) -> None:
        connection = HTTPConnection("127.0.0.1", port, timeout=30)
        try:
            for number in range(ORDERS // WRITERS):
                post(connection, f"{turn}-{writer}-{number}")
        except Exception as error:
            failed.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=write, args=(writer,)) for writer in range(WRITERS)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise BenchError(repr(failed[0]))
    return ORDERS / (time.perf_counter() - began)


class Partner:
    """A partner's server that notes when it is called."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._called = threading.Event()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        starting = asyncio.run_coroutine_threadsafe(
            asyncio.start_server(self._answer, "127.0.0.1", 0), self._loop
        )
        self._server = starting.result(10)
        self.port = int(self._server.sockets[0].getsockname()[1])

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                await reader.readuntil(b"\r\n\r\n")
                self._called.set()
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    def waited(self, port: int, number: int) -> float:
        """Milliseconds from an order of a visitor whom the partner sent to the partner's call."""
        connection = HTTPConnection("127.0.0.1", port, timeout=30)
        headers = {
            "Host": HOST,
            "Accept": "text/html",
            "Sec-Fetch-Mode": "navigate",
            "Sec-Fetch-Dest": "document",
        }
        connection.request("GET", f"/page.html?friend=c{number}", headers=headers)
        response = connection.getresponse()
        response.read()
        cookie = response.getheader("set-cookie", "").partition(";")[0].partition("=")[2]
        self._called.clear()
        began = time.perf_counter()
        post(connection, f"w{number}", cookie)
        if not self._called.wait(10):
            raise BenchError("the partner was not called")
        connection.close()
        return (time.perf_counter() - began) * 1e3

    def stop(self) -> None:
        """End the server."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)


# -- postbacks


async def measure_calls(options: Options) -> Section:
    """Postbacks a second beside a bare loop of the same HTTP client."""
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    rng, rates = random.Random(options.seed), {"clew": list[float](), "bare": list[float]()}
    with tempfile.TemporaryDirectory() as name:
        for _ in range(options.rounds):
            for which in rng.sample(sorted(rates), 2):
                found = await (delivered(Path(name), CALLS, port) if which == "clew" else bare_calls(port))
                rates[which].append(found)
    server.close()
    share = ratios(rates["clew"], rates["bare"])
    rows = [["clew", spread(rates["clew"])], ["the bare client", spread(rates["bare"])]]
    rows.append(["the first to the second", spread(share, ".2f")])
    text = f"{CALLS:,} calls to a server that answers at once, in one process."
    figures = {"postbacks_vs_bare_client": median(share, 2)}
    return Section(figures, table("Postbacks beside the bare client", text, ("", "a second"), rows))


async def bare_calls(port: int, at_once: int = 40) -> float:
    """Calls a second of the HTTP client alone."""
    partner = PartnerSettings(id="p", param="ref", postback=f"http://127.0.0.1:{port}/?o={{order_id}}")
    report = Report("order", "p", "c1", "o1", "59.90", "EUR", "web", 1, 1)
    call = render(partner, report, None, time.time(), postback_id="pb")
    left = iter(range(CALLS))

    async def nothing() -> None:
        pass

    async with Client(10.0, at_once) as client:

        async def work() -> None:
            for _ in left:
                await client.make(call, nothing, Progress())

        began = time.perf_counter()
        await asyncio.gather(*(work() for _ in range(at_once)))
        return CALLS / (time.perf_counter() - began)
