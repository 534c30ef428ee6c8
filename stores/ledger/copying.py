"""A whole ledger from one database into another, for example from SQLite into PostgreSQL."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Table, func, select, tuple_

from .connection import Connection, executing
from .database import Database
from .errors import LedgerError
from .schema import epochs, file_parts, metadata, probes, turns

PAGE: Final = 1000
"""Rows of a transaction."""

# Rows of a quarter of a megabyte each.
_LARGE: Final = {file_parts.name: 20}
# What belongs to running processes.
_LEFT_OUT: Final = {epochs.name, probes.name, turns.name}


class CopyError(LedgerError):
    """The ledger cannot be copied there; the text says why."""


async def copy_ledger(source: Database, target: Database) -> Mapping[str, int]:
    """Copy all rows of an open ledger that nobody writes to into an open, empty one; how many, by table.
    Raises CopyError if it is not empty, or if the source changed meanwhile."""
    tables = [table for table in metadata.sorted_tables if table.name not in _LEFT_OUT]
    for table in tables:
        if await _count(target, table):
            raise CopyError(f"the table {table.name!r} has rows already: copy into an empty ledger")
    copied = {table.name: await _copy(source, target, table) for table in tables}
    for table in tables:
        if copied[table.name] != await _count(source, table):
            raise CopyError(
                f"the table {table.name!r} changed while it was copied: stop clew, empty the new ledger, and "
                "copy again"
            )
    await target.continue_numbers()
    return copied


async def _count(db: Database, table: Table) -> int:
    return int(await db.query(lambda connection: connection.scalar(select(func.count()).select_from(table))))


async def _copy(source: Database, target: Database, table: Table) -> int:
    key, size = tuple_(*table.primary_key), _LARGE.get(table.name, PAGE)
    query, copied = select(table).order_by(*table.primary_key).limit(size), 0
    last: Sequence[Any] | None = None
    while True:
        page = query if last is None else query.where(key > last)
        rows = await source.query(_mappings(page))
        if rows:
            await target.transact(executing(table.insert(), rows), wait=60)
            last = [rows[-1][column.name] for column in table.primary_key]
        copied += len(rows)
        if len(rows) < size:
            return copied


def _mappings(query: Any) -> Any:
    async def work(connection: Connection) -> list[dict[str, Any]]:
        return [dict(row) for row in (await connection.execute(query)).mappings()]

    return work
