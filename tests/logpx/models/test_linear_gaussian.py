"""PPCA and factor analysis against SciPy's dense Gaussian, quadrature over z, and scikit-learn's fits.

Exact, except the moments of samples, which state their false-alarm rate.
"""

import mpmath as mp
import numpy as np
import pytest
from scipy import optimize, stats
from sklearn import decomposition
from sklearn.datasets import load_digits

from logpx.errors import InputError, NotAvailableError
from logpx.models import PPCA, FactorAnalysis
from logpx.models.linear_gaussian import rotation
from logpx.proposals.divergences import chi2
from logpx_bench.second_routes.normals import dense_covariance, linear_gaussian


def make(kind, p, d, seed=0):
    rng = np.random.default_rng(seed)
    noise = rng.uniform(0.2, 1.5, p) if kind is FactorAnalysis else 0.7
    return kind(rng.standard_normal((p, d)), rng.standard_normal(p), noise)


def noise_of(model):
    return np.broadcast_to(getattr(model, "noise_variances", getattr(model, "noise_variance", None)), model.n_observed)


def log_joint(model, x, z):
    out = np.empty(z.shape[1])
    model.log_joint(model.theta, model.dims, x, z, out)
    return out


SIZES = [(1, 1), (2, 1), (3, 2), (4, 2), (5, 3), (8, 2), (9, 4), (13, 5), (16, 7), (17, 12), (64, 16)]
#: More latents than observed numbers.
WIDE = [(1, 2), (1, 3), (2, 3), (3, 8), (4, 9), (5, 13)]


@pytest.mark.parametrize("kind", [PPCA, FactorAnalysis])
@pytest.mark.parametrize(("p", "d"), SIZES + WIDE)
def test_log_joint_is_prior_plus_likelihood(kind, p, d):
    """SciPy's normal densities of z and of x given z, summed: every tile, remainder and odd number of latents."""
    model = make(kind, p, d)
    x = model.sample(1, 1)[0]
    z = np.random.default_rng(2).standard_normal((d, 150))
    likelihood = stats.norm.logpdf(x, model.mean + z.T @ model.weights.T, np.sqrt(noise_of(model))).sum(axis=1)
    expected = stats.norm.logpdf(z.T).sum(axis=1) + likelihood
    np.testing.assert_allclose(log_joint(model, x, z), expected, rtol=1e-12, atol=1e-12)


def by_mpmath(model, x, z):
    """log p(x, z) of each sample and the sum of its squares' sizes, 60 digits."""
    values = []
    with mp.workdps(60):
        sigmas = [mp.sqrt(mp.mpf(float(v))) for v in noise_of(model)]
        constant = -mp.mpf(len(x) + len(z)) / 2 * mp.log(2 * mp.pi) - sum(map(mp.log, sigmas))
        for sample in z.T:
            latents = [mp.mpf(float(v)) for v in sample]
            means = [mp.mpf(float(m)) for m in model.mean]
            fits = [m + sum(mp.mpf(float(w)) * v for w, v in zip(row, latents, strict=True))
                    for m, row in zip(means, model.weights, strict=True)]  # fmt: skip
            squares = [((mp.mpf(float(value)) - fit) / s) ** 2 for value, fit, s in zip(x, fits, sigmas, strict=True)]
            values.append(float(constant - (sum(squares) + sum(v * v for v in latents)) / 2))
    return np.array(values)


CASES_OF_ROUNDING = {
    "noise 1e-12": lambda W, rng: (W, 1e-12, 0.0),
    "noise 1e-12 to 1": lambda W, rng: (W, 10.0 ** -np.linspace(0, 12, len(W)), 0.0),
    "noise 1e-12 to 1, the small one first": lambda W, rng: (W, 10.0 ** -np.linspace(12, 0, len(W)), 0.0),
    "x far away": lambda W, rng: (W, 0.5, 1e9),
    "rank 1": lambda W, rng: (np.outer(W[:, 0], W[0]), 1e-6, 0.0),
    "rank 0": lambda W, rng: (0.0 * W, 0.5, 0.0),
    "columns 1e-8 apart": lambda W, rng: (W[:, :1] + 1e-8 * W, 1e-6, 0.0),
}


