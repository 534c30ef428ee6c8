"""Pages while 200,000 visitors are pruned, and deliveries with a backlog."""

import asyncio
import gc
import json
import os
import random
import sqlite3
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from http.client import HTTPConnection
from itertools import cycle
from pathlib import Path
from typing import Any

from clew.postbacks.delivery import Worker
from clew.postbacks.model import Report
from clew.referral.cookie import new_visitor_id
from clew.referral.visitor import Page, Viewed, Visitor, changed
from clew.settings.model import Delivery, Partner
from clew.stores.ledger.engines import database_at
from clew.stores.ledger.outbox import Outbox
from clew.stores.visits_record import keep_seconds, packed
from clew.stores.visits_sqlite import SqliteVisits
from options import Options
from peers import HOST, clew, shop
from pinned import LOAD_CORE, SERVER_CORE, BenchError, running
from report import Section, median, spread, table
from visitors import SITE, cookies
from workloads import NAVIGATION, write_shop

VISITORS = 200_000
EXPIRED = 0.5  # of them; the others expire within the next year
BACKLOG = 50_000
CALLS = 1_000  # that a rate is measured over
PARTNERS = 10


def bench_visits(options: Options) -> Section:
    """Both measurements. Raises BenchError."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pruning = measure_pruning(folder, options)
    backlog = asyncio.run(measure_backlog(options))
    figures = {**pruning.figures, **backlog.figures}
    return Section(figures, f"{pruning.table}\n{backlog.table}")


# -- pruning


async def build_store(path: Path, rng: random.Random) -> int:
    """Fill a store. Returns the number of expired visitors."""
    store = SqliteVisits(path)
    await store.open()
    await store.close()
    now, expired_count = time.time(), 0
    with closing(sqlite3.connect(path)) as database:
        rows = []
        for number in range(VISITORS):
            age = rng.uniform(0, 400 * 86400)
            visitor = Visitor(new_visitor_id())
            for page in range(rng.randint(1, 8)):
                view = Page(f"view{number}-{page}", now - age, f"http://{HOST}/category/{page}", "A page")
                visitor = changed(visitor, "v", [Viewed(view, "en")], now - age)
            expired = rng.random() < EXPIRED
            expired_count += expired
            expires = now - rng.uniform(1, 86400) if expired else now + keep_seconds(visitor)
            rows.append((SITE, visitor.id, packed(visitor), now - age, expires))
        database.executemany(
            "INSERT INTO visits (site, visitor, data, seen_at, expires_at) VALUES (?, ?, ?, ?, ?)", rows
        )
        database.commit()
    return expired_count


class Requests(threading.Thread):
    """Sends requests in a loop, and records how long each response took, in milliseconds."""

    def __init__(self, port: int, send: Callable[[HTTPConnection, str], None]) -> None:
        super().__init__(daemon=True)
        self.took: list[float] = []
        self.failed: Exception | None = None
        self._port = port
        self._send = send
        self.over = threading.Event()

    def run(self) -> None:
        """Until `over` is set."""
        connection, visitors = HTTPConnection("127.0.0.1", self._port, timeout=30), cycle(cookies())
        try:
            while not self.over.is_set():
                began = time.perf_counter()
                self._send(connection, next(visitors))
                self.took.append((time.perf_counter() - began) * 1e3)
                time.sleep(0.002)
        except Exception as error:
            self.failed = error
        finally:
            connection.close()


def page(connection: HTTPConnection, cookie: str) -> None:
    """One page view."""
    connection.request("GET", "/page.html", headers={**NAVIGATION, "Cookie": cookie})
    read(connection, 200)


def decide(connection: HTTPConnection, cookie: str) -> None:
    """One decision, which also records the page view."""
    body = json.dumps({"view": new_visitor_id(), "url": f"http://{HOST}/page.html", "title": "A page"})
    headers = {"Host": HOST, "Cookie": cookie, "Content-Type": "application/json", "Origin": f"http://{HOST}"}
    connection.request("POST", "/-/clew/decide", body, headers)
    read(connection, 200)


def read(connection: HTTPConnection, status: int) -> None:
    """Read the whole response. Raises BenchError for another status."""
    answer = connection.getresponse()
    text = answer.read()
    if answer.status != status:
        raise BenchError(f"status {answer.status}: {text[:300]!r}")


def expired_left(path: Path) -> int:
    """The number of expired visitors in the store."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)) as database:
        found = database.execute("SELECT count(*) FROM visits WHERE expires_at <= ?", (time.time(),))
        return int(found.fetchone()[0])


