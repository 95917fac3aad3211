"""Categorical and prior proposals. Exact tests."""

import numpy as np
import pytest

from logpx.errors import InputError, NotAvailableError
from logpx.models import REGISTRY, GaussianMixture
from logpx.proposals import Categorical, Prior

RNG = np.random.default_rng(11)


def draw(q, noise, row=None):
    z, log_q = np.full(noise.shape, np.nan), np.full(noise.shape[1], np.nan)
    q.kernel(q.lam if row is None else q.lam[row], q.dims, noise, z, log_q)
    return z, log_q


@pytest.mark.parametrize("n_states", [1, 2, 5, 16, 17, 100])
def test_kernel_inverts_the_cumulative_sum(n_states):
    p = RNG.dirichlet(np.full(n_states, 0.7))
    noise = RNG.random((1, 2000))
    z, log_q = draw(Categorical(p), noise)
    expected = np.searchsorted(np.cumsum(p)[:-1], noise[0], side="right")
    np.testing.assert_array_equal(z[0], expected)
    np.testing.assert_allclose(log_q, np.log(p)[expected], rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(Categorical(p).log_density(z.T), log_q, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("pad", [0, 20])
def test_state_of_probability_zero_is_never_drawn(pad):
    """Neither on an edge nor where rounding leaves the cumulative sum below 1; log q = −inf is a weight of +inf."""
    p = np.concatenate([[0.0], np.full(10, 0.1), np.zeros(2 + pad)])
    edges = np.cumsum(p[:-1])
    noise = np.concatenate([edges, [2.0**-53, 1 - 2.0**-53, 0.9999999999999999]])[None]
    z, log_q = draw(Categorical(p), noise[:, (noise[0] > 0) & (noise[0] < 1)])
    assert np.all(np.isfinite(log_q))
    assert set(z[0]) <= set(range(1, 11))
    assert Categorical(p).missing_mass is None


def test_rows():
    p = RNG.dirichlet(np.ones(4), size=3)
    q = Categorical(p)
    assert q.lam.shape == (3, 8)
    for i in range(3):
        np.testing.assert_array_equal(q.lam[i], Categorical(p[i]).lam)
    z = np.array([[[0.0], [1.0], [2.0]], [[3.0], [4.0], [0.5]]])
    expected = np.array([[p[0, 0], p[1, 1], p[2, 2]], [p[0, 3], 0.0, 0.0]])
    np.testing.assert_allclose(np.exp(q.log_density(z)), expected, rtol=1e-14)


@pytest.mark.parametrize(
    ("probabilities", "message"),
    [
        ([0.5, 0.6], "add up to 1.1"),
        ([1.5, -0.5], "every one must be at least zero"),
        ([np.nan, 1.0], r"probabilities\[0\] is nan"),
        ([[[1.0]]], "needs 1 or 2 axes"),
    ],
)
def test_misuse_says_what_is_wrong(probabilities, message):
    with pytest.raises(InputError, match=message):
        Categorical(probabilities)


def test_bind_tells_the_mass_of_states_left_out():
    model, X = GaussianMixture.example()
    shares = model.responsibilities(X)
    q = Categorical([0.0, 0.5, 0.5, 0.0]).bind(model, X)
    np.testing.assert_allclose(q.missing_mass, shares[:, 0] + shares[:, 3], rtol=1e-14)
    assert Categorical(np.full(4, 0.25)).bind(model, X).missing_mass == 0.0
    with pytest.raises(InputError, match="has 3 states and the model 4"):
        Categorical(np.full(3, 1 / 3)).bind(model, X)


@pytest.mark.parametrize("name", REGISTRY)
def test_prior_is_the_models(name):
    model, X = REGISTRY[name].example()
    if model.prior is None:
        with pytest.raises(NotAvailableError, match=f"{name} has no prior"):
            Prior().bind(model, X)
    else:
        assert Prior().bind(model, X) is model.prior


def test_prior_of_a_model_without_one():
    class Bare:
        name, prior = "bare", None

    with pytest.raises(NotAvailableError, match=r"bare has no prior .* Model\(…, prior=Gaussian\(mean, scale\)\)"):
        Prior().bind(Bare(), [0.0])
    with pytest.raises(NotAvailableError, match="bind it"):
        Prior().log_density([0.0])
    Bare.prior = "normal"
    with pytest.raises(InputError, match="prior is a str"):
        Prior().bind(Bare(), [0.0])
