"""`clew postbacks`: the calls to partners, with their state and last response; retries and decisions."""

import getpass
import json
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated, NamedTuple, TypeVar

import typer
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ..orders.model import OrderError
from ..postbacks.due import EVENTS, manual
from ..postbacks.model import STATES, Postback, State
from ..postbacks.partners import Partners
from ..referral.networks_file import load as load_catalogue
from ..service.clock import Clock, time_of
from ..service.ordering.correcting import settle, settled
from ..settings.model import Partner
from ..stores.ledger.again import OutboxError
from ..stores.ledger.books import Ledger
from ..stores.ledger.database import Database
from ..stores.ledger.outbox import LIST_LIMIT, Outbox
from .check import load_or_exit
from .ledger import DEFAULT_CONFIG, AsJson, Config, not_found, with_ledger
from .terminal import open_console, print_line
from .trying import try_command

app = typer.Typer(
    help="The calls to partners: list them, retry failed ones, decide on those in doubt.",
    no_args_is_help=True,
)

app.command("try")(try_command)

WIDE = 140  # terminal columns for one line per row, except for the last column
COLORS: dict[State, str] = {
    "due": "cyan",
    "sending": "cyan",
    "accepted": "cyan",
    "delivered": "green",
    "dead": "red",
    "unknown": "yellow",
    "held": "yellow",
    "refused": "bright_black",
    "superseded": "bright_black",
}
T = TypeVar("T")


def _state(value: str | None) -> str | None:
    if value is not None and value not in STATES:
        raise typer.BadParameter(f"{value!r} is no state; there are: {', '.join(STATES)}")
    return value


@app.command("list")
def list_command(
    config: Config = DEFAULT_CONFIG,
    state: Annotated[
        str | None, typer.Option(callback=_state, help=f"Only those in this state: {', '.join(STATES)}.")
    ] = None,
    site: Annotated[str | None, typer.Option(help="Only those of this site.")] = None,
    as_json: AsJson = False,
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = LIST_LIMIT,
) -> None:
    """Show the postbacks, newest first, each with its last answer. Times are UTC."""
    wanted = next((s for s in STATES if s == state), None)
    found = _with_outbox(config, lambda outbox, _: outbox.list(wanted, site=site, limit=limit))
    if as_json:
        for row in found:
            typer.echo(json.dumps({**asdict(row), "report": row.report.to_json()}))
    elif found:
        _show(found, open_console(highlight=False))
    else:
        message = f"There are no postbacks{f' in the state {state}' if state else ''}."
        print_line(not_found(config, message, site))


@app.command("retry")
def retry_command(
    ids: Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="As `list` shows them.")] = None,
    all_dead: Annotated[bool, typer.Option("--all-dead", help="All that are dead.")] = False,
    config: Config = DEFAULT_CONFIG,
) -> None:
    """Make postbacks due now, with the full schedule of retries.

    A postback in the state `unknown` was sent without a response: check with the network whether it has the
    order before you retry. One after which the partner was sent a later event of the same order is not sent
    again; where needed, the order is sent as it stands now.
    """
    if bool(ids) == all_dead:
        raise typer.BadParameter("name the ids of postbacks, or write --all-dead")
    partner = _partners(config)
    done, problems = _with_outbox(config, lambda outbox, clock: _retry(outbox, clock, partner, ids or []))
    for problem in problems:
        print_line(problem, err=True)
    if done.superseded:
        print_line(f"{done.superseded} not sent again: a later postback says what holds now.")
    if done.due or not (problems or done.superseded):
        print_line(f"{done.due} due again; a running clew takes them up within seconds.")
    if problems:
        raise typer.Exit(1)


By = Annotated[str | None, typer.Option(help="Who decides; your user name if you leave it out.")]


