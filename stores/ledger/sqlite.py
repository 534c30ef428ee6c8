"""The ledger in a SQLite file."""

import asyncio
import sqlite3
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any, Final

from sqlalchemy import Connection as SyncConnection
from sqlalchemy import Engine, Executable, NullPool, create_engine, event
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from ..files import make_private
from ..undisturbed import undisturbed
from .adding import Absent, Row, add_each
from .addresses import sqlite_path
from .connection import Connection, Parameters, executed
from .database import OPEN_SECONDS, Database, T, Work
from .errors import LedgerBusyError, LedgerError, LedgerGoneError
from .prepared import Prepared, Rows
from .upgrade import ledger_error, upgrade

# How long a statement waits for another process, within SQLite; a write tries again until its time is over.
BUSY_SECONDS = 0.25
BUSY_PAUSE = 0.05
GROUP: Final = 64
"""Most works that share a transaction."""
READERS: Final = 2
"""Threads that read."""

_POLL_SECONDS: Final = 0.04
_UNKNOWN: Final = -1
_BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


@dataclass(eq=False, slots=True)
class _Job:
    """A work that waits for a transaction, until when, and what comes of it."""

    work: Work[Any]
    until: float
    done: asyncio.Future[Any]


class SqliteDatabase(Database):
    """Transactions on the ledger.

    Statements run in threads of their own: one that writes, with one connection, and a few that read; those
    that find a few rows by an index, in the loop's own. SQLite
    lets one writer in at a time. `write_lock` makes waiting for that an await instead of a blocked loop: the
    visit store, which writes in the loop's own thread, takes it too if it shares the file, or a ledger
    transaction that is half through could never get the loop back to commit.

    `transact` does a whole transaction in one turn of that thread, and works that wait together share one
    commit: most of what a transaction costs is waiting for the disk. What one of them raises takes back its
    own statements only.

    A statement that is cancelled goes on in its thread, and so do the locks that it takes. So no statement is
    cancelled: the caller is cancelled when the statement is over, which is soon, and the transaction is
    rolled back.
    """

    dialect = "sqlite"

    def __init__(self, address: str) -> None:
        super().__init__(address)
        self._path = sqlite_path(address) or Path()
        self._file: tuple[int, int] | None = None  # of the file that was opened
        self.write_lock = asyncio.Lock()
        self._engine: Engine = create_engine(
            f"sqlite:///{self._path}",
            poolclass=NullPool,
            isolation_level="AUTOCOMMIT",
            connect_args={"timeout": BUSY_SECONDS, "check_same_thread": False},
        )
        event.listen(self._engine, "connect", _on_connect)
        self._writer = _Thread(self._engine, "clew-ledger")
        self._readers = [_Thread(self._engine, f"clew-ledger-read-{n}") for n in range(READERS)]
        self._jobs: deque[_Job] = deque()
        self._pump: asyncio.Task[None] | None = None
        self._watch: sqlite3.Connection | None = None
        self._own: SyncConnection | None = None  # of the loop's thread
        self._version = _UNKNOWN

    async def open(self) -> tuple[str | None, str]:
        """Build or upgrade the tables. Raises LedgerError if the file cannot be used, or is none of ours."""
        make_private(self._path)
        # One process at a time: workers that start together find the tables of the first.
        try:
            versions = await self._transact(lambda tx: tx.run_sync(upgrade), OPEN_SECONDS)
            self._file = self._found()
            return versions
        except (SQLAlchemyError, LedgerError) as error:
            await self.close()
            raise ledger_error(self._path, error) from error
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Close all connections, and end their threads."""
        if self._watch is not None:
            self._watch.close()
            self._watch = None
        if self._own is not None:
            self._own.close()
            self._own = None
        if self._pump is not None:
            await asyncio.wait({self._pump})
        for thread in (self._writer, *self._readers):
            await thread.close()

    async def _transact(self, work: Work[T], wait: float) -> T:
        """See `Database`; also raises LedgerGoneError if the file is not there any more."""
        loop = asyncio.get_running_loop()
        job = _Job(work, loop.time() + wait, loop.create_future())
        self._jobs.append(job)
        if self._pump is None or self._pump.done():
            self._pump = loop.create_task(self._work_off(), name="clew-ledger-writes")
            self._pump.add_done_callback(self._stopped)
        try:
            return await asyncio.shield(job.done)
        except asyncio.CancelledError:
            with suppress(Exception):
                await undisturbed(self._given_up(job))
            raise

    @asynccontextmanager
    async def _read(self) -> AsyncIterator[Connection]:
        """See `Database`."""
        yield _ThreadConnection(self._reader())

    async def _query(self, work: Work[T], seconds: float | None = None) -> T:
        """See `Database`. It takes one turn of a thread."""

        def turn(connection: SyncConnection) -> T:
            with _ended_after(seconds, connection):
                return _driven(work(_Direct(connection)))

        return await self._reader().do(turn)

    async def _query_quickly(self, work: Work[T]) -> T:
        """See `Database`. In the loop's own thread: who reads waits for no writer, and some 20 µs are a
        fraction of what a turn of a thread takes. Where SQLite would have to wait all the same, as while it
        recovers the log of a process that was killed, a thread does."""
        try:
            if self._own is None:
                self._own = self._engine.connect()
                self._own.exec_driver_sql("PRAGMA busy_timeout=0")
            return _driven(work(_Direct(self._own)))
        except DBAPIError as error:
            if _code(error) not in _BUSY:
                raise
        return await self._query(work)

    def _reader(self) -> "_Thread":
        return min(self._readers, key=lambda thread: thread.waiting)

    # -- turns of the writer

    async def _given_up(self, job: _Job) -> None:
        """Wait for the end of a work that nobody waits for any more, if it has begun; and of a transaction
        that has begun for it."""
        try:
            self._jobs.remove(job)
        except ValueError:
            await job.done
            return
        async with self.write_lock:
            pass

    async def _work_off(self) -> None:
        """Do the works that wait, many in one transaction, until none does."""
        while self._jobs:
            until = min(job.until for job in self._jobs)
            try:
                await undisturbed(self._turn(until))
            except Exception as error:
                busy = isinstance(error, LedgerBusyError)
                failed = [job for job in self._jobs if job.until <= until or not busy]
                for job in failed:
                    self._jobs.remove(job)
                _fail(failed, error)

    def _stopped(self, pump: "asyncio.Task[None]") -> None:
        """Tell those who wait when the task was cancelled, as at the end of a program."""
        if pump is not self._pump:
            return
        jobs, self._jobs = list(self._jobs), deque()
        _fail(jobs, LedgerBusyError("the ledger is being closed"))

    async def _turn(self, deadline: float) -> None:
        """A transaction with all works that wait. While another process writes, the lock is let go between
        two tries, for the visit store."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                async with asyncio.timeout_at(deadline):
                    await self.write_lock.acquire()
            except TimeoutError:
                raise LedgerBusyError("the ledger is busy: too many wait to write to it") from None
            done: list[tuple[_Job, Any]] | None = None

            def transaction(connection: SyncConnection) -> None:
                nonlocal done
                done = self._transaction(connection)

            try:
                await self._writer.do(transaction)
            finally:
                self.write_lock.release()
                # Also if this was cancelled meanwhile: whoever wrote waits for it.
                if done is not None:
                    _tell(done)
            if done is not None:
                return
            if loop.time() >= deadline:
                raise LedgerBusyError("the ledger is locked: another process writes to it, or keeps it open")
            await asyncio.sleep(BUSY_PAUSE)

    def _transaction(self, connection: SyncConnection) -> "list[tuple[_Job, Any]] | None":
        """Begin, and do the works that wait by then; each with what it returns or raises. None, and nothing
        is done, if another process writes. Runs in the thread that writes."""
        if not _begun(connection):
            return None
        jobs: list[_Job] = []
        try:
            self._check_file()
            with suppress(IndexError):
                while len(jobs) < GROUP:
                    jobs.append(self._jobs.popleft())
            return list(zip(jobs, _grouped(connection, jobs, self._check_file), strict=True))
        except BaseException as error:
            with suppress(Exception):
                _roll_back(connection)
            if not jobs or not isinstance(error, Exception):
                raise
            return [(job, error) for job in jobs]

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

    async def changed(self) -> bool:
        """See `Database`. If that is unknown, True. Some 10 µs, without waiting: SQLite keeps the number in
        shared memory (PRAGMA data_version)."""
        before, self._version = self._version, self._data_version()
        return self._version != before or self._version == _UNKNOWN

    def _data_version(self) -> int:
        try:
            if self._watch is None:
                self._watch = sqlite3.connect(self._path, timeout=0, isolation_level=None)
            return int(self._watch.execute("PRAGMA data_version").fetchone()[0])
        except sqlite3.Error:
            return _UNKNOWN

    async def time(self) -> float | None:
        """See `Database`."""
        return None

    async def continue_numbers(self) -> None:
        """See `Database`. SQLite does so by itself."""

    async def idle(self, seconds: float) -> None:
        """See `Database`. SQLite does not announce changes: it is asked for them."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while (left := until - loop.time()) > 0:
            await asyncio.sleep(min(_POLL_SECONDS, left))
            if self._data_version() != self._version:
                return


class _Done(asyncio.Future[Any]):
    """The result of a work in a thread, which goes on to its end: whoever awaits it and is cancelled learns
    of that when the work is over."""

    def cancel(self, msg: Any | None = None) -> bool:
        """Nothing: the task that awaits this is told once it continues."""
        return False


class _Thread:
    """A thread with one connection, which is opened when it is first used."""

    def __init__(self, engine: Engine, name: str) -> None:
        self._engine = engine
        self._name = name
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

    async def close(self) -> None:
        """Close the connection, and end the thread."""
        thread, self._thread = self._thread, None
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
                    connection = self._engine.connect()
                told, found = done.set_result, work(connection)
            except BaseException as error:
                told, found = done.set_exception, error
            with suppress(RuntimeError):  # the loop has ended, and nobody waits
                done.get_loop().call_soon_threadsafe(told, found)
            del work, done, job, told, found
        if connection is not None:
            connection.close()


class _ThreadConnection:
    """A connection that takes a turn of its thread for each statement."""

    def __init__(self, thread: _Thread) -> None:
        self._thread = thread

    async def execute(self, statement: Executable | Prepared, parameters: Parameters | None = None) -> Any:
        return await self._thread.do(lambda connection: _executed(connection, statement, parameters))

    async def add(self, rows: Sequence[Row], absent: Absent | None = None) -> Sequence[int | None]:
        raise TypeError("nothing is written here")

    async def scalar(self, statement: Executable) -> Any:
        return await self._thread.do(lambda connection: connection.scalar(statement))

    async def run_sync(self, work: Callable[[SyncConnection], T]) -> T:
        return await self._thread.do(work)

    async def lock(self, *names: str, shared: bool = False) -> None:
        """Nothing: it is for reading."""

    async def announce(self) -> None:
        """Nothing: see `SqliteDatabase.idle`."""


class _Direct:
    """A connection in the thread itself: nothing that is awaited on it waits."""

    def __init__(self, connection: SyncConnection) -> None:
        self._connection = connection

    async def execute(self, statement: Executable | Prepared, parameters: Parameters | None = None) -> Any:
        return _executed(self._connection, statement, parameters)

    async def add(self, rows: Sequence[Row], absent: Absent | None = None) -> Sequence[int | None]:
        return add_each(partial(_executed, self._connection), rows, absent)

    async def scalar(self, statement: Executable) -> Any:
        return self._connection.scalar(statement)

    async def run_sync(self, work: Callable[[SyncConnection], T]) -> T:
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
    compiled, driver = statement.of(connection.dialect), _driver(connection)
    try:
        if isinstance(parameters, Sequence):
            cursor = driver.executemany(compiled.text, [compiled.values(one) for one in parameters])
        else:
            cursor = driver.execute(compiled.text, compiled.values(parameters or {}))
        found = compiled.rows(cursor.fetchall()) if compiled.returns_rows else ()
    except sqlite3.Error as error:
        raise DBAPIError.instance(compiled.text, None, error, sqlite3.Error) from error
    return Rows(found, cursor.rowcount)


def _tell(done: list[tuple[_Job, Any]]) -> None:
    """Give each work its result."""
    for job, result in done:
        if job.done.done():
            continue
        if isinstance(result, BaseException):
            job.done.set_exception(result)
        else:
            job.done.set_result(result)


def _fail(jobs: list[_Job], error: Exception) -> None:
    for job in jobs:
        if not job.done.done():
            job.done.set_exception(error)


@contextmanager
def _ended_after(seconds: float | None, connection: SyncConnection) -> Iterator[None]:
    """End a statement that takes longer. Raises LedgerBusyError."""
    if seconds is None:
        yield
        return
    driver, until = _driver(connection), time.monotonic() + seconds
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


def _driven(work: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that never waits."""
    try:
        work.send(None)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
    work.close()
    raise RuntimeError("a work on the ledger awaited something else than its connection")


