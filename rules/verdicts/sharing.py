"""Traffic by success, for those who ask for it: Thompson sampling. It earns while it learns, and gives no
certainty: what the arms show afterwards is biased, so only their order is told."""

from collections.abc import Sequence

import numpy as np
from msgspec import Struct
from scipy.special import betaincinv

from .counts import Count
from .drawing import uniform

FLOOR = 0.1
DRAWS = 1000


class Sharing(Struct, frozen=True):
    """`shares`: of the next visitors, for each arm; their sum is 1. `ranking`: the arms, the best first."""

    shares: tuple[float, ...]
    ranking: tuple[int, ...]


def thompson(arms: Sequence[Count], seed: int, floor: float = FLOOR) -> Sharing:
    """The shares of visitors for the time until it is asked again: the probability that an arm is the best
    (uniform priors, Thompson 1933), and `floor` at least, or equal shares of more arms than that allows.

    The seed gives the same shares again; store it. Raises ValueError without arms.
    """
    if not arms:
        raise ValueError("there are no arms to share visitors between")
    a = np.array([arm.successes + 1.0 for arm in arms])
    b = np.array([arm.n - arm.successes + 1.0 for arm in arms])
    draws = betaincinv(a, b, uniform(seed, DRAWS, len(arms)))
    wins = np.bincount(draws.argmax(axis=1), minlength=len(arms)) / DRAWS
    shares = _floored([float(share) for share in wins], min(floor, 1 / len(arms)))
    mean = a / (a + b)
    ranking = sorted(range(len(arms)), key=lambda arm: (-wins[arm], -mean[arm], arm))
    return Sharing(tuple(shares), tuple(ranking))


def _floored(shares: Sequence[float], floor: float) -> list[float]:
    """Raise shares below the floor to it, and lower the others in proportion. Lowered ones may fall below it
    in turn, so this is repeated."""
    low: set[int] = set()
    while True:
        rest = sum(share for arm, share in enumerate(shares) if arm not in low)
        scale = (1 - floor * len(low)) / rest if rest else 0.0
        found = [floor if arm in low else share * scale for arm, share in enumerate(shares)]
        lower = {arm for arm, share in enumerate(found) if share < floor - 1e-12} - low
        if not lower:
            return found
        low |= lower