@pytest.mark.parametrize("case", CASES_OF_ROUNDING)
@pytest.mark.parametrize(("p", "d"), [(8, 2), (11, 5), (3, 6)])
def test_reduction_loses_nothing_to_the_direct_residuals(case, p, d):
    """Against mpmath: the error is a few roundings of |V z| and |x − μ|/σ times what is left, for both forms."""
    rng = np.random.default_rng(3)
    weights, noise, shift = CASES_OF_ROUNDING[case](rng.standard_normal((p, d)), rng)
    model = FactorAnalysis(weights, rng.standard_normal(p), np.broadcast_to(noise, p))
    x, z = model.sample(1, 1)[0] + shift * rng.standard_normal(p), rng.standard_normal((d, 20))
    if not shift:  # latents near the ones that made x: what is left is of the order of the noise
        best = np.linalg.lstsq(weights, x - model.mean, rcond=None)[0]
        z[:, :10] = best[:, None] + np.sqrt(np.min(noise)) * z[:, :10]
    exact = by_mpmath(model, x, z)
    scaled = np.abs(weights) @ np.abs(z) + np.abs(x)[:, None] + np.abs(model.mean)[:, None]
    size = (scaled / np.sqrt(noise_of(model))[:, None]).max(axis=0)
    allowed = 2.0**-52 * (p + d) * (size * np.sqrt(2 * np.abs(exact) + 100) + np.abs(exact) + 100)
    direct = [model.log_joint_scalar(model.theta, model.dims, x, sample) for sample in z.T]
    assert np.all(np.abs(np.array(direct) - exact) <= allowed)
    assert np.all(np.abs(log_joint(model, x, z) - exact) <= allowed)


@pytest.mark.parametrize(("p", "d"), [(8, 2), (13, 7), (64, 16), (3, 6)])
def test_float32_stays_within_its_documented_bound(p, d):
    """(d + 2) 2^−24 (|z|² + |t|² + |R z|²), and not far below it: at least one sample in 1000 uses 1/40 of it."""
    model = make(PPCA, p, d)
    x = model.sample(1, 1)[0].astype(np.float32)
    z = np.random.default_rng(4).standard_normal((d, 1000)).astype(np.float32)
    out = np.empty(1000)
    model.log_joint(model.theta.astype(np.float32), model.dims, x, z, out)
    rounded = PPCA(model.weights, model.mean.astype(np.float32), 0.7)
    error = np.abs(out - log_joint(rounded, x.astype(float), z.astype(float)))
    whitened, y = model.weights / np.sqrt(0.7), (x - rounded.mean) / np.sqrt(0.7)
    projected = np.linalg.qr(whitened)[0].T @ y
    bound = (d + 2) * 2.0**-24 * ((z.astype(float) ** 2).sum(0) + projected @ projected + ((whitened @ z) ** 2).sum(0))
    slack = 2.0**-22 * (y @ y)  # σ and Q are rounded too, and y with them
    assert np.all(error <= bound + slack)
    assert np.max(error / bound) > 1 / 40


@pytest.mark.second_route("ppca", "factor_analysis")
@pytest.mark.parametrize("kind", [PPCA, FactorAnalysis])
@pytest.mark.parametrize(("p", "d"), SIZES)
def test_log_marginal_is_scipys_dense_gaussian(kind, p, d):
    model = make(kind, p, d)
    X = np.concatenate([model.sample(20, 1), 30 + model.sample(2, 2)])
    np.testing.assert_allclose(model.log_marginal(X), linear_gaussian(model, X), rtol=1e-10)


