"""What happens, for whoever tries clew out: a line for each page and each station of a visitor."""

import time
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any

import structlog
from rich.console import Console
from rich.text import Text

_STYLES: Mapping[str, str] = {
    "away": "yellow",
    "broken": "red",
    "credit": "green",
    "edit": "green",
    "fault": "bold red",
    "order": "bold green",
    "order_unreadable": "yellow",
    "order_unrecorded": "bold red",
    "touch": "cyan",
}
# Told by what follows them, or of no interest to somebody who looks on.
_UNSAID = frozenset({"started", "stopped"})

Fields = Mapping[str, Any]


def _touch(fields: Fields) -> str:
    who = ", ".join([*fields["partners"], *(n for n in fields["networks"] if n not in fields["partners"])])
    campaign = " ".join(f"{name}={text}" for name, text in fields["campaign"].items())
    return f"{who or campaign or fields['referrer']} on {fields['landing']}"


# What is worth a word of an event's fields; of the others all of them.
_TOLD: Mapping[str, Callable[[Fields], str]] = {"touch": _touch}


class View:
    """Writes to standard output, and takes the journal's events from structlog from its making on."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(soft_wrap=True, highlight=False)
        structlog.configure(processors=[self._event], cache_logger_on_first_use=True)

    def ready(self, address: str) -> None:
        """Everything is ready, for those who open `address` (if that is known)."""
        self._line("ready", f"open {address}" if address else "clew listens")

    def answer(self, what: str, why: str, method: str, target: str, status: int, seconds: float) -> None:
        """A page went out: `what` is "edit" or "pass", `why` the reason, `seconds` since it was asked for."""
        self._line(what, f"{method} {target}  {status}  {why + '  ' if why else ''}{seconds * 1000:.0f} ms")

    def broken(self, method: str, target: str, why: str) -> None:
        """A flow ended before its time."""
        self._line("broken", f"{method} {target}  {why}")

    def away(self, there: str) -> None:
        """The shop sends the browser to another address."""
        self._line("away", f"the shop leads to {there}: `clew mitm {there}` shows that one")

    def _event(self, logger: Any, level: str, event: MutableMapping[str, Any]) -> Any:
        name = event.pop("event")
        if name not in _UNSAID:
            self._line(name, _TOLD.get(name, _all)(event))
        raise structlog.DropEvent

    def _line(self, name: str, text: str) -> None:
        line = Text(f"{time.strftime('%H:%M:%S')}  ", "bright_black")
        line.append(f"{name:<9} ", _STYLES.get(name, "bold"))
        line.append("".join(c if c.isprintable() else "�" for c in text), "")
        self._console.print(line)


def _all(fields: Fields) -> str:
    told = {
        name: found for name, found in fields.items() if name != "site" and found not in (None, "", [], {})
    }
    return "  ".join(f"{name}={found}" for name, found in told.items())
