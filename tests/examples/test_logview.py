"""The demo's view of clew's log."""

import json
from io import StringIO

import pytest
from logview import LogView
from receiver import Call
from rich.console import Console


def _shown(*lines: str) -> str:
    sink = StringIO()
    view = LogView(Console(file=sink, width=200, color_system=None))
    for line in lines:
        view.line(line)
    return sink.getvalue()


def _line(event: str, **fields: object) -> str:
    return json.dumps({"event": event, "level": "info", **fields})


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (_line("touch", partners=["coffeeblog"], landing="/go/a"), "coffeeblog sent a visitor to /go/a"),
        (
            _line("decision", action="show", page="/a", rule=None, retry_after=5.0),
            "show on /a; next decision in 5 s",
        ),
        (_line("decision", action="invite", page="/a", rule="waits"), "invite by rule 'waits' on /a"),
        (_line("conversation", state="open", rule="waits"), "started by the invite of rule 'waits'"),
        (_line("message", author="agent", agent="anna"), "from anna"),
        (
            _line("order", order="7", total="1.00", currency="EUR", channel="chat"),
            "7 1.00 EUR, channel chat",
        ),
        (_line("credit", partner=None, reason="no touch"), "nobody: no touch"),
        (_line("postback", partner="coffeeblog", outcome="delivered"), "coffeeblog delivered"),
        (_line("fault", level="error", where="decide"), '"where": "decide"'),
        ("Traceback (most recent call last):", "Traceback"),
    ],
)
def test_events_of_a_visitor_and_problems_are_shown(line: str, text: str) -> None:
    assert text in _shown(line)


@pytest.mark.parametrize(
    "name", ["touch", "decision", "conversation", "message", "order", "credit", "postback"]
)
def test_an_event_without_its_fields_is_shown_nevertheless(name: str) -> None:
    assert name in _shown(json.dumps({"event": name}))


def test_other_events_are_omitted() -> None:
    assert _shown(_line("started"), _line("login", agent="anna"), "", "  ") == ""


def test_text_of_a_visitor_is_not_read_as_markup() -> None:
    assert "[red]x[/red]" in _shown(_line("touch", partners=["[red]x[/red]"]))


def test_calls_to_the_partner_are_shown() -> None:
    sink = StringIO()
    LogView(Console(file=sink, width=200, color_system=None)).call(
        Call("GET", "/sale?a=1", {}, b"", status=503)
    )
    assert "got GET /sale?a=1, answered 503" in sink.getvalue()