def measure_pruning(folder: Path, options: Options) -> Section:
    """Measure pages and decisions while the store is pruned, which begins at the start. Raises BenchError."""
    write_shop(folder, options.seed)
    origin, upstream = shop(folder)
    command, port = clew(folder, upstream)
    settings = folder / "clew.toml"
    # All visitors come from one address here.
    limits = "".join(f"{name} = {{ client = 1000000, site = 1000000, all = 1000000 }}\n" for name in _LIMITS)
    settings.write_text(f"{settings.read_text()}\n[limits]\n{limits}")
    store = folder / "clew-visits.db"
    due = asyncio.run(build_store(store, random.Random(options.seed)))
    with ExitStack() as stack:
        stack.enter_context(running(origin, upstream, folder, LOAD_CORE))
        stack.enter_context(running(command, port, folder, SERVER_CORE))
        # The clients must neither use the server's core nor stop for garbage collection, which takes 50 ms.
        stack.enter_context(on_load_core())
        gc.collect()
        gc.freeze()
        threads = [Requests(port, page), Requests(port, decide)]
        for thread in threads:
            thread.start()
        began = time.monotonic()
        try:
            while (rest := expired_left(store)) > 0 and time.monotonic() - began < SECONDS:
                time.sleep(1)
        finally:
            for thread in threads:
                thread.over.set()
            for thread in threads:
                thread.join(30)
        seconds = time.monotonic() - began
    for thread in threads:
        if thread.failed is not None:
            raise BenchError(f"{thread.failed!r}\n{(folder / f'{port}.log').read_text()[-2000:]}")
    pages, decisions = (sorted(thread.took[WARM_UP:]) for thread in threads)
    pruned = due - rest
    figures = {
        "visits_prune_stall_ms": round(pages[-1], 1),
        "decide_p99_ms": round(decisions[int(len(decisions) * 0.99)], 1),
        "visits_pruned_per_s": round(pruned / seconds),
    }
    rows = [row("a page", pages), row("`decide`", decisions)]
    text = (
        f"{VISITORS:,} visitors of all ages in the store, of whom {pruned:,} were pruned in "
        f"{seconds:.0f} s while pages and decisions were requested without a pause, on one core. In ms."
    )
    return Section(figures, table("While visitors are pruned", text, _COLUMNS, rows))


@contextmanager
def on_load_core() -> Iterator[None]:
    """Keep this process, and the threads that it starts, off the server's core."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {int(LOAD_CORE)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


def row(name: str, values: list[float]) -> list[str]:
    """A line of the table."""
    milliseconds = (statistics.median(values), p99(values), values[-1])
    return [name, f"{len(values):,}", *(f"{value:.1f}" for value in milliseconds)]


def p99(values: list[float]) -> float:
    """The 99th percentile of sorted values."""
    return values[int(len(values) * 0.99)]


_LIMITS = ("visitors", "decides", "events", "reads")
_COLUMNS = ["request", "responses", "median", "99 %", "longest"]
SECONDS = 60.0
WARM_UP = 50

# -- the backlog


class DeliveryCounter:
    """Counts delivered postbacks."""

    def __init__(self) -> None:
        self.delivered = 0
        self.began = 0.0  # when the first was delivered, and the HTTP client was there
        self.enough = asyncio.Event()

    def emit(self, name: str, **fields: Any) -> None:
        """Count an event of the worker."""
        if name == "postback":
            if fields["outcome"] != "delivered":
                raise BenchError(f"a postback was not delivered: {fields}")
            self.delivered += 1
            if self.delivered == 1:
                self.began = time.perf_counter()
            if self.delivered > CALLS:
                self.enough.set()

    def notice(self, name: str, **fields: Any) -> bool:
        """Ignore notices."""
        return False

    def took(self, *_: Any) -> None:
        """Ignore durations."""


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A partner's server that accepts every call."""
    try:
        while True:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


def fill(path: Path, count: int) -> None:
    """Insert due postbacks, in turn for each partner, the oldest first."""
    now = time.time() - 86400
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA foreign_keys = OFF")
        database.executemany(
            'INSERT INTO postbacks (id, "order", site, partner, sequence, event, report, state, attempts, '
            "next_at, created_at) VALUES (?, ?, 'bench', ?, 1, 'order', ?, 'due', 0, ?, ?)",
            (
                (f"p{n}", n, f"partner{n % PARTNERS}", report(n), now + n * 1e-3, now + n * 1e-3)
                for n in range(count)
            ),
        )
        database.commit()


def report(number: int) -> str:
    """The report of one order to a partner."""
    partner = f"partner{number % PARTNERS}"
    return json.dumps(Report("order", partner, "c1", f"o{number}", "59.90", "EUR", "web", 1, 1).to_json())


async def rate(folder: Path, waiting: int, port: int) -> float:
    """Postbacks delivered per second with so many waiting, from the first one on."""
    path = folder / f"{waiting}-{time.monotonic_ns()}.db"
    database = database_at(f"sqlite:{path}")
    await database.open()
    fill(path, waiting + 1)
    counter = DeliveryCounter()
    partners = {
        f"partner{n}": Partner(
            id=f"partner{n}", param="ref", postback=f"http://127.0.0.1:{port}/{n}?o={{order_id}}"
        )
        for n in range(PARTNERS)
    }
    worker = Worker(
        Outbox(database), lambda site, partner: partners.get(partner), {}, Delivery(), time.time, counter
    )
    running_worker = asyncio.create_task(worker.run())
    try:
        async with asyncio.timeout(120):
            await counter.enough.wait()
        return CALLS / (time.perf_counter() - counter.began)
    finally:
        running_worker.cancel()
        await asyncio.gather(running_worker, return_exceptions=True)
        await database.close()


async def measure_backlog(options: Options) -> Section:
    """Measure with a short and a long backlog in turn, in an order that depends on the seed."""
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    rng, rates = random.Random(options.seed), {CALLS: list[float](), BACKLOG: list[float]()}
    with tempfile.TemporaryDirectory() as name:
        for _ in range(options.rounds):
            for waiting in rng.sample(sorted(rates), 2):
                rates[waiting].append(await rate(Path(name), waiting, port))
    server.close()
    ratio = [much / little for much, little in zip(rates[BACKLOG], rates[CALLS], strict=True)]
    rows = [[f"{waiting:,}", spread(found)] for waiting, found in rates.items()]
    rows.append(["the second to the first", spread(ratio, ".2f")])
    text = f"{CALLS:,} postbacks to {PARTNERS} partners that answer at once, one process with its ledger."
    figures = {"postbacks_backlog_vs_empty": median(ratio, 2), "postbacks_per_s": median(rates[CALLS], 0)}
    return Section(figures, table("Postbacks and what waits", text, ["waiting", "a second"], rows))
