"""Reads an order's state and date from the page's structured data."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from itertools import permutations
from types import MappingProxyType
from typing import Final

from .model import OrderState

# schema.org/OrderStatus without "Order", and what shops write instead.
_STATES: Mapping[str, OrderState] = MappingProxyType(
    {
        **dict.fromkeys(("cancelled", "canceled", "void", "voided", "expired"), "cancelled"),
        **dict.fromkeys(("returned", "refunded"), "refunded"),
        **dict.fromkeys(("problem", "failed", "declined", "rejected"), "held"),
        **dict.fromkeys(("paymentdue", "paymentpending", "pendingpayment", "unpaid"), "seen"),
    }
)

TEXT: Final = 64  # characters; no date is longer
LATEST: Final = datetime(2200, 1, 1, tzinfo=UTC).timestamp()
"""The end of the time, in unix seconds from 0 on, in which an order may have been placed. Times far outside
of it cannot be written as dates."""
# A local time is at most this far behind UTC (zones reach from -12 to +14 hours).
_WESTMOST: Final = timedelta(hours=12)
_ONE_DAY: Final = timedelta(days=1)
_DAY: Final = re.compile(r"(\d{1,2})[./-](\d{1,2})[./-](\d{4})", re.ASCII)


def order_state(status: str | None) -> OrderState:
    """The state for an `orderStatus`; `placed` unless it says that there is no sale."""
    name = (status or "").strip()[:200].rstrip("/").replace("#", "/").rpartition("/")[2].rpartition(":")[2]
    letters = "".join(c for c in name.casefold() if c.isalpha())
    return _STATES.get(letters.removeprefix("order"), "placed")


def latest_moment(date: str | None) -> float | None:
    """The latest time, in unix seconds, that an `orderDate` can mean; None if it is not a date,
    or none in which an order may have been placed.

    For a day without a time it is the end of the day, for a time without a zone that of the westernmost
    zone, for a date with two readings (03.04.2024) the later one. So no touch before the order seems to be
    after it. The result may be in the future.
    """
    text = (date or "").strip()
    if not text or len(text) > TEXT:
        return None
    try:
        found = max((_latest(read) for read in _readings(text)), default=0.0)
    except (ValueError, OverflowError):
        return None
    return found if 0 < found < LATEST else None


def _readings(text: str) -> list[datetime]:
    if text.isascii() and text.isdigit() and len(text) in (10, 13):
        return [datetime.fromtimestamp(int(text) / (1000 if len(text) == 13 else 1), UTC)]
    if (day := _DAY.match(text)) is not None:
        return [
            found for month, date in permutations(day.groups()[:2]) if (found := _day(day[3], month, date))
        ]
    try:
        return [datetime.fromisoformat(text)]
    except ValueError:
        return [parsedate_to_datetime(text)]


def _day(year: str, month: str, day: str) -> datetime | None:
    try:
        return datetime.fromisoformat(f"{year}-{month:>02}-{day:>02}")
    except ValueError:
        return None


def _latest(read: datetime) -> float:
    midnight = not (read.hour or read.minute or read.second or read.microsecond)
    whole_day = _ONE_DAY if midnight else timedelta()
    if read.tzinfo is not None:
        return (read + whole_day).timestamp()
    return (read.replace(tzinfo=UTC) + whole_day + _WESTMOST).timestamp()
