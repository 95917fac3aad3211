"""Sobol' points with Owen scrambling: even coverage of the cube, randomised anew for each replicate.

Sample i of dimension d is x_d(i) = ⊕_k bit_k(i)·v_dk, a 32-bit fraction with Joe and Kuo's direction numbers v;
any 2^m consecutive samples from a multiple of 2^m are a digital net. Owen's nested scrambling then flips each
binary digit by a random bit that depends on the digits before it. The bits come from a hash instead of a stored
tree: with the digits in reverse, sums and products only carry towards later digits, so that

    y = x + s0;  y ^= y·c0;  y ^= y·c1;  y *= s1 (odd);  y ^= y·c2;  y ^= y·c3     (mod 2^32, every c even)

is such a scrambling, with (s0, s1) hashed from (seed, replicate, row, dimension). No two samples share all 32
digits; the 20 digits below them are therefore independent fair bits under Owen's scheme, and are filled from a hash of
y. A uniform has 52 digits and half a unit, as for independent points. Normals are its quantile.

Each point is uniform, so every replicate's mean is unbiased; for a smooth integrand its standard deviation falls
nearly as n^−3/2, against n^−1/2. Samples of one stream are not independent: an error estimate needs replicates.

A stream has 2^32 samples, the digits that there are; beyond, `PointSet.check_index` refuses. Up to 1024 dimensions.

Sources: I. M. Sobol', USSR Comput. Math. Math. Phys. 7 (1967) 86; S. Joe, F. Y. Kuo, SIAM J. Sci. Comput. 30
(2008) 2635; A. B. Owen, J. Complexity 14 (1998) 466; S. Laine, T. Karras, Comput. Graph. Forum 30 (2011) 1249
and B. Burley, J. Comput. Graph. Tech. 9 (2020) 4 for the hash and its constants. The direction numbers are read
off SciPy's unscrambled sequence and continued by their recurrence. Cost: about 1 ns a uniform and 5 a normal.
"""

import functools

import numpy as np
import scipy
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from logpx import _jit
from logpx.errors import NotAvailableError
from logpx.points.base import PointSet, hashed
from logpx.points.words import open_uniform
from logpx.vecmath import leaf, normal_quantile

__all__ = ["SOBOL", "direction_numbers", "normal", "uniform"]

_N_DIGITS = 32
_BASE_LIMIT = 1024
_N_READ = 20  # direction numbers read from SciPy; up to 1024 dimensions the recurrence reaches back 13

_C0, _C1 = np.uint64(0x6C50B47C), np.uint64(0xB82F1E52)
_C2, _C3 = np.uint64(0xC7AFE638), np.uint64(0x8D22F6E6)
_F0, _F1 = np.uint64(0x21F0AAAD), np.uint64(0xD35A2D97)
_LOW = np.uint64(0xFFFFFFFF)
_U0, _U1, _U15, _U16, _U32 = np.uint64(0), np.uint64(1), np.uint64(15), np.uint64(16), np.uint64(32)

_TABLE_DIGITS = 9
_TABLE = 2**_TABLE_DIGITS
_TABLE_MASK = np.uint64(_TABLE - 1)

_WORDS = 18  # of the state, for each dimension: s0 and s1, the fill's seed, 16 pairs of direction numbers


if _jit.DISABLED:

    def _reversed_bits(x):
        """The 64 bits in reverse order."""
        return np.uint64(int(f"{int(x):064b}"[::-1], 2))

else:

    @intrinsic
    def _reversed_bits(typing_context, x):
        """The 64 bits in reverse order."""

        def build(context, builder, signature, arguments):
            return builder.bitreverse(arguments[0])

        return types.uint64(types.uint64), build


def _continued(numbers: list[int]) -> list[int]:
    """All 32 direction numbers of one dimension from its first, by their linear recurrence.

    v_k = a_1 v_{k−1} ⊕ … ⊕ a_{s−1} v_{k−s+1} ⊕ v_{k−s} ⊕ (v_{k−s} >> s) for k ≥ s. The last digit of v_j that is set is
    number j, so that the a's follow one by one from v_s; the right s is the first that explains the others.
    """

    def following(known: list[int], steps: list[int], s: int) -> int:
        last = known[len(known) - s]
        return functools.reduce(lambda total, i: total ^ known[len(known) - i], steps, last ^ (last >> s))

    for s in range(1, len(numbers) - 4):
        rest, steps = numbers[s] ^ numbers[0] ^ (numbers[0] >> s), []
        for i in range(1, s):
            if rest >> (_N_DIGITS - 1 - (s - i)) & 1:
                rest ^= numbers[s - i]
                steps.append(i)
        if all(following(numbers[:k], steps, s) == numbers[k] for k in range(s, len(numbers))):
            found = list(numbers)
            while len(found) < _N_DIGITS:
                found.append(following(found, steps, s))
            return found
    raise NotAvailableError(
        "SciPy's Sobol' points do not follow a recurrence of Joe and Kuo's kind, which is what these need. "
        "Use points='independent', or a SciPy from 1.13 on."
    )


@functools.cache
def direction_numbers(n_base: int) -> NDArray[np.uint64]:
    """Direction numbers (n_base, 32), left-aligned in 32 bits; the first dimension is van der Corput's.

    Read from SciPy's unscrambled points, which run in Gray-code order: point 2^(k+1) − 1 is v_k alone.
    """
    sequence, position, columns = scipy.stats.qmc.Sobol(n_base, scramble=False, bits=_N_DIGITS), 0, []
    for k in range(_N_READ):
        sequence.fast_forward(2 ** (k + 1) - 1 - position)
        columns.append((sequence.random(1)[0] * 2.0**_N_DIGITS).astype(np.uint64))
        position = 2 ** (k + 1)
    read = np.stack(columns, axis=1)
    first = [1 << (_N_DIGITS - 1 - k) for k in range(_N_DIGITS)]
    return np.array([first] + [_continued([int(v) for v in row]) for row in read[1:]], dtype=np.uint64)


