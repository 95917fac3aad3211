"""The state space model against the dense covariance of all its data by SciPy. Exact, except where said."""

import numpy as np
import pytest
from scipy import stats

import logpx
from logpx.errors import InputError
from logpx.models import StateSpace
from logpx_bench.second_routes.normals import path_moments


def make(k, p, n_steps, seed=0):
    rng = np.random.default_rng(seed)

    def covariance(d):
        root = rng.standard_normal((d, d))
        return root @ root.T + 0.3 * np.eye(d)

    A = rng.standard_normal((k, k)) / np.sqrt(2 * k)
    C = rng.standard_normal((p, k))
    return StateSpace(A, covariance(k), C, covariance(p), n_steps, rng.standard_normal(k), covariance(k))


MODELS = [make(1, 1, 1), make(1, 1, 7), make(2, 3, 5), make(3, 1, 4), make(2, 2, 40)]
IDS = [f"k={m.dims[1]} p={m.dims[2]} T={m.n_steps}" for m in MODELS]


def log_joint(model, x, z, dtype="float64"):
    out = np.empty(z.shape[1])
    model.log_joint(model.theta.astype(dtype), model.dims, x.astype(dtype), z.astype(dtype), out)
    return out


@pytest.mark.second_route("state_space")
@pytest.mark.parametrize("model", MODELS, ids=IDS)
def test_log_marginal_is_the_dense_density(model):
    mean, _, look, X = path_moments(model)
    rows = model.sample(20, 1)
    expected = stats.multivariate_normal(look @ mean, X).logpdf(rows)
    np.testing.assert_allclose(model.log_marginal(rows), expected, rtol=1e-11, atol=1e-10)


@pytest.mark.parametrize("model", MODELS, ids=IDS)
def test_log_joint_is_prior_plus_likelihood(model):
    mean, Z, look, _ = path_moments(model)
    x, paths = model.sample(1, 1)[0], model.sample(60, 2, return_latents=True)[1]
    noise = np.kron(np.eye(model.n_steps), model.observation_covariance)
    likelihood = stats.multivariate_normal(np.zeros(len(x)), noise).logpdf(x - paths @ look.T)
    expected = stats.multivariate_normal(mean, Z).logpdf(paths) + likelihood
    np.testing.assert_allclose(log_joint(model, x, paths.T.copy()), expected, rtol=1e-10, atol=1e-9)
    np.testing.assert_allclose(model.prior.log_density(paths) + likelihood, expected, rtol=1e-10, atol=1e-9)
    scalar = [model.log_joint_scalar(model.theta, model.dims, x, path) for path in paths[:5]]
    np.testing.assert_allclose(scalar, expected[:5], rtol=1e-10, atol=1e-9)


@pytest.mark.parametrize("model", MODELS, ids=IDS)
def test_posterior_is_the_conditional_of_the_dense_normal(model):
    mean, Z, look, X = path_moments(model)
    rows = model.sample(3, 4)
    gain = Z @ look.T @ np.linalg.inv(X)
    posterior = model.posterior(rows)
    np.testing.assert_allclose(posterior.mean, mean + (rows - look @ mean) @ gain.T, rtol=1e-8, atol=1e-8)
    expected = Z - gain @ look @ Z
    np.testing.assert_allclose(posterior.cholesky @ posterior.cholesky.T, expected, rtol=1e-8, atol=1e-8)


def test_float32_of_80_latents():
    """Squares are summed in float64: what is left is the rounding of 160 residuals, 2^−24 of each, z's own included."""
    model = MODELS[-1]
    x, path = model.sample(1, 1)[0].astype(np.float32), model.sample(200, 2, return_latents=True)[1].T
    single = path.astype(np.float32)
    error = log_joint(model, x, single, "float32") - log_joint(model, x.astype(float), single.astype(float))
    assert 1e-7 < np.abs(error).max() < 1e-6 * np.abs(log_joint(model, x.astype(float), single.astype(float))).max()


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_estimate_of_80_latents(dtype):
    """|z| ≤ 5 for 2 rows: false alarm 1e-6. Half of the samples count, however long the path."""
    model = MODELS[-1]
    rows = model.sample(2, 5)
    estimate = logpx.estimate(model, rows, n_samples=1 << 13, seed=2, dtype=dtype)
    allowed = 5 * estimate.std_error + (0 if dtype == "float64" else 1e-4)
    assert np.all(np.abs(estimate.log_marginal - model.log_marginal(rows)) < allowed)
    assert np.all(estimate.ess > 0.5 * (1 << 13))


def test_moments_of_samples():
    """Means and second moments of x, 2^16 rows, 21 z-scores: |z| ≤ 6, false alarm 4e-8."""
    model, _ = StateSpace.example()
    mean, _, look, X = path_moments(model)
    n = 2**16
    centred = model.sample(n, 8) - look @ mean
    assert np.abs(centred.mean(axis=0) / np.sqrt(np.diagonal(X) / n)).max() < 6
    products = centred[:, :, None] * centred[:, None, :]
    assert np.abs((products.mean(axis=0) - X) / (products.std(axis=0) / np.sqrt(n))).max() < 6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"transition": np.eye(3)}, r"transition \(3, 3\), observation \(1, 2\), initial_mean \(2,\) do not fit"),
        ({"initial_mean": np.zeros(3)}, r"initial_mean \(3,\) do not fit"),
        ({"transition_covariance": np.zeros((2, 2))}, "transition_covariance has eigenvalue 0"),
        ({"observation_covariance": np.eye(2)}, r"observation_covariance has shape \(2, 2\); it must be \(1, 1\)"),
        ({"initial_covariance": [[1.0, 2.0], [0.0, 1.0]]}, "initial_covariance is not symmetric"),
        ({"n_steps": 0}, "n_steps=0"),
        ({"observation": [[np.nan, 0.0]]}, r"observation\[0, 0\] is nan"),
    ],
)
def test_bad_parameters_say_what_is_wrong(change, message):
    fields = ("transition", "transition_covariance", "observation", "observation_covariance", "n_steps")
    good = {name: getattr(StateSpace.example()[0], name) for name in fields}
    with pytest.raises(InputError, match=message):
        StateSpace(**(good | change))
