"""Scratch on the stack, and arrays that nobody counts: right values, clear refusals, nothing freed early or twice."""

import os
import subprocess
import sys

import numpy as np
import pytest
from numba.core.errors import TypingError

from logpx import _jit, stack

N, HUGE = 48, stack.MOST_BYTES // 8 + 1

pytestmark = pytest.mark.skipif(_jit.DISABLED, reason="in plain Python they are ordinary arrays")


@_jit.leaf
def _triangle(like, shift):
    room = stack.room(N, like)
    for i in range(N):
        room[i] = like.dtype.type(i + shift)
    return room[1:].sum()


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.uint64])
def test_a_room_holds_what_is_written_in_each_turn_of_a_loop(dtype):
    @_jit.uncached
    def total(like):
        found = 0.0
        for i in range(100_000):
            found += np.float64(_triangle(like, i))
        return found

    assert total(np.zeros(1, dtype)) == sum((N - 1) * N // 2 + (N - 1) * i for i in range(100_000))


def test_rooms_do_not_overlap_and_begin_at_cache_lines():
    @_jit.uncached
    def places(like):
        first, second = stack.room(N, like), stack.room(N, like)
        for i in range(N):
            first[i], second[i] = 1.0, 2.0
        return first.sum(), second.sum(), first.ctypes.data, second.ctypes.data

    one, two, first, second = places(np.zeros(1))
    assert (one, two) == (N, 2 * N)
    assert first % 64 == second % 64 == 0


def test_a_length_that_is_no_constant_or_too_large_is_refused():
    @_jit.uncached
    def varying(like, n):
        return stack.room(n, like).size

    @_jit.uncached
    def huge(like):
        return stack.room(HUGE, like).size

    with pytest.raises(TypingError, match="must be a constant"):
        varying(np.zeros(1), 3)
    with pytest.raises(TypingError, match=f"at most {stack.MOST_BYTES} bytes"):
        huge(np.zeros(1))


def test_borrowed_arrays_are_the_same_and_their_owners_live_on():
    @_jit.uncached
    def fill(a):
        (view,) = stack.borrowed((a,))
        for i in range(view.shape[0]):
            row = view[i]
            row[:] = float(i)

    a = np.zeros((5, 3))
    before = sys.getrefcount(a)
    fill(a)
    assert sys.getrefcount(a) == before
    np.testing.assert_array_equal(a, np.repeat(np.arange(5.0), 3).reshape(5, 3))


def test_what_is_held_is_not_freed_before():
    """Memory that is freed is overwritten here (MALLOC_PERTURB_), so that what the driver uses after it shows."""
    program = (
        "import logpx\n"
        "for n in (5000, 40000):\n"
        "    print(logpx.estimate(*logpx.models.PPCA.example(), n_samples=n, seed=3).log_marginal.tobytes().hex())\n"
    )
    said = [
        subprocess.run(
            [sys.executable, "-c", program], env=os.environ | more, capture_output=True, text=True, check=True
        ).stdout
        for more in ({}, {"MALLOC_PERTURB_": "165"})
    ]
    assert said[0].count("\n") == 2
    assert said[0] == said[1]
