"""Office hours: open and closed, nights with daylight saving, holidays."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from clew.chat.hours import DAYS, OfficeHours, read_span
from clew.settings.model import Hours
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

BERLIN = ZoneInfo("Europe/Berlin")


def at(text: str, zone: ZoneInfo = BERLIN, fold: int = 0) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=zone, fold=fold).timestamp()


def hours(**days: object) -> OfficeHours:
    return OfficeHours(Hours.model_validate(days), "Europe/Berlin")


def opens(found: OfficeHours, now: float) -> str | None:
    moment = found.opens_at(now)
    return None if moment is None else datetime.fromtimestamp(moment, BERLIN).isoformat()


WEEK = {
    "mon": ["09:00-12:30", "13:30-18:00"],
    "fri": ["09:00-18:00"],
    "holidays": {"12-25": [], "2026-12-28": ["10:00-11:00"], "2027-12-25": ["08:00-09:00"]},
}


@pytest.mark.parametrize(
    ("now", "open_", "again"),
    [
        ("2026-11-27T08:59:59", False, "2026-11-27T09:00:00+01:00"),
        ("2026-11-27T09:00:00", True, None),
        ("2026-11-27T17:59:59", True, None),
        ("2026-11-27T18:00:00", False, "2026-11-30T09:00:00+01:00"),
        ("2026-11-30T12:30:00", False, "2026-11-30T13:30:00+01:00"),
        # Friday the 25th is a holiday of every year, Monday the 28th has hours of its own.
        ("2026-12-24T12:00:00", False, "2026-12-28T10:00:00+01:00"),
        ("2026-12-28T10:30:00", True, None),
        ("2026-12-28T11:00:00", False, "2027-01-01T09:00:00+01:00"),
        # A day with its year has precedence over the one of every year.
        ("2027-12-25T07:00:00", False, "2027-12-25T08:00:00+01:00"),
    ],
)
def test_hours_are_open_or_say_when(now: str, open_: bool, again: str | None) -> None:
    found = hours(**WEEK)
    assert found.open_at(at(now)) is open_
    assert opens(found, at(now)) == again


def test_hours_may_go_on_after_midnight_and_meet_the_next() -> None:
    found = hours(mon=["22:00-02:00"], tue=["02:00-03:00"], wed=["00:00-24:00"], thu=["00:00-06:00"])
    assert found.open_at(at("2026-11-24T01:00:00"))
    assert found.changes_at(at("2026-11-23T23:00:00")) == at("2026-11-24T03:00:00")
    assert found.changes_at(at("2026-11-25T12:00:00")) == at("2026-11-26T06:00:00")
    assert not found.open_at(at("2026-11-25T00:00:00") - 1)


def test_an_hour_that_comes_twice_belongs_to_the_hours_both_times() -> None:
    # 25 October 2026, 3:00 is set back to 2:00.
    found = hours(sun=["01:00-02:30"])
    assert found.open_at(at("2026-10-25T02:15:00"))
    assert found.open_at(at("2026-10-25T02:15:00", fold=1))
    assert not found.open_at(at("2026-10-25T02:30:00", fold=1))
    assert found.changes_at(at("2026-10-25T01:30:00")) == at("2026-10-25T02:30:00", fold=1)


def test_a_time_that_is_left_out_counts_as_an_hour_later() -> None:
    # 29 March 2026, 2:00 is set forward to 3:00.
    found = hours(sun=["02:30-04:00"])
    assert opens(found, at("2026-03-29T01:00:00")) == "2026-03-29T03:30:00+02:00"
    assert hours(sun=["01:00-02:30"]).changes_at(at("2026-03-29T01:30:00")) == at("2026-03-29T03:30:00")


@pytest.mark.parametrize("day", ["2026-03-28", "2026-03-29", "2026-10-24", "2026-10-25"])
def test_nine_is_nine_in_every_night_in_which_clocks_change(day: str) -> None:
    found = hours(**{name: ["09:00-17:00"] for name in DAYS})
    assert (
        opens(found, at(f"{day}T00:30:00"))
        == datetime.fromisoformat(f"{day}T09:00:00").replace(tzinfo=BERLIN).isoformat()
    )


def test_no_hours_are_always_open_and_closed_days_never() -> None:
    now = at("2026-11-27T12:00:00")
    always = OfficeHours(None, "UTC")
    assert (always.open_at(now), always.opens_at(now), always.changes_at(now)) == (True, None, None)
    never = hours()
    assert (never.open_at(now), never.opens_at(now), never.changes_at(now)) == (False, None, None)


def test_the_zone_of_the_hours_has_precedence_over_the_sites() -> None:
    found = OfficeHours(Hours(time_zone="America/New_York", fri=["09:00-10:00"]), "Europe/Berlin")
    assert found.opens_at(at("2026-11-27T12:00:00")) == at("2026-11-27T15:00:00")


_TIMES = st.times().map(lambda one: f"{one:%H:%M}")
_SPANS = st.lists(st.tuples(_TIMES, _TIMES).map("-".join), max_size=3)


@given(week=st.lists(_SPANS, min_size=7, max_size=7), start=st.integers(1_700_000_000, 1_900_000_000))
def test_what_is_said_of_the_next_change_is_what_happens(week: list[list[str]], start: int) -> None:
    found = hours(**dict(zip(DAYS, week, strict=True)))
    now = float(start)
    for _ in range(5):
        state, change = found.open_at(now), found.changes_at(now)
        assert found.open_at(now) == hours(**dict(zip(DAYS, week, strict=True))).open_at(now)
        if change is None:
            return
        assert change > now
        assert found.open_at((now + change) / 2) is state
        assert found.open_at(change) is not state
        now = change


@pytest.mark.parametrize(
    "wrong",
    [
        {"mon": ["9-17"]},
        {"mon": ["09:00-25:00"]},
        {"mon": ["24:00-24:00"]},
        {"mon": ["09:00-17:00"] * 7},
        {"time_zone": "Berlin"},
        {"holidays": {"2026-02-30": []}},
        {"holidays": {"Christmas": []}},
        {"holidays": {"20261224": []}},
    ],
)
def test_what_is_no_time_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Hours.model_validate(wrong)
    with pytest.raises(ValueError, match="no span"):
        read_span("9-17")
