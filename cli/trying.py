"""`clew postbacks try`: the exact call that a partner gets, without its secrets; sent on request."""

import asyncio
import secrets
from dataclasses import replace
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from ..postbacks.call import Call, RenderError
from ..postbacks.check import SAMPLE
from ..postbacks.client import Client, Progress
from ..postbacks.due import EVENTS
from ..postbacks.masking import MASK, hide
from ..postbacks.model import Report
from ..postbacks.network_call import PURPOSE, network_call, usable
from ..postbacks.render import render
from ..postbacks.tokens import TokenError, Tokens
from ..postbacks.verdict import Answered, judge
from ..referral.catalogue import Network
from ..referral.networks_file import load
from ..service.clock import Clock
from ..settings.model import Partner, Settings
from ..stores.ledger.database import Database
from ..stores.ledger.networks import Networks
from .check import load_or_exit
from .ledger import DEFAULT_CONFIG, Config, with_ledger
from .order import NoOrderError, checked_number, find_order
from .terminal import print_line

_SHOWN = ("content-type", "accept", "webhook-id", "webhook-timestamp")  # headers without a secret


def try_command(
    partner: Annotated[str, typer.Argument(metavar="PARTNER", help="The partner's id in the settings.")],
    config: Config = DEFAULT_CONFIG,
    order: Annotated[
        str | None, typer.Option(help="Report this order of the ledger; else a made-up one.")
    ] = None,
    event: Annotated[str | None, typer.Option(help=f"The event: {', '.join(EVENTS)}.")] = None,
    site: Annotated[str | None, typer.Option(help="The site, if several have such a partner.")] = None,
    send: Annotated[bool, typer.Option("--send", help="Send it, marked as a test.")] = False,
    real: Annotated[
        bool, typer.Option("--real", help="With --send: not as a test. The partner takes it for an order.")
    ] = False,
) -> None:
    """Print the exact call that a partner gets, with secrets and click ids masked.

    With --send it is sent once, marked as a test where the network has tests. Where it has none, nothing is
    sent unless --real is given. Nothing is written into the ledger.
    """
    if event is not None and event not in EVENTS:
        raise typer.BadParameter(f"{event!r} is no event; there are: {', '.join(EVENTS)}")
    settings = load_or_exit(config)
    at, found = partner_of(settings, partner, site)
    report = _made_up() if order is None else _reported(config, order, at, partner)
    report = _of_event(replace(report, partner=partner), event)
    network = load().networks.get(found.network or "")
    try:
        call = _built(found, network, report, test=send and not real)
    except RenderError as error:
        _refuse(str(error))
    print_line(call.masked)
    for name, value in call.headers.items():
        print_line(f"  {name}: {value if name.lower() in _SHOWN else MASK}")
    if send:
        _send(config, settings, found, network, report, real=real)


def _made_up() -> Report:
    """An order of now: networks refuse old ones, also as a test."""
    now = int(Clock().now())
    return replace(SAMPLE, order_time=now, landing_time=now - 3600)


def partner_of(settings: Settings, name: str, site: str | None) -> tuple[str, Partner]:
    """The site of a partner, and the partner. Exits with 1 if there is none, or at several sites."""
    found = [
        (s.name, p) for s in settings.sites for p in s.partners if p.id == name and site in (None, s.name)
    ]
    if len(found) > 1:
        _refuse(
            f"Several sites have a partner {name!r}: name one with --site: {', '.join(s for s, _ in found)}."
        )
    if not found:
        known = sorted({p.id for s in settings.sites for p in s.partners if site in (None, s.name)})
        _refuse(f"There is no partner {name!r}; there are: {', '.join(known) or 'none'}.")
    return found[0]


def _reported(config: Path, order: str, site: str, partner: str) -> Report:
    """What the partner was told of the order last, or is to be told."""
    number = checked_number(order)

    async def work(db: Database) -> Report | str:
        try:
            story = await find_order(db, config, number, site)
        except NoOrderError as error:
            return str(error)
        rows = [row for row in story.postbacks if row.partner == partner and row.state != "superseded"]
        return rows[-1].report if rows else f"Order {order} has no postback to {partner}: nobody credited it."

    found = with_ledger(config, work)
    if isinstance(found, str):
        _refuse(found)
    return found


def _of_event(report: Report, event: str | None) -> Report:
    if event is None or event == report.event:
        return report
    before = "" if event == "order" else report.before or report.amount
    return replace(report, event=event, before=before, amount="0.00" if event == "cancel" else report.amount)


def _built(
    partner: Partner, network: Network | None, report: Report, *, test: bool, token: str = MASK
) -> Call:
    now = Clock().now()
    if network is None:
        return render(partner, report, None, now, postback_id=f"try_{secrets.token_hex(10)}")
    call = network_call(partner, [report], network, now, token=token, test=test)
    return replace(call, allow_private=partner.allow_private)


def _send(
    config: Path, settings: Settings, partner: Partner, network: Network | None, report: Report, *, real: bool
) -> None:
    entry = None if network is None else usable(partner, network, PURPOSE[report.event])
    tests = entry is not None and entry.has_tests
    if not tests and not real:
        who = partner.id if network is None else network.name
        _refuse(f"Not sent: {who} has no way to mark a call as a test. With --real it is sent as an order.")

    async def work(db: Database | None) -> None:
        async with Client(float(settings.delivery.timeout), 1) as client:
            token, clock = "", Clock()
            if db is not None:
                await clock.follow(db)
            if db is not None and entry is not None:
                secret = settings.secret.get_secret_value()
                token = await Tokens(Networks(db), secret, clock.now).get(client, partner, entry)
            call = _built(partner, network, report, test=not real, token=token)
            result = await client.make(call, _nothing, Progress())
            verdict = judge(call, result, clock.now(), repeats=False)
            status = f"{result.status}: " if isinstance(result, Answered) else ""
            print_line(f"→ {status}{hide(verdict.answer, call.hidden) or 'empty response'}")
            print_line(f"  {verdict.outcome}")

    try:
        if entry is not None and entry.oauth is not None:
            with_ledger(config, work)
        else:
            asyncio.run(work(None))
    except TokenError as error:
        _refuse(str(error))


async def _nothing() -> None:
    """Do nothing before the first byte."""


def _refuse(why: str) -> NoReturn:
    print_line(why, err=True)
    raise typer.Exit(1)
