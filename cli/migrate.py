"""`clew migrate`: builds or upgrades the ledger's tables before a new clew is started."""

import asyncio

from ..stores.ledger.database import Database
from ..stores.ledger.engines import database_at
from .check import load_or_exit
from .ledger import DEFAULT_CONFIG, UNUSABLE, Config, description, fail
from .terminal import print_line


def migrate_command(config: Config = DEFAULT_CONFIG) -> None:
    """Build or upgrade the ledger's tables. `clew serve` does the same when it starts; with this command it
    is done beforehand, for example by another database user."""
    settings = load_or_exit(config)
    try:
        db = database_at(settings.ledger)
        before, after = asyncio.run(_upgraded(db))
    except UNUSABLE as error:
        fail(description(error))
    if before == after:
        print_line(f"the ledger has version {after}: there is nothing to do")
    elif before is None:
        print_line(f"the ledger was built: version {after}")
    else:
        print_line(f"the ledger was upgraded from version {before} to {after}")


async def _upgraded(db: Database) -> tuple[str | None, str]:
    """Its version before and after."""
    try:
        return await db.open()
    finally:
        await db.close()
