"""Uniform proposals: boxes, finite sets, boxes that a model chooses, and the mass they leave out. Exact tests."""

import numpy as np
import pytest
from scipy import stats

from logpx.errors import InputError, NotAvailableError
from logpx.models import PPCA, ConjugateNormal, GaussianMixture
from logpx.proposals import Gaussian, Uniform

RNG = np.random.default_rng(7)


def draw(q, noise, dtype="float64"):
    z, log_q = np.full(noise.shape, np.nan, dtype), np.full(noise.shape[1], np.nan)
    q.kernel(q.lam.astype(dtype), q.dims, noise.astype(dtype), z, log_q)
    return z, log_q


def test_box_kernel_is_the_map_and_its_density():
    low, high = np.array([-1.0, 2.0, 0.0]), np.array([0.5, 2.25, 7.0])
    noise = RNG.random((3, 300))
    z, log_q = draw(Uniform(low, high), noise)
    np.testing.assert_allclose(z, low[:, None] + (high - low)[:, None] * noise, rtol=1e-15, atol=1e-15)
    np.testing.assert_allclose(log_q, stats.uniform(low, high - low).logpdf(z.T).sum(axis=1), rtol=1e-14)
    np.testing.assert_allclose(Uniform(low, high).log_density(z.T), log_q, rtol=1e-14)
    assert Uniform(low, high).log_density([0.0, 2.1, 7.1]) == -np.inf


def test_box_in_float32():
    q = Uniform([-1e-9] * 20, [1e-9] * 20)
    z, log_q = draw(q, RNG.random((20, 40)), "float32")
    assert z.dtype == np.float32
    np.testing.assert_allclose(log_q, -20 * np.log(2e-9), rtol=0, atol=1e-12)


@pytest.mark.parametrize("n_states", [1, 2, 3, 10, 1000, 2**40 + 1, 2**52 - 1])
def test_finite_set_stays_inside_and_splits_evenly(n_states):
    ends = np.array([[2.0**-53, 0.5, 1 - 2.0**-53]])
    z, log_q = draw(Uniform.finite(n_states), ends)
    np.testing.assert_array_equal(z[0], [0, n_states // 2, n_states - 1])
    np.testing.assert_allclose(log_q, -np.log(n_states), rtol=1e-15)


def test_finite_set_has_every_state_equally_often():
    n = 12
    noise = (np.arange(12_000) + 0.5)[None] / 12_000
    z, _ = draw(Uniform.finite(n), noise)
    np.testing.assert_array_equal(np.bincount(z[0].astype(int), minlength=n), 1000)
    density = Uniform.finite(n).log_density([[0.0], [11.0], [12.0], [-1.0], [0.5]])
    np.testing.assert_array_equal(density, [-np.log(12)] * 2 + [-np.inf] * 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"low": [0.0]}, "both low and high, or neither"),
        ({"high": [0.0]}, "both low and high, or neither"),
        ({"low": [0.0], "high": [0.0]}, r"low\[0\] is 0.0 and high\[0\] is 0.0"),
        ({"low": [0.0, 1.0], "high": [1.0, 0.5]}, r"low\[1\] is 1.0 and high\[1\] is 0.5"),
        ({"low": [0.0], "high": [1.0, 2.0]}, "must be the same"),
        ({"low": [-np.inf], "high": [1.0]}, r"low\[0\] is -inf"),
        ({"low": [-1.7e308], "high": [1.7e308]}, "must be below high"),
        ({"n_states": 0}, "n_states=0: a whole number from 1"),
        ({"n_states": 2.5}, "n_states=2.5"),
        ({"n_states": 2**52}, "below 2\\^52"),
        ({"low": [0.0], "high": [1.0], "n_states": 3}, "no low and high"),
    ],
)
def test_misuse_says_what_is_wrong(arguments, message):
    with pytest.raises(InputError, match=message):
        Uniform(**arguments)


