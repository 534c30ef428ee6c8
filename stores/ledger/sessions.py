"""Sessions with the PostgreSQL server of the ledger: a few, each used by one caller at a time.

SQLAlchemy executes what is seldom asked, the driver (asyncpg) what is prepared. Transactions are begun and
ended here: to SQLAlchemy the connections are in autocommit.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, Final

import asyncpg
from sqlalchemy import Executable, NullPool, event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from ..postgres import FAILURES
from .connection import Parameters
from .errors import LedgerAwayError, LedgerBusyError
from .prepared import Prepared, Rows

READ_ONLY: Final = "25006"  # read_only_sql_transaction


class Session:
    """A connection to the server."""

    def __init__(self, connection: AsyncConnection, driver: asyncpg.Connection, age: int) -> None:
        self.connection = connection
        self.age = age
        self.is_lost = False  # and so, probably, are those that were opened with it
        self._driver = driver
        self._dialect = connection.dialect

    @property
    def is_usable(self) -> bool:
        """Whether it may be used again."""
        return not self._driver.is_closed() and not self.connection.invalidated

    async def execute(self, statement: Executable | Prepared, parameters: Parameters | None = None) -> Any:
        """See `Connection.execute`. Raises DBAPIError."""
        if not isinstance(statement, Prepared):
            return await self.connection.execute(statement, parameters)
        compiled = statement.of(self._dialect)
        try:
            if isinstance(parameters, Sequence):
                given = [compiled.values(one) for one in parameters]
                await self._driver.executemany(compiled.text, given)
                return Rows((), len(given))
            values = compiled.values(parameters or {})
            if compiled.returns_rows:
                found = await self._driver.fetch(compiled.text, *values)
                return Rows(compiled.rows(found), len(found))
            status = await self._driver.execute(compiled.text, *values)
            return Rows((), int(status.rpartition(" ")[2]))
        except FAILURES as error:
            raise self._failed(compiled.text, error) from error

    async def script(self, text: str) -> str:
        """Execute statements without parameters in one round trip. Returns the status of the last. Raises
        DBAPIError."""
        try:
            return str(await self._driver.execute(text))
        except FAILURES as error:
            raise self._failed(text, error) from error

    async def roll_back(self) -> None:
        """End a transaction that failed. If that fails too, the connection is given up."""
        try:
            if not self._driver.is_closed() and self._driver.is_in_transaction():
                await self._driver.execute("ROLLBACK")
        except FAILURES:
            self.give_up()
        except BaseException:
            self.give_up()
            raise

    def give_up(self) -> None:
        """Close the connection at once, without a word to the server."""
        self._driver.terminate()

    async def close(self) -> None:
        """Close the connection."""
        with suppress(Exception):
            await self.connection.close()

    def _failed(self, text: str, error: Exception) -> DBAPIError:
        if getattr(error, "sqlstate", None) == READ_ONLY:
            self.give_up()
        self.is_lost = self._driver.is_closed()
        integrity = isinstance(error, asyncpg.IntegrityConstraintViolationError)
        kind = IntegrityError if integrity else DBAPIError
        return kind(text, None, error, connection_invalidated=self.is_lost)


class Sessions:
    """At most `most` sessions. `connect` opens a connection, and `wait` is how long one who finds them all in
    use waits."""

    def __init__(self, connect: Callable[[], Awaitable[asyncpg.Connection]], most: int, wait: float) -> None:
        self._engine = create_async_engine(
            "postgresql+asyncpg://", async_creator=connect, poolclass=NullPool, isolation_level="AUTOCOMMIT"
        )
        event.listen(self._engine.sync_engine, "handle_error", self._on_error)
        self._most = most
        self._wait = wait
        self._room = asyncio.Semaphore(most)
        self._free: list[Session] = []
        self._age = 0

    async def take(self) -> Session:
        """A session that nobody else uses until it is given back. Raises LedgerBusyError."""
        if self._room.locked():
            try:
                async with asyncio.timeout(self._wait):
                    await self._room.acquire()
            except TimeoutError:
                raise LedgerBusyError(f"all {self._most} connections to the ledger are in use") from None
        else:
            await self._room.acquire()
        try:
            while self._free:
                session = self._free.pop()
                if self._is_good(session):
                    return session
                await session.close()
            return await self._opened()
        except BaseException:
            self._room.release()
            raise

    async def give_back(self, session: Session) -> None:
        """Let others use it; it is closed if it cannot be used again."""
        if session.is_lost and session.age == self._age:
            self._renew()
        try:
            if self._is_good(session):
                self._free.append(session)
            else:
                await session.close()
        finally:
            self._room.release()

    async def close(self) -> None:
        """Close all that are free; the others are closed when they are given back."""
        self._renew()
        while self._free:
            await self._free.pop().close()
        await self._engine.dispose()

    def _renew(self) -> None:
        """Use none of the sessions any more that there are now."""
        self._age += 1

    def _is_good(self, session: Session) -> bool:
        return session.age == self._age and session.is_usable

    async def _opened(self) -> Session:
        try:
            connection = await self._engine.connect()
        except FAILURES as error:
            raise LedgerAwayError(f"its server does not answer: {error}") from error
        raw = await connection.get_raw_connection()
        driver = raw.driver_connection
        assert isinstance(driver, asyncpg.Connection)
        return Session(connection, driver, self._age)

    def _on_error(self, context: ExceptionContext) -> None:
        """A session that takes no changes keeps the default that it began with, and the server that it began
        on; so do the others."""
        if getattr(context.original_exception, "sqlstate", None) == READ_ONLY:
            context.is_disconnect = True
        if context.is_disconnect:
            self._renew()
