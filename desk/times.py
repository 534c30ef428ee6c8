"""Times as people read them, in the site's time zone."""

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

MINUTE, HOUR, DAY = 60, 3600, 86400


def span(seconds: float) -> str:
    """A duration in its two largest units at most: "8 s", "12 min", "3 h 5 min", "4 days"."""
    whole = max(0, int(seconds))
    if whole < MINUTE:
        return f"{whole} s"
    if whole < HOUR:
        return f"{whole // MINUTE} min"
    if whole < DAY:
        hours, minutes = whole // HOUR, whole % HOUR // MINUTE
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days = whole // DAY
    return f"{days} day" if days == 1 else f"{days} days"


def remaining(seconds: float) -> str:
    """How long yet, rounded up to what is shown: "8 s", "3 h 5 min", "1 day 4 h". What ends in a week ends in
    "7 days" also a second later, and nobody is told a wait that is too short."""
    if seconds <= MINUTE:
        return span(math.ceil(seconds))
    minutes = math.ceil(seconds / MINUTE)
    if minutes <= DAY // MINUTE:
        return span(minutes * MINUTE)
    days, hours = divmod(math.ceil(seconds / HOUR), 24)
    return f"{span(days * DAY)} {hours} h" if hours else span(days * DAY)


def brief(seconds: float) -> str:
    """A duration that is to be compared with others, to the second below an hour: "48 s", "3 min 5 s"."""
    whole = max(0, round(seconds))
    if MINUTE <= whole < HOUR and whole % MINUTE:
        return f"{whole // MINUTE} min {whole % MINUTE} s"
    return span(whole)


@dataclass(frozen=True, slots=True)
class Times:
    """What a page calls now. All times come in as unix seconds."""

    zone: ZoneInfo
    now: float

    def _local(self, at: float) -> datetime:
        return datetime.fromtimestamp(at, UTC).astimezone(self.zone)

    def time(self, at: float) -> str:
        """The time of day: "14:05"."""
        return self._local(at).strftime("%H:%M")

    def second(self, at: float) -> str:
        """The time of day to the second: "14:05:09"."""
        return self._local(at).strftime("%H:%M:%S")

    def day(self, at: float) -> str:
        """ "Today", "Yesterday", "Mon 3 Nov", and with its year when that is another one."""
        local, today = self._local(at), self._local(self.now)
        if local.date() == today.date():
            return "Today"
        if local.date() == (today - timedelta(days=1)).date():
            return "Yesterday"
        year = "" if local.year == today.year else f" {local.year}"
        return f"{local:%a} {local.day} {local:%b}{year}"

    def day_month(self, at: float) -> str:
        """Where there is no room for more: "3 Nov"."""
        local = self._local(at)
        return f"{local.day} {local:%b}"

    def moment(self, at: float) -> str:
        """Day and time; the day is left out when it is today."""
        day = self.day(at)
        return self.time(at) if day == "Today" else f"{day}, {self.time(at)}"

    def short(self, at: float) -> str:
        """The time if it was today, else the day."""
        day = self.day(at)
        return self.time(at) if day == "Today" else day

    def iso(self, at: float) -> str:
        """For machines: RFC 3339 with the zone's offset."""
        return self._local(at).isoformat(timespec="seconds")

    def since(self, at: float) -> str:
        """How long ago."""
        return span(self.now - at)

    def until(self, at: float) -> str:
        """How long yet."""
        return remaining(at - self.now)
