"""Shows clew's JSON log in the terminal, one line for each event of a visitor."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from receiver import Call
from rich.console import Console
from rich.text import Text

Fields = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class EventStyle:
    """How one kind of event is shown: its symbol, its colour and its description."""

    sign: str
    color: str
    describe: Callable[[Fields], str]


def _joined(fields: Fields, *names: str) -> str:
    return " ".join(str(fields[name]) for name in names if fields.get(name) not in (None, "", []))


def _touch(fields: Fields) -> str:
    who = ", ".join(fields.get("partners") or fields.get("networks") or ()) or "no partner"
    return f"{who} sent a visitor to {fields.get('landing') or 'the shop'}; the click is stored"


def _decision(fields: Fields) -> str:
    action, page = fields.get("action", "?"), fields.get("page", "")
    rule = f" by rule {fields['rule']!r}" if fields.get("rule") else ""
    retry_after = f"; next decision in {fields['retry_after']:g} s" if fields.get("retry_after") else ""
    return f"{action}{rule} on {page}{retry_after}"


def _conversation(fields: Fields) -> str:
    start = f", started by the invite of rule {fields['rule']!r}" if fields.get("rule") else ""
    return f"{fields.get('state', '')}{start}"


def _message(fields: Fields) -> str:
    return f"from {fields.get('agent') or fields.get('author', '?')}"


def _order(fields: Fields) -> str:
    return f"{_joined(fields, 'order', 'total', 'currency')}, channel {fields.get('channel', '?')}"


def _credit(fields: Fields) -> str:
    return f"{fields.get('partner') or 'nobody'}: {fields.get('reason', '')}"


def _postback(fields: Fields) -> str:
    return _joined(fields, "partner", "order", "outcome", "status", "answer")


STYLES: Mapping[str, EventStyle] = {
    "touch": EventStyle("→", "cyan", _touch),
    "decision": EventStyle("?", "bright_black", _decision),
    "invite": EventStyle("!", "magenta", lambda fields: _joined(fields, "rule", "what")),
    "conversation": EventStyle("☰", "magenta", _conversation),
    "message": EventStyle("…", "magenta", _message),
    "order": EventStyle("€", "green", _order),
    "credit": EventStyle("♥", "green", _credit),
    "postback": EventStyle("↗", "yellow", _postback),
}


def read(line: str) -> Fields | None:
    """The fields of a line of the JSON log; None for any other line."""
    try:
        fields = json.loads(line)
    except ValueError:
        return None
    return fields if isinstance(fields, dict) and isinstance(fields.get("event"), str) else None


class LogView:
    """Writes events to a terminal."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def line(self, line: str) -> None:
        """Show a line of `clew serve`'s output; of other events only warnings and errors."""
        fields = read(line)
        if fields is None:
            # The demo prints the addresses itself.
            if line.strip() and not line.startswith("clew listens on"):
                self._console.print(Text(line, style="red"))
            return
        event = fields["event"]
        style = STYLES.get(event)
        if style is not None:
            self._show(style.sign, event, style.color, style.describe(fields))
        elif fields.get("level") in ("warning", "error", "critical"):
            self._show("✗", event, "red", json.dumps(fields))

    def call(self, call: Call) -> None:
        """Show a call to the partner's server."""
        color = "bold yellow" if call.status == 200 else "red"
        self._show("☎", "partner", color, f"got {call.method} {call.target}, answered {call.status}")

    def _show(self, sign: str, name: str, color: str, text: str) -> None:
        now = datetime.now().astimezone().strftime("%H:%M:%S")
        row = Text.assemble((f" {now} ", "bright_black"), (f"{sign} {name:<13}", color), text)
        self._console.print(row, soft_wrap=True)
