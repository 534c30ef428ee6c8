"""The ledger in PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from hashlib import blake2b
from itertools import count
from typing import Any, Final

import asyncpg
from sqlalchemy import Connection as SyncConnection
from sqlalchemy import Executable, func, select, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from .. import postgres
from ..postgres_address import PostgresAddressError, parse_postgres
from ..retries import pause
from .adding import Absent, PresentError, Row, together
from .addresses import LedgerAddressError
from .changes import go_on
from .connection import Connection, Parameters
from .database import OPEN_SECONDS, WRITE_SECONDS, Database, T, Work
from .errors import LedgerAwayError, LedgerBusyError, LedgerError, said
from .prepared import Prepared
from .schema import metadata
from .sessions import READ_ONLY, Session, Sessions
from .upgrade import upgrade, version

CONNECTIONS: Final = 8
"""Most connections of a process, beside the one that listens."""

QUERY_SECONDS: Final = 30.0
"""Most time of a question."""

CONNECT_SECONDS: Final = 3.0
CHANNEL: Final = "clew"
LEAST_VERSION: Final = 120000

# Of each connection. An order that was answered for is on the disk even when the power goes; a machine that
# went away in the middle of a transaction, or of a question, keeps nobody waiting.
_SESSION: Final = {
    "application_name": "clew",
    "synchronous_commit": "on",
    "idle_in_transaction_session_timeout": "10s",
    "statement_timeout": "35s",
}
# serialization_failure, deadlock_detected: the same transaction may be done again.
_AGAIN: Final = frozenset({"40001", "40P01"})
_CANCELED: Final = "57014"  # query_canceled, also by statement_timeout
_RECONNECT_SECONDS: Final = 2.0
_GATHER_SECONDS: Final = 0.02
_ANNOUNCE = f"NOTIFY {CHANNEL}"
_COUNT_AT: Final = frozenset({50, 500, 5000})
"""After so many messages of a process the tables of conversations are counted for the planner. The server
does so by itself, but only each minute. Plans for empty tables are kept until then, and the first hundreds of
conversations of a new ledger would wait for them."""
_ANALYZE = "ANALYZE conversations, messages"
_TIME = text("SELECT extract(epoch FROM clock_timestamp())::float8")
# Grows with whatever is written in the whole cluster.
_WRITTEN = text("SELECT pg_current_wal_insert_lsn()::text")


class PostgresDatabase(Database):
    """Transactions on the ledger, on a few connections at once.

    They see what is committed, statement by statement (READ COMMITTED): see `Database.transact` for what that
    asks of a work. One that met another in a deadlock is done again.
    """

    dialect = "postgresql"

    def __init__(self, address: str) -> None:
        super().__init__(address)
        try:
            place = parse_postgres(address)
        except PostgresAddressError as error:
            raise LedgerAddressError(str(error)) from None
        self.shown = f"postgresql://{place.shown}"
        self._server = postgres.Server(place, CONNECT_SECONDS, _SESSION)
        self._sessions = Sessions(self._connect, CONNECTIONS, WRITE_SECONDS)
        self._closed: LedgerError | None = None  # why it could not be opened
        self._written: str | None = None
        self._heard = asyncio.Event()
        self._listener: asyncio.Task[None] | None = None
        self._may_listen = False
        self._unannounced = False
        self._announced = self._counted = 0
        self._announcing: asyncio.Task[None] | None = None

    async def open(self) -> tuple[str | None, str]:
        """See `Database`. Of processes that start together one builds the tables."""

        async def work(tx: Connection) -> tuple[str | None, str]:
            await tx.lock("upgrade")
            await tx.run_sync(_check_server)
            versions = await tx.run_sync(upgrade)
            await go_on(tx)
            return versions

        try:
            await self._require_session()
            versions = await self._done(work, OPEN_SECONDS)
        except (SQLAlchemyError, LedgerError) as error:
            await self.close()
            kind = type(error) if isinstance(error, LedgerError) else LedgerError
            self._closed = kind(f"the ledger {self.shown} cannot be used: {said(error)}")
            raise self._closed from error
        except BaseException:
            await self.close()
            raise
        self._closed = None
        self._may_listen = True
        return versions

    async def look(self) -> None:
        """See whether `open` would succeed, without a change. Raises LedgerError."""
        await self.query(lambda connection: connection.run_sync(_check_ledger))

    async def close(self) -> None:
        """See `Database`."""
        self._may_listen = False
        if self._announcing is not None:
            await asyncio.wait({self._announcing})
        if self._listener is not None:
            self._listener.cancel()
            await asyncio.wait({self._listener})
            self._listener = None
        await self._sessions.close()

    async def _transact(self, work: Work[T], wait: float, *, quick: bool = False) -> T:
        """See `Database`."""
        self._check_open()
        return await self._done(work, wait)

    def _check_open(self) -> None:
        if self._closed is not None:
            raise type(self._closed)(str(self._closed))

    async def _write(self, work: Work[T], wait: float) -> T:
        """See `Database`. A statement by itself begins and commits its transaction."""
        self._check_open()
        return await self._done(work, wait, _Alone)

    async def _done(self, work: Work[T], wait: float, kind: "type[_Transaction] | None" = None) -> T:
        loop = asyncio.get_running_loop()
        until, renewed = loop.time() + wait, False
        for tries in count(1):
            try:
                async with asyncio.timeout_at(until):
                    return await self._transacted(work, kind or _Transaction)
            except TimeoutError:
                raise LedgerBusyError("the ledger does not answer, or others keep it locked") from None
            except _UndoneError as error:
                read_only = _code(error.cause) == READ_ONLY
                if loop.time() >= until or (read_only and renewed):
                    raise error.cause from error.cause.__cause__
                renewed = renewed or read_only
            await pause(tries)
        raise AssertionError

    async def _query(self, work: Work[T], seconds: float | None = None) -> T:
        """See `Database`."""
        self._check_open()

        async def use(session: Session) -> T:
            if seconds is None:
                return await work(_Statements(session))
            # The server ends it: a statement whose connection is given up would go on there.
            await session.script(f"BEGIN READ ONLY; SET LOCAL statement_timeout = {int(seconds * 1000)}")
            result = await work(_Statements(session))
            await session.script("COMMIT")
            return result

        wait = QUERY_SECONDS if seconds is None else seconds + 1.0
        for last in (False, True):
            try:
                async with asyncio.timeout(wait):
                    return await self._used(use)
            except TimeoutError:
                raise LedgerBusyError(f"the ledger has not answered for {wait:g} s") from None
            except DBAPIError as error:
                if seconds is not None and _code(error) == _CANCELED:
                    raise LedgerBusyError(
                        f"a question to the ledger took longer than {seconds:g} s"
                    ) from None
                # The server was restarted since the connection was used last.
                if last or not error.connection_invalidated:
                    raise
        raise AssertionError

    @asynccontextmanager
    async def _read(self) -> AsyncIterator[Connection]:
        """See `Database`. Each statement takes a connection of its own."""
        yield _Questions(self)

    async def changed(self) -> bool:
        """See `Database`. Other programs' writing counts too, and the server's own."""
        before = self._written
        self._written = await self.query(lambda connection: connection.scalar(_WRITTEN))
        return self._written != before

    async def time(self) -> float | None:
        """See `Database`."""
        return float(await self.query(lambda connection: connection.scalar(_TIME)))

    async def continue_numbers(self) -> None:
        """See `Database`."""

        async def work(tx: Connection) -> None:
            for table in metadata.sorted_tables:
                column = table.autoincrement_column
                if column is None:
                    continue
                sequence = func.pg_get_serial_sequence(table.name, column.name)
                highest = select(func.coalesce(func.max(column), 0)).scalar_subquery()
                await tx.execute(select(func.setval(sequence, highest + 1, False)))
            await go_on(tx)

        await self.transact(work)

    async def idle(self, seconds: float) -> None:
        """See `Database`."""
        # Not before somebody waits: a command would end while this connects.
        if self._listener is None and self._may_listen:
            self._listener = asyncio.create_task(self._listen(), name="clew-ledger-listen")
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._heard.wait()
                # All that is written meanwhile is one look.
                await asyncio.sleep(_GATHER_SECONDS)
        self._heard.clear()

    async def _transacted(self, work: Work[T], kind: "type[_Transaction]") -> T:
        """Do `work` once. Raises _UndoneError if nothing was written and it may be done again."""

        async def use(session: Session) -> T:
            transaction = kind(session)
            try:
                result = await work(transaction)
            except DBAPIError as error:
                if error.connection_invalidated or _code(error) in _AGAIN:
                    raise _UndoneError(error) from error
                raise
            # If the connection is lost from here on, nobody knows whether it was written.
            try:
                await transaction.commit()
            except DBAPIError as error:
                if _code(error) in _AGAIN:
                    raise _UndoneError(error) from error
                raise
            if transaction.is_news:
                self._announce()
            return result

        return await self._used(use)

    def _announce(self) -> None:
        """Tell other processes that a message was committed, all of one moment together, by a statement of
        its own: a transaction with NOTIFY waits for all others with it, each until its commit is on the
        disk. If this process ends before, they find the message at their next look."""
        self._unannounced = True
        self._announced += 1
        if self._announcing is None or self._announcing.done():
            self._announcing = asyncio.create_task(self._announce_all(), name="clew-ledger-announce")

    async def _announce_all(self) -> None:
        with suppress(SQLAlchemyError, LedgerError, TimeoutError):
            while self._unannounced:
                self._unannounced = False
                async with asyncio.timeout(WRITE_SECONDS):
                    await self._used(lambda session: session.script(_ANNOUNCE))
                    if any(self._counted < at <= self._announced for at in _COUNT_AT):
                        self._counted = self._announced
                        await self._used(lambda session: session.script(_ANALYZE))
                await asyncio.sleep(_GATHER_SECONDS)

    async def _used(self, use: Callable[[Session], Coroutine[Any, Any, T]]) -> T:
        """What comes of a session. A transaction that is left open is rolled back; a session whose statement
        was interrupted is given up."""
        session = await self._sessions.take()
        try:
            return await use(session)
        except Exception:
            await session.roll_back()
            raise
        except BaseException:
            session.give_up()
            raise
        finally:
            await self._sessions.give_back(session)

    async def _connect(self) -> asyncpg.Connection:
        # asyncpg reads the address as libpq does: sslmode, several hosts, PGPASSWORD and ~/.pgpass.
        try:
            return await self._server.connect()
        except TimeoutError:
            raise LedgerAwayError(f"its server gives no connection in {self._server.seconds:.0f} s") from None
        except asyncpg.TargetServerAttributeNotMatched:
            raise LedgerAwayError(
                "its server is a standby, which takes no changes: promote it, or name the primary, too "
                "(ledger = postgresql://user@host1,host2/database)"
            ) from None
        except postgres.FAILURES as error:
            if not postgres.is_away(error):
                raise LedgerError(postgres.in_words(error)) from error
            refused = isinstance(error, asyncpg.PostgresError)
            how = "takes no connections now" if refused else "does not answer"
            raise LedgerAwayError(f"its server {how}: {postgres.in_words(error)}") from error

    async def _require_session(self) -> None:
        try:
            await self._server.require_session()
        except postgres.PoolerError as error:
            raise LedgerError(str(error)) from error
        except postgres.FAILURES:
            return  # the next connection says the same, in more words

    async def _listen(self) -> None:
        """Hear of messages that other processes write; where that cannot be, `changed` finds them."""
        while True:
            with suppress(*postgres.FAILURES, LedgerError):
                connection = await self._connect()
                try:
                    ended = asyncio.Event()
                    connection.add_termination_listener(lambda _connection, ended=ended: ended.set())
                    await connection.add_listener(CHANNEL, lambda *_: self._heard.set())
                    # What was written before.
                    self._heard.set()
                    await ended.wait()
                finally:
                    connection.terminate()
            await asyncio.sleep(_RECONNECT_SECONDS)


class _UndoneError(Exception):
    """A transaction that was taken back, and may be done again."""

    def __init__(self, cause: DBAPIError) -> None:
        super().__init__(str(cause))
        self.cause = cause


class _Statements:
    """Statements of one session, each a transaction of its own."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def execute(self, statement: Executable | Prepared, parameters: Parameters | None = None) -> Any:
        return await self._session.execute(statement, parameters)

    async def add(self, rows: Sequence[Row], absent: Absent | None = None) -> Sequence[int | None]:
        raise TypeError("nothing is written here")

    async def scalar(self, statement: Executable) -> Any:
        return await self._session.connection.scalar(statement)

    async def run_sync(self, work: Callable[[SyncConnection], T]) -> T:
        return await self._session.connection.run_sync(work)

    async def lock(self, *names: str, shared: bool = False) -> None:
        raise TypeError("a lock ends with its transaction, and this is none")

    async def announce(self) -> None:
        raise TypeError("nothing is written here")


