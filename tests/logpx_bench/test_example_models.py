"""Two models written from the README alone: their estimates are those of quadrature.

Statistical: |z| ≤ 6 for each of four rows, a false alarm in 5e8 runs; the standard errors are below 0.01 nats.
"""

from pathlib import Path

import numpy as np
import pytest
from scipy import integrate, special, stats

import logpx
from logpx_bench.model_file import load

FOLDER = Path(__file__).resolve().parents[2] / "bench" / "examples" / "models"
Z = np.linspace(-9, 9, 1201)


def zero_inflated_counts(x):
    """Simpson's rule over z."""
    position = np.linspace(-1, 1, 5)[:, None]
    rate = np.exp(0.6 + 0.8 * position + 0.7 * Z)
    zero = special.expit(-1.0)
    p = (1 - zero) * stats.poisson.pmf(np.array(x)[:, None], rate) + zero * (np.array(x) == 0)[:, None]
    return np.log(integrate.simpson(p.prod(axis=0) * stats.norm.pdf(Z), x=Z))


def logistic_items(x):
    """Simpson's rule over both standard normals behind z."""
    first, second = np.meshgrid(Z[::3], Z[::3], indexing="ij")
    z = np.stack([0.2 + first, -0.1 + 0.4 * first + 0.9 * second])
    loadings = np.array([[1.2, 0.0], [0.9, 0.3], [0.7, -0.5], [0.2, 1.1], [0.0, 0.8], [-0.4, 1.0]])
    scores = np.tensordot(loadings, z, axes=1) + np.array([0.3, -0.2, 0.5, -1.0, 0.0, 0.4])[:, None, None]
    p = special.expit(scores * (2 * np.array(x) - 1)[:, None, None]).prod(axis=0)
    density = p * stats.norm.pdf(first) * stats.norm.pdf(second)
    return np.log(integrate.simpson(integrate.simpson(density, x=Z[::3]), x=Z[::3]))


@pytest.mark.parametrize("exact", [zero_inflated_counts, logistic_items], ids=lambda function: function.__name__)
def test_the_estimate_is_that_of_quadrature(exact):
    user = load(FOLDER / f"{exact.__name__}.py")
    est = logpx.estimate(user.model, user.x, n_samples=1 << 17)
    values = np.array([exact(row) for row in user.x])
    assert np.all(est.std_error < 0.01)
    assert np.all(np.abs(est.log_marginal - values) < 6 * est.std_error)
    if user.model.log_marginal is not None:
        np.testing.assert_allclose(user.model.log_marginal(np.array(user.x)), values, rtol=1e-9)
