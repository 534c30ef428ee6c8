"""The prior from other rules, and many rules at once."""

import numpy as np
import pytest
from clew.rules.verdicts.pooling import MOST_WEIGHT, hochberg, prior_of_others, two_sided
from hypothesis import given, settings
from hypothesis import strategies as st

few = settings(max_examples=50, deadline=None)
RULES = st.lists(
    st.integers(0, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), min_size=1, max_size=25
)


@few
@given(RULES)
def test_the_prior_is_defined_for_any_counts_and_has_a_bounded_weight(rules: list[tuple[int, int]]) -> None:
    """One rule, rules without orders, without conversations, all equal."""
    a, b = prior_of_others([s for s, _ in rules], [n for _, n in rules])
    assert (a > 0).all()
    assert (b > 0).all()
    assert (a + b <= MOST_WEIGHT + 1e-9).all()
    assert (a + b >= 2 - 1e-9).all()


def test_equal_rules_weigh_most_and_different_ones_little() -> None:
    a, b = prior_of_others([15] * 6, [100] * 6)
    assert a + b == pytest.approx([MOST_WEIGHT] * 6)
    assert a / (a + b) == pytest.approx([0.15] * 6, abs=0.001)
    a, b = prior_of_others([5, 95, 5, 95, 5, 95], [100] * 6)
    assert (a + b < 5).all()


def test_a_rule_alone_or_with_few_others_has_the_uniform_prior() -> None:
    for rules in (1, 2, 3):
        a, b = prior_of_others([15] * rules, [100] * rules)
        assert (a == 1).all()
        assert (b == 1).all()
    a, b = prior_of_others([15, 0, 0, 0, 0], [100, 0, 0, 0, 0])
    assert (a == 1).all()


def test_no_orders_anywhere_is_a_low_rate_and_not_none() -> None:
    a, b = prior_of_others([0] * 5, [100] * 5)
    assert (a / (a + b) < 0.002).all()
    assert (a > 0).all()


def test_a_rule_is_not_in_its_own_prior() -> None:
    a, b = prior_of_others([15, 15, 15, 15, 90], [100] * 5)
    assert a[4] / (a + b)[4] == pytest.approx(0.15, abs=0.002)
    assert (a + b)[4] == pytest.approx(MOST_WEIGHT)


def test_the_weight_recovers_how_much_rules_differ() -> None:
    """Rates from Beta(6, 34) are worth 40 conversations."""
    rng = np.random.default_rng(1)
    orders = rng.binomial(400, rng.beta(6, 34, 600))
    a, b = prior_of_others(orders, [400] * 600)
    assert (a + b)[0] == pytest.approx(40, abs=6)
    assert (a / (a + b))[0] == pytest.approx(0.15, abs=0.01)


def test_the_best_of_twenty_rules_is_not_flattered() -> None:
    """Its raw rate is 3 points above its true one; drawn towards the others it is right."""
    rng = np.random.default_rng(1)
    true = rng.beta(6, 34, (4000, 20))
    orders = rng.binomial(150, true)
    a, b = prior_of_others(orders, np.full((4000, 20), 150))
    best, run = orders.argmax(axis=1), np.arange(4000)
    drawn = ((a + orders) / (a + b + 150))[run, best]
    assert (orders[run, best] / 150).mean() == pytest.approx(0.283, abs=0.003)
    assert true[run, best].mean() == pytest.approx(0.254, abs=0.003)
    assert drawn.mean() == pytest.approx(0.254, abs=0.01)


def test_the_p_value_of_a_count_is_that_of_the_binomial() -> None:
    assert two_sided([30], [200], 0.15)[0] == 1
    assert two_sided([0], [100], 0.15)[0] == pytest.approx(2 * 0.85**100)
    assert two_sided([100], [100], 0.15)[0] == pytest.approx(2 * 0.15**100, rel=1e-6)
    assert two_sided([0], [0], 0.15)[0] == 1


def test_benjamini_and_hochbergs_own_example() -> None:
    """Their paper of 1995, §3.2: 15 p-values, of which it rejects four at 5 %."""
    p = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459]
    p += [0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0]
    assert hochberg(p, 0.05).tolist() == [True] * 4 + [False] * 11
    assert hochberg([], 0.05).tolist() == []


@few
@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.data())
def test_what_is_rejected_stays_so_while_p_values_fall(p: list[float], data: st.DataObject) -> None:
    lower = [data.draw(st.floats(0, value)) for value in p]
    assert not (hochberg(p, 0.05) & ~hochberg(lower, 0.05)).any()


def test_twenty_rules_at_their_target_show_what_a_correction_is_for() -> None:
    """150 conversations each: without one, two false verdicts on average, any in nine of ten runs."""
    rng = np.random.default_rng(1)
    orders = rng.binomial(150, 0.15, (4000, 20))
    from scipy.special import betainc

    over = 1 - betainc(orders + 1, 151 - orders, 0.15)
    false = (over > 0.95) | (over < 0.05)
    assert false.sum(axis=1).mean() == pytest.approx(2.2, abs=0.1)
    assert false.any(axis=1).mean() == pytest.approx(0.90, abs=0.02)
    assert hochberg(two_sided(orders, 150, 0.15), 0.05).any(axis=1).mean() < 0.05
