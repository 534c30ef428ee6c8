"""`clew postbacks`: what was told to partners, what waits, what failed and why, and trying it again."""

import asyncio
import getpass
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated, NoReturn, TypeVar

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from sqlalchemy.exc import SQLAlchemyError

from ..orders.model import OrderError
from ..postbacks.model import STATES, Postback, State
from ..stores.ledger.database import Database, LedgerAddressError, sqlite_path
from ..stores.ledger.outbox import LIST_LIMIT, Outbox, OutboxError
from .check import load_or_exit

app = typer.Typer(
    help="The calls to partners: list them, try failed ones again, settle those in doubt.",
    no_args_is_help=True,
)

Config = Annotated[Path, typer.Option("--config", "-c", metavar="FILE", help="The settings file.")]
DEFAULT_CONFIG = Path("clew.toml")
COLORS: dict[State, str] = {
    "due": "cyan",
    "sending": "cyan",
    "delivered": "green",
    "dead": "red",
    "unknown": "yellow",
    "held": "yellow",
    "refused": "bright_black",
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
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = LIST_LIMIT,
) -> None:
    """Show the postbacks, newest first, each with its last answer. Times are UTC."""
    wanted = next((s for s in STATES if s == state), None)
    found = _with_outbox(config, lambda outbox: outbox.list(wanted, site=site, limit=limit))
    if as_json:
        for row in found:
            typer.echo(json.dumps(asdict(row)))
    elif found:
        Console().print(_table(found))
    else:
        typer.echo(f"There are no postbacks{f' in the state {state}' if state else ''}.")


@app.command("retry")
def retry_command(
    ids: Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="As `list` shows them.")] = None,
    all_dead: Annotated[bool, typer.Option("--all-dead", help="All that are dead.")] = False,
    config: Config = DEFAULT_CONFIG,
) -> None:
    """Make postbacks due again, at once and with the whole schedule of retries before them.

    A postback in the state `unknown` was sent without an answer: ask the network whether it has the order
    before you send it again.
    """
    if bool(ids) == all_dead:
        raise typer.BadParameter("name the ids of postbacks, or write --all-dead")
    done, problems = _with_outbox(config, lambda outbox: _retry(outbox, ids or []))
    for problem in problems:
        typer.echo(problem, err=True)
    if done or not problems:
        typer.echo(f"{done} due again; a running clew takes them up within seconds.")
    if problems:
        raise typer.Exit(1)


By = Annotated[str | None, typer.Option(help="Who decides; your user name if you leave it out.")]


@app.command("release")
def release_command(
    ids: Annotated[list[str], typer.Argument(metavar="ID...", help="As `list` shows them.")],
    config: Config = DEFAULT_CONFIG,
    by: By = None,
) -> None:
    """Send held postbacks as they are: you have looked at the amount and the reason, and they are right."""
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


def _settle(
    config: Path,
    ids: list[str],
    by: str | None,
    *,
    send: bool = True,
    amount: Decimal | None = None,
    currency: str | None = None,
) -> None:
    who = by or getpass.getuser()

    async def work(outbox: Outbox) -> list[Postback | str]:
        done: list[Postback | str] = []
        for postback_id in dict.fromkeys(ids):
            try:
                found = await outbox.settle(
                    postback_id, time.time(), by=who, send=send, amount=amount, currency=currency
                )
            except (OutboxError, OrderError) as error:
                done.append(str(error))
            else:
                done.append(found)
        return done

    results = _with_outbox(config, work)
    for result in results:
        if isinstance(result, str):
            typer.echo(result, err=True)
        else:
            report = result.report
            told = "is due now" if send else "will not be sent"
            typer.echo(f"{result.id}: order {report.order_id} over {report.amount} {report.currency} {told}.")
    if any(isinstance(result, str) for result in results):
        raise typer.Exit(1)


async def _retry(outbox: Outbox, ids: list[str]) -> tuple[int, list[str]]:
    """Those named, or all dead ones where none is: how many are due again, and what stood against others."""
    if not ids:
        return await outbox.retry_dead(time.time()), []
    problems: list[str] = []
    for postback_id in dict.fromkeys(ids):
        try:
            await outbox.retry(postback_id, time.time())
        except OutboxError as error:
            problems.append(str(error))
    return len(set(ids)) - len(problems), problems


def _with_outbox(config: Path, work: Callable[[Outbox], Awaitable[T]]) -> T:
    settings = load_or_exit(config)
    file = sqlite_path(settings.ledger)
    if file is not None and not file.is_file():
        # Opening it would make an empty one, and a wrong path would look like a quiet day.
        _fail(f"there is no ledger at {file}: `clew serve` makes it; is this the right settings file?")

    async def run() -> T:
        db = Database(settings.ledger)
        try:
            await db.open()
            return await work(Outbox(db))
        finally:
            await db.close()

    try:
        return asyncio.run(run())
    except (SQLAlchemyError, LedgerAddressError, OSError) as error:
        reason = getattr(error, "orig", None) or error
        _fail(f"the ledger {settings.ledger} cannot be used: {reason}")


def _fail(message: str) -> NoReturn:
    typer.echo(message, err=True)
    raise typer.Exit(1)


def _table(rows: tuple[Postback, ...]) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("id", "state", "order", "amount", "partner", "channel", "tries", "why, or last answer"):
        table.add_column(name, no_wrap=name == "id", overflow="fold")
    for row in rows:
        report = row.report
        waits = f" {_at(row.next_at)}" if row.state == "due" else ""
        table.add_row(
            row.id,
            f"[{COLORS[row.state]}]{row.state}[/]{waits}",
            escape(f"{row.site} {report.order_id}"),
            f"{report.amount} {report.currency}",
            escape(row.partner),
            report.channel,
            str(row.attempts),
            escape(row.why or row.last_answer or ""),
        )
    return table


def _at(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%m-%d %H:%M:%S")
