"""The simulation of verdicts judges as the product does, and its seed gives the same figures again."""

import numpy as np
import pytest
import verdict_peers
import verdicts
from clew.rules.verdicts.counts import Count, Word
from clew.rules.verdicts.looks import RULE_LOOKS
from clew.rules.verdicts.rule_verdicts import RuleCounts, judge_rules
from clew.rules.verdicts.text_verdicts import judge_texts
from options import Options
from verdict_peers import METHODS

PROMISED = {"false_rule_verdicts", "false_text_winners", "lift_coverage"}


def test_rules_are_judged_as_the_product_does() -> None:
    rng = np.random.default_rng(5)
    rates = [0.15, 0.15, 0.3, 0.28, 0.06, 0.04]
    orders = verdicts.orders_of(rates, 15, rng)
    turns = verdicts.turns_of(15, len(rates), rng)
    good, bad = verdicts.verdicts_of(orders, turns)
    assert good.any()
    assert bad.any()
    for run in range(15):
        looks: list[list[Count]] = [[] for _ in rates]
        given: list[Word | None] = [None] * len(rates)
        for rule in turns[run]:
            look = len(looks[rule])
            looks[rule].append(Count(int(orders[look, run, rule]), RULE_LOOKS[look]))
            counted = [
                RuleCounts(
                    str(n), "cart", verdicts.TARGET, seen[-1] if seen else Count(0, 0), tuple(seen), word
                )
                for n, (seen, word) in enumerate(zip(looks, given, strict=True))
            ]
            given = [verdict.word for verdict in judge_rules(counted)]
        assert [word == "good" for word in given] == good[run].tolist()
        assert [word == "bad" for word in given] == bad[run].tolist()


def test_texts_are_judged_as_the_product_does() -> None:
    rng = np.random.default_rng(5)
    plan = (50, 100, 150, 200)
    streams = verdicts._streams((0.2, 0.35), 200, 40, rng)
    one, other = verdicts.winners(streams, plan)
    assert other.any()
    for run in range(40):
        looks = [[Count(int(streams[text, run, n - 1]), n) for text in (0, 1)] for n in plan]
        words = [text.word for text in judge_texts(looks[-1], looks, plan)]
        assert (words[0] == "good", words[1] == "good") == (one[run], other[run])


def test_the_seed_gives_the_promised_figures_again(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RUNS", "POWER_RUNS", "ALARM_RUNS", "SHARING_RUNS"):
        monkeypatch.setattr(verdicts, name, 20 if name != "SHARING_RUNS" else 2)
    first, again = (verdicts.bench_verdicts(Options(seed=3)) for _ in range(2))
    assert first.figures == again.figures
    assert first.table == again.table
    assert set(first.figures) >= PROMISED


# -- what the methods are known to do, and what others' give


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rate", "good", "bad"),
    [
        (0.05, 0.000, 1.000),
        (0.08, 0.000, 0.935),
        (0.10, 0.001, 0.711),
        (0.12, 0.009, 0.378),
        (0.15, 0.106, 0.073),
        (0.18, 0.417, 0.008),
        (0.20, 0.685, 0.002),
        (0.25, 0.980, 0.000),
        (0.30, 1.000, 0.000),
    ],
)
def test_one_rule_without_correction(rate: float, good: float, bad: float) -> None:
    found = verdicts.uncorrected(rate, 20_000, np.random.default_rng(1))
    assert found == pytest.approx((good, bad), abs=0.012)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "false", "ten", "twenty"),
    [
        ("z-test once", 0.054, 0.365, 0.882),
        ("z-test at each look", 0.174, 0.500, 0.922),
        ("P > 0.95 at each look", 0.291, 0.628, 0.958),
        ("P > 0.95 once", 0.103, 0.489, 0.933),
        ("P > 0.975 at each look", 0.166, 0.496, 0.922),
        ("P > 0.99 at each look", 0.076, 0.346, 0.847),
        ("expected loss < 0.5 points at each look", 0.63, 0.818, 0.987),
        ("asymptotic confidence sequence, at each look", 0.013, 0.136, 0.625),
        ("O'Brien–Fleming", 0.052, 0.363, 0.871),
        ("Pocock", 0.051, 0.298, 0.814),
    ],
)
def test_two_texts_by_each_method(method: str, false: float, ten: float, twenty: float) -> None:
    rng = np.random.default_rng(1)
    found = []
    for rates in ((0.2, 0.2), (0.2, 0.3), (0.2, 0.4)):
        won = verdict_peers.winners_by(verdicts._streams(rates, 100, 8000, rng), *METHODS[method])
        found.append(float((won > 0).mean() if rates[1] > 0.2 else (won != 0).mean()))
    assert found == pytest.approx([false, ten, twenty], abs=0.018)


