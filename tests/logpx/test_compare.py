"""Tests of the paired comparison of two models.

Statistical ones: |z| < 5.5 of Student's t with 63 degrees, false alarm 7e-7 each; ratios of spreads by a factor of
5, where the F law of (63, 63) degrees would need 1.9 for a false alarm of 1e-6 (the true ratio is above 30).
"""

import numpy as np
import pytest

import logpx
from logpx.errors import InputError

MODEL, X = logpx.models.PPCA.example()
NEAR = logpx.models.PPCA(1.01 * MODEL.weights, MODEL.mean, MODEL.noise_variance)


def exact():
    return float(np.sum(MODEL.log_marginal(X) - NEAR.log_marginal(X)))


def test_the_difference_is_the_exact_one():
    """Detects 8 standard errors: below 0.02 nats here."""
    made = logpx.compare(MODEL, NEAR, X, n_samples=4096, n_replicates=64)
    assert abs(made.difference - exact()) < 5.5 * made.std_error
    assert made.row_differences.shape == (len(X),)
    assert made.difference == pytest.approx(float(made.row_differences.sum()))
    across = np.std(made.row_differences, ddof=1) * np.sqrt(len(X))
    assert made.row_std_error == pytest.approx(float(across))


def test_pairing_cancels_the_common_error():
    paired = logpx.compare(MODEL, NEAR, X, n_samples=4096, n_replicates=64)
    apart = np.hypot(paired.a.total_std_error, paired.b.total_std_error)
    assert paired.std_error < apart / 5


def test_probabilities_point_the_right_way():
    far = logpx.models.PPCA(MODEL.weights, MODEL.mean + 3.0, MODEL.noise_variance)
    assert logpx.compare(MODEL, far, X, n_samples=512).probability_a > 0.999
    assert logpx.compare(far, MODEL, X, n_samples=512).probability_a < 0.001
    assert logpx.compare(MODEL, MODEL, X, n_samples=512).probability_a == 0.5


@logpx.per_sample
def impossible(theta, dims, x, z):
    return -np.inf


def test_models_that_give_no_mass_at_all():
    prior = logpx.proposals.Gaussian([0.0, 0.0], [1.0, 1.0])
    nothing = logpx.Model(impossible, [], 2, prior=prior)
    against = logpx.compare(MODEL, nothing, X[0], n_samples=100, n_replicates=np.int64(8))
    assert against.difference == np.inf
    assert against.probability_a == 1.0
    assert np.isnan(logpx.compare(nothing, nothing, X[0], n_samples=100).difference)


def test_bad_input():
    with pytest.raises(InputError, match="from 8"):
        logpx.compare(MODEL, NEAR, X, n_replicates=2)
    with pytest.raises(InputError, match="not a model"):
        logpx.compare(MODEL, None, X)
