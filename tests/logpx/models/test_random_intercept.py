"""Random intercepts against SciPy's adaptive quadrature of the textbook's integrand. Exact, except where said."""

import numpy as np
import pytest
from scipy import special, stats

import logpx
from logpx.errors import InputError, NotAvailableError
from logpx.models import RandomIntercept
from logpx_bench.second_routes.integrals import LINKS
from logpx_bench.second_routes.integrals import random_intercept as by_quadrature

GROUPS = [2, 0, 1, 0, 2, 2, 0, 1, 2, 2]


def make(link="logit", scale=1.7, groups=GROUPS):
    return RandomIntercept(groups, scale, np.linspace(-1.0, 1.5, len(groups)), link)


def log_joint(model, x, z):
    out = np.empty(z.shape[1])
    model.log_joint(model.theta, model.dims, x, z, out)
    return out


@pytest.mark.second_route("random_intercept")
@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("scale", [0.1, 1.7])
def test_log_marginal_is_the_integral(link, scale):
    """Random responses, and all alike, where the likelihood alone has no maximum."""
    model = make(link, scale)
    rows = np.vstack([model.sample(2, 3), np.ones(10)])
    np.testing.assert_allclose(model.log_marginal(rows), by_quadrature(model, rows), rtol=0, atol=1e-10)


@pytest.mark.parametrize("link", LINKS)
def test_all_responses_together_have_probability_one(link):
    model = make(link, 2.5, [0, 1, 1, 0, 1, 1, 1])
    every = np.array([[int(b) for b in f"{i:07b}"] for i in range(128)])
    assert abs(np.exp(model.log_marginal(every)).sum() - 1) < 1e-11


@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("spread", [1.0, 20.0])
def test_log_joint_is_prior_plus_likelihood(link, spread):
    """100 responses in 3 groups: products of factors are cut within and between groups."""
    model = make(link, groups=np.random.default_rng(1).permutation(np.arange(100) % 3))
    x, z = model.sample(1, 1)[0], spread * np.random.default_rng(2).standard_normal((3, 400))
    t = (2 * x - 1)[:, None] * (model.offsets[:, None] + 1.7 * z[model.groups])
    log_f = special.log_expit(t) if link == "logit" else special.log_ndtr(t)
    expected = stats.norm.logpdf(z).sum(axis=0) + log_f.sum(axis=0)
    np.testing.assert_allclose(log_joint(model, x, z), expected, rtol=1e-13)
    scalar = [model.log_joint_scalar(model.theta, model.dims, x, sample) for sample in z.T[:40]]
    np.testing.assert_allclose(scalar, expected[:40], rtol=1e-12)


@pytest.mark.parametrize("link", LINKS)
def test_estimates_are_exact_within_their_error(link):
    """|z| ≤ 5 for 3 rows: false alarm 1.7e-6. At 200 responses in 20 groups, 40 % of the samples count,
    and 10 % where all responses are alike and every group is skewed."""
    model = make(link, 1.0, np.arange(200) % 20)
    rows = np.vstack([model.sample(2, 5), np.ones(200)])
    estimate = logpx.estimate(model, rows, n_samples=1 << 13, seed=2)
    assert np.all(np.abs(estimate.log_marginal - model.log_marginal(rows)) < 5 * estimate.std_error)
    assert np.all(estimate.ess > np.array([0.4, 0.4, 0.1]) * (1 << 13))


def test_an_integrand_like_a_step_is_an_error():
    model = RandomIntercept([0, 0], 1e5, [1e4, -1e4])
    with pytest.raises(NotAvailableError, match="16384 nodes do not settle its integral"):
        model.log_marginal([1, 0])


def test_means_of_samples():
    """Shares of ones, and of pairs of ones within and between groups, 2^17 rows, |z| ≤ 6 for 6: false alarm 1.2e-8."""
    model, n = RandomIntercept([0, 0, 1], 1.7, [0.3, -0.5, 1.0], "probit"), 2**17
    X = model.sample(n, 8)
    pairs = {(0,): [0], (1,): [1], (2,): [2], (0, 1): [0, 1], (0, 2): [0, 2], (1, 2): [1, 2]}
    for columns in pairs.values():
        others = [j for j in range(3) if j not in columns]
        rows = np.ones((2 ** len(others), 3))
        rows[:, others] = [[int(b) for b in f"{i:0{len(others)}b}"] for i in range(len(rows))]
        chance = np.exp(model.log_marginal(rows)).sum()
        found = X[:, columns].prod(axis=1).mean()
        assert abs(found - chance) < 6 * np.sqrt(chance * (1 - chance) / n)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0, 2], 1.0), r"groups are numbered \[0\. 2\.\] …; they must be 0 … G − 1"),
        (([0, 0.5], 1.0), "groups are numbered"),
        (([0, 1], 0.0), "scale is 0.0"),
        (([0, 1], 1.0, [0.0]), r"offsets has shape \(1,\); 2 responses need \(2,\), or one number"),
        (([0, 1], 1.0, 0.0, "cloglog"), "link is 'cloglog'"),
    ],
)
def test_bad_parameters_say_what_is_wrong(arguments, message):
    with pytest.raises(InputError, match=message):
        RandomIntercept(*arguments)


def test_responses_are_zero_or_one():
    with pytest.raises(InputError, match="at row 1, column 2; responses are 0 or 1"):
        make().log_marginal(np.vstack([np.zeros(10), np.eye(10)[2] * 2]))
