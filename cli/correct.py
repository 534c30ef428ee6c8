"""`clew orders …`: what people correct of orders."""

import getpass
from collections.abc import Awaitable, Callable
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated

import typer

from ..orders.model import STATES, OrderError
from ..service.clock import Clock
from ..service.ordering.book import Entry
from ..service.ordering.correcting import correct
from ..settings.model import Site
from ..stores.ledger.books import Ledger
from ..stores.ledger.database import Database
from .check import load_or_exit
from .ledger import DEFAULT_CONFIG, Config, fail, with_ledger
from .order import NoOrderError, Number, OneSite, find_order
from .orders import orders_command
from .terminal import print_line

app = typer.Typer()
app.callback(invoke_without_command=True)(orders_command)

By = Annotated[str | None, typer.Option(help="Who decides; your user name if you leave it out.")]
Why = Annotated[str, typer.Option(help="Why, for whoever looks at the order later.")]
NOBODY = "nobody"


def _amount(value: str | None) -> Decimal | None:
    try:
        return None if value is None else Decimal(value)
    except InvalidOperation:
        raise typer.BadParameter(f"{value!r} is no amount; write it with a dot: 129.95") from None


@app.command("correct")
def correct_command(
    number: Number,
    why: Why,
    config: Config = DEFAULT_CONFIG,
    site: OneSite = None,
    state: Annotated[str | None, typer.Option(help=f"The right state, one of {', '.join(STATES)}.")] = None,
    amount: Annotated[str | None, typer.Option(help="The right total, with a dot: 129.95.")] = None,
    currency: Annotated[str | None, typer.Option(help="The right currency, if that is wrong too.")] = None,
    partner: Annotated[
        str | None, typer.Option(help=f'The partner who earns it; "{NOBODY}" if no partner does.')
    ] = None,
    by: By = None,
) -> None:
    """Correct an order's state, total or partner.

    The correction becomes a new entry of the order's history, with your name and your reason. The partners
    are notified of the difference.
    """
    right = _amount(amount)

    async def work(ledger: Ledger, known: Callable[[str], Site]) -> Entry:
        story = await find_order(ledger.db, config, number, site)
        return await correct(
            ledger,
            known(story.order.site).partners,
            story.order,
            Clock().now(),
            by=by or getpass.getuser(),
            why=why,
            state=state,
            amount=right,
            currency=currency,
            partner="" if partner == NOBODY else partner,
        )

    _print(_with_sites(config, work))


def _with_sites(config: Path, work: Callable[[Ledger, Callable[[str], Site]], Awaitable[Entry]]) -> Entry:
    """What comes of `work` on the ledger, with the settings' sites by name. Exits with 1 and the reason where
    it cannot be done."""
    sites = {site.name: site for site in load_or_exit(config).sites}

    def known(name: str) -> Site:
        if name not in sites:
            raise OrderError(f"the settings have no site {name!r} any more")
        return sites[name]

    async def on(db: Database) -> Entry:
        return await work(Ledger(db), known)

    try:
        return with_ledger(config, on)
    except (OrderError, NoOrderError) as error:
        fail(f"Nothing changed: {error}")


def _print(entry: Entry) -> None:
    order = entry.after
    amount = "" if order.total is None else f" over {order.total} {order.currency}"
    print_line(f"Order {order.order_id}{amount} is {order.state}, credited to {order.partner or NOBODY}.")
    for row in entry.postbacks:
        why = f" ({row.why})" if row.why else ""
        amount = f"{row.report.amount} {row.report.currency}"
        print_line(f"{row.id}: {row.event} {amount} to {row.partner} is {row.state}{why}.")
