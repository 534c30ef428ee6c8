"""The ledger's database: one engine, transactions, and the migrations at the start."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import aiosqlite
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from ... import stores
from ..files import make_private

if TYPE_CHECKING:
    from threading import Thread

BUSY_SECONDS = 10


class LedgerAddressError(ValueError):
    """The `ledger` setting is no database address that clew can open."""


def sqlite_path(address: str) -> Path | None:
    """The file of `sqlite:clew.db`, `sqlite:///clew.db` or `sqlite:////var/lib/clew.db`; else None."""
    if not address.startswith("sqlite:"):
        return None
    rest = address.removeprefix("sqlite:")
    return Path(rest.removeprefix("///") if rest.startswith("///") else rest)


def _engine_url(address: str) -> str:
    path = sqlite_path(address)
    if path is not None:
        return f"sqlite+aiosqlite:///{path}"
    try:
        make_url(address)
    except ArgumentError as error:
        raise LedgerAddressError(
            f"ledger = {address!r}: not a database address; write sqlite:clew.db"
        ) from error
    raise LedgerAddressError(f"ledger = {address!r}: only SQLite is served so far; write sqlite:clew.db")


class Database:
    """Transactions on the ledger.

    SQLite lets one writer in at a time. `write_lock` makes waiting for that an await instead of a blocked
    loop: the visit store, which writes in the loop's own thread to the same file, takes it too, or a ledger
    transaction that is half through could never get the loop back to commit.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self._path = sqlite_path(address) or Path()
        self.write_lock = asyncio.Lock()
        self._engine = create_async_engine(_engine_url(address), async_creator=self._connect)
        self._threads: WeakSet[Thread] = WeakSet()
        self._watch: sqlite3.Connection | None = None
        self._version = -1
        event.listen(self._engine.sync_engine, "connect", self._on_connect)

    async def open(self) -> None:
        """Build or upgrade the tables. Raises sqlalchemy.exc.OperationalError if the file cannot be used."""
        # One process at a time: workers that start together find the tables of the first.
        try:
            async with self.write() as connection:
                await connection.run_sync(_upgrade)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Close all connections, and wait for their threads: one whose work was cancelled still has an answer
        for this loop."""
        if self._watch is not None:
            self._watch.close()
            self._watch = None
        await self._engine.dispose()
        for thread in list(self._threads):
            await asyncio.to_thread(thread.join, BUSY_SECONDS)

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """One transaction that writes: all of it or nothing is in the file when the block has ended."""
        async with self.write_lock, self._engine.connect() as connection:
            # Taken at once: a read transaction that turns into a writing one fails instead of waiting.
            await connection.exec_driver_sql("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                await connection.rollback()
                raise
            await connection.commit()

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A connection for reading."""
        async with self._engine.connect() as connection:
            yield connection

    def changed(self) -> bool:
        """Whether anything was committed since the last call, here or in another process; if that cannot be
        told, it was. Some 10 µs: SQLite keeps the number in shared memory (PRAGMA data_version)."""
        try:
            if self._watch is None:
                self._watch = sqlite3.connect(self._path, timeout=0, isolation_level=None)
            version = int(self._watch.execute("PRAGMA data_version").fetchone()[0])
        except sqlite3.Error:
            return True
        changed, self._version = version != self._version, version
        return changed

    async def _connect(self) -> aiosqlite.Connection:
        make_private(self._path)
        driver = aiosqlite.connect(self._path, timeout=BUSY_SECONDS, check_same_thread=False)
        # The driver has no public way to wait for its thread, which also has something to say after a file
        # could not be opened.
        driver._thread.daemon = True
        self._threads.add(driver._thread)
        return await driver

    def _on_connect(self, connection: Any, _record: object) -> None:
        # Transactions begin where `write` says so, not where the driver thinks fit.
        connection.isolation_level = None
        cursor = connection.cursor()
        # FULL: an order that was answered for is on the disk even when the power goes.
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()


def _upgrade(connection: Connection) -> None:
    config = Config()
    folder = Path(stores.__file__).parent / "migrations"
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
