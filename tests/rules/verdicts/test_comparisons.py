"""Two texts, the hold-out, the shares of arms: which one is better, and what there is to see."""

import math

import pytest
from clew.rules.verdicts.comparing import bounds, winner, z_of
from clew.rules.verdicts.counts import Count
from clew.rules.verdicts.lift import judge_lift, look_plan, needed
from clew.rules.verdicts.ratio import sample_ratio
from clew.rules.verdicts.text_verdicts import judge_texts, size
from hypothesis import given, settings
from hypothesis import strategies as st

few = settings(max_examples=50, deadline=None)
COUNT = st.integers(0, 10**6).flatmap(lambda n: st.builds(Count, st.integers(0, n), st.just(n)))
PLAN = (50, 100, 150, 200)


def looks(*rates: float) -> list[list[Count]]:
    """All looks of texts with these shares of chats."""
    return [[Count(round(rate * n), n) for rate in rates] for n in PLAN]


@few
@given(COUNT, COUNT)
def test_the_comparison_turned_round_is_the_negative(one: Count, other: Count) -> None:
    assert math.isfinite(z_of(one, other))
    assert z_of(one, other) == -z_of(other, one)


def test_planned_looks_have_the_planned_bounds() -> None:
    pairs = [(Count(0, n), Count(0, n)) for n in PLAN]
    found = bounds(pairs, [n / 2 for n in PLAN])
    assert [round(z, 3) for z in found] == [4.049, 2.863, 2.337, 2.024]


def test_a_look_without_new_visitors_decides_nothing() -> None:
    pair = (Count(10, 100), Count(40, 100))
    assert bounds([pair, pair], [50, 100])[1] == math.inf


def test_a_clear_winner_stays_whatever_comes_later() -> None:
    found = looks(0.2, 0.5)[:2] + looks(0.35, 0.35)[2:]
    texts = judge_texts(found[-1], found, PLAN)
    assert [text.word for text in texts] == ["bad", "good"]


def test_texts_are_too_early_then_not_to_be_told_apart() -> None:
    same = looks(0.2, 0.2)
    assert {t.word for t in judge_texts(same[0], [], PLAN)} == {"too early"}
    assert {t.word for t in judge_texts(same[2], same[:3], PLAN)} == {"too early"}
    assert {t.word for t in judge_texts(same[3], same, PLAN)} == {"no clear difference"}


def test_of_three_texts_the_best_is_good_and_the_worst_bad() -> None:
    texts = judge_texts(looks(0.2, 0.6, 0.21)[-1], looks(0.2, 0.6, 0.21), PLAN)
    assert [text.word for text in texts] == ["bad", "good", "bad"]
    texts = judge_texts(looks(0.1, 0.5, 0.48)[-1], looks(0.1, 0.5, 0.48), PLAN)
    assert [text.word for text in texts] == ["bad", "no clear difference", "no clear difference"]


def test_a_text_says_what_is_likely_and_what_a_mistake_costs() -> None:
    counts = [Count(40, 200), Count(56, 200)]
    one, other = judge_texts(counts, [])
    assert round(other.better, 6) == 0.969080
    assert round(other.loss, 6) == 0.000513
    assert round(one.loss, 6) == 0.079721
    assert one.over_best == -other.over_best


def test_unequal_texts_are_as_large_as_their_harmonic_mean() -> None:
    assert size([Count(1, 100), Count(1, 100)]) == pytest.approx(100)
    assert size([Count(1, 50), Count(1, 450)]) == pytest.approx(90)
    assert size([Count(0, 0), Count(1, 450)]) == 0


@pytest.mark.parametrize("now", [[Count(1, 10)], []])
def test_one_text_alone_is_refused(now: list[Count]) -> None:
    with pytest.raises(ValueError, match="two texts or more"):
        judge_texts(now, [])


def test_texts_without_visitors_are_too_early() -> None:
    found = judge_texts([Count(0, 0), Count(0, 0)], [], PLAN)
    assert [text.word for text in found] == ["too early"] * 2


# -- hold-out


