"""The sigmoid belief network against enumeration of latents and data. Exact, except the moments of samples."""

import numpy as np
import pytest
from scipy import linalg, special, stats

from logpx.errors import InputError, NotAvailableError
from logpx.models import SigmoidBeliefNetwork
from logpx.proposals.divergences import chi2
from logpx_bench.second_routes.states import belief_joint, every_state


def log_joint(model, x, Z):
    out = np.empty(len(Z))
    model.log_joint(model.theta, model.dims, np.asarray(x, dtype=float), np.ascontiguousarray(np.transpose(Z)), out)
    return out


@pytest.mark.second_route("sigmoid_belief_network")
@pytest.mark.parametrize(("d", "p"), [(1, 1), (6, 12), (9, 3)])
def test_log_joint_and_log_marginal_are_products_and_their_sum(d, p):
    model, X = SigmoidBeliefNetwork.example(n_latents=d, n_observed=p)
    states = every_state(d)
    for x in X:
        expected = belief_joint(model, x, states)
        np.testing.assert_allclose(log_joint(model, x, states), expected, rtol=1e-11)
        np.testing.assert_allclose(model.log_marginal(x), special.logsumexp(expected), rtol=1e-11)
        np.testing.assert_allclose(
            np.log(model.posterior(x).probabilities), expected - model.log_marginal(x), atol=1e-9
        )


@pytest.mark.second_route("sigmoid_belief_network")
def test_p_of_x_adds_up_to_one():
    model, _ = SigmoidBeliefNetwork.example(n_latents=7, n_observed=8)
    np.testing.assert_allclose(np.exp(model.log_marginal(every_state(8))).sum(), 1.0, rtol=1e-13)


def test_all_states_of_twenty_latents():
    """2^20 of them by NumPy: the low ten bits at a time, for each of the high ten."""
    model, X = SigmoidBeliefNetwork.example(n_latents=20, n_observed=8)
    half, slopes = every_state(10), model.prior_logits + X[0] @ model.weights
    low, high = half @ model.weights[:, :10].T, model.bias + half @ model.weights[:, 10:].T
    parts = [
        special.logsumexp(half @ slopes[:10] - np.logaddexp(0.0, low + shift).sum(axis=1)) + state @ slopes[10:]
        for state, shift in zip(half, high, strict=True)
    ]
    expected = special.logsumexp(parts) + X[0] @ model.bias - np.logaddexp(0.0, model.prior_logits).sum()
    np.testing.assert_allclose(model.log_marginal(X[0]), expected, rtol=1e-13)


def test_all_states_of_twenty_four_latents():
    """2^24 of them, the most there may be: four networks of six latents in one, shuffled; p(x) is their product."""
    parts = [SigmoidBeliefNetwork.example(seed, n_latents=6, n_observed=3) for seed in range(4)]
    logits, bias = (np.concatenate([getattr(m, name) for m, _ in parts]) for name in ("prior_logits", "bias"))
    weights, x = linalg.block_diag(*(m.weights for m, _ in parts)), np.concatenate([X[0] for _, X in parts])
    latents, effects = np.random.default_rng(0).permutation(24), np.random.default_rng(1).permutation(12)
    model = SigmoidBeliefNetwork(logits[latents], weights[np.ix_(effects, latents)], bias[effects])
    expected = sum(special.logsumexp(belief_joint(m, X[0], every_state(6))) for m, X in parts)
    np.testing.assert_allclose(model.log_marginal(x[effects]), expected, rtol=1e-12)


def test_many_effects():
    """A thousand of them, more than one logarithm takes; p(x) is no float64."""
    model, X = SigmoidBeliefNetwork.example(n_latents=3, n_observed=1000)
    expected = belief_joint(model, X[0], every_state(3))
    np.testing.assert_allclose(log_joint(model, X[0], every_state(3)), expected, rtol=1e-11)
    wrong = model.log_marginal(1 - X[0])
    assert wrong < -746
    np.testing.assert_allclose(wrong, special.logsumexp(belief_joint(model, 1 - X[0], every_state(3))), rtol=1e-11)


def test_what_is_not_binary_has_density_zero():
    model, X = SigmoidBeliefNetwork.example()
    Z = np.zeros((4, 6))
    Z[[0, 1, 2], [0, 3, 5]] = [2.0, 0.5, np.nan]
    values = log_joint(model, X[0], Z)
    assert values[0] == values[1] == -np.inf
    assert np.isnan(values[2])
    assert np.isfinite(values[3])
    assert model.log_joint_scalar(model.theta, model.dims, X[0], Z[1]) == -np.inf
    x = np.where(np.arange(12) == 11, 0.5, X[0])
    assert np.all(log_joint(model, x, Z[3:]) == -np.inf)
    assert model.log_joint_scalar(model.theta, model.dims, x, Z[3]) == -np.inf


def test_default_proposal_is_near_the_posterior():
    """Without any explaining away the mean field is the posterior; with it, the effective share stays above a tenth."""
    apart = SigmoidBeliefNetwork([-1.0, 0.5, 2.0], np.diag([1.0, -2.0, 3.0]), [0.1, 0.2, 0.3])
    x = np.array([1.0, 0.0, 1.0])
    marginals = apart.posterior(x).probabilities @ every_state(3)
    np.testing.assert_allclose(special.expit(apart._mean_field(x[None])[0]), marginals, rtol=1e-12)
    for d, p in ((6, 12), (12, 30)):
        model, X = SigmoidBeliefNetwork.example(n_latents=d, n_observed=p)
        for x in X:
            assert 1 / (1 + chi2(model.posterior(x), model.default_proposal(x))) > 0.1


def test_moments_of_samples():
    """z-scores of means of x and z, 2^16 rows, 18 of them. |z| ≤ 6: false alarm 4e-8. Detects 0.012."""
    model, _ = SigmoidBeliefNetwork.example()
    n = 2**16
    X, Z = model.sample(n, 8, return_latents=True)
    states = every_state(6)
    prior = np.exp(stats.bernoulli.logpmf(states, special.expit(model.prior_logits)).sum(axis=1))
    for found, shares in ((Z, prior @ states), (X, prior @ special.expit(model.bias + states @ model.weights.T))):
        assert np.all(np.abs(found.mean(axis=0) - shares) < 6 * np.sqrt(shares * (1 - shares) / n))


def test_misuse_says_what_is_wrong():
    with pytest.raises(InputError, match=r"weights \(3, 2\), bias \(2,\) do not fit"):
        SigmoidBeliefNetwork([0.0, 0.0], np.zeros((3, 2)), [0.0, 0.0])
    with pytest.raises(InputError, match=r"there are 25 latents; .* at most 24"):
        SigmoidBeliefNetwork(np.zeros(25), np.zeros((2, 25)), [0.0, 0.0])
    with pytest.raises(InputError, match=r"weights\[0, 1\] is nan"):
        SigmoidBeliefNetwork([0.0, 0.0], [[0.0, np.nan]], [0.0])
    model, _ = SigmoidBeliefNetwork.example(n_latents=17, n_observed=2)
    with pytest.raises(NotAvailableError, match=r"2\^17 states is too large"):
        model.posterior([0, 1])
    with pytest.raises(InputError, match=r"x holds 2.0 at column 1 .* from 0 to 1"):
        model.log_marginal([0, 2])
