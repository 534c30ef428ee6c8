"""Rules against their target: the five words, and when each is said."""

import random
from bisect import bisect_left

import numpy as np
import pytest
from clew.rules.verdicts.boundaries import repeated_p
from clew.rules.verdicts.counts import Count, Word
from clew.rules.verdicts.pooling import two_sided
from clew.rules.verdicts.rule_verdicts import RuleCounts, RuleVerdict, fractions_of, judge_rules, look_p
from scipy.special import ndtri
from scipy.stats import binom


def rule(*looks: tuple[int, int], now: tuple[int, int] | None = None, **more: object) -> RuleCounts:
    """A rule with target 15 % and these (orders, conversations) at its looks."""
    counts = tuple(Count(*look) for look in looks)
    given: dict[str, object] = {"rule": "r", "stage": "cart", "target": 0.15, **more}
    return RuleCounts(now=Count(*now) if now else counts[-1], looks=counts, **given)  # type: ignore[arg-type]


def judged(*rules: RuleCounts) -> RuleVerdict:
    """The verdict on the first."""
    return judge_rules(rules)[0]


AT_TARGET = [rule((15, 100), (22, 150), (30, 200), rule=f"at-{n}") for n in range(19)]


@pytest.mark.parametrize(
    ("counted", "word"),
    [
        (rule(now=(0, 0)), "too early"),
        (rule(now=(40, 99)), "too early"),
        (rule((20, 100)), "too early"),
        (rule((20, 100), (28, 150)), "too early"),
        (rule((35, 100)), "good"),
        (rule((22, 100), (34, 150), (50, 200)), "good"),
        (rule((3, 100)), "bad"),
        (rule((15, 100), (22, 150), (30, 200)), "no clear difference"),
        (rule((19, 100), (29, 150), (39, 200)), "undecided at 200"),
        (rule((300, 2000)), "no clear difference"),
        (rule((420, 2000)), "good"),
        (rule((0, 100)), "bad"),
        (rule((100, 100)), "good"),
    ],
)
def test_each_word_has_its_counts(counted: RuleCounts, word: Word) -> None:
    assert judged(counted).word == word


def test_no_rules_have_no_verdicts() -> None:
    assert judge_rules([]) == ()


def test_among_twenty_rules_a_verdict_asks_for_more() -> None:
    clear = rule((26, 100), (36, 150), (46, 200))
    assert judged(clear).word == "good"
    assert judged(clear, *AT_TARGET).word == "undecided at 200"
    assert judged(rule((30, 100), (45, 150), (60, 200)), *AT_TARGET).word == "good"


def test_a_verdict_once_given_stays() -> None:
    fallen = rule((30, 100), (33, 150), (36, 200), given="good")
    assert judged(fallen, *AT_TARGET).word == "good"
    assert judged(rule((30, 100), (33, 150), (36, 200), given="too early"), *AT_TARGET).word != "good"


def test_a_look_that_was_clear_counts_also_when_later_ones_are_not() -> None:
    """Its p-value never rises, so nothing that was rejected comes back."""
    early = rule((36, 100))
    later = rule((36, 100), (44, 150), (52, 200))
    assert look_p(later)[0] <= look_p(early)[0]


def test_what_is_known_of_its_like_can_hold_a_verdict_back() -> None:
    """Clear by itself and among its like, but not where all others hardly ever bring an order."""
    clear = rule((23, 100), (34, 150), (43, 200))
    poor = [rule((1, 200), rule=f"poor-{n}", given="bad") for n in range(8)]
    usual = [rule((50, 200), rule=f"rich-{n}", given="good") for n in range(8)]
    assert judged(clear).word == judged(clear, *usual).word == "good"
    assert judged(clear, *poor).word == "undecided at 200"


def test_the_prior_is_that_of_the_stage_where_there_are_enough() -> None:
    mine = rule(now=(10, 60))
    cart = [rule((40, 200), rule=f"c{n}") for n in range(4)]
    page = [rule((10, 200), rule=f"p{n}", stage="page") for n in range(4)]
    alone = judged(rule(now=(10, 60), stage="checkout"), *cart, *page)
    assert judged(mine, *cart, *page).estimate > alone.estimate


