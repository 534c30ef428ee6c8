"""PostgreSQL on a disk that is full for a while."""

import asyncio
import os
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from decimal import Decimal
from pathlib import Path

import pytest
import pytest_asyncio
from clew.orders.model import OrderSeen
from clew.stores.ledger.errors import LedgerError
from database_servers import Postgres
from filled import Filled

MEGABYTE = b"x" * 2**20


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A file system of its own."""
    # Not below pytest's folder, which is for this user alone.
    disk = Path(tempfile.mkdtemp(prefix="clew-disk-"))
    command = ["mount", "-t", "tmpfs", "-o", "size=96m,mode=0755", "tmpfs", str(disk)]
    if os.getuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("a file system cannot be mounted here")
    try:
        disk.chmod(0o755)
        yield disk
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)
        disk.rmdir()


@pytest.fixture
def server(small_disk: Path) -> Iterator[Postgres]:
    with Postgres(within=small_disk, made_with=("--wal-segsize=1",)) as found:
        yield found


@pytest_asyncio.fixture
async def shop(server: Postgres, tmp_path: Path) -> AsyncIterator[Filled]:
    address = server.url(await asyncio.to_thread(server.database))
    found = Filled(tmp_path, ledger=address, journal=str(tmp_path / "journal"))
    await found.service.start()
    yield found
    await found.service.stop()


def fill(disk: Path) -> Path:
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(MEGABYTE):
            pass
    return ballast


async def test_a_full_disk_loses_no_order(shop: Filled, server: Postgres, small_disk: Path) -> None:
    """field D8: what was answered for is kept, what cannot be written is refused or waits in the journal."""
    ballast = await asyncio.to_thread(fill, small_disk)
    kept: list[str] = []
    with pytest.raises(LedgerError):  # noqa: PT012
        # What PostgreSQL has reserved is used up at some time.
        for number in range(5000):
            await shop.order(f"s{number}", "10.00")
            kept.append(f"s{number}")
    safe = asyncio.Event()
    seen = OrderSeen("page-1", Decimal("59.90"), "EUR", "page")
    ordering, site = shop.service.ordering, shop.service.sites["shop"]
    recording = asyncio.create_task(ordering.record_seen(site, seen, "v1", (), safe=safe.set))
    async with asyncio.timeout(60):
        await safe.wait()
    assert shop.service.journal.waiting == 1
    assert await shop.service.ledger_probe.failure()
    ballast.unlink()
    assert server.process is not None
    if not server.process.running:
        # Where not even its log could be written, it has ended, and its administrator starts it again.
        await asyncio.to_thread(server.start)
    async with asyncio.timeout(60):
        await recording
    assert shop.service.journal.waiting == 0
    query = "SELECT order_id FROM orders"
    name = shop.service.settings.ledger.rpartition("/")[2]
    found = {row[0] for row in await asyncio.to_thread(server.execute, query, name)}
    assert found >= {*kept, "page-1"}
    await shop.order("later", "10.00")
