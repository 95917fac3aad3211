"""Independent points: the counter-based generator Philox4x32-10, its words made uniforms or Box-Muller normals.

Philox is a keyed bijection of 128 bits: ten rounds of two 32×32→64-bit products. The address of a number is
its counter, so every sample of every stream is computed from its index alone, in any order and on any machine:

    float64   counter = (index mod 2^32, index div 2^32, pair of dimensions, row of x)
    float32   counter = (call mod 2^32, call div 2^32, 2^31 + dimension, row of x)
    key     = 64-bit hash of (seed, replicate)

One call gives 128 bits. In float64 they are the two numbers of dimensions (2j, 2j + 1) of one sample. In float32
they are four numbers of one dimension: words 0, 1, 2, 3 belong to samples 2i, 2i + 1, 2i + 512, 2i + 513 of an aligned
group of 1024, where call = 256·(index div 1024) + i; normals are made of words (0, 2) and (1, 3), the second of a pair
512 samples further on. (Words 1 and 0 are the halves of one uint64, and lie in memory as words 0 and 1.) What the
numbers are, and how far out the normals go, is said in words.py. The two precisions never share a counter.

Source: J. K. Salmon, M. A. Moraes, R. O. Dror, D. E. Shaw, Parallel random numbers: as easy as 1, 2, 3, SC'11,
doi:10.1145/2063384.2063405. Cost on one core with AVX-512: 1.4 ns a normal in float64, 0.7 in float32, half of it for
the bits. Only the first word of a counter varies along a block: of twenty products two leave the loop. The loops
are split (bits, then transform), since each half vectorises well and both together take a fifth longer. Between them
the words stand on the stack, for RUN samples at a time.
"""

import numpy as np
from numba import types

from logpx import _jit, stack
from logpx.points.base import PointSet, hashed
from logpx.points.words import normal_pair, normal_pair32, open_uniform, open_uniform32
from logpx.tiles import is_double
from logpx.vecmath import leaf

__all__ = ["INDEPENDENT", "normal", "philox4x32_10", "uniform"]

_M0, _M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_W0, _W1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
_LOW = np.uint64(0xFFFFFFFF)
_U8, _U10, _U32 = np.uint64(8), np.uint64(10), np.uint64(32)

_RUN = 256  # float64: samples whose words stand between the loops
_GROUP = 1024  # float32: samples that share calls
_CALLS = _GROUP // 4
_SINGLE = np.uint64(1 << 31)


@leaf
def _round(c0, c1, c2, c3, k0, k1):
    """One round on 64-bit lanes: upper halves hold rubbish, which the mask at the products discards."""
    p0 = (c0 & _LOW) * _M0
    p1 = (c2 & _LOW) * _M1
    return (p1 >> _U32) ^ c1 ^ k0, p1, (p0 >> _U32) ^ c3 ^ k1, p0


@leaf
def _opening(c1, c2, c3, k0, k1):
    """What the first two rounds make of all but the first word of a counter."""
    p1 = (c2 & _LOW) * _M1
    p0 = (((p1 >> _U32) ^ c1 ^ k0) & _LOW) * _M0
    return c3 ^ k1, (p1 & _LOW) ^ (k0 + _W0), (p0 >> _U32) ^ (k1 + _W1), p0


@leaf
def _nine_rounds(c0, opening, k0, k1):
    """The four words after round nine of the counter (c0, …), and the two keys of round ten."""
    q0 = (c0 & _LOW) * _M0
    q1 = (((q0 >> _U32) ^ opening[0]) & _LOW) * _M1
    c0, c1, c2, c3 = (q1 >> _U32) ^ opening[1], q1, opening[2] ^ q0, opening[3]
    for _ in range(7):
        k0, k1 = k0 + _W0, k1 + _W1
        c0, c1, c2, c3 = _round(c0, c1, c2, c3, k0 + _W0, k1 + _W1)
    return c0, c1, c2, c3, k0 + _W0 + _W0, k1 + _W1 + _W1


@leaf
def _half_turned(product):
    """The halves of a uint64 exchanged."""
    return (product << _U32) | (product >> _U32)


