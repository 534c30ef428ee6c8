"""The gate of the load: seed E8."""

import pytest
from clew.chat.load import Bounds, is_busy

BOUNDS = Bounds(0.95, 0.8)


def states(talks: list[int], places: int, *, busy: bool = False) -> list[bool]:
    found = []
    for one in talks:
        busy = is_busy(busy, one, places, BOUNDS)
        found.append(busy)
    return found


def test_it_closes_when_full_and_opens_not_before_there_is_room_again() -> None:
    """seed E8: of six places, five taken leaves it as it is."""
    assert states([4, 5, 6, 5, 6, 5, 4, 5], 6) == [False, False, True, True, True, True, False, False]


@pytest.mark.parametrize("busy", [False, True])
def test_where_nobody_is_there_it_stays_as_it_is(busy: bool) -> None:
    assert states([0, 3], 0, busy=busy) == [busy, busy]


def test_the_bounds_themselves_are_between() -> None:
    assert is_busy(False, 95, 100, BOUNDS) is False
    assert is_busy(True, 80, 100, BOUNDS) is True
