"""Where a run keeps ledger and visits: in files of SQLite, or in servers that are killed as well."""

import asyncio
import sqlite3
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import asyncpg
from database_servers import Postgres, Redis

# How long another program keeps the ledger's file locked: longer than clew waits before it takes its journal.
LOCK_SECONDS: Final = 1.5
# How long the ledger may take to answer a reader who comes while its server starts again.
READ_SECONDS: Final = 60.0


@dataclass(frozen=True)
class Place:
    """Where a program runs: an address, and the command that runs another one there."""

    host: str = "127.0.0.1"
    inside: Sequence[str] = ()


HERE: Final = Place()


class Stores(Protocol):
    """Where the ledger and the visits are. `kinds` is what may fail, each with its weight."""

    name: str
    machines: int
    workers: int
    kinds: Mapping[str, int]

    def start(self) -> None:
        """Make them ready."""

    def place(self, machine: int | None = None) -> Place:
        """Where a machine runs, counted from 0; without a number, the shop and the partners."""

    def settings(self) -> str:
        """Their addresses in the settings of a machine."""

    def fail(self, kind: str, seconds: float) -> None:
        """Have one of them fail, for so many seconds."""

    def rows(self, query: str) -> list[dict[str, Any]]:
        """What the ledger holds."""

    def remove(self) -> None:
        """Leave nothing behind."""


class SqliteStores:
    """Two files of one `clew serve` with two workers, and another program that locks the ledger."""

    name = "SQLite"
    machines = 1
    workers = 2
    kinds: Mapping[str, int] = {"clew 1": 4, "worker": 3, "ledger locked": 3}

    def __init__(self, folder: Path) -> None:
        self._ledger = folder / "ledger.db"
        self._visits = folder / "visits.db"

    def start(self) -> None:
        """Nothing: clew makes them."""

    def place(self, machine: int | None = None) -> Place:
        """All on this machine."""
        return HERE

    def settings(self) -> str:
        """Their addresses."""
        return f'store = "sqlite:{self._visits}"\nledger = "sqlite:{self._ledger}"\n'

    def fail(self, kind: str, seconds: float) -> None:
        """Lock the ledger."""
        # SQLite does not queue those who wait: under load that may take long.
        with closing(sqlite3.connect(self._ledger, isolation_level=None, timeout=READ_SECONDS)) as other:
            other.execute("BEGIN IMMEDIATE")
            threading.Event().wait(LOCK_SECONDS + seconds)
            other.execute("ROLLBACK")

    def rows(self, query: str) -> list[dict[str, Any]]:
        """What the ledger holds."""
        address = f"file:{self._ledger}?mode=ro"
        with closing(sqlite3.connect(address, uri=True, timeout=READ_SECONDS)) as connection:
            connection.row_factory = sqlite3.Row
            return [dict(row) for row in connection.execute(query)]

    def remove(self) -> None:
        """Nothing: they are in the run's folder."""


class ServerStores:
    """PostgreSQL for the ledger and Redis for the visits of two `clew serve`. Redis writes nothing down:
    whenever it is killed, all visits are gone."""

    name = "PostgreSQL and Redis"
    machines = 2
    workers = 1
    kinds: Mapping[str, int] = {"clew 1": 2, "clew 2": 2, "PostgreSQL": 3, "Redis": 3}

    def __init__(self, folder: Path, postgres: Place = HERE, redis: Place = HERE) -> None:
        self._postgres = Postgres(host=postgres.host, inside=postgres.inside)
        self._redis = Redis(host=redis.host, inside=redis.inside)
        self._database = ""

    def start(self) -> None:
        """Start the servers."""
        self._postgres.start()
        self._redis.start()
        self._database = self._postgres.database()

    def place(self, machine: int | None = None) -> Place:
        """All on this machine."""
        return HERE

    def settings(self) -> str:
        """Their addresses."""
        return f'store = "{self._redis.url()}"\nledger = "{self._postgres.url(self._database)}"\n'

    def fail(self, kind: str, seconds: float) -> None:
        """Kill a server, and start it again."""
        server = self._redis if kind == "Redis" else self._postgres
        server.kill()
        threading.Event().wait(seconds)
        server.start()

    def rows(self, query: str) -> list[dict[str, Any]]:
        """What the ledger holds, as soon as its server answers."""

        async def fetched() -> list[dict[str, Any]]:
            connection = await asyncpg.connect(self._postgres.url(self._database), timeout=10)
            try:
                return [dict(row) for row in await connection.fetch(query)]
            finally:
                await connection.close()

        until = time.monotonic() + READ_SECONDS
        while True:
            try:
                return asyncio.run(fetched())
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                if time.monotonic() > until:
                    raise
                threading.Event().wait(0.2)

    def remove(self) -> None:
        """End the servers, and delete their folders."""
        self._postgres.remove()
        self._redis.remove()