@pytest.mark.slow
def test_our_texts_have_the_power_of_obrien_and_fleming_within_three_points() -> None:
    rng = np.random.default_rng(1)
    for rate, most, power in ((0.3, 100, 0.363), (0.4, 100, 0.871), (0.3, 200, 0.631), (0.4, 200, 0.993)):
        looks = [most * look // 4 for look in range(1, 5)]
        _, other = verdicts.winners(verdicts._streams((0.2, rate), most, 8000, rng), looks)
        assert other.mean() == pytest.approx(power, abs=0.03)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rate", "share"), [(0.15, 0.023), (0.25, 0.74), (0.30, 0.98), (0.05, 0.93), (0.20, 0.20)]
)
def test_e_values_after_each_conversation(rate: float, share: float) -> None:
    found = verdict_peers.monitored(rate, 0.15, 200, 4000, np.random.default_rng(1))
    assert found == pytest.approx(share, abs=0.025)


def test_growthbooks_own_values() -> None:
    """packages/stats/tests/bayesian/test_tests.py, and its sequential frequentist test."""
    base, other = Count(49, 100), Count(51, 100)
    effect, deviation = verdict_peers.relative_effect(base, other)
    assert (round(effect, 5), round(deviation, 5)) == (0.04082, 0.14725)
    assert round(effect - verdict_peers.Z * deviation, 5) == -0.24779
    assert round(effect + verdict_peers.Z * deviation, 5) == 0.32943
    chance, keeping, choosing = verdict_peers.growthbook_bayes(base, other)
    assert (round(chance, 5), round(keeping, 4), round(choosing, 5)) == (0.60918, 0.0814, 0.04058)
    effect, deviation = verdict_peers.relative_effect(Count(1396, 3000), Count(2422, 3461))
    half = deviation * verdict_peers.sequence_factor(6461, 5000)
    assert (effect, effect - half, effect + half) == pytest.approx((0.50386, 0.40098, 0.60675), abs=2e-5)


@pytest.mark.parametrize(("tuned", "low", "high"), [(200, 0.015, 0.285), (5000, -0.030, 0.330)])
def test_a_sequence_tuned_for_other_counts_is_much_wider(tuned: int, low: float, high: float) -> None:
    factor = verdict_peers.sequence_factor(400, tuned)
    half = factor * (0.2 * 0.8 / 200 + 0.35 * 0.65 / 200) ** 0.5
    assert (0.15 - half, 0.15 + half) == pytest.approx((low, high), abs=6e-4)


def test_confseqs_own_values() -> None:
    """uniform_boundaries_unittest.cpp."""
    rho = verdict_peers.best_rho(100)
    assert rho == pytest.approx(12.60056, abs=1e-5)
    assert verdict_peers.log_mixture(10, 100, rho) == pytest.approx(-0.6510052, abs=1e-7)
    assert verdict_peers.mixture_bound(100, rho) == pytest.approx(30.35209, abs=1e-5)


def test_other_intervals_of_a_difference() -> None:
    one, other = Count(7, 34), Count(1, 34)
    found = verdict_peers.wald(one, other)
    assert (found.low, found.high) == pytest.approx((0.02916942, 0.32377176), abs=1e-7)
    found = verdict_peers.agresti_caffo(one, other)
    assert (found.low, found.high) == pytest.approx((0.01161167, 0.32172166), abs=1e-7)