def _grouped(connection: SyncConnection, jobs: list[_Job], check: Callable[[], None]) -> list[Any]:
    """Do works in one transaction, and commit it. What one of them raises takes its own place in the list."""
    results: list[Any] = []
    if len(jobs) == 1:
        results.append(_driven(jobs[0].work(_Direct(connection))))
    else:
        driver = _driver(connection)
        for job in jobs:
            driver.execute("SAVEPOINT work")
            try:
                results.append(_driven(job.work(_Direct(connection))))
            except Exception as error:
                # A full disk, for example, ends the whole transaction.
                if not driver.in_transaction:
                    raise
                driver.execute("ROLLBACK TO work")
                results.append(error)
            driver.execute("RELEASE work")
    check()
    _commit(connection)
    return results


def _begun(connection: SyncConnection) -> bool:
    """Begin to write; False if another process does."""
    try:
        # Taken at once: a read transaction that turns into a writing one fails instead of waiting.
        _plainly(connection, "BEGIN IMMEDIATE")
    except DBAPIError as error:
        if _code(error) in _BUSY:
            return False
        raise
    return True


def _commit(connection: SyncConnection) -> None:
    _plainly(connection, "COMMIT")


def _plainly(connection: SyncConnection, statement: str) -> None:
    """By the driver: SQLAlchemy takes longer for it than SQLite."""
    try:
        _driver(connection).execute(statement)
    except sqlite3.Error as error:
        raise DBAPIError.instance(statement, None, error, sqlite3.Error) from error


def _roll_back(connection: SyncConnection) -> None:
    if _driver(connection).in_transaction:
        connection.exec_driver_sql("ROLLBACK")


def _driver(connection: SyncConnection) -> sqlite3.Connection:
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


def _code(error: DBAPIError) -> int:
    return int(getattr(error.orig, "sqlite_errorcode", 0)) & 0xFF
