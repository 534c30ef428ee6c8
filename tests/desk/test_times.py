"""Durations as people read them."""

import pytest
from clew.desk.times import brief, remaining, span


@pytest.mark.parametrize(
    ("seconds", "ago", "yet"),
    [
        (-5, "0 s", "0 s"),
        (0.4, "0 s", "1 s"),
        (59.5, "59 s", "1 min"),
        (61, "1 min", "2 min"),
        (3599, "59 min", "1 h"),
        (3601, "1 h", "1 h 1 min"),
        (86_399, "23 h 59 min", "1 day"),
        (86_401, "1 day", "1 day 1 h"),
        (7 * 86_400 - 0.2, "6 days", "7 days"),
        (7 * 86_400, "7 days", "7 days"),
        (6.5 * 86_400, "6 days", "6 days 12 h"),
    ],
)
def test_what_is_over_is_rounded_down_and_what_is_left_up(seconds: float, ago: str, yet: str) -> None:
    assert (span(seconds), remaining(seconds)) == (ago, yet)


def test_what_is_compared_has_its_seconds_below_an_hour() -> None:
    assert [brief(one) for one in (47.6, 185, 240, 3700)] == ["48 s", "3 min 5 s", "4 min", "1 h 1 min"]
