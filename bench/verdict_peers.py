"""What other methods would say of the same counts: those of GrowthBook, of confseq, and looking whenever one
likes.

Their formulas, from their sources: GrowthBook `packages/stats/gbstats` (the Bayesian test, and the asymptotic
confidence sequence of Waudby-Smith et al., arXiv 2103.06476), confseq `uniform_boundaries` (Howard et al.
2021)."""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from clew.rules.verdicts.beta import UNIFORM, evidence, expected_loss, larger
from clew.rules.verdicts.boundaries import obrien_fleming, pocock
from clew.rules.verdicts.counts import Count, Interval
from clew.rules.verdicts.intervals import newcombe
from numpy.typing import NDArray
from report import Section, table
from scipy.special import ndtr, ndtri

Z = float(ndtri(0.975))
Orders = NDArray[np.int64]
# 1 if the second text won, -1 if the first, 0 if there is no winner.
Method = Callable[[Count, Count], int]


# -- their formulas


def wald(one: Count, other: Count) -> Interval:
    """The difference of two shares with its usual normal interval."""
    half = Z * math.sqrt(_variance(one) + _variance(other))
    return Interval(one.rate - other.rate - half, one.rate - other.rate + half)


def agresti_caffo(one: Count, other: Count) -> Interval:
    """The same after one success and one failure more in each (2000)."""
    return wald(*(Count(count.successes + 1, count.n + 2) for count in (one, other)))


def _variance(count: Count) -> float:
    return count.rate * (1 - count.rate) / count.n


def relative_effect(base: Count, other: Count) -> tuple[float, float]:
    """How much larger the share of `other` is, relatively, and its standard deviation by the delta method."""
    effect = (other.rate - base.rate) / base.rate
    variance = _variance(other) / base.rate**2 + _variance(base) * other.rate**2 / base.rate**4
    return effect, math.sqrt(variance)


def growthbook_bayes(base: Count, other: Count) -> tuple[float, float, float]:
    """Its chance to win, and the risks of keeping `base` and of choosing `other`, relatively."""
    effect, deviation = relative_effect(base, other)
    z = effect / deviation
    risk = effect * float(ndtr(z)) + deviation * math.exp(-z * z / 2) / math.sqrt(2 * math.pi)
    return float(ndtr(z)), risk, risk - effect


def sequence_factor(n: int, tuned: float, alpha: float = 0.05) -> float:
    """By how many standard errors an asymptotic confidence sequence reaches, that is tightest at `tuned`
    units."""
    log = -2 * math.log(alpha)
    rho2 = (log + math.log(log + 1)) / tuned
    return math.sqrt(n * 2 * (n * rho2 + 1) / (n * n * rho2) * math.log(math.sqrt(n * rho2 + 1) / alpha))


def best_rho(variance: float, alpha: float = 0.05) -> float:
    """confseq's two-sided normal mixture: the parameter that is best at this variance."""
    log = 2 * math.log(1 / alpha)
    return variance / (log + math.log(1 + log))


def log_mixture(s: float, variance: float, rho: float) -> float:
    """The logarithm of its martingale."""
    return 0.5 * math.log(rho / (variance + rho)) + s * s / (2 * (variance + rho))


def mixture_bound(variance: float, rho: float, alpha: float = 0.05) -> float:
    """Its bound for a sum of this variance."""
    return math.sqrt((variance + rho) * math.log((variance + rho) / (rho * alpha**2)))


# -- two texts, by each of them


def _by_z(bound: float) -> Method:
    def judged(a: Count, b: Count) -> int:
        share = (a.successes + b.successes) / (a.n + b.n)
        error = math.sqrt(share * (1 - share) * (1 / a.n + 1 / b.n))
        return _sign((b.rate - a.rate) / error, bound) if error else 0

    return judged


def _by_sequence(a: Count, b: Count) -> int:
    error = math.sqrt(_variance(a) + _variance(b))
    return _sign((b.rate - a.rate) / error, sequence_factor(a.n + b.n, 200)) if error else 0


def _by_chance(sure: float) -> Method:
    def judged(a: Count, b: Count) -> int:
        return _sign(larger(UNIFORM.after(b), UNIFORM.after(a)) - 0.5, sure - 0.5)

    return judged


def _by_loss(a: Count, b: Count) -> int:
    one, other = UNIFORM.after(a), UNIFORM.after(b)
    if b.rate > a.rate:
        return int(expected_loss(other, one) < 0.005)
    return -int(expected_loss(one, other) < 0.005)


def _sign(value: float, bound: float) -> int:
    return 0 if abs(value) < bound else 1 if value > 0 else -1


