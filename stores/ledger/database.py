"""The ledger's database, whichever it is: transactions, questions, and how changes are noticed."""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, ClassVar, Final, TypeVar

from .connection import Connection, Parameters
from .errors import own_errors
from .prepared import Prepared
from .schema import probes

OPEN_SECONDS: Final = 10.0
WRITE_SECONDS: Final = 3.5
PROBE_SECONDS: Final = 2.0  # longer than others' transactions ever take

T = TypeVar("T")
Work = Callable[[Connection], Coroutine[Any, Any, T]]


class Database(ABC):
    """Transactions on the ledger. `address` is the `ledger` setting."""

    dialect: ClassVar[str]
    """The engine's name: sqlite or postgresql."""

    def __init__(self, address: str) -> None:
        self.address = address

    @abstractmethod
    async def open(self) -> tuple[str | None, str]:
        """Build or upgrade the tables; their version before, None where there were none, and after. Raises
        LedgerError if the database cannot be used, or is none of ours."""

    @abstractmethod
    async def close(self) -> None:
        """Close all connections."""

    async def transact(self, work: Work[T], wait: float = WRITE_SECONDS, *, quick: bool = False) -> T:
        """Do `work` in a transaction: all that it writes is on the disk when this returns, or nothing.

        `work` awaits nothing but the connection, and has no effects of its own: it is done again if another
        transaction came in its way. Others may write at the same time: what it reads to decide what it
        writes, it locks (`with_for_update`, `Connection.lock`), or checks when it writes. `quick`: it finds
        a few rows by an index, and writes a few.

        Raises what `work` raises, LedgerBusyError if it is not done within about `wait` seconds,
        LedgerConflictError if another writer has added what `work` adds, LedgerError if the database cannot
        be used.
        """
        with own_errors():
            return await self._transact(work, wait, quick=quick)

    async def write(self, statement: Prepared, given: Parameters, *, is_news: bool = False) -> Any:
        """The result of one statement that is a transaction of its own; see `transact` for what it raises.
        `is_news`: it writes a message. It may be executed again, also if it was committed."""

        async def work(tx: Connection) -> Any:
            result = await tx.execute(statement, given)
            if is_news and result.rowcount:
                await tx.announce()
            return result

        with own_errors():
            return await self._write(work, WRITE_SECONDS)

    async def query(self, work: Work[T], seconds: float | None = None, *, quick: bool = False) -> T:
        """What `work` reads. It awaits nothing but the connection. Each statement sees what is committed.
        Raises what `work` raises, LedgerError, and LedgerBusyError if it takes longer than about `seconds`:
        its statement is ended then. `quick`: it finds a few rows by an index, with prepared statements."""
        with own_errors():
            return await (self._query_quickly(work) if quick else self._query(work, seconds))

    @asynccontextmanager
    async def read(self) -> AsyncIterator[Connection]:
        """A connection for reading, whose user may await other things as well. Raises LedgerError."""
        with own_errors():
            async with self._read() as connection:
                yield connection

    # -- what an engine does; it may raise what its driver raises, which the above turn into LedgerError

    @abstractmethod
    async def _transact(self, work: Work[T], wait: float, *, quick: bool = False) -> T: ...

    async def _write(self, work: Work[T], wait: float) -> T:
        """Do a work of one statement."""
        return await self._transact(work, wait)

    @abstractmethod
    async def _query(self, work: Work[T], seconds: float | None = None) -> T: ...

    async def _query_quickly(self, work: Work[T]) -> T:
        """Read what takes no time worth mentioning."""
        return await self._query(work)

    @abstractmethod
    def _read(self) -> AbstractAsyncContextManager[Connection]: ...

    @abstractmethod
    async def changed(self) -> bool:
        """Whether anything may have been committed since the last call, here or in another process."""

    @abstractmethod
    async def idle(self, seconds: float) -> None:
        """Wait so long, or until another process has written a message if that can be heard."""

    @abstractmethod
    async def time(self) -> float | None:
        """The time of the database's server in unix seconds, which counts for all machines that share the
        ledger; None where there is only this machine."""

    @abstractmethod
    async def continue_numbers(self) -> None:
        """Give rows that are added from now on higher numbers than those that are there."""

    async def probe(self, now: float, wait: float = PROBE_SECONDS) -> None:
        """Write a row and commit it, as an order would be: a full disk, a database that only lets itself be
        read, a lock and a file that is gone raise here what they would raise there."""

        async def work(tx: Connection) -> None:
            await tx.lock("probe")
            await tx.execute(probes.delete())
            await tx.execute(probes.insert().values(at=now))

        await self.transact(work, wait)
