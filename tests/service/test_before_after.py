"""Before and after: the interval holds what it promises, also where weeks differ by more than chance."""

import math
import random

import pytest
from clew.service.before_after import ORDERS, compared, student

# Two-sided 95 % quantiles of Student's t (Abramowitz and Stegun, table 26.10).
TABLE = {4: 2.776, 5: 2.571, 6: 2.447, 8: 2.306, 10: 2.228, 14: 2.145, 20: 2.086, 30: 2.042, 50: 2.009}


@pytest.mark.parametrize(("free", "quantile"), TABLE.items())
def test_the_quantile_is_that_of_students_t(free: int, quantile: float) -> None:
    assert student(free) == pytest.approx(quantile, rel=0.001)


def test_an_interval_by_hand() -> None:
    """Weeks as even as Poisson or more: log 1.5 plus and minus 2.447 times the root of 1/40 + 1/60."""
    found = compared([10, 10, 10, 10], [15, 15, 15, 15])
    wide = 2.447 * math.sqrt(1 / 40 + 1 / 60)
    assert (found.before, found.after, found.ratio) == (10, 15, 1.5)
    assert found.low == pytest.approx(1.5 / math.exp(wide), rel=0.002)
    assert found.high == pytest.approx(1.5 * math.exp(wide), rel=0.002)
    assert found.verdict == "no clear difference"


def test_weeks_that_differ_much_make_the_interval_wider() -> None:
    even, uneven = compared([20] * 4, [40] * 4), compared([2, 38, 5, 35], [10, 70, 75, 5])
    assert (even.ratio, even.verdict) == (2, "more")
    assert (uneven.ratio, uneven.verdict) == (2, "no clear difference")


def test_fewer_is_said_as_well() -> None:
    assert compared([40] * 4, [20] * 4).verdict == "fewer"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([], []),
        ([], [50] * 4),
        ([50] * 2, [50] * 4),
        ([50] * 4, [50] * 2),
        ([0] * 4, [50] * 4),
        ([3, 3, 3], [50] * 4),
        ([50] * 4, [0] * 4),
    ],
)
def test_too_little_says_nothing(before: list[int], after: list[int]) -> None:
    found = compared(before, after)
    assert (found.verdict, found.ratio, found.low, found.high) == ("too few", None, None, None)


def test_as_much_as_is_needed_says_something() -> None:
    assert compared([4, 3, 3], [4, 3, 3]).verdict == "no clear difference"
    assert sum([4, 3, 3]) == ORDERS


def poisson(chance: random.Random, mean: float) -> int:
    """Knuth's method."""
    limit, count, product = math.exp(-mean), 0, chance.random()
    while product > limit:
        count, product = count + 1, product * chance.random()
    return count


@pytest.mark.parametrize("spread", [0.0, 0.25])
@pytest.mark.parametrize(("mean", "ratio"), [(8.0, 1.0), (30.0, 1.0), (30.0, 1.4)])
def test_the_interval_holds_the_truth_as_often_as_it_says(spread: float, mean: float, ratio: float) -> None:
    """4 weeks before and 4 after, Poisson, and with weeks whose means vary by a quarter: of 2,000 intervals
    at least 93 % hold the true ratio."""
    chance, held, told = random.Random(11), 0, 0
    for _ in range(2000):
        weeks = [
            poisson(chance, max(0.1, level * chance.gauss(1, spread)))
            for level in [mean] * 4 + [mean * ratio] * 4
        ]
        found = compared(weeks[:4], weeks[4:])
        if found.low is not None and found.high is not None:
            told += 1
            held += found.low <= ratio <= found.high
    assert told > 1900
    assert held / told > 0.93
