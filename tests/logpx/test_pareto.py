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


def test_tail_lengths():
    assert [pareto.tail_length(n) for n in (10, 100, 225, 10_000, 1 << 40)] == [2, 20, 45, 300, 4096]


def test_threshold_rises_to_0_7():
    assert pareto.threshold(100) == pytest.approx(0.5)
    assert pareto.threshold(10**6) == 0.7


@pytest.mark.parametrize(
    ("log_weights", "reason"),
    [
        (np.zeros(1000), "constant"),
        (np.random.default_rng(0).normal(-50.0, 1e-14, 1000), "constant"),
        (np.repeat([0.0, -5.0], [300, 700]), "constant"),
        (np.concatenate([np.zeros(10), np.full(990, -np.inf)]), "not zero"),
        (np.zeros(10), "tail of 2"),
        (np.concatenate([[5.0, 4.0, 3.0], np.zeros(997)]), "ties"),
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
