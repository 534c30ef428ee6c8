"""Intervals for a share, for the difference of two shares and for their ratio. 95 % unless said otherwise."""

import math

from scipy.special import betaincinv, ndtri

from .counts import Count, Interval

SURE = 0.95


def wilson(count: Count, sure: float = SURE) -> Interval:
    """Wilson's score interval (1927): the one to print. It stays in [0, 1], also at 0 and n of n; without
    units it is all of it."""
    if not count.n:
        return Interval(0.0, 1.0)
    return _wilson(count.successes / count.n, count.n, _z(sure))


def _wilson(rate: float, n: float, z: float) -> Interval:
    square = z * z / n
    middle = rate + square / 2
    half = z * math.sqrt(rate * (1 - rate) / n + square / (4 * n))
    return Interval(
        0.0 if rate == 0 else max(0.0, (middle - half) / (1 + square)),
        1.0 if rate == 1 else min(1.0, (middle + half) / (1 + square)),
    )


def jeffreys(count: Count, sure: float = SURE) -> Interval:
    """The equal-tailed interval of the posterior with Jeffreys' prior, Beta(½, ½); as usual 0 at no success
    and 1 at nothing else (Brown, Cai and DasGupta 2001)."""
    s, n, tail = count.successes, count.n, (1 - sure) / 2
    return Interval(
        float(betaincinv(s + 0.5, n - s + 0.5, tail)) if s else 0.0,
        float(betaincinv(s + 0.5, n - s + 0.5, 1 - tail)) if s < n else 1.0,
    )


def clopper_pearson(count: Count, sure: float = SURE) -> Interval:
    """The exact interval of Clopper and Pearson (1934): it never covers less than promised, mostly more."""
    s, n, tail = count.successes, count.n, (1 - sure) / 2
    return Interval(
        float(betaincinv(s, n - s + 1, tail)) if s else 0.0,
        float(betaincinv(s + 1, n - s, 1 - tail)) if s < n else 1.0,
    )


def newcombe(one: Count, other: Count, sure: float = SURE) -> Interval:
    """The rate of `one` less that of `other`: Newcombe's hybrid score interval (1998, method 10), in
    differences of shares (0.05 are 5 points)."""
    a, b = wilson(one, sure), wilson(other, sure)
    difference = one.rate - other.rate
    return Interval(
        max(-1.0, difference - math.hypot(one.rate - a.low, b.high - other.rate)),
        min(1.0, difference + math.hypot(a.high - one.rate, other.rate - b.low)),
    )


def ratio(one: Count, other: Count, sure: float = SURE) -> Interval:
    """The rate of `one` divided by that of `other`, from their Wilson intervals (Donner and Zou 2012,
    "MOVER"). Infinite above where `other` may be 0."""
    a, b = wilson(one, sure), wilson(other, sure)
    p, q = one.rate, other.rate
    under = max(0.0, (p * q) ** 2 - a.low * b.high * (2 * p - a.low) * (2 * q - b.high))
    over = max(0.0, (p * q) ** 2 - a.high * b.low * (2 * p - a.high) * (2 * q - b.low))
    bottom = p * q + math.sqrt(under)
    top = b.low * (2 * q - b.low)
    return Interval(
        a.low * (2 * p - a.low) / bottom if bottom else 0.0,
        (p * q + math.sqrt(over)) / top if top > 0 else math.inf,
    )


def _z(sure: float) -> float:
    return float(ndtri((1 + sure) / 2))
