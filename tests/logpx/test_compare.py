"""Tests of the paired comparison of two models. Statistical ones: |z| < 5.5, false alarm 4e-8 each."""

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


def test_bad_input():
    with pytest.raises(InputError, match="at least 8"):
        logpx.compare(MODEL, NEAR, X, n_replicates=2)
    with pytest.raises(InputError, match="not a model"):
        logpx.compare(MODEL, None, X)
