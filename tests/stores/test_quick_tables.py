"""What most tests begin with instead of a migration."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from clew.stores import migrations
from clew.stores.ledger import sqlite
from clew.stores.ledger.engines import database_at
from clew.stores.ledger.upgrade import known_versions, upgrade
from quick_tables import QuickTables


async def opened(file: Path) -> tuple[tuple[str | None, str], list[str]]:
    """The versions that opening the ledger tells, and all that is in the file."""
    db = database_at(f"sqlite:{file}")
    versions = await db.open()
    await db.close()
    with closing(sqlite3.connect(file)) as connection:
        return versions, list(connection.iterdump())


async def test_new_tables_are_those_of_the_migration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "upgrade", upgrade)
    versions, migrated = await opened(tmp_path / "migrated.db")
    assert (versions[0], len(migrated) > 50) == (None, True)
    monkeypatch.setattr(sqlite, "upgrade", QuickTables())
    for name in ("first.db", "second.db"):
        assert await opened(tmp_path / name) == (versions, migrated)
    # One that has tables is the migration's.
    assert await opened(tmp_path / "second.db") == ((versions[1], versions[1]), migrated)


def test_the_known_versions_are_those_of_the_migrations() -> None:
    config = Config()
    config.set_main_option("script_location", migrations.__path__[0])
    scripts = ScriptDirectory.from_config(config)
    assert known_versions() == {script.revision for script in scripts.walk_revisions()}
    assert max(known_versions()) == scripts.get_current_head()
