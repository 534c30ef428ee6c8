"""The months by which commissions are settled and paid."""

import re
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

_NAME = re.compile(r"(\d{4})-(\d{2})", re.ASCII)


class PeriodError(ValueError):
    """It is no period; the text says so."""


@dataclass(frozen=True, slots=True)
class Period:
    """A month in a time zone, from `start` until before `end` (unix seconds). Names are in their order."""

    name: str
    start: float
    end: float

    @classmethod
    def named(cls, name: str, zone: str) -> "Period":
        """The month of `2026-10`. Raises PeriodError."""
        found = _NAME.fullmatch(name)
        if found is None or not (1 <= int(found[2]) <= 12) or not (1970 < int(found[1]) < 9999):
            raise PeriodError(f"{name[:40]!r} is no period: write a month, for example 2026-10")
        year, month = int(found[1]), int(found[2])
        after = (year + 1, 1) if month == 12 else (year, month + 1)
        starts = (datetime(*one, 1, tzinfo=ZoneInfo(zone)).timestamp() for one in ((year, month), after))
        return cls(name, *starts)

    @classmethod
    def at(cls, now: float, zone: str) -> "Period":
        """The month of a time."""
        return cls.named(f"{datetime.fromtimestamp(now, ZoneInfo(zone)):%Y-%m}", zone)
