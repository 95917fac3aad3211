"""Guard cells: what lies on either side of the arrays that kernels are given.

A guard cell holds a *signalling* nan (IEEE 754-2019, 6.2): a kernel that reads it goes on with nan, and a log weight of
nan is an error. Arithmetic on it turns it into a quiet one, so that its bits tell not only a value that was put there
but also one that was added. Cost: one pass over new arrays, and a few cells compared a block.
"""

import numpy as np

from logpx._jit import inner, leaf
from logpx.tiles import is_double

#: The bits of a signalling nan, float64 and float32.
_GUARD, _GUARD32 = np.uint64(0x7FF4000000000000), np.uint32(0x7FA00000)


@leaf
def _fill(words, guard):
    for row in range(words.shape[0]):
        for i in range(words.shape[1]):
            words[row, i] = guard


@inner
def guarded(n_rows, n, like):
    """Rows of n cells, of the dtype of `like`, all of them guards: (n_rows, n)."""
    cells = np.empty((n_rows, n), dtype=like.dtype)
    if is_double(cells):
        _fill(cells.view(np.uint64), _GUARD)
    else:
        _fill(cells.view(np.uint32), _GUARD32)
    return cells


@leaf
def _changed(words, guard, row, start, n):
    found = 0
    for i in range(start, start + n):
        found += 1 if words[row, i] != guard else 0
    return found > 0


@inner
def touched(cells, row, start, n):
    """Whether any of the n cells of a row from `start` on is no guard any more."""
    if is_double(cells):
        return _changed(cells.view(np.uint64), _GUARD, row, start, n)
    return _changed(cells.view(np.uint32), _GUARD32, row, start, n)