class _Transaction(_Statements):
    """A transaction, which begins with its first statement."""

    _begun = False
    is_news = False  # a message was written

    async def execute(self, statement: Executable | Prepared, parameters: Parameters | None = None) -> Any:
        await self._begin()
        return await super().execute(statement, parameters)

    async def add(self, rows: Sequence[Row], absent: Absent | None = None) -> Sequence[int | None]:
        present, *given = (await self.execute(*together(rows, absent))).first()
        if present is not None:
            raise PresentError(present)
        numbers = iter(given)
        return [next(numbers) if table.autoincrement_column is not None else None for table, _ in rows]

    async def scalar(self, statement: Executable) -> Any:
        await self._begin()
        return await super().scalar(statement)

    async def run_sync(self, work: Callable[[SyncConnection], T]) -> T:
        await self._begin()
        return await super().run_sync(work)

    async def lock(self, *names: str, shared: bool = False) -> None:
        how = "pg_advisory_xact_lock_shared" if shared else "pg_advisory_xact_lock"
        await self._begin("; ".join(f"SELECT {how}({_lock_key(name)})" for name in names))

    async def announce(self) -> None:
        self.is_news = True

    async def commit(self) -> None:
        """Raises DBAPIError."""
        if self._begun and (status := await self._session.script("COMMIT")) != "COMMIT":
            raise LedgerError(f"a transaction of which a statement had failed was to be committed: {status}")

    async def _begin(self, then: str = "") -> None:
        """Begin it if it has not begun; in the same round trip execute `then`."""
        script = "; ".join(filter(None, ("" if self._begun else "BEGIN", then)))
        self._begun = True
        if script:
            await self._session.script(script)


