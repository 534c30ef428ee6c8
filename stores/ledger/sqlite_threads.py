"""Connections to a ledger in a SQLite file: in threads, and in the loop's own."""

import asyncio
import sqlite3
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeVar

from sqlalchemy import Connection as SyncConnection
from sqlalchemy import Engine, Executable, NullPool, create_engine, event
from sqlalchemy.exc import DBAPIError

from ..undisturbed import undisturbed
from .adding import Absent, Row, add_each
from .connection import Parameters, executed
from .errors import LedgerBusyError
from .prepared import Prepared, Rows

# How long a reading waits for another process, within SQLite.
BUSY_SECONDS = 0.25

T = TypeVar("T")


def engine_at(path: Path) -> Engine:
    """What connects to a file."""
    engine = create_engine(
        f"sqlite:///{path}",
        poolclass=NullPool,
        isolation_level="AUTOCOMMIT",
        connect_args={"timeout": BUSY_SECONDS, "check_same_thread": False},
    )
    event.listen(engine, "connect", _on_connect)
    return engine


class _Done(asyncio.Future[Any]):
    """The result of a work in a thread, which goes on to its end: whoever awaits it and is cancelled learns
    of that when the work is over."""

    def cancel(self, msg: Any | None = None) -> bool:
        """Nothing: the task that awaits this is told once it continues."""
        return False


class WorkerThread:
    """A thread with one connection, which is opened when it is first used. `waits`: its statements wait for
    other processes."""

    def __init__(self, engine: Engine, name: str, *, waits: bool = True) -> None:
        self._engine = engine
        self._name = name
        self._waits = waits
        self._connection: SyncConnection | None = None
        self._queue: SimpleQueue[tuple[Callable[[SyncConnection], Any], _Done] | None] = SimpleQueue()
        self._thread: Thread | None = None
        self.waiting = 0

    async def do(self, work: Callable[[SyncConnection], T]) -> T:
        """Do `work` on the connection, to its end."""
        if self._thread is None:
            # A daemon, since nothing is lost by its end: what is not committed by then has not been answered.
            self._thread = Thread(target=self._run, args=(self._queue,), name=self._name, daemon=True)
            self._thread.start()
        done = _Done()
        self._queue.put((work, done))
        self.waiting += 1
        try:
            found: T = await done
            return found
        finally:
            self.waiting -= 1

    async def connected(self) -> SyncConnection:
        """The connection, for one who knows that the thread does nothing now."""
        while self._connection is None:
            queue = self._queue
            found = await self.do(lambda connection: connection)
            if queue is self._queue:
                self._connection = found
        return self._connection

    async def close(self) -> None:
        """Close the connection, and end the thread."""
        thread, self._thread = self._thread, None
        # Whoever comes from now on gets another thread and connection: this one may be closed at any moment.
        self._connection = None
        if thread is not None:
            queue, self._queue = self._queue, SimpleQueue()
            queue.put(None)
            await undisturbed(asyncio.to_thread(thread.join))

    def _run(self, queue: "SimpleQueue[tuple[Callable[[SyncConnection], Any], _Done] | None]") -> None:
        connection: SyncConnection | None = None
        while (job := queue.get()) is not None:
            work, done = job
            try:
                if connection is None:
                    connection = self._connect()
                told, found = done.set_result, work(connection)
            except BaseException as error:
                told, found = done.set_exception, error
            with suppress(RuntimeError):  # the loop has ended, and nobody waits
                done.get_loop().call_soon_threadsafe(told, found)
            del work, done, job, told, found
        if connection is not None:
            connection.close()

    def _connect(self) -> SyncConnection:
        connection = self._engine.connect()
        if not self._waits:
            connection.exec_driver_sql("PRAGMA busy_timeout=0")
        return connection


class ThreadConnection:
    """A connection that takes a turn of its thread for each statement."""

    def __init__(self, thread: WorkerThread) -> None:
        self._thread = thread

    async def execute(self, statement: Executable | Prepared, parameters: Parameters | None = None) -> Any:
        """See `Connection`."""
        return await self._thread.do(lambda connection: _executed(connection, statement, parameters))

    async def add(self, rows: Sequence[Row], absent: Absent | None = None) -> Sequence[int | None]:
        """See `Connection`."""
        raise TypeError("nothing is written here")

    async def scalar(self, statement: Executable) -> Any:
        """See `Connection`."""
        return await self._thread.do(lambda connection: connection.scalar(statement))

    async def run_sync(self, work: Callable[[SyncConnection], T]) -> T:
        """See `Connection`."""
        return await self._thread.do(work)

    async def lock(self, *names: str, shared: bool = False) -> None:
        """Nothing: it is for reading."""

    async def announce(self) -> None:
        """Nothing: see `SqliteDatabase.idle`."""


