"""Settings or a ledger that cannot be used: the shop's app stays up, and the log and `ready` say why."""

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
from clew.middleware.asgi import startup
from clew.middleware.asgi.mount import ClewMiddleware
from clew.service.check import checked
from clew.settings.load import SettingsErrors
from processes import Program, free_port
from raw_http import Client, get, serving
from structlog.testing import capture_logs

SECRET = 'secret = "kT9vQ2xLrW7mZc4JpYb8NfHsD3gAeU6iXoR5tVnB"\n'
SHOP = '[[sites]]\nname = "shop"\n'
PAGE = b"<!doctype html><html><head><title>T</title></head><body>Hello</body></html>"


async def app(scope: Any, receive: Any, send: Any) -> None:
    """A shop without a lifespan."""
    if scope["type"] != "http":
        raise ValueError(scope["type"])
    headers = [(b"content-type", b"text/html"), (b"content-length", b"%d" % len(PAGE))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": PAGE})


def missing(file: Path) -> str:
    return "cannot be read: no such file"


def unreadable(file: Path) -> str:
    file.mkdir()
    return "cannot be read: is a folder"


def a_pipe(file: Path) -> str:
    os.mkfifo(file)
    return "cannot be read: is not a regular file"


def written(text: str, why: str) -> Callable[[Path], str]:
    def write(file: Path) -> str:
        file.write_text(text)
        return why

    return write


BROKEN = [
    pytest.param(missing, id="field G1: no file"),
    pytest.param(unreadable, id="field G1: a folder"),
    pytest.param(a_pipe, id="a named pipe"),
    pytest.param(written("secret = \n", "not valid TOML"), id="field G1: bad TOML"),
    pytest.param(written(SECRET + "sekret = 1\n" + SHOP, "sekret"), id="field G1: an unknown key"),
    pytest.param(written(SECRET, "sites"), id="field G1: no site"),
    pytest.param(written(SHOP, "secret"), id="field G1: no secret"),
    pytest.param(
        written(SECRET + SHOP + "[[sites.rules]]\nname='r'\naction='show'\nwhen=['visit.']\n", "when"),
        id="field G1: a rule that cannot be read",
    ),
    pytest.param(written(SECRET + 'store = "mongodb://x"\n' + SHOP, "store"), id="field G1: no such store"),
]


@pytest.mark.parametrize("spoil", BROKEN)
async def test_the_app_is_served_unchanged_and_ready_says_why(
    tmp_path: Path, spoil: Callable[[Path], str]
) -> None:
    file = tmp_path / "clew.toml"
    why = spoil(file)
    with capture_logs() as logs:
        mount = ClewMiddleware(app, file)
        async with serving(mount, lifespan="auto") as port, Client(port) as client:
            for _ in range(2):
                page = await client.ask(get(b"/", b"Accept: text/html"))
                assert (page.status, page.body) == (200, PAGE)
            ready = await client.ask(get(b"/-/clew/ready"))
            assert (ready.status, json.loads(ready.body)["ready"]) == (503, False)
            assert why in json.loads(ready.body)["why"]
            relayed = await client.ask(get(b"/-/clew/ready", b"X-Forwarded-For: 192.0.2.1"))
            assert why not in relayed.body.decode()
            assert (await client.ask(get(b"/-/clew/health"))).body == b"ok\n"
            # What is under the prefix was never the app's.
            assert (await client.ask(get(b"/-/clew/desk/"))).status == 503
    told = [line for line in logs if line["event"] == "unusable"]
    assert len(told) == 1
    assert why in told[0]["why"]
    assert told[0]["log_level"] == "error"


@pytest.mark.parametrize(
    "secret",
    ["", 'secret = "env:NO_SUCH_VARIABLE"\n', 'secret = "change-me-change-me-change-me-change-me"\n'],
)
async def test_a_secret_that_is_offered_is_not_in_the_log_nor_in_an_answer(
    tmp_path: Path, secret: str
) -> None:
    """Otherwise the visitors' cookies would be encrypted with a secret that is in the log."""
    file = tmp_path / "clew.toml"
    file.write_text(secret + SHOP)
    offered = re.compile(r"[A-Za-z0-9_-]{43}")
    with pytest.raises(SettingsErrors) as caught:
        checked(file, {})
    assert offered.search(str(caught.value))
    with capture_logs() as logs:
        mount = ClewMiddleware(app, file)
        async with serving(mount, lifespan="auto") as port, Client(port) as client:
            ready = await client.ask(get(b"/-/clew/ready"))
    (told,) = [line["why"] for line in logs if line["event"] == "unusable"]
    assert "`clew check` proposes one" in told
    assert not offered.search(told + ready.body.decode())


@pytest.mark.parametrize("spoil", BROKEN)
def test_strict_raises_at_once_where_no_server_runs_yet(tmp_path: Path, spoil: Callable[[Path], str]) -> None:
    file = tmp_path / "clew.toml"
    why = spoil(file)
    with pytest.raises(SettingsErrors, match=r"clew\.toml") as caught:
        ClewMiddleware(app, file, strict=True)
    assert why in str(caught.value)


APP = """
from clew import ClewMiddleware
from starlette.applications import Starlette
from starlette.responses import HTMLResponse
from starlette.routing import Route

app = Starlette(routes=[Route("/", lambda request: HTMLResponse("<html><head></head>Hello</html>"))])
app.add_middleware(ClewMiddleware, settings="clew.toml", **{options})
"""


def command(folder: Path, options: dict[str, Any]) -> list[str]:
    (folder / "shop.py").write_text(APP.replace("{options}", repr(options)))
    return [sys.executable, "-m", "uvicorn", "shop:app", "--port"]


def test_a_starlette_app_under_uvicorn_stays_up(tmp_path: Path) -> None:
    """field G1: Starlette makes its middleware within the running server"""
    port = free_port()
    (tmp_path / "clew.toml").write_text("secret = 1\n")
    with Program([*command(tmp_path, {}), str(port)], cwd=tmp_path) as shop:
        shop.wait_for_port(port)
        assert httpx2.get(f"http://127.0.0.1:{port}/").text == "<html><head></head>Hello</html>"
        assert "clew.toml" in httpx2.get(f"http://127.0.0.1:{port}/-/clew/ready").json()["why"]
        assert len([line for line in shop.lines if "unusable" in line]) == 1


@pytest.mark.parametrize(
    ("text", "options"),
    [
        pytest.param("secret = 1\n", {"strict": True}, id="field G1: by the constructor"),
        pytest.param("strict = true\nsecret = 1\n", {}, id="field G1: by the file that is wrong"),
        pytest.param(
            SECRET + 'ledger = "sqlite:folder"\nstrict = true\n' + SHOP, {}, id="field G1: a ledger's"
        ),
    ],
)
def test_strict_stops_a_starlette_app_under_uvicorn(
    tmp_path: Path, text: str, options: dict[str, Any]
) -> None:
    (tmp_path / "clew.toml").write_text(text)
    (tmp_path / "folder").mkdir()
    done = subprocess.run(
        [*command(tmp_path, options), str(free_port())],
        cwd=tmp_path,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 3
    assert "clew cannot start: " in done.stderr


@pytest.mark.parametrize("lifespan", ["on", "off"])
async def test_a_ledger_that_cannot_be_used_leaves_the_app_alone_until_it_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lifespan: str
) -> None:
    """field G1: with a server's start to fail, and without one"""
    monkeypatch.setattr(startup, "TRY_AGAIN_SECONDS", 0)
    file = tmp_path / "clew.toml"
    file.write_text(SECRET + 'ledger = "sqlite:ledger"\nstore = "sqlite:ledger"\n' + SHOP)
    (tmp_path / "ledger").write_bytes(b"no database" * 100)
    mount = ClewMiddleware(app, file)
    async with serving(mount, lifespan=lifespan) as port, Client(port) as client:
        assert (await client.ask(get(b"/", b"Accept: text/html"))).body == PAGE
        ready = await client.ask(get(b"/-/clew/ready"))
        assert ready.status == 503
        assert "is not a database" in json.loads(ready.body)["why"]
        (tmp_path / "ledger").unlink()
        assert b"/-/clew/l.js" in (await client.ask(get(b"/", b"Accept: text/html"))).body
        assert (await client.ask(get(b"/-/clew/ready"))).status == 200
    if lifespan == "off":
        await mount.service.stop()


async def test_the_shop_does_not_wait_for_a_ledger_that_hangs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """field G1"""
    monkeypatch.setattr(startup, "START_SECONDS", 0.05)
    monkeypatch.setattr(startup, "LATE_SECONDS", 0.05)
    file = tmp_path / "clew.toml"
    file.write_text(SECRET + SHOP)
    mount = ClewMiddleware(app, file)
    monkeypatch.setattr(mount.service, "start", lambda: asyncio.sleep(3600))
    async with asyncio.timeout(30), serving(mount, lifespan="on") as port, Client(port) as client:
        assert (await client.ask(get(b"/", b"Accept: text/html"))).body == PAGE
        assert json.loads((await client.ask(get(b"/-/clew/ready"))).body)["why"] == "starting"