class _Alone(_Transaction):
    """A transaction of one statement."""

    _begun = True

    async def commit(self) -> None:
        """Nothing: it is committed by now."""


class _Questions:
    """Statements on any connection, for reading."""

    def __init__(self, database: PostgresDatabase) -> None:
        self._query = database._query

    async def execute(self, statement: Executable | Prepared, parameters: Parameters | None = None) -> Any:
        return await self._query(lambda connection: connection.execute(statement, parameters))

    async def add(self, rows: Sequence[Row], absent: Absent | None = None) -> Sequence[int | None]:
        raise TypeError("nothing is written here")

    async def scalar(self, statement: Executable) -> Any:
        return await self._query(lambda connection: connection.scalar(statement))

    async def run_sync(self, work: Callable[[SyncConnection], T]) -> T:
        return await self._query(lambda connection: connection.run_sync(work))

    async def lock(self, *names: str, shared: bool = False) -> None:
        raise TypeError("a lock ends with its transaction, and this is none")

    async def announce(self) -> None:
        raise TypeError("nothing is written here")


def _lock_key(name: str) -> int:
    """PostgreSQL's locks are named by numbers of 64 bits."""
    return int.from_bytes(blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest(), signed=True)


def _check_server(connection: SyncConnection) -> None:
    version = int(connection.scalar(text("SHOW server_version_num")) or 0)
    encoding = connection.scalar(text("SHOW server_encoding"))
    if version < LEAST_VERSION:
        raise LedgerError(f"the server is PostgreSQL {version // 10000}: clew needs 12 or later")
    if encoding != "UTF8":
        raise LedgerError(f"the database has the encoding {encoding}: make one with ENCODING 'UTF8'")


def _check_ledger(connection: SyncConnection) -> None:
    _check_server(connection)
    if version(connection) is None and not connection.scalar(text(postgres.MAY_MAKE_TABLES)):
        raise LedgerError(postgres.MAKES_NO_TABLES)


def _code(error: DBAPIError) -> str:
    return str(getattr(error.orig, "sqlstate", None) or getattr(error.orig, "pgcode", None) or "")
