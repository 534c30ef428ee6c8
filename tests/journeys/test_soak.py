"""A short soak; `make soak` is the long one."""

import asyncio
from pathlib import Path

import pytest
from clew.middleware.proxy.mount import ReverseProxy
from clew.settings.model import Settings
from processes import free_port
from raw_http import serving
from soak.run import crowd, shop_program, soak, soak_mounted
from soak.visitors import Tally

pytestmark = pytest.mark.timeout(300)


async def test_faulty_shops_and_misbehaving_clients_leak_nothing(
    tmp_path: Path,
) -> None:
    """No wrong page, no answer of another's, no connection left open, no memory that only grows."""
    report = await soak(3_000, 50, 1, tmp_path, sites=100)
    assert report.problems == []
    assert set(report.tally.ends) >= {"complete", "broken off", "left"}


async def test_soak_of_the_middleware(tmp_path: Path) -> None:
    """The same for the ASGI mount."""
    report = await soak_mounted(2_000, 50, 1, tmp_path, sites=100)
    assert report.problems == []
    assert set(report.tally.ends) >= {"complete", "broken off", "left"}


async def test_no_task_is_left_behind(tmp_path: Path) -> None:
    port, tally = free_port(), Tally()
    settings = Settings.model_validate(
        {
            "secret": "s" * 40,
            "store": f"sqlite:{tmp_path / 'clew.db'}",
            "ledger": f"sqlite:{tmp_path / 'clew.db'}",
            "upstream": {"connections": 100, "keep_alive": "0.5"},
            "sites": [{"name": "shop", "upstream": f"http://127.0.0.1:{port}"}],
        }
    )
    with shop_program(port):
        async with serving(ReverseProxy(settings), lifespan="on") as own:
            before = asyncio.all_tasks()
            await crowd(own, 500, 20, 1, tally, lambda: None)
            left = asyncio.all_tasks() - before
            if left:
                await asyncio.wait(left, timeout=30)
            assert {task for task in left if not task.done()} == set()
    assert tally.wrong == []
