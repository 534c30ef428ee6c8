"""How fast an endpoint is told what happens in the ledger, beside the bare work: the same events, read at
once, signed by the same library, sent one after the other by the same HTTP client."""

import asyncio
import random
import sqlite3
import tempfile
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import million
from clew.postbacks.client import Client, Progress
from clew.postbacks.outgoing import event_call, event_of
from clew.postbacks.verdict import Answered
from clew.service import publishing
from clew.service.publishing import Publisher
from clew.settings.model import Delivery, EventEndpoint
from clew.stores.ledger.books import Ledger
from clew.stores.ledger.endpoints import Endpoints
from clew.stores.ledger.engines import database_at
from clew.stores.ledger.exports import Exports, Wanted
from options import Options
from pinned import BenchError
from report import Section, median, ratios, spread, table
from visits import answer

EVENTS = 1000
MANY = {"AT_A_TIME": publishing.AT_A_TIME, "NOTE_SECONDS": publishing.NOTE_SECONDS}
ONE = {"AT_A_TIME": 1, "NOTE_SECONDS": 0.0}


class Counter:
    """Counts events that were sent."""

    def __init__(self) -> None:
        self.sent = 0
        self.began = 0.0
        self.enough = asyncio.Event()

    def emit(self, name: str, **fields: Any) -> None:
        """Count an event."""
        if name == "event_sent":
            self.sent += 1
            if self.sent == 1:
                self.began = time.perf_counter()
            if self.sent == EVENTS:
                self.enough.set()

    def notice(self, name: str, **fields: Any) -> bool:
        """An endpoint fails."""
        raise BenchError(f"{name}: {fields}")

    def failed(self, error: BaseException, **fields: Any) -> None:
        """Something failed."""
        raise BenchError(f"{fields}: {error!r}")


def bench_events(options: Options) -> Section:
    """`events_per_s` is the rate for one endpoint, `events_vs_bare` the ratio to the bare work."""
    rates: dict[str, list[float]] = {"clew": [], "one": [], "bare": []}
    rng = random.Random(options.seed)
    with tempfile.TemporaryDirectory(prefix="clew-bench-") as name:
        path = Path(name) / "ledger.db"
        asyncio.run(_fill(path))
        for _ in range(options.rounds):
            for who in rng.sample(sorted(rates), len(rates)):
                rates[who].append(asyncio.run(_rate(path, who)))
    ratio = ratios(rates["clew"], rates["bare"])
    titles = {
        "clew": "clew",
        "one": "clew, if it read and noted one event at a time",
        "bare": "the bare work",
    }
    rows = [[title, spread(rates[who])] for who, title in titles.items()]
    text = (
        f"{EVENTS:,} orders on SQLite, told to an endpoint that answers at once, one event after the other. "
        "The bare work reads them in one statement, and writes nothing down."
    )
    found = {"events_per_s": median(rates["clew"], 0), "events_vs_bare": median(ratio, 2)}
    return Section(found, table("Events for an endpoint", text, ("", "events a second"), rows))


async def _fill(path: Path) -> None:
    database = database_at(f"sqlite:{path}")
    await database.open()
    await database.close()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA foreign_keys = OFF")
        for statement in million.statements("sqlite", EVENTS):
            connection.execute(statement)


async def _rate(path: Path, who: str) -> float:
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    endpoint = EventEndpoint.model_validate(
        {
            "name": "crm",
            "url": f"http://127.0.0.1:{port}/",
            "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "events": ["order.*"],
        }
    )
    database = database_at(f"sqlite:{path}")
    await database.open()
    try:
        if who == "bare":
            return await _bare(Exports(database), endpoint)
        return await _told(Ledger(database), endpoint, ONE if who == "one" else MANY)
    finally:
        await database.close()
        server.close()


async def _bare(exports: Exports, endpoint: EventEndpoint) -> float:
    began = 0.0
    async with Client(20.0, 1) as client:
        found = await exports.entries("orders", Wanted(million.SITE), None, EVENTS)
        for one in found:
            event = event_of(million.SITE, "orders", one.rows, one.cursor, None, personal=False)
            if event is None:
                raise BenchError("a row has no event")
            result = await client.make(event_call(endpoint, event, time.time()), _nothing, Progress())
            if not isinstance(result, Answered) or result.status != 200:
                raise BenchError(f"an event was not taken: {result}")
            began = began or time.perf_counter()
    return (EVENTS - 1) / (time.perf_counter() - began)


async def _told(ledger: Ledger, endpoint: EventEndpoint, pace: Mapping[str, float]) -> float:
    for name, value in pace.items():
        setattr(publishing, name, value)
    counter, book = Counter(), Endpoints(ledger.db)
    ends = await book.ends()
    cursors = dict(ends) | {"orders": "orders-0-0"}
    await book.take(million.SITE, endpoint.name, "", ends, time.time(), 0.0)
    await book.resume(million.SITE, endpoint.name, cursors)
    publisher = Publisher(
        ledger, lambda: [(million.SITE, endpoint)], Delivery(), time.time, counter, chance=lambda: 0.0
    )
    task = asyncio.create_task(publisher.run())
    try:
        async with asyncio.timeout(300):
            await counter.enough.wait()
        return (EVENTS - 1) / (time.perf_counter() - counter.began)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        for name, value in MANY.items():
            setattr(publishing, name, value)


async def _nothing() -> None:
    """An event may be repeated."""
