"""`clew orders lost` and `clew orders assign`: orders that nobody earns, although something points to a
partner."""

import getpass
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from ..orders.money import amount_text
from ..postbacks.reconcile import number_of
from ..postbacks.report_file import LARGEST, ReportFileError, Status, format_of, read_report
from ..service.ordering.book import Entry
from ..service.ordering.lost import LostOrder
from ..service.service import Service
from .correct import By, Why, app, print_entry, with_service
from .given import Columns, Statuses, meant_statuses, named_columns
from .ledger import DEFAULT_CONFIG, AsJson, Config, day, fail, moment
from .order import Number, OneSite
from .terminal import print_line

__all__ = ["app"]


@app.command("lost")
def lost_command(
    config: Config = DEFAULT_CONFIG,
    site: OneSite = None,
    since: Annotated[
        str | None,
        typer.Option(metavar="DATE", help="Recorded from this day or time on (UTC); default: 30 days ago."),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A report of --partner: the orders in it are evidence."),
    ] = None,
    partner: Annotated[str | None, typer.Option(help="The partner whose report it is.")] = None,
    column: Columns = None,
    status: Statuses = None,
    as_json: AsJson = False,
) -> None:
    """List orders that nobody earns, although something points to a partner.

    Each with its evidence: a click of the same visitor, conversation or e-mail hash, a coupon, the partner's
    report. Nothing is credited by itself: `clew orders assign` does it.
    """
    if (report is None) != (partner is None):
        raise typer.BadParameter("--report and --partner belong together")
    begin, named, meant = day(since), named_columns(column or []), meant_statuses(status or [])

    async def work(service: Service, name: str) -> Sequence[LostOrder]:
        runtime = service.sites[name]
        reported = {}
        if report is not None and partner is not None:
            if partner not in runtime.partners:
                there = ", ".join(runtime.partners) or "none"
                fail(f"the site has no partner {partner!r}; there are {there}")
            reported[partner] = _numbers(report, runtime.partners[partner].network, named, meant)
        await service.visits.open()
        try:
            return await service.lost.find(runtime, service.clock.now(), since=begin, reported=reported)
        finally:
            await service.visits.close()

    found = with_service(config, site, work)
    for one in found:
        _print(one, as_json=as_json)
    if not found and not as_json:
        print_line("Nothing points to a partner for the orders that nobody earns.")


@app.command("assign")
def assign_command(
    number: Number,
    partner: Annotated[str, typer.Option(help="The partner, as `clew orders lost` proposes it.")],
    why: Why,
    config: Config = DEFAULT_CONFIG,
    site: OneSite = None,
    by: By = None,
) -> None:
    """Credit an order that nobody earns to a partner that `clew orders lost` proposes.

    It becomes a correction in the order's history, with your name, your reason and the evidence. If the
    evidence is a click, the partner is told by it; else report the order by hand.
    """

    async def work(service: Service, name: str) -> Entry:
        runtime = service.sites[name]
        await service.visits.open()
        try:
            return await service.lost.assign(
                runtime,
                number,
                partner,
                service.clock.now(),
                by=by or getpass.getuser(),
                why=why,
                hold=runtime.settings.hold,
            )
        finally:
            await service.visits.close()

    print_entry(with_service(config, site, work))


def _numbers(
    file: Path, network: str | None, named: Mapping[str, str], meant: Mapping[str, Status]
) -> set[str]:
    """The normalised numbers of the orders in a report that the partner has not declined."""
    try:
        with file.open("rb") as opened:
            rows = read_report(opened.read(LARGEST + 1), format_of(network), named, meant=meant)
    except OSError as error:
        fail(f"{file}: {error.strerror or error}")
    except ReportFileError as error:
        fail(f"{file}: {error}")
    return {number_of(row.order) for row in rows if row.status != "declined"}


def _print(one: LostOrder, *, as_json: bool) -> None:
    order, amount = one.order, amount_text(one.order.total, one.order.currency)
    if as_json:
        proposals = [
            {"partner": p.partner, "evidence": list(p.evidence), "click": p.visitor is not None}
            for p in one.proposals
        ]
        line = {"order": order.number, "total": amount, "currency": order.currency, "at": order.placed_at}
        typer.echo(json.dumps({**line, "proposals": proposals}))
        return
    print_line(f"{order.number}  {moment(order.placed_at)}  {amount} {order.currency}")
    for proposal in one.proposals:
        for number, evidence in enumerate(proposal.evidence):
            print_line(f"    {proposal.partner if not number else ''}: {evidence}".replace("    :", "     "))
    first = one.proposals[0].partner
    print_line(f'    → clew orders assign {order.number} --partner {first} --why "…"')
