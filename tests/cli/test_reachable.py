import asyncio
import socket
from pathlib import Path

import pytest
from clew.cli import reachable
from clew.cli.reachable import unreachable
from clew.settings.model import Settings


def settings(*upstreams: str | None) -> Settings:
    sites = [{"name": f"s{n}", "hosts": [f"{n}.example"], "upstream": u} for n, u in enumerate(upstreams)]
    return Settings.model_validate({"secret": "x" * 40, "sites": sites})


def nobody_there() -> str:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{held.getsockname()[1]}"


async def test_each_shop_that_takes_no_connection_is_named_at_each_site_that_has_it(tmp_path: Path) -> None:
    """field G4"""
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    async with server:
        there = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        away, file = nobody_there(), f"unix:{tmp_path}/shop.sock"
        found = await unreachable(settings(there, away, None, away, file))
    assert [(w.path, w.severity) for w in found] == [
        (("sites", 1, "upstream"), "warning"),
        (("sites", 3, "upstream"), "warning"),
        (("sites", 4, "upstream"), "warning"),
    ]
    assert "refused" in found[0].message
    assert "no such file" in found[2].message


async def test_a_silent_shop_is_waited_for_briefly(monkeypatch: pytest.MonkeyPatch) -> None:
    """field G4"""
    monkeypatch.setattr(reachable, "SECONDS", 0.05)

    async def never(*_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(asyncio, "open_connection", never)
    (found,) = await unreachable(settings("http://shop.example"))
    assert "no connection within" in found.message