def test_always_with_numbers() -> None:
    for counted in (rule(now=(0, 0)), rule((52, 200)), rule((30, 200)), rule((38, 200)), rule((4, 100))):
        found = judged(counted)
        assert f"{counted.now.n}" in found.sentence
        assert "%" in found.sentence
        assert found.interval.low <= counted.now.rate <= found.interval.high


def test_the_sentence_says_what_so_many_talks_can_see() -> None:
    assert (
        "With 200 conversations we can see differences of about ±7 points."
        in judged(rule((38, 200))).sentence
    )
    among = judged(rule((38, 200)), *AT_TARGET)
    assert "With 200 conversations we can see differences of about ±10 points." in among.sentence


def test_an_alarm_is_for_what_is_clearly_bad_before_any_look() -> None:
    assert judged(rule(now=(0, 70)), *AT_TARGET).alarm
    assert judged(rule(now=(0, 70)), *AT_TARGET).word == "too early"
    assert not judged(rule(now=(6, 70)), *AT_TARGET).alarm
    assert not judged(rule(now=(70, 70)), *AT_TARGET).alarm
    assert not judged(rule((0, 100)), *AT_TARGET).alarm


@pytest.mark.parametrize("target", [0, 1, -0.1, float("nan")])
def test_a_target_that_is_no_share_is_refused(target: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        rule((10, 100), target=target)


@pytest.mark.parametrize("looks", [[(10, 150), (20, 100)], [(10, 100), (9, 150)], [(10, 100), (70, 150)]])
def test_looks_that_cannot_follow_each_other_are_refused(looks: list[tuple[int, int]]) -> None:
    with pytest.raises(ValueError, match="in order"):
        rule(*looks, now=(80, 200))


def test_the_same_counts_have_the_same_verdicts_in_any_order() -> None:
    rng = random.Random(1)
    rules = [rule((rng.randint(5, 40), 100), rule=str(n)) for n in range(12)]
    shuffled = rng.sample(rules, len(rules))
    first = {verdict.rule: verdict for verdict in judge_rules(rules)}
    for verdict in judge_rules(shuffled):
        assert verdict.word == first[verdict.rule].word
        assert verdict.estimate == pytest.approx(first[verdict.rule].estimate, rel=1e-9)


def holds(once: float, told: tuple[float, ...]) -> float:
    """The p-value over all looks of one at the last look."""
    return repeated_p(told, fractions_of(told), -float(ndtri(once / 2)))


@pytest.mark.parametrize("target", [0.02, 0.15, 0.5, 0.9])
@pytest.mark.parametrize("plan", [(100, 150, 200), (117, 163, 240), (149, 150, 260), (170, 900), (450,)])
def test_the_p_value_holds_over_all_looks_whenever_they_come(target: float, plan: tuple[int, ...]) -> None:
    """Computed exactly: if the rate is the target, at any look p ≤ α at most with probability α."""
    told = tuple(float(n) for n in plan)
    for alpha in (0.05, 0.01, 0.0025):
        left, crossed, before = np.ones(1), 0.0, 0
        for look, n in enumerate(plan):
            step = np.arange(n - before + 1)
            chances = binom.pmf(step, n - before, target)
            left = np.convolve(left, chances)
            once = two_sided(np.arange(n + 1), n, target)
            shown = np.unique(once[once <= 0.06])
            passed = bisect_left(
                shown, True, key=lambda p, seen=told[: look + 1]: holds(float(p), seen) > alpha
            )
            bound = shown[passed - 1] if passed else -1.0
            crossed += float(left[once <= bound].sum())
            left = np.where(once <= bound, 0.0, left)
            before = n
        assert crossed <= alpha


def test_nothing_counted_is_not_told_as_a_rate() -> None:
    said = judged(RuleCounts("one", "", 0.2, Count(0, 0))).sentence
    assert said.startswith(
        "0 conversations yet, so the rate may be anything from 0 % to 100 %. The next look"
    )
    assert "ordered" not in said


def test_a_rule_for_support_is_told_by_its_ratings() -> None:
    counted = RuleCounts("help", "", 0.8, Count(12, 15), goal="support")
    said = judged(counted).sentence
    assert said.startswith("12 of 15, 80.0 %")
    assert "were rated 4 or 5. The next look is at 100 rated conversations" in said
    assert "ordered" not in said
