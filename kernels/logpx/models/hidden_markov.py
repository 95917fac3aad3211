r"""A hidden Markov model: a path of discrete states, a symbol seen at every step.

    z_1 ~ a,   z_t given z_{t−1} ~ row z_{t−1} of A,   x_t given z_t ~ row z_t of E,   t = 1 … T
    log p(x, z) = log a(z_1) + Σ_{t ≥ 2} log A(z_{t−1}, z_t) + Σ_t log E(z_t, x_t)

There are K^T paths; the forward algorithm sums over them in T K² multiply-adds, with f_1 = a ⊙ E(·, x_1) and
f_t = (f_{t−1} A) ⊙ E(·, x_t), scaled at every step to sum 1: log p(x) is the sum of the logs of the scales. Given x
the path is a Markov chain again, with p(z_t = j given z_{t−1} = i, x) in proportion to A(i, j) E(j, x_t) β_t(j), where
β_T = 1 and β_{t−1} = A (E(·, x_t) ⊙ β_t). Probabilities of zero are allowed anywhere; a path, a state or a symbol that
cannot be has density zero. Source: L. R. Rabiner (1989), Proc. IEEE 77, 257-286, sections III.A and V.A.

The kernel puts the logs of every step's K² moves into a table, once for a block; a sample costs T look-ups, and a block
T K² additions and K (1 + K + M) logarithms, M the number of symbols.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from logpx import _jit, vecmath
from logpx.checks import whole
from logpx.errors import InputError
from logpx.models.base import DEFAULT_WIDEN, check_states, positive, rows_or_one
from logpx.proposals import MarkovChain
from logpx.proposals.base import Floats, Integers, packed, set_fields
from logpx.proposals.categorical import distributions


@_jit.kernel("log_joint")
def log_joint(theta, dims, x, z, out):
    """theta: a (K,), A (K, K), E (K, M); dims: K, M, T."""
    n_states, n_symbols, n_steps = dims[0], dims[1], dims[2]
    logs, moves = np.empty(theta.size), np.empty((n_steps, n_states, n_states))
    for i in range(theta.size):
        logs[i] = vecmath.log(theta[i])
    for t in range(n_steps):
        possible = x[t] >= 0.0 and x[t] < n_symbols and np.floor(x[t]) == x[t]
        emission = n_states + n_states * n_states + (int(x[t]) if possible else 0)
        for i in range(n_states):
            row = n_states * (1 + i) if t > 0 else 0
            for j in range(n_states):
                step = logs[row + j] + logs[emission + j * n_symbols]
                moves[t, i, j] = step if possible else -np.inf
    previous = np.zeros(out.size, np.int64)
    for t in range(n_steps):
        latent = z[t]
        for i in range(out.size):
            state = latent[i]
            inside = state >= 0.0 and state < n_states and np.floor(state) == state
            now = int(state) if inside else 0
            step = moves[t, previous[i], now] if inside else (-np.inf if state == state else state)
            out[i] = (out[i] if t > 0 else 0.0) + step
            previous[i] = now


def log_joint_scalar(theta, dims, x, z):
    """log p(x, z) of one sample, z (T,): the same quantity, one number at a time."""
    n_states, n_symbols, n_steps = dims[0], dims[1], dims[2]
    value, row = 0.0, 0
    with np.errstate(divide="ignore"):
        for t in range(n_steps):
            if z[t] not in range(n_states) or x[t] not in range(n_symbols):
                return -np.inf
            state = int(z[t])
            emission = n_states + n_states * n_states + state * n_symbols + int(x[t])
            value += np.log(theta[row + state]) + np.log(theta[emission])
            row = n_states * (1 + state)
    return value


@dataclass(frozen=True, eq=False, init=False)
class HiddenMarkov:
    """A hidden Markov model with K states, M symbols and T steps; z is the path, integer-valued floats.

    Parameters
    ----------
    initial : array (K,)
        Probabilities of the first state.
    transition : array (K, K)
        [i, j]: the probability of state j after i.
    emission : array (K, M)
        [j, m]: the probability of symbol m in state j.
    n_steps : int
        T, at least 2.

    Raises
    ------
    InputError
        Shapes that do not fit, rows that are no distributions (sums of 1 within 1e-9; then scaled to 1), n_steps
        below 2.

    Examples
    --------
    >>> model = HiddenMarkov([0.5, 0.5], [[0.9, 0.1], [0.1, 0.9]], [[0.8, 0.2], [0.2, 0.8]], n_steps=2)
    >>> round(float(np.exp(model.log_marginal([0, 0]))), 9)
    0.322
    """

    initial: Floats
    transition: Floats
    emission: Floats

    name: ClassVar[str] = "hidden_markov"
    summary: ClassVar[str] = "hidden Markov model: a path of discrete states, a symbol at every step"
    exact_route: ClassVar[str] = "forward algorithm"
    second_route: ClassVar[str] = "sum over all K^T paths, each a product"
    log_joint: ClassVar[Any] = staticmethod(log_joint)
    log_joint_scalar: ClassVar[Callable[..., float]] = staticmethod(log_joint_scalar)
    theta: Floats = field(init=False, repr=False)
    dims: Integers = field(init=False, repr=False)
    n_latents: int = field(init=False, repr=False)
    n_observed: int = field(init=False, repr=False)
    prior: MarkovChain = field(init=False, repr=False)

    def __init__(self, initial: ArrayLike, transition: ArrayLike, emission: ArrayLike, n_steps: int) -> None:
        initial = distributions("initial", initial, n_axes=(1,))
        transition = distributions("transition", transition, n_axes=(2,))
        emission = distributions("emission", emission, n_axes=(2,))
        n_states, steps = len(initial), whole("n_steps", n_steps, least=2)
        if transition.shape != (n_states, n_states) or len(emission) != n_states:
            raise InputError(
                f"initial {initial.shape}, transition {transition.shape}, emission {emission.shape} do not fit; "
                "they must be (K,), (K, K) and (K, M)"
            )
        prior = MarkovChain(initial, self._repeated(transition, steps), missing_mass=0.0)
        theta = packed(np.concatenate([initial, transition.ravel(), emission.ravel()]))
        set_fields(self, initial=initial, transition=transition, emission=emission, theta=theta, prior=prior)
        set_fields(self, n_latents=steps, n_observed=steps)
        set_fields(self, dims=np.array([n_states, emission.shape[1], steps], dtype=np.int64))

    @staticmethod
    def _repeated(transition: Floats, n_steps: int) -> Floats:
        return np.broadcast_to(transition, (n_steps - 1, *transition.shape))

    def _likelihoods(self, x: ArrayLike) -> tuple[Floats, bool]:
        """E(j, x_t), (n, T, K), and whether x had a row axis."""
        rows, batched = check_states(x, self.n_observed, self.emission.shape[1])
        return self.emission.T[rows.astype(np.int64)], batched

    def log_marginal(self, x: ArrayLike) -> Any:
        """Exact log p(x) in nats by the forward algorithm: a float for x (T,), an array (n,) for x (n, T)."""
        likelihoods, batched = self._likelihoods(x)
        forward, total = self.initial * likelihoods[:, 0], np.zeros(len(likelihoods))
        with np.errstate(divide="ignore"):
            for t in range(self.n_observed):
                if t > 0:
                    forward = (forward @ self.transition) * likelihoods[:, t]
                scale = forward.sum(axis=1)
                forward = forward / np.where(scale > 0, scale, 1.0)[:, None]
                total += np.log(scale)
        return rows_or_one(total, batched)

    def _posterior_steps(self, likelihoods: Floats) -> tuple[Floats, Floats]:
        """The posterior as a chain: first step (n, K), transitions (n, T − 1, K, K).

        A row of transitions out of a state from which x cannot follow is the prior's: it is never reached.
        """
        n, n_steps, n_states = likelihoods.shape
        steps = np.empty((n, n_steps - 1, n_states, n_states))
        ahead = likelihoods[:, -1]
        for t in reversed(range(n_steps - 1)):
            moves = self.transition * ahead[:, None, :]
            total = moves.sum(axis=2)
            steps[:, t] = np.where(total[..., None] > 0, moves, self.transition)
            steps[:, t] /= steps[:, t].sum(axis=2, keepdims=True)
            ahead = likelihoods[:, t] * total
            top = ahead.max(axis=1, keepdims=True)
            ahead = ahead / np.where(top > 0, top, 1.0)
        first = self.initial * ahead
        mass = first.sum(axis=1, keepdims=True)
        if np.any(mass == 0):
            bad = int(np.flatnonzero(mass[:, 0] == 0)[0])
            raise InputError(f"row {bad} of x has probability zero under the model; it has no posterior")
        return first / mass, steps

    def posterior(self, x: ArrayLike) -> MarkovChain:
        """The exact posterior of the path as a proposal: every log weight is then log p(x), with variance zero.

        Raises
        ------
        InputError
            x has probability zero.
        """
        likelihoods, batched = self._likelihoods(x)
        return self._chain(self._posterior_steps(likelihoods), batched)

    def default_proposal(self, x: ArrayLike, widen: float | None = None) -> MarkovChain:
        """The posterior's chain, each step made flatter: a power 1/widen, and a share of 0.05/T spread evenly.

        None is a `widen` of 1 + 0.3/√T, so that the loss is alike for paths of any length. What the posterior forbids
        stays forbidden; the variance of the weights is finite, as there are finitely many paths.
        """
        likelihoods, batched = self._likelihoods(x)
        least = 1 + (DEFAULT_WIDEN - 1) / np.sqrt(self.n_latents)
        factor = least if widen is None else float(positive("widen", widen, (0,)))
        share = 0.05 / self.n_latents

        def flatter(steps: Floats) -> Floats:
            powers, allowed = steps ** (1 / factor), steps > 0
            even = allowed / allowed.sum(axis=-1, keepdims=True)
            flat: Floats = (1 - share) * powers / powers.sum(axis=-1, keepdims=True) + share * even
            return flat

        first, steps = self._posterior_steps(likelihoods)
        return self._chain((flatter(first), flatter(steps)), batched)

    def _chain(self, parts: tuple[Floats, Floats], batched: bool) -> MarkovChain:
        missing = np.zeros(len(parts[0])) if batched else 0.0
        return MarkovChain(*(rows_or_one(part, batched) for part in parts), missing_mass=missing)

    def uniform_domain(self, x: ArrayLike) -> MarkovChain:
        """All K^T paths with even odds: nothing is left out."""
        self._likelihoods(x)
        even = np.full(self.transition.shape, 1 / len(self.initial))
        return MarkovChain(even[0], self._repeated(even, self.n_latents))

    def sample(self, n: int, seed: int = 0, *, return_latents: bool = False) -> Any:
        """n rows drawn from the model: X (n, T) of symbols, or (X, Z (n, T)) with return_latents."""
        rng = np.random.default_rng(seed)
        X, Z = np.empty((2, whole("n", n), self.n_observed))
        shares = np.broadcast_to(self.initial, (len(X), len(self.initial)))
        for t in range(self.n_observed):
            Z[:, t] = _drawn(shares, rng)
            state = Z[:, t].astype(np.int64)
            X[:, t] = _drawn(self.emission[state], rng)
            shares = self.transition[state]
        return (X, Z) if return_latents else X

    @classmethod
    def example(cls, seed: int = 0) -> tuple[HiddenMarkov, Floats]:
        """A small model, 3 states, 4 symbols, 6 steps, and 5 rows drawn from it."""
        rng = np.random.default_rng(seed)
        transition = 0.6 * np.eye(3) + 0.4 * rng.dirichlet(np.ones(3), size=3)
        model = cls([0.5, 0.3, 0.2], transition, rng.dirichlet(np.full(4, 0.7), size=3), n_steps=6)
        return model, model.sample(5, seed + 1)


def _drawn(shares: Floats, rng: np.random.Generator) -> Integers:
    """One state for each row of probabilities (n, K), never one of probability zero."""
    edges = np.cumsum(shares, axis=1)
    noise = rng.random((len(shares), 1)) * edges[:, -1:]
    drawn: Integers = (noise >= edges[:, :-1]).sum(axis=1)
    return drawn
