"""The beta-binomial model against exact rational arithmetic, quadrature and SciPy. Exact, except moments of samples."""

import itertools
from math import log

import numpy as np
import pytest
from scipy import integrate, special, stats

from logpx.errors import InputError
from logpx.models import BetaBinomial
from logpx_bench.second_routes.urns import binomial_urn


def log_joint(model, x, z):
    out = np.empty(len(z))
    model.log_joint(model.theta, model.dims, np.asarray(x, dtype=float), np.asarray(z, dtype=float)[None], out)
    return out


@pytest.mark.second_route("beta_binomial")
def test_log_marginal_is_polyas_urn():
    model = BetaBinomial(0.5, 2.25, [3, 1, 4])
    every = np.array(list(itertools.product(range(4), range(2), range(5))), dtype=float)
    exact = [binomial_urn(0.5, 2.25, model.n_trials, x) for x in every]
    assert sum(exact) == 1
    np.testing.assert_allclose(model.log_marginal(every), [log(p) for p in exact], rtol=1e-13, atol=1e-13)


def test_one_count_is_scipys_distribution_and_a_published_value():
    """50 ones among 100 with a Beta(1, 1) and a Beta(30, 30) prior: a Bayes factor of 4.90976 (PyMC's example)."""
    counts = np.arange(13.0)[:, None]
    model = BetaBinomial(1.5, 4.0, 12)
    np.testing.assert_allclose(
        model.log_marginal(counts), stats.betabinom.logpmf(counts[:, 0], 12, 1.5, 4.0), rtol=1e-12
    )
    x = np.repeat([1.0, 0.0], 50)
    flat, sharp = BetaBinomial(1.0, 1.0, np.ones(100)), BetaBinomial(30.0, 30.0, np.ones(100))
    found = flat.log_marginal(x), sharp.log_marginal(x)
    np.testing.assert_allclose(found, [-71.398962, -69.807737], atol=5e-7)


@pytest.mark.parametrize(("a", "b"), [(0.1, 0.1), (2.0, 3.0), (500.0, 20.0)])
def test_the_joint_is_binomial_times_beta_times_jacobian(a, b):
    model, x = BetaBinomial(a, b, [10, 15, 20]), np.array([10.0, 0.0, 7.0])
    z = np.linspace(-20, 20, 81)
    rate = special.expit(z)
    expected = stats.binom.logpmf(x, model.n_trials, rate[:, None]).sum(axis=1) + stats.beta.logpdf(rate, a, b)
    expected += special.log_expit(z) + special.log_expit(-z)
    np.testing.assert_allclose(log_joint(model, x, z), expected, rtol=1e-8)
    top = log_joint(model, x, z).max()
    mass = integrate.quad(lambda z: np.exp(log_joint(model, x, [z])[0] - top), -60, 60, epsabs=1e-14, limit=300)[0]
    np.testing.assert_allclose(top + np.log(mass), model.log_marginal(x), rtol=1e-11)


def test_far_out_nothing_overflows():
    model, X = BetaBinomial.example()
    values = log_joint(model, X[0], [-1e4, -800.0, 800.0, 1e4])
    assert np.all(np.isfinite(values))
    assert np.all(np.diff(values) != 0)


def test_counts_that_cannot_be_have_density_zero():
    model, _ = BetaBinomial.example()
    for x in ([11.0, 0.0, 0.0], [-1.0, 0.0, 0.0], [0.5, 0.0, 0.0]):
        assert np.all(log_joint(model, x, [-1.0, 0.0, 1.0]) == -np.inf)
        assert model.log_joint_scalar(model.theta, model.dims, x, [0.0]) == -np.inf


def test_the_box_leaves_out_what_it_says():
    model, X = BetaBinomial.example()
    box = model.uniform_domain(X, 1e-6)
    for i, x in enumerate(X):
        inside = integrate.quad(
            lambda z, x=x: np.exp(log_joint(model, x, [z])[0] - model.log_marginal(x)), *box.low[i], *box.high[i]
        )[0]
        np.testing.assert_allclose(1 - inside, 1e-6, rtol=1e-3)
    np.testing.assert_allclose(box.missing_mass, 1e-6, rtol=1e-6)
    with pytest.raises(InputError, match=r"low has shape \(2,\)"):
        model.missing_mass(X, np.zeros(2), np.ones(1))
    with pytest.raises(InputError, match="missing is 0"):
        model.uniform_domain(X, 0)


def test_moments_of_samples():
    """z-scores of the mean and second moment of each count and of z, 2^16 rows.

    |z| ≤ 6: false alarm 2e-9 each. Detects a rate off by 0.005.
    """
    model, _ = BetaBinomial.example()
    n = 2**16
    X, Z = model.sample(n, 3, return_latents=True)
    for j, trials in enumerate(model.n_trials):
        exact = stats.betabinom(int(trials), model.a, model.b)
        for power in (1, 2):
            spread = np.sqrt((exact.moment(2 * power) - exact.moment(power) ** 2) / n)
            assert abs((X[:, j] ** power).mean() - exact.moment(power)) < 6 * spread
    mean = special.digamma(model.a) - special.digamma(model.b)
    variance = special.polygamma(1, model.a) + special.polygamma(1, model.b)
    assert abs(Z.mean() - mean) < 6 * np.sqrt(variance / n)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0.0, 1.0, 5), "a runs from 0.0 to 0.0; it may be from 0.1"),
        ((1.0, 1e7, 5), "b runs from"),
        ((1.0, 1.0, [5, 0]), r"n_trials\[1\]=0.0: a whole number from 1 to 1000000"),
        ((1.0, 1.0, 2.5), r"n_trials\[0\]=2.5"),
        ((1.0, 1.0, np.full(2, 10**6)), "n_trials add up to 2000000"),
        (([1.0], 1.0, 5), "a has shape"),
    ],
)
def test_bad_parameters_say_what_is_wrong(arguments, message):
    with pytest.raises(InputError, match=message):
        BetaBinomial(*arguments)


def test_bad_data_say_what_is_wrong():
    model, _ = BetaBinomial.example()
    with pytest.raises(InputError, match=r"x holds 16.0 at row 1, column 1 .*; it must be a whole number from 0 to 15"):
        model.log_marginal([[0, 0, 0], [0, 16, 0]])
