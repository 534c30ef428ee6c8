"""Random numbers that a seed gives again. Numpy guarantees the bits of its generators for all versions, but
not what it makes of them."""

import numpy as np

from .quadrature import Floats


def uniform(seed: int, *shape: int) -> Floats:
    """Numbers between 0 and 1, neither included: 53 random bits each, and half a step."""
    count = int(np.prod(shape))
    bits = np.random.PCG64(seed).random_raw(count) >> np.uint64(11)
    return np.asarray((bits.astype(np.float64) + 0.5) * 2.0**-53).reshape(shape)
