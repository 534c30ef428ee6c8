"""A connection to the ledger, whatever its database: what statements are executed on."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from sqlalchemy import Connection as SyncConnection
from sqlalchemy import Executable, Result

T = TypeVar("T")
Parameters = Mapping[str, Any] | Sequence[Mapping[str, Any]]


class Connection(Protocol):
    """Executes statements. All rows of a result are in memory."""

    async def execute(self, statement: Executable, parameters: Parameters | None = None) -> Any:
        """Execute a statement; with a list of parameters, once for each."""

    async def scalar(self, statement: Executable) -> Any:
        """The first column of the first row; None if there is none."""

    async def exec_driver_sql(self, statement: str, parameters: Any = None) -> Any:
        """Execute plain SQL of the database."""

    async def run_sync(self, work: Callable[[SyncConnection], T]) -> T:
        """Do `work` on the synchronous connection."""


def executed(connection: SyncConnection, statement: Executable, parameters: Parameters | None) -> Any:
    """The result of a statement with all its rows, so that nothing is left to fetch."""
    return _whole(connection.execute(statement, parameters))


def executed_sql(connection: SyncConnection, statement: str, parameters: Any) -> Any:
    """The same for plain SQL."""
    return _whole(connection.exec_driver_sql(statement, parameters))


def _whole(result: Result[Any]) -> Any:
    returns_rows: bool = result.returns_rows  # type: ignore[attr-defined]
    return result.freeze()() if returns_rows else result
