"""Independent points: the counter-based generator Philox4x32-10, 53-bit uniforms, Box-Muller normals.

Philox is a keyed bijection of 128 bits: ten rounds of two 32×32→64-bit products. The address of a number is
its counter, so every sample of every stream is computed from its index alone, in any order and on any machine:

    counter = (index mod 2^32, index div 2^32, pair of dimensions, row of x)
    key     = 64-bit hash of (seed, replicate)

One call gives 128 bits: the two numbers of dimensions (2j, 2j+1) of one sample. Each takes the upper 52 of its
64 bits, k, and is (k + ½)·2^−52: an odd multiple of 2^−53, never 0 or 1. Normals are Box-Muller,

    (z0, z1) = √(−2 log u0) · (cos 2πu1, sin 2πu1),   |z| ≤ 8.58,

whose bound is passed by a true normal once in 10^17 draws. In float32 the same numbers are rounded at the end,
uniforms at most to 1 − 2^−24.

Source: J. K. Salmon, M. A. Moraes, R. O. Dror, D. E. Shaw, Parallel random numbers: as easy as 1, 2, 3, SC'11,
doi:10.1145/2063384.2063405. Cost: 2 to 4 ns a normal on one core with AVX2 or AVX-512. The loops are split (bits,
then transform), since each half vectorises well and both together run out of registers.
"""

import numpy as np
from numba import types

from logpx import _jit
from logpx.points.base import PointSet, hashed
from logpx.vecmath import cos_2pi, float_of, leaf, log, sin_2pi

__all__ = ["INDEPENDENT", "normal", "open_uniform", "philox4x32_10", "philox_words", "store_below_one", "uniform"]

_M0, _M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_W0, _W1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
_LOW = np.uint64(0xFFFFFFFF)
_U12, _U32 = np.uint64(12), np.uint64(32)
_ONE_BITS = np.uint64(0x3FF0000000000000)
_JUST_BELOW_ONE = 1.0 - 2.0**-53


@leaf
def _round(c0, c1, c2, c3, k0, k1):
    """One round on 64-bit lanes: upper halves hold rubbish, which the mask at the products discards."""
    p0 = (c0 & _LOW) * _M0
    p1 = (c2 & _LOW) * _M1
    return (p1 >> _U32) ^ c1 ^ k0, p1, (p0 >> _U32) ^ c3 ^ k1, p0


@leaf
def philox_words(c0, c1, c2, c3, k0, k1):
    """The four output words of Philox4x32-10 as two uint64: (word 1, word 0) and (word 3, word 2)."""
    for _ in range(10):
        c0, c1, c2, c3 = _round(c0, c1, c2, c3, k0, k1)
        k0, k1 = k0 + _W0, k1 + _W1
    return (c1 << _U32) | (c0 & _LOW), (c3 << _U32) | (c2 & _LOW)


@leaf
def open_uniform(word):
    """The odd multiple of 2^−53 in (0, 1) given by the upper 52 bits of a uint64."""
    return float_of((word >> _U12) | _ONE_BITS) - _JUST_BELOW_ONE


@_jit.compiled(types.uint64[::1](types.uint64[::1], types.uint64[::1]))
def philox4x32_10(counter, key):
    """Philox4x32-10 of one counter (4,) under one key (2,), 32-bit words held in uint64; for known answers."""
    first, second = philox_words(counter[0], counter[1], counter[2], counter[3], key[0], key[1])
    words = np.empty(4, np.uint64)
    words[0], words[1] = first & _LOW, first >> _U32
    words[2], words[3] = second & _LOW, second >> _U32
    return words


@leaf
def _fill_pair(state, start, pair, first, second):
    """Uniforms of dimensions (2·pair, 2·pair + 1) into two rows of length B."""
    k0, k1, row = state[0], state[1], state[2]
    for i in range(first.size):
        index = start + np.uint64(i)
        a, b = philox_words(index & _LOW, index >> _U32, pair, row, k0, k1)
        first[i] = open_uniform(a)
        second[i] = open_uniform(b)


@leaf
def store_below_one(source, target):
    """Uniforms from float64 into the precision of `target`, at most the largest number below 1."""
    largest = target.dtype.type(1.0 - 2.0**-24) if target.itemsize == 4 else target.dtype.type(_JUST_BELOW_ONE)
    for i in range(source.size):
        value = target.dtype.type(source[i])
        target[i] = value if value < largest else largest


@_jit.kernel("points", dtypes=("float64", "float32"))
def uniform(state, start, eps):
    """Uniforms in (0, 1) of samples start … start + B − 1, into eps (n_base, B)."""
    n_base, n = eps.shape
    pair = np.empty((2, n), np.float64)
    for j in range(0, n_base, 2):
        _fill_pair(state, start, np.uint64(j >> 1), pair[0], pair[1])
        for d in range(min(2, n_base - j)):
            store_below_one(pair[d], eps[j + d])


@_jit.kernel("points", dtypes=("float64", "float32"))
def normal(state, start, eps):
    """Standard normals of samples start … start + B − 1, into eps (n_base, B)."""
    n_base, n = eps.shape
    pair = np.empty((2, n), np.float64)
    u, v = pair[0], pair[1]
    for j in range(0, n_base, 2):
        _fill_pair(state, start, np.uint64(j >> 1), u, v)
        for i in range(n):
            radius = np.sqrt(-2.0 * log(u[i]))
            turn = v[i]
            u[i] = radius * cos_2pi(turn)
            v[i] = radius * sin_2pi(turn)
        for d in range(min(2, n_base - j)):
            source, target = pair[d], eps[j + d]
            for i in range(n):
                target[i] = source[i]


def _states(seed, replicates, rows, n_base):
    key = hashed(seed, replicates)
    return np.stack([key & _LOW, key >> _U32, rows], axis=1)


#: Independent, identically distributed points.
INDEPENDENT = PointSet(
    name="independent",
    iid=True,
    kernels={"uniform": uniform, "normal": normal},
    build=_states,
    summary="independent draws: Philox4x32-10, Box-Muller normals",
)
