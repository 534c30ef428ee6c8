"""The migrations at the start, and what is said about a file that is no ledger of this clew."""

import re
import sqlite3
from functools import cache
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Select, inspect, select
from sqlalchemy import column as column_of
from sqlalchemy import table as table_of
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from ..visits import TABLES as VISITS_TABLES
from .errors import LedgerError, LedgerFormatError
from .schema import VERSION, metadata

_MIGRATIONS: Final = Path(__file__).parents[1] / "migrations"
# What SQLite says of a file that holds something else, or is damaged.
_NO_DATABASE = {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT}
_RESTORE = {
    "sqlite": "Or name another one as `ledger`, or put back a copy that this clew wrote "
    "(docs/operations.md, Backups)",
    "postgresql": "Or name another database as `ledger`, or put back a dump of one of this clew with "
    "pg_restore (docs/operations.md, Backups)",
}
_WAYS = {
    sqlite3.SQLITE_NOTADB: "It is no SQLite file: name another one as `ledger`, or move it away",
    sqlite3.SQLITE_CORRUPT: "Put back a copy, or save what can be read with `sqlite3 clew.db .recover`",
    sqlite3.SQLITE_CANTOPEN: "See that its folder is there, and that this user may write to it",
    sqlite3.SQLITE_READONLY: "See whose file it is, and the mode of the file and its folder",
    sqlite3.SQLITE_FULL: "Free some space on its disk",
}


def upgrade(connection: Connection) -> tuple[str | None, str]:
    """Build or upgrade the tables; their version before, None where there were none, and after. Raises
    LedgerFormatError if they are not ours, or of a later version."""
    before, newest = version(connection), max(known_versions())
    if before != newest:
        # Imported where there is something to do: most starts find the tables as they are to be.
        from alembic import command
        from alembic.config import Config

        config = Config()
        config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
    return before, newest


@cache
def known_versions() -> frozenset[str]:
    """The versions of a ledger that this clew can upgrade from, and its own; each follows the one before."""
    files = (_MIGRATIONS / "versions").glob("v*.py")
    return frozenset(found[1] for file in files if (found := re.match(r"v(\d{4})_", file.name)))


def version(connection: Connection) -> str | None:
    """The version of the tables, None where there are none. Raises as `upgrade` does."""
    tables = set(inspect(connection).get_table_names())
    if VERSION not in tables:
        # The visits may be in the same place, and be there first. A database of PostgreSQL may be shared with
        # other programs as long as the names of tables differ; a file is one program's.
        foreign = tables - VISITS_TABLES
        if connection.dialect.name != "sqlite":
            foreign &= metadata.tables.keys()
        if others := sorted(foreign, key=lambda name: (name not in metadata.tables, name)):
            raise LedgerFormatError(
                f"it has a table {others[0][:40]!r}, but not clew's: it belongs to another program. "
                "Name another one as `ledger`"
            )
        return None
    known = known_versions()
    restore = _RESTORE[connection.dialect.name]
    try:
        query: Select[Any] = select(column_of("version_num")).select_from(table_of(VERSION))
        found = [str(row[0]) for row in connection.execute(query)]
    except DBAPIError as error:
        raise LedgerFormatError(f"its table {VERSION!r} is not clew's ({error.orig}). {restore}") from None
    if not found and not tables & set(metadata.tables):
        return None
    if len(found) != 1 or found[0] not in known:
        said = ", ".join(repr(version[:40]) for version in found[:3]) or "none"
        raise LedgerFormatError(
            f"its version is {said}, and this clew knows {max(known)!r} and earlier: a later "
            f"clew wrote it, or another program. Upgrade clew (`pip install --upgrade clew`). {restore}"
        )
    return found[0]


def ledger_error(path: Path, error: SQLAlchemyError | LedgerError) -> LedgerError:
    """An error of opening the ledger, for operators."""
    said = f"the ledger {path} cannot be used: "
    if isinstance(error, LedgerError):
        return type(error)(said + str(error))
    cause = getattr(error, "orig", None)
    code = getattr(cause, "sqlite_errorcode", 0) & 0xFF
    kind = LedgerFormatError if code in _NO_DATABASE else LedgerError
    return kind(f"{said}{cause or error}. {_WAYS.get(code, '')}".rstrip())