class DirectConnection:
    """A connection in the thread itself: nothing that is awaited on it waits."""

    def __init__(self, connection: SyncConnection) -> None:
        self._connection = connection

    async def execute(self, statement: Executable | Prepared, parameters: Parameters | None = None) -> Any:
        """See `Connection`."""
        return _executed(self._connection, statement, parameters)

    async def add(self, rows: Sequence[Row], absent: Absent | None = None) -> Sequence[int | None]:
        """See `Connection`."""
        return add_each(partial(_executed, self._connection), rows, absent)

    async def scalar(self, statement: Executable) -> Any:
        """See `Connection`."""
        return self._connection.scalar(statement)

    async def run_sync(self, work: Callable[[SyncConnection], T]) -> T:
        """See `Connection`."""
        return work(self._connection)

    async def lock(self, *names: str, shared: bool = False) -> None:
        """Nothing: SQLite lets one writer in at a time."""

    async def announce(self) -> None:
        """Nothing: see `SqliteDatabase.idle`."""


def _executed(
    connection: SyncConnection, statement: Executable | Prepared, parameters: Parameters | None
) -> Any:
    """The result of a statement, with all its rows."""
    if not isinstance(statement, Prepared):
        return executed(connection, statement, parameters)
    compiled, driver = statement.of(connection.dialect), driver_of(connection)
    try:
        if isinstance(parameters, Sequence):
            cursor = driver.executemany(compiled.text, [compiled.values(one) for one in parameters])
        else:
            cursor = driver.execute(compiled.text, compiled.values(parameters or {}))
        found = compiled.rows(cursor.fetchall()) if compiled.returns_rows else ()
    except sqlite3.Error as error:
        raise DBAPIError.instance(compiled.text, None, error, sqlite3.Error) from error
    return Rows(found, cursor.rowcount)


@contextmanager
def ended_after(seconds: float | None, connection: SyncConnection) -> Iterator[None]:
    """End a statement that takes longer. Raises LedgerBusyError."""
    if seconds is None:
        yield
        return
    driver, until = driver_of(connection), time.monotonic() + seconds
    # Some ten thousand steps take a tenth of a millisecond.
    driver.set_progress_handler(lambda: time.monotonic() > until, 10_000)
    try:
        yield
    except DBAPIError as error:
        if _code(error) == sqlite3.SQLITE_INTERRUPT:
            raise LedgerBusyError(f"a question to the ledger took longer than {seconds:g} s") from None
        raise
    finally:
        driver.set_progress_handler(None, 0)


def driven(work: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that never waits."""
    try:
        work.send(None)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
    work.close()
    raise RuntimeError("a work on the ledger awaited something else than its connection")


def begun(connection: SyncConnection) -> bool:
    """Begin to write; False if another process does."""
    try:
        # Taken at once: a read transaction that turns into a writing one fails instead of waiting.
        _plainly(connection, "BEGIN IMMEDIATE")
    except DBAPIError as error:
        if is_busy(error):
            return False
        raise
    return True


def commit(connection: SyncConnection) -> None:
    """Commit what was begun: it is on the disk then."""
    _plainly(connection, "COMMIT")


def _plainly(connection: SyncConnection, statement: str) -> None:
    """By the driver: SQLAlchemy takes longer for it than SQLite."""
    try:
        driver_of(connection).execute(statement)
    except sqlite3.Error as error:
        raise DBAPIError.instance(statement, None, error, sqlite3.Error) from error


def roll_back(connection: SyncConnection) -> None:
    """Take back what was begun, if it has not ended."""
    if driver_of(connection).in_transaction:
        connection.exec_driver_sql("ROLLBACK")


def driver_of(connection: SyncConnection) -> sqlite3.Connection:
    """The connection of the standard library."""
    return connection.connection.dbapi_connection  # type: ignore[return-value]


def _on_connect(connection: Any, _record: object) -> None:
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


def is_busy(error: DBAPIError) -> bool:
    """Whether a statement failed because another connection has the file."""
    return _code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def _code(error: DBAPIError) -> int:
    return int(getattr(error.orig, "sqlite_errorcode", 0)) & 0xFF
