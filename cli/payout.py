"""`clew payout`: what partners are paid for a month, as SEPA XML and CSV."""

import csv
import io
import os
from pathlib import Path
from typing import Annotated

import typer

from ..payouts.account import decimal
from ..payouts.payees import is_paid_here
from ..payouts.period import Period, PeriodError
from ..payouts.sepa import PayoutError
from ..referral.masking import cells
from ..service.clock import time_of
from ..service.paying import Closed, Result, close, pay, statement
from ..settings.model import Partner, Settings
from ..settings.model import Site as SiteSettings
from ..stores.files import PRIVATE
from ..stores.ledger.books import Ledger
from ..stores.ledger.database import Database
from ..stores.ledger.export_rows import timestamp
from ..stores.ledger.payouts import Payout
from .auditing import note
from .check import load_or_exit
from .ledger import DEFAULT_CONFIG, Config, fail, with_ledger
from .orders import Site
from .terminal import print_line

Month = Annotated[str, typer.Option(metavar="MONTH", help="The month, for example 2026-10.")]
OfPartner = Annotated[str | None, typer.Option(help="Only this partner.")]


def payout_command(
    period: Month,
    config: Config = DEFAULT_CONFIG,
    site: Site = None,
    partner: OfPartner = None,
    output: Annotated[Path, typer.Option(help="The folder for the files.")] = Path(),
) -> None:
    """Pay partners for a month: close it, and write a payment and a statement for each.

    The month has to be over. Each commission is paid once. The same command again writes the same files. What
    is below the minimum, or negative, is carried over. Exits with 1 if a partner cannot be paid because
    something is missing.
    """
    chosen = chosen_partners(load_or_exit(config), site, partner)
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        fail(f"{output}: {error.strerror or error}")

    async def work(db: Database) -> list[Result]:
        now, results = await time_of(db), list[Result]()
        ledger = Ledger(db)
        # A month that is not over at one of the sites pays nobody.
        months = [period_of(period, of_site, now, over=True) for of_site, _ in chosen]
        for (of_site, one), month in zip(chosen, months, strict=True):
            if not is_paid_here(one):
                continue
            tell_waiting(one.id, await close(ledger, of_site, one, month, now))
            for result in await pay(ledger, of_site, one, month, now):
                if result.payout is not None:
                    await _write(ledger, result.payout, output)
                    await note(db, "payout.written", result.payout.name, of_site.name, partner=one.id)
                results.append(result)
        return results

    try:
        results = with_ledger(config, work)
    except PayoutError as error:
        fail(str(error))
    for result in results:
        _tell(result)
    if not results:
        print_line("Nothing is due.")
    if any(result.impossible for result in results):
        raise typer.Exit(1)


def chosen_partners(
    settings: Settings, site: str | None, partner: str | None
) -> list[tuple[SiteSettings, Partner]]:
    """The partners that an option names, each with its site. Exits with 1 if there is none."""
    found = [
        (one, each)
        for one in settings.sites
        if site in (None, one.name)
        for each in one.partners
        if partner in (None, each.id)
    ]
    if not found:
        there = dict.fromkeys(each.id for one in settings.sites for each in one.partners)
        fail(f"there is no such partner; there are {', '.join(there) or 'none'}")
    return found


def period_of(name: str, site: SiteSettings, now: float, *, over: bool = False) -> Period:
    """The month of an option, which has to have begun, or to be `over`. Exits with 1."""
    try:
        found = Period.named(name, site.time_zone)
    except PeriodError as error:
        fail(str(error))
    if found.start > now:
        fail(f"{name} has not begun yet")
    if over and found.end > now:
        fail(f"{name} is not over yet at {site.name}: pay it from the first day of the next month on")
    return found


def tell_waiting(partner: str, closed: Closed) -> None:
    """Print of which orders nothing was settled because something stands against it."""
    if closed.waiting:
        print_line(f"{partner}: {closed.waiting} orders are approved, but in doubt, and not settled:")
    for number, why in closed.why:
        print_line(f"  {number}: {why}")
    if more := closed.waiting - len(closed.why):
        print_line(f"  and {more} more")


def _tell(result: Result) -> None:
    paid = result.payout
    if paid is not None:
        amount = f"{decimal(paid.amount, paid.currency):f} {paid.currency}"
        kinds = "CSV" if paid.document is None else "SEPA and CSV"
        print_line(f"{paid.name}: {amount} to {paid.partner}, {paid.lines} lines, {kinds}.")
        return
    amount = f"{decimal(result.due, result.currency):f} {result.currency}"
    print_line(f"{result.partner}: {amount} is not paid: {result.why}.", err=result.impossible)


async def _write(ledger: Ledger, payout: Payout, folder: Path) -> None:
    if payout.document is not None:
        _save(folder / f"{payout.name}.xml", payout.document)
    text = io.StringIO()
    writer = csv.writer(text)
    async for row in statement(ledger, payout, lambda at: timestamp(at) or ""):
        writer.writerow(cells(row))
    _save(folder / f"{payout.name}.csv", text.getvalue())


def _save(path: Path, text: str) -> None:
    """Write a file that only its owner may read, at once and whole."""
    new = path.with_name(f".{path.name}.{os.getpid()}")
    opened = os.open(new, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, PRIVATE)
    with os.fdopen(opened, "w", encoding="utf-8", newline="") as file:
        file.write(text)
    new.replace(path)
