"""The log of `clew serve`; an app that mounts the middleware configures its own logging.

Logged values are often untrusted. Characters that control a terminal, end a line or change the text's
direction are escaped in every log format.
"""

import re
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Literal

import msgspec
import structlog

# C0, DEL and C1 (0x9b starts a control sequence like ESC [); characters that change the direction or end a
# line (Unicode UAX #9, §5.8 of the standard); bytes outside UTF-8.
_ACTING = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
# For tracebacks, which have several lines: they are indented, so that none of them looks like an event.
_ACTING_IN_LINES = re.compile(_ACTING.pattern.replace("\x00-\x1f", "\x00-\x08\x0b-\x1f"))
_LINES = frozenset({"exception", "stack"})


def escaped(value: Any) -> Any:
    """A value for the log: control characters are escaped in text, also inside dicts and lists."""
    match value:
        case str():
            # Printable text (by Unicode's categories) contains no such character.
            return value if value.isprintable() else _ACTING.sub(_escape, value)
        case None | bool() | int() | float():
            return value
        case Mapping():
            return {escaped(str(key)): escaped(found) for key, found in value.items()}
        case list() | tuple() | set() | frozenset():
            return [escaped(found) for found in value]
    return escaped(str(value))


def escaped_fields(fields: dict[str, Any]) -> dict[str, Any]:
    """The same for an event's fields. Nearly always they are plain and are returned unchanged."""
    for value in fields.values():
        if not (value.isprintable() if type(value) is str else type(value) in _PLAIN):
            return {escaped(key): escaped(found) for key, found in fields.items()}
    return fields


# Plain types, beside printable text.
_PLAIN = frozenset({bool, int, float, type(None)})
_JSON = _PLAIN | {str}


def escaped_lines(text: str) -> str:
    """The same for text of several lines; line breaks and tabs are kept."""
    return _ACTING_IN_LINES.sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape", "surrogatepass").decode("ascii")


def _escape_event(
    _logger: Any, _method: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    return {
        escaped(key): escaped_lines(value).replace("\n", "\n  ") if key in _LINES else escaped(value)
        for key, value in event.items()
    }


_encode = msgspec.json.Encoder(enc_hook=repr).encode


def _json(event: structlog.typing.EventDict, **_: object) -> str:
    return _encode(event).decode()


def rendering(log: Literal["console", "json"]) -> list[structlog.typing.Processor]:
    """The processors that turn an event into a line: for people, or one JSON object."""
    if log == "json":
        last: structlog.typing.Processor = structlog.processors.JSONRenderer(_json)
    else:
        # Plain: the other forms of a traceback show the values of variables, which may be secret.
        last = structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    return [structlog.processors.format_exc_info, _escape_event, last]


class _Lines:
    """Renders the events of `configure_logs` as lines.

    Nearly all events have plain values and are encoded to JSON directly. Others, and those with characters
    that JSON escapes, go through the processors, which take some 20 µs.
    """

    def __init__(self, log: Literal["console", "json"]) -> None:
        self._is_json = log == "json"
        self._processors = rendering(log)

    def __call__(self, logger: Any, method: str, event: structlog.typing.EventDict) -> str:
        """The line without a line break."""
        event["level"] = "error" if method == "exception" else method
        at = time.time()
        second = int(at)
        event["timestamp"] = f"{_date_and_time(second)}.{int((at - second) * 1e6):06d}Z"
        if self._is_json and _JSON.issuperset(map(type, event.values())) and "exc_info" not in event:
            line = _json(event)
            if "\\" not in line and line.isprintable():
                return line
        for processor in self._processors:
            event = processor(logger, method, event)  # type: ignore[assignment]
        return str(event)


@lru_cache(maxsize=1)
def _date_and_time(second: int) -> str:
    """In UTC, by ISO 8601. Many events are of one second."""
    return datetime.fromtimestamp(second, UTC).isoformat()[:-6]


def configure_logs(log: Literal["console", "json"], level: str = "info") -> None:
    """Write events of `level` and above to stderr: for people, or one JSON object a line with `event`,
    `level` and `timestamp`."""
    lines = _Lines(log)

    class Logger(structlog.make_filtering_bound_logger(level)):  # type: ignore[misc]
        """structlog's, which prepares any number of processors and outputs; there is one of each here."""

        def _proxy_to_logger(self, method_name: str, event: str | None = None, **fields: Any) -> None:
            self._logger.msg(lines(self._logger, method_name, {**self._context, **fields, "event": event}))

    structlog.configure(
        processors=[],
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        wrapper_class=Logger,
        cache_logger_on_first_use=True,
    )
