"""Intervals: the values that R and statsmodels give, and what must hold for any counts."""

import math

import pytest
from clew.rules.verdicts.counts import Count
from clew.rules.verdicts.intervals import clopper_pearson, jeffreys, newcombe, ratio, wilson
from hypothesis import given, settings
from hypothesis import strategies as st

LARGEST = 10**9
COUNTS = st.integers(0, LARGEST).flatmap(
    lambda n: st.builds(Count, st.sampled_from([0, n]) | st.integers(0, n), st.just(n))
)

few = settings(max_examples=50, deadline=None)


@pytest.mark.parametrize(
    ("count", "low", "high"),
    [
        # R's `binom` and DescTools, by statsmodels' tests.
        (Count(100, 200), 0.4313609, 0.5686391),
        (Count(19, 38), 0.348499283643951, 0.651500716356049),
        (Count(18, 20), 0.6989663547715128, 0.972133518786232),
        (Count(4, 20), 0.0806576625797981, 0.4160174322518935),
        (Count(4, 200), 0.00780442641634947, 0.05028708690582643),
        (Count(190, 200), 0.910421851861224, 0.972617354399236),
        # What 100 to 200 conversations tell.
        (Count(20, 100), 0.133, 0.289),
        (Count(30, 150), 0.144, 0.271),
        (Count(40, 200), 0.150, 0.261),
        (Count(20, 200), 0.066, 0.149),
        (Count(0, 100), 0.0, 0.037),
    ],
)
def test_wilsons_interval_is_that_of_r(count: Count, low: float, high: float) -> None:
    places = 3 if low in (0.133, 0.144, 0.150, 0.066, 0.0) else 7
    found = wilson(count)
    assert (round(found.low, places), round(found.high, places)) == (round(low, places), round(high, places))


def test_jeffreys_and_clopper_pearson_are_those_of_r() -> None:
    assert jeffreys(Count(100, 200)).low == pytest.approx(0.4311217, abs=1e-7)
    assert jeffreys(Count(100, 200)).high == pytest.approx(0.5688783, abs=1e-7)
    assert clopper_pearson(Count(100, 200)).low == pytest.approx(0.4286584, abs=1e-7)
    assert clopper_pearson(Count(100, 200)).high == pytest.approx(0.5713416, abs=1e-7)


def test_newcombes_difference_is_that_of_fagerland_and_of_newcombe() -> None:
    found = newcombe(Count(7, 34), Count(1, 34))
    assert (round(found.low, 6), round(found.high, 6)) == (0.018921, 0.340369)
    found = newcombe(Count(56, 70), Count(48, 80))
    assert (round(found.low, 6), round(found.high, 6)) == (0.052431, 0.333873)


@few
@given(COUNTS)
def test_intervals_stay_between_none_and_all_and_hold_the_rate(count: Count) -> None:
    for interval in (wilson(count), jeffreys(count), clopper_pearson(count)):
        assert 0 <= interval.low <= interval.high <= 1
        if count.n:
            assert interval.low <= count.rate + 1e-12
            assert count.rate <= interval.high + 1e-12
        else:
            assert (interval.low, interval.high) == (0, 1) or interval.low < 0.01


@few
@given(st.integers(1, LARGEST))
def test_intervals_end_at_none_and_all(n: int) -> None:
    for method in (wilson, jeffreys, clopper_pearson):
        assert method(Count(0, n)).low == 0
        assert method(Count(n, n)).high == 1


@few
@given(COUNTS, COUNTS)
def test_the_difference_turned_round_is_the_negative(one: Count, other: Count) -> None:
    there, back = newcombe(one, other), newcombe(other, one)
    assert -1 <= there.low <= there.high <= 1
    assert there.low == pytest.approx(-back.high, abs=1e-12)
    assert there.low - 1e-12 <= one.rate - other.rate <= there.high + 1e-12


@few
@given(COUNTS, COUNTS)
def test_the_ratio_turned_round_is_the_inverse(one: Count, other: Count) -> None:
    there, back = ratio(one, other), ratio(other, one)
    assert 0 <= there.low <= there.high
    if there.low > 1e-6 and math.isfinite(back.high):
        assert there.low * back.high == pytest.approx(1, rel=1e-6)


@pytest.mark.parametrize(("successes", "n"), [(1, 0), (-1, 5), (6, 5)])
def test_more_successes_than_units_are_refused(successes: int, n: int) -> None:
    with pytest.raises(ValueError, match="counts once at most"):
        Count(successes, n)
