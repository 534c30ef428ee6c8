"""`clew migrate`."""

import asyncio
from pathlib import Path

from clew.cli import app
from clew.stores.ledger.connection import executing
from clew.stores.ledger.engines import database_at
from filled import SECRET
from sqlalchemy import text
from typer.testing import CliRunner


def settings(folder: Path, ledger: str) -> Path:
    file = folder / "clew.toml"
    file.write_text(f'secret = "{SECRET}"\nledger = "{ledger}"\n[[sites]]\nname = "shop"\n')
    return file


def test_it_builds_the_tables_once(tmp_path: Path, new_ledger: str) -> None:
    command = ["migrate", "--config", str(settings(tmp_path, new_ledger))]
    first = CliRunner().invoke(app, command)
    assert (first.exit_code, first.output) == (0, "the ledger was built: version 0001\n")
    second = CliRunner().invoke(app, command)
    assert (second.exit_code, second.output) == (0, "the ledger has version 0001: there is nothing to do\n")


def test_a_ledger_of_a_later_version_is_left_alone(tmp_path: Path, ledger_address: str) -> None:
    async def later() -> None:
        db = database_at(ledger_address)
        await db.open()
        await db.transact(executing(text("UPDATE alembic_version SET version_num = '9999'")))
        await db.close()

    asyncio.run(later())
    done = CliRunner().invoke(app, ["migrate", "--config", str(settings(tmp_path, ledger_address))])
    assert done.exit_code == 1
    assert "its version is '9999'" in done.output
    assert "Upgrade clew" in done.output
