"""Statistical tests of the ladder on two-point weights, where E[L_k] is a binomial sum.

With w = e^a (probability p) or 1, E[L_k] = Σ_m C(k, m) p^m (1 − p)^(k−m) log((m e^a + k − m)/k). Each comparison
is a z-test at |z| < 5.5 (false alarm 4e-8, under 1e-6 over the 24 made here), on 2^22 weights: it detects a
shift of L_k by 8 standard errors (1e-3 of a nat at k = 1, less above) with probability above 99 %.
"""

import numpy as np
import pytest
from scipy import stats

from logpx.ladder import Ladder

LIMIT = 5.5


def expected_bound(k, a, p):
    m = np.arange(k + 1)
    return float(np.sum(stats.binom.pmf(m, k, p) * np.log((m * np.exp(a) + (k - m)) / k)))


@pytest.fixture(scope="module", params=[(1.0, 0.3), (4.0, 0.05)], ids=str)
def two_point(request):
    a, p = request.param
    draws = np.random.default_rng(20).random(1 << 22) < p
    return a, p, Ladder().update(np.where(draws, a, 0.0))


@pytest.mark.parametrize("k", [1, 2, 4, 32, 256, 2048])
def test_the_bound_is_the_binomial_sum(two_point, k):
    a, p, ladder = two_point
    read = ladder.bound(k)
    assert abs(read.value - expected_bound(k, a, p)) < LIMIT * read.std_error


@pytest.mark.parametrize("k", [2, 16, 128])
@pytest.mark.parametrize("order", [1, 2])
def test_richardson_is_the_combination_of_binomial_sums(two_point, k, order):
    a, p, ladder = two_point
    l1, l2, l4 = (expected_bound(n, a, p) for n in (k, 2 * k, 4 * k))
    expected = 2 * l2 - l1 if order == 1 else (8 * l4 - 6 * l2 + l1) / 3
    read = ladder.richardson(k, order)
    assert abs(read.value - expected) < LIMIT * read.std_error


def test_the_estimate_is_the_log_mean(two_point):
    a, p, ladder = two_point
    estimate = ladder.estimate()
    assert abs(estimate.log_marginal - np.log(p * np.exp(a) + 1 - p)) < LIMIT * estimate.std_error
