"""The ledger in a SQLite file."""

import asyncio
import math
import sqlite3
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from itertools import chain, repeat
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection as SyncConnection
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from ..files import make_private
from ..undisturbed import undisturbed
from .addresses import sqlite_path
from .connection import Connection
from .database import OPEN_SECONDS, Database, T, Work
from .errors import LedgerBusyError, LedgerError, LedgerGoneError
from .sqlite_threads import (
    DirectConnection,
    ThreadConnection,
    WorkerThread,
    begun,
    commit,
    driven,
    driver_of,
    ended_after,
    engine_at,
    is_busy,
    roll_back,
)
from .upgrade import ledger_error, upgrade

# After which a writing tries again while another process writes, which takes some milliseconds; from then on
# the last of them, until its time is over.
BUSY_PAUSES: Final = (0.001, 0.001, 0.001, 0.002, 0.002, 0.003, 0.005, 0.01)
GROUP: Final = 64
"""Most works that share a transaction."""
GATHER_SECONDS: Final = 0.004
"""After a commit the next transaction waits so long, where it has nothing but quick works, or where another
process writes too: what comes meanwhile shares it, and the other process gets its turn."""
OTHERS_SECONDS: Final = 1.0
"""How long another process that wrote counts as one that writes too."""
READERS: Final = 2
"""Threads that read."""

_POLL_SECONDS: Final = 0.04
_UNKNOWN: Final = -1


@dataclass(eq=False, slots=True)
class _Job:
    """A work that waits for a transaction, until when, and what comes of it."""

    work: Work[Any]
    until: float
    done: asyncio.Future[Any]
    is_quick: bool


class SqliteDatabase(Database):
    """Transactions on the ledger.

    Statements run in threads of their own: one that writes, with one connection, and a few that read; those
    that find a few rows by an index, in the loop's own. SQLite
    lets one writer in at a time. `write_lock` makes waiting for that an await instead of a blocked loop: the
    visit store, which writes in the loop's own thread, takes it too if it shares the file, or a ledger
    transaction that is half through could never get the loop back to commit.

    `transact` does a whole transaction in one turn of that thread, and works that wait together share one
    commit: most of what a transaction costs is waiting for the disk. What one of them raises takes back its
    own statements only. Where all of them are quick, their statements are executed in the loop's thread, and
    only the commit in the other one: beside a busy loop a thread waits for the interpreter after each
    statement, for up to five milliseconds.

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
        self._engine = engine_at(self._path)
        # It is asked in the loop's thread whether another process writes: without waiting for that one.
        self._writer = WorkerThread(self._engine, "clew-ledger", waits=False)
        self._readers = [WorkerThread(self._engine, f"clew-ledger-read-{n}") for n in range(READERS)]
        self._jobs: deque[_Job] = deque()
        self._pump: asyncio.Task[None] | None = None
        self._watch: sqlite3.Connection | None = None
        self._own: SyncConnection | None = None  # of the loop's thread
        self._version = _UNKNOWN
        self._committed_at = self._others_at = -math.inf  # when this process did so, and when others wrote

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

    async def _transact(self, work: Work[T], wait: float, *, quick: bool = False) -> T:
        """See `Database`; also raises LedgerGoneError if the file is not there any more."""
        loop = asyncio.get_running_loop()
        job = _Job(work, loop.time() + wait, loop.create_future(), quick)
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
        yield ThreadConnection(self._reader())

    async def _query(self, work: Work[T], seconds: float | None = None) -> T:
        """See `Database`. It takes one turn of a thread."""

        def turn(connection: SyncConnection) -> T:
            with ended_after(seconds, connection):
                return driven(work(DirectConnection(connection)))

        return await self._reader().do(turn)

    async def _query_quickly(self, work: Work[T]) -> T:
        """See `Database`. In the loop's own thread: who reads waits for no writer, and some 20 µs are a
        fraction of what a turn of a thread takes. Where SQLite would have to wait all the same, as while it
        recovers the log of a process that was killed, a thread does."""
        try:
            if self._own is None:
                self._own = self._engine.connect()
                self._own.exec_driver_sql("PRAGMA busy_timeout=0")
            return driven(work(DirectConnection(self._own)))
        except DBAPIError as error:
            if not is_busy(error):
                raise
        return await self._query(work)

    def _reader(self) -> "WorkerThread":
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
        await self._gather()
        for pause in chain(BUSY_PAUSES, repeat(BUSY_PAUSES[-1])):
            try:
                async with asyncio.timeout_at(deadline):
                    await self.write_lock.acquire()
            except TimeoutError:
                raise LedgerBusyError("the ledger is busy: too many wait to write to it") from None
            done: list[tuple[_Job, Any]] = []
            try:
                if await self._transaction(done):
                    return
            finally:
                self.write_lock.release()
                # Also if this was cancelled meanwhile: whoever wrote waits for it.
                _tell(done)
            self._others_at = loop.time()
            if self._others_at >= deadline:
                raise LedgerBusyError("the ledger is locked: another process writes to it, or keeps it open")
            await asyncio.sleep(pause)

    async def _gather(self) -> None:
        """Wait, as GATHER_SECONDS says."""
        now = asyncio.get_running_loop().time()
        left = self._committed_at + GATHER_SECONDS - now
        if left > 0 and (now - self._others_at < OTHERS_SECONDS or all(job.is_quick for job in self._jobs)):
            await asyncio.sleep(left)

    async def _transaction(self, done: list[tuple[_Job, Any]]) -> bool:
        """Begin, and do the works that wait by then; `done` gets each with what it returns or raises. False,
        and nothing is done, if another process writes."""
        connection = await self._writer.connected()
        if not begun(connection):
            return False
        jobs = [self._jobs.popleft() for _ in range(min(GROUP, len(self._jobs)))]
        results: list[Any] = []

        def work() -> None:
            self._check_file()
            results.extend(_grouped(connection, jobs))

        def end() -> None:
            self._check_file()
            commit(connection)

        is_quick = all(job.is_quick for job in jobs)
        failed = _failure(connection, work) if is_quick else None

        def finish(_: SyncConnection) -> None:
            steps = (end,) if is_quick else (work, end)
            error = failed or _failure(connection, *steps)
            done.extend(zip(jobs, [error] * len(jobs) if error is not None else results, strict=True))

        if failed is None:
            await self._writer.do(finish)
        else:
            finish(connection)
        self._committed_at = asyncio.get_running_loop().time()
        return True

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


def _grouped(connection: SyncConnection, jobs: list[_Job]) -> list[Any]:
    """Do works in one transaction. What one of them raises takes its own place in the list."""
    if len(jobs) == 1:
        return [driven(jobs[0].work(DirectConnection(connection)))]
    results: list[Any] = []
    driver = driver_of(connection)
    for job in jobs:
        driver.execute("SAVEPOINT work")
        try:
            results.append(driven(job.work(DirectConnection(connection))))
        except Exception as error:
            # A full disk, for example, ends the whole transaction.
            if not driver.in_transaction:
                raise
            driver.execute("ROLLBACK TO work")
            results.append(error)
        driver.execute("RELEASE work")
    return results


def _failure(connection: SyncConnection, *steps: Callable[[], None]) -> Exception | None:
    """Do the steps of a transaction; what one of them raises, after which the transaction is rolled back."""
    try:
        for step in steps:
            step()
    except BaseException as error:
        with suppress(Exception):
            roll_back(connection)
        if not isinstance(error, Exception):
            raise
        return error
    return None
