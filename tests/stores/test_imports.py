"""What a start loads only where it is used."""

import subprocess
import sys
from pathlib import Path

from clew.stores.ledger.engines import database_at

OPEN = """
import asyncio, sys
import clew.cli, clew.middleware.serve.server
from clew.stores.ledger.engines import database_at
asyncio.run(database_at(sys.argv[1]).open())
print([m for m in ("alembic", "asyncpg", "redis", "sqlalchemy.orm") if m in sys.modules])
"""


async def test_a_start_on_an_sqlite_ledger_of_this_version_needs_no_migrations_and_no_postgresql(
    tmp_path: Path,
) -> None:
    address = f"sqlite:{tmp_path / 'clew.db'}"
    db = database_at(address)
    await db.open()
    await db.close()
    done = subprocess.run(  # noqa: ASYNC221 - nothing else runs in this loop
        [sys.executable, "-c", OPEN, address], capture_output=True, text=True, timeout=100, check=True
    )
    assert done.stdout.strip() == "[]"