@leaf
def _two_words(c0, opening, k0, k1):
    """The output as two uint64: (word 1, word 0) and (word 3, word 2).

    Round ten as an exchange of halves, for which a machine has one instruction.
    """
    c0, c1, c2, c3, k0, k1 = _nine_rounds(c0, opening, k0, k1)
    first, second = _half_turned((c2 & _LOW) * _M1), _half_turned((c0 & _LOW) * _M0)
    return first ^ (c1 & _LOW) ^ (k0 & _LOW), second ^ (c3 & _LOW) ^ (k1 & _LOW)


@_jit.compiled(types.uint64[::1](types.uint64[::1], types.uint64[::1]))
def philox4x32_10(counter, key):
    """Philox4x32-10 of one counter (4,) under one key (2,), 32-bit words held in uint64; for known answers."""
    opening = _opening(counter[1], counter[2], counter[3], key[0], key[1])
    first, second = _two_words(counter[0], opening, key[0], key[1])
    words = np.empty(4, np.uint64)
    words[0], words[1] = first & _LOW, first >> _U32
    words[2], words[3] = second & _LOW, second >> _U32
    return words


@leaf
def _words(state, start, pair, first, second):
    """The words of one pair of dimensions, for counters that share their upper 32 bits."""
    k0, k1 = state[0], state[1]
    opening = _opening(start >> _U32, pair, state[2], k0, k1)
    for i in range(first.size):
        first[i], second[i] = _two_words(start + np.uint64(i), opening, k0, k1)


@leaf
def _apart(number, a, b, first, second):
    """A number of each word."""
    for i in range(first.size):
        first[i] = number(a[i])
    for i in range(second.size):
        second[i] = number(b[i])


@leaf
def _together(pair, a, b, first, second):
    """Two numbers of two words."""
    for i in range(first.size):
        first[i], second[i] = pair(a[i], b[i])


@leaf
def _double(state, start, eps, fill, number):
    """float64: each pair of dimensions into eps (n_base, B), in runs that share their upper 32 bits."""
    n_base, n = eps.shape
    a, b, spare = stack.room(_RUN, state), stack.room(_RUN, state), stack.room(_RUN, eps)
    for j in range(0, n_base, 2):
        done = 0
        while done < n:
            index = start + np.uint64(done)
            size = min(n - done, _RUN, np.int64(_LOW - (index & _LOW)) + 1)
            _words(state, index, np.uint64(j >> 1), a[:size], b[:size])
            other = eps[j + 1, done : done + size] if j + 1 < n_base else spare[:size]
            fill(number, a, b, eps[j, done : done + size], other)
            done += size


@leaf
def _single(state, start, eps, fill, number):
    """float32: each group of 1024 samples, in eps (n_base, B) itself or, where it juts out, beside it."""
    n_base, n = eps.shape
    first, second, spare = stack.room(_CALLS, state), stack.room(_CALLS, state), stack.room(_GROUP, eps)
    a, b, half = first.view(np.uint32), second.view(np.uint32), _GROUP // 2
    done = 0
    while done < n:
        index = start + np.uint64(done)
        skipped = np.int64(index & np.uint64(_GROUP - 1))
        taken, call = min(n - done, _GROUP - skipped), (index >> _U10) << _U8
        for d in range(n_base):
            target = eps[d, done : done + taken]
            group = target if taken == _GROUP else spare
            _words(state, call, np.uint64(d) | _SINGLE, first, second)
            fill(number, a, b, group[:half], group[half:])
            if taken < _GROUP:
                for i in range(taken):
                    target[i] = group[skipped + i]
        done += taken


@_jit.kernel("points", dtypes=("float64", "float32"))
def uniform(state, start, eps):
    """Uniforms in (0, 1) of samples start … start + B − 1, into eps (n_base, B)."""
    if is_double(eps):
        _double(state, start, eps, _apart, open_uniform)
    else:
        _single(state, start, eps, _apart, open_uniform32)


@_jit.kernel("points", dtypes=("float64", "float32"))
def normal(state, start, eps):
    """Standard normals of samples start … start + B − 1, into eps (n_base, B)."""
    if is_double(eps):
        _double(state, start, eps, _together, normal_pair)
    else:
        _single(state, start, eps, _together, normal_pair32)


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
