"""The table that drives the exchange."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from clew.middleware.exchange import exchange as exchange_module
from clew.middleware.exchange.exchange import TABLE, Event, Exchange, ExchangeError, Out, State, Step
from clew.middleware.exchange.record import Record
from exchanges import NOW, PAGE, html, navigate, request, site

Arrow = tuple[str, str, str]

FEED: dict[str, Callable[[Exchange], object]] = {
    "request": lambda exchange: exchange.request(request()),
    "response": lambda exchange: exchange.response(html()),
    "body": lambda exchange: exchange.body(PAGE),
    "other": lambda exchange: exchange.other(),
    "end": lambda exchange: exchange.end(),
}


def arrows() -> set[Arrow]:
    return {
        (before.name, event.name, after.name)
        for event in TABLE
        for before, step in event.steps.items()
        for after in step.leads_to
    }


def drawn() -> list[Arrow]:
    page = (Path(__file__).parents[3] / "docs/architecture.md").read_text("utf-8")
    diagram = page.partition("## The exchange")[2].partition("stateDiagram-v2")[2].partition("```")[0]
    return [
        (before, event, after)
        for before, after, events in re.findall(r"^ *(\w+) --> (\w+): (.+)$", diagram, re.MULTILINE)
        for event in events.split(", ")
    ]


def test_the_documentation_draws_the_table() -> None:
    assert sorted(drawn()) == sorted(arrows())


def test_every_state_is_explained() -> None:
    page = (Path(__file__).parents[3] / "docs/architecture.md").read_text("utf-8")
    explained = re.findall(r"^\| ([A-Z_]+) \| ", page.partition("## The exchange")[2], re.MULTILINE)
    assert explained == [state.name for state in State]


def test_every_state_can_be_reached() -> None:
    assert {after for _, _, after in arrows()} == {state.name for state in State} - {"START"}


@pytest.mark.parametrize("event", TABLE, ids=lambda event: event.name)
@pytest.mark.parametrize("state", State, ids=lambda state: state.name)
def test_an_event_that_a_state_does_not_name_is_an_error(event: Event[object, object], state: State) -> None:
    if state in event.steps:
        return
    exchange = Exchange(site(), NOW)
    exchange.state = state
    with pytest.raises(ExchangeError, match=f"{event.name} in state {state.name}"):
        FEED[event.name](exchange)
    assert exchange.state is state


@pytest.mark.parametrize("event", TABLE, ids=lambda event: event.name)
def test_every_event_is_driven_by_its_row(
    event: Event[object, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the row's step does happens, and where it leads outside the row is an error."""
    for before in event.steps:
        for after in State:
            if after is State.BROKEN:
                continue
            answer, leads_to = Out(), frozenset({after})
            step = Step(lambda record, given, out=answer, to=after: (out, to), leads_to)
            for allowed in (True, False):
                row = step if allowed else step._replace(leads_to=frozenset())
                changed = Event(event.name, {before: row})
                monkeypatch.setattr(exchange_module, event.name.upper(), changed)
                exchange = Exchange(site(), NOW)
                exchange.state = before
                if allowed:
                    assert FEED[event.name](exchange) is answer
                    assert exchange.state is after
                else:
                    with pytest.raises(ExchangeError, match=f"cannot lead to {after.name}"):
                        FEED[event.name](exchange)
                    assert exchange.state is before


def test_in_state_passing_nothing_is_changed() -> None:
    """A mount forwards head and bytes itself in this state: nothing may change them."""
    steps = {event.name: event.steps[State.PASSING] for event in TABLE if State.PASSING in event.steps}
    assert {name: step.leads_to for name, step in steps.items()} == {
        "response": {State.PASSING},
        "body": {State.PASSING},
        "other": {State.PASSING},
        "end": {State.DONE},
    }
    record, head = Record(site(), NOW), html()
    record.state = State.PASSING
    for given, out in ((head, Out(head)), (PAGE, Out(body=PAGE))):
        name = "response" if given is head else "body"
        assert steps[name].handler(record, given) == (out, State.PASSING)
    for name in ("other", "end"):
        assert steps[name].handler(record, None)[0] == Out()


def test_other_messages_pass_if_nothing_is_held() -> None:
    exchange = Exchange(site(debug=False), NOW)
    navigate(exchange, request())
    assert exchange.other() == Out(), "before the head, as a later version of ASGI may have it"
    exchange.response(html())
    exchange.body(PAGE)
    assert exchange.state is State.EDITING
    assert exchange.other() == Out()
    exchange.end()
    assert exchange.other() == Out(), "trailers follow the end of the body"
    assert exchange.state is State.DONE
