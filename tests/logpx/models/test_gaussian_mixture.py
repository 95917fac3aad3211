"""The Gaussian mixture against SciPy's densities, enumeration, scikit-learn. Exact, except the moments of samples."""

import numpy as np
import pytest
from scipy import special
from sklearn import mixture

from logpx.errors import InputError
from logpx.models import GaussianMixture
from logpx.proposals import Uniform
from logpx_bench.second_routes.states import gaussian_joint


def log_joint(model, x, states):
    out = np.empty(len(states))
    model.log_joint(model.theta, model.dims, x, np.asarray(states, dtype=float)[None], out)
    return out


@pytest.mark.parametrize("n_samples", [1, 3, 4, 5, 200])
def test_log_joint_is_weight_times_density_with_and_without_the_table(n_samples):
    """Four states: blocks of 1 and 3 work out each sample, blocks of 4 and more look it up."""
    model, X = GaussianMixture.example()
    states = np.random.default_rng(0).integers(0, 4, n_samples)
    for x in X:
        np.testing.assert_allclose(log_joint(model, x, states), gaussian_joint(model, x)[states], rtol=1e-12)


@pytest.mark.parametrize("n_samples", [3, 10])
def test_what_is_no_state_has_density_zero(n_samples):
    model, X = GaussianMixture.example()
    values = log_joint(model, X[0], np.resize([-1.0, 4.0, 1.5, 1e300, -np.inf, np.inf], n_samples))
    assert np.all(values == -np.inf)
    assert np.all(np.isnan(log_joint(model, X[0], np.full(n_samples, np.nan))))
    for z in (-1.0, 4.0, 1.5):
        assert model.log_joint_scalar(model.theta, model.dims, X[0], [z]) == -np.inf


@pytest.mark.second_route("gaussian_mixture")
@pytest.mark.parametrize("shift", [0.0, 100.0])
def test_log_marginal_is_the_sum_over_states(shift):
    """Far from every component, p(x) is below the smallest float64 and only its log is not."""
    model, X = GaussianMixture.example()
    expected = [special.logsumexp(gaussian_joint(model, x)) for x in X + shift]
    np.testing.assert_allclose(model.log_marginal(X + shift), expected, rtol=1e-12)
    shares = np.exp([gaussian_joint(model, x) - special.logsumexp(gaussian_joint(model, x)) for x in X + shift])
    np.testing.assert_allclose(model.responsibilities(X + shift), shares, rtol=1e-9, atol=1e-300)


def test_uniform_weights_over_the_states_average_to_the_marginal():
    """Every state once: the mean of |Z| p(x, z) is p(x), the article's estimator enumerated."""
    model, X = GaussianMixture.example()
    q = Uniform.finite(4)
    noise = (np.arange(4) + 0.5)[None] / 4
    z, log_q = np.empty((1, 4)), np.empty(4)
    q.kernel(q.lam, q.dims, noise, z, log_q)
    for x in X:
        log_weights = log_joint(model, x, z[0]) - log_q
        np.testing.assert_allclose(np.log(np.exp(log_weights).mean()), model.log_marginal(x), rtol=1e-12)


def test_weight_zero_is_legal():
    model = GaussianMixture([0.5, 0.0, 0.5], np.zeros((3, 2)), np.ones((3, 2)))
    assert np.all(np.isfinite(model.theta))
    values = log_joint(model, np.zeros(2), [0, 1, 2])
    assert values[1] == -np.inf
    assert np.all(np.isfinite(values[[0, 2]]))
    np.testing.assert_allclose(model.log_marginal([0.0, 0.0]), -np.log(2 * np.pi), rtol=1e-14)
    assert model.posterior([0.0, 0.0]).missing_mass == 0.0
    assert model.default_proposal([0.0, 0.0]).missing_mass == 0.0


def test_default_proposal_is_flatter_and_bounds_the_weights():
    model, X = GaussianMixture.example()
    posterior, q = model.responsibilities(X), model.default_proposal(X).probabilities
    assert np.all(q >= 0.05 / 4)
    assert np.all((posterior / q).max(axis=1) <= 20 * 4)
    assert np.all(q.max(axis=1) < posterior.max(axis=1))
    np.testing.assert_allclose(model.default_proposal(X, 1.0).probabilities, 0.95 * posterior + 0.0125, rtol=1e-12)


def test_moments_of_samples():
    """z-scores of state frequencies and of each state's means and variances, 2^18 rows, 28 of them.

    |z| ≤ 6: false alarm 6e-8. Detects a frequency off by 0.006 and a mean by 0.04 standard deviations.
    """
    model, _ = GaussianMixture.example()
    n = 2**18
    X, Z = model.sample(n, 8, return_latents=True)
    for k, w in enumerate(model.weights):
        rows = X[Z[:, 0] == k]
        assert abs(len(rows) / n - w) < 6 * np.sqrt(w * (1 - w) / n)
        centred = (rows - model.means[k]) / np.sqrt(model.variances[k])
        assert np.abs(centred.mean(axis=0)).max() < 6 / np.sqrt(len(rows))
        assert np.abs((centred**2).mean(axis=0) - 1).max() < 6 * np.sqrt(2 / len(rows))


def test_fit_is_scikit_learns():
    X = GaussianMixture.example()[0].sample(2000, 5)
    model = GaussianMixture.fit(X, 3, seed=1)
    fitted = mixture.GaussianMixture(3, covariance_type="diag", random_state=1, max_iter=1000).fit(X)
    np.testing.assert_allclose(model.log_marginal(X), fitted.score_samples(X), rtol=1e-9)
    np.testing.assert_allclose(model.responsibilities(X), fitted.predict_proba(X), atol=1e-9)


def test_fit_with_a_constant_column():
    X = np.concatenate([GaussianMixture.example()[0].sample(200, 5), np.ones((200, 1))], axis=1)
    model = GaussianMixture.fit(X, 2, variance_floor=0.01)
    np.testing.assert_allclose(model.variances[:, -1], 0.01)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0.5, 0.6], np.zeros((2, 1)), np.ones((2, 1))), "add up to 1.1"),
        (([1.0], np.zeros((2, 1)), np.ones((2, 1))), r"weights \(1,\), means \(2, 1\), variances \(2, 1\) do not fit"),
        (([0.5, 0.5], np.zeros((2, 1)), np.ones((2, 2))), "do not fit"),
        (([0.5, 0.5], np.zeros((2, 1)), np.zeros((2, 1))), r"variances\[0\]\[0\] is 0.0; it must be above zero"),
        (([0.5, 0.5], np.full((2, 1), np.nan), np.ones((2, 1))), r"means\[0, 0\] is nan"),
    ],
)
def test_bad_parameters_say_what_is_wrong(arguments, message):
    with pytest.raises(InputError, match=message):
        GaussianMixture(*arguments)


def test_bad_fits_say_what_is_wrong():
    with pytest.raises(InputError, match=r"n_components is 6; X of shape \(5, 2\) allows 1 to 5"):
        GaussianMixture.fit(np.zeros((5, 2)), 6)
    with pytest.raises(InputError, match="variance_floor"):
        GaussianMixture.fit(np.zeros((5, 2)), 2, variance_floor=0.0)
