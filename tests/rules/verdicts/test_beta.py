"""Two shares: the published values, the identities, and counts of any size."""

import pytest
from clew.rules.verdicts import beta
from clew.rules.verdicts.beta import UNIFORM, Beta, evidence, expected_loss, larger
from clew.rules.verdicts.counts import Count
from hypothesis import given, settings
from hypothesis import strategies as st

SMALL = st.integers(0, 3000).flatmap(lambda n: st.builds(Count, st.integers(0, n), st.just(n)))
ANY = st.integers(0, 10**8).flatmap(lambda n: st.builds(Count, st.integers(0, n), st.just(n)))

few = settings(max_examples=50, deadline=None)


@pytest.mark.parametrize(
    ("a", "b", "better", "loss_b", "loss_a"),
    [
        ((49, 100), (51, 100), 0.610771, 0.019116, 0.038724),
        ((10, 100), (18, 100), 0.946364, 0.001126, 0.079558),
        ((20, 100), (30, 100), 0.947603, 0.001346, 0.099385),
        ((12, 150), (24, 150), 0.982953, 0.000234, 0.079182),
        ((40, 200), (56, 200), 0.969080, 0.000513, 0.079721),
        ((100, 1000), (120, 1000), 0.923183, 0.000485, 0.020445),
        ((1, 34), (7, 34), 0.986248, 0.000404, 0.167070),
        ((0, 100), (3, 100), 0.939361, 0.000583, 0.029995),
    ],
)
def test_the_worked_values(
    a: tuple[int, int], b: tuple[int, int], better: float, loss_b: float, loss_a: float
) -> None:
    one, other = UNIFORM.after(Count(*a)), UNIFORM.after(Count(*b))
    assert round(larger(other, one), 6) == better
    assert round(expected_loss(other, one), 6) == loss_b
    assert round(expected_loss(one, other), 6) == loss_a


@few
@given(SMALL, SMALL)
def test_the_sum_and_the_integral_agree(a: Count, b: Count) -> None:
    one, other = UNIFORM.after(a), UNIFORM.after(b)
    assert beta._integral(one, other) == pytest.approx(larger(one, other), abs=1e-9)


@few
@given(ANY, ANY)
def test_identities_hold_for_counts_of_any_size(a: Count, b: Count) -> None:
    one, other = UNIFORM.after(a), UNIFORM.after(b)
    assert larger(one, other) + larger(other, one) == pytest.approx(1, abs=1e-6)
    lost = expected_loss(one, other) - expected_loss(other, one)
    assert lost == pytest.approx(other.mean - one.mean, abs=1e-6)


@few
@given(ANY)
def test_equal_counts_are_even(a: Count) -> None:
    assert larger(UNIFORM.after(a), UNIFORM.after(a)) == pytest.approx(0.5, abs=1e-6)


def test_a_prior_need_not_be_whole() -> None:
    one, other = Beta(4.5, 40.25), Beta(9.1, 38.7)
    assert larger(one, other) + larger(other, one) == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize(
    ("orders", "talks", "value"),
    [
        (30, 150, 0.31636),
        (35, 150, 3.14870),
        (40, 150, 78.87878),
        (10, 150, 7.47206),
        (50, 200, 66.44798),
        (15, 200, 8.86557),
        (22, 150, 0.07268),
    ],
)
def test_the_worked_e_values(orders: int, talks: int, value: float) -> None:
    assert round(evidence(Count(orders, talks), 0.15), 5) == value


def test_evidence_without_conversations_is_none_and_never_overflows() -> None:
    assert evidence(Count(0, 0), 0.15) == pytest.approx(1)
    assert evidence(Count(10**7, 10**7), 0.15) == float("inf")
