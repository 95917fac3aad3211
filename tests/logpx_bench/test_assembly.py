"""Machine code that counts itself: planted loops with known numbers of operations, and the same bits as uncounted.

Exact tests, but for the rates, of which only ratios are looked at, with room of a factor that no disturbance of a best
of nine brings about.
"""

import math

import numpy as np
import pytest
from numba import types

from logpx import _jit
from logpx.points import REGISTRY
from logpx_bench import assembly
from logpx_bench.counts import CLASSES, SLOTS, UNITS, WIDTHS, slot

pytestmark = [
    pytest.mark.skipif(_jit.DISABLED, reason="there is no machine code under NUMBA_DISABLE_JIT"),
    pytest.mark.skipif(not assembly.supported(), reason="machine code is counted on x86-64 with AVX2 alone"),
]

N = 1024
VECTOR = types.float64[::1]


def _fma(a, b, out, repeats):
    for _ in range(repeats):
        for i in range(a.size):
            out[i] = a[i] * b[i] + out[i]


def _divide(a, b, out, repeats):
    for _ in range(repeats):
        for i in range(a.size):
            out[i] = math.sqrt(a[i] / (b[i] + out[i]))


def _branch(a, b, out, repeats):
    for i in range(repeats):
        if a[i] > 0.0:
            out[i] += b[i]


def counted(function, *numbers, out=None):
    """Counts of one call on three vectors of N ones and a number of repeats."""
    compiled = _jit.uncached(function)
    compiled.compile((VECTOR, VECTOR, VECTOR, types.int64))
    arguments = [np.ones(N), np.ones(N), np.ones(N) if out is None else out, *numbers]
    return assembly.executed(compiled, arguments)


def lanes(total, unit):
    """Numbers that a unit worked on, scalars counted one by one, for float64."""
    return sum(total[slot(unit, width)] * width // 64 for width in WIDTHS[1:])


def test_a_loop_of_multiply_adds_has_the_operations_and_bytes_of_its_source():
    """N a multiple of any unrolling: no scalar is left over."""
    total = counted(_fma, 1)
    assert total["flops"] == 2 * N
    assert lanes(total, "multiply") == N
    assert 3 * 8 * N <= total["load_bytes"] < 3 * 8 * N + 1024
    assert 8 * N <= total["store_bytes"] < 8 * N + 1024
    assert sum(total[slot(unit, width)] for unit in ("divide64", "root64", "product") for width in WIDTHS) == 0


@pytest.mark.parametrize("repeats", [0, 2, 7])
def test_trip_counts_are_those_of_the_run(repeats):
    assert counted(_fma, repeats)["flops"] == 2 * N * repeats
    total = counted(_divide, repeats)
    assert (lanes(total, "divide64"), lanes(total, "root64"), lanes(total, "add")) == (N * repeats,) * 3


def test_only_the_branch_that_is_taken_counts():
    few, many = (counted(_branch, n) for n in (3, 11))
    assert many["flops"] - few["flops"] == 8


def test_counting_changes_no_bit():
    points = REGISTRY["independent"]
    kernel = _jit.uncached(points.kernels["normal"].py_func)
    kernel.compile(_jit.signature("points").args)
    state, plain, watched = points.state(7, 0, 3, 3), np.empty((3, N)), np.empty((3, N))
    total = assembly.executed(kernel, (state, np.uint64(5), watched))
    kernel(state, np.uint64(5), plain)
    assert np.array_equal(plain, watched)
    assert total["flops"] / (3 * N) > 20
    assert total["calls"] > 0
    assert set(total) <= set(CLASSES)


@pytest.mark.parametrize(
    ("line", "unit", "flops", "loaded", "stored"),
    [
        ("vfmadd231pd\t(%rax,%rcx,8), %zmm1, %zmm2", "multiply512", 16, 64, 0),
        ("vfnmadd213ps\t%ymm0, %ymm1, %ymm2", "multiply256", 16, 0, 0),
        ("vmulsd\t8(%rsp), %xmm1, %xmm2", "multiply128", 1, 8, 0),
        ("vaddpd\t(%rax){1to8}, %zmm1, %zmm2", "add512", 8, 8, 0),
        ("vsubss\t%xmm0, %xmm1, %xmm2", "add128", 1, 0, 0),
        ("vdivpd\t%zmm1, %zmm2, %zmm3", "divide64_512", 8, 0, 0),
        ("vsqrtps\t%xmm1, %xmm2", "root32_128", 4, 0, 0),
        ("vpmuludq\t%zmm1, %zmm2, %zmm3", "product512", 0, 0, 0),
        ("vpternlogq\t$150, %zmm1, %zmm2, %zmm3 {%k1}", "other512", 0, 0, 0),
        ("vcmpltpd\t%zmm1, %zmm2, %k1", "other512", 0, 0, 0),
        ("vmovupd\t(%rax), %zmm1", None, 0, 64, 0),
        ("vmovapd\t%zmm1, 128(%rsp)", None, 0, 0, 64),
        ("vmovapd\t%zmm1, %zmm2", None, 0, 0, 0),
        ("vmovsd\t%xmm1, (%rax)", None, 0, 0, 8),
        ("vbroadcastsd\t(%rax), %zmm1", None, 0, 8, 0),
        ("vpbroadcastq\t%rax, %zmm1", "other512", 0, 0, 0),
        ("movq\t8(%rsp), %rax", None, 0, 8, 0),
        ("addq\t$1, (%rax)", None, 0, 8, 8),
        ("cmpl\t$1, (%rax)", None, 0, 4, 0),
        ("incq\t(%rax)", None, 0, 8, 8),
        ("leaq\t8(%rax), %rcx", None, 0, 0, 0),
        ("pushq\t%rbp", None, 0, 0, 8),
        ("vzeroupper", None, 0, 0, 0),
    ],
)
def test_instructions_are_read(line, unit, flops, loaded, stored):
    one = assembly.read(line)
    assert (one.slot, one.flops) == (unit, flops)
    assert (one.load[1] if one.load else 0, one.store[1] if one.store else 0) == (loaded, stored)


def test_every_slot_is_a_class_of_its_own():
    assert len(set(CLASSES)) == len(CLASSES) == len(UNITS) * len(WIDTHS) + 5
    assert all(slot(unit, width) in SLOTS for unit in UNITS for width in WIDTHS)


def test_rates_are_those_of_a_processor():
    found = assembly.rates()
    for unit in UNITS:
        narrow, middle = found[slot(unit, 128)], found[slot(unit, 256)]
        assert middle < 1.5 * narrow
        wide = found.get(slot(unit, 512), middle)
        assert 0.3 * middle < wide < 1.5 * middle
    assert found["divide64_256"] < 0.5 * found["add256"]
    assert found["divide64_256"] < 1.2 * found["divide32_256"]
    assert found["root64_256"] < 1.5 * found["divide64_256"]
    assert max(found.values()) < 1.5 * found["issue"]
