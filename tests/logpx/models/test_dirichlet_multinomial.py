"""The Dirichlet-multinomial model against exact rational arithmetic and SciPy. Exact, except moments of samples."""

import itertools
from math import log

import numpy as np
import pytest
from scipy import special, stats

from logpx.errors import InputError
from logpx.models import DirichletMultinomial
from logpx_bench.second_routes.urns import category_urn


def log_joint(model, x, Z):
    out = np.empty(len(Z))
    model.log_joint(model.theta, model.dims, np.asarray(x, dtype=float), np.ascontiguousarray(Z.T), out)
    return out


def simplex(Z):
    """π (n, K) of stick logits (n, K − 1)."""
    rest = np.cumprod(special.expit(-Z), axis=1)
    before = np.concatenate([np.ones((len(Z), 1)), rest[:, :-1]], axis=1)
    return np.concatenate([before * special.expit(Z), rest[:, -1:]], axis=1)


@pytest.mark.second_route("dirichlet_multinomial")
def test_log_marginal_is_polyas_urn():
    alpha = [0.5, 2.25, 1.0]
    every = [x for x in itertools.product(range(6), repeat=3) if sum(x) == 5]
    exact = [category_urn(alpha, x) for x in every]
    assert sum(exact) == 1
    found = DirichletMultinomial(alpha, 5).log_marginal(np.array(every))
    np.testing.assert_allclose(found, [log(p) for p in exact], rtol=1e-13)


@pytest.mark.second_route("dirichlet_multinomial")
def test_log_marginal_is_scipys():
    model, X = DirichletMultinomial.example()
    expected = stats.dirichlet_multinomial.logpmf(X.astype(int), model.concentration, 20)
    np.testing.assert_allclose(model.log_marginal(X), expected, rtol=1e-13)


def test_the_joint_is_multinomial_times_dirichlet_times_jacobian():
    """The determinant of dπ/dz by central differences, 1e-6 of a step."""
    model, X = DirichletMultinomial.example()
    Z = np.random.default_rng(4).standard_normal((20, 3))
    shares = simplex(Z)
    step = 1e-6
    slopes = [(simplex(Z + step * e) - simplex(Z - step * e))[:, :3] / (2 * step) for e in np.eye(3)]
    log_jacobian = np.linalg.slogdet(np.stack(slopes, axis=1))[1]
    expected = [
        stats.multinomial.logpmf(X[0].astype(int), 20, pi) + stats.dirichlet.logpdf(pi, model.concentration)
        for pi in shares
    ]
    np.testing.assert_allclose(log_joint(model, X[0], Z), expected + log_jacobian, rtol=1e-8)


def test_two_categories_integrate_to_the_marginal():
    """By the trapezium rule in z, which converges exponentially for a smooth integrand with exponential tails."""
    model, x = DirichletMultinomial([0.7, 1.6], 9), np.array([2.0, 7.0])
    z = np.arange(-60, 60, 0.05)
    mass = special.logsumexp(log_joint(model, x, z[:, None])) + np.log(0.05)
    np.testing.assert_allclose(mass, model.log_marginal(x), rtol=1e-12)


def test_counts_that_cannot_be_have_density_zero():
    model, _ = DirichletMultinomial.example()
    for x in ([20.0, 1, 0, 0], [19.0, 0, 0, 0], [-1.0, 21, 0, 0], [0.5, 19.5, 0, 0], [0.0, 0, 0, 21]):
        assert np.all(log_joint(model, x, np.zeros((3, 3))) == -np.inf)
        assert model.log_joint_scalar(model.theta, model.dims, x, np.zeros(3)) == -np.inf


def test_the_box_leaves_out_what_it_says():
    """Of 2^20 posterior draws 0.03 lie outside: |z| ≤ 6, false alarm 2e-9; detects 0.001."""
    model, X = DirichletMultinomial.example()
    box = model.uniform_domain(X[0], 0.03)
    rng = np.random.default_rng(1)
    sticks = rng.standard_gamma(X[0] + model.concentration, size=(2**20, 4))
    rest = np.cumsum(sticks[:, ::-1], axis=1)[:, ::-1][:, 1:]
    z = np.log(sticks[:, :-1] / rest)
    outside = np.mean(np.any((z < box.low) | (z > box.high), axis=1))
    assert abs(outside - box.missing_mass) < 6 * np.sqrt(0.03 / 2**20)
    assert 0.029 < box.missing_mass <= 0.03


def test_moments_of_samples():
    """z-scores of the mean count and mean stick logit, 2^16 rows, 7 of them.

    |z| ≤ 6: false alarm 1.4e-8. Detects a share off by 0.004.
    """
    model, _ = DirichletMultinomial.example()
    n, alpha = 2**16, model.concentration
    X, Z = model.sample(n, 3, return_latents=True)
    exact = stats.dirichlet_multinomial(alpha, 20)
    assert np.all(np.abs(X.mean(axis=0) - exact.mean()) < 6 * np.sqrt(exact.var() / n))
    a, b = model.prior.a, model.prior.b
    spread = np.sqrt((special.polygamma(1, a) + special.polygamma(1, b)) / n)
    assert np.all(np.abs(Z.mean(axis=0) - special.digamma(a) + special.digamma(b)) < 6 * spread)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1.0], 5), r"concentration has shape \(1,\); it needs at least 2"),
        (([1.0, 0.0], 5), "concentration runs from 0.0 to 1.0"),
        (([1e6, 1e6], 5), r"concentration adds up to 2e\+06"),
        (([1.0, 1.0], 0), "n_trials=0"),
        (([1.0, 1.0], 2.5), "n_trials=2.5"),
    ],
)
def test_bad_parameters_say_what_is_wrong(arguments, message):
    with pytest.raises(InputError, match=message):
        DirichletMultinomial(*arguments)


def test_bad_data_say_what_is_wrong():
    model, _ = DirichletMultinomial.example()
    with pytest.raises(InputError, match="row 1 of x adds up to 19; the counts must add up to 20"):
        model.log_marginal([[20, 0, 0, 0], [19, 0, 0, 0]])
    with pytest.raises(InputError, match="x adds up to 3"):
        model.posterior([3, 0, 0, 0])
    with pytest.raises(InputError, match=r"x holds 21.0 at column 0 \(such entries: 1\); .* from 0 to 20"):
        model.log_marginal([21, 0, 0, 0])
