"""Logits of beta variables against SciPy's beta distribution and quadrature. Exact tests."""

import numpy as np
import pytest
from scipy import integrate, special, stats

from logpx.errors import InputError
from logpx.proposals import Gaussian, LogitBeta
from logpx.proposals.divergences import chi2, kl, second_moment

SHAPES = [(0.1, 0.1), (0.2, 5.0), (0.5, 0.5), (1.0, 1.0), (2.0, 3.0), (0.5, 50.0), (30.0, 70.0), (1000.0, 3.0)]


def draw(q, noise):
    z, log_q = np.full(noise.shape, np.nan), np.full(noise.shape[1], np.nan)
    q.kernel(q.lam, q.dims, noise, z, log_q)
    return z, log_q


@pytest.mark.parametrize(("a", "b"), SHAPES)
def test_a_draw_is_the_quantile_and_its_density_that_of_the_logit(a, b):
    """The map is monotone, and the probability below each draw is that of the noise, to far out in both tails."""
    noise = np.linspace(-8.5, 8.5, 4001)[None]
    z, log_q = draw(LogitBeta([a], [b]), noise)
    assert np.all(np.diff(z[0]) > 0)
    with np.errstate(under="ignore"):
        low = noise[0] < 0
        below = stats.beta.cdf(special.expit(z[0][low]), a, b)
        above = stats.beta.cdf(special.expit(-z[0][~low]), b, a)
    loose = 1e-7 if min(a, b) < 0.5 else 3e-10
    kept = below > 1e-300
    np.testing.assert_allclose(below[kept], special.ndtr(noise[0][low])[kept], rtol=loose)
    np.testing.assert_allclose(above, special.ndtr(-noise[0][~low]), rtol=loose)
    middle = np.abs(z[0]) < 7  # beyond, SciPy's density loses the digits of 1 − v
    v = special.expit(z[0][middle])
    expected = stats.beta.logpdf(v, a, b) + special.log_expit(z[0][middle]) + special.log_expit(-z[0][middle])
    np.testing.assert_allclose(log_q[middle], expected, rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(LogitBeta([a], [b]).log_density(z.T), log_q, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("a", "b"), SHAPES)
def test_what_is_drawn_has_the_density_that_is_claimed(a, b):
    """∫ φ(ε) f(T(ε)) dε over the noise against E f under the beta distribution: v, v² and log v."""
    nodes, weights = np.polynomial.legendre.leggauss(20)
    starts = np.arange(-72, 72) / 8
    noise = (starts[:, None] + (nodes + 1) / 16).ravel()
    mass = (np.broadcast_to(weights / 16, (144, 20)).ravel()) * stats.norm.pdf(noise)
    z, _ = draw(LogitBeta([a], [b]), noise[None])
    v = special.expit(z[0])
    close = 1e-8 if a == 0.1 else 1e-9
    np.testing.assert_allclose(mass @ v, a / (a + b), rtol=close)
    np.testing.assert_allclose(mass @ v**2, a * (a + 1) / ((a + b) * (a + b + 1)), rtol=close)
    log_v = special.digamma(a) - special.digamma(a + b)
    np.testing.assert_allclose(mass @ special.log_expit(z[0]), log_v, rtol=close)


def test_several_latents_and_rows():
    a, b = np.array([[1.0, 2.0], [3.0, 0.7]]), np.array([[2.0, 2.0], [0.5, 40.0]])
    noise = np.random.default_rng(0).standard_normal((2, 50))
    q = LogitBeta(a, b)
    for i in range(2):
        np.testing.assert_allclose(q.lam[i], LogitBeta(a[i], b[i]).lam, rtol=1e-12)
        z, log_q = draw(LogitBeta(a[i], b[i]), noise)
        for k in range(2):
            np.testing.assert_array_equal(
                z[k], draw(LogitBeta(a[i, k : k + 1], b[i, k : k + 1]), noise[k : k + 1])[0][0]
            )
        np.testing.assert_allclose(q.log_density(np.broadcast_to(z.T[:, None], (50, 2, 2)))[:, i], log_q, rtol=1e-12)


@pytest.mark.parametrize("pair", [((2.0, 3.0), (1.5, 2.5)), ((0.7, 9.0), (0.9, 4.0))])
def test_closed_forms_are_the_integrals(pair):
    (a, b), (c, d) = pair
    p, q = LogitBeta([a], [b]), LogitBeta([c], [d])
    log_p, log_q = (lambda z, one=one: one.log_density(np.array([z])) for one in (p, q))
    by_parts = [
        integrate.quad(f, -150, 150, epsabs=1e-13, limit=400, points=[-10.0, 0.0, 10.0])[0]
        for f in (
            lambda z: np.exp(log_p(z)) * (log_p(z) - log_q(z)),
            lambda z: np.exp(2 * log_p(z) - log_q(z)),
        )
    ]
    np.testing.assert_allclose([kl(p, q), second_moment(p, q)], by_parts, rtol=1e-9)
    twice = LogitBeta([a, a], [b, b]), LogitBeta([c, c], [d, d])
    np.testing.assert_allclose([kl(*twice), second_moment(*twice)], [2 * by_parts[0], by_parts[1] ** 2], rtol=1e-9)


def test_second_moment_is_infinite_exactly_where_the_tails_say_so():
    p = LogitBeta([1.0], [1.0])
    assert np.isfinite(chi2(p, LogitBeta([1.99], [1.99])))
    assert chi2(p, LogitBeta([2.0], [1.0])) == chi2(p, LogitBeta([1.0], [2.0])) == np.inf
    assert abs(chi2(p, p)) < 1e-15


def test_misuse_says_what_is_wrong():
    with pytest.raises(InputError, match=r"a runs from 0.05 to 1.0; allowed is 0.1 to 1e\+07"):
        LogitBeta([0.05, 1.0], [1.0, 1.0])
    with pytest.raises(InputError, match="b runs from"):
        LogitBeta([1.0], [1e8])
    with pytest.raises(InputError, match=r"a has shape \(1,\) and b \(2,\)"):
        LogitBeta([1.0], [1.0, 1.0])
    with pytest.raises(InputError, match="given LogitBeta and Gaussian"):
        kl(LogitBeta([1.0], [1.0]), Gaussian([0.0], [1.0]))
