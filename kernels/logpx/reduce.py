"""Log-sum-exp of arrays: log Σ exp(a_i), by subtracting the largest element.

    logsumexp(a) = m + log Σ exp(a_i − m),   m = max a

as SciPy defines it at the edges: an empty sum is −inf, all −inf gives −inf, any +inf gives +inf, any nan gives
nan. Two passes over the data, one vectorised exponential an element, the sum in a fixed order of eight lanes'
trees, so its rounding error grows like log n and the result does not depend on the memory layout asked for.
"""

import math

import numpy as np
from numba import types
from numpy.typing import ArrayLike

from logpx import vecmath
from logpx._jit import BLOCK, compiled, inner
from logpx.checks import real_array
from logpx.errors import InputError

_f8 = types.float64


@inner
def _largest(a, lanes):
    """Maximum over a, with nan winning; lane by lane, so that it vectorises."""
    width = lanes.size
    n = a.size
    lanes[:] = -math.inf
    bad = 0
    whole = n - n % width
    for at in range(0, whole, width):
        for j in range(width):
            value = a[at + j]
            bad += 1 if value != value else 0
            lanes[j] = value if value > lanes[j] else lanes[j]
    for at in range(whole, n):
        bad += 1 if a[at] != a[at] else 0
        lanes[0] = max(a[at], lanes[0])
    if bad > 0:
        return math.nan
    high = -math.inf
    for j in range(width):
        high = max(high, lanes[j])
    return high


@inner
def _sum_exp(a, high, buffer, partial):
    """Σ exp(a − high) by blocks: a tree of halves inside a block, a binary counter of pending sums above."""
    size = buffer.size
    n = a.size
    block = 0
    for begin in range(0, n, size):
        m = min(size, n - begin)
        for i in range(m):
            buffer[i] = vecmath.exp(a[begin + i] - high)
        for i in range(m, size):
            buffer[i] = 0.0
        half = size >> 1
        while half >= 1:
            for i in range(half):
                buffer[i] += buffer[i + half]
            half >>= 1
        total = buffer[0]
        slot = 0
        while (block >> slot) & 1:
            total += partial[slot]
            slot += 1
        partial[slot] = total
        block += 1
    total = 0.0
    for slot in range(partial.size):
        if (block >> slot) & 1:
            total += partial[slot]
    return total


@compiled(types.void(_f8[:, ::1], _f8[::1]))
def _logsumexp_rows(a, out):
    lanes = np.empty(64)
    buffer = np.empty(BLOCK)
    partial = np.zeros(64)
    for row in range(a.shape[0]):
        high = _largest(a[row], lanes)
        if abs(high) < math.inf:
            out[row] = high + math.log(_sum_exp(a[row], high, buffer, partial))
        else:
            out[row] = high


def logsumexp(a: ArrayLike, axis: int | tuple[int, ...] | None = None) -> np.float64 | np.ndarray:
    """Log of the sum of exponentials, log Σ exp(a), over all elements or along an axis.

    Parameters
    ----------
    a : array_like of real numbers
        Logarithms, in nats. −inf is the logarithm of zero.
    axis : int, tuple of int, or None
        Axis or axes to sum over; None sums over all.

    Returns
    -------
    float64 or ndarray
        The reduced array. −inf for an empty sum or all −inf; +inf if any element is +inf; nan if any is nan.

    Raises
    ------
    InputError
        If `a` is not real-valued or `axis` does not fit its dimensions.

    Examples
    --------
    >>> import logpx
    >>> round(float(logpx.logsumexp([1000.0, 1000.0])), 6)
    1000.693147
    >>> float(logpx.logsumexp([float("-inf"), float("-inf")]))
    -inf
    """
    array = real_array("logsumexp", a)
    axes = tuple(range(array.ndim)) if axis is None else np.atleast_1d(axis).tolist()
    try:
        axes = np.lib.array_utils.normalize_axis_tuple(axes, array.ndim)
    except (np.exceptions.AxisError, ValueError) as error:
        raise InputError(f"axis={axis!r} does not fit an array of shape {array.shape}: {error}") from error
    kept = [i for i in range(array.ndim) if i not in axes]
    shape = tuple(array.shape[i] for i in kept)
    length = math.prod(array.shape[i] for i in axes)
    rows = np.ascontiguousarray(array.transpose(*kept, *axes)).reshape(math.prod(shape), length)
    out = np.full(rows.shape[0], -np.inf)
    if length:
        _logsumexp_rows(rows, out)
    return out.reshape(shape)[()]
