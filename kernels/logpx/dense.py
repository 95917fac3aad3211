r"""A layer of a neural network, y = b + W h, for a strip of samples: the product with its sums in registers.

    y (r, n) ← b + W h,   h (d, n), W (r, d), n samples side by side

Eight rows of W by 128 bytes of samples (16 in float64, 32 in float32) are summed over all d inputs in 16 vector
registers, and stored once: an input costs two loads of h and eight of W for sixteen multiply-adds. LLVM's own
vectoriser keeps no sums in registers over an outer loop: plain loops over tiles of sixteen weights (`logpx.tiles`), in
vectors of 256 bits on a processor that has 512, took nearly twice the time. OpenBLAS, which packs its operands
first and has threads of its own, lies in between. So the tile is written as LLVM's instructions, of vectors of 64 bytes
that every target splits as it needs: four rows by 64 bytes at a time where registers are sixteen (AVX2), or shorter
(NEON).

An output is b and then d products added in their order, each multiplied and added in one step where the processor
can: its bits depend neither on the number of samples nor on its place among them. Source: K. Goto and R. van de Geijn
(2008), ACM TOMS 34, 12, doi:10.1145/1356052.1356053, for sums that stay in registers. Cost: d multiply-adds an output,
at nearly the rate of the processor's units while h (256 bytes of samples) and W are in the first two levels of cache.
"""

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from logpx import _jit, _pipelines, tiles

#: Rows of a tile; bytes of samples in a strip, and in a tile.
ROWS, STRIP_BYTES, TILE_BYTES = 8, 256, 128
_VECTOR_BYTES = 64
_WORD, _INDEX = ir.IntType(64), ir.IntType(32)


def n_numbers(n_inputs: int, n_outputs: int) -> int:
    """How many numbers `packed_layer` makes of a layer."""
    return tiles.padded(n_outputs, ROWS) * (n_inputs + 1)


def packed_layer(weights: NDArray[np.float64], bias: NDArray[np.float64]) -> NDArray[np.float64]:
    """W (r, d) and b (r,) by eights of rows, filled up with zeros: the eight b, then eight weights of each input.

    Examples
    --------
    >>> packed_layer(np.array([[2.0], [3.0]]), np.array([0.5, 0.6]))
    array([0.5, 0.6, 0. , 0. , 0. , 0. , 0. , 0. , 2. , 3. , 0. , 0. , 0. ,
           0. , 0. , 0. ])
    """
    r, d = weights.shape
    both = np.zeros((tiles.padded(r, ROWS), d + 1))
    both[:r, 0], both[:r, 1:] = bias, weights
    return both.reshape(-1, ROWS, d + 1).transpose(0, 2, 1).ravel()


@_jit.leaf
def strip_length(block):
    """Samples of a strip."""
    return STRIP_BYTES // block.itemsize


