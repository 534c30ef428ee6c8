"""`clew explain`: why an order was credited as it was, and why the rules say what they say to a visitor."""

import json
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from ..service.ordering.lines import Line
from ..service.ordering.story import lines, replays, story_json, values
from ..stores.ledger.stories import Story
from .explain_visitor import visitor_command
from .ledger import DEFAULT_CONFIG, Config, fail, with_ledger
from .order import NoOrderError, Number, OneSite, find_order
from .terminal import open_console

app = typer.Typer(
    help="Explain why an order was credited as it was, or what the rules decide for a visitor.",
    no_args_is_help=True,
)
app.command("visitor")(visitor_command)

COLORS = {
    "report": "cyan",
    "correction": "yellow",
    "credit": "green",
    "commission": "blue",
    "postback": "magenta",
    "attempt": "",
}
DIFFERENT = 1


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")


@app.command("order")
def order_command(
    number: Number,
    config: Config = DEFAULT_CONFIG,
    site: OneSite = None,
    replay: Annotated[
        bool, typer.Option("--replay", help="Decide each credit again from its stored inputs.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Tell all that is known of an order, as a time line.

    Each report, what the order came to, each credit decision with its reasons, each postback with its
    attempts, and what people corrected. Times are UTC.

    With --replay the command ends with 1 if a decision comes out otherwise than it is stored.
    """

    try:
        story = with_ledger(config, lambda db: find_order(db, config, number, site))
    except NoOrderError as error:
        fail(str(error))
    again = replays(story) if replay else ()
    if as_json:
        typer.echo(json.dumps(story_json(story, again)))
    else:
        _show(story, lines(story, _moment, again))
    if not all(one.same for one in again):
        raise typer.Exit(DIFFERENT)


def _show(story: Story, lines: tuple[Line, ...]) -> None:
    order = story.order
    console = open_console(soft_wrap=True, highlight=False)
    console.print(f"[bold]Order {escape(order.spelling or order.order_id)}[/bold] of {escape(order.site)}")
    for doubt in order.doubts:
        console.print(f"in doubt ({doubt.kind}): {escape(doubt.text)}", style="yellow")
    table = Table(box=None, pad_edge=False, show_header=False)
    for name in ("field", "value", "source"):
        table.add_column(name, overflow="fold", style="bright_black" if name == "source" else None)
    for value in values(story, _moment):
        table.add_row(value.name, escape(value.text), escape(value.source))
    console.print(table)
    console.print("Times are UTC.", style="bright_black")
    for line in lines:
        console.print()
        console.print(f"{_moment(line.at)}  {escape(line.text)}", style=COLORS[line.kind])
        for detail in line.details:
            console.print(f"    {escape(detail)}")
