"""`clew commissions`: what partners earn by orders, its states, and what people decide about it."""

import getpass
import json
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from ..orders.model import OrderError
from ..payouts.account import STATES, Verdict, worded
from ..payouts.period import Period, PeriodError
from ..service.clock import time_of
from ..service.ordering.earnings import priced, text
from ..service.workflow import decide
from ..stores.ledger.books import Ledger
from ..stores.ledger.commissions import Commission, Commissions, CommissionSum, WantedCommissions
from ..stores.ledger.database import Database
from .auditing import note
from .check import load_or_exit
from .ledger import DEFAULT_CONFIG, AsJson, Config, day, fail, moment, not_found, with_ledger
from .order import NoOrderError, Number, OneSite, find_order
from .orders import Since, Site, Until
from .terminal import open_console, print_line

app = typer.Typer(help="What partners earn: its states, and what people decide about it.")
LIMIT = 100
By = Annotated[str | None, typer.Option(help="Who decides; your user name if you leave it out.")]
Why = Annotated[str, typer.Option(help="The reason, for people who look at it later.")]
OfPartner = Annotated[
    list[str] | None,
    typer.Option("--partner", help="Only this partner's; may be repeated. Without it, of all partners."),
]


def _state(value: str | None) -> str | None:
    if value is not None and value not in STATES:
        raise typer.BadParameter(f"{value!r}: there are {', '.join(STATES)}")
    return value


@app.callback(invoke_without_command=True)
def commissions_command(
    context: typer.Context,
    config: Config = DEFAULT_CONFIG,
    site: Site = None,
    partner: Annotated[str | None, typer.Option(help="Only those of this partner.")] = None,
    state: Annotated[
        str | None, typer.Option(callback=_state, help=f"Only in this state: {', '.join(STATES)}.")
    ] = None,
    period: Annotated[
        str | None, typer.Option(metavar="MONTH", help="Only orders placed in this month: 2026-10.")
    ] = None,
    since: Since = None,
    until: Until = None,
    sums: Annotated[bool, typer.Option("--sums", help="Sums by partner, state and currency.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = LIMIT,
    as_json: AsJson = False,
) -> None:
    """List the commissions of partners, by the newest orders, with their states."""
    if context.invoked_subcommand is not None:
        return
    start, end = day(since), day(until)
    if period is not None:
        start, end = _month(config, site, period)
    states = None if state is None else [one for one in STATES if one == state]
    wanted = WantedCommissions(site, partner, states, start, end)
    if sums:
        _print_sums(with_ledger(config, lambda db: Commissions(db).sums(wanted)), as_json=as_json)
        return
    found = with_ledger(config, lambda db: Commissions(db).page(wanted, limit=limit))
    if as_json:
        for row in found:
            typer.echo(json.dumps(_plain(row)))
    elif found:
        open_console().print(_lines(found))
    else:
        print_line(not_found(config, "There are no such commissions.", site, partner))


def _month(config: Any, site: str | None, period: str) -> tuple[float, float]:
    zones = {one.time_zone for one in load_or_exit(config).sites if site in (None, one.name)}
    if len(zones) > 1:
        fail("the sites have several time zones: name one with --site")
    try:
        found = Period.named(period, next(iter(zones), "UTC"))
    except PeriodError as error:
        raise typer.BadParameter(str(error)) from None
    return found.start, found.end


def _plain(row: Commission) -> dict[str, Any]:
    amounts = {name: text(getattr(row, name), row.currency) for name in ("amount", "value", "locked", "paid")}
    own = ("site", "number", "partner", "state", "currency", "channel", "waits_until", "decided_at")
    rest = {"placed_at": row.placed_at, "changed_at": row.changed_at, "ref": row.ref}
    return {**{name: getattr(row, name) for name in own}, **amounts, **rest}


def _lines(rows: tuple[Commission, ...]) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("placed (UTC)", "site", "order", "partner", "state", "commission", "of", "waits until"):
        table.add_column(name, overflow="fold", no_wrap=name in ("commission", "of"))
    for row in rows:
        table.add_row(
            moment(row.placed_at),
            escape(row.site),
            escape(row.number),
            escape(row.partner),
            worded(row.state, approved=row.waits_until is None),
            "\u2013" if row.amount is None else priced(row.amount, row.currency),
            priced(row.value, row.currency),
            "" if row.waits_until is None else moment(row.waits_until),
        )
    return table


def _print_sums(rows: tuple[CommissionSum, ...], *, as_json: bool) -> None:
    names = ("amount", "value", "locked", "paid")
    if as_json:
        for row in rows:
            amounts = {name: text(getattr(row, name), row.currency) for name in names}
            own = {n: getattr(row, n) for n in ("site", "partner", "state", "currency", "approved", "count")}
            typer.echo(json.dumps(own | amounts))
        return
    table = Table(box=None, pad_edge=False)
    for name in ("site", "partner", "state", "orders", "commission", "of", "settled", "paid"):
        table.add_column(
            name, overflow="fold", justify="left" if name in ("site", "partner", "state") else "right"
        )
    for row in rows:
        shown = [priced(getattr(row, name), row.currency) for name in names]
        table.add_row(
            escape(row.site),
            escape(row.partner),
            worded(row.state, approved=row.approved),
            str(row.count),
            *shown,
        )
    open_console().print(table)


@app.command("approve")
def approve_command(
    number: Number,
    why: Why,
    config: Config = DEFAULT_CONFIG,
    site: OneSite = None,
    partner: OfPartner = None,
    by: By = None,
) -> None:
    """Approve the commission of an order before its hold period is over, or one that was declined."""
    _decide("approve", number, why, config, site, partner, by)


@app.command("decline")
def decline_command(
    number: Number,
    why: Why,
    config: Config = DEFAULT_CONFIG,
    site: OneSite = None,
    partner: OfPartner = None,
    by: By = None,
) -> None:
    """Decline the commission of an order. What was settled of it is taken back with the next settlement."""
    _decide("decline", number, why, config, site, partner, by)


def _decide(
    verdict: Verdict,
    number: str,
    why: str,
    config: Any,
    site: str | None,
    partner: list[str] | None,
    by: str | None,
) -> None:
    partners = {one.name: {each.id: each for each in one.partners} for one in load_or_exit(config).sites}

    async def work(db: Database) -> None:
        story = await find_order(db, config, number, site)
        now, who = await time_of(db), by or getpass.getuser()
        ledger = Ledger(db)
        known = partners.get(story.order.site, {}).get
        found = await decide(ledger, known, story.order.row, partner or (), verdict, now, by=who, why=why)
        if found:
            details = {"verdict": verdict, "partners": ", ".join(sorted(found)), "by": who}
            await note(db, "commission.decided", story.order.order_id, story.order.site, **details)
        for name, accounts in found.items():
            for account in accounts:
                amount = "" if account.amount is None else f": {priced(account.amount, account.currency)}"
                shown = worded(account.state, approved=account.ready)
                print_line(f"Order {story.order.order_id}, {name}: {shown}{amount}.")
        if not found:
            print_line(f"Nothing changed: order {story.order.order_id} has that state already.")

    try:
        with_ledger(config, work)
    except (OrderError, NoOrderError) as error:
        fail(f"Nothing changed: {error}")
