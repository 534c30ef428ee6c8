"""`clew desk`: the agents."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.markup import escape
from rich.table import Table

from ..desk.times import span
from ..service.clock import time_of
from ..settings.model import Settings
from ..stores.ledger.agents import PASSWORD_LENGTH, Agent, AgentError, Agents
from ..stores.ledger.engines import database_at
from .check import load_or_exit
from .ledger import UNUSABLE, description, require_ledger
from .terminal import open_console, print_line
from .trying import partner_of

app = typer.Typer(
    help="The agents who answer visitors at the desk, and partners' accounts.", no_args_is_help=True
)

Config = Annotated[Path, typer.Option("--config", "-c", metavar="FILE", help="The settings file.")]
DEFAULT_CONFIG = Path("clew.toml")
Name = Annotated[str, typer.Argument(help="The agent's name: letters, digits and . _ - + @")]
Shown = Annotated[str | None, typer.Option("--name", help="The name that visitors see; else none.")]
Stdin = Annotated[bool, typer.Option("--password-stdin", help="Read the password from standard input.")]


@app.command("add-user")
def add_user(
    name: Name,
    config: Config = DEFAULT_CONFIG,
    site: Annotated[str | None, typer.Option(help="The only site that the agent may see; else all.")] = None,
    shown: Shown = None,
    partner: Annotated[
        str | None, typer.Option(help="Instead of an agent: an account for this partner's own pages alone.")
    ] = None,
    password_stdin: Stdin = False,
) -> None:
    """Add an agent, or a partner's account, or bring a removed one back. Asks for a password."""
    settings = load_or_exit(config)
    names = [s.name for s in settings.sites]
    if site is not None and site not in names:
        _fail(f"{config} has no site {site!r}; there are: {', '.join(names)}")
    if partner is not None:
        site, _ = partner_of(settings, partner, site)
    password = _password(password_stdin)
    _work(
        settings,
        lambda agents, now: agents.add(name, password, site=site, now=now, shown=shown, partner=partner),
        make=True,
    )
    where = "all sites" if site is None else f"site {site}"
    print_line(
        f"Added {name}, for {where}." if partner is None else f"Added {name}, for {partner} at {where}."
    )


@app.command("set-name")
def set_name(
    name: Name,
    shown: Annotated[str, typer.Argument(help="The name that visitors see; empty for none.")],
    config: Config = DEFAULT_CONFIG,
) -> None:
    """Set the name under which visitors see an agent; they never see the login."""
    _work(load_or_exit(config), lambda agents, _: agents.rename(name, shown))
    print_line(f"Visitors see {name} as {shown!r}." if shown.strip() else f"Visitors see no name of {name}.")


@app.command("set-password")
def set_password(name: Name, config: Config = DEFAULT_CONFIG, password_stdin: Stdin = False) -> None:
    """Set the password of an agent or account; it is logged out everywhere."""
    settings = load_or_exit(config)
    password = _password(password_stdin)
    _work(settings, lambda agents, _: agents.change_password(name, password))
    print_line(f"{name} has a new password and is logged out everywhere.")


@app.command("remove-user")
def remove_user(name: Name, config: Config = DEFAULT_CONFIG) -> None:
    """Take an agent's access away, at once. What was written under its name stays."""
    _work(load_or_exit(config), lambda agents, _: agents.deactivate(name))
    print_line(f"{name} can no longer log in.")


@app.command("users")
def users(config: Config = DEFAULT_CONFIG) -> None:
    """List the agents, and partners' accounts."""
    found: list[Agent] = []
    times: list[float] = []

    async def read(agents: Agents, now: float) -> None:
        found.extend(await agents.everyone())
        times.append(now)

    _work(load_or_exit(config), read)
    if not found:
        print_line("There are no agents yet: add one with `clew desk add-user NAME`.")
        return
    table = Table("Name", "Shown as", "Site", "Partner", "State", "Last seen", box=None, pad_edge=False)
    for agent in found:
        seen = "never" if agent.seen_at is None else f"{span(times[0] - agent.seen_at)} ago"
        table.add_row(
            agent.name,
            escape(agent.shown or "–"),
            agent.site or "all",
            agent.partner or "–",
            "active" if agent.active else "removed",
            seen,
        )
    open_console().print(table)


def _work(
    settings: Settings, work: Callable[[Agents, float], Awaitable[None]], *, make: bool = False
) -> None:
    """Do `work` on the agents in the ledger, at a time. The ledger is created only with `make`."""
    if not make:
        require_ledger(settings)

    async def run() -> None:
        db = database_at(settings.ledger)
        try:
            await db.open()
            await work(Agents(db), await time_of(db))
        finally:
            await db.close()

    try:
        asyncio.run(run())
    except AgentError as error:
        _fail(str(error))
    except UNUSABLE as error:
        _fail(description(error))


def _password(from_stdin: bool) -> str:
    if from_stdin:
        password = sys.stdin.readline().rstrip("\r\n")
    else:
        password = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
    least, most = PASSWORD_LENGTH
    # Checked before the ledger is opened; `Agents` checks it again for other callers.
    if not least <= len(password) <= most:
        _fail(f"a password has {least} to {most} characters, this one has {len(password)}")
    try:
        password.encode()
    except UnicodeEncodeError:
        _fail("the password is not valid UTF-8")
    return password


def _fail(text: str) -> NoReturn:
    print_line(f"clew desk: {text}", err=True)
    raise typer.Exit(1)
