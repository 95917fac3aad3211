"""Markov chains against enumeration of their paths. Exact tests."""

import itertools

import numpy as np
import pytest

from logpx.errors import InputError
from logpx.proposals import Bernoulli, MarkovChain
from logpx.proposals.divergences import chi2, kl, log_second_moment

PATHS = np.array(list(itertools.product(range(3), repeat=4)), dtype=float)


def chain(seed, zeros=False, rows=()):
    rng = np.random.default_rng(seed)
    steps = rng.dirichlet(np.ones(3), size=(*rows, 4, 3))
    if zeros:
        steps[..., 1, :, 2] = 0.0
        steps /= steps.sum(axis=-1, keepdims=True)
    return MarkovChain(steps[..., 0, 0, :], steps[..., 1:, :, :])


def probabilities(q):
    """Of every path, a product of one number a step."""
    return np.array(
        [
            q.steps[0, 0, int(path[0])] * np.prod([q.steps[t, int(path[t - 1]), int(path[t])] for t in (1, 2, 3)])
            for path in PATHS
        ]
    )


@pytest.mark.parametrize("zeros", [False, True])
def test_each_path_is_drawn_on_its_box_of_noise(zeros):
    """The noise of a path is a box of that volume; its corners and its middle give the path back."""
    q = chain(0, zeros)
    p = probabilities(q)
    np.testing.assert_allclose(p.sum(), 1.0, rtol=1e-14)
    for place in (1e-9, 0.5, 1 - 1e-9):
        noise, kept = [], p > 0
        for path in PATHS[kept].astype(int):
            before, one = 0, []
            for t, state in enumerate(path):
                row = q.steps[t, before]
                one.append(row[:state].sum() + place * row[state])
                before = state
            noise.append(one)
        z, log_q = np.full((4, kept.sum()), np.nan), np.full(kept.sum(), np.nan)
        q.kernel(q.lam, q.dims, np.ascontiguousarray(np.transpose(noise)), z, log_q)
        np.testing.assert_array_equal(z.T, PATHS[kept])
        np.testing.assert_allclose(log_q, np.log(p[kept]), rtol=1e-12)


def test_log_density_and_rows():
    q = chain(1, rows=(2,))
    for i in range(2):
        alone = MarkovChain(q.steps[i, 0, 0], q.steps[i, 1:])
        np.testing.assert_array_equal(q.lam[i], alone.lam)
        both = np.stack([PATHS, PATHS], axis=1)
        np.testing.assert_allclose(np.exp(q.log_density(both)[:, i]), probabilities(alone), rtol=1e-12)
        np.testing.assert_allclose(np.exp(alone.log_density(PATHS)), probabilities(alone), rtol=1e-12)
    bad = np.array([[0, 0, 0, 3], [0, 0.5, 0, 0], [-1, 0, 0, 0]])
    assert np.all(chain(1).log_density(bad) == -np.inf)


def test_closed_forms_are_sums_over_paths():
    for p, q in ((chain(2), chain(3)), (chain(2, zeros=True), chain(3)), (chain(2, zeros=True), chain(3, zeros=True))):
        some, a, b = probabilities(p) > 0, probabilities(p), probabilities(q)
        np.testing.assert_allclose(kl(p, q), np.sum(a[some] * np.log(a[some] / b[some])), rtol=1e-12)
        np.testing.assert_allclose(log_second_moment(p, q), np.log(np.sum(a[some] ** 2 / b[some])), rtol=1e-12)
    assert kl(chain(2), chain(3, zeros=True)) == chi2(chain(2), chain(3, zeros=True)) == np.inf
    assert chain(2).missing_mass == 0.0
    assert chain(2, zeros=True).missing_mass is None
    rows = kl(chain(4, rows=(5,)), chain(3))
    assert rows.shape == (5,)


def test_misuse_says_what_is_wrong():
    even = np.full((3, 2, 2), 0.5)
    with pytest.raises(InputError, match=r"initial \(3,\) and transitions \(3, 2, 2\) do not fit"):
        MarkovChain([0.2, 0.3, 0.5], even)
    with pytest.raises(InputError, match=r"initial \(2, 2\) and transitions \(3, 2, 2\) do not fit"):
        MarkovChain(even[0], even)
    with pytest.raises(InputError, match=r"transitions add up to 1\.2"):
        MarkovChain([0.5, 0.5], 1.2 * even)
    with pytest.raises(InputError, match=r"initial probabilities add up to 0\.9"):
        MarkovChain([0.4, 0.5], even)
    with pytest.raises(InputError, match="p has steps of shape"):
        kl(MarkovChain([0.5, 0.5], even), chain(0))
    with pytest.raises(InputError, match="given MarkovChain and Bernoulli"):
        kl(chain(0), Bernoulli([0.5]))
