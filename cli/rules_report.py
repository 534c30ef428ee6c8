"""`clew rules report`: what rules bring, as on the desk's page “Results”."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Final, TypeVar

import typer
from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Table

from ..desk.pages.result_tables import Sheet, sheets
from ..service.rule_reports import Report
from ..service.service import Service
from ..service.site import SiteRuntime
from ..stores.ledger.totals import MOST_WEEKS
from .check import load_or_exit
from .ledger import DEFAULT_CONFIG, UNUSABLE, AsJson, Config, description, fail, require_ledger
from .orders import Site
from .terminal import open_console, print_line

T = TypeVar("T")
WIDEST: Final = 10_000
Weeks = Annotated[int, typer.Option(min=1, max=MOST_WEEKS, help="How many weeks to look back.")]
Of = Annotated[
    str,
    typer.Option("--table", metavar="NAME", help="Only this table, such as verdicts, rule, text or agent."),
]


def of_service(config: Path, site: str | None, work: Callable[[Service, SiteRuntime], Awaitable[T]]) -> T:
    """What `work` finds about a site with the rules that are in force. Exits with 1 on settings and ledgers
    that cannot be used, and without a site."""
    settings = load_or_exit(config)
    require_ledger(settings)
    names = [one.name for one in settings.sites]
    if site is None and len(names) > 1:
        fail(f"which site? Name it with --site: {', '.join(names[:50])}")
    if site is not None and site not in names:
        fail(f"there is no site {site!r}; the settings have {', '.join(names[:50])}")
    service = Service(settings)

    async def run() -> T:
        try:
            await service.open()
            await service.follow_clock()
            name = site or names[0]
            await service.rule_sets.take(name)
            return await work(service, service.sites[name])
        finally:
            await service.close()

    try:
        return asyncio.run(run())
    except UNUSABLE as error:
        fail(description(error))


def report_command(
    config: Config = DEFAULT_CONFIG,
    site: Site = None,
    weeks: Weeks = 13,
    table: Of = "",
    as_json: AsJson = False,
) -> None:
    """Print verdicts on rules and texts, and revenue, cost and ROI by rule, text, partner and agent."""
    report = of_service(config, site, lambda service, at: service.rule_reports.build(at, weeks))
    found = sheets(report)
    if table and table not in found:
        fail(f"there is no table {table!r}, or it is empty; there are {', '.join(found) or 'none'}")
    chosen = [found[table]] if table else [*found.values()]
    if as_json:
        for one in chosen:
            for line in one.lines():
                typer.echo(json.dumps({"table": one.name, **dict(zip(one.names(), line, strict=True))}))
        return
    _show(report, chosen)


def _print_apart(console: Console, title: str, names: list[str], rows: list[list[str]]) -> None:
    """A table that is wider than the terminal: each row by itself, a line for each of its cells."""
    console.print(title, style="table.title")
    for first, *cells in rows:
        console.print(first, style="bold")
        part = Table(box=None, pad_edge=False, show_header=False)
        part.add_column(no_wrap=True)
        part.add_column(overflow="fold")
        for name, cell in zip(names[1:], cells, strict=True):
            part.add_row(f"  {name}", cell)
        console.print(part)


def _show(report: Report, chosen: list[Sheet]) -> None:
    if not chosen:
        print_line("No rule invites anybody, and there were no conversations in these weeks.")
        return
    console = open_console()
    for one in chosen:
        shown = one.table()
        rows = [["–" if cell is None else escape(str(cell)) for cell in row] for row in shown.rows]
        names = [escape(name) for name, _ in shown.columns]
        table = Table(box=None, pad_edge=False, title=escape(one.title), title_justify="left")
        for name, number in shown.columns:
            table.add_column(escape(name), justify="right" if number else "left", no_wrap=True)
        for row in rows:
            table.add_row(*row)
        if Measurement.get(console, console.options.update(width=WIDEST), table).maximum <= console.width:
            console.print(table)
        else:
            _print_apart(console, escape(one.title), names, rows)
        console.print()
    for rule in report.rules:
        said = f"{rule.rule}: {rule.verdict.word}. {rule.verdict.sentence}"
        print_line(f"{said} {rule.crowd}".rstrip())
    if report.lift.verdict is not None:
        said = report.lift.verdict.sentence if report.lift.planned else report.lift.figures
        print_line(f"Invites: {report.lift.word}. {said}")
