"""The product of mixtures against SciPy's densities. Exact, except the test that says so."""

import numpy as np
import pytest
from scipy import stats

from logpx.errors import InputError
from logpx.proposals import Product

RNG = np.random.default_rng(8)


def make(d, k, rows=(), seed=0):
    rng = np.random.default_rng(seed)
    shape = (*rows, d, k)
    weights = rng.dirichlet(np.ones(k), shape[:-1])
    return Product(weights, 3 * rng.standard_normal(shape), rng.uniform(0.4, 2.0, shape))


def draw(q, noise, dtype="float64"):
    z, log_q = np.full((q.n_latents, noise.shape[1]), np.nan, dtype), np.full(noise.shape[1], np.nan)
    q.kernel(q.lam.astype(dtype), q.dims, noise.astype(dtype), z, log_q)
    return z, log_q


@pytest.mark.parametrize(("d", "k"), [(1, 1), (1, 3), (4, 2), (7, 5)])
@pytest.mark.parametrize("n_samples", [1, 600])
def test_kernel_is_the_map_and_its_density(d, k, n_samples):
    q = make(d, k)
    noise = RNG.standard_normal((2 * d, n_samples))
    z, log_q = draw(q, noise)
    expected = np.zeros(n_samples)
    for j in range(d):
        chosen = np.searchsorted(np.cumsum(q.weights[j])[:-1], stats.norm.cdf(noise[j]), side="right")
        np.testing.assert_allclose(z[j], q.means[j, chosen] + q.scales[j, chosen] * noise[d + j], rtol=1e-13)
        parts = [w * stats.norm(m, s).pdf(z[j]) for w, m, s in zip(q.weights[j], q.means[j], q.scales[j], strict=True)]
        expected += np.log(np.sum(parts, axis=0))
    np.testing.assert_allclose(log_q, expected, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(q.log_density(z.T), expected, rtol=1e-12, atol=1e-12)


def test_rows_of_lam_are_the_proposals_of_single_rows():
    q, z = make(3, 2, rows=(4,)), RNG.standard_normal((6, 4, 3))
    for i in range(4):
        alone = Product(q.weights[i], q.means[i], q.scales[i])
        np.testing.assert_array_equal(q.lam[i], alone.lam)
        np.testing.assert_allclose(q.log_density(z)[:, i], alone.log_density(z[:, i]), rtol=1e-13)


def test_components_are_drawn_with_their_weights():
    """2^18 draws of 5 components, one of weight zero: |z| ≤ 6 each, false alarm 1e-8. Detects a weight off by 0.006."""
    shares, n = np.array([0.0, 0.4, 0.3, 0.2, 0.1]), 2**18
    z, _ = draw(Product(shares[None], 100.0 * np.arange(5)[None], np.ones((1, 5))), RNG.standard_normal((2, n)))
    found = np.bincount(np.rint(z[0] / 100).astype(int), minlength=5) / n
    assert found[0] == 0
    assert np.abs((found - shares)[1:] / np.sqrt(shares * (1 - shares) / n)[1:]).max() < 6


def test_float32_is_float64_up_to_rounding():
    """A noise of ε deviations, at up to 5, rounds log q by 2^−23 ε² for each of 7 latents: 2e-5 at most."""
    q, noise = make(7, 3), RNG.standard_normal((14, 500)).astype(np.float32)
    z, log_q = draw(q, noise, "float32")
    error = log_q - q.log_density(z.T.astype(float))
    assert 1e-8 < np.abs(error).max() < 2e-5


@pytest.mark.parametrize(
    ("weights", "means", "scales", "message"),
    [
        ([[0.5, 0.6]], [[0.0, 0.0]], [[1.0, 1.0]], "add up to 1.1"),
        ([[0.5, 0.5]], [[0.0]], [[1.0, 1.0]], r"weights \(1, 2\), means \(1, 1\), scales \(1, 2\) do not fit"),
        ([[0.5, 0.5]], [[0.0, 0.0]], [[1.0, 0.0]], r"scales\[0, 1\] is 0.0; standard deviations must be above zero"),
        ([0.5, 0.5], [0.0, 0.0], [1.0, 1.0], r"weights has shape \(2,\); it needs 2 or 3 axes"),
    ],
)
def test_misuse_says_what_is_wrong(weights, means, scales, message):
    with pytest.raises(InputError, match=message):
        Product(weights, means, scales)