def test_no_bounds_asks_the_model():
    model, X = PPCA.example()
    q = Uniform().bind(model, X)
    assert q.low.shape == (5, 2)
    assert np.all(q.missing_mass <= 1e-12)
    assert Uniform().bind(model, X[0]).lam.ndim == 1
    mixture, X = GaussianMixture.example()
    q = Uniform().bind(mixture, X)
    assert (q.n_states, q.missing_mass) == (4, 0.0)


def test_no_bounds_and_no_model_that_knows():
    class Bare:
        name = "bare"

    with pytest.raises(NotAvailableError, match=r"bare has no box of its own; give one: Uniform\(low, high\)"):
        Uniform().bind(Bare(), [0.0])
    with pytest.raises(NotAvailableError, match="no box yet"):
        Uniform().log_density([0.0])
    box = Uniform([0.0], [1.0])
    assert box.bind(Bare(), [0.0]) is box
    assert box.missing_mass is None


def test_missing_mass_of_a_box_against_scipys_bivariate_integral():
    """Bounds around 1 − P(box), which SciPy integrates to about 1e-8; a swapped or dropped tail is off by far more."""
    model, X = PPCA.example()
    low, high = np.array([-0.5, -0.3]), np.array([0.4, 1.2])
    lower, upper = model.missing_mass(X, low, high)
    assert lower.shape == upper.shape == (5,)
    posterior = model.posterior(X)
    for i in range(len(X)):
        mean, covariance = posterior.mean[i], posterior.scale @ posterior.scale.T
        inside = stats.multivariate_normal.cdf(high, mean, covariance, 10**7, 1e-9, 1e-9, lower_limit=low)
        assert lower[i] - 1e-7 <= 1 - inside <= upper[i] + 1e-7
    bound = Uniform(low, high).bind(model, X)
    np.testing.assert_array_equal(bound.missing_mass, upper)
    assert isinstance(Uniform(low, high).bind(model, X[0]).missing_mass, float)


def test_missing_mass_of_one_latent_is_exact():
    model, X = ConjugateNormal.example()
    posterior = model.posterior(X)
    lower, upper = model.missing_mass(X, [0.1], [0.7])
    exact = stats.norm(posterior.mean[:, 0], posterior.scale[0])
    np.testing.assert_allclose(lower, 1 - (exact.cdf(0.7) - exact.cdf(0.1)), rtol=1e-12)
    np.testing.assert_array_equal(lower, upper)


@pytest.mark.parametrize("make", [PPCA.example, ConjugateNormal.example])
@pytest.mark.parametrize("missing", [1e-12, 1e-3, 0.3])
def test_domain_is_the_smallest_cube(make, missing):
    model, X = make()
    q = model.uniform_domain(X, missing)
    centre, half = (q.low + q.high) / 2, (q.high - q.low) / 2
    np.testing.assert_allclose(centre, np.broadcast_to(model.prior.mean, centre.shape), atol=1e-12)
    assert np.all(np.ptp(half, axis=1) < 1e-12)
    assert np.all(q.missing_mass <= missing)
    np.testing.assert_allclose(q.missing_mass, missing, rtol=1e-9)
    smaller = model.missing_mass(X, centre - half * (1 - 1e-6), centre + half * (1 - 1e-6))[1]
    assert np.all(smaller > missing)
    with pytest.raises(InputError, match="fraction between 0 and 1"):
        model.uniform_domain(X, 0.0)


def test_boxes_and_states_are_not_mixed_up():
    mixture, X = GaussianMixture.example()
    with pytest.raises(InputError, match=r"one of 4 states; use Uniform.finite\(4\)"):
        Uniform([0.0], [3.0]).bind(mixture, X)
    with pytest.raises(InputError, match=r"use Uniform.finite\(4\)"):
        Uniform.finite(5).bind(mixture, X)
    assert Uniform.finite(4).bind(mixture, X).missing_mass == 0.0
    model, X = PPCA.example()
    with pytest.raises(InputError, match="the model has 2 latents"):
        Uniform([0.0], [1.0]).bind(model, X)
    with pytest.raises(InputError, match="latents of ppca are continuous"):
        Uniform.finite(3).bind(model, X)
    assert Gaussian([0.0], [1.0]).bind(model, X).n_latents == 1
