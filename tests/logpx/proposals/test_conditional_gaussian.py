"""A component and Gaussians given it: density and draws against SciPy. Exact, except the frequencies and moments."""

import numpy as np
import pytest
from scipy import stats

from logpx.errors import InputError
from logpx.proposals import ConditionalGaussian


def make(k=3, d=2, rows=None, seed=0):
    rng = np.random.default_rng(seed)
    factors = np.tril(rng.standard_normal((k, d, d)), -1) + rng.uniform(0.3, 2.0, (k, d))[:, :, None] * np.eye(d)
    shape = (k,) if rows is None else (rows, k)
    return ConditionalGaussian(rng.dirichlet(np.ones(k), rows), rng.normal(0, 3, (*shape, d)), factors)


def draw(q, n, dtype="float64"):
    noise = np.random.default_rng(5).standard_normal((q.n_base, n)).astype(dtype)
    z, log_q = np.empty((q.n_latents, n), dtype), np.empty(n)
    q.kernel(q.lam.astype(dtype), q.dims, noise, z, log_q)
    return z, log_q


def scipys(q, z):
    """z (1 + d, n)."""
    chosen = z[0].astype(int)
    within = [stats.multivariate_normal(m, root @ root.T) for m, root in zip(q.means, q.cholesky, strict=True)]
    return np.array([np.log(q.probabilities[c]) + within[c].logpdf(v) for c, v in zip(chosen, z[1:].T, strict=True)])


@pytest.mark.parametrize(("k", "d"), [(1, 1), (3, 2), (5, 7)])
def test_log_q_is_scipys_density_of_what_was_drawn(k, d):
    q = make(k, d)
    z, log_q = draw(q, 200)
    np.testing.assert_allclose(log_q, scipys(q, z), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(q.log_density(z.T), log_q, rtol=1e-12, atol=1e-12)
    assert np.all(q.log_density(np.vstack([z[:1] + 0.5, z[1:]]).T) == -np.inf)


def test_rows_have_probabilities_and_means_of_their_own():
    q = make(3, 2, rows=4)
    points = np.column_stack([[0, 2, 1, 1], np.random.default_rng(1).standard_normal((4, 2))])
    for i, value in enumerate(q.log_density(points)):
        alone = ConditionalGaussian(q.probabilities[i], q.means[i], q.cholesky)
        np.testing.assert_array_equal(alone.lam, q.lam[i])
        np.testing.assert_allclose(value, scipys(alone, points[i][:, None])[0], rtol=1e-12)


def test_frequencies_and_moments_of_draws():
    """z-scores of 3 frequencies and, given each component, of 2 means and 3 products, 2^18 draws.

    |z| ≤ 6: false alarm 4e-8. Detects a frequency off by 0.006 and a mean by 0.03 standard deviations.
    """
    q, n = make(), 2**18
    z, _ = draw(q, n)
    for k, (w, mean, root) in enumerate(zip(q.probabilities, q.means, q.cholesky, strict=True)):
        here = z[1:, z[0] == k]
        assert abs(here.shape[1] / n - w) < 6 * np.sqrt(w * (1 - w) / n)
        standard = np.linalg.solve(root, here - mean[:, None])
        assert np.abs(standard.mean(axis=1)).max() < 6 / np.sqrt(here.shape[1])
        second = standard @ standard.T / here.shape[1]
        assert np.abs((second - np.eye(2)) / np.sqrt(1 + np.eye(2))).max() < 6 / np.sqrt(here.shape[1])


@pytest.mark.parametrize("shares", [[0.0, 1.0, 0.0], [0.5, 0.0, 0.5], [0.0, 0.0, 1.0]])
def test_what_has_probability_zero_is_never_drawn(shares):
    """With noise out to ±40, where a normal has no mass in float64."""
    q = ConditionalGaussian(shares, np.zeros((3, 1)), np.ones((3, 1, 1)))
    noise, z, log_q = np.vstack([np.linspace(-40, 40, 1001), np.zeros(1001)]), np.empty((2, 1001)), np.empty(1001)
    q.kernel(q.lam, q.dims, noise, z, log_q)
    assert set(z[0]) == set(np.flatnonzero(shares))
    assert np.all(np.isfinite(log_q))
    assert q.missing_mass is None
    assert make().missing_mass == 0.0


@pytest.mark.parametrize(
    ("probabilities", "means", "cholesky", "message"),
    [
        ([0.5, 0.5], np.zeros((3, 1)), np.ones((3, 1, 1)), r"probabilities \(2,\), means \(3, 1\).* do not fit"),
        ([0.5, 0.4], np.zeros((2, 1)), np.ones((2, 1, 1)), "probabilities add up to 0.9"),
        ([0.5, 0.5], np.zeros((2, 2)), np.ones((2, 2, 2)), "no lower Cholesky factors"),
        ([0.5, 0.5], np.zeros((2, 1)), -np.ones((2, 1, 1)), "no lower Cholesky factors"),
    ],
)
def test_misuse_says_what_is_wrong(probabilities, means, cholesky, message):
    with pytest.raises(InputError, match=message):
        ConditionalGaussian(probabilities, means, cholesky)
