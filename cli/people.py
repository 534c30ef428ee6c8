"""`clew desk`: invitations, new passwords, second factors, sessions, and the audit trail."""

import csv
import json
import sys
from typing import Annotated, Literal
from urllib.parse import urlsplit

import typer
from rich.table import Table

from ..desk.times import remaining, span
from ..referral.masking import cells
from ..service.clock import time_of
from ..service.partner_links import desk_address
from ..settings.model import Settings
from ..stores.ledger.agents import AgentError, Agents
from ..stores.ledger.audit import PROGRAM, Audit, Line, WantedLines
from ..stores.ledger.database import Database
from ..stores.ledger.desk_links import DeskLinks
from ..stores.ledger.export_rows import timestamp
from ..stores.ledger.roles import ALL_SITES
from ..stores.ledger.second_factor import SecondFactors
from .auditing import by, note
from .check import load_or_exit
from .desk import Config, Name, chosen_sites, fail, role_of, where_text
from .desk import app as app
from .ledger import DEFAULT_CONFIG, day, with_ledger
from .terminal import open_console, print_line

STEP = 500
Url = Annotated[str | None, typer.Option(help="Scheme and host of the desk: https://desk.example")]


def _address(settings: Settings, site: str | None, below: str, url: str | None) -> str:
    if url is not None and (
        urlsplit(url).scheme not in ("http", "https") or urlsplit(url).path not in ("", "/")
    ):
        raise typer.BadParameter(f"{url!r} is no scheme and host; write for example https://desk.example")
    try:
        return desk_address(settings, site or settings.sites[0].name, below, url)
    except ValueError as error:
        fail(f"{error}: --url https://desk.example")


@app.command("invite")
def invite(
    role: Annotated[str, typer.Option(help="agent, lead or owner.")],
    config: Config = DEFAULT_CONFIG,
    site: Annotated[
        list[str] | None, typer.Option(help="A site, several times for several; else all sites.")
    ] = None,
    for_whom: Annotated[str, typer.Option("--note", help="For whom it is, for the list of links.")] = "",
    url: Url = None,
) -> None:
    """Print a link by which somebody makes an account, once and within 7 days."""
    settings = load_or_exit(config)
    given, sites = role_of(role), chosen_sites(settings, config, site)
    address = _address(settings, sites[0] if sites else None, "join?key=", url)

    async def work(db: Database) -> str:
        now, places = await time_of(db), sites or [ALL_SITES]
        token = await DeskLinks(db).invite(given, places, now, by=by(), note=for_whom)
        only = places[0] if len(places) == 1 else PROGRAM
        await note(db, "invitation.made", given, only, sites=", ".join(one or "all" for one in places))
        return token

    print_line(address + with_ledger(config, work))
    print_line(f"Good once, for 7 days, for {where_text(sites or [ALL_SITES])}.", err=True)


@app.command("links")
def links(
    config: Config = DEFAULT_CONFIG,
    revoke: Annotated[str | None, typer.Option(metavar="ID", help="End the link with this id.")] = None,
) -> None:
    """List the open invitations and links for new passwords, or revoke one."""
    load_or_exit(config)

    async def work(db: Database) -> Table | str:
        now = await time_of(db)
        if revoke is not None:
            if not await DeskLinks(db).revoke(revoke, now):
                return ""
            await note(db, "invitation.revoked", revoke)
            return f"The link {revoke} is revoked."
        table = Table("Id", "For", "Note", "By", "Ends in", box=None, pad_edge=False)
        for one in await DeskLinks(db).open(now):
            what = f"{one.role}: {where_text(one.sites)}" if one.role else f"password of {one.agent}"
            table.add_row(one.id, what, one.note or "–", one.by, remaining(one.expires_at - now))
        return table

    found = with_ledger(config, work)
    if isinstance(found, Table):
        open_console().print(found)
    elif not found:
        fail(f"there is no open link {revoke!r}: `clew desk links` lists them")
    else:
        print_line(found)


