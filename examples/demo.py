"""`make demo` starts a shop, clew and a partner's server, to try everything from the click to the postback.

`make demo-once` drives one visitor through it and exits 0 only if the partner got exactly the right postback.
"""

import argparse
import signal
import sys
import time
from collections.abc import Iterable
from contextlib import ExitStack, closing
from types import FrameType

import httpx2
from logview import LogView, read
from processes import NotReadyError
from receiver import Call
from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from services import AGENT, PARAM, Services, SetUpError
from visitor import Agent, CheckFailedError, Ordered, Visitor, expect, quoted

# Everything that careless programs change: case, plus, percent, colon, a character outside ASCII.
CLICK_ID = "Cb:7f+3%2B/Ü=.~a"
# Wait for a wrong second call this long.
QUIET_SECONDS = 2.0
EXPECTED_EVENTS = ("touch", "decision", "conversation", "message", "order", "credit", "postback")
console = Console(highlight=False)


def main() -> int:
    """Run the demo. Returns the exit status."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--once", action="store_true", help="drive one visitor through, then exit")
    once = options.parse_args().once
    signal.signal(signal.SIGTERM, _interrupted)
    try:
        return drive() if once else show()
    except KeyboardInterrupt:
        console.print("\nStopped.")
        return 0 if not once else 130
    except (SetUpError, NotReadyError, CheckFailedError, TimeoutError, httpx2.HTTPError) as error:
        console.print(f"[red]✗[/red] {type(error).__name__}: ", end="")
        console.print(str(error), markup=False)
        return 1


def _interrupted(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def show() -> int:
    """Start everything, print what to open, and show each event until Ctrl-C."""
    view = LogView(console)
    with ExitStack() as stack:
        with console.status("Starting the shop, clew and the partner's server …"):
            services = stack.enter_context(Services(on_line=view.line, on_call=view.call))
        console.print(_panel(services))
        while services.clew.running:
            time.sleep(0.5)
        raise SetUpError(f"clew has exited:\n{services.clew.tail()}")


def _panel(services: Services) -> Panel:
    at = services.addresses
    rows = Table.grid(padding=(0, 1))
    for number, (what, where, then) in enumerate(
        (
            ("Be the agent", at.desk, f"name [b]{AGENT}[/b], password [b]{services.password}[/b]"),
            ("Be the visitor", at.partner_link, "in a private window; stay for ten seconds, ask, order"),
            ("Be the partner", at.receiver, "nothing to open: its calls are shown below"),
        ),
        start=1,
    ):
        rows.add_row(f"[b]{number}[/b]", f"[b]{what}[/b]", f"[cyan]{where}[/cyan]")
        rows.add_row("", "", f"{then}\n")
    return Panel(rows, title="clew demo", subtitle="Ctrl-C stops everything", expand=False)


def drive() -> int:
    """Drive one visitor from the partner's link to the postback. Raises CheckFailedError."""
    with ExitStack() as stack:
        with console.status("Starting the shop, clew and the partner's server …"):
            services = stack.enter_context(Services())
        visitor = stack.enter_context(closing(Visitor(services.addresses.shop)))
        agent = stack.enter_context(closing(Agent(services.addresses.shop)))
        try:
            order = _journey(visitor, agent, services)
            with console.status("Waiting for the partner's server …"):
                services.receiver.wait()
            visitor.open(order.page)
            time.sleep(QUIET_SECONDS)
            check_calls(services.receiver.calls, order)
            check_events(list(services.clew.lines))
        except Exception:
            console.print(services.clew.tail(), markup=False, style="bright_black")
            raise
    _done("all", "the partner got one correct call, and a reload of the confirmation page added nothing")
    return 0


def _journey(visitor: Visitor, agent: Agent, services: Services) -> Ordered:
    agent.log_in(AGENT, services.password)
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
    expect(visitor.answers() == [answer], f"the visitor got {visitor.answers()}")
    _done("conversation", f"asked: {question} {AGENT} answered: {answer}")
    order = visitor.buy("aurora-58")
    _done("order", f"{order.number} over {order.total} {order.currency}")
    return order


def check_calls(calls: list[Call], order: Ordered) -> None:
    """Raise CheckFailedError unless the partner got exactly one call, with the right values."""
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


def check_events(lines: Iterable[str]) -> None:
    """Raise CheckFailedError unless clew's log has every expected event."""
    logged = {fields["event"] for line in lines if (fields := read(line))}
    missing = [name for name in EXPECTED_EVENTS if name not in logged]
    expect(not missing, f"clew's log lacks the events: {', '.join(missing)}")


def _done(step: str, text: str) -> None:
    console.print(f"[green]✓[/green] [b]{step:<13}[/b] ", end="")
    console.print(text, markup=False, soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