@_jit.inner
def room(n_rows, block):
    """Zeros for `n_rows` rows of a strip, flat, from a cache line's start, in the block's precision."""
    length = n_rows * strip_length(block)
    whole = np.zeros(length + 64 // block.itemsize, block.dtype)
    skip = -whole.ctypes.data % 64 // block.itemsize
    return whole[skip : skip + length]


def _tile_plain(theta, at, n_inputs, columns, rows, r, i):
    """Plain Python: rows r … r + 7, a tile of samples from i on."""
    step, width = STRIP_BYTES // columns.itemsize, TILE_BYTES // columns.itemsize
    layer = theta[at : at + ROWS * (n_inputs + 1)].reshape(n_inputs + 1, ROWS)
    inputs = columns[: n_inputs * step].reshape(n_inputs, step)[:, i : i + width]
    outputs = rows[r * step : (r + ROWS) * step].reshape(ROWS, step)
    outputs[:, i : i + width] = layer[0][:, None] + layer[1:].T @ inputs


class _Builder:
    """Writes the instructions of a tile for one precision."""

    def __init__(self, context, builder, signature, arguments):
        self.builder = builder
        self.theta, self.columns, self.rows = (
            context.make_array(signature.args[k])(context, builder, arguments[k]).data for k in (0, 3, 4)
        )
        self.size = 4 if signature.args[0].dtype == types.float32 else 8
        self.lanes = _VECTOR_BYTES // self.size
        self.vector = ir.VectorType(ir.FloatType() if self.size == 4 else ir.DoubleType(), self.lanes)
        self.step = ir.Constant(_WORD, STRIP_BYTES // self.size)

    def vector_at(self, data, index):
        """Pointer to a vector."""
        return self.builder.bitcast(self.builder.gep(data, [index]), self.vector.as_pointer())

    def load(self, index):
        """A vector of the columns; rows of a strip start at cache lines."""
        return self.builder.load(self.vector_at(self.columns, index), align=self.size)

    def weight(self, index):
        """One number of theta in every lane."""
        one = self.builder.load(self.builder.gep(self.theta, [index]))
        empty, zeros = ir.Constant(self.vector, ir.Undefined), ir.Constant(ir.VectorType(_INDEX, self.lanes), None)
        first = self.builder.insert_element(empty, one, ir.Constant(_INDEX, 0))
        return self.builder.shuffle_vector(first, empty, zeros)

    def sums(self, at, n_inputs, n_rows, n_vectors, column, row):
        """`n_rows` rows by `n_vectors` vectors: from b, over all inputs; column and row are where both begin."""
        build, one = self.builder, ir.Constant(_WORD, 1)
        places = [(r, v) for r in range(n_rows) for v in range(n_vectors)]
        biases = [self.weight(build.add(at, ir.Constant(_WORD, r))) for r in range(n_rows)]
        before, loop = build.block, build.append_basic_block("inputs")
        after = build.append_basic_block("stored")
        build.branch(loop)
        build.position_at_end(loop)
        k, totals = build.phi(_WORD), [build.phi(self.vector) for _ in places]
        following = build.add(k, one)
        base = build.add(at, build.mul(following, ir.Constant(_WORD, ROWS)))
        place = build.add(column, build.mul(k, self.step))
        inputs = [self.load(build.add(place, ir.Constant(_WORD, v * self.lanes))) for v in range(n_vectors)]
        weights = [self.weight(build.add(base, ir.Constant(_WORD, r))) for r in range(n_rows)]
        fused = {"flags": ("contract",)}
        added = [
            build.fadd(build.fmul(weights[r], inputs[v], **fused), total, **fused)
            for (r, v), total in zip(places, totals, strict=True)
        ]
        k.add_incoming(ir.Constant(_WORD, 0), before)
        k.add_incoming(following, loop)
        for (r, _), total, new in zip(places, totals, added, strict=True):
            total.add_incoming(biases[r], before)
            total.add_incoming(new, loop)
        build.cbranch(build.icmp_signed("<", following, n_inputs), loop, after)
        build.position_at_end(after)
        for (r, v), total in zip(places, added, strict=True):
            index = build.add(row, build.mul(ir.Constant(_WORD, r), self.step))
            index = build.add(index, ir.Constant(_WORD, v * self.lanes))
            build.store(total, self.vector_at(self.rows, index), align=self.size)


@intrinsic
def _tile_compiled(typing_context, theta, at, n_inputs, columns, rows, r, i):
    """The same as instructions."""
    word = types.int64

    def build(context, builder, signature, arguments):
        write = _Builder(context, builder, signature, arguments)
        _, at, n_inputs, _, _, r, i = arguments
        wide = _pipelines.has_wide_vectors()
        n_rows, n_vectors = (ROWS, TILE_BYTES // _VECTOR_BYTES) if wide else (ROWS // 2, 1)
        for first in range(0, ROWS, n_rows):
            for v in range(0, TILE_BYTES // _VECTOR_BYTES, n_vectors):
                column = builder.add(i, ir.Constant(_WORD, v * write.lanes))
                row = builder.mul(builder.add(r, ir.Constant(_WORD, first)), write.step)
                start = builder.add(at, ir.Constant(_WORD, first))
                write.sums(start, n_inputs, n_rows, n_vectors, column, builder.add(row, column))
        return context.get_dummy_value()

    return types.void(theta, word, word, columns, rows, word, word), build


_tile = _tile_plain if _jit.DISABLED else _tile_compiled


@_jit.inner
def multiply(theta, at, n_inputs, n_outputs, columns, rows):
    """rows = b + W columns of one strip: flat (d, strip) to (r filled up to eights, strip); d ≥ 1.

    theta holds a `packed_layer` from `at` on.
    """
    length, width = strip_length(columns), TILE_BYTES // columns.itemsize
    for r in range(0, n_outputs, ROWS):
        for i in range(0, length, width):
            _tile(theta, at + r * (n_inputs + 1), n_inputs, columns, rows, r, i)
