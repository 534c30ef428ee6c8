"""How `clew serve` writes the journal; an app that mounts the middleware has its own way of logging."""

import sys
from typing import Literal

import structlog


def configure_logs(log: Literal["console", "json"]) -> None:
    """Write events to stderr: for people, or one JSON object a line with `event`, `level` and `timestamp`."""
    shared: list[structlog.typing.Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if log == "json":
        last: list[structlog.typing.Processor] = [
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(ensure_ascii=False, default=str),
        ]
    else:
        last = [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]
    structlog.configure(
        processors=[*shared, *last],
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
