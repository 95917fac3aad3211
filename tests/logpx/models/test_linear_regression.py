"""Both linear regressions against SciPy's dense normal and t densities and quadrature. Exact, except where said."""

import numpy as np
import pytest
from scipy import integrate, stats

import logpx
from logpx.errors import InputError
from logpx.models import LinearRegression, LinearRegressionNIG

RNG = np.random.default_rng(2)
COVARIANCE = np.array([[1.0, 0.3], [0.3, 0.5]])


def known(n=6):
    return LinearRegression(np.column_stack([np.ones(n), np.linspace(-1, 2, n)]), 0.7, [0.4, -1.0], COVARIANCE)


def unknown(n=6, shape=2.5, rate=1.3):
    design = np.column_stack([np.ones(n), np.linspace(-1, 2, n)])
    return LinearRegressionNIG(design, shape, rate, [0.4, -1.0], COVARIANCE)


def log_joint(model, x, z):
    out = np.empty(z.shape[1])
    model.log_joint(model.theta, model.dims, x, z, out)
    return out


@pytest.mark.second_route("linear_regression", "linear_regression_nig")
@pytest.mark.parametrize("n", [1, 2, 6, 40])
def test_log_marginal_is_scipys_dense_density(n):
    """One case and two coefficients included: fewer data than latents."""
    for model in (known(n), unknown(n)):
        Y, mean = model.sample(20, 1), model.design @ model.prior_mean
        spread = model.design @ COVARIANCE @ model.design.T
        if isinstance(model, LinearRegression):
            exact = stats.multivariate_normal(mean, 0.7 * np.eye(n) + spread).logpdf(Y)
        else:
            scale = model.rate / model.shape * (np.eye(n) + spread)
            exact = stats.multivariate_t(mean, scale, df=2 * model.shape).logpdf(Y)
        np.testing.assert_allclose(model.log_marginal(Y), exact, rtol=0, atol=1e-10)


def test_unknown_noise_is_known_noise_averaged_over_its_prior():
    """p(y) = ∫ N(y; X m_0, (I + X V_0 Xᵀ)/τ) Gamma(τ; a, b) dτ, by adaptive quadrature."""
    model = unknown()
    y = model.sample(1, 4)[0]

    def integrand(tau):
        given = LinearRegression(model.design, 1 / tau, model.prior_mean, COVARIANCE / tau)
        return np.exp(given.log_marginal(y)) * stats.gamma(model.shape, scale=1 / model.rate).pdf(tau)

    value = integrate.quad(integrand, 0, np.inf, epsabs=0, epsrel=1e-11)[0]
    np.testing.assert_allclose(model.log_marginal(y), np.log(value), rtol=0, atol=1e-10)


@pytest.mark.parametrize("n", [1, 6])
def test_log_joint_is_prior_plus_likelihood(n):
    """In coefficients and precision, by SciPy; the density of (u, w) has the Jacobian 2 w^{1−d} det L."""
    model = unknown(n)
    y, Z = model.sample(1, 1)[0], model.sample(50, 2, return_latents=True)[1]
    beta, variances = model.coefficients(Z)
    expected = []
    for b, v, w in zip(beta, variances, Z[:, -1], strict=True):
        prior = stats.multivariate_normal(model.prior_mean, v * COVARIANCE).logpdf(b)
        prior += stats.invgamma(model.shape, scale=model.rate).logpdf(v) + np.log(v**2)
        jacobian = np.log(2 * w) - 2 * np.log(w) + 0.5 * np.linalg.slogdet(COVARIANCE)[1]
        expected.append(prior + jacobian + stats.norm(model.design @ b, np.sqrt(v)).logpdf(y).sum())
    np.testing.assert_allclose(log_joint(model, y, Z.T.copy()), expected, rtol=1e-11)


def test_coefficients_have_their_prior():
    """Of z = 0 and of unit vectors: the mean and the columns of the covariance's factor."""
    beta = known().coefficients(np.vstack([np.zeros(2), np.eye(2)]))
    np.testing.assert_array_equal(beta[0], [0.4, -1.0])
    columns = beta[1:] - beta[0]
    np.testing.assert_allclose(columns.T @ columns, COVARIANCE, rtol=1e-14)


def test_no_precision_at_zero_or_below():
    model = unknown()
    y, z = model.sample(1, 1)[0], np.array([[0.1, 0.1, 0.1], [0.2, 0.2, 0.2], [0.0, -1.0, np.nan]])
    values = log_joint(model, y, z)
    assert values[0] == values[1] == -np.inf
    assert np.isnan(values[2])
    assert model.log_joint_scalar(model.theta, model.dims, y, z[:, 1]) == -np.inf


@pytest.mark.parametrize("model", [known(40), unknown(40, 0.6, 0.05), unknown(1)], ids=["known", "diffuse", "one case"])
def test_estimates_are_exact_within_their_error(model):
    """|z| ≤ 5: false alarm 6e-7 a row, 3 rows. One sample in four counts, strong signal or a single case."""
    Y = model.sample(3, 5)
    estimate = logpx.estimate(model, Y, n_samples=1 << 14, seed=2)
    assert np.all(np.abs(estimate.log_marginal - model.log_marginal(Y)) < 5 * estimate.std_error)
    assert np.all(estimate.ess > 0.25 * (1 << 14))


def test_moments_of_samples():
    """Means and covariances of responses under unknown noise, 2^17 rows, z-scores of 27 numbers: |z| ≤ 6, 6e-8."""
    model, n = unknown(6, 6.0, 4.0), 2**17
    centred = model.sample(n, 8) - model.design @ model.prior_mean
    covariance = model.rate / (model.shape - 1) * (np.eye(6) + model.design @ COVARIANCE @ model.design.T)
    assert np.abs(centred.mean(axis=0) / np.sqrt(np.diagonal(covariance) / n)).max() < 6
    products = centred[:, :, None] * centred[:, None, :]
    assert np.abs((products.mean(axis=0) - covariance) / (products.std(axis=0) / np.sqrt(n))).max() < 6


@pytest.mark.parametrize(
    ("kind", "arguments", "message"),
    [
        (LinearRegression, (np.ones((3, 2)), 0.0), "noise_variance is 0.0; it must be above zero"),
        (LinearRegression, (np.ones(3), 1.0), r"design has shape \(3,\); it needs 2 axes"),
        (LinearRegression, (np.ones((3, 2)), 1.0, [0.0]), r"prior_mean has shape \(1,\).* needs \(2,\)"),
        (LinearRegressionNIG, (np.ones((3, 2)), -1.0, 1.0), "shape is -1.0"),
        (LinearRegressionNIG, (np.ones((3, 2)), 1.0, 0.0), "rate is 0.0"),
        (LinearRegressionNIG, (np.ones((3, 2)), 1.0, 1.0, None, np.eye(3)), r"\(3, 3\); it must be \(2, 2\)"),
        (LinearRegression, (np.ones((3, 2)), 1.0, None, [[1.0, 0.5], [0.0, 1.0]]), "not symmetric"),
        (LinearRegression, (np.ones((3, 2)), 1.0, None, [[1.0, 2.0], [2.0, 1.0]]), "eigenvalue -1"),
    ],
)
def test_bad_parameters_say_what_is_wrong(kind, arguments, message):
    with pytest.raises(InputError, match=message):
        kind(*arguments)
