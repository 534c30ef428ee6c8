"""`[retention]`: what goes after its time, and what stays for the accounts."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from clew.cli import app as commands
from clew.stores.ledger import schema
from clew.stores.ledger.connection import executing
from clew.stores.ledger.retention import STEP_ROWS, Retention
from filled import TOML, Filled
from sqlalchemy import func, insert, select, update
from typer.testing import CliRunner

DAY = 86400.0


@pytest_asyncio.fixture
async def shop(tmp_path: Path, ledger_address: str) -> AsyncIterator[Filled]:
    filled = Filled(tmp_path, ledger=ledger_address)
    await filled.service.open()
    await filled.bought("v1", "c1")
    await filled.order("1001", "59.90", "v1")
    await filled.deliver()
    await filled.talk("v1", "hello")
    await filled.service.ledger.db.transact(executing(update(schema.sightings).values(raw="{}")))
    yield filled
    await filled.service.close()


async def counts(shop: Filled) -> dict[str, int]:
    async with shop.service.ledger.db.read() as connection:
        tables = (schema.orders, schema.shares, schema.postbacks, schema.attempts, schema.messages)
        found = {t.name: await connection.scalar(select(func.count()).select_from(t)) for t in tables}
        raw = select(func.count(schema.sightings.c.raw))
        answers = select(func.count(schema.postbacks.c.last_answer))
        return {**found, "raw": await connection.scalar(raw), "answers": await connection.scalar(answers)}


ACCOUNTS = {"orders": 1, "shares": 1, "postbacks": 1}


async def test_each_kind_goes_after_its_time_and_the_accounts_stay(shop: Filled) -> None:
    everything = {**ACCOUNTS, "attempts": 1, "messages": 1, "raw": 1, "answers": 1}
    shop.now += 29 * DAY
    await shop.service.apply_retention()
    assert await counts(shop) == everything
    shop.now += 2 * DAY
    await shop.service.apply_retention()
    assert await counts(shop) == {**everything, "raw": 0}
    shop.now += 150 * DAY
    await shop.service.apply_retention()
    assert await counts(shop) == {**everything, "raw": 0, "attempts": 0, "answers": 0}
    shop.now += 220 * DAY
    await shop.service.apply_retention()
    assert await counts(shop) == {**ACCOUNTS, "raw": 0, "attempts": 0, "answers": 0, "messages": 0}


async def test_numbers_to_be_called_go_with_the_conversations(shop: Filled) -> None:
    books = shop.service.ledger.callbacks
    await shop.callback("v1")
    (early,) = await books.waiting("shop")
    shop.now += 200 * DAY
    await shop.callback("v2")
    shop.now += 199 * DAY
    await shop.service.apply_retention()
    assert await books.count("shop") == 2, "kept as long as conversations"
    # What was done with it later keeps it.
    await books.change("shop", early.id, "reached", agent="bo", now=shop.now)
    shop.now += 202 * DAY
    await shop.service.apply_retention()
    assert await books.count("shop") == 0
    assert await books.get("shop", early.id) is not None
    shop.now += 200 * DAY
    await shop.service.apply_retention()
    assert await books.get("shop", early.id) is None


async def test_one_process_at_a_time_prunes_all_rows_in_steps(shop: Filled) -> None:
    db = shop.service.ledger.db
    row = {"site": "", "event": "fault", "first_at": 0.0, "last_at": 0.0, "count": 1, "details": {}}
    rows = [{**row, "key": str(n)} for n in range(2 * STEP_ROWS + 1)]
    await db.transact(executing(insert(schema.notices), rows))
    first, second = Retention(db), Retention(db)
    assert await first.apply({"notices": 90}, shop.now, pause=0) == {"notices": 2 * STEP_ROWS + 1}
    await db.transact(executing(insert(schema.notices), [{**row, "key": "again"}]))
    assert await second.apply({"notices": 90}, shop.now + 60, pause=0) == {}
    assert await second.apply({"notices": 90}, shop.now + 3700, pause=0) == {"notices": 1}


async def test_deleted_rows_are_an_event(shop: Filled, capsys: pytest.CaptureFixture[str]) -> None:
    shop.now += 31 * DAY
    await shop.service.apply_retention()
    told = [line for line in capsys.readouterr().out.splitlines() if "pruned" in line]
    assert len(told) == 1
    assert "raw=1" in told[0]
    await shop.service.apply_retention()
    assert "pruned" not in capsys.readouterr().out


def test_clew_check_says_what_is_kept_how_long(tmp_path: Path) -> None:
    config = tmp_path / "clew.toml"
    config.write_text(TOML.replace("[[sites]]", "[retention]\nraw = 7\n[[sites]]", 1), encoding="utf-8")
    told = CliRunner().invoke(commands, ["check", "--config", str(config)])
    assert told.exit_code == 0
    assert "kept: raw 7 days," in told.output
    assert "attempts 180 days, conversations 400 days" in told.output
