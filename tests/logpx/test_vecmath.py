"""Exact tests of vecmath: every function against mpmath in units in the last place, special values, planted bugs.

One ulp is the spacing of doubles at the exact value, 2^−1074 among subnormals. Inputs are spread over the whole
range in exponent and denser where a function changes method; they are the same at every run. The bounds asserted
are those of the module's table.
"""

import os
import subprocess
import sys

import mpmath
import numba
import numpy as np
import pytest
from numba.extending import register_jitable

from logpx import _jit, vecmath

pytestmark = pytest.mark.skipif(_jit.DISABLED, reason="the plain-Python mode is tested in a subprocess")

N = 1500


def _powers(rng, low, high, n):
    return 2.0 ** rng.uniform(low, high, n)


def _signed(rng, x):
    return x * rng.choice([-1.0, 1.0], x.size)


def _inputs(name):
    rng = np.random.default_rng(20240)

    def both(low, high, n):
        return _signed(rng, _powers(rng, low, high, n))

    uniform, powers = rng.uniform, lambda low, high, n: _powers(rng, low, high, n)
    parts = {
        "exp": lambda: (
            uniform(-745.2, 709.78, 2 * N),
            uniform(-745.2, -708, N),
            uniform(-1, 1, N),
            both(-60, 9, N),
            uniform(709.4, 709.78, N // 4),
        ),
        "exp_narrow": lambda: (uniform(-700, 700, 2 * N), uniform(-1, 1, N), both(-60, 9, N)),
        "expm1": lambda: (
            uniform(-60, 709.78, N),
            uniform(-2, 2, 2 * N),
            both(-70, 3, N),
            both(-1074, -20, N),
            uniform(709.4, 709.78, N // 4),
        ),
        "log": lambda: (
            powers(-1074, 1024, N),
            uniform(0.5, 2, 2 * N),
            1 + both(-52, -1.01, N),
            powers(-1074, -1020, N),
        ),
        "log1p": lambda: (
            powers(-1074, 1024, N),
            -powers(-1074, -1e-9, N),
            uniform(-0.99, 3, 2 * N),
            powers(-52, -1, N) - 1,
            powers(-60, 2, N),
        ),
        "softplus": lambda: (
            uniform(-745, 745, N),
            uniform(-40, 40, 2 * N),
            both(-60, 9.5, N),
            uniform(-745.1, -708, N),
        ),
        "normal_quantile": lambda: (
            uniform(0, 1, N),
            powers(-1074, -1, N),
            0.5 + both(-54, -1.01, N // 2),
            1 - powers(-52.9, -1, N // 2),
            uniform(0.06, 0.09, N),
            [5e-324, 1e-300, 1 - 2.0**-53, 0.075, 0.925],
        ),
    }
    turns = (
        uniform(-2, 2, 2 * N),
        both(-1074, 53, N),
        np.round(uniform(-32, 32, N)) / 4 + both(-60, -3, N),
        both(40, 53, N),
    )
    return np.concatenate(parts[name]()) if name in parts else np.concatenate(turns)


def _exact_quantile(u):
    """Newton's method on log P(Z > z) = log p at 200 bits; erfinv where p is not small."""
    if u == 0.5:
        return mpmath.mpf(0)
    p = u if u < 0.5 else 1 - u
    if p > 0.01:
        return mpmath.sqrt(2) * mpmath.erfinv(2 * u - 1)
    y = -mpmath.log(p)
    z = mpmath.sqrt(2 * y - mpmath.log(4 * mpmath.pi * y))
    for _ in range(20):
        tail = mpmath.erfc(z / mpmath.sqrt(2)) / 2
        step = (mpmath.log(tail) + y) * tail / mpmath.npdf(z)
        z += step
        if abs(step) < mpmath.mpf(2) ** -120:
            break
    return -z if u < 0.5 else z


ORACLES = {
    "exp": (mpmath.exp, 1.0),
    "exp_narrow": (mpmath.exp, 1.0),
    "expm1": (mpmath.expm1, 2.0),
    "log": (mpmath.log, 1.0),
    "log1p": (mpmath.log1p, 2.0),
    "softplus": (lambda x: mpmath.log1p(mpmath.exp(x)), 2.0),
    "sin_2pi": (lambda u: mpmath.sinpi(2 * u), 2.0),
    "cos_2pi": (lambda u: mpmath.cospi(2 * u), 2.0),
    "normal_quantile": (_exact_quantile, 4.0),
}


def _loop(function, flags=("contract",)):
    @numba.njit(fastmath=set(flags), error_model="numpy")
    def loop(x, out):
        for i in range(x.size):
            out[i] = function(x[i])

    def values(x):
        x = np.asarray(x, dtype=np.float64)
        out = np.empty_like(x)
        loop(x, out)
        return out

    return values


def _ulps(name, x, values):
    oracle = ORACLES[name][0]
    errors = np.empty(x.size)
    with mpmath.workprec(200):
        for i, (argument, value) in enumerate(zip(x, values, strict=True)):
            exact = oracle(mpmath.mpf(float(argument)))
            with np.errstate(over="ignore"):
                unit = np.spacing(abs(float(exact)))
            errors[i] = abs(mpmath.mpf(float(value)) - exact) / mpmath.mpf(float(unit))
    return errors


def _assert_within(name, x, values, limit):
    errors = _ulps(name, x, values)
    assert np.isfinite(errors).all(), f"{name}: not finite at {x[~np.isfinite(errors)][:5]}"
    worst = int(np.argmax(errors))
    assert errors[worst] <= limit, f"{name}({x[worst]!r}) is {errors[worst]:.2f} ulp off, {limit} allowed"


@pytest.mark.parametrize("name", ORACLES)
def test_within_stated_ulp_of_mpmath(name):
    x = _inputs(name)
    _assert_within(name, x, _loop(getattr(vecmath, name))(x), ORACLES[name][1])


INF, NAN = np.inf, np.nan
TINIEST = 5e-324
SPECIAL = {
    "exp": (
        ((0.0, -0.0, TINIEST, -TINIEST), (1, 1, 1, 1)),
        ((INF, 1e308, 710.0, -746.0, -1e308, -INF, -745.13), (INF, INF, INF, 0.0, 0.0, 0.0, TINIEST)),
    ),
    "exp_narrow": (((0.0, -0.0, TINIEST, -TINIEST), (1, 1, 1, 1)),),
    "expm1": (
        ((0.0, -0.0, TINIEST, -TINIEST, -1e-300), (0.0, -0.0, TINIEST, -TINIEST, -1e-300)),
        ((INF, 1e308, 710.0, -1e308, -INF), (INF, INF, INF, -1, -1)),
    ),
    "log": (
        ((0.0, -0.0, 1.0, INF, TINIEST), (-INF, -INF, 0.0, INF, -744.4400719213812)),
        ((-TINIEST, -1.0, -1e308, -INF), (NAN, NAN, NAN, NAN)),
    ),
    "log1p": (
        ((0.0, -0.0, TINIEST, -TINIEST, -1.0, INF), (0.0, -0.0, TINIEST, -TINIEST, -INF, INF)),
        ((-1.0 - 2.0**-52, -1e308, -INF), (NAN, NAN, NAN)),
    ),
    "softplus": (((INF, 1e308, 800.0, -745.13, -1e308, -INF), (INF, 1e308, 800.0, TINIEST, 0.0, 0.0)),),
    "sin_2pi": (
        ((0.0, -0.0, 1e308, 2.0**52 + 1, INF, -INF), (0.0, -0.0, 0.0, 0.0, NAN, NAN)),
        ((2.0**50 + 0.25, -(2.0**50) - 0.25, 2.0**50 + 0.75), (1, -1, -1)),
    ),
    "cos_2pi": (
        ((0.0, -0.0, TINIEST, 1e308, INF, -INF), (1, 1, 1, 1, NAN, NAN)),
        ((2.0**51 + 0.5, -(2.0**51) - 0.5, 2.0**52 - 0.5, -(2.0**52) + 0.5), (-1, -1, -1, -1)),
    ),
    "normal_quantile": (
        ((0.0, -0.0, 0.5, 1.0), (-INF, -INF, 0.0, INF)),
        ((-TINIEST, -1.0, 1 + 2.0**-52, 2.0, INF, -INF), (NAN, NAN, NAN, NAN, NAN, NAN)),
    ),
}
REPEATS = 37  # long enough for the packed body of a loop, odd so that its scalar end is run too
ODD_AT_ZERO = {"expm1", "log1p", "sin_2pi"}


@pytest.mark.parametrize("name", ORACLES)
def test_special_values(name):
    function = _loop(getattr(vecmath, name))
    assert np.isnan(function(np.full(REPEATS, NAN))).all()
    for arguments, expected in SPECIAL[name]:
        np.testing.assert_array_equal(function(np.tile(arguments, REPEATS)), np.tile(expected, REPEATS))
    if name in ODD_AT_ZERO:
        signs = np.signbit(function(np.tile([0.0, -0.0], REPEATS)))
        np.testing.assert_array_equal(signs, np.tile([False, True], REPEATS))


def test_sin_and_cos_are_exact_at_quarter_turns():
    quarters = np.arange(-4096, 4097)
    quadrant = quarters % 4
    np.testing.assert_array_equal(_loop(vecmath.sin_2pi)(quarters / 4), np.array([0, 1, 0, -1])[quadrant])
    np.testing.assert_array_equal(_loop(vecmath.cos_2pi)(quarters / 4), np.array([1, 0, -1, 0])[quadrant])


def test_quantile_is_odd_where_one_minus_u_is_exact():
    u = np.arange(1, 2**12) / 2**12
    values = _loop(vecmath.normal_quantile)(u)
    np.testing.assert_array_equal(values, -values[::-1])


def test_bits_and_floats_are_the_same_64_bits():
    @numba.njit
    def there_and_back(x):
        return vecmath.float_of(vecmath.bits_of(x))

    @numba.njit
    def bits(x):
        return vecmath.bits_of(x)

    for x in (1.0, -2.5, 5e-324, np.inf, -0.0):
        assert bits(x) == np.float64(x).view(np.uint64)
        assert np.float64(there_and_back(x)).view(np.uint64) == np.float64(x).view(np.uint64)


def test_fma_rounds_once():
    @numba.njit
    def residue(a, b):
        return vecmath.fma(a, b, -(a * b))

    assert residue(1 + 2.0**-30, 1 + 2.0**-30) == 2.0**-60
    assert residue(0.1, 10.0) == 2.0**-54


def test_ulp_bound_catches_reassociation():
    """Planted: inlined with a caller's free reassociation, the 1.5·2^52 rounding folds away. A leaf is immune."""
    free = ("contract", "reassoc", "nsz")
    planted = numba.njit(inline="always", error_model="numpy")(vecmath.exp.py_func)
    x = np.linspace(-20, 20, 200)
    assert np.max(_ulps("exp", x, np.nan_to_num(_loop(planted, free)(x)))) > 1.0
    _assert_within("exp", x, _loop(vecmath.exp, free)(x), 1.0)


def test_ulp_bound_catches_a_wrong_digit():
    """Planted: exp with an error of 4e-16 relative; log1p without its correction."""
    x = np.linspace(-5, 5, 200)
    assert _ulps("exp", x, _loop(vecmath.exp)(x) * (1 + 2.0**-51)).max() > 1.0
    log, y = vecmath.log, np.linspace(1e-3, 1e-2, 200)
    naive = _loop(register_jitable(lambda value: log(1.0 + value)))(y)
    assert _ulps("log1p", y, naive).max() > 2.0


PLAIN = """
import sys
import numpy as np
from logpx import _jit, vecmath
assert _jit.DISABLED
names, x = sys.argv[1].split(","), np.load(sys.argv[2])
np.save(sys.argv[3], np.array([[getattr(vecmath, n)(v) for v in row] for n, row in zip(names, x)]))
assert vecmath.fma(0.1, 10.0, -1.0) == 2.0**-54
assert vecmath.fma(1e308, 10.0, 0.0) == np.inf and np.isnan(vecmath.fma(np.inf, 0.0, 1.0))
"""


def test_plain_python_agrees_with_mpmath(tmp_path):
    """Without Numba nothing is fused: one ulp more is allowed. Warnings are errors there too."""
    names = list(ORACLES)
    x = np.array([_inputs(name)[:: len(_inputs(name)) // 300][:300] for name in names])
    np.save(tmp_path / "x.npy", x)
    subprocess.run(
        [sys.executable, "-W", "error", "-c", PLAIN, ",".join(names), tmp_path / "x.npy", tmp_path / "values.npy"],
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
        check=True,
    )
    for name, row, values in zip(names, x, np.load(tmp_path / "values.npy"), strict=True):
        _assert_within(name, row, values, ORACLES[name][1] + 1.0)
