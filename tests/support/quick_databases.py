"""Databases with the ledger's tables for test after test. To make one takes the server 0.4 s of CPU; to empty
one that a test has used takes 0.02 s."""

import asyncio
from typing import Any

import asyncpg
from clew.stores.ledger.engines import database_at
from database_servers import Postgres

MOST_BYTES = 1 << 20
"""Of rows, deleted ones among them, of a database that is used again."""

_SHAPE = """
SELECT md5(string_agg(concat_ws(' ', relname, attname, atttypid, attnotnull), ' ' ORDER BY relname, attnum))
FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid
WHERE relnamespace = 'public'::regnamespace AND attnum > 0
"""
# Plans depend on them.
_STATISTICS = "SELECT count(*) FROM pg_statistic WHERE starelid >= 16384"
_TABLES = """
SELECT pg_class.oid::regclass::text, pg_relation_size(pg_class.oid)
FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' ORDER BY 1
"""
_OTHERS = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
"""
_COUNT_AGAIN = "SELECT setval(seqrelid, seqstart, false) FROM pg_sequence"
_UNKNOWN = "SELECT min(reltuples) FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'"
# As of tables that were never looked at.
_FORGET_SIZES = (
    "UPDATE pg_class SET reltuples = $1, relpages = 0, relallvisible = 0 WHERE oid = ANY($2::regclass[])"
)


async def _shape(connection: asyncpg.Connection) -> list[Any]:
    return [await connection.fetchval(_SHAPE), await connection.fetchval(_STATISTICS)]


class Ledgers:
    """The databases of a server. Each that is lent is as the migration leaves it."""

    def __init__(self, server: Postgres) -> None:
        self.server = server
        self.template = server.database()
        self._free: list[str] = []
        asyncio.run(self._fill())

    async def _fill(self) -> None:
        db = database_at(self.server.url(self.template))
        await db.open()
        await db.close()
        connection = await asyncpg.connect(self.server.url(self.template))
        try:
            tables = await connection.fetch(_TABLES)
            self._kept = [name for name, size in tables if size]
            self._unknown = await connection.fetchval(_UNKNOWN)
            self._as_made = await _shape(connection), await self._rows(connection)
        finally:
            await connection.close()

    async def _rows(self, connection: asyncpg.Connection) -> list[Any]:
        """Of the tables in which the migration writes."""
        return [await connection.fetch(f"TABLE {name}") for name in self._kept]

    def lend(self) -> str:
        """The name of a database that no test uses."""
        return self._free.pop() if self._free else self.server.database(self.template)

    def take_back(self, name: str) -> None:
        """Empty it, for another test, or drop it if it is not as it was."""
        if asyncio.run(self._emptied(name)):
            self._free.append(name)
        else:
            self.server.execute(f"DROP DATABASE {name} WITH (FORCE)")

    async def _emptied(self, name: str) -> bool:
        connection = await asyncpg.connect(self.server.url(name))
        try:
            await connection.execute(_OTHERS)
            tables = await connection.fetch(_TABLES)
            shape, rows = self._as_made
            if sum(size for _, size in tables) > MOST_BYTES or await _shape(connection) != shape:
                return False
            if await self._rows(connection) != rows:
                return False
            used = [name for name, size in tables if size and name not in self._kept]
            # Foreign keys are triggers, which such a session has none of.
            deletions = "".join(f"DELETE FROM {name};" for name in used)
            await connection.execute(f"SET session_replication_role = replica; {deletions} {_COUNT_AGAIN}")
            if used:
                # Without the places of the old rows, which new ones would fill in another order.
                await connection.execute(f"VACUUM (INDEX_CLEANUP ON, TRUNCATE ON) {', '.join(used)}")
                await connection.execute(_FORGET_SIZES, self._unknown, used)
            tables = await connection.fetch(_TABLES)
            return all(name in self._kept or not size for name, size in tables)
        finally:
            await connection.close()
