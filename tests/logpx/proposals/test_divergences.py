"""KL, χ² and E_q[(p/q)²] in closed form against quadrature on a grid, mpmath, and known limits. Exact tests."""

import mpmath
import numpy as np
import pytest
from scipy import stats

from logpx.errors import InputError
from logpx.proposals import Categorical, Gaussian, Uniform
from logpx.proposals.divergences import chi2, kl, log_second_moment, second_moment

FACTOR = np.array([[0.8, 0.0], [-0.5, 0.6]])
PAIRS = {
    "one latent, shifted": (Gaussian([0.3], [0.5]), Gaussian([-0.1], [0.6])),
    "one latent, narrow q": (Gaussian([0.3], [0.5]), Gaussian([0.3], [0.4])),
    "full and diagonal": (Gaussian([0.2, -0.4], FACTOR), Gaussian([0.0, 0.1], [1.0, 1.1])),
    "full and full": (Gaussian([0.2, -0.4], FACTOR), Gaussian([0.3, -0.4], [[1.2, 0.0], [0.3, 0.9]])),
    "diagonal and full": (Gaussian([0.2, -0.4], [0.4, 0.6]), Gaussian([0.3, -0.4], [[0.7, 0.0], [0.3, 0.9]])),
}


def scipys(p):
    return stats.multivariate_normal(p.mean, p.cholesky @ p.cholesky.T)


def grid(d):
    """Points and the volume of a cell: the trapezoidal rule converges exponentially for Gaussians."""
    axis = np.linspace(-14, 14, 20_001 if d == 1 else 701)
    points = np.stack(np.meshgrid(*[axis] * d, indexing="ij"), axis=-1).reshape(-1, d)
    return points, (axis[1] - axis[0]) ** d


@pytest.mark.parametrize("pair", PAIRS)
def test_closed_forms_are_the_integrals(pair):
    p, q = PAIRS[pair]
    points, cell = grid(p.n_latents)
    log_p, log_q = scipys(p).logpdf(points), scipys(q).logpdf(points)
    np.testing.assert_allclose(kl(p, q), cell * np.sum(np.exp(log_p) * (log_p - log_q)), rtol=1e-10)
    integral = cell * np.sum(np.exp(2 * log_p - log_q))
    np.testing.assert_allclose(second_moment(p, q), integral, rtol=1e-10)
    np.testing.assert_allclose(chi2(p, q), integral - 1, rtol=1e-9)
    np.testing.assert_allclose(log_second_moment(p, q), np.log(integral), rtol=1e-10)


@pytest.mark.parametrize("measure", [kl, chi2, log_second_moment])
def test_of_itself_is_zero(measure):
    p = PAIRS["full and full"][0]
    assert abs(measure(p, p)) < 1e-14


def test_infinite_exactly_where_the_variance_is():
    """2Λ_p − Λ_q positive definite is the condition; one direction of two is enough to break it."""
    p = Gaussian([0.0, 0.0], [1.0, 1.0])
    just = Gaussian([0.0, 0.0], [3.0, np.sqrt(0.5) * (1 + 1e-9)])
    assert np.isfinite(chi2(p, just))
    for narrow in (np.sqrt(0.5) * (1 - 1e-9), 0.1):
        over = Gaussian([0.0, 5.0], [3.0, narrow])
        assert chi2(p, over) == second_moment(p, over) == log_second_moment(p, over) == np.inf
        assert np.isfinite(kl(p, over))
    turn = np.array([[np.cos(1.0), -np.sin(1.0)], [np.sin(1.0), np.cos(1.0)]])
    tilted = np.linalg.cholesky(turn @ np.diag([9.0, 0.49]) @ turn.T)
    assert chi2(p, Gaussian([0.0, 0.0], tilted)) == np.inf
    assert np.all(np.diag(tilted @ tilted.T) > 0.5)


def test_close_distributions_do_not_cancel():
    """χ² of N(0, 1) against N(1e-6, (1 + 1e-7)²), to 12 digits by mpmath; a difference from 1 would keep four."""
    with mpmath.workdps(60):
        shift, s = mpmath.mpf(1e-6), 1 + mpmath.mpf(1e-7)
        e = 1 / mpmath.mpf(float(s)) ** 2
        exact = mpmath.exp(shift**2 * e * e / (2 - e) / 2 + shift**2 * e / 2) / mpmath.sqrt(e * (2 - e)) - 1
    value = chi2(Gaussian([0.0], [1.0]), Gaussian([1e-6], [float(s)]))
    assert abs(value / float(exact) - 1) < 1e-8


def test_very_poor_proposals_overflow_to_infinity_but_not_in_the_log():
    p, q = Gaussian([0.0], [1.0]), Gaussian([60.0], [1.0])
    assert second_moment(p, q) == chi2(p, q) == np.inf
    np.testing.assert_allclose(log_second_moment(p, q), 3600.0, rtol=1e-14)
    np.testing.assert_allclose(kl(p, q), 1800.0, rtol=1e-14)


def test_rows_are_the_single_values():
    rng = np.random.default_rng(3)
    means, scales = rng.standard_normal((6, 2)), rng.uniform(0.8, 2, (6, 2))
    p, q = Gaussian(means, FACTOR), Gaussian(means[::-1], scales)
    for measure in (kl, chi2, second_moment):
        values = measure(p, q)
        assert values.shape == (6,)
        alone = [measure(Gaussian(means[i], FACTOR), Gaussian(means[5 - i], scales[i])) for i in range(6)]
        np.testing.assert_allclose(values, alone, rtol=1e-12)
        assert isinstance(alone[0], float)


def test_categoricals_are_sums():
    p, q = np.array([0.2, 0.5, 0.3, 0.0]), np.array([0.25, 0.25, 0.4, 0.1])
    a, b = Categorical(p), Categorical(q)
    np.testing.assert_allclose(kl(a, b), sum(x * np.log(x / y) for x, y in zip(p[:3], q[:3], strict=True)), rtol=1e-13)
    np.testing.assert_allclose(second_moment(a, b), (p**2 / q).sum(), rtol=1e-13)
    np.testing.assert_allclose(chi2(a, b), (p**2 / q).sum() - 1, rtol=1e-12)
    assert chi2(b, a) == kl(b, a) == second_moment(b, a) == np.inf
    assert chi2(a, a) == kl(a, a) == 0.0


def test_other_pairs_are_refused():
    with pytest.raises(InputError, match=r"closed forms exist for .*; given Gaussian and Uniform"):
        kl(Gaussian([0.0], [1.0]), Uniform([0.0], [1.0]))
    with pytest.raises(InputError, match="p has 1 latents and q 2"):
        chi2(Gaussian([0.0], [1.0]), Gaussian([0.0, 0.0], [1.0, 1.0]))