@app.command("resend")
def resend_command(
    postback: Annotated[str, typer.Argument(metavar="ID", help="As `list` and `reconcile` show it.")],
    event: Annotated[
        str | None, typer.Option(help=f"Tell it as this event: {', '.join(EVENTS)}; default: as it was.")
    ] = None,
    config: Config = DEFAULT_CONFIG,
    by: By = None,
) -> None:
    """Tell a partner again what it has taken already, because its own report says otherwise.

    `clew reconcile` names these calls. A partner that counts a repeated order twice is told the order twice:
    ask it first.
    """
    if event is not None and event not in EVENTS:
        raise typer.BadParameter(f"{event!r} is no event; there are: {', '.join(EVENTS)}")
    partner = _partners(config)
    networks = load_catalogue().networks

    async def work(outbox: Outbox, clock: Clock) -> Postback | str:
        def unable(row: Postback) -> str:
            doubt = manual(partner(row.site, row.partner), row.report, networks, clock.now())
            return "" if doubt is None else doubt.text

        who = by or getpass.getuser()
        try:
            able = Partners(partner, networks).able(clock.now())
            return await outbox.resend(postback, clock.now(), by=who, event=event, manual=unable, able=able)
        except OutboxError as error:
            return str(error)

    found = _with_outbox(config, work)
    if isinstance(found, str):
        print_line(found, err=True)
        raise typer.Exit(1)
    amount = f"{found.report.amount} {found.report.currency}"
    print_line(f"{found.id}: {found.event} {amount} to {found.partner} is {found.state}.")


@app.command("release")
def release_command(
    ids: Annotated[list[str], typer.Argument(metavar="ID...", help="As `list` shows them.")],
    config: Config = DEFAULT_CONFIG,
    by: By = None,
) -> None:
    """Send held postbacks as they are: you have checked the amount and the reason."""
    _settle(config, ids, by)


@app.command("correct")
def correct_command(
    postback: Annotated[str, typer.Argument(metavar="ID", help="As `list` shows it.")],
    amount: Annotated[str, typer.Option(help="The right amount, with a dot: 129.95.")],
    currency: Annotated[str | None, typer.Option(help="The right currency, if that is wrong too.")] = None,
    config: Config = DEFAULT_CONFIG,
    by: By = None,
) -> None:
    """Send a held postback with another amount, which the order in the ledger gets as well."""
    try:
        right = Decimal(amount)
    except InvalidOperation:
        raise typer.BadParameter(f"{amount!r} is no amount; write it with a dot: 129.95") from None
    _settle(config, [postback], by, amount=right, currency=currency)


@app.command("refuse")
def refuse_command(
    ids: Annotated[list[str], typer.Argument(metavar="ID...", help="As `list` shows them.")],
    config: Config = DEFAULT_CONFIG,
    by: By = None,
) -> None:
    """Do not send held postbacks. `release` still can."""
    _settle(config, ids, by, send=False)


@app.command("reported")
def reported_command(
    ids: Annotated[list[str], typer.Argument(metavar="ID...", help="As `list` shows them.")],
    config: Config = DEFAULT_CONFIG,
    by: By = None,
) -> None:
    """Mark postbacks that clew cannot send as reported: you have notified the partner yourself."""
    decided_by, partner = by or getpass.getuser(), _partners(config)

    async def work(outbox: Outbox, clock: Clock) -> list[str]:
        able = Partners(partner, load_catalogue().networks).able(clock.now())
        problems = []
        for postback_id in dict.fromkeys(ids):
            try:
                await outbox.mark_reported(postback_id, clock.now(), by=decided_by, able=able)
            except OutboxError as error:
                problems.append(str(error))
        return problems

    problems = _with_outbox(config, work)
    for problem in problems:
        print_line(problem, err=True)
    print_line(f"{len(set(ids)) - len(problems)} marked as reported.")
    if problems:
        raise typer.Exit(1)


