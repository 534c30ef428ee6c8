"""`clew settle …`: closes months, and exchanges files with networks about what is approved."""

import csv
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from ..payouts.settlement_file import LARGEST, SettlementFileError, format_for, read_rows
from ..postbacks.report_file import format_of
from ..referral.masking import cells
from ..service.clock import time_of
from ..service.paying import close
from ..service.settling import Imported, exported, imported
from ..settings.model import Partner
from ..settings.model import Site as SiteSettings
from ..stores.ledger.books import Ledger
from ..stores.ledger.database import Database
from .auditing import note
from .check import load_or_exit
from .given import Statuses, file_body, meant_statuses, named_columns
from .ledger import DEFAULT_CONFIG, Config, fail, with_ledger
from .orders import Site
from .payout import Month, OfPartner, chosen_partners, period_of, tell_waiting
from .terminal import print_line

app = typer.Typer(help="Close months, and exchange files about commissions.", no_args_is_help=True)
OfNetwork = Annotated[str | None, typer.Option(help="The partners of this network.")]


def _chosen(
    config: Path, site: str | None, partner: str | None, network: str | None
) -> list[tuple[SiteSettings, Partner]]:
    found = chosen_partners(load_or_exit(config), site, partner)
    found = [pair for pair in found if network in (None, pair[1].network)]
    if not found:
        fail(f"there is no partner of the network {network!r}")
    return found


@app.command("close")
def close_command(
    period: Month, config: Config = DEFAULT_CONFIG, site: Site = None, partner: OfPartner = None
) -> None:
    """Settle what was approved until the end of a month: it is not changed any more."""
    chosen = _chosen(config, site, partner, None)

    async def work(db: Database) -> None:
        now = await time_of(db)
        for of_site, one in chosen:
            closed = await close(Ledger(db), of_site, one, period_of(period, of_site, now), now)
            await note(db, "settlement.closed", one.id, of_site.name, month=period)
            print_line(f"{of_site.name}, {one.id}: {closed.settled} orders settled.")
            tell_waiting(one.id, closed)

    with_ledger(config, work)


@app.command("export")
def export_command(
    period: Month,
    config: Config = DEFAULT_CONFIG,
    site: Site = None,
    partner: OfPartner = None,
    network: OfNetwork = None,
    output: Annotated[Path | None, typer.Option(help="The file; stdout if you leave it out.")] = None,
) -> None:
    """Write the orders placed in a month, with the state of their commissions, as the network has it."""
    if partner is None and network is None:
        fail("whose? Name it with --partner or --network")
    chosen = _chosen(config, site, partner, network)
    forms = {one.network: format_for(one.network) for _, one in chosen}
    if len({id(form) for form in forms.values()}) > 1:
        fail("these partners have files of several forms: name one with --partner")

    async def work(db: Database) -> None:
        now, ledger = await time_of(db), Ledger(db)
        target = sys.stdout if output is None else output.open("w", encoding="utf-8", newline="")
        try:
            writer, first = csv.writer(target), True
            for of_site, one in chosen:
                month = period_of(period, of_site, now)
                rows = exported(ledger, of_site, one, month, forms[one.network])
                await _write(writer, rows, first=first)
                first = False
                await note(db, "export.settlement", one.id, of_site.name, month=period)
        finally:
            if output is not None:
                target.close()

    try:
        with_ledger(config, work)
    except OSError as error:
        fail(f"{output}: {error.strerror or error}")


async def _write(writer: Any, rows: AsyncIterator[Sequence[str]], *, first: bool) -> None:
    is_header = True
    async for row in rows:
        if first or not is_header:
            writer.writerow(cells(row))
        is_header = False


@app.command("import")
def import_command(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="CSV; its first line names the columns.")],
    config: Config = DEFAULT_CONFIG,
    site: Site = None,
    partner: OfPartner = None,
    network: OfNetwork = None,
    own: Annotated[
        bool, typer.Option("--own", help="It has your decisions, not the network's: the network is told.")
    ] = False,
    column: Annotated[
        list[str] | None,
        typer.Option(metavar="FIELD=NAME", help="The column of order, status or currency. May be repeated."),
    ] = None,
    status: Statuses = None,
) -> None:
    """Give commissions the states of a file: approved, declined, paid. The same file again changes nothing.

    Orders that are not known are listed, and the command exits with 1.
    """
    if partner is None and network is None:
        fail("whose? Name it with --partner or --network")
    chosen = _chosen(config, site, partner, network)
    if len(chosen) > 1:
        names = ", ".join(f"{of_site.name}: {one.id}" for of_site, one in chosen[:20])
        fail(f"whose is it? Name one with --partner and --site: {names}")
    of_site, one = chosen[0]
    form, named = format_of(one.network), named_columns(column or [], ("order", "status", "currency"))
    try:
        # The whole file first: one that has an error in it changes nothing.
        body = file_body(file, LARGEST, fail)
        rows = list(read_rows(body, form, named, meant_statuses(status or [])))
    except SettlementFileError as error:
        fail(f"{file}: {error}. Nothing changed")

    async def work(db: Database) -> Imported:
        theirs = one.network is not None and not own
        done = await imported(
            *(Ledger(db), of_site, one, rows, await time_of(db)),
            name=file.name[:100],
            source="network" if theirs else "file",
        )
        await note(db, "settlement.imported", one.id, of_site.name, file=file.name)
        return done

    _tell(with_ledger(config, work))


def _tell(done: Imported) -> None:
    for line, number, why in done.left:
        print_line(f"line {line}, order {number}: {why}", err=True)
    changed = (
        ", ".join(f"{count} {state}" for state, count in sorted(done.changed.items())) or "nothing changed"
    )
    print_line(f"{changed}; {done.unchanged} as they were, {done.open} open, {len(done.left)} left out.")
    raise typer.Exit(1 if done.left else 0)