@pytest.mark.parametrize(
    ("base", "lift", "halves", "tenth"),
    [
        (0.02, 0.1, 161_362, 454_759),
        (0.02, 0.2, 42_216, 120_462),
        (0.02, 0.5, 7_650, 22_454),
        (0.03, 0.2, 27_827, 79_375),
        (0.05, 0.2, 16_315, 46_505),
    ],
)
def test_how_many_visitors_a_lift_needs(base: float, lift: float, halves: int, tenth: int) -> None:
    assert needed(base, lift, 0.5) == pytest.approx(halves, abs=1)
    assert needed(base, lift, 0.1) == pytest.approx(tenth, abs=1)


def test_a_lift_is_good_bad_or_nothing_and_tells_the_next_look() -> None:
    plan = look_plan(100_000)

    def found(invited: float, held_out: float, taken: int) -> str:
        pairs = [
            (
                Count(round(n * 0.9 * invited), round(n * 0.9)),
                Count(round(n * 0.1 * held_out), round(n * 0.1)),
            )
            for n in plan[:taken]
        ]
        now = pairs[-1] if pairs else (Count(0, 0), Count(0, 0))
        return judge_lift(*now, pairs, planned=100_000, share=0.1).word

    assert found(0.03, 0.02, 4) == "good"
    assert found(0.02, 0.03, 4) == "bad"
    assert found(0.02, 0.02, 4) == "no clear difference"
    assert found(0.02, 0.02, 3) == "too early"
    assert found(0.03, 0.02, 0) == "too early"
    assert judge_lift(Count(0, 0), Count(0, 0), planned=100_000, share=0.1).next_look == 25_000


def test_a_lift_says_points_and_percent() -> None:
    found = judge_lift(Count(2160, 90_000), Count(200, 10_000), planned=100_000, share=0.1)
    assert found.difference == pytest.approx(0.004)
    assert found.interval.low < 0.004 < found.interval.high
    assert found.relative.low < 0.2 < found.relative.high
    assert "2.4 % of 90,000 ordered with invites, 2.0 % of 10,000 without: +0.40 points" in found.sentence


@few
@given(COUNT, COUNT)
def test_a_lift_is_defined_for_any_counts(one: Count, other: Count) -> None:
    found = judge_lift(one, other, [(one, other)], planned=1000, share=0.1)
    assert -1 <= found.interval.low <= found.interval.high <= 1
    assert found.sentence


@pytest.mark.parametrize("share", [0, 1, -1])
def test_a_hold_out_of_none_or_all_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="hold-out"):
        judge_lift(Count(0, 0), Count(0, 0), planned=1000, share=share)
    with pytest.raises(ValueError, match="between 0 and 1"):
        needed(0.02, 0.2, share)


def test_the_winner_is_the_first_look_that_says_so() -> None:
    pairs = [(Count(10, 50), Count(10, 50)), (Count(20, 100), Count(45, 100))]
    assert winner(pairs, [n / 2 for n in PLAN]) == "other"
    assert winner(pairs[:1], [n / 2 for n in PLAN]) is None
    assert winner([], [n / 2 for n in PLAN]) is None


# -- the lot


def test_a_lot_that_is_off_is_an_alarm() -> None:
    assert not sample_ratio([5000, 5100], [1, 1]).alarm
    assert sample_ratio([5000, 5400], [50, 50]).alarm
    assert not sample_ratio([9000, 1010], [0.9, 0.1]).alarm
    assert sample_ratio([9000, 1200], [0.9, 0.1]).alarm


def test_the_lot_is_pearsons_test() -> None:
    found = sample_ratio([60, 40], [1, 1])
    assert found.chi_square == pytest.approx(4)
    assert found.p == pytest.approx(0.0455, abs=1e-4)
    assert sample_ratio([30, 30, 60], [1, 1, 2]).p == 1


def test_an_arm_without_a_share_may_have_nobody() -> None:
    assert not sample_ratio([100, 90, 0], [1, 1, 0]).alarm
    assert sample_ratio([100, 90, 1], [1, 1, 0]).alarm
    assert sample_ratio([0, 0], [1, 1]).p == 1
    assert sample_ratio([10, 0], [1, 0]).p == 1


@pytest.mark.parametrize(
    ("assigned", "shares"), [([1], [1]), ([1, 2], [1]), ([1, 2], [0, 0]), ([1, 2], [2, -1])]
)
def test_shares_that_are_none_are_refused(assigned: list[int], shares: list[float]) -> None:
    with pytest.raises(ValueError, match="two arms or more"):
        sample_ratio(assigned, shares)