def _settle(
    config: Path,
    ids: list[str],
    by: str | None,
    *,
    send: bool = True,
    amount: Decimal | None = None,
    currency: str | None = None,
) -> None:
    decided_by = by or getpass.getuser()
    sites = {site.name: site.partners for site in load_or_exit(config).sites}

    async def work(db: Database) -> list[Postback | str]:
        ledger, now, done = Ledger(db), await time_of(db), list[Postback | str]()
        for postback_id in dict.fromkeys(ids):
            try:
                entry = await settle(
                    ledger,
                    lambda site: sites.get(site, []),
                    postback_id,
                    now,
                    by=decided_by,
                    send=send,
                    amount=amount,
                    currency=currency,
                )
                done.append(settled(entry, postback_id))
            except (OutboxError, OrderError) as error:
                done.append(str(error))
        return done

    results = with_ledger(config, work)
    for result in results:
        if isinstance(result, str):
            print_line(result, err=True)
        else:
            report = result.report
            outcome = "is due now" if send else "will not be sent"
            print_line(
                f"{result.id}: order {report.order_id} over {report.amount} {report.currency} {outcome}."
            )
    if any(isinstance(result, str) for result in results):
        raise typer.Exit(1)


_Partner = Callable[[str, str], Partner | None]


class _Retried(NamedTuple):
    """How many postbacks are due again, and how many are superseded instead."""

    due: int
    superseded: int = 0


async def _retry(
    outbox: Outbox, clock: Clock, partner: _Partner, ids: list[str]
) -> tuple[_Retried, list[str]]:
    """Retry the given ids, or all dead ones if there is none. Returns the numbers, and the problems."""
    able = Partners(partner, load_catalogue().networks).able(clock.now())
    if not ids:
        return _Retried(await outbox.retry_dead(clock.now(), able=able)), []
    problems: list[str] = []
    states: list[State] = []
    for postback_id in dict.fromkeys(ids):
        try:
            states.append((await outbox.retry(postback_id, clock.now(), able=able)).state)
        except OutboxError as error:
            problems.append(str(error))
    superseded = states.count("superseded")
    return _Retried(len(states) - superseded, superseded), problems


def _partners(config: Path) -> _Partner:
    """The partners of the settings by site and id."""
    found = {(site.name, one.id): one for site in load_or_exit(config).sites for one in site.partners}
    return lambda site, partner: found.get((site, partner))


def _with_outbox(config: Path, work: Callable[[Outbox, Clock], Awaitable[T]]) -> T:
    async def on(db: Database) -> T:
        clock = Clock()
        await clock.follow(db)
        return await work(Outbox(db), clock)

    return with_ledger(config, on)


def _show(rows: tuple[Postback, ...], console: Console) -> None:
    """Print a table if it fits, else each postback on several lines."""
    if console.width >= WIDE:
        console.print(_table(rows))
        return
    for row in rows:
        report, tries = row.report, f"{row.attempts} {'try' if row.attempts == 1 else 'tries'}"
        order = f"{row.site} {report.order_id}"
        facts = row.event, order, f"{report.amount} {report.currency}", row.partner
        console.print(Text.assemble(row.id, "  ", (_state_of(row), COLORS[row.state])))
        console.print(Padding(Text(" · ".join((*facts, report.channel, tries))), (0, 0, 0, 2), expand=False))
        if reason := _reason(row):
            console.print(Padding(Text(reason), (0, 0, 0, 2), expand=False))


def _table(rows: tuple[Postback, ...]) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in (
        "id",
        "state",
        "event",
        "order",
        "amount",
        "partner",
        "channel",
        "tries",
        "why, or last answer",
    ):
        table.add_column(name, no_wrap=name == "id", overflow="fold")
    for row in rows:
        report = row.report
        table.add_row(
            row.id,
            Text(_state_of(row), COLORS[row.state]),
            row.event,
            escape(f"{row.site} {report.order_id}"),
            f"{report.amount} {report.currency}",
            escape(row.partner),
            report.channel,
            str(row.attempts),
            escape(_reason(row)),
        )
    return table


def _state_of(row: Postback) -> str:
    return f"{row.state} {_at(row.next_at)}" if row.state == "due" else row.state


def _reason(row: Postback) -> str:
    """The reason for its state: the doubt, and the last response with its status."""
    answer = row.last_answer or ""
    if row.last_status is not None:
        answer = f"{row.last_status}: {answer}" if answer else f"{row.last_status}, empty response"
    return "; ".join(part for part in (row.why, answer) if part)


def _at(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%m-%d %H:%M:%S")
