"""`clew webhooks`: the shop's own endpoints for events: how they stand, a test, and sending again."""

import asyncio
import json
from dataclasses import asdict
from typing import Annotated, Any

import typer

from ..postbacks.client import Client, Progress
from ..postbacks.masking import masked_address
from ..postbacks.outgoing import KINDS, event_call, trial_event
from ..postbacks.verdict import Answered, NotSent
from ..service.clock import Clock, time_of
from ..settings.model import EventEndpoint, Settings
from ..stores.ledger.database import Database
from ..stores.ledger.endpoints import EndpointRow, Endpoints
from ..stores.ledger.exports import Exports, Wanted
from .check import load_or_exit
from .ledger import DEFAULT_CONFIG, AsJson, Config, day, fail, moment, with_ledger
from .terminal import print_line

app = typer.Typer(
    help="The shop's own endpoints for events: list them, try one, send events again.", no_args_is_help=True
)
Name = Annotated[str, typer.Argument(metavar="NAME", help="The endpoint's `name` in the settings.")]
SiteName = Annotated[str | None, typer.Option(help="Its site, if several have an endpoint of this name.")]


@app.command("list")
def list_command(config: Config = DEFAULT_CONFIG, as_json: AsJson = False) -> None:
    """Show each endpoint, and whether it takes its events. Times are UTC."""
    settings = load_or_exit(config)

    async def work(db: Database) -> tuple[EndpointRow, ...]:
        return await Endpoints(db).list()

    rows = {(row.site, row.name): row for row in with_ledger(config, work)}
    configured = [(site.name, one) for site in settings.sites for one in site.endpoints]
    for site, one in configured:
        row = rows.get((site, one.name))
        if as_json:
            known: dict[str, Any] = {} if row is None else asdict(row)
            shown = {"site": site, "name": one.name, "url": masked_address(one.url), "events": one.events}
            typer.echo(json.dumps(known | shown))
        else:
            print_line(f"{site}/{one.name}  {masked_address(one.url)}  {_how(row)}")
    if not configured and not as_json:
        print_line("There are no endpoints: write [[sites.endpoints]], see docs/webhooks.md.")


def _how(row: EndpointRow | None) -> str:
    if row is None:
        return "nothing sent yet"
    if row.disabled_at is not None:
        return f"disabled since {moment(row.disabled_at)}: {row.why}"
    if row.failing_since is not None:
        return f"fails since {moment(row.failing_since)} ({row.attempts} tries): {row.last_answer}"
    return "nothing sent yet" if row.sent_at is None else f"last event {moment(row.sent_at)}"


@app.command("test")
def trial_command(name: Name, config: Config = DEFAULT_CONFIG, site: SiteName = None) -> None:
    """Send the event webhook.test now, and show the answer. Nothing else changes."""
    of, endpoint = _endpoint(load_or_exit(config), name, site)
    call = event_call(endpoint, trial_event(of, now := Clock().now()), now)

    async def sent() -> object:
        async with Client(20.0, 1) as client:
            return await client.make(call, _nothing, Progress())

    result = asyncio.run(sent())
    if isinstance(result, Answered):
        print_line(f"{call.masked}: {result.status} {result.body.decode('utf-8', 'replace')[:300]}")
        if 200 <= result.status < 300:
            return
    else:
        reason = result.reason if isinstance(result, NotSent) else "no response"
        print_line(f"{call.masked}: {reason}", err=True)
    raise typer.Exit(1)


@app.command("resend")
def resend_command(
    name: Name,
    since: Annotated[
        str | None,
        typer.Option(metavar="DATE", help="Send again what was written since then: 2026-11-26, UTC."),
    ] = None,
    config: Config = DEFAULT_CONFIG,
    site: SiteName = None,
) -> None:
    """Send what waits at once, also to an endpoint that was disabled; with --since what was sent, too.

    Orders, credits and postbacks are sent as they stand now, each with a new id if it has changed.
    """
    of, endpoint = _endpoint(load_or_exit(config), name, site)
    at = day(since)

    async def work(db: Database) -> bool:
        cursors = None
        if at is not None:
            exports = Exports(db)
            last = min(at, await time_of(db))
            wanted = Wanted(None, last, last)
            cursors = {kind: (await exports.page(kind, wanted, None, 1)).cursor for kind in KINDS}
        return await Endpoints(db).resume(of, endpoint.name, cursors)

    if not with_ledger(config, work):
        fail(f"{of}/{name}: nothing was ever sent to it; a running clew begins with the next event")
    print_line(f"{of}/{name}: a running clew sends its events within seconds.")


def _endpoint(settings: Settings, name: str, site: str | None) -> tuple[str, EventEndpoint]:
    found = [
        (each.name, one)
        for each in settings.sites
        if site in (None, each.name)
        for one in each.endpoints
        if one.name == name
    ]
    if len(found) == 1:
        return found[0]
    if found:
        fail(f"{name}: sites {', '.join(of for of, _ in found)} have one of this name: write --site")
    known = ", ".join(one.name for each in settings.sites for one in each.endpoints) or "none"
    return fail(f"the settings have no endpoint {name!r}; there are: {known}")


async def _nothing() -> None:
    """A test may be repeated."""
