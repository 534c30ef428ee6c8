"""Shows clew's log as the stations that a visitor passes, one line each."""

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
class Station:
    """How one kind of event is shown: its symbol, its colour and its description."""

    sign: str
    color: str
    describe: Callable[[Fields], str]


def _joined(fields: Fields, *names: str) -> str:
    return " ".join(str(fields[name]) for name in names if fields.get(name) not in (None, "", []))


def _touch(fields: Fields) -> str:
    who = ", ".join(fields.get("partners") or fields.get("networks") or ()) or "no partner"
    return f"{who} sent a visitor to {fields.get('landing') or 'the shop'}; the click is written down"


def _decision(fields: Fields) -> str:
    action, page = fields.get("action", "?"), fields.get("page", "")
    rule = f" by rule {fields['rule']!r}" if fields.get("rule") else ""
    retry_after = f"; next decision in {fields['retry_after']:g} s" if fields.get("retry_after") else ""
    return f"{action}{rule} on {page}{retry_after}"


def _conversation(fields: Fields) -> str:
    start = f", begun in the invite of {fields['rule']!r}" if fields.get("rule") else ""
    return f"{fields.get('state', '')}{start}"


def _message(fields: Fields) -> str:
    return f"from {fields.get('agent') or fields.get('author', '?')}"


def _order(fields: Fields) -> str:
    return f"{_joined(fields, 'order', 'total', 'currency')}, closed in: {fields.get('channel', '?')}"


def _credit(fields: Fields) -> str:
    return f"{fields.get('partner') or 'nobody'}: {fields.get('reason', '')}"


def _postback(fields: Fields) -> str:
    return _joined(fields, "partner", "order", "outcome", "status", "answer")


STATIONS: Mapping[str, Station] = {
    "touch": Station("→", "cyan", _touch),
    "decision": Station("?", "bright_black", _decision),
    "invite": Station("!", "magenta", lambda fields: _joined(fields, "rule", "what")),
    "conversation": Station("☰", "magenta", _conversation),
    "message": Station("…", "magenta", _message),
    "order": Station("€", "green", _order),
    "credit": Station("♥", "green", _credit),
    "postback": Station("↗", "yellow", _postback),
}


def read(line: str) -> Fields | None:
    """A line of the JSON log, or None for anything else."""
    try:
        fields = json.loads(line)
    except ValueError:
        return None
    return fields if isinstance(fields, dict) and isinstance(fields.get("event"), str) else None


class Board:
    """Writes the stations to a terminal, and keeps the names of those that were passed."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self.passed: list[str] = []

    def line(self, line: str) -> None:
        """One line that `clew serve` printed. What is no station, and no trouble, is left out."""
        fields = read(line)
        if fields is None:
            # The addresses to open are told below.
            if line.strip() and not line.startswith("clew listens on"):
                self._console.print(Text(line, style="red"))
            return
        event = fields["event"]
        station = STATIONS.get(event)
        if station is not None:
            self.passed.append(event)
            self._show(station.sign, event, station.color, station.describe(fields))
        elif fields.get("level") in ("warning", "error", "critical"):
            self._show("✗", event, "red", json.dumps(fields))

    def call(self, call: Call) -> None:
        """One call that the partner's server got."""
        color = "bold yellow" if call.status == 200 else "red"
        self._show("☎", "partner", color, f"got {call.method} {call.target}, said {call.status}")

    def _show(self, sign: str, name: str, color: str, text: str) -> None:
        now = datetime.now().astimezone().strftime("%H:%M:%S")
        row = Text.assemble((f" {now} ", "bright_black"), (f"{sign} {name:<13}", color), text)
        self._console.print(row, soft_wrap=True)
