"""`clew desk`: the agents."""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, NoReturn, TypeVar

import typer
from rich.markup import escape
from rich.table import Table

from ..desk.times import span
from ..service.clock import time_of
from ..settings.model import Settings
from ..stores.ledger.agents import PASSWORD_LENGTH, Agent, AgentError, Agents
from ..stores.ledger.engines import database_at
from ..stores.ledger.roles import ALL_SITES, ROLES, Role, Roles, role_at
from .auditing import note
from .check import load_or_exit
from .ledger import UNUSABLE, description, require_ledger
from .terminal import open_console, print_line
from .trying import partner_of

app = typer.Typer(
    help="The agents who answer visitors at the desk, and partners' accounts.", no_args_is_help=True
)

T = TypeVar("T")

Config = Annotated[Path, typer.Option("--config", "-c", metavar="FILE", help="The settings file.")]
DEFAULT_CONFIG = Path("clew.toml")
Name = Annotated[str, typer.Argument(help="The agent's name: letters, digits and . _ - + @")]
Shown = Annotated[str | None, typer.Option("--name", help="The name that visitors see; else none.")]
Stdin = Annotated[bool, typer.Option("--password-stdin", help="Read the password from standard input.")]


@app.command("add-user")
def add_user(
    name: Name,
    config: Config = DEFAULT_CONFIG,
    site: Annotated[
        list[str] | None,
        typer.Option(help="A site that the agent may see, several times for several; else all."),
    ] = None,
    role: Annotated[
        str | None,
        typer.Option(help="agent, lead or owner; else owner for the first person, and agent for others."),
    ] = None,
    shown: Shown = None,
    partner: Annotated[
        str | None, typer.Option(help="Instead of an agent: an account for this partner's own pages alone.")
    ] = None,
    password_stdin: Stdin = False,
) -> None:
    """Add an agent, or a partner's account, or bring a removed one back. Asks for a password."""
    settings = load_or_exit(config)
    chosen, sites = None if role is None else role_of(role), chosen_sites(settings, config, site)
    at: str | None = None
    if partner is not None:
        if chosen is not None or len(sites) > 1:
            fail("an account of a partner has no role, and one site")
        at, _ = partner_of(settings, partner, sites[0] if sites else None)
    password = _password(password_stdin)

    async def work(agents: Agents, now: float) -> Roles:
        where = [] if partner is not None else sites
        return await agents.add(
            name, password, site=at, sites=where, now=now, shown=shown, partner=partner, role=chosen
        )

    def given(roles: Roles) -> Mapping[str, str]:
        if partner is not None:
            return {"partner": partner}
        return {"role": next(iter(roles.values())), "sites": ", ".join(sites) or "all"}

    roles = _work(settings, work, "person.added", name, make=True, told=given)
    if partner is not None:
        print_line(f"Added {name}, for {partner} at {where_text([at or ALL_SITES])}.")
    else:
        print_line(f"Added {name}, {next(iter(roles.values()))}, for {where_text(roles)}.")


@app.command("set-role")
def setrole_of(
    name: Name,
    role: Annotated[str, typer.Argument(help="agent, lead or owner; none to take it away.")],
    config: Config = DEFAULT_CONFIG,
    site: Annotated[
        list[str] | None,
        typer.Option(help="Where, several times for several sites; else the role for all sites."),
    ] = None,
) -> None:
    """Change what an agent may do, at all sites or at some. It holds for open sessions at once."""
    settings = load_or_exit(config)
    chosen = None if role == "none" else role_of(role)
    places = chosen_sites(settings, config, site) or [ALL_SITES]

    def change(before: Roles) -> Roles:
        kept = {place: one for place, one in before.items() if place not in places}
        return kept if chosen is None else {**kept, **dict.fromkeys(places, chosen)}

    done = ("person.role", name)
    _, after = _work(settings, lambda agents, _: agents.set_roles(name, change), *done, role=role)
    print_line(f"{name} is {_described(after)}.")


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
    _work(settings, lambda agents, _: agents.change_password(name, password), "person.password", name)
    print_line(f"{name} has a new password and is logged out everywhere.")


@app.command("remove-user")
def remove_user(name: Name, config: Config = DEFAULT_CONFIG) -> None:
    """Take an agent's access away, at once. What was written under its name stays."""
    _work(load_or_exit(config), lambda agents, _: agents.deactivate(name), "person.removed", name)
    print_line(f"{name} can no longer log in.")