@pytest.mark.second_route("ppca", "factor_analysis")
@pytest.mark.parametrize("kind", [PPCA, FactorAnalysis])
@pytest.mark.parametrize("d", [1, 2, 3])
def test_log_marginal_is_the_integral_of_the_kernel(kind, d):
    """Trapezoidal rule over the box that leaves out 1e-12: exponentially accurate for a Gaussian."""
    model = make(kind, 6, d)
    x = model.sample(1, 1)[0]
    box = model.uniform_domain(x)
    axis = np.linspace(box.low[0], box.high[0], {1: 2001, 2: 601, 3: 161}[d])
    z = np.ascontiguousarray(np.stack(np.meshgrid(*[axis] * d, indexing="ij")).reshape(d, -1))
    values = log_joint(model, x, z)
    top = values.max()
    integral = top + np.log(np.exp(values - top).sum()) + d * np.log(axis[1] - axis[0])
    np.testing.assert_allclose(integral, model.log_marginal(x), rtol=0, atol=1e-10)


@pytest.mark.parametrize("kind", [PPCA, FactorAnalysis])
@pytest.mark.parametrize(("p", "d"), [(3, 1), (5, 3), (20, 6)])
def test_posterior_is_the_conditional_of_the_joint_gaussian(kind, p, d):
    """Conditioning (z, x) with the dense covariance of x, where ours inverts the precision of z."""
    model = make(kind, p, d)
    X = model.sample(4, 1)
    gain = np.linalg.solve(dense_covariance(model), model.weights).T
    posterior = model.posterior(X)
    np.testing.assert_allclose(posterior.mean, (X - model.mean) @ gain.T, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(posterior.scale @ posterior.scale.T, np.eye(d) - gain @ model.weights, atol=1e-12)


@pytest.mark.parametrize("kind", [PPCA, FactorAnalysis])
def test_moments_of_samples(kind):
    """Largest z-score of 4 means and 10 covariances of x, 2 means and 3 covariances of z, and 8 of both, 2^18 rows.

    |z| ≤ 6: false alarm 27 · 2e-9 = 5e-8. Detects a mean off by 0.012 standard deviations or a correlation by 0.012.
    """
    model = make(kind, 4, 2)
    n = 2**18
    X, Z = model.sample(n, 12, return_latents=True)
    both = np.concatenate([Z, X - model.mean], axis=1)
    covariance = np.block([[np.eye(2), model.weights.T], [model.weights, dense_covariance(model)]])
    scores = both.mean(axis=0) / np.sqrt(np.diag(covariance) / n)
    assert np.abs(scores).max() < 6
    variances = np.outer(np.diag(covariance), np.diag(covariance)) + covariance**2
    assert np.abs((both.T @ both / n - covariance) / np.sqrt(variances / n)).max() < 6


@pytest.mark.parametrize("kind", [PPCA, FactorAnalysis])
@pytest.mark.parametrize(("p", "d"), [(8, 2), (12, 5), (64, 16)])
def test_best_widen_is_the_least_variance(kind, p, d):
    model = make(kind, p, d)
    x = model.sample(1, 1)[0]
    posterior, best = model.posterior(x), model.best_widen()
    least = chi2(posterior, model.default_proposal(x, best))
    assert np.isfinite(least)
    assert chi2(posterior, model.default_proposal(x, 0.5 * best)) == np.inf

    def log_chi2(widen):
        return np.log(min(chi2(posterior, model.default_proposal(x, widen)), 1e300))

    found = optimize.minimize_scalar(log_chi2, bounds=(0.8 * best, 1.5 * best), options={"xatol": 1e-8}).x
    np.testing.assert_allclose(best, found, rtol=1e-5)


@pytest.mark.parametrize("kind", [PPCA, FactorAnalysis])
def test_default_proposal_is_mean_field_with_the_posteriors_mean(kind):
    model = make(kind, 6, 3)
    X = model.sample(3, 1)
    q, posterior = model.default_proposal(X, 1.7), model.posterior(X)
    np.testing.assert_array_equal(q.mean, posterior.mean)
    precision = np.linalg.inv(posterior.scale @ posterior.scale.T)
    np.testing.assert_allclose(q.scale**-2, np.diag(precision) / 1.7**2, rtol=1e-10)
    assert q.form == "diagonal"


@pytest.mark.parametrize("d", [1, 2, 16])
def test_the_default_is_wide_enough_that_weights_vary_with_a_finite_variance(d):
    model = make(PPCA, 64, d)
    x = model.sample(1, 1)[0]
    posterior, q = model.posterior(x), model.default_proposal(x)
    factor = max(1.3, model.best_widen())
    precision = np.linalg.inv(posterior.cholesky @ posterior.cholesky.T)
    np.testing.assert_allclose(q.scale, factor / np.sqrt(np.diag(precision)), rtol=1e-10)
    assert 0.09 < chi2(posterior, q) < np.inf


def test_rotation_keeps_the_marginal_and_makes_the_precision_non_diagonal():
    X = load_digits().data
    for kind in (PPCA, FactorAnalysis):
        turned, straight = kind.fit(X, 4), kind.fit(X, 4, rotation_seed=None)
        np.testing.assert_allclose(turned.log_marginal(X), straight.log_marginal(X), rtol=1e-11)
        for model, diagonal in ((straight, True), (turned, False)):
            covariance = model.posterior(X[0]).cholesky @ model.posterior(X[0]).cholesky.T
            root = np.sqrt(np.diag(covariance))
            correlation = covariance / np.outer(root, root) - np.eye(4)
            assert (np.abs(correlation).max() < 1e-6) == diagonal
        assert np.abs(correlation).max() > 0.05
        np.testing.assert_allclose(straight.best_widen(), 1.0, rtol=1e-6)
        np.testing.assert_allclose(kind.fit(X, 4).weights, turned.weights)


@pytest.mark.parametrize("d", [1, 2, 5, 16])
def test_rotation_is_orthogonal_and_fixed_by_its_seed(d):
    turn = rotation(d, 3)
    np.testing.assert_allclose(turn @ turn.T, np.eye(d), atol=1e-13)
    np.testing.assert_array_equal(turn, rotation(d, 3))
    np.testing.assert_array_equal(rotation(d, None), np.eye(d))
    assert d == 1 or not np.allclose(turn, rotation(d, 4))


@pytest.mark.parametrize("d", [2, 10])
def test_ppca_fit_is_scikit_learns_with_the_covariance_divided_by_n(d):
    X = load_digits().data
    model = PPCA.fit(X, d)
    pca = decomposition.PCA(d, svd_solver="full").fit(X * np.sqrt((len(X) - 1) / len(X)))
    np.testing.assert_allclose(dense_covariance(model), pca.get_covariance(), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(model.mean, X.mean(axis=0), rtol=1e-12)


def test_ppca_fit_is_a_maximum():
    X = make(PPCA, 6, 2).sample(300, 1)
    model, rng = PPCA.fit(X, 2), np.random.default_rng(0)
    best = model.log_marginal(X).sum()
    for _ in range(30):
        step = 1e-2 * rng.standard_normal((6, 2))
        shifted = PPCA(model.weights + step, model.mean, model.noise_variance * np.exp(1e-2 * rng.standard_normal()))
        assert shifted.log_marginal(X).sum() < best


def test_factor_analysis_fit_is_scikit_learns():
    X = make(FactorAnalysis, 9, 3).sample(800, 1)
    model = FactorAnalysis.fit(X, 3, noise_floor=1e-6, tol=1e-9)
    fitted = decomposition.FactorAnalysis(3, svd_method="lapack", tol=1e-9, max_iter=20_000).fit(X)
    np.testing.assert_allclose(model.log_marginal(X), fitted.score_samples(X), rtol=1e-5)
    np.testing.assert_allclose(dense_covariance(model), fitted.get_covariance(), rtol=1e-3, atol=1e-3)


def test_factor_analysis_of_digits_keeps_constant_pixels_on_the_floor():
    X = load_digits().data
    constant = np.flatnonzero(X.var(axis=0) == 0)
    model = FactorAnalysis.fit(X, 3, noise_floor=0.05)
    assert len(constant) == 3
    assert np.all(model.noise_variances[constant] == 0.05)
    assert model.noise_variances.min() == 0.05
    np.testing.assert_allclose(model.log_marginal(X[:100]), linear_gaussian(model, X[:100]), rtol=1e-9)


def test_ppca_fit_without_noise_says_how_many_latents_fit():
    X = np.random.default_rng(0).standard_normal((50, 2)) @ np.random.default_rng(1).standard_normal((2, 6))
    with pytest.raises(InputError, match=r"n_latents=2 leaves no noise.* vary in 2 directions; use n_latents ≤ 1"):
        PPCA.fit(X, 2)
    assert PPCA.fit(X, 1).n_latents == 1
    with pytest.raises(InputError, match="1 directions; PPCA needs at least two"):
        PPCA.fit(X[:, :1] * np.ones(4), 2)
    with pytest.raises(InputError, match="every column of X is constant"):
        PPCA.fit(np.ones((5, 4)), 2)


@pytest.mark.parametrize("kind", [PPCA, FactorAnalysis])
@pytest.mark.parametrize(
    ("X", "n_latents", "message"),
    [
        (np.zeros(5), 1, "fitting needs at least 2 rows"),
        (np.zeros((1, 5)), 1, "fitting needs at least 2 rows|allows 1 to"),
        (np.eye(5), 9, r"n_latents is 9; X of shape \(5, 5\) allows 1 to [45]"),
        (np.eye(5), 0, "n_latents=0"),
        (np.eye(5), 1.5, "n_latents=1.5"),
        (np.full((5, 5), np.nan), 1, "x holds nan at row 0, column 0"),
    ],
)
def test_bad_fits_say_what_is_wrong(kind, X, n_latents, message):
    with pytest.raises(InputError, match=message):
        kind.fit(X, n_latents)


def test_bad_factor_analysis_fits_say_what_is_wrong():
    X = make(FactorAnalysis, 6, 2).sample(50, 1)
    with pytest.raises(InputError, match="noise_floor is 0"):
        FactorAnalysis.fit(X, 2, noise_floor=0)
    with pytest.raises(InputError, match="constant"):
        FactorAnalysis.fit(np.ones((5, 4)), 2)
    with pytest.raises(NotAvailableError, match="did not converge in 2 iterations"):
        FactorAnalysis.fit(X, 2, max_iter=2)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: PPCA([[1.0], [2.0]], [0.0], 1.0), r"mean has shape \(1,\); weights of shape \(2, 1\) need \(2,\)"),
        (lambda: PPCA([1.0, 2.0], [0.0, 0.0], 1.0), r"weights has shape \(2,\); it needs 2 axes"),
        (lambda: PPCA([[1.0], [np.nan]], [0.0, 0.0], 1.0), r"weights\[1, 0\] is nan"),
        (lambda: PPCA([[1.0]], [0.0], 0.0), "noise_variance is 0.0; it must be above zero"),
        (lambda: PPCA([[1.0]], [0.0], [1.0, 2.0]), "noise_variance has shape"),
        (lambda: FactorAnalysis([[1.0], [2.0]], [0.0, 0.0], [1.0]), r"noise_variances has shape \(1,\)"),
        (lambda: FactorAnalysis([[1.0], [2.0]], [0.0, 0.0], [1.0, -1.0]), r"noise_variances\[1\] is -1.0"),
    ],
)
def test_bad_parameters_say_what_is_wrong(build, message):
    with pytest.raises(InputError, match=message):
        build()
