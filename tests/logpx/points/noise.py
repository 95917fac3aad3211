"""Base noise of independent points, drawn as the tests of them draw it."""

import numpy as np

from logpx.points import REGISTRY

POINTS = REGISTRY["independent"]


def draw(kind, n, *, start=0, n_base=2, seed=0, replicate=0, row=0, dtype=np.float64):
    """Base noise (n_base, n) of one stream."""
    eps = np.empty((n_base, n), dtype)
    POINTS.kernels[kind](POINTS.state(seed, replicate, row, n_base), np.uint64(start), eps)
    return eps
