"""Exact tests of activations: functions against mpmath in units in the last place, special values, planted bugs.

One ulp is the spacing of the function's own precision at the exact value. The bounds are those of the module's table.
"""

import mpmath
import numpy as np
import pytest

from logpx import _jit, activations

pytestmark = pytest.mark.skipif(_jit.DISABLED, reason="the plain-Python mode is tested with the kernels that use it")

mp = mpmath.mp


def _phi(x):
    return mpmath.erfc(-x / mpmath.sqrt(2)) / 2


#: The exact function, the most ulp, and the precision.
ORACLES = {
    "tanh": (mpmath.tanh, 2.0, np.float64),
    "tanh32": (mpmath.tanh, 2.0, np.float32),
    "exp_minus32": (lambda x: mpmath.exp(-x), 1.0, np.float32),
    "sigmoid": (lambda x: 1 / (1 + mpmath.exp(-x)), 2.0, np.float64),
    "normal_tail": (lambda y: _phi(-y) * mpmath.exp(y * y / 2), 4.0, np.float64),
    "silu": (lambda x: x / (1 + mpmath.exp(-x)), 3.0, np.float64),
}
#: Those whose error is counted in ulp of max(|x|/2, |f(x)|).
GELUS = {
    "gelu": lambda x: x * _phi(x),
    "gelu_tanh": lambda x: x * (1 + mpmath.tanh(mpmath.sqrt(2 / mp.pi) * (x + x**3 * mpmath.mpf("0.044715")))) / 2,
}


def inputs(name):
    rng, dtype = np.random.default_rng(7), ORACLES.get(name, (None, None, np.float64))[2]
    tiny = -120 if dtype == np.float32 else -1022
    sizes = np.concatenate([2.0 ** rng.uniform(tiny, 4.3, 800), rng.uniform(0, 1, 800), rng.uniform(0, 25, 800)])
    if name in ("exp_minus32", "normal_tail"):
        x = np.concatenate([sizes, rng.uniform(0, 87, 500)])
    else:
        x = np.concatenate([sizes, -sizes, rng.uniform(-600, 20, 200) if name in ("sigmoid", "silu") else [0.0]])
    return x.astype(dtype)


def values_of(name, x):
    function = getattr(activations, name)

    @_jit.uncached
    def loop(x, out):
        for i in range(x.size):
            out[i] = function(x[i])

    out = np.empty_like(x)
    loop(x, out)
    return out


def ulps(oracle, x, values, floor=lambda x: 0.0):
    errors = np.empty(x.size)
    with mpmath.workprec(160):
        for i, (argument, value) in enumerate(zip(x, values, strict=True)):
            exact = oracle(mpmath.mpf(float(argument)))
            unit = np.spacing(x.dtype.type(max(abs(float(exact)), floor(float(argument)))))
            errors[i] = abs(mpmath.mpf(float(value)) - exact) / mpmath.mpf(float(unit))
    return errors


@pytest.mark.parametrize("name", ORACLES)
def test_within_stated_ulp_of_mpmath(name):
    oracle, most, _ = ORACLES[name]
    x = inputs(name)
    errors = ulps(oracle, x, values_of(name, x))
    assert errors.max() <= most, f"{name}({x[errors.argmax()]!r}) is {errors.max():.2f} ulp off, {most} allowed"


@pytest.mark.parametrize("name", GELUS)
def test_gelus_within_three_ulp_of_their_scale(name):
    x = inputs(name)
    errors = ulps(GELUS[name], x, values_of(name, x), floor=lambda x: abs(x) / 2)
    assert errors.max() <= 3.0


@pytest.mark.parametrize("name", ["tanh", "tanh32"])
def test_special_values_of_tanh(name):
    dtype = ORACLES[name][2]
    tiny = np.finfo(dtype).smallest_subnormal
    x = np.tile(np.array([0.0, -0.0, tiny, -tiny, np.inf, -np.inf, 1e30, np.nan], dtype), 9)
    found = values_of(name, x)
    np.testing.assert_array_equal(found, np.tile([0.0, -0.0, tiny, -tiny, 1, -1, 1, np.nan], 9).astype(dtype))
    np.testing.assert_array_equal(np.signbit(found[:4]), [False, True, False, True])


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("code", range(len(activations.ACTIVATIONS)))
def test_every_activation_by_its_code(code, dtype):
    """In float64 and float32, against mpmath; nan stays nan."""
    name = activations.ACTIVATIONS[code]
    exact = {
        "identity": lambda x: x,
        "relu": lambda x: max(x, mpmath.mpf(0)),
        "softplus": lambda x: mpmath.log1p(mpmath.exp(x)),
        "tanh": mpmath.tanh,
        "sigmoid": ORACLES["sigmoid"][0],
        "silu": ORACLES["silu"][0],
        **GELUS,
    }[name]
    x = np.append(np.linspace(-9, 9, 61), np.nan).astype(dtype)
    found = x.copy()
    activations.activate(code, found)
    assert np.isnan(found[-1])
    expected = [float(exact(mpmath.mpf(float(v)))) for v in x[:-1]]
    eps = np.finfo(dtype).eps
    np.testing.assert_allclose(found[:-1], expected, rtol=4 * eps, atol=8 * eps if "gelu" in name else 0)


def test_the_bound_catches_cancellation():
    """Planted: (e^{2x} − 1)/(e^{2x} + 1) as it stands loses its digits near 0."""
    x = np.linspace(1e-3, 1e-2, 50)
    assert ulps(mpmath.tanh, x, (np.exp(2 * x) - 1) / (np.exp(2 * x) + 1)).max() > 2.0
