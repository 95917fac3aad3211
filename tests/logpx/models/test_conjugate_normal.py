"""The conjugate normal model against SciPy's dense Gaussian and quadrature. Exact, except the moments of samples."""

import numpy as np
import pytest
from scipy import integrate, stats

from logpx.errors import InputError
from logpx.models import ConjugateNormal
from logpx_bench.second_routes import normals as second_routes

MODELS = [ConjugateNormal(), ConjugateNormal(0.5, 2.0, 1.5, 10), ConjugateNormal(-3.0, 25.0, 0.04, 7)]


def log_joint(model, x, z):
    out = np.empty(len(z))
    model.log_joint(model.theta, model.dims, x, np.asarray(z, dtype=float)[None], out)
    return out


@pytest.mark.parametrize("model", MODELS, ids=lambda model: f"p={model.n_observed}")
def test_log_joint_is_prior_plus_likelihood(model):
    x = model.sample(1, 1)[0]
    z = model.prior_mean + np.random.default_rng(0).standard_normal(200) * np.sqrt(model.prior_variance)
    prior = stats.norm.logpdf(z, model.prior_mean, np.sqrt(model.prior_variance))
    likelihood = stats.norm.logpdf(x[:, None], z, np.sqrt(model.noise_variance)).sum(axis=0)
    np.testing.assert_allclose(log_joint(model, x, z), prior + likelihood, rtol=1e-12)


@pytest.mark.second_route("conjugate_normal")
@pytest.mark.parametrize("model", MODELS, ids=lambda model: f"p={model.n_observed}")
def test_log_marginal_is_scipys_dense_gaussian(model):
    X = model.sample(20, 1)
    expected = second_routes.conjugate_normal(model, X)
    np.testing.assert_allclose(model.log_marginal(X), expected, rtol=0, atol=1e-10)


@pytest.mark.second_route("conjugate_normal")
@pytest.mark.parametrize("model", MODELS, ids=lambda model: f"p={model.n_observed}")
def test_log_marginal_and_posterior_are_integrals_of_the_kernel(model):
    x = model.sample(1, 1)[0]
    exact, posterior = model.log_marginal(x), model.posterior(x)
    centre, spread = posterior.mean[0], posterior.scale[0]

    def moment(power):
        def density(z):
            return np.exp(log_joint(model, x, [z])[0] - exact) * ((z - centre) / spread) ** power

        ends = centre - 12 * spread, centre + 12 * spread
        return integrate.quad(density, *ends, epsrel=1e-12, epsabs=1e-13)[0]

    assert abs(moment(0) - 1) < 1e-10
    assert abs(moment(1)) < 1e-9
    assert abs(moment(2) - 1) < 1e-9


def test_moments_of_samples():
    """z-scores of the mean of x, of its variance and of the covariance of two numbers of a row, 2^18 rows.

    |z| ≤ 6 for three: false alarm 6e-9. Detects a mean off by 0.012 standard deviations or a correlation by 0.017.
    """
    model, n = ConjugateNormal(0.5, 2.0, 1.5, 2), 2**18
    X, Z = model.sample(n, 3, return_latents=True)
    centred = X - 0.5
    assert abs(centred[:, 0].mean()) < 6 * np.sqrt(3.5 / n)
    assert abs((centred[:, 0] ** 2).mean() - 3.5) < 6 * np.sqrt(2 * 3.5**2 / n)
    assert abs((centred[:, 0] * centred[:, 1]).mean() - 2.0) < 6 * np.sqrt((3.5**2 + 2.0**2) / n)
    assert abs(((X - Z) ** 2).mean() - 1.5) < 6 * np.sqrt(2 * 1.5**2 / (2 * n))


def test_default_is_wider_than_the_posterior():
    model, X = ConjugateNormal.example()
    np.testing.assert_allclose(model.default_proposal(X).scale, 1.3 * model.posterior(X).scale)
    np.testing.assert_allclose(model.default_proposal(X, 2.0).scale, 2 * model.posterior(X).scale)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"prior_mean": np.nan}, "prior_mean.* is nan"),
        ({"prior_variance": 0.0}, "prior_variance is 0.0; it must be above zero"),
        ({"noise_variance": -1.0}, "noise_variance is -1.0"),
        ({"n_observed": 0}, "n_observed=0"),
    ],
)
def test_bad_parameters_say_what_is_wrong(arguments, message):
    with pytest.raises(InputError, match=message):
        ConjugateNormal(**arguments)


def test_limits_of_another_length_are_refused():
    model, X = ConjugateNormal.example()
    with pytest.raises(InputError, match="low has shape"):
        model.missing_mass(X, [0.0, 0.0], [1.0, 1.0])
