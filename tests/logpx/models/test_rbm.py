"""The restricted Boltzmann machine against enumeration of both layers. Exact, except the moments of samples."""

import numpy as np
import pytest
from scipy import linalg, special

from logpx.errors import InputError
from logpx.models import RBM
from logpx_bench.second_routes.states import every_state, negative_energies


def log_joint(model, x, Z):
    out = np.empty(len(Z))
    model.log_joint(model.theta, model.dims, np.asarray(x, dtype=float), np.ascontiguousarray(np.transpose(Z)), out)
    return out


@pytest.mark.second_route("rbm")
@pytest.mark.parametrize(("d", "p"), [(1, 1), (5, 8), (8, 5), (7, 7)])
def test_everything_is_a_sum_over_both_layers(d, p):
    """With the hidden layer the smaller, the larger and as large."""
    model, _ = RBM.example(n_latents=d, n_observed=p)
    logs = negative_energies(model, every_state(model.n_observed))
    log_z = special.logsumexp(logs)
    np.testing.assert_allclose(model.log_partition, log_z, rtol=1e-13)
    every = every_state(p)
    np.testing.assert_allclose(
        model.log_marginal(every), special.logsumexp(logs, axis=1) - log_z, rtol=1e-12, atol=1e-12
    )
    np.testing.assert_allclose(model.prior.probabilities, np.exp(special.logsumexp(logs, axis=0) - log_z), rtol=1e-11)
    row = len(every) // 2
    np.testing.assert_allclose(log_joint(model, every[row], every_state(d)), logs[row] - log_z, rtol=1e-12, atol=1e-13)
    shares = np.exp(logs[row] - special.logsumexp(logs[row]))
    np.testing.assert_allclose(model.posterior(every[row]).table(), shares, rtol=1e-11)


def test_both_layers_give_the_same_partition_function():
    """Enumerating the other layer is enumerating the transposed machine: 2^16 against 2^12 states."""
    model, X = RBM.example(n_latents=12, n_observed=16)
    turned = RBM(model.weights.T, model.hidden_bias, model.visible_bias)
    visible = np.logaddexp(0.0, model.hidden_bias + every_state(16) @ model.weights).sum(axis=1)
    expected = special.logsumexp(every_state(16) @ model.visible_bias + visible)
    np.testing.assert_allclose([model.log_partition, turned.log_partition], expected, rtol=1e-13)
    assert turned.log_marginal(X[0][:12]) < 0


def test_all_states_of_twenty_units_a_layer():
    """2^20 states of one layer against 2^20 of the other, which has other sums."""
    model, _ = RBM.example(n_latents=20, n_observed=20)
    turned = RBM(model.weights.T, model.hidden_bias, model.visible_bias)
    np.testing.assert_allclose(turned.log_partition, model.log_partition, rtol=1e-13)


def test_all_states_of_twenty_four_units():
    """2^24, the most there may be: four machines of six by seven units in one, shuffled; Z is their product."""
    parts = [RBM.example(seed, n_latents=6, n_observed=7)[0] for seed in range(4)]
    b, c = (np.concatenate([getattr(m, name) for m in parts]) for name in ("visible_bias", "hidden_bias"))
    visible, hidden = np.random.default_rng(0).permutation(28), np.random.default_rng(1).permutation(24)
    weights = linalg.block_diag(*(m.weights for m in parts))[np.ix_(visible, hidden)]
    expected = sum(special.logsumexp(negative_energies(m, every_state(m.n_observed))) for m in parts)
    np.testing.assert_allclose(RBM(weights, b[visible], c[hidden]).log_partition, expected, rtol=1e-13)


def test_without_a_prior_beyond_sixteen_hidden_units():
    model = RBM(np.zeros((2, 30)), [1.0, -1.0], np.zeros(30))
    assert model.prior is None
    np.testing.assert_allclose(
        model.log_partition, 30 * np.log(2) + np.logaddexp(0, 1) + np.logaddexp(0, -1), rtol=1e-14
    )
    np.testing.assert_allclose(np.exp(model.log_marginal(every_state(2))).sum(), 1.0, rtol=1e-13)
    assert model.sample(3).shape == (3, 2)


def test_what_is_not_binary_has_density_zero():
    model, X = RBM.example()
    Z = np.zeros((4, 8))
    Z[[0, 1, 2], [0, 3, 7]] = [2.0, 0.5, np.nan]
    values = log_joint(model, X[0], Z)
    assert values[0] == values[1] == -np.inf
    assert np.isnan(values[2])
    assert np.isfinite(values[3])
    assert model.log_joint_scalar(model.theta, model.dims, X[0], Z[1]) == -np.inf
    x = np.where(np.arange(12) == 11, 0.5, X[0])
    assert np.all(log_joint(model, x, Z[3:]) == -np.inf)
    assert model.log_joint_scalar(model.theta, model.dims, x, Z[3]) == -np.inf


@pytest.mark.parametrize(("d", "p"), [(4, 6), (6, 4)])
def test_moments_of_samples(d, p):
    """z-scores of means of v, h and of v hᵀ, 2^16 rows, 34 of them. |z| ≤ 6: false alarm 7e-8. Detects 0.012."""
    model, _ = RBM.example(n_latents=d, n_observed=p)
    n = 2**16
    X, Z = model.sample(n, 8, return_latents=True)
    shares = np.exp(negative_energies(model, every_state(model.n_observed)) - model.log_partition)
    v, h = every_state(p), every_state(d)
    both = X.T @ Z / n, v.T @ shares @ h
    for found, exact in ((X.mean(axis=0), shares.sum(axis=1) @ v), (Z.mean(axis=0), shares.sum(axis=0) @ h), both):
        assert np.all(np.abs(found - exact) < 6 * np.sqrt(exact * (1 - exact) / n))


def test_misuse_says_what_is_wrong():
    with pytest.raises(InputError, match=r"weights \(3, 2\), visible_bias \(2,\), hidden_bias \(2,\) do not fit"):
        RBM(np.zeros((3, 2)), [0.0, 0.0], [0.0, 0.0])
    with pytest.raises(InputError, match=r"the layers have 25 and 30 units; .* which may have 24"):
        RBM(np.zeros((25, 30)), np.zeros(25), np.zeros(30))
    with pytest.raises(InputError, match=r"hidden_bias\[0\] is inf"):
        RBM([[0.0]], [0.0], [np.inf])
    model, _ = RBM.example()
    with pytest.raises(InputError, match=r"x holds 2.0 at column 0 .* from 0 to 1"):
        model.log_marginal([2.0] + [0.0] * 11)
