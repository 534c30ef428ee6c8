"""The ledger's database, of whichever kind."""

from .addresses import LedgerAddressError, sqlite_path
from .database import Database
from .sqlite import SqliteDatabase


def database_at(address: str) -> Database:
    """The database of an address: `sqlite:clew.db` or `postgresql://…`. Raises LedgerAddressError."""
    if address.startswith(("postgresql:", "postgres:")):
        # A fifth of a second of imports, that a clew without PostgreSQL does not wait for.
        from .postgresql import PostgresDatabase

        return PostgresDatabase(address)
    if sqlite_path(address) is not None:
        return SqliteDatabase(address)
    raise LedgerAddressError(
        f"{address.partition('//')[0][:20]!r} is no address of a ledger: write sqlite:clew.db or "
        "postgresql://user@host/database"
    )
