"""The console output of `clew mitm`: a line for each page and each event of a visitor."""

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
# Not shown: other lines contain the same, or they are not useful here.
_HIDDEN = frozenset({"started", "stopped"})

Fields = Mapping[str, Any]


def _touch(fields: Fields) -> str:
    sources = ", ".join(
        [*fields["partners"], *(n for n in fields["networks"] if n not in fields["partners"])]
    )
    campaign = " ".join(f"{name}={text}" for name, text in fields["campaign"].items())
    return f"{sources or campaign or fields['referrer']} on {fields['landing']}"


# The text for events of which not all fields are shown.
_SUMMARIES: Mapping[str, Callable[[Fields], str]] = {"touch": _touch}


class View:
    """Writes to standard output. Creating one directs structlog's events to it."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(soft_wrap=True, highlight=False)
        structlog.configure(processors=[self._event], cache_logger_on_first_use=True)

    def ready(self, address: str) -> None:
        """clew has started. `address` is the one to open, empty if it is not known."""
        self._line("ready", f"open {address}" if address else "clew has started")

    def answer(self, what: str, why: str, method: str, target: str, status: int, seconds: float) -> None:
        """A page was sent: `what` is "edit" or "pass", `why` the reason, `seconds` since the request."""
        self._line(what, f"{method} {target}  {status}  {why + '  ' if why else ''}{seconds * 1000:.0f} ms")

    def broken(self, method: str, target: str, why: str) -> None:
        """A flow ended before it was complete."""
        self._line("broken", f"{method} {target}  {why}")

    def away(self, there: str) -> None:
        """The shop redirects the browser to another origin."""
        self._line("away", f"the shop redirects to {there}: to see that one, run `clew mitm {there}`")

    def _event(self, logger: Any, level: str, event: MutableMapping[str, Any]) -> Any:
        name = event.pop("event")
        if name not in _HIDDEN:
            self._line(name, _SUMMARIES.get(name, _all)(event))
        raise structlog.DropEvent

    def _line(self, name: str, text: str) -> None:
        line = Text(f"{time.strftime('%H:%M:%S')}  ", "bright_black")
        line.append(f"{name:<9} ", _STYLES.get(name, "bold"))
        line.append("".join(c if c.isprintable() else "�" for c in text), "")
        self._console.print(line)


def _all(fields: Fields) -> str:
    shown = {
        name: found for name, found in fields.items() if name != "site" and found not in (None, "", [], {})
    }
    return "  ".join(f"{name}={found}" for name, found in shown.items())
