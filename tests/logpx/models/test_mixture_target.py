"""The mixture target against SciPy's densities and quadrature. Exact, except the tests that say so."""

import numpy as np
import pytest
from scipy import special, stats

import logpx
from logpx.errors import InputError
from logpx.models import GaussianMixtureTarget
from logpx.proposals import Uniform
from logpx.proposals.divergences import chi2


def log_joint(model, x, z, dtype="float64"):
    out = np.full(z.shape[1], np.nan)
    model.log_joint(model.theta.astype(dtype), model.dims, np.asarray(x, dtype), z.astype(dtype), out)
    return out


def scipys(model, x, z):
    spread = np.sqrt(model.variances)
    parts = [stats.norm(m, s).logpdf(z.T).sum(axis=1) for m, s in zip(model.means, spread, strict=True)]
    return stats.norm.logpdf(x[0]) + special.logsumexp(np.log(model.weights)[:, None] + parts, axis=0)


@pytest.mark.parametrize(("d", "k"), [(1, 1), (2, 2), (3, 4), (5, 3), (64, 10)])
@pytest.mark.parametrize("spread", [1.0, 30.0])
def test_log_joint_is_the_data_times_the_mixture(d, k, spread):
    model, X = GaussianMixtureTarget.example(n_latents=d, n_components=k)
    z = spread * np.random.default_rng(1).standard_normal((d, 300))
    np.testing.assert_allclose(log_joint(model, X[0], z), scipys(model, X[0], z), rtol=1e-12, atol=1e-12)
    scalar = [model.log_joint_scalar(model.theta, model.dims, X[0], sample) for sample in z.T[:40]]
    np.testing.assert_allclose(scalar, scipys(model, X[0], z)[:40], rtol=1e-12, atol=1e-12)


@pytest.mark.second_route("mixture_target")
def test_log_marginal_is_the_integral_of_the_kernel():
    """Trapezoidal rule over the box that leaves out 1e-12 in two dimensions."""
    model, X = GaussianMixtureTarget.example(n_latents=2)
    box = model.uniform_domain(X[0])
    axes = [np.linspace(low, high, 401) for low, high in zip(box.low, box.high, strict=True)]
    z = np.stack(np.meshgrid(*axes, indexing="ij")).reshape(2, -1)
    cell = np.prod([axis[1] - axis[0] for axis in axes])
    integral = np.log(np.exp(log_joint(model, X[0], z)).sum() * cell)
    np.testing.assert_allclose(integral, model.log_marginal(X[0]), rtol=0, atol=1e-10)


def test_float32_error_in_64_dimensions():
    """2^−24 of the squares' sum (about 64), a few roundings: documented as float32 but for the exponentials."""
    model, X = GaussianMixtureTarget.example(n_latents=64, n_components=10)
    z = model.sample(1000, 3, return_latents=True)[1].T.astype(np.float32)
    x = X[0].astype(np.float32)
    error = log_joint(model, x, z, "float32") - scipys(model, x.astype(float), z.astype(float))
    assert np.abs(error).max() < 4e-5
    assert np.abs(error).max() > 1e-7


@pytest.mark.parametrize(("d", "k"), [(1, 1), (3, 4), (64, 10)])
def test_default_proposal_has_usable_weights(d, k):
    model, X = GaussianMixtureTarget.example(n_latents=d, n_components=k)
    q = model.default_proposal(X)
    variance = chi2(model.posterior(X), q)
    assert 0.01 < variance < 5
    mean = model.weights @ model.means
    np.testing.assert_allclose(q.mean, mean)
    ratio = q.scale**2 / (model.weights @ (model.variances + (model.means - mean) ** 2))
    np.testing.assert_allclose(ratio, ratio[0])


def test_best_widen_is_the_least_variance():
    model, X = GaussianMixtureTarget.example(n_latents=16, n_components=6)
    best = model.best_widen()
    least = chi2(model.prior, model.default_proposal(X, best))
    assert all(chi2(model.prior, model.default_proposal(X, best * f)) > least for f in (0.97, 1.03))
    assert chi2(model.prior, model.default_proposal(X, 0.4)) == np.inf


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_estimate_in_64_dimensions(dtype):
    """|z| ≤ 5.5: false alarm 4e-8. Detects 8 standard errors, 0.03 nats."""
    model, X = GaussianMixtureTarget.example(n_latents=64, n_components=10)
    estimate = logpx.estimate(model, X[0], n_samples=1 << 16, seed=3, dtype=dtype)
    assert abs(estimate.log_marginal - model.log_marginal(X[0])) < 5.5 * estimate.std_error
    assert estimate.ess > 0.1 * (1 << 16)


def test_box_leaves_out_what_it_says():
    model, X = GaussianMixtureTarget.example()
    box = model.uniform_domain(X[0], 1e-3)
    low, high = model.missing_mass(X[0], box.low, box.high)
    assert 0 < low <= high <= 1e-3
    assert box.missing_mass == high
    Z = model.sample(2**16, 5, return_latents=True)[1]
    outside = np.mean(np.any((box.low > Z) | (box.high < Z), axis=1))
    assert outside <= high + 6 * np.sqrt(high / 2**16)
    assert Uniform(box.low, box.high).bind(model, X[0]).missing_mass == high
    with pytest.raises(InputError, match=r"low has shape \(2,\); the model has 3 latents"):
        model.missing_mass(X[0], [0, 0], [1, 1, 1])
    with pytest.raises(InputError, match="missing is 2"):
        model.uniform_domain(X[0], 2)


def test_moments_of_samples():
    """Means and second moments of z, and mean of x, 2^18 rows, 7 z-scores: |z| ≤ 6, false alarm 1.4e-8."""
    model, _ = GaussianMixtureTarget.example()
    n = 2**18
    X, Z = model.sample(n, 8, return_latents=True)
    mean = model.weights @ model.means
    second = model.weights @ (model.variances + model.means**2)
    assert np.abs((Z.mean(axis=0) - mean) / (Z.std(axis=0) / np.sqrt(n))).max() < 6
    assert np.abs(((Z**2).mean(axis=0) - second) / ((Z**2).std(axis=0) / np.sqrt(n))).max() < 6
    assert abs(X.mean()) < 6 / np.sqrt(n)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0.5, 0.6], np.zeros((2, 1)), np.ones((2, 1))), "add up to 1.1"),
        (([1.0], np.zeros((2, 1)), np.ones((2, 1))), r"weights \(1,\), means \(2, 1\), variances \(2, 1\) do not fit"),
        (([0.5, 0.5], np.zeros((2, 1)), np.zeros((2, 1))), r"variances\[0\]\[0\] is 0.0; it must be above zero"),
    ],
)
def test_bad_parameters_say_what_is_wrong(arguments, message):
    with pytest.raises(InputError, match=message):
        GaussianMixtureTarget(*arguments)
