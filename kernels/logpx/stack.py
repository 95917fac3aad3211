"""Arrays that nobody counts: scratch on the stack of a compiled function, and arrays that others keep alive.

Numba counts who holds an array, by a locked instruction for every slice taken and let go: some twenty cycles each, and
a hundred of them a block took a tenth of a run's time. `borrowed` is the same array without a count, for as long as its
owner is there.

An array from `np.empty` costs a call of the allocator each time, some 100 ns with its release: a tenth of a nanosecond
for each of a block's samples. One of constant length can stand on the stack instead, where it costs nothing, and LLVM
knows that nothing else points to it. It lives until the function that asked for it returns: it is for that function
and those it calls, and must not be returned or stored. In plain Python it is an ordinary array.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.extending import intrinsic

from logpx import _jit

#: Most bytes of one array: threads may have stacks of half a megabyte.
MOST_BYTES = 1 << 15


def _plain(n, like):
    """Plain Python: n numbers of the dtype of `like`, not filled."""
    return np.empty(n, like.dtype)


@intrinsic(prefer_literal=True)
def _on_stack(typing_context, n, like):
    """n numbers of the dtype of `like`, not filled, from a cache line's start; n is a constant."""
    if not isinstance(n, types.IntegerLiteral):
        raise TypingError("the length of an array on the stack must be a constant")
    length, array = n.literal_value, types.Array(like.dtype, 1, "C")
    if length * like.dtype.bitwidth // 8 > MOST_BYTES:
        raise TypingError(f"an array on the stack has at most {MOST_BYTES} bytes")

    def build(context, builder, signature, arguments):
        kind = context.get_data_type(array.dtype)
        with builder.goto_entry_block():
            space: Any = builder.alloca(ir.ArrayType(kind, length))
        space.align = 64
        size = context.get_abi_sizeof(kind)
        made = context.make_array(array)(context, builder)
        count, step = (ir.Constant(ir.IntType(64), number) for number in (length, size))
        nobody = ir.Constant(cgutils.voidptr_t, None)  # no counts of who holds it
        data = builder.bitcast(space, kind.as_pointer())
        context.populate_array(made, data=data, shape=[count], strides=[step], itemsize=step, meminfo=nobody)
        return made._getvalue()

    return array(n, like), build


@intrinsic
def _uncounted(typing_context, arrays):
    """The arrays of a tuple without a count of who holds them."""

    def build(context, builder, signature, arguments):
        given = cgutils.unpack_tuple(builder, arguments[0])
        made = [context.make_array(kind)(context, builder, one) for kind, one in zip(arrays, given, strict=True)]
        for one in made:
            one.meminfo = ir.Constant(one.meminfo.type, None)
            one.parent = ir.Constant(one.parent.type, None)
        return context.make_tuple(builder, arrays, [one._getvalue() for one in made])

    return arrays(arrays), build


@intrinsic
def _held(typing_context, arrays):
    """Does nothing, and so keeps what it is given until here."""
    return types.void(arrays), lambda context, builder, signature, arguments: context.get_dummy_value()


def _same(arrays):
    """Plain Python: as they are."""
    return arrays


def _nothing(arrays):
    """Plain Python: names keep what they name."""


borrowed = _same if _jit.DISABLED else _uncounted
hold = _nothing if _jit.DISABLED else _held
room = _plain if _jit.DISABLED else _on_stack