OFTEN, QUARTERS = tuple(range(20, 101, 10)), (25, 50, 75, 100)
METHODS: Mapping[str, tuple[Sequence[int], Sequence[Method]]] = {
    "z-test once": ((100,), [_by_z(Z)]),
    "z-test at each look": (OFTEN, [_by_z(Z)] * 9),
    "P > 0.95 once": ((100,), [_by_chance(0.95)]),
    "P > 0.95 at each look": (OFTEN, [_by_chance(0.95)] * 9),
    "P > 0.975 at each look": (OFTEN, [_by_chance(0.975)] * 9),
    "P > 0.99 at each look": (OFTEN, [_by_chance(0.99)] * 9),
    "expected loss < 0.5 points at each look": (OFTEN, [_by_loss] * 9),
    "asymptotic confidence sequence, at each look": (OFTEN, [_by_sequence] * 9),
    "O'Brien–Fleming": (QUARTERS, [_by_z(z) for z in obrien_fleming(4)]),
    "Pocock": (QUARTERS, [_by_z(z) for z in pocock(4)]),
}


def winners_by(chats: Orders, looks: Sequence[int], methods: Sequence[Method]) -> NDArray[np.int64]:
    """Who won in each run. `chats`: (texts, runs, visitors), after each visitor of both."""
    won = np.zeros(chats.shape[1], int)
    for n, method in zip(looks, methods, strict=True):
        pairs, back = np.unique(chats[:, :, n - 1].astype(np.int64), axis=1, return_inverse=True)
        found = np.array([method(Count(int(a), n), Count(int(b), n)) for a, b in pairs.T])
        won = np.where(won == 0, found[back.reshape(-1)], won)
    return won


def compare(rng: np.random.Generator, runs: int) -> Section:
    """The table of methods, on the same draws."""
    cases = [(0.2, 0.2), (0.2, 0.3), (0.2, 0.4)]
    chats = [
        np.array([np.cumsum(rng.random((runs, 100)) < rate, axis=1, dtype=np.int16) for rate in rates])
        for rates in cases
    ]
    rows, figures = [], {}
    for name, (looks, methods) in METHODS.items():
        won = [winners_by(case, looks, methods) for case in chats]
        found = [float((won[0] != 0).mean()), *(float((case > 0).mean()) for case in won[1:])]
        rows.append([name, *(f"{share:.3f}" for share in found)])
        figures[name] = found
    how = (
        f"Two texts, up to 100 visitors of each; each look is after 20, 30, … 100, or after 25, 50, 75, 100. "
        f"{runs:,} runs."
    )
    columns = ("method", "winner of 20 % and 20 %", "the right one of 20 % and 30 %", "of 20 % and 40 %")
    return Section(
        {"false_text_winners_peeking": figures["P > 0.95 at each look"][0]},
        table("Other methods for two texts", how, columns, rows),
    )


def same_counts() -> Section:
    """What each says of the same counts."""
    one, other = Count(7, 34), Count(1, 34)
    half, more = Count(49, 100), Count(51, 100)
    chance, *_ = growthbook_bayes(half, more)
    rho = best_rho(100)
    rows = [
        ["7 of 34 less 1 of 34: Newcombe (clew)", _text(newcombe(one, other))],
        ["… Wald", _text(wald(one, other))],
        ["… Agresti and Caffo", _text(agresti_caffo(one, other))],
        ["51 of 100 better than 49: exact (clew)", f"{larger(UNIFORM.after(more), UNIFORM.after(half)):.4f}"],
        ["… GrowthBook's normal approximation", f"{chance:.4f}"],
        ["bound for a sum of variance 100: at one look", f"{Z * 10:.2f}"],
        ["… whenever one looks, confseq's normal mixture", f"{mixture_bound(100, rho):.2f}"],
    ]
    return Section(
        {}, table("Other methods for the same counts", "Nothing is drawn here.", ("what", "is"), rows)
    )


def _text(interval: Interval) -> str:
    return f"{interval.low:.4f} to {interval.high:.4f}"


# -- one rule, by e-values after each conversation


def monitored(rate: float, target: float, most: int, runs: int, rng: np.random.Generator) -> float:
    """How often the e-value of a rule ever passes 20, looking after each conversation."""
    low = np.full(most, -1)
    high = np.full(most, most + 1)
    for n in range(1, most + 1):
        clear = [s for s in range(n + 1) if evidence(Count(s, n), target) >= 20]
        low[n - 1] = max((s for s in clear if s < target * n), default=-1)
        high[n - 1] = min((s for s in clear if s > target * n), default=most + 1)
    orders = np.cumsum(rng.random((runs, most)) < rate, axis=1, dtype=np.int16)
    return float(((orders <= low) | (orders >= high)).any(axis=1).mean())
