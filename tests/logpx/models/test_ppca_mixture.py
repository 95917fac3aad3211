"""The mixture of PPCA against SciPy's dense Gaussians, certified quadrature and its own fit's promises.

Exact, except the moments of samples, which state their false-alarm rate.
"""

import numpy as np
import pytest
from scipy import special, stats

from logpx.errors import InputError
from logpx.models import PPCA, PPCAMixture
from logpx.models.ppca_mixture import _maximised
from logpx.quadrature import certified


def dense(model):
    """The components as SciPy's Gaussians of x."""
    return [
        stats.multivariate_normal(c.mean, c.weights @ c.weights.T + c.noise_variance * np.eye(model.n_observed))
        for c in model.components
    ]


def log_joint(model, x, z, dtype="float64"):
    out = np.empty(z.shape[1])
    model.log_joint(model.theta.astype(dtype), model.dims, x.astype(dtype), np.ascontiguousarray(z, dtype), out)
    return out


def latents(model, n, seed=0):
    """Components and coordinates (1 + d, n), not those that made x."""
    rng = np.random.default_rng(seed)
    z = rng.standard_normal((model.n_latents, n))
    z[0] = rng.integers(0, len(model.components), n)
    return z


SIZES = [(1, 1, 1), (3, 6, 2), (2, 2, 3), (4, 9, 5), (5, 61, 2)]


