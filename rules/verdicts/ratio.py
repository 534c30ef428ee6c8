"""Did the lot work? The number of visitors in each arm against the shares that were asked for."""

from collections.abc import Sequence

from msgspec import Struct
from scipy.special import chdtrc

# So rare that it is a fault and no chance, also if one looks every day.
ALARM_P = 0.001


class SampleRatio(Struct, frozen=True):
    """`p`: how often chance alone differs as much. `alarm`: the arms cannot be compared until the fault is
    found."""

    chi_square: float
    p: float
    alarm: bool


def sample_ratio(assigned: Sequence[int], shares: Sequence[float]) -> SampleRatio:
    """Pearson's χ² of visitors *assigned* to each arm (not those who saw it: what an arm shows may change who
    sees it), against its share, in any unit. Raises ValueError."""
    if len(assigned) != len(shares) or len(shares) < 2 or min(shares) < 0 or sum(shares) <= 0:
        raise ValueError("two arms or more, each with a count and with a share that is not negative")
    total = sum(assigned)
    wanted = [total * share / sum(shares) for share in shares]
    if any(count and not expected for count, expected in zip(assigned, wanted, strict=True)):
        return SampleRatio(float("inf"), 0.0, True)
    terms = [(c - e) ** 2 / e for c, e in zip(assigned, wanted, strict=True) if e]
    chi_square = sum(terms)
    p = float(chdtrc(len(terms) - 1, chi_square)) if len(terms) > 1 else 1.0
    return SampleRatio(chi_square, p, p < ALARM_P)