@functools.cache
def _packed_directions(n_base: int) -> NDArray[np.uint64]:
    """Direction numbers in reverse digit order, two a word: (n_base, 16)."""
    digits = direction_numbers(n_base)
    turned = np.zeros_like(digits)
    for k in range(_N_DIGITS):
        turned |= ((digits >> np.uint64(k)) & _U1) << np.uint64(_N_DIGITS - 1 - k)
    return turned[:, 0::2] | (turned[:, 1::2] << _U32)


def _states(seed: int, replicates: NDArray[np.uint64], rows: NDArray[np.uint64], n_base: int) -> NDArray[np.uint64]:
    streams = hashed(seed, replicates[:, None], rows[:, None], np.arange(n_base)[None, :])
    states = np.empty((len(replicates), n_base, _WORDS), dtype=np.uint64)
    states[:, :, 0] = streams | (_U1 << _U32)
    states[:, :, 1] = hashed(seed, streams)
    states[:, :, 2:] = _packed_directions(n_base)
    return states.reshape(len(replicates), -1)


@leaf
def _scrambled(x, s0, s1):
    """Owen scrambling of a 32-digit fraction whose digits stand in reverse order; upper halves hold rubbish."""
    x = x + s0
    x = x ^ ((x & _LOW) * _C0)
    x = x ^ ((x & _LOW) * _C1)
    x = (x & _LOW) * s1
    x = x ^ ((x & _LOW) * _C2)
    return (x ^ ((x & _LOW) * _C3)) & _LOW


@leaf
def _fill_bits(x, seed):
    """32 bits that depend on every bit of x and of the 32-bit seed."""
    x = x ^ seed
    x = ((x ^ (x >> _U16)) & _LOW) * _F0 & _LOW
    x = ((x ^ (x >> _U15)) & _LOW) * _F1 & _LOW
    return x ^ (x >> _U15)


@leaf
def _low_table(state, offset, table):
    """x(i) for i below 512: each direction number doubles what is there."""
    table[0] = _U0
    for k in range(_TABLE_DIGITS):
        v = (state[offset + 2 + (k >> 1)] >> (_U32 * np.uint64(k & 1))) & _LOW
        half = 1 << k
        for j in range(half):
            table[half + j] = table[j] ^ v


@leaf
def _high_part(state, offset, index):
    """x of the digits of the index above the table's."""
    x = _U0
    for k in range(_TABLE_DIGITS, _N_DIGITS):
        v = (state[offset + 2 + (k >> 1)] >> (_U32 * np.uint64(k & 1))) & _LOW
        x = x ^ (v * ((index >> np.uint64(k)) & _U1))
    return x


@leaf
def _fill_dimension(state, start, dimension, table, out):
    """Uniforms of one dimension into out (B,), in runs over which the high digits of the index stay."""
    offset = dimension * _WORDS
    s0, s1, fill = state[offset] & _LOW, state[offset] >> _U32, state[offset + 1] & _LOW
    _low_table(state, offset, table)
    done = 0
    while done < out.size:
        index = start + np.uint64(done)
        low = np.int64(index & _TABLE_MASK)
        high = _high_part(state, offset, index)
        run = min(out.size - done, _TABLE - low)
        for j in range(run):
            y = _scrambled(high ^ table[low + j], s0, s1)
            out[done + j] = open_uniform(_reversed_bits(y) | _fill_bits(y, fill))
        done += run


@leaf
def _store_below_one(source, target):
    """Uniforms from float64 into the precision of `target`, at most the largest number below 1."""
    largest = target.dtype.type(1.0 - 2.0**-24) if target.itemsize == 4 else target.dtype.type(1.0 - 2.0**-53)
    for i in range(source.size):
        value = target.dtype.type(source[i])
        target[i] = value if value < largest else largest


@_jit.kernel("points", dtypes=("float64", "float32"))
def uniform(state, start, eps):
    """Scrambled Sobol' points start … start + B − 1 below 2^32, into eps (n_base, B)."""
    n_base, n = eps.shape
    table, u = np.empty(_TABLE, np.uint64), np.empty(n, np.float64)
    for d in range(n_base):
        _fill_dimension(state, start, d, table, u)
        _store_below_one(u, eps[d])


@_jit.kernel("points", dtypes=("float64", "float32"))
def normal(state, start, eps):
    """Normal quantiles of scrambled Sobol' points start … start + B − 1 below 2^32, into eps (n_base, B)."""
    n_base, n = eps.shape
    table, u = np.empty(_TABLE, np.uint64), np.empty(n, np.float64)
    for d in range(n_base):
        _fill_dimension(state, start, d, table, u)
        target = eps[d]
        for i in range(n):
            target[i] = normal_quantile(u[i])


#: Randomised quasi-Monte Carlo: replicates are independent, the samples of one are not.
SOBOL = PointSet(
    name="sobol",
    iid=False,
    kernels={"uniform": uniform, "normal": normal},
    build=_states,
    summary="Sobol' points with Owen scrambling: replicates are independent, samples are not",
    index_limit=2**32,
    base_limit=_BASE_LIMIT,
)
