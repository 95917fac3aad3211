"""The Bernoulli mixture against SciPy's densities and enumeration of x. Exact, except the moments of samples."""

import itertools

import numpy as np
import pytest
from scipy import special

from logpx.errors import InputError
from logpx.models import BernoulliMixture
from logpx_bench.second_routes.states import bernoulli_joint


def log_joint(model, x, states):
    out = np.empty(len(states))
    model.log_joint(model.theta, model.dims, x, np.asarray(states, dtype=float)[None], out)
    return out


def test_log_joint_is_weight_times_density():
    model, X = BernoulliMixture.example()
    for x in X:
        np.testing.assert_allclose(
            log_joint(model, x, [3, 0, 2, 1]), bernoulli_joint(model, x)[[3, 0, 2, 1]], rtol=1e-13
        )


def test_what_is_no_state_or_no_answer_has_density_zero():
    model, X = BernoulliMixture.example()
    values = log_joint(model, X[0], [-1.0, 4.0, 1.5, 1e300, -np.inf, np.inf, np.nan])
    assert np.all(values[:-1] == -np.inf)
    assert np.isnan(values[-1])
    for x in (np.full(6, 0.5), np.full(6, -1.0), np.array([1.0, 1, 1, 1, 1, 2])):
        assert np.all(log_joint(model, x, range(4)) == -np.inf)
        assert model.log_joint_scalar(model.theta, model.dims, x, [0.0]) == -np.inf
    assert model.log_joint_scalar(model.theta, model.dims, X[0], [1.5]) == -np.inf


@pytest.mark.second_route("bernoulli_mixture")
def test_log_marginal_is_the_sum_over_states_and_normalised_over_x():
    model, _ = BernoulliMixture.example()
    every = np.array(list(itertools.product([0.0, 1.0], repeat=6)))
    expected = [special.logsumexp(bernoulli_joint(model, x)) for x in every]
    np.testing.assert_allclose(model.log_marginal(every), expected, rtol=1e-13)
    np.testing.assert_allclose(np.exp(model.log_marginal(every)).sum(), 1.0, rtol=1e-13)


def test_far_below_the_smallest_number_and_with_weight_zero():
    """Three thousand improbable answers: p(x) is no float64, its log is."""
    model = BernoulliMixture([0.25, 0.0, 0.75], np.full((3, 3000), 1e-3))
    expected = 3000 * np.log(1e-3)
    np.testing.assert_allclose(model.log_marginal(np.ones(3000)), expected, rtol=1e-13)
    values = log_joint(model, np.ones(3000), [0, 1, 2])
    np.testing.assert_allclose(values[[0, 2]], expected + np.log([0.25, 0.75]), rtol=1e-12)
    assert values[1] == -np.inf
    assert model.posterior(np.ones(3000)).missing_mass == 0.0


def test_moments_of_samples():
    """z-scores of state frequencies and of answers given the state, 2^16 rows, 28 of them.

    |z| ≤ 6: false alarm 6e-8. Detects a probability off by 0.05.
    """
    model, _ = BernoulliMixture.example()
    n = 2**16
    X, Z = model.sample(n, 8, return_latents=True)
    for k, w in enumerate(model.weights):
        rows, share = X[Z[:, 0] == k], model.probabilities[k]
        assert abs(len(rows) / n - w) < 6 * np.sqrt(w * (1 - w) / n)
        assert np.all(np.abs(rows.mean(axis=0) - share) < 6 * np.sqrt(share * (1 - share) / len(rows)))


def test_fit_is_a_maximum():
    """No step in 40 random directions raises the log posterior density of the parameters, and it beats the truth."""
    truth, _ = BernoulliMixture.example()
    X = truth.sample(500, 5)

    def objective(weights, probabilities):
        model = BernoulliMixture(weights / weights.sum(), probabilities)
        pseudo = np.log(probabilities).sum() + np.log1p(-probabilities).sum() + 2 * np.log(model.weights).sum()
        return np.sum([special.logsumexp(bernoulli_joint(model, x)) for x in X]) + 0.5 * pseudo

    model = BernoulliMixture.fit(X, 4, seed=1)
    best, rng = objective(model.weights, model.probabilities), np.random.default_rng(2)
    assert best > objective(truth.weights, truth.probabilities)
    for _ in range(40):
        weights = model.weights * np.exp(0.02 * rng.standard_normal(4))
        logits = special.logit(model.probabilities) + 0.02 * rng.standard_normal((4, 6))
        assert objective(weights, special.expit(logits)) < best


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0.5, 0.6], [[0.5], [0.5]]), r"add up to 1.1"),
        (([1.0], [[0.5], [0.5]]), r"weights \(1,\), probabilities \(2, 1\) do not fit"),
        (([1.0], [[0.5, 1.0]]), r"probabilities\[0, 1\] is 1.0; it must be above 0 and below 1"),
        (([1.0], [[0.0]]), r"probabilities\[0, 0\] is 0.0"),
        (([1.0], [0.5]), "needs 2 axes"),
    ],
)
def test_bad_parameters_say_what_is_wrong(arguments, message):
    with pytest.raises(InputError, match=message):
        BernoulliMixture(*arguments)


def test_bad_data_say_what_is_wrong():
    model, X = BernoulliMixture.example()
    with pytest.raises(InputError, match=r"x holds 0.5 at column 0 \(such entries: 6\); it must be a whole number"):
        model.log_marginal(np.full(6, 0.5))
    with pytest.raises(InputError, match=r"x holds 2.0 at row 1, column 5 .* from 0 to 1 there"):
        model.default_proposal([[0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 2]])
    with pytest.raises(InputError, match="pseudo_count"):
        BernoulliMixture.fit(X, 2, pseudo_count=0.0)