@pytest.mark.parametrize(("k", "p", "d"), SIZES)
def test_log_joint_is_mixing_times_prior_times_likelihood(k, p, d):
    model, X = PPCAMixture.example(n_latents=d, n_components=k, n_observed=p)
    z = latents(model, 150)
    for x in X[:2]:
        expected = np.log(model.mixing)[z[0].astype(int)] + stats.norm.logpdf(z[1:]).sum(axis=0)
        for i, sample in enumerate(z.T):
            part = model.components[int(sample[0])]
            means = part.mean + part.weights @ sample[1:]
            expected[i] += stats.norm.logpdf(x, means, np.sqrt(part.noise_variance)).sum()
        np.testing.assert_allclose(log_joint(model, x, z), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.second_route("ppca_mixture")
@pytest.mark.parametrize(("k", "p", "d"), SIZES)
def test_log_marginal_is_scipys_dense_gaussians(k, p, d):
    model, _ = PPCAMixture.example(n_latents=d, n_components=k, n_observed=p)
    X = np.concatenate([model.sample(10, 1), 50 + model.sample(2, 2)])
    logs = np.log(model.mixing) + np.stack([part.logpdf(X).reshape(-1) for part in dense(model)], axis=1)
    np.testing.assert_allclose(model.log_marginal(X), special.logsumexp(logs, axis=1), rtol=1e-10)
    shares = np.exp(logs - special.logsumexp(logs, axis=1, keepdims=True))
    np.testing.assert_allclose(model.responsibilities(X), shares, rtol=1e-6, atol=1e-300)


@pytest.mark.second_route("ppca_mixture")
@pytest.mark.parametrize("d", [1, 2])
def test_log_marginal_is_the_integral_of_the_kernel(d):
    """A row of the quadrature for each component."""
    model, X = PPCAMixture.example(n_latents=d)
    k = len(model.components)
    found = certified(
        lambda z: np.stack([log_joint(model, X[0], np.vstack([np.full(z.shape[1], c), z])) for c in range(k)]), k, d
    )
    assert np.all(found.error < 1e-9)
    np.testing.assert_allclose(special.logsumexp(found.value), model.log_marginal(X[0]), rtol=0, atol=1e-9)


def test_one_component_is_ppca():
    model, _ = PPCAMixture.example(n_components=1)
    alone, X = PPCA(*(getattr(model.components[0], name) for name in ("weights", "mean", "noise_variance"))), np.eye(6)
    np.testing.assert_allclose(model.log_marginal(X), alone.log_marginal(X), rtol=1e-13)


def test_what_is_no_component_has_density_zero():
    model, X = PPCAMixture.example()
    z = latents(model, 6)
    z[0] = [-1.0, 3.0, 0.5, np.nan, 2.0, np.inf]
    values = log_joint(model, X[0], z)
    assert np.all(values[[0, 1, 2, 5]] == -np.inf)
    assert np.isnan(values[3])
    assert np.isfinite(values[4])
    assert all(model.log_joint_scalar(model.theta, model.dims, X[0], sample) == -np.inf for sample in z.T[:3])


def test_far_from_every_component_nothing_underflows():
    """Responsibilities of 0 in float64: never drawn, nothing missing, and the weights still log p(x)."""
    model, X = PPCAMixture.example(n_observed=12)
    x = model.components[0].mean + 200.0
    q = model.posterior(np.stack([x, X[0]]))
    assert q.probabilities[0].min() == 0.0
    assert np.all(q.missing_mass == 0.0)
    assert model.default_proposal(x).probabilities.min() >= 0.05 / 3
    dead = PPCAMixture([0.5, 0.5], np.zeros((2, 1, 1)), [[0.0], [1e3]], [1.0, 1.0])
    for x, near in (([0.0], 0), ([1e3], 1)):
        q = dead.posterior(x)
        z, log_q = np.empty((2, 100)), np.empty(100)
        q.kernel(q.lam, q.dims, np.random.default_rng(0).standard_normal((2, 100)), z, log_q)
        assert np.all(z[0] == near)
        np.testing.assert_allclose(log_joint(dead, np.array(x), z) - log_q, dead.log_marginal(x), rtol=1e-12)


def test_moments_of_samples():
    """z-scores of means and second moments of x, of frequencies and of z given c: 6 + 21 + 3 + 6, 2^17 rows.

    |z| ≤ 6: false alarm 7e-8. Detects a mean off by 0.02 standard deviations and a frequency by 0.008.
    """
    model, n = PPCAMixture.example()[0], 2**17
    X, Z = model.sample(n, 8, return_latents=True)
    parts = dense(model)
    mean = sum(w * part.mean for w, part in zip(model.mixing, parts, strict=True))
    second = sum(w * (q.cov + np.outer(q.mean, q.mean)) for w, q in zip(model.mixing, parts, strict=True))
    assert np.abs((X.mean(axis=0) - mean) / (X.std(axis=0) / np.sqrt(n))).max() < 6
    i, j = np.triu_indices(6)
    products = X[:, i] * X[:, j]
    assert np.abs((products.mean(axis=0) - second[i, j]) / (products.std(axis=0) / np.sqrt(n))).max() < 6
    for k, w in enumerate(model.mixing):
        here = Z[:, 0] == k
        assert abs(here.mean() - w) < 6 * np.sqrt(w * (1 - w) / n)
        assert np.abs(Z[here, 1:].mean(axis=0)).max() < 6 / np.sqrt(here.sum())


# -- the fit ------------------------------------------------------------------------------------------------------


def truth():
    """Mixing, means and covariances of three clusters, and the model of them."""
    rng, noise = np.random.default_rng(1), np.array([0.1, 0.2, 0.3])
    mixing, loadings, means = [0.5, 0.3, 0.2], rng.standard_normal((3, 5, 1)), 4 * rng.standard_normal((3, 5))
    covariances = loadings @ loadings.transpose(0, 2, 1) + noise[:, None, None] * np.eye(5)
    return mixing, means, covariances, PPCAMixture(mixing, loadings, means, noise)


def three_clusters(n=400):
    return truth()[-1].sample(n, 2)


def test_one_component_is_fitted_as_ppca_is():
    X = three_clusters()
    fitted = PPCAMixture.fit(X, 2, 1)
    np.testing.assert_allclose(fitted.log_marginal(X), PPCA.fit(X, 2).log_marginal(X), rtol=1e-10)


def test_the_fit_is_a_maximum_and_better_than_the_truth():
    """No step of 1e-2 in any parameter raises the likelihood; and it is above that of the model that made the data."""
    X, rng = three_clusters(), np.random.default_rng(0)
    model = PPCAMixture.fit(X, 1, 3, tol=1e-12)
    best = model.log_marginal(X).sum()
    weights, means = (np.stack([getattr(c, name) for c in model.components]) for name in ("weights", "mean"))
    noise = np.array([c.noise_variance for c in model.components])
    for _ in range(30):
        mixing = model.mixing * np.exp(1e-2 * rng.standard_normal(3))
        shifted = PPCAMixture(
            mixing / mixing.sum(),
            weights + 1e-2 * rng.standard_normal(weights.shape),
            means + 1e-2 * rng.standard_normal(means.shape),
            noise * np.exp(1e-2 * rng.standard_normal(3)),
        )
        assert shifted.log_marginal(X).sum() < best
    parts = [np.log(w) + stats.multivariate_normal(m, c).logpdf(X) for w, m, c in zip(*truth()[:3], strict=True)]
    assert best > special.logsumexp(parts, axis=0).sum()


@pytest.mark.parametrize("floor", [1e-6, 0.25])
def test_the_likelihood_never_falls(floor):
    """From random responsibilities; with the larger floor, two components lie on it."""
    X = three_clusters(60)
    shares, logs = np.random.default_rng(3).dirichlet(np.ones(4), 60), []
    for _ in range(25):
        model = PPCAMixture(*_maximised(X, shares, 2, floor, np.eye(2)))
        logs.append(model.log_marginal(X).sum())
        shares = model.responsibilities(X)
    assert np.diff(logs).min() > -1e-10
    assert logs[-1] > logs[0] + 10


def test_a_component_on_few_rows_stops_at_the_floor():
    X = np.concatenate([three_clusters(100), np.full((3, 5), 60.0) + 1e-9 * np.eye(5)[:3]])
    model = PPCAMixture.fit(X, 1, 4, noise_floor=0.01)
    noise = np.array([c.noise_variance for c in model.components])
    assert noise.min() == 0.01
    assert np.isfinite(model.log_marginal(X)).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0.5, 0.5], np.zeros((2, 3, 1)), np.zeros((2, 2)), [1.0, 1.0]), r"means \(2, 2\).* do not fit"),
        (([1.0, 0.0], np.zeros((2, 3, 1)), np.zeros((2, 3)), [1.0, 1.0]), r"mixing\[1\] is 0.0; it must be above zero"),
        (([0.5, 0.4], np.zeros((2, 3, 1)), np.zeros((2, 3)), [1.0, 1.0]), "mixing add up to 0.9"),
        (([0.5, 0.5], np.zeros((2, 3, 1)), np.zeros((2, 3)), [1.0, 0.0]), r"noise_variances\[1\] is 0.0"),
    ],
)
def test_bad_parameters_say_what_is_wrong(arguments, message):
    with pytest.raises(InputError, match=message):
        PPCAMixture(*arguments)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [((5, 2), "n_latents is 5; .* allows 1 to 4"), ((1, 401), "n_components is 401"), ((0, 2), "n_latents=0")],
)
def test_bad_fits_say_what_is_wrong(sizes, message):
    with pytest.raises(InputError, match=message):
        PPCAMixture.fit(three_clusters(), *sizes)
