r"""A block of samples times a matrix, a tile at a time: the loops that the linear kernels share.

    rows ← shift + A · columns,   columns (d, B), rows (r, B), A upper triangular or upper trapezoidal (r, d)

Four rows by four columns at a time, the sample index innermost: sixteen multiply-adds for four loads of columns, four
of rows and four stores, so that with the tile's sixteen numbers in registers the multiply-adds are what it costs:
A's nonzero entries, diagonal tiles included, and no more. Samples are taken in strips of 2 kB a row, so that a tile's
eight rows stay in the first-level cache; rows lie a power of two apart and there is room for eight of them. Where d is
no multiple of four, A is filled up with zeros and a spare row of zeros stands in for the columns that are missing.
"""

import numpy as np
from numpy.typing import NDArray

from logpx import _jit

#: Rows and columns of a tile.
TILE = 4
#: Length of a strip in bytes, for one row.
STRIP_BYTES = 2048


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
def whole_tiles(size):
    """`size` rounded up to a multiple of four."""
    return (size + TILE - 1) // TILE * TILE


@_jit.leaf
def strip(block, spare, row, start, n):
    """Samples start … start + n − 1 of one row of the block; of the spare row where the block has no such row."""
    return block[row, start : start + n] if 0 <= row < block.shape[0] else spare[:n]


@_jit.leaf
def four(block, spare, row, step, start, n):
    """Four strips, of the rows row, row + step, row + 2 step, row + 3 step."""
    return (
        strip(block, spare, row, start, n),
        strip(block, spare, row + step, start, n),
        strip(block, spare, row + 2 * step, start, n),
        strip(block, spare, row + 3 * step, start, n),
    )


@_jit.leaf
def begin(shift, matrix, at, width, columns, rows):
    """rows = shift + an upper triangular tile · columns. `matrix[at]` is the tile's corner, `width` its row length."""
    c0, c1, c2, c3 = columns
    r0, r1, r2, r3 = rows
    s0, s1, s2, s3 = shift
    a00, a01, a02, a03 = matrix[at], matrix[at + 1], matrix[at + 2], matrix[at + 3]
    a11, a12, a13 = matrix[at + width + 1], matrix[at + width + 2], matrix[at + width + 3]
    a22, a23, a33 = matrix[at + 2 * width + 2], matrix[at + 2 * width + 3], matrix[at + 3 * width + 3]
    for i in range(r0.size):
        u0, u1, u2, u3 = c0[i], c1[i], c2[i], c3[i]
        r0[i] = s0 + a00 * u0 + a01 * u1 + a02 * u2 + a03 * u3
        r1[i] = s1 + a11 * u1 + a12 * u2 + a13 * u3
        r2[i] = s2 + a22 * u2 + a23 * u3
        r3[i] = s3 + a33 * u3


@_jit.leaf
def go_on(matrix, at, width, columns, rows):
    """rows += a full tile · columns."""
    c0, c1, c2, c3 = columns
    r0, r1, r2, r3 = rows
    a00, a01, a02, a03 = matrix[at], matrix[at + 1], matrix[at + 2], matrix[at + 3]
    at += width
    a10, a11, a12, a13 = matrix[at], matrix[at + 1], matrix[at + 2], matrix[at + 3]
    at += width
    a20, a21, a22, a23 = matrix[at], matrix[at + 1], matrix[at + 2], matrix[at + 3]
    at += width
    a30, a31, a32, a33 = matrix[at], matrix[at + 1], matrix[at + 2], matrix[at + 3]
    for i in range(r0.size):
        u0, u1, u2, u3 = c0[i], c1[i], c2[i], c3[i]
        r0[i] = r0[i] + a00 * u0 + a01 * u1 + a02 * u2 + a03 * u3
        r1[i] = r1[i] + a10 * u0 + a11 * u1 + a12 * u2 + a13 * u3
        r2[i] = r2[i] + a20 * u0 + a21 * u1 + a22 * u2 + a23 * u3
        r3[i] = r3[i] + a30 * u0 + a31 * u1 + a32 * u2 + a33 * u3
