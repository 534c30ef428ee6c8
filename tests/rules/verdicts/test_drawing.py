"""What is drawn by lot: the same again from its seed; shares of traffic, and intervals of money."""

import hashlib
import statistics

import pytest
from clew.rules.verdicts.counts import Count
from clew.rules.verdicts.drawing import uniform
from clew.rules.verdicts.money import spending_of
from clew.rules.verdicts.sharing import FLOOR, thompson
from hypothesis import given, settings
from hypothesis import strategies as st

few = settings(max_examples=25, deadline=None)
COUNT = st.integers(0, 10**6).flatmap(lambda n: st.builds(Count, st.integers(0, n), st.just(n)))


def test_a_seed_gives_the_same_numbers_in_every_version() -> None:
    found = uniform(7, 3, 100)
    assert hashlib.sha256(found.tobytes()).hexdigest()[:16] == "f1a32d23675dbb7b"
    assert 0 < found.min() < found.max() < 1
    assert found.mean() == pytest.approx(0.5, abs=0.06)


@few
@given(st.lists(COUNT, min_size=1, max_size=15), st.integers(0, 2**40))
def test_shares_are_whole_have_a_floor_and_come_again(arms: list[Count], seed: int) -> None:
    found = thompson(arms, seed)
    assert sum(found.shares) == pytest.approx(1)
    assert min(found.shares) >= min(FLOOR, 1 / len(arms)) - 1e-9
    assert sorted(found.ranking) == list(range(len(arms)))
    assert thompson(arms, seed) == found


def test_the_better_arm_gets_more_and_is_first() -> None:
    found = thompson([Count(20, 100), Count(35, 100), Count(2, 100)], 1)
    assert found.ranking == (1, 0, 2)
    assert found.shares == (0.1, 0.8, 0.1)


def test_arms_of_which_nothing_is_known_get_about_the_same() -> None:
    found = thompson([Count(0, 0)] * 2, 1)
    assert found.shares[0] == pytest.approx(0.5, abs=0.05)


def test_no_arms_are_refused() -> None:
    with pytest.raises(ValueError, match="no arms"):
        thompson([], 1)


def test_money_has_a_mean_a_cap_and_an_interval_that_come_again() -> None:
    amounts = [0.0] * 150 + [10.0 + n for n in range(49)] + [5000.0]
    found = spending_of(amounts, 3)
    assert found == spending_of(amounts, 3)
    assert found.n == 200
    assert found.cap < 5000
    assert found.mean < statistics.mean(amounts)
    assert found.interval is not None
    assert 0 < found.interval.low < found.mean < found.interval.high


def test_money_of_few_or_of_nobody() -> None:
    assert spending_of([], 1).interval is None
    assert spending_of([12.5], 1).interval is None
    nothing = spending_of([0.0] * 50, 1).interval
    assert nothing is not None
    assert (nothing.low, nothing.high) == (0, 0)
    few_orders = spending_of([0.0] * 50 + [20.0, 30.0], 1).interval
    assert few_orders is not None
    assert few_orders.low == 0 < few_orders.high


def test_more_visitors_than_are_drawn_at_once() -> None:
    found = spending_of([0.0, 1.0, 2.0] * 1000, 1)
    assert found.interval is not None
    assert found.interval.low < 1 < found.interval.high
    assert found.interval.high - found.interval.low < 0.08
