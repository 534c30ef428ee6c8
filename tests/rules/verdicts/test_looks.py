"""When to look, and at what: whole weeks, counts fixed beforehand, conversations that are ripe."""

from datetime import date, timedelta

import pytest
from clew.rules.verdicts.looks import RULE_LOOKS, Talk, days_until, look_due, next_look, ripe, whole_weeks
from hypothesis import given
from hypothesis import strategies as st

DAY = 86_400.0


@pytest.mark.parametrize(("days", "end"), [(0, None), (6, None), (7, 7), (13, 7), (14, 14), (-3, None)])
def test_looks_are_at_whole_weeks(days: int, end: int | None) -> None:
    started = date(2026, 3, 26)  # The clock is put forward three days later.
    found = whole_weeks(started, started + timedelta(days=days))
    assert found == (None if end is None else started + timedelta(days=end))


@pytest.mark.parametrize(
    ("taken", "due"),
    [
        ([], 100),
        ([100], 150),
        ([149], 150),
        ([170], 200),
        ([100, 150], 200),
        ([100, 150, 200], None),
        ([460], None),
    ],
)
def test_a_late_look_stands_for_those_that_it_passed(taken: list[int], due: int | None) -> None:
    assert next_look(RULE_LOOKS, taken) == due


def test_a_look_asks_for_its_count() -> None:
    assert not look_due(RULE_LOOKS, [], 99)
    assert look_due(RULE_LOOKS, [], 100)
    assert not look_due(RULE_LOOKS, [100], 149)
    assert look_due(RULE_LOOKS, [100], 230)
    assert not look_due(RULE_LOOKS, [230], 10_000)


def test_days_until_a_verdict_are_whole_weeks_and_with_the_window() -> None:
    assert days_until(RULE_LOOKS, 10, 7) == (21, 28)
    assert days_until(RULE_LOOKS, 1000, 0) == (7, 7)
    assert days_until(RULE_LOOKS, 1, 7) == (112, 210)
    assert days_until(RULE_LOOKS, 0, 7) is None


def test_only_ripe_conversations_count() -> None:
    now, window = 100 * DAY, 7 * DAY
    talks = [
        Talk(90 * DAY),
        Talk(90 * DAY, 91 * DAY),
        Talk(90 * DAY, 97 * DAY),
        Talk(90 * DAY, 97 * DAY + 1),  # Ordered, but after the window.
        Talk(93 * DAY, 99 * DAY),  # Its window ends now.
        Talk(93 * DAY + 1, 94 * DAY),  # Has ordered, but others that began with it still may.
        Talk(99 * DAY),
        Talk(80 * DAY, 79 * DAY),  # Wrote after it had ordered.
        Talk(99 * DAY, 98 * DAY),
    ]
    found = ripe(talks, now, window)
    assert (found.count.successes, found.count.n) == (3, 5)
    assert found.waiting == 2
    assert found.after_order == 2


@given(
    st.lists(st.builds(Talk, st.floats(0, 1e9), st.none() | st.floats(0, 1e9)), max_size=50),
    st.floats(0, 1e9),
    st.floats(0, 1e6),
)
def test_each_conversation_counts_once(talks: list[Talk], now: float, window: float) -> None:
    found = ripe(talks, now, window)
    assert found.count.n + found.waiting + found.after_order == len(talks)


@given(st.lists(st.builds(Talk, st.floats(0, 1e6), st.none() | st.floats(0, 1e6)), max_size=30))
def test_ripe_counts_only_grow(talks: list[Talk]) -> None:
    """A report that comes in time is in no later count only."""
    earlier, later = (ripe(talks, now, 1e5).count for now in (5e5, 9e5))
    assert later.n >= earlier.n
    assert 0 <= later.successes - earlier.successes <= later.n - earlier.n
