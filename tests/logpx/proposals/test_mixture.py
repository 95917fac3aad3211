"""The mixture proposal against SciPy's densities and exact moments. Exact, except the test that says so."""

import numpy as np
import pytest
from scipy import integrate, special, stats

from logpx.errors import InputError
from logpx.proposals import Gaussian, Mixture
from logpx.proposals.divergences import chi2, kl, log_second_moment

RNG = np.random.default_rng(8)


def make(k, d, seed=0):
    rng = np.random.default_rng(seed)
    return Mixture(rng.dirichlet(np.ones(k)), rng.standard_normal((k, d)), rng.uniform(0.4, 2.0, (k, d)))


def draw(q, noise, dtype="float64"):
    z, log_q = np.full((q.n_latents, noise.shape[1]), np.nan, dtype), np.full(noise.shape[1], np.nan)
    q.kernel(q.lam.astype(dtype), q.dims, noise.astype(dtype), z, log_q)
    return z, log_q


def scipys(q, z):
    """log q by SciPy's normal densities, component by component."""
    parts = [stats.norm(m, s).logpdf(z.T).sum(axis=1) for m, s in zip(q.means, q.scales, strict=True)]
    return special.logsumexp(np.log(q.weights)[:, None] + parts, axis=0)


@pytest.mark.parametrize(("k", "d"), [(1, 1), (2, 3), (3, 4), (5, 7), (10, 64)])
@pytest.mark.parametrize("n_samples", [1, 255, 600])
def test_kernel_is_the_map_and_the_density_of_the_whole_mixture(k, d, n_samples):
    q = make(k, d)
    noise = RNG.standard_normal((d + 1, n_samples))
    z, log_q = draw(q, noise)
    chosen = np.searchsorted(np.cumsum(q.weights)[:-1], stats.norm.cdf(noise[0]), side="right")
    np.testing.assert_allclose(z, q.means[chosen].T + q.scales[chosen].T * noise[1:], rtol=1e-14, atol=1e-14)
    np.testing.assert_allclose(log_q, scipys(q, z), rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(q.log_density(z.T), scipys(q, z), rtol=1e-13, atol=1e-13)


def test_a_mixture_for_each_row_is_that_rows_mixture():
    """Row by row the same density and draws, also where a component has no weight; closed forms are refused."""
    few, more = make(2, 3, 1), make(3, 3, 2)
    means, scales = np.stack([more.means, more.means]), np.stack([more.scales, more.scales])
    means[0, :2], scales[0, :2] = few.means, few.scales
    rows = Mixture(np.stack([[*few.weights, 0.0], more.weights]), means, scales)
    assert rows.lam.shape[0] == 2
    noise = RNG.standard_normal((4, 300))
    points = np.empty((300, 2, 3))
    for i, alone in enumerate((few, more)):
        z, log_q = np.empty((3, 300)), np.empty(300)
        rows.kernel(rows.lam[i], rows.dims, noise, z, log_q)
        expected, density = draw(alone, noise)
        np.testing.assert_allclose(z, expected, rtol=1e-14, atol=1e-14)
        np.testing.assert_allclose(log_q, density, rtol=1e-13, atol=1e-13)
        points[:, i] = z.T
    expected = np.stack([few.log_density(points[:, 0]), more.log_density(points[:, 1])], axis=1)
    np.testing.assert_allclose(rows.log_density(points), expected, rtol=1e-13)
    with pytest.raises(InputError, match="closed forms exist"):
        log_second_moment(rows, Gaussian(np.zeros(3), np.ones(3)))


def test_components_far_apart_lose_no_digits():
    """At 1e8 standard deviations from 0 a density that scales before it subtracts is off by 1e-8 of a deviation."""
    q = Mixture([0.5, 0.5], [[1e8], [-1e8]], [[1.0], [0.5]])
    z, log_q = draw(q, RNG.standard_normal((2, 400)))
    e = np.where(z[0] > 0, z[0] - 1e8, (z[0] + 1e8) / 0.5)
    expected = np.log(0.5) + stats.norm.logpdf(e) - np.where(z[0] > 0, 0.0, np.log(0.5))
    np.testing.assert_allclose(log_q, expected, rtol=1e-14, atol=1e-14)


def test_components_are_drawn_with_their_weights():
    """2^18 draws of 5 components: |z| ≤ 6 each, false alarm 1e-8. Detects a weight off by 0.006."""
    q, n = make(5, 1), 2**18
    far = Mixture(q.weights, 100.0 * np.arange(5)[:, None], np.ones((5, 1)))
    z, _ = draw(far, np.random.default_rng(3).standard_normal((2, n)))
    shares = np.bincount(np.rint(z[0] / 100).astype(int), minlength=5) / n
    assert np.abs((shares - q.weights) / np.sqrt(q.weights * (1 - q.weights) / n)).max() < 6


def test_float32_is_float64_up_to_rounding():
    """Single precision of the squares: 2^−24 of their sum, about 64, for each of a few roundings."""
    q = make(10, 64)
    noise = RNG.standard_normal((65, 500)).astype(np.float32)
    z, log_q = draw(q, noise, "float32")
    np.testing.assert_allclose(log_q, q.log_density(z.T.astype(float)), rtol=0, atol=5e-5)
    assert np.ptp(log_q - q.log_density(z.T.astype(float))) > 0


def test_density_zero_far_out_is_minus_infinity():
    q = make(3, 2)
    out = np.empty(2)
    z = np.array([[1e200, 0.0], [0.0, 0.0]])
    from logpx.models import GaussianMixtureTarget

    model = GaussianMixtureTarget(q.weights, q.means, q.scales**2)
    model.log_joint(model.theta, model.dims, np.zeros(1), z, out)
    assert out[0] == -np.inf
    assert np.isfinite(out[1])


def test_weight_zero_leaves_a_component_out():
    q = Mixture([0.0, 1.0], [[5.0], [0.0]], [[1.0], [2.0]])
    assert len(q.weights) == 1
    np.testing.assert_allclose(q.log_density([1.0]), stats.norm(0, 2).logpdf(1.0))


@pytest.mark.parametrize("k", [1, 3])
def test_chi_square_against_a_gaussian_is_the_integral(k):
    p = make(k, 1, seed=4)
    q = Gaussian([0.3], [2.2])

    def squared(z):
        return np.exp(2 * p.log_density([z]) - q.log_density([z]))

    found = integrate.quad(squared, -60, 60, epsabs=1e-13, epsrel=1e-12, limit=500, points=[-5, 0, 5])[0] - 1
    np.testing.assert_allclose(chi2(p, q), found, rtol=1e-9)


def test_chi_square_of_one_component_is_the_gaussians_and_rows_go_with_rows():
    p = make(1, 6)
    means = RNG.standard_normal((3, 6))
    q = Gaussian.diagonal(means, np.full(6, 2.0))
    expected = log_second_moment(Gaussian(p.means[0], p.scales[0]), q)
    np.testing.assert_allclose(log_second_moment(p, q), expected, rtol=1e-11)
    np.testing.assert_allclose(
        log_second_moment(make(3, 6), q)[1], log_second_moment(make(3, 6), Gaussian(means[1], np.full(6, 2.0)))
    )
    assert chi2(p, Gaussian(p.means[0], 0.7 * p.scales[0])) == np.inf
    with pytest.raises(InputError, match="p has 6 latents and q 2"):
        chi2(p, Gaussian(np.zeros(2), np.ones(2)))
    with pytest.raises(InputError, match="given Mixture and Gaussian"):
        kl(p, q)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0.5, 0.6], np.zeros((2, 1)), np.ones((2, 1))), "add up to 1.1"),
        (([1.0], np.zeros((2, 1)), np.ones((2, 1))), r"weights \(1,\), means \(2, 1\), scales \(2, 1\) do not fit"),
        (([0.5, 0.5], np.zeros((2, 1)), np.ones((2, 2))), "do not fit"),
        (([0.5, 0.5], np.zeros((2, 1)), [[1.0], [0.0]]), r"scales\[1, 0\] is 0.0"),
        (([0.5, 0.5], np.full((2, 1), np.nan), np.ones((2, 1))), r"means\[0, 0\] is nan"),
    ],
)
def test_misuse_says_what_is_wrong(arguments, message):
    with pytest.raises(InputError, match=message):
        Mixture(*arguments)
