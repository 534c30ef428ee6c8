"""Who may read the stores' files."""

import asyncio
import os
import stat
from pathlib import Path

from clew.referral.visitor import Page, Viewed
from clew.stores.ledger.engines import database_at
from clew.stores.visits_sqlite import SqliteVisits


async def test_the_stores_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    """field E16: with the files that SQLite puts beside them, under the usual mask"""
    mask = os.umask(0o022)
    try:
        db = database_at(f"sqlite:{tmp_path / 'ledger.db'}")
        await db.open()
        visits = SqliteVisits(tmp_path / "visits.db", asyncio.Lock())
        await visits.open()
        await visits.change("shop", "v" * 26, [Viewed(Page("view", 1.0, "/", ""), "en")], 1.0)
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()}  # noqa: ASYNC240
        assert {"ledger.db", "visits.db", "visits.db-wal", "visits.db-shm"} <= set(modes)
        assert set(modes.values()) == {0o600}
        await visits.close()
        await db.close()
    finally:
        os.umask(mask)


async def test_a_file_that_is_there_keeps_its_mode(tmp_path: Path) -> None:
    file = tmp_path / "ledger.db"
    file.touch(0o600)
    file.chmod(0o640)
    db = database_at(f"sqlite:{file}")
    await db.open()
    await db.close()
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
