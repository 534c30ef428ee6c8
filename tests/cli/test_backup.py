"""`clew backup` and `clew restore`: a copy made while clew runs; put in place, nothing is lost."""

import asyncio
import json
import os
import stat
import sys
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path

import pytest
import pytest_asyncio
from clew.chat.model import Extra
from clew.cli import app as commands
from clew.cli import backup
from clew.stores.ledger.files import PART, File
from filled import TOML, Filled
from typer.testing import CliRunner, Result


@pytest_asyncio.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Filled]:
    files = f'ledger = "sqlite:{tmp_path / "clew.db"}"\nstore = "sqlite:{tmp_path / "clew-visits.db"}"\n'
    (tmp_path / "clew.toml").write_text(files + TOML, encoding="utf-8")
    filled = Filled(tmp_path)
    await filled.service.open()
    await filled.bought("v1", "c1")
    await filled.order("1001", "59.90", "v1")
    await filled.order("1002", "0.10")
    await filled.deliver()
    await filled.refund("1001", "9.90")
    yield filled
    await filled.service.close()


async def run(folder: Path, *arguments: str) -> Result:
    line = [*arguments, "--config", str(folder / "clew.toml")]
    return await asyncio.to_thread(CliRunner().invoke, commands, line)


def names(folder: Path, start: str) -> list[str]:
    return sorted(name for name in os.listdir(folder) if name.startswith(start))


async def test_a_copy_is_made_while_clew_writes_and_only_its_owner_reads_it(
    shop: Filled, tmp_path: Path
) -> None:
    async def orders() -> None:
        for number in range(2000, 2040):
            await shop.order(str(number), "1.00")

    done, _ = await asyncio.gather(run(tmp_path, "backup", str(tmp_path / "copy")), orders())
    assert done.exit_code == 0, done.output
    assert names(tmp_path, "copy") == ["copy", "copy.visits"]
    for name in names(tmp_path, "copy"):
        assert stat.S_IMODE(os.stat(tmp_path / name).st_mode) == 0o600
    again = await run(tmp_path, "backup", str(tmp_path / "copy"))
    assert (again.exit_code, "--force" in again.stderr) == (1, True)


async def test_a_check_prints_the_content_of_a_copy(shop: Filled, tmp_path: Path) -> None:
    assert (await run(tmp_path, "backup", str(tmp_path / "copy"))).exit_code == 0
    checked = await run(tmp_path, "restore", "--check", str(tmp_path / "copy"), "--json")
    found = json.loads(checked.stdout)
    assert found["totals"] == {"EUR": "50.10"}, "59.90 less the refund of 9.90, and 0.10"
    assert found["postbacks"] == {"delivered": 1, "due": 1}
    assert (found["rows"]["orders"], found["visitors"], found["placed"]) == (2, 1, {})
    assert datetime.fromisoformat(found["newest"]).tzinfo is not None
    assert found["newest"].endswith("Z")


async def test_a_damaged_copy_is_refused(shop: Filled, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    assert (await run(tmp_path, "backup", str(copy))).exit_code == 0
    content = bytearray(copy.read_bytes())
    content[4096 * 4 : 4096 * 6] = b"\xff" * 8192
    copy.write_bytes(content)
    checked = await run(tmp_path, "restore", "--check", str(copy))
    assert checked.exit_code == 1
    assert "damaged" in checked.stderr or "cannot be read" in checked.stderr
    foreign = tmp_path / "foreign"
    foreign.write_text("no database", encoding="utf-8")
    assert (await run(tmp_path, "restore", "--check", str(foreign))).exit_code == 1


async def test_a_ledger_in_use_is_not_replaced(shop: Filled, tmp_path: Path) -> None:
    assert (await run(tmp_path, "backup", str(tmp_path / "copy"))).exit_code == 0
    # In another process: locks of the same one do not stand in its way.
    before = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "clew", "restore", str(tmp_path / "copy"), "--force"),
        *("--config", str(tmp_path / "clew.toml")),
        stderr=asyncio.subprocess.PIPE,
    )
    _, told = await before.communicate()
    assert before.returncode == 1
    assert b"in use" in told
    await shop.order("1003", "1.00")


async def test_a_copy_takes_the_place_only_by_force_and_the_old_files_are_kept(
    shop: Filled, tmp_path: Path
) -> None:
    assert (await run(tmp_path, "backup", str(tmp_path / "copy"))).exit_code == 0
    await shop.order("1003", "1.00")
    await shop.service.close()
    refused = await run(tmp_path, "restore", str(tmp_path / "copy"))
    assert (refused.exit_code, "--force" in refused.stderr) == (1, True)
    done = await run(tmp_path, "restore", str(tmp_path / "copy"), "--force", "--json")
    assert done.exit_code == 0, done.output
    placed = json.loads(done.stdout)["placed"]
    old = Path(placed[str(tmp_path / "clew.db")]).name
    checked = await run(tmp_path, "restore", "--check", str(tmp_path / old), "--json")
    assert json.loads(checked.stdout)["rows"]["orders"] == 3
    again = Filled(tmp_path)
    await again.service.open()
    assert await again.service.ledger.orders.get("shop", "1001") is not None
    assert await again.service.ledger.orders.get("shop", "1003") is None
    assert await again.service.visits.get("shop", "v1") is not None
    await again.service.close()


async def test_files_of_conversations_are_in_the_copy_and_come_back(shop: Filled, tmp_path: Path) -> None:
    talk = await shop.talk("v1", "hello")
    file, data = File("f" * 22, "note.txt", "text/plain", 600_000), bytes(600_000)
    books = shop.service.ledger.files
    await books.begin("shop", file, shop.now, room=10**9, conversation=talk, most=9)
    for number, at in enumerate(range(0, len(data), PART)):
        await books.add_part(file.id, number, data[at : at + PART])
    await shop.service.ledger.conversations.add_agent_message(
        "shop", talk, "note.txt", agent="bo", client_id=None, now=shop.now, extra=Extra("file", file.data)
    )
    assert (await run(tmp_path, "backup", str(tmp_path / "copy"))).exit_code == 0
    checked = await run(tmp_path, "restore", "--check", str(tmp_path / "copy"), "--json")
    assert json.loads(checked.stdout)["rows"]["files"] == 1
    await books.drop(file.id)
    await shop.service.close()
    done = await run(tmp_path, "restore", str(tmp_path / "copy"), "--force")
    assert done.exit_code == 0, done.output
    again = Filled(tmp_path)
    await again.service.open()
    assert await again.service.ledger.files.find("shop", file.id) == (file, talk)
    assert b"".join([part async for part in again.service.ledger.files.parts(file.id)]) == data
    await again.service.close()


async def test_for_postgresql_the_command_names_its_own_tools(
    shop: Filled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = shop.service.settings.model_copy(update={"ledger": "postgresql://localhost/clew"})
    monkeypatch.setattr(backup, "load_or_exit", lambda _config: settings)
    told = await run(tmp_path, "backup", str(tmp_path / "copy"))
    assert told.exit_code == 1
    assert "pg_dump" in told.stderr
