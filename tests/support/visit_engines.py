"""The engines that keep visits, each empty: a SQLite file, or a database of a real server."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol

import redis
from clew.stores.visits import Visits
from clew.stores.visits_engines import visits_at
from database_servers import Redis

LETTERS_KEPT = 26


class Told:
    """What a store tells of itself: why it is down, None when it is up again."""

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
    import asyncio

    return visits_at(engine.address, told or Told(), ledger=None, write_lock=asyncio.Lock())


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


class RedisEngine:
    def __init__(self, server: Redis, database: int = 0) -> None:
        self.address = server.url(database)
        self.client = redis.Redis.from_url(self.address)

    def empty(self) -> None:
        self.client.flushdb()

    def expires_in(self, site: str, visitor: str, now: float) -> float | None:
        left = int(self.client.pttl(f"clew:{{{site}|{visitor}}}"))  # type: ignore[arg-type]
        return None if left == -2 else left / 1000
