"""What visitors spend on average, with an interval. For information: amounts scatter too much for a
verdict."""

import math
from collections.abc import Sequence

import numpy as np
from msgspec import Struct
from scipy.special import stdtrit

from .counts import Interval
from .drawing import uniform
from .intervals import SURE
from .quadrature import Floats

CAP = 0.99
RESAMPLES = 2000
# Resamples are drawn in parts of this many values.
_AT_ONCE = 1_000_000


class Spending(Struct, frozen=True):
    """Units of the currency per visitor (or order). `cap`: amounts above it counted as it: it is the 99th
    percentile of the amounts that are not 0. `interval`: of the mean, 95 %; None below two visitors."""

    n: int
    mean: float
    cap: float
    interval: Interval | None


def spending_of(amounts: Sequence[float], seed: int, sure: float = SURE) -> Spending:
    """The mean of amounts, one for each unit, 0 included. The interval is a bootstrap of Student's t (Efron
    and Tibshirani 1993, §12.5), which follows the skew of amounts; with less than ten amounts that are not 0,
    Student's own. The seed gives the same interval again; store it."""
    values = np.asarray(amounts, float)
    if not values.size:
        return Spending(0, 0.0, 0.0, None)
    positive = values[values > 0]
    cap = float(np.quantile(positive, CAP)) if positive.size else 0.0
    values = np.minimum(values, cap)
    n, mean = int(values.size), float(values.mean())
    if n < 2:
        return Spending(n, mean, cap, None)
    error = float(values.std(ddof=1)) / math.sqrt(n)
    t = float(stdtrit(n - 1, (1 + sure) / 2))
    low, high = mean - t * error, mean + t * error
    if positive.size >= 10 and error > 0:
        below, over = np.quantile(_resampled(values, mean, seed), [(1 - sure) / 2, (1 + sure) / 2])
        low, high = mean - float(over) * error, mean - float(below) * error
    return Spending(n, mean, cap, Interval(max(0.0, low), high))


def _resampled(values: Floats, mean: float, seed: int) -> Floats:
    """Student's t of samples drawn from the values, with their mean as the true one."""
    n = values.size
    rows = max(1, min(RESAMPLES, _AT_ONCE // n))
    found = []
    for part, start in enumerate(range(0, RESAMPLES, rows)):
        count = min(rows, RESAMPLES - start)
        sample = values[(uniform(seed + part * 2**32, count, n) * n).astype(np.int64)]
        error = sample.std(axis=1, ddof=1) / math.sqrt(n)
        difference = sample.mean(axis=1) - mean
        found.append(np.divide(difference, error, out=np.zeros_like(difference), where=error > 0))
    return np.concatenate(found)
