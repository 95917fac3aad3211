"""Guard cells: what lies on either side of the arrays that kernels are given.

A guard cell holds a *signalling* nan (IEEE 754-2019, 6.2): a kernel that reads it goes on with nan, and a log weight of
nan is an error. Arithmetic on it turns it into a quiet one, so that its bits tell not only a value that was put there
but also one that was added. Cost: one pass over new arrays, and a few cells compared a block.
"""

import numpy as np

from logpx._jit import inner

#: The two highest bytes of a signalling nan; of the lower of them: in float64, and in float32.
_HIGHEST, _DOUBLE, _SINGLE = 0x7F, 0xF4, 0xA0


@inner
def guarded(n_rows, n, like):
    """Rows of n cells, of the dtype of `like`, all of them guards: (n_rows, n)."""
    cells = np.empty((n_rows, n), dtype=like.dtype)
    size, raw = cells.itemsize, cells.view(np.uint8)
    for row in range(raw.shape[0]):
        for i in range(0, raw.shape[1], size):
            for j in range(size):
                raw[row, i + j] = 0
            raw[row, i + size - 2] = _DOUBLE if size == 8 else _SINGLE
            raw[row, i + size - 1] = _HIGHEST
    return cells


@inner
def touched(cells, row, start, n):
    """Whether any of the n cells of a row from `start` on is no guard any more."""
    size, raw, found = cells.itemsize, cells.view(np.uint8), 0
    second = _DOUBLE if size == 8 else _SINGLE
    for i in range(start * size, (start + n) * size, size):
        found += 1 if raw[row, i + size - 1] != _HIGHEST or raw[row, i + size - 2] != second else 0
    return found > 0
