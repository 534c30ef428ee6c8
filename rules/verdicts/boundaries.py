"""Bounds for a comparison that is looked at several times: group-sequential tests, two-sided.

At look k the test statistic is Z_k, normal with variance 1, and the information is n_k (units counted, or
what is proportional to it). Under the null hypothesis √n_k · Z_k is a sum of independent increments. So the
probability to cross a bound for the first time at look k is found by recursion over the looks (Armitage,
McPherson and Rowe 1969; Jennison and Turnbull, "Group Sequential Methods", 2000, §19.2), here with
Gauss–Legendre quadrature.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
from scipy.special import ndtr, ndtri

from .quadrature import Floats, gauss

ALPHA = 0.05
# Beyond it a normal variable has a probability of 2e-17: quadrature ends there.
_FAR = 8.5
_NODES = (64, 128, 256, 512, 1024)
_STEPS = 100
_LARGEST = 0.5


class Walk:
    """Z over the looks so far, where no bound was crossed. `information` is that of all looks that will come,
    increasing: each call of `step` goes to the next.

    The quadrature is as fine as the shortest step between two looks asks for.
    """

    def __init__(self, information: Sequence[float]) -> None:
        if any(n <= 0 for n in information) or any(a >= b for a, b in itertools.pairwise(information)):
            raise ValueError("the information of looks must be positive and grow")
        self._information = tuple(information)
        self._shortest = min((math.sqrt(1 - a / b) for a, b in itertools.pairwise(information)), default=1.0)
        self._look = 0
        # Where Z may be after the last look, and the probability that it is there.
        self._at: Floats = np.zeros(1)
        self._mass: Floats = np.ones(1)

    def _scale(self) -> tuple[float, float]:
        """How much of the last Z is in the next one, and the standard deviation of what is added."""
        before = self._information[self._look - 1] if self._look else 0.0
        kept = before / self._information[self._look]
        return math.sqrt(kept), math.sqrt(1 - kept)

    def beyond(self, z: float) -> float:
        """The probability that no look so far crossed, and the next has |Z| ≥ z."""
        kept, added = self._scale()
        mean = kept * self._at
        return float(self._mass @ (ndtr((mean - z) / added) + ndtr((-z - mean) / added)))

    def bound(self, alpha: float) -> float:
        """The z that the next look crosses with probability alpha; infinite if alpha is 0 or less."""
        if alpha <= 0:
            return math.inf
        return root(lambda z: _log(self.beyond(z)) - math.log(alpha), 0.0, 40.0)

    def step(self, z: float) -> None:
        """Take the next look, with bound z."""
        kept, added = self._scale()
        end = min(z, _FAR)
        # Nodes as far apart as what is added at the shortest step: the error is then below 1e-8.
        enough = 1.6 * 2 * end / self._shortest
        points, weights = gauss(next((nodes for nodes in _NODES if nodes >= enough), _NODES[-1]))
        at: Floats = end * points
        density = np.exp(-0.5 * ((at[:, None] - kept * self._at[None, :]) / added) ** 2) @ self._mass
        self._mass = end * weights * density / (added * math.sqrt(2 * math.pi))
        self._at = at
        self._look += 1


def root(function: Callable[[float], float], low: float, high: float) -> float:
    """Where a falling function is 0; an end if it is not between them. The false position, with the halving
    of the value at an end that stays (Dowell and Jarratt 1971, "Illinois")."""
    left, right = function(low), function(high)
    if left <= 0:
        return low
    if right >= 0:
        return high
    side = 0
    for _ in range(_STEPS):
        at = (low * right - high * left) / (right - left)
        value = function(at)
        if value == 0 or high - low <= 1e-12 * max(1.0, abs(at)):
            return at
        if value > 0:
            moved, low, left = at - low, at, value
            right = right / 2 if side > 0 else right
            side = 1
        else:
            moved, high, right = high - at, at, value
            left = left / 2 if side < 0 else left
            side = -1
        if moved < 1e-13 * max(1.0, abs(at)):
            return at
    return (low + high) / 2


def _log(value: float) -> float:
    return math.log(max(value, 1e-300))


def crossed(information: Sequence[float], bounds: Sequence[float]) -> tuple[float, ...]:
    """For each look the probability, under the null hypothesis, that it is the first to cross its bound."""
    walk = Walk(information)
    found = []
    for bound in bounds:
        found.append(walk.beyond(bound))
        walk.step(bound)
    return tuple(found)


@lru_cache(64)
def obrien_fleming(looks: int, alpha: float = ALPHA) -> tuple[float, ...]:
    """O'Brien and Fleming's bounds for Z at equally spaced looks: c·√(K/k). They leave nearly all of alpha to
    the last look, which so costs hardly any power."""
    return _planned(looks, alpha, lambda look: math.sqrt(looks / look))


@lru_cache(64)
def pocock(looks: int, alpha: float = ALPHA) -> tuple[float, ...]:
    """Pocock's bounds for Z at equally spaced looks: the same at each."""
    return _planned(looks, alpha, lambda look: 1.0)