@app.command("reset-password")
def reset_password(name: Name, config: Config = DEFAULT_CONFIG, url: Url = None) -> None:
    """Print a link by which an agent sets a new password, once and within 24 hours."""
    settings = load_or_exit(config)

    async def work(db: Database) -> tuple[str, str | None]:
        person = await Agents(db).find(name)
        token = await DeskLinks(db).reset(name, await time_of(db), by=by())
        await note(db, "person.password_link", name)
        sites = [one for one in person.roles if one] if person is not None else []
        return token, next(iter(sites), None)

    try:
        token, site = with_ledger(config, work)
    except AgentError as error:
        fail(str(error))
    print_line(_address(settings, site, f"reset?key={token}", url))


@app.command("reset-second-factor")
def reset_second_factor(name: Name, config: Config = DEFAULT_CONFIG) -> None:
    """Take an agent's second factor away and end its sessions: for somebody whose telephone is lost."""
    load_or_exit(config)

    async def work(db: Database) -> bool:
        gone = await SecondFactors(db).reset(name)
        if gone:
            await note(db, "person.factor_reset", name)
        return gone

    if not with_ledger(config, work):
        fail(f"{name} has no second factor, or there is no such agent")
    print_line(f"{name} logs in with the password alone, and is logged out everywhere.")


@app.command("sessions")
def sessions(
    name: Name,
    config: Config = DEFAULT_CONFIG,
    end: Annotated[str | None, typer.Option(metavar="ID", help="End this session, or all.")] = None,
) -> None:
    """List an agent's open sessions, or end one or all."""
    load_or_exit(config)

    async def work(db: Database) -> Table | int:
        agents, now = Agents(db), await time_of(db)
        if end is not None:
            count = await agents.end_sessions(name, None if end == "all" else end)
            await note(db, "person.sessions", name, session=end)
            return count
        table = Table("Id", "Device", "Network", "At", "Last seen", box=None, pad_edge=False)
        for one in await agents.sessions(name, now):
            seen = f"{span(now - one.seen_at)} ago"
            table.add_row(one.id, one.device or "–", one.network or "–", one.host, seen)
        return table

    found = with_ledger(config, work)
    if isinstance(found, Table):
        open_console().print(found)
    else:
        print_line(f"Ended {found} session{'' if found == 1 else 's'} of {name}.")


@app.command("audit")
def audit(
    config: Config = DEFAULT_CONFIG,
    site: Annotated[str | None, typer.Option(help="Only lines of this site.")] = None,
    who: Annotated[str | None, typer.Option(help="Only lines of this person.")] = None,
    action: Annotated[str | None, typer.Option(help="Only this action, such as login.")] = None,
    since: Annotated[str | None, typer.Option(help="From this day or time on, such as 2026-11-01.")] = None,
    output: Annotated[Literal["csv", "ndjson"], typer.Option("--format", help="csv or ndjson.")] = "csv",
) -> None:
    """Print the audit trail, newest first."""
    settings = load_or_exit(config)
    sites = chosen_sites(settings, config, None if site is None else [site])
    names = sites or [PROGRAM, *(one.name for one in settings.sites)]
    wanted = WantedLines(names, who, action, day(since))

    async def work(db: Database) -> None:
        before: int | None = None
        while True:
            found = await Audit(db).page(wanted, STEP, before)
            for line in found:
                _write(line, output)
            if len(found) < STEP:
                return
            before = found[-1].id

    if output == "csv":
        csv.writer(sys.stdout).writerow(
            cells(("at", "site", "who", "action", "subject", "network", "details"))
        )
    with_ledger(config, work)


def _write(line: Line, output: str) -> None:
    values = (timestamp(line.at), line.site, line.who, line.action, line.subject, line.network)
    if output == "csv":
        details = json.dumps(line.details, ensure_ascii=False) if line.details else ""
        csv.writer(sys.stdout).writerow(cells((*values, details)))
        return
    names = ("at", "site", "who", "action", "subject", "network")
    sys.stdout.write(json.dumps({**dict(zip(names, values, strict=True)), "details": line.details}) + "\n")
