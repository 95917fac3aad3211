"""Means of L_g over consecutive groups of g weights, for group sizes that are not powers of two.

    L_g = log (1/g) Σ_{i in group} w_i,   groups [0, g), [g, 2g), … of absolute sample indices

The literature's k (50, 5000) are not dyadic, so their groups cross the edges of blocks and chunks. A segment
of the stream keeps the moments of the groups that it holds whole, the log sum of the weights before its first
group edge (its head) and of those after its last one (its tail); neighbours join where tail meets head. A
segment with no edge inside is all head. Cost: one exponential a weight and group size.
"""

import math

import numpy as np

from logpx import vecmath
from logpx._jit import inner

N, MEAN, M2, N_ZERO, HEAD, N_HEAD, TAIL, N_TAIL, OPEN = range(9)
N_FIELDS = 9
MOMENTS = [N, MEAN, M2]


def empty(shape, n_sizes):
    """Segments of no samples: (*shape, n_sizes, 9)."""
    state = np.zeros((*shape, n_sizes, N_FIELDS))
    state[..., HEAD] = state[..., TAIL] = -math.inf
    return state


@inner
def _log_add(a, b):
    high, low = max(a, b), min(a, b)
    if low == -math.inf:
        return high
    return high + math.log1p(math.exp(low - high))


@inner
def _log_sum(logs, begin, end):
    high = -math.inf
    for i in range(begin, end):
        high = max(high, logs[i])
    if high == -math.inf:
        return high
    total = 0.0
    for i in range(begin, end):
        total += vecmath.exp(logs[i] - high)
    return high + math.log(total)


@inner
def close(state, value):
    """Count one whole group, of log mean `value`."""
    if value == -math.inf:
        state[N_ZERO] += 1.0
        return
    state[N] += 1.0
    apart = value - state[MEAN]
    state[MEAN] += apart / state[N]
    state[M2] += apart * (value - state[MEAN])


@inner
def feed(logs, n, start, size, state):
    """Append logs[:n], the weights of indices start … start + n − 1, to a segment."""
    position = 0
    phase = int(start % np.uint64(size))
    while position < n:
        take = min(size - phase, n - position)
        part = _log_sum(logs, position, position + take)
        whole = phase + take == size
        if state[OPEN] == 0.0 and phase == 0 and state[N_HEAD] == 0.0:
            state[OPEN] = 1.0
        if state[OPEN] == 0.0:
            state[HEAD] = _log_add(state[HEAD], part)
            state[N_HEAD] += take
            if whole:
                state[OPEN] = 1.0
        else:
            state[TAIL] = _log_add(state[TAIL], part)
            state[N_TAIL] += take
            if whole:
                close(state, state[TAIL] - math.log(size))
                state[TAIL], state[N_TAIL] = -math.inf, 0.0
        position += take
        phase = 0 if whole else phase + take


_close = getattr(close, "py_func", close)


def join(left, right, sizes):
    """The segment of two neighbours, left before right, arrays (..., n_sizes, 9); `left` is overwritten."""
    for index in np.ndindex(left.shape[:-1]):
        _join(left[index], right[index], int(sizes[index[-1]]))
    return left


def _join(a, b, size):
    place, n_place = (TAIL, N_TAIL) if a[OPEN] else (HEAD, N_HEAD)
    a[place] = np.logaddexp(a[place], b[HEAD])
    a[n_place] += b[N_HEAD]
    if not b[OPEN]:
        return
    if a[OPEN] and a[N_TAIL]:
        _close(a, a[TAIL] - math.log(size))
    n = a[N] + b[N]
    if b[N]:
        apart = b[MEAN] - a[MEAN]
        a[MEAN] += apart * b[N] / n
        a[M2] += b[M2] + apart * apart * a[N] * b[N] / n
    a[N], a[N_ZERO] = n, a[N_ZERO] + b[N_ZERO]
    a[OPEN], a[TAIL], a[N_TAIL] = 1.0, b[TAIL], b[N_TAIL]
