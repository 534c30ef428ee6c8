"""The ledger's database: one engine, transactions, and the migrations at the start."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from weakref import WeakSet

import aiosqlite
from sqlalchemy import event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from ..files import make_private
from ..undisturbed import undisturbed
from .errors import LedgerBusyError, LedgerGoneError
from .schema import probes
from .upgrade import ledger_error, upgrade

if TYPE_CHECKING:
    from threading import Thread

# How long a statement waits for another process, within SQLite; a write tries again until its time is over.
BUSY_SECONDS = 0.25
PROBE_SECONDS = 2.0  # longer than others' transactions ever take
BUSY_PAUSE = 0.05
WRITE_SECONDS = 3.5
OPEN_SECONDS = 10.0


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
    loop: the visit store, which writes in the loop's own thread, takes it too if it shares the file, or a
    ledger transaction that is half through could never get the loop back to commit.

    Statements run in threads of the driver. One that is cancelled goes on there, and so do the locks that it
    takes. So no statement is cancelled: whoever waits for it hears of the cancellation when the statement is
    over, which is soon, and the transaction is rolled back.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self._path = sqlite_path(address) or Path()
        self._file: tuple[int, int] | None = None  # of the file that was opened
        self.write_lock = asyncio.Lock()
        self._engine = create_async_engine(
            _engine_url(address), async_creator=self._connect, pool_timeout=WRITE_SECONDS
        )
        self._threads: WeakSet[Thread] = WeakSet()
        self._watch: sqlite3.Connection | None = None
        self._version = -1
        event.listen(self._engine.sync_engine, "connect", self._on_connect)

    async def open(self) -> None:
        """Build or upgrade the tables. Raises LedgerError if the file cannot be used, or is none of ours."""
        make_private(self._path)
        # One process at a time: workers that start together find the tables of the first.
        try:
            async with self.write(OPEN_SECONDS) as connection:
                await connection.run_sync(upgrade)
            self._file = self._found()
        except SQLAlchemyError as error:
            await self.close()
            raise ledger_error(self._path, error) from error
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
            await asyncio.to_thread(thread.join, OPEN_SECONDS)

    @asynccontextmanager
    async def write(self, wait: float = WRITE_SECONDS) -> AsyncIterator[AsyncConnection]:
        """One transaction that writes: all of it or nothing is in the file when the block has ended.

        Raises LedgerBusyError if it cannot begin within about `wait` seconds, LedgerGoneError if the file is
        not there any more.
        """
        async with self._turn(asyncio.get_running_loop().time() + wait) as connection:
            try:
                self._check_file()
                yield connection
                self._check_file()
            except BaseException:
                await connection.rollback()
                raise
            await connection.commit()

    async def probe(self, now: float, wait: float = PROBE_SECONDS) -> None:
        """Write a row and commit it, as an order would be: a full disk, a file that only lets itself be read,
        a lock and a file that is gone raise here what they would raise there."""
        async with self.write(wait) as connection:
            await connection.execute(probes.delete())
            await connection.execute(probes.insert().values(at=now))

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A connection for reading."""
        connection = _Undisturbed(self._engine)
        try:
            await connection.start()
            yield connection
        finally:
            await connection.close()

    @asynccontextmanager
    async def _turn(self, deadline: float) -> AsyncIterator[AsyncConnection]:
        """A connection in a transaction that may write.

        While another process writes, the lock is let go between two tries, for the visit store.
        """
        loop = asyncio.get_running_loop()
        while True:
            try:
                async with asyncio.timeout_at(deadline):
                    await self.write_lock.acquire()
            except TimeoutError:
                raise LedgerBusyError("the ledger is busy: too many wait to write to it") from None
            try:
                connection = await self._begun()
                if connection is not None:
                    try:
                        yield connection
                    finally:
                        await connection.close()
                    return
            finally:
                self.write_lock.release()
            if loop.time() >= deadline:
                raise LedgerBusyError("the ledger is locked: another process writes to it, or keeps it open")
            await asyncio.sleep(BUSY_PAUSE)

    async def _begun(self) -> AsyncConnection | None:
        """A connection that has begun to write; None if another process does."""
        connection = _Undisturbed(self._engine)
        try:
            await connection.start()
            # Taken at once: a read transaction that turns into a writing one fails instead of waiting.
            await connection.exec_driver_sql("BEGIN IMMEDIATE")
        except BaseException as error:
            await connection.close()
            if isinstance(error, DBAPIError) and _code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                return None
            raise
        return connection

    def _found(self) -> tuple[int, int] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def _check_file(self) -> None:
        if self._file is not None and self._found() != self._file:
            raise LedgerGoneError(
                f"the ledger {self._path} was deleted or replaced while clew had it open: put it back, or "
                "restart clew"
            )

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
        driver = aiosqlite.connect(self._path, timeout=BUSY_SECONDS, check_same_thread=False)
        # The driver has no public way to wait for its thread, which also has something to say after a file
        # could not be opened.
        driver._thread.daemon = True
        self._threads.add(driver._thread)
        return await driver

    def _on_connect(self, connection: Any, _record: object) -> None:
        # Transactions begin where `write` says so, not where the driver thinks fit.
        connection.isolation_level = None
        try:
            cursor = connection.cursor()
            # FULL: an order that was answered for is on the disk even when the power goes.
            for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
                cursor.execute(f"PRAGMA {pragma}")
            cursor.close()
        except BaseException:
            # The pool forgets a connection that could not be prepared.
            connection.close()
            raise


class _Undisturbed(AsyncConnection):
    """A connection whose statements are over before a cancellation is heard of."""

    async def start(self, is_ctxmanager: bool = False) -> Self:
        await undisturbed(super().start(is_ctxmanager))
        return self

    async def close(self) -> None:
        # Nothing to close where `start` failed.
        if self.sync_connection is not None:
            await undisturbed(super().close())

    async def execute(self, *given: Any, **options: Any) -> Any:
        return await undisturbed(super().execute(*given, **options))

    async def exec_driver_sql(self, *given: Any, **options: Any) -> Any:
        return await undisturbed(super().exec_driver_sql(*given, **options))

    async def run_sync(self, *given: Any, **options: Any) -> Any:
        return await undisturbed(super().run_sync(*given, **options))

    async def commit(self) -> None:
        await undisturbed(super().commit())

    async def rollback(self) -> None:
        await undisturbed(super().rollback())


def _code(error: DBAPIError) -> int:
    return int(getattr(error.orig, "sqlite_errorcode", 0)) & 0xFF
