"""`clew orders …`: what people correct of orders."""

import asyncio
import getpass
import json
from collections.abc import Awaitable, Callable, Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from ..orders.model import STATES, OrderError
from ..service.clock import time_of
from ..service.ordering.book import Entry
from ..service.ordering.correcting import correct
from ..service.ordering.placing import Placed
from ..service.ordering.story import reported, said
from ..service.service import Service
from ..settings.model import Site
from ..stores.ledger.books import Ledger
from ..stores.ledger.database import Database
from ..stores.ledger.known import Stored
from .auditing import note
from .check import load_or_exit
from .ledger import (
    DEFAULT_CONFIG,
    UNUSABLE,
    AsJson,
    Config,
    description,
    fail,
    moment,
    require_ledger,
    with_ledger,
)
from .order import NoOrderError, Number, OneSite, find_order
from .orders import orders_command
from .terminal import print_line

app = typer.Typer()
app.callback(invoke_without_command=True)(orders_command)

By = Annotated[str | None, typer.Option(help="Who decides; your user name if you leave it out.")]
Why = Annotated[str, typer.Option(help="The reason, for people who look at the order later.")]
NOBODY = "nobody"
LIMIT = 100
T = TypeVar("T")


def _amount(value: str | None) -> Decimal | None:
    try:
        return None if value is None else Decimal(value)
    except InvalidOperation:
        raise typer.BadParameter(f"{value!r} is no amount; write it with a dot: 129.95") from None


@app.command("correct")
def correct_command(
    number: Number,
    why: Why,
    config: Config = DEFAULT_CONFIG,
    site: OneSite = None,
    state: Annotated[str | None, typer.Option(help=f"The right state, one of {', '.join(STATES)}.")] = None,
    amount: Annotated[str | None, typer.Option(help="The right total, with a dot: 129.95.")] = None,
    currency: Annotated[str | None, typer.Option(help="The right currency, if that is wrong too.")] = None,
    partner: Annotated[
        str | None, typer.Option(help=f'The partner who earns it; "{NOBODY}" if no partner does.')
    ] = None,
    by: By = None,
) -> None:
    """Correct an order's state, total or partner.

    The correction becomes a new entry of the order's history, with your name and your reason. The partners
    are notified of the difference.
    """
    right = _amount(amount)

    async def work(ledger: Ledger, known: Callable[[str], Site]) -> Entry:
        story = await find_order(ledger.db, config, number, site)
        return await correct(
            ledger,
            known(story.order.site).partners,
            story.order,
            await time_of(ledger.db),
            by=by or getpass.getuser(),
            why=why,
            state=state,
            amount=right,
            currency=currency,
            partner="" if partner == NOBODY else partner,
        )

    print_entry(_with_sites(config, work))


@app.command("move")
def move_command(
    report: Annotated[
        int,
        typer.Argument(metavar="REPORT", help="Its number, as `explain order` and `waiting` show it."),
    ],
    number: Number,
    why: Why,
    config: Config = DEFAULT_CONFIG,
    site: OneSite = None,
    by: By = None,
) -> None:
    """Move a report to another order: it was joined wrongly, or it had no order number.

    The orders are computed again, and the partners are notified of the difference.
    """

    async def work(service: Service, name: str) -> Placed:
        who = by or getpass.getuser()
        return await service.ordering.move(service.sites[name], report, number, by=who, why=why)

    placed = with_service(config, site, work)
    print_line(f"Report {report} belongs to order {number} now.")
    for row in placed.postbacks:
        amount = f"{row.report.amount} {row.report.currency}"
        print_line(f"{row.id}: {row.event} {amount} to {row.partner} is {row.state}.")


@app.command("waiting")
def waiting_command(config: Config = DEFAULT_CONFIG, site: OneSite = None, as_json: AsJson = False) -> None:
    """List the reports without an order number that belong to no order yet, newest first."""

    async def work(service: Service, name: str) -> Sequence[tuple[Stored, Sequence[str]]]:
        return await service.ordering.waiting(name, LIMIT)

    for stored, names in (found := with_service(config, site, work)):
        if as_json:
            line = {"report": stored.row, "candidates": list(names), **stored.sighting.to_json()}
            typer.echo(json.dumps({k: v for k, v in line.items() if k != "touches"}))
            continue
        fits = f"may belong to {', '.join(names)}" if names else "no order fits"
        print_line(f"{stored.row}  {moment(stored.sighting.at)}  {reported(stored.sighting)}: {fits}")
        for detail in said(stored.sighting, moment):
            print_line(f"    {detail}")
    if not found and not as_json:
        print_line("No report waits for its order.")


def with_service(config: Path, site: str | None, work: Callable[[Service, str], Awaitable[T]]) -> T:
    """What comes of `work` on a service whose ledger is open, and the name of the site. Exits with 1 and the
    reason where it cannot be done."""
    settings = load_or_exit(config)
    require_ledger(settings)
    service = Service(settings)
    names = list(service.sites)
    if site is None and len(names) > 1:
        fail(f"which site? Name it with --site: {', '.join(names[:50])}")
    if site is not None and site not in names:
        fail(f"The settings have no site {site!r}; there are: {', '.join(names[:50])}.")

    async def run() -> T:
        try:
            await service.ledger.db.open()
            await service.follow_clock()
            return await work(service, site or names[0])
        finally:
            await service.ledger.db.close()

    try:
        return asyncio.run(run())
    except OrderError as error:
        fail(f"Nothing changed: {error}")
    except UNUSABLE as error:
        fail(description(error))


def _with_sites(config: Path, work: Callable[[Ledger, Callable[[str], Site]], Awaitable[Entry]]) -> Entry:
    """What comes of `work` on the ledger, with the settings' sites by name. Exits with 1 and the reason where
    it cannot be done."""
    sites = {site.name: site for site in load_or_exit(config).sites}

    def known(name: str) -> Site:
        if name not in sites:
            raise OrderError(f"the settings have no site {name!r} any more")
        return sites[name]

    async def on(db: Database) -> Entry:
        entry = await work(Ledger(db), known)
        await note(db, "credit.corrected", entry.after.order_id, entry.after.site)
        return entry

    try:
        return with_ledger(config, on)
    except (OrderError, NoOrderError) as error:
        fail(f"Nothing changed: {error}")


def print_entry(entry: Entry) -> None:
    """What a correction came to."""
    order = entry.after
    amount = "" if order.total is None else f" over {order.total} {order.currency}"
    print_line(f"Order {order.order_id}{amount} is {order.state}, credited to {order.partner or NOBODY}.")
    for row in entry.postbacks:
        why = f" ({row.why})" if row.why else ""
        amount = f"{row.report.amount} {row.report.currency}"
        print_line(f"{row.id}: {row.event} {amount} to {row.partner} is {row.state}{why}.")
