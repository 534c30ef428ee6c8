"""`clew networks`: what the catalogue knows of each network."""

import json
from collections.abc import Iterator
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from ..postbacks.examples import rendered
from ..referral.calls import PURPOSES, CallEntry, Purpose
from ..referral.catalogue import Network
from ..referral.networks_file import load
from ..settings.wording import nearest
from .terminal import open_console, print_line

app = typer.Typer(
    help="The networks that clew knows, and what it reports to each.", invoke_without_command=True
)

AIDS: dict[Purpose, str] = {
    "lookup": "asks what the network calls an order",
    "result": "asks what became of an accepted call",
}
EVENTS: dict[Purpose, str] = {
    "conversion": "new orders",
    "adjust": "changes",
    "cancel": "cancellations",
    "approve": "approvals",
    "decline": "refusals",
}
REPEATS = {
    "ignored": "a repeat is ignored",
    "overwrites": "a repeat overwrites",
    "counts": "a repeat counts twice",
    "unknown": "what a repeat does is not known",
}


@app.callback()
def list_command(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
) -> None:
    """List the networks: id, name, what each takes, and how sure its entry is."""
    if context.invoked_subcommand is not None:
        return
    networks = load().networks.values()
    if as_json:
        for network in networks:
            typer.echo(json.dumps(_facts(network)))
        return
    table = Table(box=None, pad_edge=False)
    for name in ("id", "name", "takes", "entry"):
        table.add_column(name, no_wrap=name == "id", overflow="fold")
    for network in networks:
        table.add_row(network.id, escape(network.name), _takes(network), network.confidence)
    open_console(highlight=False).print(table)


@app.command("show")
def show_command(
    name: Annotated[str, typer.Argument(metavar="NETWORK", help="The network's id, such as awin.")],
) -> None:
    """Show one network: its calls with their settings, limits and examples, and what is reported by hand."""
    networks = load().networks
    network = networks.get(name)
    if network is None:
        hint = nearest(name, networks)
        print_line(
            f"There is no network {name!r}; {hint if len(hint) < 200 else 'see `clew networks`'}.", err=True
        )
        raise typer.Exit(1)
    console = open_console(soft_wrap=True, highlight=False)
    console.print(Text(f"{network.name} ({network.id}), {network.confidence}", "bold"))
    params = ", ".join(param.name for param in network.landing_params)
    console.print(Text(f"  click id: {params or 'the parameter that the partner sets as `param`'}"))
    for call in network.calls:
        for line in _lines(network, call):
            console.print(Text(line))
    for purpose, how in network.by_hand.items():
        console.print(Text(f"\n{EVENTS[purpose]}: by hand: {how}"))
    for purpose, why in network.nothing.items():
        console.print(Text(f"\n{EVENTS[purpose]}: nothing to report: {why}"))
    said = {*network.by_hand, *network.nothing}
    unknown = [EVENTS[p] for p in PURPOSES[:3] if p not in said and not network.calls_for(p, {})]
    if unknown:
        console.print(Text(f"\nno call is known for {', '.join(unknown)}: they are held for a person"))


def _takes(network: Network) -> str:
    found = []
    for purpose in PURPOSES:
        calls = network.calls_for(purpose, {})
        if calls:
            needs = set.intersection(*({*call.needs} for call in calls))
            found.append(EVENTS[purpose] + (f" (needs {', '.join(sorted(needs))})" if needs else ""))
    return ", ".join(found) or "clicks only"


def _facts(network: Network) -> dict[str, object]:
    return {
        "id": network.id,
        "name": network.name,
        "kind": network.kind,
        "confidence": network.confidence,
        "click_params": [param.name for param in network.landing_params],
        "calls": [
            {
                "id": call.id,
                "for": sorted(call.purposes),
                "needs": sorted(call.needs),
                "settings": [s.name for s in call.settings.values() if s.required and s.default is None],
                "batch": call.batch,
                "repeat": call.repeat,
                "per_minute": call.per_minute,
                "within": call.within,
                "after": call.after,
                "days": call.days,
            }
            for call in network.calls
        ],
        "by_hand": dict(network.by_hand),
        "nothing": dict(network.nothing),
    }


def _lines(network: Network, call: CallEntry) -> Iterator[str]:
    """A call for people: what it is for, its limits, the settings it needs, and the call of its example."""
    words = {**EVENTS, **AIDS}
    what = ", ".join(words[purpose] for purpose in words if purpose in call.purposes)
    yield f"\n{call.id}: {what}"
    yield f"  {call.method} {call.url}"
    if call.needs:
        yield f"  cannot be called: it needs {', '.join(sorted(call.needs))}, which clew does not have"
    required = [s.name for s in call.settings.values() if s.required and s.default is None]
    others = [s.name for s in call.settings.values() if s.name not in required]
    yield f"  settings: {', '.join(required) or 'none'}" + (
        f"; optional: {', '.join(others)}" if others else ""
    )
    yield f"  {'; '.join(_limits(call))}"
    for example in call.examples[:1]:
        made = rendered(network, call, example)
        yield f"  for example: {made.masked}"


def _limits(call: CallEntry) -> Iterator[str]:
    yield f"up to {call.batch} reports in a call" if call.batch > 1 else "one report in a call"
    yield REPEATS[call.repeat]
    if call.lookup is not None:
        yield f"after {call.lookup.id}, which finds the network's id of the order"
    if call.per_minute is not None:
        yield f"{call.per_minute} calls a minute"
    if call.within is not None:
        yield f"wanted within {call.within} s after the order"
    if call.after is not None:
        yield f"not before {call.after} s after the order"
    if call.days is not None:
        yield f"for {call.days} days after the order"
    if call.oauth is not None:
        yield f"OAuth 2.0 token by {call.oauth.grant}"
    if call.success.silent:
        yield "the response never says whether it counted"
    if call.has_tests:
        yield "can be marked as a test"
