"""The command line: each command has a file of its own, but for `clew serve`."""

import io
import sys
from pathlib import Path
from typing import Annotated

import typer

from ..events.metrics import VERSION
from ..settings.model import listen_address
from . import (
    commissions,
    coupons,
    explain,
    lost,
    networks,
    partner,
    people,
    postbacks,
    rules,
    settle,
    webhooks,
)
from .backup import backup_command, restore_command
from .check import check_command
from .connect import connect_command
from .export import export_command
from .forget import forget_command
from .init import init_command
from .inspect import inspect_command
from .migrate import migrate_command
from .mitm import mitm_command
from .orders import report_command
from .payout import payout_command
from .reconcile import reconcile_command
from .reload import reload_command
from .schema import schema_command
from .terminal import print_line

app = typer.Typer(
    name="clew",
    help="Credits the order made in the chat to the partner's click, in front of a shop that stays as it is.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.command("inspect")(inspect_command)
app.command("check")(check_command)
app.command("connect")(connect_command)
app.command("mitm")(mitm_command)
app.command("init")(init_command)
app.command("reload")(reload_command)
app.command("migrate")(migrate_command)
app.command("schema")(schema_command)
app.command("report")(report_command)
app.command("payout")(payout_command)
app.command("reconcile")(reconcile_command)
app.command("backup")(backup_command)
app.command("restore")(restore_command)
app.command("export")(export_command)
app.command("forget")(forget_command)
app.add_typer(explain.app, name="explain")
app.add_typer(lost.app, name="orders")
app.add_typer(commissions.app, name="commissions")
app.add_typer(coupons.app, name="coupons")
app.add_typer(rules.app, name="rules")
app.add_typer(people.app, name="desk")
app.add_typer(postbacks.app, name="postbacks")
app.add_typer(networks.app, name="networks")
app.add_typer(webhooks.app, name="webhooks")
app.add_typer(settle.app, name="settle")
app.add_typer(partner.app, name="partner")


def _version(wanted: bool) -> None:
    if wanted:
        print_line(f"clew {VERSION}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


def _listen(value: str | None) -> str | None:
    try:
        return None if value is None else listen_address(value)
    except ValueError as error:
        raise typer.BadParameter(f"{value!r} is {error}") from error


@app.command()
def serve(
    config: Annotated[Path, typer.Option("--config", "-c", help="The settings file.")] = Path("clew.toml"),
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port to listen on.")] = 8080,
    workers: Annotated[int, typer.Option(min=1, help="How many processes.")] = 1,
    ops: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            callback=_listen,
            help="Address for health, ready and metrics; default: the setting `ops`.",
        ),
    ] = None,
    access_log: Annotated[bool, typer.Option("--access-log", help="Log a line for each request.")] = False,
) -> None:
    """Run the reverse proxy in front of the shops of the settings file."""
    # Imported here so that the other commands start without the server.
    from ..middleware.serve.terminal import hold_hang_up

    hold_hang_up()
    from ..middleware.serve.server import serve as run
    from .check import loader_or_exit

    loader, settings = loader_or_exit(config, need_upstream=True)
    run(loader, settings, host, port, workers, ops=ops or settings.ops, access_log=access_log)


def main() -> None:
    """The entry point of the command `clew`."""
    from ..events.logs import configure_logs
    from .ledger import UNUSABLE, description

    # Characters that the terminal's encoding cannot show are escaped instead of raising an error.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    # stdout is the command's result: what happens by the way goes to stderr, as in `clew serve`.
    configure_logs("console", "warning")
    try:
        app()
    except UNUSABLE as error:
        print_line(description(error), err=True)
        raise SystemExit(1) from None


__all__ = ["app", "main"]