@app.command("users")
def users(
    config: Config = DEFAULT_CONFIG,
    site: Annotated[str | None, typer.Option(help="Only accounts that may see this site.")] = None,
    role: Annotated[str | None, typer.Option(help="Only those with this role: agent, lead or owner.")] = None,
) -> None:
    """List the agents with their roles, and partners' accounts."""
    settings = load_or_exit(config)
    chosen_sites(settings, config, [site] if site is not None else None)
    chosen = None if role is None else role_of(role)

    async def read(agents: Agents, now: float) -> tuple[tuple[Agent, ...], float]:
        return await agents.everyone(), now

    found, now = _work(settings, read)
    if not found:
        print_line("There are no agents yet: add one with `clew desk add-user NAME`.")
        return
    table = Table("Name", "Shown as", "Role", "Partner", "State", "Last seen", box=None, pad_edge=False)
    for agent in found:
        if not _is_meant(agent, site, chosen):
            continue
        seen = "never" if agent.seen_at is None else f"{span(now - agent.seen_at)} ago"
        table.add_row(
            agent.name,
            escape(agent.shown or "–"),
            _described(agent.roles)
            if agent.partner is None
            else where_text([agent.partner_site or ALL_SITES]),
            agent.partner or "–",
            "active" if agent.active else "removed",
            seen,
        )
    open_console().print(table)


def _is_meant(agent: Agent, site: str | None, role: Role | None) -> bool:
    sites = [agent.partner_site] if agent.partner is not None else list(agent.roles)
    return (site is None or ALL_SITES in sites or site in sites) and (
        role is None or role in (agent.roles.values() if site is None else (role_at(agent.roles, site),))
    )


def role_of(text: str) -> Role:
    """The role that an option names; else exit with 1."""
    found = next((role for role in ROLES if text == role), None)
    return found or fail(f"{text!r} is no role: agent, lead or owner")


def chosen_sites(settings: Settings, config: Path, chosen: list[str] | None) -> list[str]:
    """The sites that an option names, each once; exit with 1 for an unknown one."""
    names = [site.name for site in settings.sites]
    for one in chosen or ():
        if one not in names:
            fail(f"{config} has no site {one!r}; there are: {', '.join(names)}")
    return list(dict.fromkeys(chosen or ()))


def where_text(sites: Iterable[str]) -> str:
    """Such as “all sites” or “site shop”."""
    names = sorted(sites)
    if ALL_SITES in names:
        return "all sites"
    return f"{'site' if len(names) == 1 else 'sites'} {', '.join(names)}"


def _described(roles: Roles) -> str:
    """Such as “owner of all sites”, or “lead: shop; agent: other”."""
    by_role = {role: sorted(s for s, one in roles.items() if one == role) for role in reversed(ROLES)}
    return "; ".join(
        f"{role}: {', '.join(site or 'all sites' for site in sites)}"
        for role, sites in by_role.items()
        if sites
    )


def _work(
    settings: Settings,
    work: Callable[[Agents, float], Awaitable[T]],
    action: str = "",
    name: str = "",
    *,
    make: bool = False,
    told: Callable[[T], Mapping[str, str]] = lambda done: {},
    **details: str,
) -> T:
    """Do `work` on the agents in the ledger, at a time, and write it into the audit trail as `action` on
    `name`, with `details` and what `told` says of its result. The ledger is created only with `make`."""
    if not make:
        require_ledger(settings)

    async def run() -> T:
        db = database_at(settings.ledger)
        try:
            await db.open()
            done = await work(Agents(db), await time_of(db))
            if action:
                await note(db, action, name, **details, **told(done))
            return done
        finally:
            await db.close()

    try:
        return asyncio.run(run())
    except AgentError as error:
        fail(str(error))
    except UNUSABLE as error:
        fail(description(error))


def _password(from_stdin: bool) -> str:
    if from_stdin:
        password = sys.stdin.readline().rstrip("\r\n")
    else:
        password = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
    least, most = PASSWORD_LENGTH
    # Checked before the ledger is opened; `Agents` checks it again for other callers.
    if not least <= len(password) <= most:
        fail(f"a password has {least} to {most} characters, this one has {len(password)}")
    try:
        password.encode()
    except UnicodeEncodeError:
        fail("the password is not valid UTF-8")
    return password


def fail(text: str) -> NoReturn:
    """Print what is wrong, and exit with 1."""
    print_line(f"clew desk: {text}", err=True)
    raise typer.Exit(1)
