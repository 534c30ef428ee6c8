"""Two shares with uniform priors: the probability that one is larger, and what a wrong choice costs.

Closed forms: Evan Miller, "Formulas for Bayesian A/B testing"; Chris Stucchio, "Easy evaluation of decision
rules in Bayesian A/B testing". They are sums of as many terms as the smaller arm has successes or failures,
taken in the logarithm; beyond `MOST_TERMS` an integral takes their place.
"""

import math

import numpy as np
from msgspec import Struct
from scipy.special import betainc, betaincinv, betaln, xlog1py, xlogy

from .counts import Count
from .quadrature import gauss

MOST_TERMS = 20_000
# The probability on each side that the integral leaves out, and its nodes: it is right to 1e-9.
_NEGLIGIBLE, _NODES = 1e-13, 400


class Beta(Struct, frozen=True):
    """What is known of a share: the density x^(a-1)·(1-x)^(b-1)."""

    a: float
    b: float

    @property
    def mean(self) -> float:
        """The expected share."""
        return self.a / (self.a + self.b)

    def below(self, share: float) -> float:
        """The probability that the share is at most this."""
        return float(betainc(self.a, self.b, share))

    def after(self, count: Count) -> "Beta":
        """What is known once these were counted too."""
        return Beta(self.a + count.successes, self.b + count.n - count.successes)


UNIFORM = Beta(1.0, 1.0)


def larger(one: Beta, other: Beta) -> float:
    """The probability that the share of `one` is larger than that of `other`."""
    # Four ways to sum the same: P(A > B), 1 - P(B > A), and both with shares and their complements exchanged.
    terms = {
        "one": _terms(one.a),
        "other": _terms(other.a),
        "not one": _terms(one.b),
        "not other": _terms(other.b),
    }
    least = min(terms, key=lambda name: terms[name])
    if terms[least] > MOST_TERMS:
        return _integral(one, other)
    if least == "one":
        return _sum(other, one)
    if least == "other":
        return 1 - _sum(one, other)
    if least == "not one":
        return 1 - _sum(Beta(other.b, other.a), Beta(one.b, one.a))
    return _sum(Beta(one.b, one.a), Beta(other.b, other.a))


def _terms(a: float) -> float:
    return a if a == int(a) else math.inf


def _sum(low: Beta, high: Beta) -> float:
    """The probability that `high`, whose `a` is an integer, is larger than `low`: Miller's sum of `high.a`
    terms."""
    i = np.arange(high.a)
    terms = (
        betaln(low.a + i, low.b + high.b) - np.log(high.b + i) - betaln(1 + i, high.b) - betaln(low.a, low.b)
    )
    return min(1.0, float(np.exp(terms).sum()))


def _integral(one: Beta, other: Beta) -> float:
    """∫ f(one) · F(other), where the density of `one` is not negligible."""
    low = float(betaincinv(one.a, one.b, _NEGLIGIBLE))
    high = 1 - float(betaincinv(one.b, one.a, _NEGLIGIBLE))
    points, weights = gauss(_NODES)
    x = (low + high) / 2 + points * (high - low) / 2
    density = np.exp(xlogy(one.a - 1, x) + xlog1py(one.b - 1, -x) - betaln(one.a, one.b))
    total = float(weights @ density)
    return min(1.0, max(0.0, float(weights @ (density * betainc(other.a, other.b, x))) / total))


def expected_loss(chosen: Beta, other: Beta) -> float:
    """What choosing `chosen` costs on average, as a share: E[max(other - chosen, 0)]."""
    grown = other.mean * larger(Beta(other.a + 1, other.b), chosen)
    kept = chosen.mean * larger(other, Beta(chosen.a + 1, chosen.b))
    return max(0.0, grown - kept)


def evidence(count: Count, target: float) -> float:
    """The e-value of a share against a target: how many times likelier the count is if the share could be
    anything than if it were the target. Under the target it exceeds 1/α at any time, however often one looks,
    with a probability of at most α (Ville's inequality; uniform mixture). Infinite if it is beyond a
    float."""
    s, f = count.successes, count.n - count.successes
    log = float(betaln(s + 1, f + 1) - xlogy(s, target) - xlog1py(f, -target))
    return math.exp(log) if log < 700 else math.inf
