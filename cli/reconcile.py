"""`clew reconcile`: a network's report beside what the network was told."""

import csv
import io
import json
from dataclasses import asdict, fields
from datetime import datetime, time, timedelta
from pathlib import Path
from typing import Annotated, NoReturn
from zoneinfo import ZoneInfo

import typer
from rich.markup import escape
from rich.table import Table

from ..postbacks.reconcile import KINDS, Comparison, Difference, compare, known_number, number_of
from ..postbacks.report_file import LARGEST, ReportFileError, Row, format_of, read_report, rows_of
from ..referral.masking import cells
from ..settings.model import Partner, Settings
from ..stores.ledger.database import Database
from ..stores.ledger.told import credited_elsewhere, told_of, told_of_numbers
from .check import load_or_exit
from .given import Columns, Statuses, file_body, meant_statuses, named_columns
from .ledger import DEFAULT_CONFIG, AsJson, Config, day, with_ledger
from .orders import Since, Site, Until
from .terminal import open_console, print_line


def reconcile_command(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The network's report: CSV or JSON.")],
    partner: Annotated[str, typer.Option(help="The partner whose report it is.")],
    config: Config = DEFAULT_CONFIG,
    site: Site = None,
    since: Since = None,
    until: Until = None,
    column: Columns = None,
    status: Statuses = None,
    zone: Annotated[
        str | None,
        typer.Option(help="The time zone of the report's days; default: the network's entry's, else UTC."),
    ] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV, a line for each difference.")] = False,
    as_json: AsJson = False,
) -> None:
    """Compare a network's report of its transactions with what it was told.

    It lists orders that are missing, doubled or different, each with what settles it. It exits with 1 if
    there is one, and with 2 if nothing could be compared. Without --since and --until the period is the days
    of the report's rows, in its time zone.
    """
    if as_csv and as_json:
        raise typer.BadParameter("--csv and --json exclude each other")
    name, found = _partner(load_or_exit(config), site, partner)
    form = format_of(found.network)
    of_days = _zone(form.zone if zone is None else zone)
    try:
        body, meant = file_body(file, LARGEST, _fail), meant_statuses(status or [])
        rows = read_report(body, form, named_columns(column or []), of_days, meant)
    except ReportFileError as error:
        _fail(f"{file}: {error}")
    start, end = _period(rows, day(since), day(until), of_days)
    wanted = list(rows_of(rows, start, end))
    result = with_ledger(config, lambda db: _compared(db, name, partner, wanted, start, end))
    if as_json:
        for one in result.differences:
            typer.echo(json.dumps(asdict(one)))
    elif as_csv:
        print_line(_csv(result).removesuffix("\n"))
    else:
        if result.differences:
            open_console().print(_table(result))
            for line in _todo(result):
                print_line(line)
        agree = "1 order agrees" if result.agree == 1 else f"{result.agree} orders agree"
        print_line(f"{agree}, {len(result.differences)} differ.")
    raise typer.Exit(1 if result.differences else 0)


async def _compared(
    db: Database, site: str, partner: str, rows: list[Row], since: float | None, until: float | None
) -> Comparison:
    told = await told_of(db, site, partner, since, until)
    known = {number_of(one.order) for one in told}
    numbers = {number for row in rows if (number := known_number(row.order)) and number not in known}
    # The network's days may begin at another hour.
    told += await told_of_numbers(db, site, partner, numbers)
    return compare(told, rows, await credited_elsewhere(db, site, partner, numbers))


def _fail(message: str) -> NoReturn:
    """Exit with 2: 1 means that something differs."""
    print_line(message, err=True)
    raise typer.Exit(2)


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, OSError, ValueError):
        why = f"--zone {name!r}: write an IANA time zone, for example Europe/Berlin"
        raise typer.BadParameter(why) from None


def _period(
    rows: tuple[Row, ...], since: float | None, until: float | None, zone: ZoneInfo
) -> tuple[float | None, float | None]:
    """The days that the report's rows are of in its zone, where no others are asked for."""
    times = [row.at for row in rows if row.at is not None]
    if not times:
        return since, until
    first, last = (datetime.fromtimestamp(at, zone).date() for at in (min(times), max(times)))
    begin = datetime.combine(first, time(), zone).timestamp()
    end = datetime.combine(last + timedelta(days=1), time(), zone).timestamp()
    return (begin if since is None else since), (end if until is None else until)


def _csv(result: Comparison) -> str:
    names = [one.name for one in fields(Difference)]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(names)
    writer.writerows(cells(getattr(one, name) for name in names) for one in result.differences)
    return out.getvalue()


def _todo(result: Comparison) -> list[str]:
    """What settles each kind of difference, once, with the command for its first order."""
    first: dict[str, Difference] = {}
    for one in result.differences:
        first.setdefault(f"{one.kind} {one.todo}", one)
    return [": ".join(filter(None, (KINDS[one.kind], one.todo, one.command))) for one in first.values()]


def _partner(settings: Settings, site: str | None, partner: str) -> tuple[str, Partner]:
    found = [
        (one.name, each)
        for one in settings.sites
        if site in (None, one.name)
        for each in one.partners
        if each.id == partner
    ]
    if not found:
        there = dict.fromkeys(each.id for one in settings.sites for each in one.partners)
        _fail(f"there is no partner {partner!r}; there are {', '.join(there) or 'none'}")
    if len(found) > 1:
        _fail(
            f"several sites have a partner {partner!r}: {', '.join(n for n, _ in found)}; choose with --site"
        )
    return found[0]


def _table(result: Comparison) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("order", "difference", "we told", "they have"):
        table.add_column(name, overflow="fold")
    for one in result.differences:
        row = (one.order, KINDS[one.kind], one.ours, one.theirs)
        table.add_row(*map(escape, row))
    return table
