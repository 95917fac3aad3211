"""Models with finitely many latents: p(x, z) of every state z as its factors are defined, and their plain sum.

The number of states is K, K^T or 2^d: for small sizes. Nothing is shared with the models' recursions over them.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

Floats = NDArray[np.float64]


def every_state(d: int, n_states: int = 2) -> Floats:
    """All n_states^d states of d latents, (n_states^d, d); the first latent changes fastest."""
    return np.array(list(itertools.product(np.arange(float(n_states)), repeat=d)))[:, ::-1]


def gaussian_joint(model: Any, x: Floats) -> Floats:
    """log p(x, z) of every component of a Gaussian mixture, (K,), for one row x (p,)."""
    parts = zip(model.means, model.variances, strict=True)
    densities = np.array([stats.multivariate_normal(m, np.diag(v)).logpdf(x) for m, v in parts])
    with np.errstate(divide="ignore"):
        joint: Floats = np.log(model.weights) + densities
    return joint


def gaussian_mixture(model: Any, X: Floats) -> Any:
    """SciPy's Gaussian density of each component."""
    return [special.logsumexp(gaussian_joint(model, x)) for x in X]


def bernoulli_joint(model: Any, x: Floats) -> Floats:
    """log p(x, z) of every component of a Bernoulli mixture, (K,), for one row x (p,)."""
    with np.errstate(divide="ignore"):
        joint: Floats = np.log(model.weights) + stats.bernoulli.logpmf(x, model.probabilities).sum(axis=1)
    return joint


def bernoulli_mixture(model: Any, X: Floats) -> Any:
    """SciPy's Bernoulli probabilities of each component."""
    return [special.logsumexp(bernoulli_joint(model, x)) for x in X]


def path_products(model: Any, x: Floats, Z: Floats) -> Floats:
    """p(x, z) of paths Z (n, T) of a hidden Markov model, each a product of 2T numbers, (n,)."""
    seen, Z = np.asarray(x).astype(int), np.asarray(Z).astype(int)
    emitted = np.prod([model.emission[Z[:, t], seen[t]] for t in range(len(seen))], axis=0)
    moves = np.prod([model.transition[Z[:, t - 1], Z[:, t]] for t in range(1, len(seen))], axis=0)
    products: Floats = model.initial[Z[:, 0]] * moves * emitted
    return products


def hidden_markov(model: Any, X: Floats) -> Any:
    """Every one of the K^T paths."""
    paths = every_state(model.n_observed, len(model.initial))
    return [np.log(path_products(model, x, paths).sum()) for x in X]


def belief_joint(model: Any, x: Floats, Z: Floats) -> Floats:
    """log p(x, z) of a sigmoid belief network for states Z (n, d), (n,), and one row x (p,)."""
    prior = stats.bernoulli.logpmf(Z, special.expit(model.prior_logits)).sum(axis=1)
    chances = special.expit(model.bias + Z @ model.weights.T)
    joint: Floats = prior + stats.bernoulli.logpmf(x, chances).sum(axis=1)
    return joint


def sigmoid_belief_network(model: Any, X: Floats) -> Any:
    """SciPy's Bernoulli probabilities of each of the 2^d states."""
    states = every_state(model.n_latents)
    return [special.logsumexp(belief_joint(model, x, states)) for x in X]


def negative_energies(model: Any, V: Floats) -> Floats:
    """b·v + c·h + v·W h of a Boltzmann machine for visible states V (n, p) and every hidden one, (n, 2^d)."""
    H = every_state(model.n_latents)
    energies: Floats = (V @ model.visible_bias)[:, None] + H @ model.hidden_bias + V @ model.weights @ H.T
    return energies


def rbm(model: Any, X: Floats) -> Any:
    """Both layers at once: 2^(p+d) energies for the partition function."""
    everything = negative_energies(model, every_state(model.n_observed))
    return special.logsumexp(negative_energies(model, X), axis=1) - special.logsumexp(everything)
