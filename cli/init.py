"""`clew init`: asks five questions and writes a settings file."""

import os
import secrets
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer

from ..service.check import check
from ..settings.platforms import platforms
from .check import print_problems
from .ledger import fail
from .terminal import open_console, print_line

POSTBACK = (
    "https://partner.example/sale?click={click_id}&order={order_id}&amount={amount}&currency={currency}"
    "&via={channel}"
)
_NO_ORDER = """\
# Where your confirmation page shows an order. Without it, and without api_token, no order comes in by itself:
# docs/settings.md#order
# order = { page = "/thank-you*", id = "#order-number", total = "#order-total", currency = "EUR" }
"""
_NO_PAGE = """\
# This shop's confirmation page shows no order that can be read: let your server call POST orders with this
# token, see docs/api.md
"""


def init_command(
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="Where to write.")] = Path(
        "clew.toml"
    ),
    host: Annotated[str | None, typer.Option(help="The shop's host, as visitors write it.")] = None,
    upstream: Annotated[str | None, typer.Option(help="The shop's own address.")] = None,
    platform: Annotated[str | None, typer.Option(help="The shop system, or `none`.")] = None,
    param: Annotated[str | None, typer.Option(help="The partner's parameter of a landing address.")] = None,
    postback: Annotated[
        str | None, typer.Option(help="The address that tells the partner of an order.")
    ] = None,
) -> None:
    """Write a settings file: asks for what no option says. An existing file is never overwritten."""
    if output.exists():
        fail(f"{output} exists already: name another file with --output, or edit that one")
    known = ", ".join(platforms())
    host = host or typer.prompt("The shop's host, as visitors write it", default="shop.example")
    upstream = upstream or typer.prompt("The shop's own address", default="http://127.0.0.1:8000")
    platform = platform or typer.prompt(f"The shop system ({known}), or none", default="none")
    param = param or typer.prompt("The parameter that the partner puts into landing addresses", default="ref")
    postback = postback or typer.prompt("The address that tells the partner of an order", default=POSTBACK)
    text = settings_text(host, upstream, None if platform == "none" else platform, param, postback)
    with tempfile.TemporaryDirectory() as folder:
        draft = Path(folder) / output.name
        draft.write_text(text, encoding="utf-8")
        settings, problems = check(draft, os.environ)
        if settings is None:
            print_problems(open_console(stderr=True, soft_wrap=True, highlight=False), problems)
            fail("nothing was written: run the command again with other answers")
    try:
        # The secret encrypts the visitors' cookies: no other user may read it.
        with os.fdopen(os.open(output, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
    except OSError as error:
        fail(f"{output} cannot be written: {(error.strerror or str(error)).lower()}")
    print_line(f"{output} is written. Now: clew check --config {output}, then clew serve --config {output}")


def settings_text(host: str, upstream: str, platform: str | None, param: str, postback: str) -> str:
    """The file's text."""
    site: Mapping[str, Any] = {
        "name": host.partition(":")[0].removeprefix("*.")[:64],
        "hosts": [host],
        "upstream": upstream,
        **({"platform": platform} if platform else {}),
    }
    partner = {"id": (urlsplit(postback).hostname or "partner")[:64], "param": param, "postback": postback}
    return (
        "# What each key means: docs/settings.md. What is wrong or missing: clew check.\n"
        "# Seals the visitors' cookies. Keep it, and keep it to yourself.\n"
        f"secret = {_toml(secrets.token_urlsafe(32))}\n\n"
        f"[[sites]]\n{_lines(site)}{_orders(platform)}\n"
        f"[[sites.partners]]\n{_lines(partner)}\n"
        "# Invites somebody who hesitates. More facts: docs/rules.md.\n"
        '[[sites.rules]]\nname = "hesitates"\naction = "invite"\nwhen = ["visit.seconds > 120"]\n'
    )


def _orders(platform: str | None) -> str:
    """How orders come in: no line where the preset reads them, else what the shop's server or page needs."""
    preset = platforms().get(platform or "")
    if preset is None:
        return _NO_ORDER
    return "" if preset.order is not None else f"{_NO_PAGE}api_token = {_toml(secrets.token_urlsafe(32))}\n"


def _lines(values: Mapping[str, Any]) -> str:
    return "".join(f"{key} = {_toml(value)}\n" for key, value in values.items())


def _toml(value: str | list[str]) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    escaped = "".join(
        f"\\u{ord(c):04x}" if ord(c) < 32 or ord(c) == 127 else {"\\": "\\\\", '"': '\\"'}.get(c, c)
        for c in value
    )
    return f'"{escaped}"'