def _planned(looks: int, alpha: float, shape: Callable[[int], float]) -> tuple[float, ...]:
    shapes = [shape(look) for look in range(1, looks + 1)]
    information = range(1, looks + 1)
    c = root(lambda c: sum(crossed(information, [c * s for s in shapes])) - alpha, 0.0, 20.0)
    return tuple(c * s for s in shapes)


def spent(alpha: float, fraction: float) -> float:
    """How much of alpha may be spent up to a fraction of the information: Lan and DeMets 1983, the function
    that resembles O'Brien and Fleming's bounds, 2 - 2Φ(z_{α/2}/√t)."""
    if fraction <= 0:
        return 0.0
    return float(2 * ndtr(ndtri(alpha / 2) / math.sqrt(min(fraction, 1.0))))


def spending(
    information: Sequence[float], fractions: Sequence[float], alpha: float = ALPHA, looks: int = 0
) -> tuple[float, ...]:
    """The bounds for looks that come at other fractions than planned. `fractions` are those of the planned
    information, of which the last look has 1, whatever it came to.

    As long as the looks come as planned, at equal steps of which there are `looks`, they get the bounds of
    O'Brien and Fleming; the others what is left of `spent`.
    """
    walk = Walk(information)
    bounds: list[float] = []
    used, planned = 0.0, True
    for look, (n, fraction) in enumerate(zip(information, fractions, strict=True), 1):
        step = information[0] * look
        planned = planned and look <= looks and max(abs(fraction * looks - look), abs(n / step - 1)) < 1e-9
        bound = (
            obrien_fleming(looks, alpha)[look - 1] if planned else walk.bound(spent(alpha, fraction) - used)
        )
        used += walk.beyond(bound)
        walk.step(bound)
        bounds.append(bound)
    return tuple(bounds)


@lru_cache(2**15)
def repeated_p(information: tuple[float, ...], fractions: tuple[float, ...], z: float) -> float:
    """The p-value of the last look, which holds over all looks: the smallest alpha whose bound (`spending`)
    |z| crosses (Jennison and Turnbull 2000, §9.3). The smallest one of all looks up to now is again a p-value
    that holds: under the null hypothesis it is ≤ alpha with a probability of at most alpha, whenever one
    stops. Above 0.5 it is 1."""
    z = abs(z)
    if len(information) == 1:
        p = float(2 * ndtr(-z * math.sqrt(fractions[0])))
        return p if p <= _LARGEST else 1.0

    def too_small(log_alpha: float) -> float:
        alpha = math.exp(log_alpha)
        walk = Walk(information)
        used = 0.0
        for fraction in fractions[:-1]:
            may = spent(alpha, fraction)
            walk.step(walk.bound(may - used))
            used = may
        return _log(walk.beyond(z)) - _log(spent(alpha, fractions[-1]) - used)

    highest = math.log(_LARGEST)
    found = root(too_small, -80.0, highest)
    return math.exp(found) if found < highest else 1.0
