"""Exact tests of log-sum-exp: SciPy is the oracle, at ordinary values and at every edge."""

import math

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import special

import logpx
from logpx.errors import InputError

INF, NAN = math.inf, math.nan

EDGES = [
    [],
    [0.0],
    [-INF],
    [-INF, -INF],
    [INF],
    [INF, INF],
    [INF, -INF],
    [NAN],
    [NAN, -INF],
    [NAN, INF],
    [INF, 1.0, NAN],
    [1.0, -INF, 2.0],
    [1000.0, 1000.0],
    [-1000.0, -1000.0],
    [1e308, 1e308],
    [-1e308, 1e308],
    [5e-324, -5e-324],
    [0.0, -745.2],
]


@pytest.mark.parametrize("values", EDGES, ids=str)
def test_edges_are_scipys(values):
    with np.errstate(all="ignore"):
        # SciPy takes an empty sum along an axis only, below
        expected = special.logsumexp(np.array(values)) if values else -INF
    np.testing.assert_allclose(logpx.logsumexp(values), expected, rtol=4e-16, atol=0)


@pytest.mark.parametrize("n", [600, 9000])
@pytest.mark.parametrize("order", ["repeated", "one after the other"])
@pytest.mark.parametrize("values", [one for one in EDGES if one], ids=str)
def test_edges_are_scipys_in_whole_blocks(values, order, n):
    """Repeated throughout, or in stretches of which each fills whole blocks of its own."""
    a = np.resize(values, n) if order == "repeated" else np.repeat(values, -(-n // len(values)))
    with np.errstate(all="ignore"):
        expected = special.logsumexp(a)
    np.testing.assert_allclose(logpx.logsumexp(a), expected, rtol=1e-15, atol=4e-16)


def test_empty_axes_are_minus_infinity_like_scipys():
    empty = np.empty((3, 0))
    np.testing.assert_array_equal(logpx.logsumexp(empty, axis=1), special.logsumexp(empty, axis=1))
    assert logpx.logsumexp(np.empty((0, 3)), axis=1).shape == (0,)
    assert logpx.logsumexp(empty, axis=0).shape == (0,)


#: A strip is 64, a step 512, a block 4096: each at its edge, with and without a rest.
LENGTHS = [1, 2, 63, 64, 65, 511, 512, 513, 575, 576, 577, 1023, 1024, 1025, 3000, 4095, 4096, 4097, 9000, 100_001]


@pytest.mark.parametrize("n", LENGTHS)
def test_lengths_around_the_block(n):
    a = np.random.default_rng(n).normal(0.0, 50.0, n)
    np.testing.assert_allclose(logpx.logsumexp(a), special.logsumexp(a), rtol=5e-16)


@pytest.mark.parametrize("position", [0, 63, 64, 1023, 1024, 2047, 2999])
@pytest.mark.parametrize("value", [NAN, INF])
def test_one_bad_element_anywhere_decides(position, value):
    a = np.zeros(3000)
    a[position] = value
    np.testing.assert_array_equal(logpx.logsumexp(a), value)


@pytest.mark.parametrize("rise", [3.9, 4.1, 30.0, 701.0, 1e5])
@pytest.mark.parametrize("position", [0, 700, 4095, 4096, 9999])
def test_a_late_large_element_moves_the_shift(rise, position):
    """The shift is the largest seen so far: one further up by more than a little has its block summed again."""
    a = np.random.default_rng(3).normal(-5.0, 1.0, 10_000)
    a[position] = a.max() + rise
    np.testing.assert_allclose(logpx.logsumexp(a), special.logsumexp(a), rtol=5e-16)


@pytest.mark.parametrize("spread", [0.0, 1e-8, 1.0, 3.0, 20.0, 300.0])
def test_right_to_three_units_in_the_last_place(spread):
    """Against mpmath, in units of 2^−53 of the larger of the result and 1."""
    rng = np.random.default_rng(11)
    with mpmath.workdps(40):
        for n in (65, 600, 5000):
            a = rng.normal(10.0, 1.0) + spread * rng.normal(size=n)
            exact = mpmath.log(mpmath.fsum(mpmath.exp(mpmath.mpf(value)) for value in a.tolist()))
            apart = abs(mpmath.mpf(float(logpx.logsumexp(a))) - exact)
            assert apart <= 3 * 2.0**-53 * max(1.0, abs(float(exact)))


@pytest.mark.parametrize("axis", [None, 0, 1, 2, -1, (0, 2), (0, 1, 2)])
def test_axes(axis):
    a = np.random.default_rng(1).normal(size=(3, 4, 5))
    np.testing.assert_allclose(logpx.logsumexp(a, axis), special.logsumexp(a, axis), rtol=1e-15)
    strided = a[::-1, ::2]
    np.testing.assert_allclose(logpx.logsumexp(strided, axis), special.logsumexp(strided, axis), rtol=1e-15)


def test_a_million_equal_elements_lose_nothing():
    n = 1 << 20
    assert logpx.logsumexp(np.full(n, -3.0)) == pytest.approx(-3.0 + math.log(n), abs=2e-15)


@given(hnp.arrays(np.float64, st.integers(0, 200), elements=st.floats(allow_nan=True, allow_infinity=True, width=64)))
@settings(deadline=None, max_examples=200)
def test_any_input_is_scipys(a):
    with np.errstate(all="ignore"):
        expected = special.logsumexp(a) if a.size else -INF
    np.testing.assert_allclose(logpx.logsumexp(a), expected, rtol=1e-15, atol=1e-15)


@pytest.mark.parametrize("bad", [["a"], [1j], [[1.0], [1.0, 2.0]]], ids=str)
def test_what_is_not_real_is_refused(bad):
    with pytest.raises(InputError, match="real numbers"):
        logpx.logsumexp(bad)


@pytest.mark.parametrize("axis", [2, -3, (0, 0)])
def test_an_axis_that_is_not_there_is_refused(axis):
    with pytest.raises(InputError, match="does not fit"):
        logpx.logsumexp(np.zeros((2, 2)), axis=axis)
