"""Products and tables of binary latents against enumeration of their states. Exact tests."""

import itertools

import numpy as np
import pytest

from logpx.errors import InputError, NotAvailableError
from logpx.proposals import Bernoulli, BinaryTable, Gaussian
from logpx.proposals.divergences import chi2, kl, log_second_moment

RNG = np.random.default_rng(3)


def every_state(d):
    """In the order Σ z_k 2^k."""
    return np.array(list(itertools.product([0.0, 1.0], repeat=d)))[:, ::-1]


def draw(q, noise):
    z, log_q = np.full(noise.shape, np.nan), np.full(noise.shape[1], np.nan)
    q.kernel(q.lam, q.dims, noise, z, log_q)
    return z, log_q


def products(p):
    p = np.asarray(p)
    return np.prod(np.where(every_state(len(p)) == 1, p, 1 - p), axis=1)


@pytest.mark.parametrize("p", [[0.3], [0.2, 0.9, 0.5], [0.0, 1.0, 0.4]])
def test_bernoulli_is_one_below_its_probability(p):
    noise = RNG.random((len(p), 500))
    z, log_q = draw(Bernoulli(p), noise)
    np.testing.assert_array_equal(z, noise < np.array(p)[:, None])
    np.testing.assert_allclose(log_q, np.log(np.where(z == 1, np.array(p)[:, None], 1 - np.array(p)[:, None])).sum(0))
    np.testing.assert_allclose(Bernoulli(p).log_density(z.T), log_q, rtol=1e-14, atol=1e-14)
    np.testing.assert_allclose(Bernoulli(p).table(), products(p), rtol=1e-14)
    assert Bernoulli(p).missing_mass == (None if 0.0 in p else 0.0)


@pytest.mark.parametrize("d", [1, 3, 7])
@pytest.mark.parametrize("zeros", [False, True])
def test_each_state_is_drawn_on_its_box_of_noise(d, zeros):
    """A state's box has its probability as volume: corners and middle give the state back."""
    p = RNG.dirichlet(np.ones(2**d))
    if zeros:
        p[:: 2 if d == 1 else 3] = 0.0
        p /= p.sum()
    q, states = BinaryTable(p), every_state(d)
    for place in (1e-9, 0.5, 1 - 1e-9):
        noise, kept = np.empty((d, 2**d)), p > 0
        for s, state in enumerate(states):
            alike = np.ones(2**d, dtype=bool)
            for k in range(d):
                share = p[alike & (states[:, k] == 1)].sum() / p[alike].sum() if p[alike].sum() > 0 else 0.0
                noise[k, s] = place * share if state[k] == 1 else share + place * (1 - share)
                alike &= states[:, k] == state[k]
        z, log_q = draw(q, noise[:, kept])
        np.testing.assert_array_equal(z.T, states[kept])
        np.testing.assert_allclose(log_q, np.log(p[kept]), rtol=1e-13)
    with np.errstate(divide="ignore"):
        np.testing.assert_allclose(q.log_density(states), np.log(p), rtol=1e-13)
    assert q.missing_mass == (None if zeros else 0.0)


def test_rows_and_what_is_not_binary():
    p = RNG.dirichlet(np.ones(8), size=3)
    shares = RNG.random((3, 3))
    for many, one in ((BinaryTable(p), BinaryTable), (Bernoulli(shares), Bernoulli)):
        states = np.broadcast_to(every_state(3)[:, None], (8, 3, 3))
        for i in range(3):
            alone = one((p if one is BinaryTable else shares)[i])
            np.testing.assert_array_equal(many.lam[i], alone.lam)
            np.testing.assert_array_equal(many.log_density(states)[:, i], alone.log_density(states[:, i]))
            assert np.all(alone.log_density([[0, 0.5, 1], [2, 0, 0]]) == -np.inf)
    np.testing.assert_allclose(Bernoulli(shares).table()[2], products(shares[2]), rtol=1e-14)


def test_closed_forms_are_sums_over_states():
    table, other = RNG.dirichlet(np.ones(8)), RNG.dirichlet(np.ones(8))
    first, second = RNG.random(3), RNG.random(3)
    kinds = [(BinaryTable(table), table), (BinaryTable(other), other), (Bernoulli(first), products(first))]
    kinds.append((Bernoulli(second), products(second)))
    for (p, a), (q, b) in itertools.permutations(kinds, 2):
        np.testing.assert_allclose(kl(p, q), np.sum(a * np.log(a / b)), rtol=1e-12)
        np.testing.assert_allclose(log_second_moment(p, q), np.log(np.sum(a**2 / b)), rtol=1e-12)
    impossible = Bernoulli([0.0, 0.5, 0.5])
    assert kl(kinds[0][0], impossible) == chi2(kinds[2][0], impossible) == np.inf
    assert np.isfinite(chi2(impossible, kinds[2][0]))
    wide = Bernoulli(np.full(500, 0.5)), Bernoulli(np.full(500, 0.25))
    np.testing.assert_allclose(kl(*wide), 500 * 0.5 * np.log(4 / 3), rtol=1e-12)


def test_misuse_says_what_is_wrong():
    with pytest.raises(InputError, match=r"probabilities run from 0.5 to 1.5"):
        Bernoulli([0.5, 1.5])
    for n in (1, 3, 2**17):
        with pytest.raises(InputError, match=rf"there are {n} probabilities; they must be 2\^d, d from 1 to 16"):
            BinaryTable(np.full(n, 1 / n))
    with pytest.raises(InputError, match="add up to 2"):
        BinaryTable([1.0, 1.0])
    with pytest.raises(NotAvailableError, match=r"a table of 2\^17 states is too large"):
        Bernoulli(np.full(17, 0.5)).table()
    for p in (Bernoulli([0.5]), BinaryTable([0.5, 0.5])):
        with pytest.raises(InputError, match=rf"given {type(p).__name__} and Gaussian"):
            kl(p, Gaussian([0.0], [1.0]))
