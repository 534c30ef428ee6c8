"""Parameters that several operations have."""

from collections.abc import Iterable
from datetime import UTC, datetime

from starlette.requests import Request

from ..guard import Refused, whole_number
from .operation import Parameter

USUAL, MOST = 200, 1000
_DATE = {"type": "string", "anyOf": [{"format": "date"}, {"format": "date-time"}]}
SINCE = Parameter("since", "From this day or time on; UTC if no zone is given.", _DATE)
UNTIL = Parameter("until", "Before this day or time.", _DATE)
LIMIT = Parameter(
    "limit",
    f"How many of a page. Default: {USUAL}.",
    {"type": "integer", "minimum": 1, "maximum": MOST},
)


def limit_of(request: Request) -> int:
    """`limit`, or its default. Raises Refused (400)."""
    limit = whole_number(request, "limit") if "limit" in request.query_params else USUAL
    if not 1 <= limit <= MOST:
        raise Refused(400, f"limit: from 1 to {MOST}, not {limit}")
    return limit


def time_of(request: Request, name: str) -> float | None:
    """A day or time as unix seconds, or None. Raises Refused (400)."""
    text = request.query_params.get(name)
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise Refused(400, f"{name}: {text[:40]!r} is no date; write for example 2026-11-26") from None


def one_of(request: Request, name: str, allowed: Iterable[str]) -> str | None:
    """A parameter with one of some values, or None. Raises Refused (400)."""
    value = request.query_params.get(name)
    known = list(allowed)
    if value is not None and value not in known:
        raise Refused(400, f"{name}: {value[:40]!r} is none of {', '.join(known)}")
    return value
