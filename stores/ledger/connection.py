"""A connection to the ledger, whatever its database: what statements are executed on."""

from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from sqlalchemy import Connection as SyncConnection
from sqlalchemy import Executable, Result

from .adding import Absent, Row
from .prepared import Prepared

T = TypeVar("T")
Parameters = Mapping[str, Any] | Sequence[Mapping[str, Any]]


class Connection(Protocol):
    """Executes statements. All rows of a result are in memory."""

    async def execute(self, statement: Executable | Prepared, parameters: Parameters | None = None) -> Any:
        """Execute a statement; with a list of parameters, once for each."""

    async def add(self, rows: Sequence[Row], absent: Absent | None = None) -> Sequence[int | None]:
        """Add rows together; their numbers, None where a table has none. See `Additions`. Raises
        PresentError, and the transaction must end, if a value that should be `absent` is there."""

    async def scalar(self, statement: Executable) -> Any:
        """The first column of the first row; None if there is none."""

    async def run_sync(self, work: Callable[[SyncConnection], T]) -> T:
        """Do `work` on the synchronous connection."""

    async def lock(self, *names: str, shared: bool = False) -> None:
        """Wait until no other transaction holds the locks of these names, one after the other, and hold them
        until the end of this one. Several may hold them at once where all of them share them."""

    async def announce(self) -> None:
        """Tell other processes, once this is committed, that a message was written."""


def executing(
    statement: Executable | Prepared, given: Parameters | None = None
) -> Callable[[Connection], Coroutine[Any, Any, Any]]:
    """A work of one statement, which comes to its result."""

    async def work(tx: Connection) -> Any:
        return await tx.execute(statement, given)

    return work


def executed(connection: SyncConnection, statement: Executable, parameters: Parameters | None) -> Any:
    """The result of a statement with all its rows, so that nothing is left to fetch."""
    return _whole(connection.execute(statement, parameters))


def _whole(result: Result[Any]) -> Any:
    returns_rows: bool = result.returns_rows  # type: ignore[attr-defined]
    return result.freeze()() if returns_rows else result
