"""New SQLite ledgers without a migration each, which takes 50 ms of CPU in thousands of tests."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from clew.stores.ledger import sqlite
from clew.stores.ledger.upgrade import upgrade
from sqlalchemy import Connection

Versions = tuple[str | None, str]


def _file(connection: Connection) -> sqlite3.Connection:
    found = connection.connection.driver_connection
    assert isinstance(found, sqlite3.Connection)
    return found


class QuickTables:
    """Takes the place of `upgrade`: the first empty file is migrated, and what that wrote is repeated in the
    others. A file that has tables is always left to `upgrade`."""

    def __init__(self) -> None:
        self._made: tuple[list[str], Versions] | None = None

    def __call__(self, connection: Connection) -> Versions:
        if _file(connection).execute("SELECT count(*) FROM sqlite_master").fetchone() != (0,):
            return upgrade(connection)
        if self._made is None:
            versions = upgrade(connection)
            # It begins and ends with a transaction of its own.
            self._made = list(_file(connection).iterdump())[1:-1], versions
        else:
            for statement in self._made[0]:
                _file(connection).execute(statement)
        return self._made[1]


@contextmanager
def quick_tables() -> Iterator[None]:
    """New SQLite ledgers of this process, within the block."""
    before, sqlite.upgrade = sqlite.upgrade, QuickTables()
    try:
        yield
    finally:
        sqlite.upgrade = before
