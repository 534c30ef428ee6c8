"""`clew reload`: the running server reloads its settings."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from ..middleware.serve.control import reload_all
from ..settings.reloading import Reloaded
from .check import print_problems
from .terminal import open_console

# Thousands of files that have all changed take some seconds.
WAIT_SECONDS = 60.0
_SHOWN = 10


def reload_command(
    config: Annotated[Path, typer.Option("--config", "-c", metavar="FILE", help="The settings file.")] = Path(
        "clew.toml"
    ),
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object for each server, one a line.")
    ] = False,
) -> None:
    """Reload the settings of the running `clew serve`, without losing a request.

    Exits with 0 when the settings are in use on every worker. With an error anywhere in them nothing changes:
    prints each error with its file and line, and exits with 1.
    """
    console = open_console(soft_wrap=True, highlight=False)
    answers = reload_all(config, WAIT_SECONDS)
    if not answers:
        console.print(
            Text(
                f"no clew serve of this user runs with {config}: start it, or name its settings file with "
                "--config; root finds those of all users"
            )
        )
        raise typer.Exit(1)
    for pid, answer in answers:
        if as_json:
            result = {"usable": False} if answer is None else {"usable": not answer.errors, **asdict(answer)}
            typer.echo(json.dumps({"process": pid, **result}))
        elif answer is None:
            console.print(Text(f"process {pid} reported no result; see its log", "bold red"))
        else:
            print_problems(console, answer.problems)
            console.print(_summary(pid, answer))
    if not all(answer is not None and not answer.errors for _, answer in answers):
        raise typer.Exit(1)


def _summary(pid: int, answer: Reloaded) -> Text:
    if answer.errors:
        text = f"process {pid} keeps its settings, with {_sites(answer.sites)}: correct the errors and reload"
        return Text(text, "bold red")
    parts = [
        f"{len(names)} {what} ({', '.join(names[:_SHOWN])}{', …' if len(names) > _SHOWN else ''})"
        for what, names in asdict(answer.changes).items()
        if names
    ]
    changed = ", ".join(parts) or "no site has changed"
    took = f"in {answer.seconds * 1000:.0f} ms"
    return Text(f"process {pid} serves {_sites(answer.sites)}: {changed}, {took}", "green")


def _sites(count: int) -> str:
    return f"{count} site{'' if count == 1 else 's'}"
