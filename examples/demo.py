"""`make demo`: the whole way from a partner's click to the partner's receipt, to be walked through by hand.

`make demo-once` walks it by itself and exits 0 only if the partner got exactly what it should.
"""

import argparse
import signal
import sys
import time
from collections.abc import Iterable
from contextlib import ExitStack, closing
from types import FrameType

import httpx2
from house import AGENT, PARAM, House, SetUpError
from processes import NotReadyError
from receiver import Call
from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from stations import Board, read
from visitor import Agent, Ordered, Visitor, WrongTurnError, expect, quoted

# Everything that a careless program changes: case, plus, percent, colon, a byte pair that is no ASCII.
CLICK_ID = "Cb:7f+3%2B/Ü=.~a"
# How long no second call may come.
QUIET_SECONDS = 2.0
STATIONS = ("touch", "decision", "conversation", "message", "order", "credit", "postback")
console = Console(highlight=False)


def main() -> int:
    """Run what the command line asks for; returns the exit status."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--once", action="store_true", help="drive one visitor through, then end")
    once = options.parse_args().once
    signal.signal(signal.SIGTERM, _interrupted)
    try:
        return drive() if once else show()
    except KeyboardInterrupt:
        console.print("\nAll closed.")
        return 0 if not once else 130
    except (SetUpError, NotReadyError, WrongTurnError, TimeoutError, httpx2.HTTPError) as error:
        console.print(f"[red]✗[/red] {type(error).__name__}: ", end="")
        console.print(str(error), markup=False)
        return 1


def _interrupted(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def show() -> int:
    """Start everything, say what to open, and show each station until Ctrl-C."""
    board = Board(console)
    with ExitStack() as stack:
        with console.status("Starting the shop, clew and the partner's server …"):
            house = stack.enter_context(House(on_line=board.line, on_call=board.call))
        console.print(_panel(house))
        while house.clew.running:
            time.sleep(0.5)
        raise SetUpError(f"clew has ended:\n{house.clew.tail()}")


def _panel(house: House) -> Panel:
    at = house.addresses
    rows = Table.grid(padding=(0, 1))
    for number, (what, where, then) in enumerate(
        (
            ("Be the agent", at.desk, f"name [b]{AGENT}[/b], password [b]{house.password}[/b]"),
            ("Be the visitor", at.partner_link, "in a private window; stay for ten seconds, ask, order"),
            ("Be the partner", at.receiver, "nothing to open: its calls are shown below"),
        ),
        start=1,
    ):
        rows.add_row(f"[b]{number}[/b]", f"[b]{what}[/b]", f"[cyan]{where}[/cyan]")
        rows.add_row("", "", f"{then}\n")
    return Panel(rows, title="clew demo", subtitle="Ctrl-C ends everything", expand=False)


def drive() -> int:
    """One visitor from the partner's link to the partner's receipt. Raises WrongTurnError on the way."""
    with ExitStack() as stack:
        with console.status("Starting the shop, clew and the partner's server …"):
            house = stack.enter_context(House())
        visitor = stack.enter_context(closing(Visitor(house.addresses.shop)))
        agent = stack.enter_context(closing(Agent(house.addresses.shop)))
        try:
            order = _walk(visitor, agent, house)
            with console.status("Waiting for the partner's server …"):
                house.receiver.wait()
            visitor.open(order.page)
            time.sleep(QUIET_SECONDS)
            check_calls(house.receiver.calls, order)
            check_stations(list(house.clew.lines))
        except Exception:
            console.print(house.clew.tail(), markup=False, style="bright_black")
            raise
    _done("all", "the partner got one correct call, and a reload of the confirmation page added nothing")
    return 0


def _walk(visitor: Visitor, agent: Agent, house: House) -> Ordered:
    agent.log_in(AGENT, house.password)
    _done("desk", f"{AGENT} is logged in")
    landing = visitor.open(f"/go/aurora-58?{PARAM}={quoted(CLICK_ID)}")
    expect([r.status_code for r in landing.history] == [302], f"the link led {landing.history}")
    cookies = landing.history[0].headers.get_list("set-cookie")
    expect(any(c.startswith("clew_visitor=") for c in cookies), f"the redirect set no visitor: {cookies}")
    expect(not landing.url.query, f"the shop's redirect kept the query: {landing.url}")
    _done("touch", f"landed with click id {CLICK_ID} on an address that redirects and loses it")
    with console.status("Hesitating …"):
        invite = visitor.wait_for_invite()
    _done("decision", f"rule {invite['rule']!r} invites: {invite['text']}")
    question, answer = (
        "Does the Aurora fit under a shelf of 40 cm?",
        "It does: 37 cm, and the tank slides out.",
    )
    visitor.ask(question, invite["rule"])
    expect(question in agent.answer(answer), "the desk does not show the visitor's question")
    expect(visitor.answers() == [answer], f"the visitor reads {visitor.answers()}")
    _done("conversation", f"asked: {question} {AGENT} answered: {answer}")
    order = visitor.buy("aurora-58")
    _done("order", f"{order.number} over {order.total} {order.currency}")
    return order


def check_calls(calls: list[Call], order: Ordered) -> None:
    """Raise WrongTurnError unless the partner got one call, and that one right."""
    expect(len(calls) == 1, f"the partner got {len(calls)} calls: {calls}")
    wanted = {
        "click": CLICK_ID,
        "order": order.number,
        "sum": order.total,
        "cur": order.currency,
        "via": "chat",
    }
    expect(calls[0].query == wanted, f"the partner got {calls[0].query}, not {wanted}")
    _done("postback", f"{calls[0].method} {calls[0].target}")


def check_stations(lines: Iterable[str]) -> None:
    """Raise WrongTurnError unless clew's log tells of every station."""
    passed = {fields["event"] for line in lines if (fields := read(line))}
    missing = [name for name in STATIONS if name not in passed]
    expect(not missing, f"clew's log tells nothing of: {', '.join(missing)}")


def _done(station: str, text: str) -> None:
    console.print(f"[green]✓[/green] [b]{station:<13}[/b] ", end="")
    console.print(text, markup=False, soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
