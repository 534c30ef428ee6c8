"""`clew mitm`: try clew in front of any shop, on this machine."""

import asyncio
import os
import re
import secrets
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Annotated, NoReturn
from urllib.parse import urlsplit

import typer
from rich.markup import escape

from ..service.clock import Clock
from ..settings.model import Settings
from ..stores.ledger.agents import Agents
from ..stores.ledger.engines import database_at
from .check import load_or_exit
from .terminal import open_console, print_line

AGENT = "me"
_AUTHORITY = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[1-9][0-9]{0,4})?")
HOW_TO_INSTALL = """\
There is no mitmdump here. It needs an environment of its own, because it holds other packages back at old
versions. From a checkout of clew:

  python3 -m venv clew-mitm
  clew-mitm/bin/pip install --no-deps -r requirements-mitmproxy.txt
  clew-mitm/bin/pip install --no-deps .
  clew-mitm/bin/clew mitm URL
"""
SETTINGS = """\
# Made by `clew mitm`, and removed at its end.
secret = "{secret}"

[[sites]]
name = "shop"
upstream = "{upstream}"
debug = true

[[sites.rules]]
name = "show"
action = "show"

[sites.order]
page = "*"
"""

console = open_console(soft_wrap=True, highlight=False)


def mitm_command(
    url: Annotated[str, typer.Argument(metavar="URL", help="The shop's address.")],
    config: Annotated[
        Path | None,
        typer.Option(
            "--config", "-c", metavar="FILE", help="A settings file; else one is made for the time."
        ),
    ] = None,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="The port to listen on.")] = 8080,
    keep_host: Annotated[
        bool, typer.Option("--keep-host", help="Send the shop the Host of the browser; change no address.")
    ] = False,
    options: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="An option of mitmproxy; may come several times."),
    ] = None,
) -> None:
    """Try clew out in front of any shop, from this machine: mitmproxy asks the shop, clew edits its pages.

    Without a settings file everything is thrown away at the end.
    """
    mitmdump = find_mitmdump()
    if mitmdump is None:
        _fail(HOW_TO_INSTALL)
    upstream, page = _address(url)
    open_at = f"http://localhost:{port}{page}"
    with tempfile.TemporaryDirectory(prefix="clew-mitm-") as name:
        folder = Path(name)
        if config is None:
            config = folder / "clew.toml"
            config.write_text(SETTINGS.format(secret=secrets.token_urlsafe(48), upstream=upstream))
            settings = load_or_exit(config)
            password = asyncio.run(_add_agent(settings))
            desk = f"http://localhost:{port}{settings.sites[0].prefix}desk/"
            console.print(f"The desk, to answer visitors: {desk}, name {AGENT}, password {escape(password)}")
        else:
            load_or_exit(config)
        command = [
            str(mitmdump),
            *("--mode", f"reverse:{upstream}", "--listen-host", host, "--listen-port", str(port)),
            *("--scripts", str(Path(__file__).parents[1] / "middleware" / "mitm" / "script.py")),
            *_set(
                "keep_host_header=true",
                # Our own pages need no connection to the shop.
                "connection_strategy=lazy",
                "flow_detail=0",
                "termlog_verbosity=warn",
                f"confdir={folder / 'mitmproxy'}",
                f"clew_config={config.resolve()}",
                f"clew_rewrite={'false' if keep_host else 'true'}",
                f"clew_open={open_at}",
                *(options or ()),
            ),
        ]
        status = _run(command)
    raise typer.Exit(status)


def find_mitmdump() -> Path | None:
    """The mitmdump beside this Python, or in the environment that `make test` makes, or None."""
    for place in (Path(sys.executable).parent, Path(sys.prefix) / "mitmproxy" / "bin"):
        if (found := place / "mitmdump").is_file():
            return found
    return None


def _address(url: str) -> tuple[str, str]:
    """The shop's origin, and the page to open: path and query."""
    parts = urlsplit(url if "://" in url else f"https://{url}")
    try:
        authority = parts.netloc if parts.netloc.isascii() else parts.netloc.encode("idna").decode("ascii")
    except UnicodeError:
        authority = ""
    if parts.scheme not in ("http", "https") or not _AUTHORITY.fullmatch(authority):
        _fail(f"{url!r} is no address of a shop; write for example https://shop.example")
    query = f"?{parts.query}" if parts.query else ""
    return f"{parts.scheme}://{authority}", f"{parts.path or '/'}{query}"


async def _add_agent(settings: Settings) -> str:
    password = secrets.token_urlsafe(9)
    db = database_at(settings.ledger)
    try:
        await db.open()
        await Agents(db).add(AGENT, password, site=None, now=Clock().now())
    finally:
        await db.close()
    return password


def _set(*options: str) -> list[str]:
    return [part for option in options for part in ("--set", option)]


def _run(command: Sequence[str]) -> int:
    """Run mitmdump until it ends; it gets the signals that this process gets. Returns its exit status."""
    started: list[subprocess.Popen[bytes]] = []

    def end(number: int, frame: FrameType | None) -> None:
        for process in started:
            process.terminate()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end)
    # Unbuffered, so that each line is shown at once.
    environ = {**os.environ, "PYTHONUNBUFFERED": "1"}
    # A session of its own: the terminal's Ctrl-C comes to us alone, and is passed on once.
    started.append(subprocess.Popen(command, env=environ, start_new_session=True))  # noqa: S603 - no shell
    return started[0].wait()


def _fail(text: str) -> NoReturn:
    print_line(text, err=True)
    raise typer.Exit(1)
