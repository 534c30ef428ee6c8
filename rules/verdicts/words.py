"""Verdicts in plain sentences, for the desk. Needs neither numpy nor scipy."""

import math

from .counts import Count, Interval

# The 80th percentile of the normal distribution: a difference is "seen" if it gets its verdict four times in
# five.
_FOUR_IN_FIVE = 0.8416212335729143


def seen(n: int, rate: float, sure_z: float) -> float:
    """The difference from `rate`, as a share, that n units show four times in five if a verdict asks for
    |Z| ≥ sure_z."""
    return (sure_z + _FOUR_IN_FIVE) * math.sqrt(rate * (1 - rate) / n) if n else 1.0


def percent(share: float) -> str:
    """17.3 %; with more digits only below 1 %."""
    value = 100 * share
    return f"{value:.2f} %" if 0 < value < 1 else f"{value:.1f} %"


def figures(count: Count, interval: Interval) -> str:
    """26 of 150, 17.3 % (12.1 % to 24.2 %)."""
    return (
        f"{count.successes:,} of {count.n:,}, {percent(count.rate)} "
        f"({percent(interval.low)} to {percent(interval.high)})"
    )


def points(difference: float) -> str:
    """±6 points."""
    value = 100 * difference
    return f"±{value:.1f} points" if value < 1 else f"±{value:.0f} points"


def can_see(n: int, units: str, difference: float) -> str:
    """What so many units can tell, and what they cannot."""
    return f"With {n:,} {units} we can see differences of about {points(difference)}."
