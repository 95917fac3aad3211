"""Exact tests of one block's tree: the gap of a pair against mpmath, the fused passes against one level at a time,
and the machine code. What the levels mean is tested in test_ladder.py, against brute force."""

import json
import os
import re
import subprocess
import sys

import mpmath
import numpy as np
import pytest
from tests.logpx.test_vecmath_assembly import MACHINE, PACKED, SCALAR, libm_calls

from logpx import _jit, dyadic, tree
from logpx._jit import BLOCK

compiled_only = pytest.mark.skipif(_jit.DISABLED, reason="plain Python does not fuse, and is tested in a subprocess")


def ratios():
    """log(b/a), both signs, from equal to 600 nats apart, dense where a power of two is taken off."""
    rng = np.random.default_rng(1)
    steps = np.log(2.0) * (np.arange(1, 40) - 0.5) + np.log(4.0)
    near = np.concatenate([steps + 1e-9 * rng.standard_normal(steps.size) for _ in range(8)])
    sizes = np.concatenate([10.0 ** rng.uniform(-16, 0, 1500), rng.uniform(0, 8, 1500), rng.uniform(0, 600, 500), near])
    return sizes * rng.choice([-1.0, 1.0], sizes.size)


@compiled_only
def test_gap_within_seven_ulp_of_mpmath():
    a = np.exp(np.random.default_rng(2).uniform(-20, 20, ratios().size))
    b = a * np.exp(ratios())
    kept = (b > 1e-140) & (b < 1e140)
    a, b = a[kept], b[kept]
    out = np.empty(a.size)
    _each(a, b, out)
    mpmath.mp.dps = 50
    worst = 0.0
    for x, y, found in zip(a.tolist(), b.tolist(), out.tolist(), strict=True):
        exact = mpmath.log((mpmath.mpf(x) + y) / 2) - (mpmath.log(x) + mpmath.log(y)) / 2
        worst = max(worst, float(abs(found - exact) / np.spacing(float(exact)) if exact else found))
    assert worst <= 7.0


@_jit.inner
def _each(a, b, out):
    for i in range(a.size):
        out[i] = tree.jensen_gap(a[i], b[i])


def test_gap_of_equal_weights_is_zero():
    for w in (1.0, 1e-140, 1e140, 0.3):
        assert tree.jensen_gap(w, w) == 0.0


@_jit.inner
def _one_level_at_a_time(logs, moments, head, s):
    mean, _ = tree._centre(logs, logs.size, s)
    head[dyadic.REL_M2] = tree._exponentiate(logs, logs.size, mean, s)
    tree._levels(s, logs.size, True, False, mean, moments)
    head[dyadic.LOG_MEAN], head[dyadic.HEAD_GAP] = mean + s[tree._X], s[tree._G]


@pytest.mark.parametrize("spread", [1e-9, 0.3, 2.0, 8.0])
def test_fused_levels_are_the_levels_one_at_a_time(spread):
    """Same groups, same numbers: the two differ by the rounding of their sums alone."""
    logs = np.random.default_rng(3).normal(-50.0, spread, BLOCK)
    shape = (dyadic.N_FAMILIES, 3, dyadic.LOG2_BLOCK + 1)
    moments, expected = np.zeros(shape), np.zeros(shape)
    head, expected_head = np.zeros(4), np.zeros(4)
    workspace = np.empty(tree.WORKSPACE)
    tree.block_tree(logs, BLOCK, moments, head, workspace)
    _one_level_at_a_time(logs, expected, expected_head, workspace)
    np.testing.assert_allclose(head, expected_head, rtol=1e-12)
    np.testing.assert_array_equal(moments[:, 0, 1:], expected[:, 0, 1:])
    np.testing.assert_allclose(moments[:, 1, 1:], expected[:, 1, 1:], rtol=1e-13)
    for family in range(dyadic.N_FAMILIES):
        found, wanted = moments[family, 2, 1:], expected[family, 2, 1:]
        np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-13 * wanted.max())


COMPILE = """
import json, sys
import numpy as np
from logpx import _jit, dyadic, tree
logs, s = np.random.default_rng(0).normal(size=_jit.BLOCK), np.empty(tree.WORKSPACE)
tree.block_tree(logs, _jit.BLOCK, np.zeros((4, 3, 11)), np.zeros(4), s)
passes = {"first three": tree._first_three, "second three": tree._second_three}
json.dump({name: "\\n".join(f.dispatcher.inspect_asm().values()) for name, f in passes.items()}, sys.stdout)
"""


@compiled_only
@pytest.mark.skipif(MACHINE not in PACKED, reason=f"packed instructions of {MACHINE} are not described here")
def test_the_passes_over_a_block_are_packed(tmp_path):
    """The 7 divisions and 7 polynomials of three levels are packed, and no scalar twin or library call stands beside.

    What this catches: constants or a workspace laid out so that LLVM cannot tell the passes apart, when the same code
    is compiled into scalar instructions, six times slower.
    """
    environment = {**os.environ, "LOGPX_CACHE_DIR": str(tmp_path)}  # a function from the cache shows no code
    done = subprocess.run([sys.executable, "-c", COMPILE], env=environment, check=True, capture_output=True, text=True)
    for name, code in json.loads(done.stdout).items():
        packed, scalar = len(re.findall(PACKED[MACHINE], code)), len(re.findall(SCALAR[MACHINE], code))
        assert libm_calls(code) == [], name
        assert packed >= 100, f"{name}: {packed} packed operations"
        assert scalar <= packed / 2, f"{name}: {packed} packed and {scalar} scalar operations"
