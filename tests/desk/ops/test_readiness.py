"""`ready` tries what an order needs, and says why it would not be recorded."""

import asyncio
import os
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import closing
from pathlib import Path

import pytest
from clew.desk.ops.readiness import readiness
from clew.service.service import Service
from clew.settings.model import Settings
from clew.stores.ledger import probe
from clew.stores.ledger.connection import executing
from clew.stores.ledger.probe import Probe
from sqlalchemy import text


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "clew.db"


@pytest.fixture
async def service(file: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Service]:
    monkeypatch.setattr(probe, "FRESH_SECONDS", 0.0)
    monkeypatch.setattr(probe, "TRY_SECONDS", 1.0)
    settings = {
        "secret": "aV3ryl0ngSecretThatNobodyGuesses-42x",
        "store": f"sqlite:{file.with_name('visits.db')}",
        "ledger": f"sqlite:{file}",
        "sites": [{"name": "shop"}],
    }
    found = Service(Settings.model_validate(settings))
    await found.start()
    yield found
    await found.stop()


async def why(service: Service) -> str:
    return (await readiness(service, ["shop"])).why


async def test_a_ledger_that_can_be_written_is_ready(service: Service) -> None:
    """field D7"""
    found = await readiness(service, ["shop"])
    assert (found.ready, found.why) == (True, "")


async def test_a_locked_ledger_is_not_ready_until_it_is_unlocked(service: Service, file: Path) -> None:
    """field D7"""
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert "takes no orders, 0 reports wait in the journal" in await why(service)
        other.execute("ROLLBACK")
    assert await why(service) == ""


async def test_a_ledger_that_was_deleted_or_replaced_is_not_ready(service: Service, file: Path) -> None:
    """field D7"""
    os.rename(file, file.with_suffix(".moved"))
    assert "deleted or replaced" in await why(service)
    os.close(os.open(file, os.O_CREAT))
    assert "deleted or replaced" in await why(service)


async def test_a_ledger_that_only_lets_itself_be_read_is_not_ready(service: Service) -> None:
    """field D7"""
    # The one connection that writes.
    await service.ledger.db.transact(executing(text("PRAGMA query_only = ON")))
    assert "readonly" in await why(service)


FULL = """
import asyncio, resource, sys
from clew.stores.ledger.engines import database_at

async def main() -> None:
    database = database_at(sys.argv[1])
    await database.open()
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
    try:
        await database.probe(1.0)
    except Exception as error:
        print("refused:", error)
    await database.close()

asyncio.run(main())
"""


def test_a_full_disk_is_not_ready(file: Path) -> None:
    """field D7: a disk that takes no more, as a limit on the size of files has it."""
    done = subprocess.run(
        [sys.executable, "-c", FULL, f"sqlite:{file}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "refused:" in done.stdout, done.stderr


async def test_concurrent_callers_share_one_check() -> None:
    """field D7: strangers who ask make no work."""
    tries = 0
    go_on = asyncio.Event()

    async def attempt() -> None:
        nonlocal tries
        tries += 1
        await go_on.wait()

    asked = Probe(attempt, lambda error: None)
    asking = [asyncio.create_task(asked.failure()) for _ in range(100)]
    await asyncio.sleep(0)
    go_on.set()
    assert await asyncio.gather(*asking) == [None] * 100
    assert await asked.failure() is None
    assert tries == 1


async def test_a_try_that_takes_too_long_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """field D7"""
    monkeypatch.setattr(probe, "TRY_SECONDS", 0.01)
    told: list[Exception] = []
    attempt: Callable[[], Awaitable[None]] = asyncio.Event().wait  # type: ignore[assignment]
    assert await Probe(attempt, told.append).failure() == "TimeoutError"
    assert len(told) == 1
