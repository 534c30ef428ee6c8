"""The clock of rules in nights in which daylight saving time begins or ends: real seconds are counted."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from clew.rules.facts import WEEKDAYS, advance
from clew.rules.moments import HORIZON
from clew.rules.ruleset import RuleSet
from clew.settings.model import Rule

NIGHTS = [
    ("Europe/Berlin", "2026-03-29T01:00:00"),
    ("Europe/Berlin", "2026-10-25T01:00:00"),
    ("America/New_York", "2026-03-08T07:00:00"),
    ("America/New_York", "2026-11-01T06:00:00"),
    # By half an hour; and at midnight.
    ("Australia/Lord_Howe", "2026-04-04T15:00:00"),
    ("Australia/Lord_Howe", "2026-10-03T15:30:00"),
    ("America/Santiago", "2026-04-05T03:00:00"),
    ("America/Santiago", "2026-09-06T04:00:00"),
]
LINES: dict[str, Callable[[datetime], bool]] = {
    "clock.hour >= 3": lambda local: local.hour >= 3,
    "clock.hour == 2": lambda local: local.hour == 2,
    "clock.hour == 1 && clock.minute >= 40": lambda local: local.hour == 1 and local.minute >= 40,
    "clock.minute >= 30": lambda local: local.minute >= 30,
    "clock.hour * 60 + clock.minute >= 150": lambda local: local.hour * 60 + local.minute >= 150,
    "clock.date >= '2026-04-05'": lambda local: local.date().isoformat() >= "2026-04-05",
    "clock.weekday == 'sun'": lambda local: local.weekday() == 6,
}


def facts(zone: ZoneInfo, at: float) -> dict[str, dict[str, Any]]:
    local = datetime.fromtimestamp(at, UTC).astimezone(zone)
    clock = {
        "hour": local.hour,
        "minute": local.minute,
        "second": local.second,
        "weekday": WEEKDAYS[local.weekday()],
        "date": local.date().isoformat(),
        "at": at,
        "zone": zone,
    }
    return {"clock": clock}


@pytest.mark.parametrize(("name", "utc"), NIGHTS, ids=[f"{zone} {utc[:10]}" for zone, utc in NIGHTS])
@pytest.mark.parametrize("line", LINES)
def test_the_next_decision_is_at_the_first_second_in_which_it_changes(name: str, utc: str, line: str) -> None:
    zone = ZoneInfo(name)
    turn = datetime.fromisoformat(f"{utc}+00:00").timestamp()
    rules = RuleSet([Rule(name="r", when=[line], action="invite")])
    holds = LINES[line]
    for before in (1799, 601.5, 1, 0):
        now = turn - before
        later = (
            t
            for t in range(1, HORIZON + 1)
            if holds(datetime.fromtimestamp(now + t, zone)) is not holds(datetime.fromtimestamp(now, zone))
        )
        assert rules.decide(facts(zone, now)).retry_after == next(later, None), before


@pytest.mark.parametrize(("name", "utc"), NIGHTS)
def test_the_clock_goes_on_as_the_zone_has_it(name: str, utc: str) -> None:
    zone = ZoneInfo(name)
    now = datetime.fromisoformat(f"{utc}+00:00").timestamp() - 900
    for seconds in (0, 899, 900, 1800, 3600, 86400):
        assert advance(facts(zone, now), seconds) == facts(zone, now + seconds)
