"""Office hours: whether somebody should be there now, and when that changes. No I/O."""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from ..settings.model import Hours

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
AHEAD: Final = 366
"""Days that are looked ahead for the next hours."""

_Span = tuple[float, float]


class OfficeHours:
    """The hours of a site, in its time zone. Without any hours somebody is always there."""

    def __init__(self, hours: Hours | None, zone: str) -> None:
        self.zone = ZoneInfo((hours.time_zone if hours is not None else None) or zone)
        self._week: Sequence[Sequence[tuple[time, time]]] | None = None
        self._holidays: Mapping[str, Sequence[tuple[time, time]]] = {}
        if hours is not None:
            self._week = [[read_span(text) for text in getattr(hours, day)] for day in DAYS]
            self._holidays = {
                day: [read_span(text) for text in spans] for day, spans in hours.holidays.items()
            }
        # What `at` found last: valid in [from, until).
        self._known: tuple[float, float, bool] = (0.0, 0.0, False)

    @property
    def always(self) -> bool:
        """Whether there are no hours, so that somebody is always there."""
        return self._week is None

    def open_at(self, now: float) -> bool:
        """Whether a moment (unix seconds) is within the hours."""
        return self._week is None or self._at(now)[2]

    def changes_at(self, now: float) -> float | None:
        """When the hours next begin or end; None if that is over a year away."""
        if self._week is None:
            return None
        until = self._at(now)[1]
        return until if until < now + AHEAD * 86400 else None

    def opens_at(self, now: float) -> float | None:
        """When the hours next begin, if they have not; None if they have, or begin in over a year."""
        return None if self.open_at(now) else self.changes_at(now)

    def spans(self, now: float, days: int) -> Iterator[_Span]:
        """The hours that end after `now`, those of each day for itself, for so many days."""
        first = datetime.fromtimestamp(now, UTC).astimezone(self.zone).date()
        # The hours of yesterday may go on after midnight.
        for ahead in range(-1, days):
            for span in self._of(first + timedelta(days=ahead)):
                if span[1] > now:
                    yield span

    def _at(self, now: float) -> tuple[float, float, bool]:
        since, until, _ = self._known
        if not since <= now < until:
            self._known = self._find(now)
        return self._known

    def _find(self, now: float) -> tuple[float, float, bool]:
        end = 0.0  # of the hours that run now; those that begin before that make it later
        for begin, over in self.spans(now, AHEAD):
            if end and begin > end:
                break
            if begin > now and not end:
                return now, begin, False
            end = max(end, over)
        return (now, end, True) if end else (now, now + AHEAD * 86400, False)

    def _of(self, day: date) -> list[_Span]:
        assert self._week is not None
        special = self._holidays.get(day.isoformat(), self._holidays.get(f"{day:%m-%d}"))
        hours = self._week[day.weekday()] if special is None else special
        return sorted(self._span(day, begin, end) for begin, end in hours)

    def _span(self, day: date, begin: time, end: time) -> _Span:
        last = day if end > begin else day + timedelta(days=1)
        starts = datetime.combine(day, begin, self.zone)
        ends = datetime.combine(last, end, self.zone)
        # Of an hour that comes twice the hours have both; one that is left out counts as the one after it.
        return starts.timestamp(), max(ends.timestamp(), ends.replace(fold=1).timestamp())


_SPAN: Final = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-(?:([01]\d|2[0-3]):([0-5]\d)|24:00)", re.ASCII)


def read_span(text: str) -> tuple[time, time]:
    """`09:00-17:30` as its two times. The second one is of the next day if it is not later. Raises
    ValueError."""
    found = _SPAN.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no span of hours")
    begin_hour, begin_minute, hour, minute = found.groups()
    return time(int(begin_hour), int(begin_minute)), time(int(hour or 0), int(minute or 0))
