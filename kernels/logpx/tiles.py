r"""A block of samples times a matrix, a tile at a time: the loops that the linear kernels share.

    rows ← shift + A · columns,   columns (d, B), rows (r, B), A upper triangular or upper trapezoidal (r, d)

Four rows by four columns at a time, the sample index innermost: sixteen multiply-adds for four loads of columns, four
of rows and four stores, so that with the tile's sixteen numbers in registers the multiply-adds are what it costs:
A's nonzero entries, diagonal tiles included, and no more. Samples are taken in strips of 2 kB a row, so that a tile's
eight rows stay in the first-level cache. Where r or d is no multiple of four, A and the columns are filled up with
zeros.

Rows of a block lie a power of two of bytes apart. Loads and stores at the same distance from a multiple of 4 kB wait
for each other and compete for eight places in the cache: with sums kept in such rows the same loops take up to twice as
long, by where an allocation happens to lie. Sums therefore stand in rows of `scratch`, 2240 bytes apart.
"""

import numpy as np
from numpy.typing import NDArray

from logpx import _jit

#: Rows and columns of a tile.
TILE = 4
#: Length of a strip in bytes, for one row; what is left free after it; from one row of scratch to the next.
STRIP_BYTES = 2048
SKEW = 3 * 64
SCRATCH_BYTES = STRIP_BYTES + SKEW


def padded(size: int, step: int = TILE) -> int:
    """The least multiple of `step` that is at least `size`."""
    return size + -size % step


def filled(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """A matrix (r, d) with zeros added below and to the right, up to multiples of four."""
    r, d = matrix.shape
    out = np.zeros((padded(r), padded(d)))
    out[:r, :d] = matrix
    return out


@_jit.leaf
def is_double(array):
    """Whether this array is float64; a constant when compiled, so that the other precision's branch is not there."""
    return array.dtype.type(0.1) == np.float64(0.1)


@_jit.leaf
def whole_tiles(size):
    """`size` rounded up to a multiple of four."""
    return (size + TILE - 1) // TILE * TILE


@_jit.inner
def scratch(n_rows, block):
    """Rows for a strip each, in the block's precision, from a cache line's start; not filled."""
    length = SCRATCH_BYTES // block.itemsize
    room = np.empty(n_rows * length + 64 // block.itemsize, block.dtype)
    skip = -room.ctypes.data % 64 // block.itemsize
    return room[skip : skip + n_rows * length].reshape(n_rows, length)


@_jit.inner
def clear(rows, n_rows):
    """The first `n_rows` rows set to zero. (An assignment to a slice takes seconds to compile.)"""
    zero = rows.dtype.type(0.0)
    for k in range(n_rows):
        for i in range(rows.shape[1]):
            rows[k, i] = zero


@_jit.inner
def filled_rows(block):
    """A block (d, B) with rows of zeros added below, up to a multiple of four; the block itself where d is one."""
    d, n = block.shape
    if d % TILE == 0:
        return block
    out = np.zeros((whole_tiles(d), n), block.dtype)
    for k in range(d):
        for i in range(n):
            out[k, i] = block[k, i]
    return out


@_jit.leaf
def begin(shift, matrix, at, width, step, n, columns, c, start, rows, r, place):
    """rows = shift + an upper triangular tile · columns.

    The tile's corner is `matrix[at]`, its row length `width`. Its columns are the rows c, c + step, … of one block,
    from sample `start` on, its rows the rows r, r + step, … of another, from `place` on; n samples.
    """
    c0, c1 = columns[c, start : start + n], columns[c + step, start : start + n]
    c2, c3 = columns[c + 2 * step, start : start + n], columns[c + 3 * step, start : start + n]
    r0, r1 = rows[r, place : place + n], rows[r + step, place : place + n]
    r2, r3 = rows[r + 2 * step, place : place + n], rows[r + 3 * step, place : place + n]
    s0, s1, s2, s3 = shift
    a00, a01, a02, a03 = matrix[at], matrix[at + 1], matrix[at + 2], matrix[at + 3]
    a11, a12, a13 = matrix[at + width + 1], matrix[at + width + 2], matrix[at + width + 3]
    a22, a23, a33 = matrix[at + 2 * width + 2], matrix[at + 2 * width + 3], matrix[at + 3 * width + 3]
    for i in range(n):
        u0, u1, u2, u3 = c0[i], c1[i], c2[i], c3[i]
        r0[i] = s0 + a00 * u0 + a01 * u1 + a02 * u2 + a03 * u3
        r1[i] = s1 + a11 * u1 + a12 * u2 + a13 * u3
        r2[i] = s2 + a22 * u2 + a23 * u3
        r3[i] = s3 + a33 * u3


@_jit.leaf
def go_on(matrix, at, width, step, n, columns, c, start, sums, s, rows, r, place):
    """rows = sums + a full tile · columns, as in `begin`; the sums are rows s, s + step, …, and not the same rows."""
    c0, c1 = columns[c, start : start + n], columns[c + step, start : start + n]
    c2, c3 = columns[c + 2 * step, start : start + n], columns[c + 3 * step, start : start + n]
    b0, b1, b2, b3 = sums[s, :n], sums[s + step, :n], sums[s + 2 * step, :n], sums[s + 3 * step, :n]
    r0, r1 = rows[r, place : place + n], rows[r + step, place : place + n]
    r2, r3 = rows[r + 2 * step, place : place + n], rows[r + 3 * step, place : place + n]
    a00, a01, a02, a03 = matrix[at], matrix[at + 1], matrix[at + 2], matrix[at + 3]
    at += width
    a10, a11, a12, a13 = matrix[at], matrix[at + 1], matrix[at + 2], matrix[at + 3]
    at += width
    a20, a21, a22, a23 = matrix[at], matrix[at + 1], matrix[at + 2], matrix[at + 3]
    at += width
    a30, a31, a32, a33 = matrix[at], matrix[at + 1], matrix[at + 2], matrix[at + 3]
    for i in range(n):
        u0, u1, u2, u3 = c0[i], c1[i], c2[i], c3[i]
        r0[i] = b0[i] + a00 * u0 + a01 * u1 + a02 * u2 + a03 * u3
        r1[i] = b1[i] + a10 * u0 + a11 * u1 + a12 * u2 + a13 * u3
        r2[i] = b2[i] + a20 * u0 + a21 * u1 + a22 * u2 + a23 * u3
        r3[i] = b3[i] + a30 * u0 + a31 * u1 + a32 * u2 + a33 * u3
