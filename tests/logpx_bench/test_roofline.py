"""The roofs: compiled to what they claim to measure, and in proportion to one another. Of absolute numbers only the
clock's order of magnitude is looked at."""

import re

import numpy as np
import pytest

from logpx import _jit
from logpx_bench import assembly, roofline
from logpx_bench.counts import slot

pytestmark = pytest.mark.skipif(_jit.DISABLED, reason="there is no machine code under NUMBA_DISABLE_JIT")


@pytest.mark.skipif(not assembly.supported(), reason="machine code is read on x86-64 with AVX2 alone")
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_the_peak_is_multiply_adds_on_the_widest_registers(dtype):
    peak = _jit.uncached(roofline._peak)
    signature = (_jit.SCALARS[dtype][::1], roofline._I8)
    peak.compile(signature)
    (code,) = peak.inspect_asm().values()
    register = "zmm" if assembly.widest() == 512 else "ymm"
    packed = re.findall(rf"vfn?m(?:add|sub)\d+p{'d' if dtype == 'float64' else 's'}\b[^\n]*%{register}", code)
    assert len(packed) >= roofline.STREAMS * roofline.STEPS
    work = roofline.STREAMS * roofline._WIDTH
    total = assembly.executed(peak, (np.ones(work, dtype), 3))
    assert total["flops"] == 3 * 2 * roofline.STEPS * work
    assert total["flops"] > 0.5 * (total["load_bytes"] + total["store_bytes"])


@pytest.mark.parametrize("n", [1024, 1000, 1 << 18])
def test_arrays_of_a_triad_begin_at_lines_and_at_places_of_their_own_in_a_page(n):
    arrays = roofline.apart(n)
    starts = [one.ctypes.data for one in arrays]
    assert all(start % roofline.LINE == 0 for start in starts)
    places = sorted(start % roofline.PAGE for start in starts)
    gaps = np.diff([*places, places[0] + roofline.PAGE])
    assert gaps.min() >= roofline.PAGE // 4
    assert all(one.size == n and np.all(one == 1.0) for one in arrays)
    assert not any(np.shares_memory(one, other) for i, one in enumerate(arrays) for other in arrays[:i])


def test_limits_are_in_proportion():
    found = roofline.measure(repeats=5)
    assert 1.4 < found["fma_float32"] / found["fma_float64"] < 2.8
    assert 0.5 < found["clock"] < 10
    assert found["fma_float64"] > 2 * found["clock"]
    assert found["triad_l1"] > 1.2 * found["triad_memory"]
    assert all(value > 0 for value in found.values())
    if assembly.supported():
        by_instructions = 2 * assembly.widest() / 64 * found[f"rate_{slot('multiply', assembly.widest())}"]
        assert 0.6 < found["fma_float64"] / by_instructions < 1.4
