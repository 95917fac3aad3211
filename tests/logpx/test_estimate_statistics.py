"""Statistical tests of estimates against exact marginals and closed forms.

z-tests at |z| < 5.5 (false alarm 4e-8 each, under 1e-6 over a test's cases). What each detects with probability
above 99 % is 8 standard errors: 8·√(χ²/N) nats for log p̂, stated with the test.
"""

import math

import numpy as np
import pytest
from scipy import stats

import logpx
from logpx.proposals import Prior, Uniform
from logpx.proposals.divergences import chi2, kl, second_moment

LIMIT = 5.5


def ways(name):
    """The proposals that a model can be estimated with."""
    model, _ = logpx.models.REGISTRY[name].example()
    prior = ["prior"] if model.prior is not None else []
    return ["default", *prior, *(["uniform"] if hasattr(model, "uniform_domain") else [])]


@pytest.mark.parametrize(("name", "how"), [(name, how) for name in logpx.models.REGISTRY for how in ways(name)])
def test_every_model_is_estimated_right(name, how):
    """2^18 weights a row: detects 8 of the estimate's own standard errors, a few hundredths of a nat or less."""
    model, x = logpx.models.REGISTRY[name].example()
    proposal = {"default": None, "prior": Prior(), "uniform": Uniform()}[how]
    estimate = logpx.estimate(model, x, proposal=proposal, n_samples=1 << 18, seed=11)
    rounding = 1e-12  # all there is where the prior is the posterior
    error = np.abs(estimate.log_marginal - model.log_marginal(x))
    assert np.all(error < LIMIT * estimate.std_error + rounding)
    assert np.all(estimate.std_error < 0.1)
    assert np.all(estimate.bias_floor <= 1.1e-12)


@pytest.fixture(scope="module")
def gaussian_case():
    """PPCA at 3 latents under its default proposal: KL, χ² and E[w²] are closed forms."""
    rng = np.random.default_rng(0)
    model = logpx.models.PPCA(rng.normal(size=(6, 3)), np.zeros(6), 0.7)
    x = model.sample(1, 5)[0]
    q = model.default_proposal(x)
    return model, x, q, logpx.estimate(model, x, proposal=q, n_samples=1 << 20, n_replicates=64, seed=2)


def test_the_elbo_falls_short_by_the_kl(gaussian_case):
    """E[L_1] = log p − KL(q‖posterior)."""
    model, x, q, estimate = gaussian_case
    shortfall = float(np.squeeze(kl(q, model.posterior(x))))
    read = estimate.bound(1)
    assert abs(read.value - (model.log_marginal(x) - shortfall)) < LIMIT * read.std_error
    assert shortfall > 20 * read.std_error


def test_the_error_and_the_ess_are_the_chi_square(gaussian_case):
    """std_error = √(χ²/N) and ESS = N/(1 + χ²). E[w⁴] is finite here; over 64 replicates the mean of CV² is normal."""
    model, x, q, estimate = gaussian_case
    divergence = float(np.squeeze(chi2(model.posterior(x), q)))
    n = estimate.n_samples * estimate.n_replicates
    each = estimate._each.totals.rel_m2 / estimate.n_samples
    spread = each.std(ddof=1) / 8
    assert abs(each.mean() - divergence) < LIMIT * spread
    assert spread < 0.01 * divergence
    assert estimate.std_error == pytest.approx(math.sqrt(divergence / n), rel=0.01)
    assert estimate.ess == pytest.approx(n / float(np.squeeze(second_moment(model.posterior(x), q))), rel=0.01)


def test_the_gap_closes_like_the_delta_method(gaussian_case):
    """E[Δ_k] = E[L_2k − L_k] → χ²/(4k): a z-test plus 3 % for the next order in 1/k; detects 6 % at k = 256."""
    model, x, q, estimate = gaussian_case
    expected = float(np.squeeze(chi2(model.posterior(x), q))) / (4 * 256)
    level = estimate.levels.level_of(256)
    error = estimate.levels.gap_std_error[level]
    assert error < 0.005 * expected
    assert abs(estimate.levels.gap[level] - expected) < LIMIT * error + 0.03 * expected


def test_richardson_removes_the_bias(gaussian_case):
    model, x, _, estimate = gaussian_case
    plain, first, second = estimate.bound(16), estimate.richardson(16, 1), estimate.richardson(16, 2)
    exact = model.log_marginal(x)
    assert abs(plain.value - exact) > 50 * plain.std_error
    assert abs(first.value - exact) < abs(plain.value - exact) / 5
    assert abs(second.value - exact) < abs(plain.value - exact) / 10


def test_intervals_cover_as_often_as_they_say():
    """Coverage of the 95 % interval over 4000 replicates of 4096 samples.

    Within 5 binomial standard deviations of 0.95 (false alarm 6e-7): detects an error that is 20 % too small.
    """
    model, x = logpx.models.PPCA.example()
    estimate = logpx.estimate(model, x[0], n_samples=4096, n_replicates=4000, seed=8)
    errors = estimate._each.totals.std_error
    covered = np.mean(np.abs(estimate.replicates - model.log_marginal(x[0])) < 1.959964 * errors)
    assert abs(covered - 0.95) < 5 * math.sqrt(0.95 * 0.05 / 4000)


def test_replicates_are_independent_and_normal():
    """Kolmogorov–Smirnov over 2000 standardised replicates, false alarm 1e-6.

    Detects a shift of 0.15 standard deviations or a scale of 0.85.
    """
    model, x = logpx.models.PPCA.example()
    estimate = logpx.estimate(model, x[0], n_samples=1 << 14, n_replicates=2000, seed=4)
    q = model.default_proposal(x[0])
    scale = math.sqrt(float(np.squeeze(chi2(model.posterior(x[0]), q))) / (1 << 14))
    z = (estimate.replicates - model.log_marginal(x[0])) / scale
    assert stats.kstest(z, "norm").pvalue > 1e-6
    lagged = np.corrcoef(z[:-1], z[1:])[0, 1]
    assert abs(lagged) < 5.5 / math.sqrt(z.size)


def test_infinite_variance_is_warned_of():
    """Rotated PPCA at 16 latents, mean-field without widening: E[w²] is infinite, and k̂ must say so."""
    rng = np.random.default_rng(1)
    model = logpx.models.PPCA(rng.normal(size=(30, 16)), np.zeros(30), 0.3)
    x = model.sample(1, 3)[0]
    q = model.default_proposal(x, widen=0.8)
    assert np.squeeze(second_moment(model.posterior(x), q)) == math.inf
    estimate = logpx.estimate(model, x, proposal=q, n_samples=1 << 16)
    assert estimate.pareto_k > 0.7
    assert any("Pareto" in said for said in estimate.warnings)
