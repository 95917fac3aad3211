"""Exact tests of Pareto k̂: ArviZ with the same tail length is the oracle."""

import warnings

import numpy as np
import pytest
from scipy import stats

from logpx import pareto
from logpx.ladder import Ladder


def arviz_k(log_weights, n_tail):
    """ArviZ's fit to the n_tail largest weights, as its psislw makes the exceedances."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from arviz.stats.stats import _gpdfit
    ordered = np.sort(log_weights - log_weights.max())
    tail, cutoff = ordered[-n_tail:], ordered[-n_tail - 1]
    with np.errstate(over="ignore"):
        return float(_gpdfit(np.exp(tail) - np.exp(cutoff))[0])


@pytest.mark.parametrize("n", [25, 100, 1000, 20_000, 3_000_000])
@pytest.mark.parametrize("shape", [-0.3, 0.1, 0.5, 0.9, 1.5])
def test_k_is_arvizs(n, shape):
    weights = stats.genpareto.rvs(shape, size=n, random_state=np.random.default_rng(n)) + 1e-3
    log_weights = np.log(weights)
    estimate = Ladder().update(log_weights).estimate()
    assert estimate.pareto_k == pytest.approx(arviz_k(log_weights, pareto.tail_length(n)), abs=1e-9)


#: A log weight for each state of discrete latents; rounding of them.
STATES = np.random.default_rng(1).normal(-80.0, 3.0, 250)
ULPS = 1e-14 * np.random.default_rng(2).integers(-3, 4, 1000)


def test_tail_lengths():
    assert [pareto.tail_length(n) for n in (10, 100, 225, 10_000, 1 << 40)] == [2, 20, 45, 300, 4096]


def test_threshold_rises_to_0_7():
    assert pareto.threshold(100) == pytest.approx(0.5)
    assert pareto.threshold(10**6) == 0.7


@pytest.mark.parametrize(
    ("log_weights", "reason"),
    [
        (np.zeros(1000), "96 largest weights are equal to rounding"),
        (np.random.default_rng(0).normal(-50.0, 1e-14, 1000), "96 largest weights are equal"),
        (np.repeat([0.0, -5.0], [300, 700]), "96 largest weights are equal"),
        (np.concatenate([np.zeros(10), np.full(990, -np.inf)]), "not zero"),
        (np.zeros(10), "tail of 2"),
        (np.concatenate([[5.0, 4.0, 3.0], np.zeros(997)]), "95 largest weights are ties, 4 different ones"),
        (np.repeat(STATES, 250), "750 largest weights are ties, 3 different ones"),
        (np.repeat(STATES, 4) + ULPS, "95 largest weights are ties, 24 different ones"),
    ],
)
def test_where_it_is_not_defined_the_reason_is_said(log_weights, reason):
    estimate = Ladder().update(log_weights).estimate()
    assert estimate.pareto_k is None
    assert any(reason in said for said in estimate.warnings)


def test_a_heavy_tail_is_warned_of():
    log_weights = np.log(np.random.default_rng(0).pareto(0.8, size=10_000))
    estimate = Ladder().update(log_weights).estimate()
    assert estimate.pareto_k > 0.9
    assert any("Pareto k̂" in said and "trusted" in said for said in estimate.warnings)


def test_ties_of_discrete_latents_are_not_taken_for_a_heavy_tail():
    """Two hundred and fifty states, each drawn some eighty times: a fit to six different weights warns for nothing."""
    rng = np.random.default_rng(3)
    log_weights = rng.normal(0.0, 1.5, 250)[rng.integers(0, 250, 20_000)]
    estimate = Ladder().update(log_weights).estimate()
    assert arviz_k(log_weights, pareto.tail_length(20_000)) > pareto.threshold(20_000)
    assert estimate.pareto_k is None
    assert estimate.ess > 1_000
    assert [said for said in estimate.warnings if "ties" in said and "judge by ess" in said] == list(estimate.warnings)


def test_a_few_ties_among_many_weights_change_nothing():
    """Every third weight of a continuous tail twice."""
    log_weights = np.log(stats.genpareto.rvs(0.5, size=15_000, random_state=np.random.default_rng(4)) + 1e-3)
    log_weights = np.concatenate([log_weights, log_weights[::3]])
    found = Ladder().update(log_weights).estimate().pareto_k
    assert found == pytest.approx(arviz_k(log_weights, pareto.tail_length(20_000)), abs=1e-9)
