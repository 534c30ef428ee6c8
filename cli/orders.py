"""`clew orders` and `clew report`: the orders in the ledger, and their sums."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, get_args

import typer
from rich.markup import escape
from rich.table import Table

from ..credit.words import percent
from ..orders.ids import normalised
from ..orders.model import Channel, OrderError
from ..postbacks.model import STATES
from ..stores.ledger.reports import OrderFilter, OrderLine, Reports, Sum
from .ledger import DEFAULT_CONFIG, AsJson, Config, day, moment, not_found, with_ledger
from .terminal import open_console, print_line

LIMIT = 100
CHANNELS: tuple[str, ...] = get_args(Channel)
ORDER_STATES = (*STATES, "none")

Site = Annotated[str | None, typer.Option(help="Only those of this site.")]
Since = Annotated[str | None, typer.Option(metavar="DATE", help="From this day or time on (UTC).")]
Until = Annotated[str | None, typer.Option(metavar="DATE", help="Before this day or time (UTC).")]


def _one_of(value: str | None, known: tuple[str, ...]) -> str | None:
    if value is not None and value not in known:
        raise typer.BadParameter(f"{value!r}: there are {', '.join(known)}")
    return value


def _channel(value: str | None) -> str | None:
    return _one_of(value, CHANNELS)


def _number(value: str | None) -> str | None:
    try:
        return value if value is None else normalised(value, "order").id
    except OrderError as error:
        raise typer.BadParameter(str(error)) from None


def _state(value: str | None) -> str | None:
    return _one_of(value, ORDER_STATES)


Channels = Annotated[
    str | None, typer.Option(callback=_channel, help=f"Only this channel: {', '.join(CHANNELS)}.")
]


def orders_command(
    context: typer.Context,
    config: Config = DEFAULT_CONFIG,
    site: Site = None,
    partner: Annotated[str | None, typer.Option(help="Only those credited to this partner.")] = None,
    channel: Channels = None,
    state: Annotated[
        str | None,
        typer.Option(callback=_state, help=f"Only those whose postback is {', '.join(ORDER_STATES)}."),
    ] = None,
    order: Annotated[
        str | None,
        typer.Option(callback=_number, help='Only the order of this number, however written: "#1003".'),
    ] = None,
    since: Since = None,
    until: Until = None,
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = LIMIT,
    as_json: AsJson = False,
) -> None:
    """List the orders, newest first: amount, state, channel, partner, and the postback's state."""
    if context.invoked_subcommand is not None:
        return
    wanted = OrderFilter(site, partner, channel, state, day(since), day(until), order)
    found = with_ledger(config, lambda db: Reports(db).orders(wanted, limit))
    if as_json:
        for line in found:
            at = datetime.fromtimestamp(line.at, UTC).isoformat()
            typer.echo(json.dumps({**asdict(line), "at": at}))
    elif found:
        open_console().print(_lines(found))
    else:
        print_line(not_found(config, "There are no such orders.", site, partner))


def report_command(
    config: Config = DEFAULT_CONFIG,
    site: Site = None,
    channel: Channels = None,
    since: Since = None,
    until: Until = None,
    as_json: AsJson = False,
) -> None:
    """Sum up the orders by site, partner and channel: all of them, and those reported to the partner."""
    wanted = OrderFilter(site, None, channel, None, day(since), day(until))
    found = with_ledger(config, lambda db: Reports(db).sums(wanted))
    if as_json:
        for row in found:
            typer.echo(json.dumps(_plain(row)))
    elif found:
        open_console().print(_sums(found))
        print_line(_summary(found))
    else:
        print_line(not_found(config, "There are no orders in this period.", site))


def _plain(row: Sum) -> Mapping[str, Any]:
    return {
        **asdict(row),
        "total": f"{row.total:f}",
        "commission": f"{row.commission:f}",
        "reported_total": f"{row.reported_total:f}",
    }


def _summary(rows: tuple[Sum, ...]) -> str:
    credited = [row for row in rows if row.partner is not None]
    reported = sum(row.reported for row in credited)
    waiting, refused = sum(row.waiting for row in credited), sum(row.refused for row in credited)
    orders = sum(row.main for row in rows)
    return (
        f"{orders} orders, {sum(row.main for row in credited)} of them credited to a partner: "
        f"{reported} reported, {waiting} waiting, {refused} refused"
    )


def _money(amount: str | None, currency: str | None) -> str:
    """An amount with its currency; a dash if no report had one."""
    return "–" if amount is None or not currency else f"{amount} {currency}"


def _lines(rows: tuple[OrderLine, ...]) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("when (UTC)", "site", "order", "total", "state", "channel", "partner", "postback"):
        table.add_column(name, overflow="fold", no_wrap=name in ("total", "channel"))
    for row in rows:
        table.add_row(
            moment(row.at),
            escape(row.site),
            escape(row.id),
            _money(row.total, row.currency),
            row.order_state.replace("_", " "),
            row.channel,
            escape(_partner(row)),
            row.state,
        )
    return table


def _partner(row: OrderLine) -> str:
    part = "" if row.part in (None, "1") else f" {percent(Decimal(row.part))}"
    return f"{row.partner or '–'}{part}"


def _sums(rows: tuple[Sum, ...]) -> Table:
    table = Table(box=None, pad_edge=False)
    words = ("site", "partner", "channel")
    # Most sites have no terms.
    earned = ["commission"] if any(row.commission for row in rows) else []
    for name in (*words, "orders", "total", *earned, "reported", "reported total", "waiting", "refused"):
        money = "total" in name or name in earned
        table.add_column(name, overflow="fold", justify="left" if name in words else "right", no_wrap=money)
    for row in rows:
        total = _money(f"{row.total:f}", row.currency)
        reported = _money(f"{row.reported_total:f}", row.currency)
        figures = [_money(f"{row.commission:f}", row.currency) for _ in earned]
        figures += [str(row.reported), reported, str(row.waiting), str(row.refused)]
        if row.partner is None:
            figures = ["–"] * len(figures)
        partner = "nobody" if row.partner is None else escape(row.partner)
        table.add_row(escape(row.site), partner, row.channel, str(row.orders), total, *figures)
    return table
