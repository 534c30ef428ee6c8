"""Whether a partner's number of orders has changed since a day, from its orders week by week. Pure.

The ratio of the orders per week after to those before, with a 95 % interval for it. The logarithm of a ratio
of two Poisson rates has the variance 1/a + 1/b, by the counts a and b. Orders vary more than that from week
to week (sales, newsletters, days off): the variance is multiplied by the dispersion of the weeks themselves,
where that is above 1 (quasi-Poisson; McCullagh and Nelder, Generalized Linear Models, 1989, §4.5), and the
quantile is that of Student's t with the degrees of freedom of the dispersion.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final, Literal

WEEKS: Final = 3
"""Fewest whole weeks on each side. With fewer, how much weeks differ is not known."""

ORDERS: Final = 10
"""Fewest orders on each side. With fewer, the logarithm is far from a normal distribution."""

LEVEL: Final = 0.95
Verdict = Literal["too few", "more", "fewer", "no clear difference"]


@dataclass(frozen=True, slots=True)
class Change:
    """Orders per week before and after. `ratio` is that of after to before, `low` and `high` its interval;
    all three are None if there is too little to tell."""

    before: float
    after: float
    weeks_before: int
    weeks_after: int
    ratio: float | None
    low: float | None
    high: float | None

    @property
    def verdict(self) -> Verdict:
        """What may be said of it."""
        if self.low is None or self.high is None:
            return "too few"
        if self.low > 1:
            return "more"
        return "fewer" if self.high < 1 else "no clear difference"


def compared(before: Sequence[int], after: Sequence[int]) -> Change:
    """Compare the orders of whole weeks."""
    first, second = (sum(side) / len(side) if side else 0.0 for side in (before, after))
    weeks = len(before), len(after)
    if min(weeks) < WEEKS or min(sum(before), sum(after)) < ORDERS:
        return Change(first, second, *weeks, None, None, None)
    free = sum(weeks) - 2
    squares = sum((n - first) ** 2 / first for n in before) + sum((n - second) ** 2 / second for n in after)
    error = math.sqrt(max(1.0, squares / free) * (1 / sum(before) + 1 / sum(after)))
    ratio, wide = second / first, math.exp(student(free) * error)
    return Change(first, second, *weeks, ratio, ratio / wide, ratio * wide)


def student(free: int) -> float:
    """The two-sided quantile of Student's t at LEVEL, by Cornish and Fisher's expansion (Abramowitz and
    Stegun, 26.7.5): within 0.3 % from 4 degrees of freedom on."""
    z = NormalDist().inv_cdf((1 + LEVEL) / 2)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + math.fsum(term / free**power for power, term in enumerate(terms, 1))
