"""Bounds over several looks: Jennison and Turnbull's tables, and that alpha is spent and no more."""

import math
from itertools import accumulate

import pytest
from clew.rules.verdicts.boundaries import crossed, obrien_fleming, pocock, repeated_p, spending, spent
from hypothesis import given, settings
from hypothesis import strategies as st

LOOKS = st.lists(st.integers(20, 100), min_size=1, max_size=4).map(lambda steps: list(accumulate(steps)))
few = settings(max_examples=25, deadline=None)


@pytest.mark.parametrize(("looks", "bound"), [(2, 2.178), (4, 2.361), (5, 2.413)])
def test_pococks_bounds(looks: int, bound: float) -> None:
    assert [round(z, 3) for z in pocock(looks)] == [bound] * looks


@pytest.mark.parametrize(
    ("looks", "constant", "bounds"),
    [(2, 1.977, [2.797, 1.977]), (4, 2.024, [4.049, 2.863, 2.337, 2.024]), (5, 2.040, None)],
)
def test_obrien_and_flemings_bounds(looks: int, constant: float, bounds: list[float] | None) -> None:
    found = obrien_fleming(looks)
    assert round(found[-1], 3) == constant
    if bounds:
        assert [round(z, 3) for z in found] == bounds


@pytest.mark.parametrize("looks", [1, 2, 4, 5])
@pytest.mark.parametrize("alpha", [0.05, 0.0025])
def test_all_looks_together_cross_with_alpha(looks: int, alpha: float) -> None:
    told = range(1, looks + 1)
    for bounds in (obrien_fleming(looks, alpha), pocock(looks, alpha)):
        assert sum(crossed(told, bounds)) == pytest.approx(alpha, rel=1e-6)


def test_one_look_is_the_usual_test() -> None:
    assert obrien_fleming(1)[0] == pytest.approx(1.959963984540054)


@few
@given(LOOKS)
def test_looks_at_any_counts_spend_alpha_and_no_more(looks: list[int]) -> None:
    fractions = [n / looks[-1] for n in looks]
    bounds = spending(looks, fractions)
    shares = crossed(looks, bounds)
    assert sum(shares) == pytest.approx(0.05, rel=1e-4)
    for place in range(len(looks)):
        assert sum(shares[: place + 1]) <= spent(0.05, fractions[place]) * 1.0001


def test_looks_as_planned_get_the_planned_bounds() -> None:
    told = (50.0, 100.0, 150.0, 200.0)
    assert spending(told, [n / 200 for n in told], looks=4) == obrien_fleming(4)
    late = spending((50.0, 100.0, 160.0, 200.0), (0.25, 0.5, 0.8, 1.0), looks=4)
    assert late[:2] == obrien_fleming(4)[:2]
    assert sum(crossed((50.0, 100.0, 160.0, 200.0), late)) == pytest.approx(0.05, rel=1e-6)


def test_a_last_look_that_comes_late_spends_what_is_left() -> None:
    told = (100.0, 430.0)
    assert sum(crossed(told, spending(told, (0.5, 1.0)))) == pytest.approx(0.05, rel=1e-6)


@few
@given(LOOKS, st.floats(0.001, 0.2))
def test_the_repeated_p_value_is_the_alpha_whose_bound_is_met(looks: list[int], alpha: float) -> None:
    fractions = tuple(n / looks[-1] for n in looks)
    bound = spending(looks, fractions, alpha)[-1]
    found = repeated_p(tuple(map(float, looks)), fractions, bound)
    assert found == pytest.approx(alpha, rel=1e-3)


@few
@given(LOOKS, st.floats(0, 12), st.floats(0, 12))
def test_more_evidence_never_has_a_larger_p_value(looks: list[int], one: float, other: float) -> None:
    fractions = tuple(n / looks[-1] for n in looks)
    low, high = sorted((one, other))
    told = tuple(map(float, looks))
    assert repeated_p(told, fractions, high) <= repeated_p(told, fractions, low) * 1.000001


def test_evidence_beyond_any_table_is_still_a_number() -> None:
    assert 0 <= repeated_p((100.0, 200.0), (0.5, 1.0), 60.0) < 1e-30
    assert repeated_p((100.0,), (1.0,), math.inf) == 0


@pytest.mark.parametrize("looks", [(0.0, 1.0), (2.0, 2.0), (3.0, 1.0)])
def test_looks_that_do_not_grow_are_refused(looks: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="grow"):
        crossed(looks, (2.0, 2.0))
