"""Gauss–Legendre quadrature, whose nodes are computed once."""

from functools import lru_cache
from typing import TypeAlias

import numpy as np
from numpy.polynomial.legendre import leggauss
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]


@lru_cache(16)
def gauss(nodes: int) -> tuple[Floats, Floats]:
    """Nodes on [-1, 1], and their weights."""
    points, weights = leggauss(nodes)
    return np.asarray(points), np.asarray(weights)
