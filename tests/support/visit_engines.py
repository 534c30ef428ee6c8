"""The engines that keep visits, each empty: a SQLite file, or a database of a real server."""

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol

import redis
from clew.stores.visits import Visits
from clew.stores.visits_engines import visits_at
from database_servers import Postgres, Redis


class Told:
    """The reports of a store: why it is down, or None when it is up again."""

    def __init__(self) -> None:
        self.heard: list[str | None] = []

    def __call__(self, why: str | None, seconds: float) -> None:
        self.heard.append(why)


class Engine(Protocol):
    """One engine. `address` is that of the setting `store`."""

    address: str

    def empty(self) -> None:
        """Delete all that is stored, behind the store's back."""

    def expires_in(self, site: str, visitor: str, now: float) -> float | None:
        """After how many seconds a visitor is forgotten; None where there is none."""


def store_at(engine: Engine, told: Any = None) -> Visits:
    """A store on an engine, as one process has it; it is not open yet."""
    return visits_at(engine.address, told or Told(), ledger=None, write_lock=asyncio.Lock())


def run_in_thread(work: Callable[..., Any], *values: Any) -> Any:
    """For what starts a loop of its own."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(work, *values).result()


class SqliteEngine:
    def __init__(self, folder: Path) -> None:
        self.file = folder / "visits.db"
        self.address = f"sqlite:{self.file}"

    def empty(self) -> None:
        with closing(sqlite3.connect(self.file, isolation_level=None)) as database:
            database.execute("DELETE FROM visits")
            database.execute("DELETE FROM marks")

    def expires_in(self, site: str, visitor: str, now: float) -> float | None:
        with closing(sqlite3.connect(self.file)) as database:
            query = "SELECT expires_at FROM visits WHERE site = ? AND visitor = ?"
            row = database.execute(query, (site, visitor)).fetchone()
        return None if row is None else row[0] - now


class PostgresEngine:
    def __init__(self, server: Postgres) -> None:
        self._server = server
        self._database = server.database()
        self.address = server.url(self._database)

    def _execute(self, statement: str) -> list[Any]:
        # The tests run in a loop.
        return run_in_thread(self._server.execute, statement, self._database)

    def empty(self) -> None:
        self._execute("DELETE FROM visits")
        self._execute("DELETE FROM marks")

    def expires_in(self, site: str, visitor: str, now: float) -> float | None:
        rows = self._execute(f"SELECT expires_at FROM visits WHERE (site, visitor) = ('{site}', '{visitor}')")
        return rows[0][0] - now if rows else None

    def remove(self) -> None:
        run_in_thread(self._server.execute, f"DROP DATABASE {self._database} WITH (FORCE)")


class RedisEngine:
    def __init__(self, server: Redis, database: int = 0) -> None:
        self.address = server.url(database)
        self.client = redis.Redis.from_url(self.address)

    def empty(self) -> None:
        self.client.flushdb()

    def expires_in(self, site: str, visitor: str, now: float) -> float | None:
        left = int(self.client.pttl(f"clew:{{{site}|{visitor}}}"))  # type: ignore[arg-type]
        return None if left == -2 else left / 1000
