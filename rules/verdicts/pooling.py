"""What rules say about each other: a prior from the others, and verdicts of many rules at once. On arrays
whose last axis is the rule, so that simulations use the same code."""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betainc, betaincc

from .quadrature import Floats

# A prior counts at most as much as this many conversations, and comes from at least so many other rules.
MOST_WEIGHT = 50.0
FEWEST_OTHERS = 3
_UNIFORM_WEIGHT = 2.0


def prior_of_others(successes: ArrayLike, n: ArrayLike) -> tuple[Floats, Floats]:
    """For each rule the prior Beta(a, b) from the other rules: their common rate, weighing the more the less
    they differ from each other beyond chance, at most `MOST_WEIGHT` conversations.

    Empirical Bayes by moments (Kleinman 1973): the variance between the rates is compared with that of
    binomials of one rate. Rules without conversations say nothing. Where fewer than `FEWEST_OTHERS` remain it
    is uniform.
    """
    s, n = np.asarray(successes, float), np.asarray(n, float)
    squares = np.divide(s * s, n, out=np.zeros_like(s), where=n > 0)
    others, total, of_squares, of_n_squared, rules = (
        x.sum(axis=-1, keepdims=True) - x for x in (s, n, squares, n * n, (n > 0).astype(float))
    )
    # Half an order more of one conversation, so that it is neither 0 nor 1.
    rate = (others + 0.5) / (total + 1)
    between = of_squares - 2 * rate * others + rate * rate * total
    chance = rate * (1 - rate)
    room = total - of_n_squared / np.maximum(total, 1) - (rules - 1)
    alike = (between - (rules - 1) * chance) / np.maximum(room * chance, 1e-300)
    with np.errstate(divide="ignore"):
        weight = np.where(alike > 0, 1 / np.maximum(alike, 1e-12) - 1, MOST_WEIGHT)
    weight = np.clip(weight, _UNIFORM_WEIGHT, MOST_WEIGHT)
    enough = (rules >= FEWEST_OTHERS) & (room > 0)
    return np.where(enough, rate * weight, 1.0), np.where(enough, (1 - rate) * weight, 1.0)


def above(successes: ArrayLike, n: ArrayLike, a: ArrayLike, b: ArrayLike, target: ArrayLike) -> Floats:
    """The probability that a rate is above its target, after a prior Beta(a, b)."""
    s, n = np.asarray(successes, float), np.asarray(n, float)
    return np.asarray(betaincc(a + s, b + n - s, target))


def two_sided(successes: ArrayLike, n: ArrayLike, target: ArrayLike) -> Floats:
    """The exact p-value of a count if the rate is the target: twice the smaller tail of the binomial."""
    s, n = np.asarray(successes, float), np.asarray(n, float)
    at_least = np.where(s > 0, betainc(np.maximum(s, 1), n - s + 1, target), 1.0)
    at_most = np.where(s < n, betaincc(s + 1, np.maximum(n - s, 1), target), 1.0)
    return np.asarray(np.minimum(1.0, 2 * np.minimum(at_least, at_most)))


def hochberg(p: ArrayLike, share: float) -> NDArray[np.bool_]:
    """Which p-values Benjamini and Hochberg's procedure (1995) rejects, so that at most this share of the
    rejected is false on average; and, if no rule differs from its target, any with at most this
    probability."""
    p = np.asarray(p, float)
    rules = p.shape[-1]
    ordered = np.sort(p, axis=-1)
    passes = ordered <= share * np.arange(1, rules + 1) / max(rules, 1)
    count = np.where(passes, np.arange(1, rules + 1), 0).max(axis=-1, keepdims=True, initial=0)
    return np.asarray((p <= share * count / max(rules, 1)) & (count > 0))
