"""The hidden Markov model against enumeration of paths and of data. Exact, except the moments of samples."""

import numpy as np
import pytest

from logpx.errors import InputError
from logpx.models import HiddenMarkov
from logpx_bench.second_routes.states import every_state, path_products

PATHS = every_state(6, 3)


def log_joint(model, x, Z):
    out = np.empty(len(Z))
    model.log_joint(model.theta, model.dims, np.asarray(x, dtype=float), np.ascontiguousarray(np.transpose(Z)), out)
    return out


def left_to_right():
    """A model with forbidden moves and symbols."""
    transition = [[0.7, 0.3, 0.0], [0.0, 0.6, 0.4], [0.0, 0.0, 1.0]]
    return HiddenMarkov([1.0, 0.0, 0.0], transition, [[0.9, 0.1, 0.0], [0.0, 0.5, 0.5], [0.3, 0.0, 0.7]], n_steps=6)


@pytest.mark.second_route("hidden_markov")
def test_log_joint_and_log_marginal_are_products_and_their_sum():
    model, X = HiddenMarkov.example()
    for x in X:
        expected = path_products(model, x, PATHS)
        np.testing.assert_allclose(log_joint(model, x, PATHS), np.log(expected), rtol=1e-12)
        np.testing.assert_allclose(model.log_marginal(x), np.log(expected.sum()), rtol=1e-12)


@pytest.mark.second_route("hidden_markov")
def test_p_of_x_adds_up_to_one():
    model, _ = HiddenMarkov.example()
    every = every_state(6, 4)
    np.testing.assert_allclose(np.exp(model.log_marginal(every)).sum(), 1.0, rtol=1e-12)


def test_zeros_are_legal():
    model = left_to_right()
    X = model.sample(20, 3)
    for x in X:
        expected = path_products(model, x, PATHS)
        with np.errstate(divide="ignore"):
            np.testing.assert_allclose(log_joint(model, x, PATHS), np.log(expected), rtol=1e-12)
        np.testing.assert_allclose(model.log_marginal(x), np.log(expected.sum()), rtol=1e-12)
        shares = np.exp(model.posterior(x).log_density(PATHS))
        np.testing.assert_allclose(shares, expected / expected.sum(), rtol=1e-11, atol=1e-300)
        default = model.default_proposal(x).log_density(PATHS)
        assert np.all(np.isfinite(default[expected > 0]))
    impossible = [2.0, 0, 0, 0, 0, 0]
    assert model.log_marginal(impossible) == -np.inf
    with pytest.raises(InputError, match="row 1 of x has probability zero under the model"):
        model.default_proposal([X[0], impossible])


def test_what_cannot_be_has_density_zero():
    model, X = HiddenMarkov.example()
    Z = np.zeros((5, 6))
    Z[[0, 1, 2, 3], [0, 5, 2, 3]] = [-1, 3, 0.5, np.nan]
    values = log_joint(model, X[0], Z)
    assert np.all(values[:3] == -np.inf)
    assert np.isnan(values[3])
    assert np.isfinite(values[4])
    assert all(model.log_joint_scalar(model.theta, model.dims, X[0], z) == -np.inf for z in Z[:3])
    for bad in (-1.0, 4.0, 0.5):
        x = np.array([0, 0, 0, bad, 0, 0])
        assert np.all(log_joint(model, x, Z[4:]) == -np.inf)
        assert model.log_joint_scalar(model.theta, model.dims, x, Z[4]) == -np.inf


def test_long_sequences_do_not_underflow():
    """2000 steps, p(x) about e^−1300: states that do not matter, so that p(x) is a product."""
    emission = np.tile([0.2, 0.3, 0.5], (2, 1))
    model = HiddenMarkov([0.3, 0.7], [[0.9, 0.1], [0.4, 0.6]], emission, n_steps=2000)
    x = np.random.default_rng(0).integers(0, 3, 2000)
    expected = np.log(emission[0])[x].sum()
    np.testing.assert_allclose(model.log_marginal(x), expected, rtol=1e-12)
    np.testing.assert_allclose(model.posterior(x).steps[:, 0], model.prior.steps[:, 0], rtol=1e-10)


def test_moments_of_samples():
    """z-scores of how often each state and each symbol is met at each step, 2^16 rows, 42 of them.

    |z| ≤ 6: false alarm 8e-8. Detects a share off by 0.012.
    """
    model, _ = HiddenMarkov.example()
    n = 2**16
    X, Z = model.sample(n, 8, return_latents=True)
    state = model.initial
    for t in range(6):
        for found, share in ((Z[:, t], state), (X[:, t], state @ model.emission)):
            counts = np.bincount(found.astype(int), minlength=len(share)) / n
            assert np.all(np.abs(counts - share) < 6 * np.sqrt(share * (1 - share) / n))
        state = state @ model.transition


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0.5, 0.5], np.eye(3), np.ones((2, 1)), 4), r"transition \(3, 3\), emission \(2, 1\) do not fit"),
        (([0.5, 0.5], np.eye(2), np.ones((3, 1)), 4), r"emission \(3, 1\) do not fit"),
        (([0.5, 0.6], np.eye(2), np.ones((2, 1)), 4), "initial add up to 1.1"),
        (([0.5, 0.5], np.ones((2, 2)), np.ones((2, 1)), 4), "transition add up to 2"),
        (([0.5, 0.5], np.eye(2), [[1.5, -0.5]] * 2, 4), "emission hold -0.5"),
        (([0.5, 0.5], np.eye(2), np.ones((2, 1)), 1), "n_steps=1: a whole number from 2"),
    ],
)
def test_bad_parameters_say_what_is_wrong(arguments, message):
    with pytest.raises(InputError, match=message):
        HiddenMarkov(*arguments)


def test_bad_data_say_what_is_wrong():
    model, _ = HiddenMarkov.example()
    with pytest.raises(InputError, match=r"x holds 4.0 at column 5 .* from 0 to 3"):
        model.log_marginal([0, 0, 0, 0, 0, 4])
