"""`clew reload`: the running server reloads its settings."""

import json
import pwd
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from ..middleware.serve.control_client import Response, reload_all
from ..settings.reloading import Reloaded
from .check import print_problems
from .terminal import open_console, print_line

# Thousands of files that have all changed take some seconds.
WAIT_SECONDS = 60.0
_SHOWN = 10


def _user_id(name: str | None) -> int | None:
    try:
        return None if name is None else pwd.getpwnam(name).pw_uid
    except KeyError:
        if name is not None and name.isascii() and name.isdigit():
            return int(name)
        raise typer.BadParameter(f"there is no user {name}") from None


def reload_command(
    config: Annotated[Path, typer.Option("--config", "-c", metavar="FILE", help="The settings file.")] = Path(
        "clew.toml"
    ),
    user: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="For root: ask servers that run as this user, too."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object for each server, one a line.")
    ] = False,
) -> None:
    """Reload the settings of the running `clew serve`, without losing a request.

    Exits with 0 when the settings are in use on every worker. With an error anywhere in them nothing changes:
    prints each error with its file and line, and exits with 1.
    """
    console = open_console(soft_wrap=True, highlight=False)
    responses = reload_all(config, WAIT_SECONDS, _user_id(user))
    for response in responses:
        if not response.trusted and response.peer is not None:
            name = response.peer.user_name
            print_line(
                f"process {response.peer.pid} was not asked, it runs as the user {name}: if that is your "
                f"clew serve, run this command as {name}, or as root with --user {name}",
                err=True,
            )
    asked = [response for response in responses if response.trusted]
    if not asked:
        print_line(
            f"no clew serve of this user runs with {config}: start it, or name its settings file with "
            "--config; for the server of another user, run this command as root with --user",
            err=True,
        )
    for response in asked:
        if as_json:
            typer.echo(json.dumps(_shown(response)))
        elif response.result is None:
            console.print(Text(f"{_process(response)}: {response.failure}; see the server's log", "bold red"))
        else:
            print_problems(console, response.result.problems)
            console.print(_summary(_process(response), response.result))
    if not asked or any(response.result is None or response.result.errors for response in asked):
        raise typer.Exit(1)


def _process(response: Response) -> str:
    return "clew serve" if response.peer is None else f"process {response.peer.pid}"


def _shown(response: Response) -> dict[str, Any]:
    shown: dict[str, Any] = {"process": response.peer.pid if response.peer is not None else None}
    if response.result is None:
        return {**shown, "usable": False, "failure": response.failure}
    return {**shown, "usable": not response.result.errors, **asdict(response.result)}


def _summary(process: str, answer: Reloaded) -> Text:
    if answer.errors:
        text = f"{process} keeps its settings, with {_sites(answer.sites)}: correct the errors and reload"
        return Text(text, "bold red")
    parts = [
        f"{len(names)} {what} ({', '.join(names[:_SHOWN])}{', …' if len(names) > _SHOWN else ''})"
        for what, names in asdict(answer.changes).items()
        if names
    ]
    changed = ", ".join(parts) or "no site has changed"
    took = f"in {answer.seconds * 1000:.0f} ms"
    return Text(f"{process} serves {_sites(answer.sites)}: {changed}, {took}", "green")


def _sites(count: int) -> str:
    return f"{count} site{'' if count == 1 else 's'}"
