"""Gaussian proposals. Exact tests: the kernels against their map and SciPy's densities; every way to misuse them."""

import numpy as np
import pytest
from scipy import stats

from logpx.errors import InputError
from logpx.proposals import Gaussian

RNG = np.random.default_rng(20250126)
LOWER = np.tril(RNG.standard_normal((17, 17)), -1) + np.diag(np.resize([0.3, 1.0, 2.0, 0.7, 1.5], 17))


def draw(q, noise, dtype="float64", row=None):
    """z (d, B) and log q (B,) of given noise, by the proposal's kernel."""
    lam = (q.lam if row is None else q.lam[row]).astype(dtype)
    z, log_q = np.full(noise.shape, np.nan, dtype), np.full(noise.shape[1], np.nan)
    q.kernel(lam, q.dims, noise.astype(dtype), z, log_q)
    return z, log_q


@pytest.mark.parametrize("d", [1, 2, 3, 4, 5, 8, 11, 14, 16])
@pytest.mark.parametrize("n_samples", [1, 5, 300, 512])
def test_full_kernel_is_the_map_and_its_density(d, n_samples):
    factor, mean = LOWER[:d, :d], np.arange(d) - 1.5
    noise = RNG.standard_normal((d, n_samples))
    z, log_q = draw(Gaussian(mean, factor), noise)
    np.testing.assert_allclose(z, mean[:, None] + factor @ noise, rtol=1e-13, atol=1e-12)
    expected = stats.multivariate_normal(mean, factor @ factor.T).logpdf(z.T)
    np.testing.assert_allclose(log_q, np.atleast_1d(expected), rtol=1e-8, atol=1e-8)
    exact = stats.norm.logpdf(noise).sum(axis=0) - np.log(np.diagonal(factor)).sum()
    np.testing.assert_allclose(log_q, exact, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("d", [1, 2, 7])
def test_diagonal_kernel_is_the_map_and_its_density(d):
    mean, scale = RNG.standard_normal(d), RNG.uniform(0.1, 3.0, d)
    noise = RNG.standard_normal((d, 301))
    z, log_q = draw(Gaussian(mean, scale), noise)
    np.testing.assert_allclose(z, mean[:, None] + scale[:, None] * noise, rtol=1e-14, atol=1e-14)
    np.testing.assert_allclose(log_q, stats.norm(mean, scale).logpdf(z.T).sum(axis=1), rtol=1e-12, atol=1e-12)


def test_full_with_a_diagonal_factor_is_diagonal():
    noise = RNG.standard_normal((3, 64))
    one, other = Gaussian.diagonal([1, 2, 3], [0.5, 1, 2]), Gaussian.full([1, 2, 3], np.diag([0.5, 1, 2]))
    for a, b in zip(draw(one, noise), draw(other, noise), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-15, atol=1e-15)


@pytest.mark.parametrize("form", ["diagonal", "full"])
def test_float32_is_float64_up_to_rounding(form):
    """The constant of −150 nats alone would cost 8e-6 in float32: it is kept in two parts."""
    mean = np.linspace(-1, 1, 5)
    scale = np.full(5, 1e13) if form == "diagonal" else 1e13 * LOWER[:5, :5]
    q = Gaussian(mean, scale)
    noise = RNG.standard_normal((5, 256)).astype(np.float32)
    z, log_q = draw(q, noise, "float32")
    z64, log_q64 = draw(q, noise.astype(float))
    factor = np.diag(scale) if form == "diagonal" else scale
    assert np.all(np.abs(z - z64) <= 2.0**-22 * (np.abs(factor) @ np.abs(noise) + 1))
    np.testing.assert_allclose(log_q, log_q64, rtol=0, atol=2e-6)
    assert not np.array_equal(log_q, log_q64)


def test_log_density_is_scipys_also_row_by_row():
    means, z = RNG.standard_normal((4, 3)), RNG.standard_normal((6, 4, 3))
    scales, factor = RNG.uniform(0.5, 2, (4, 3)), LOWER[:3, :3]
    full, diagonal = Gaussian(means, factor).log_density(z), Gaussian(means, scales).log_density(z)
    assert full.shape == diagonal.shape == (6, 4)
    for i in range(4):
        expected = stats.multivariate_normal(means[i], factor @ factor.T).logpdf(z[:, i])
        np.testing.assert_allclose(full[:, i], expected, rtol=1e-12)
        expected = stats.multivariate_normal(means[i], np.diag(scales[i] ** 2)).logpdf(z[:, i])
        np.testing.assert_allclose(diagonal[:, i], expected, rtol=1e-12)


@pytest.mark.parametrize(
    "scale", [np.array([1.0, 2.0, 0.5]), RNG.uniform(0.5, 2, (4, 3)), LOWER[:3, :3]], ids=["shared", "own", "factor"]
)
def test_rows_of_lam_are_the_proposals_of_single_rows(scale):
    means = RNG.standard_normal((4, 3))
    q = Gaussian(means, scale)
    assert q.lam.shape[0] == 4
    assert q.lam.flags.c_contiguous
    for i in range(4):
        alone = Gaussian(means[i], scale[i] if scale.shape == (4, 3) else scale)
        np.testing.assert_array_equal(q.lam[i], alone.lam)
        assert alone.kernel is q.kernel


@pytest.mark.parametrize("d", [1, 2, 3, 5])
def test_a_factor_for_each_row(d):
    means = RNG.standard_normal((4, d))
    factors = np.array([(1 + i) * LOWER[:d, :d] for i in range(4)])
    q, z = Gaussian(means, factors), RNG.standard_normal((6, 4, d))
    assert q.form == "full"
    for i in range(4):
        alone = Gaussian(means[i], factors[i])
        np.testing.assert_array_equal(q.lam[i], alone.lam)
        np.testing.assert_allclose(q.log_density(z)[:, i], alone.log_density(z[:, i]), rtol=1e-12)


def test_scale_of_shape_d_by_d_is_read_as_documented():
    factor = LOWER[:3, :3]
    assert Gaussian(np.zeros(3), factor).form == "full"
    assert Gaussian(np.zeros((5, 3)), factor).form == "full"
    assert Gaussian(np.zeros((5, 3)), np.ones((5, 3))).form == "diagonal"
    assert Gaussian(np.zeros((1, 1)), np.ones((1, 1))).form == "diagonal"
    with pytest.raises(InputError, match=r"Gaussian\.diagonal\(mean, scale\) or Gaussian\.full"):
        Gaussian(np.zeros((3, 3)), factor)
    assert Gaussian.full(np.zeros((3, 3)), factor).form == "full"
    assert Gaussian.diagonal(np.zeros((3, 3)), np.ones((3, 3))).form == "diagonal"


@pytest.mark.parametrize(
    ("mean", "scale", "message"),
    [
        ([0.0, np.nan], [1.0, 1.0], r"mean\[1\] is nan"),
        ([0.0, 0.0], [1.0, np.inf], r"scale\[1\] is inf"),
        ([0.0, 0.0], [1.0, 0.0], r"scale\[1\] is 0.0; standard deviations must be above zero"),
        ([0.0, 0.0], [1.0], r"scale has shape \(1,\) beside a mean of shape \(2,\)"),
        ([0.0, 0.0], np.ones((3, 2)), r"has shape \(3, 2\); 2 latents need \(2, 2\)"),
        (np.zeros((3, 2)), np.ones((4, 2, 2)), r"\(4, 2, 2\); 2 latents need \(2, 2\) or \(3, 2, 2\)"),
        ([0.0, 0.0], [[2.0, 0.5], [0.5, 2.0]], r"pass np\.linalg\.cholesky\(covariance\)"),
        ([0.0, 0.0], [[2.0, 0.0], [0.5, -1.0]], r"diagonal entry 1 is -1\.0"),
        (0.0, [1.0], r"mean has shape \(\); it needs 1 or 2 axes"),
        ([], [], r"mean has shape \(0,\) and is empty"),
        (["a"], [1.0], r"mean has dtype <U1"),
        ([1j], [1.0], r"mean has dtype complex128"),
    ],
)
def test_misuse_says_what_is_wrong(mean, scale, message):
    with pytest.raises(InputError, match=message):
        Gaussian(mean, scale)


def test_form_is_one_of_two():
    with pytest.raises(InputError, match='"diagonal" or "full"'):
        Gaussian([0.0], [1.0], form="banded")


def test_is_frozen_and_keeps_its_own_copy():
    mean = np.zeros(2)
    q = Gaussian(mean, [1.0, 1.0])
    mean[0] = 5
    assert q.mean[0] == 0
    with pytest.raises(ValueError, match="read-only"):
        q.lam[0] = 1.0
    with pytest.raises(AttributeError):
        q.mean = mean
