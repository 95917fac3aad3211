"""Sums over all states of a binary layer against NumPy's, state by state. Exact tests."""

import itertools

import numpy as np
import pytest

from logpx.models.binary_states import linear, softplus_sums, unpacked

RNG = np.random.default_rng(7)


def every_state(d):
    """In the order Σ z_k 2^k."""
    return np.array(list(itertools.product([0.0, 1.0], repeat=d)))[:, ::-1]


@pytest.mark.parametrize(("p", "d"), [(1, 1), (5, 3), (3, 6), (4, 7), (10, 12), (600, 4)])
def test_sums_are_those_of_every_state(p, d):
    """One layer of lanes, or part of it; several Gray-code steps; more units than one logarithm takes."""
    weights, bias = 3 * RNG.standard_normal((p, d)), 3 * RNG.standard_normal(p)
    expected = np.logaddexp(0.0, bias + every_state(d) @ weights.T).sum(axis=1)
    np.testing.assert_allclose(softplus_sums(weights, bias), expected, rtol=1e-13)


def test_rounding_does_not_add_up():
    """2^18 states, four refreshed stretches: no worse at the end of one than at its start."""
    weights, bias = 10 * RNG.standard_normal((2, 18)), RNG.standard_normal(2)
    expected = np.logaddexp(0.0, bias[:, None] + np.stack([linear(row) for row in weights])).sum(axis=0)
    np.testing.assert_allclose(softplus_sums(weights, bias), expected, rtol=0, atol=2e-11)


def test_activations_far_out():
    assert softplus_sums(np.array([[2000.0]]), np.array([-1000.0])).tolist() == [0.0, 1000.0]


def test_linear_and_unpacked_keep_the_order():
    slopes = RNG.standard_normal(5)
    np.testing.assert_allclose(linear(slopes), every_state(5) @ slopes, rtol=1e-13, atol=1e-15)
    np.testing.assert_array_equal(unpacked(np.arange(32), 5), every_state(5))
