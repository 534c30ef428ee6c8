"""`clew migrate`."""

import asyncio
from pathlib import Path

import pytest
from clew.cli import app
from clew.stores.journal import Journal
from clew.stores.ledger.connection import executing
from clew.stores.ledger.engines import database_at
from clew.stores.ledger.schema import metadata
from filled import SECRET, Filled
from sqlalchemy import select, text
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


@pytest.fixture
async def filled(tmp_path: Path) -> str:
    """The address of a ledger with something in most of its tables."""
    shop = Filled(tmp_path)
    await shop.service.open()
    await shop.bought("v1", "c\udcff1")
    await shop.order("1001", "59.90", "v1", coupon="A\0B")
    await shop.refund("1001", "10.00")
    await shop.order("1002", "1.00")
    await shop.talk("v1", "hello")
    await shop.deliver()
    await shop.service.close()
    return shop.service.settings.ledger


async def content(address: str) -> dict[str, list[tuple[object, ...]]]:
    db = database_at(address)
    await db.open()
    async with db.read() as connection:
        found = {
            table.name: [
                tuple(row) for row in await connection.execute(select(table).order_by(*table.primary_key))
            ]
            for table in metadata.sorted_tables
        }
    await db.close()
    return found


async def test_a_ledger_is_copied_whole_and_goes_on(tmp_path: Path, filled: str, new_ledger: str) -> None:
    config = settings(tmp_path, new_ledger)
    command = ["migrate", "--from", filled, "--config", str(config)]
    done = await asyncio.to_thread(CliRunner().invoke, app, command)
    assert done.exit_code == 0, done.output
    assert "2 orders" in done.output
    assert await content(new_ledger) == await content(filled)
    again = await asyncio.to_thread(CliRunner().invoke, app, command)
    assert (again.exit_code, "into an empty ledger" in again.output) == (1, True)
    shop = Filled(tmp_path, ledger=new_ledger)
    await shop.service.open()
    await shop.order("1003", "5.00")
    await shop.talk("v2", "I am new")
    assert [order.order_id for order in await shop.service.ledger.orders.list("shop")] == [
        "1003",
        "1002",
        "1001",
    ]
    await shop.service.close()


async def test_orders_that_wait_in_the_journal_of_the_old_ledger_are_told_of(
    tmp_path: Path, filled: str, new_ledger: str
) -> None:
    journal = Journal(tmp_path / "clew-orders.journal")
    await journal.open()
    await journal.add({"sighting": {}, "shown": None})
    journal.close()
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    config = settings(folder, new_ledger)
    config.write_text(f'journal = "{folder}/clew-orders.journal"\n{config.read_text()}')
    command = ["migrate", "--from", filled, "--config", str(config)]
    done = await asyncio.to_thread(CliRunner().invoke, app, command)
    assert done.exit_code == 0, done.output
    assert f'write journal = "{journal.path}"' in done.stderr
