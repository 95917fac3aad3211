r"""A Markov chain over K states: a path of discrete latents.

    z_1 ~ P_1,   z_t given z_{t−1} = i  ~  row i of P_t,  t = 2 … T
    log q(z) = log P_1(z_1) + Σ_t log P_t(z_{t−1}, z_t)

The transitions may differ from step to step, so that the prior of a hidden Markov model, its posterior and, with even
odds, the uniform distribution over K^T paths are all such chains. Each step inverts the cumulative sum of its row, as
`logpx.proposals.categorical` does; a state of probability zero is never drawn. Cost: K − 1 comparisons and two
look-ups a step.

Between two chains sums over paths are products of matrices, with m_t the marginals of p:

    KL(p‖q)     = Σ_t Σ_i m_{t−1}(i) Σ_j p_t(i, j) log p_t(i, j)/q_t(i, j)
    E_q[(p/q)²] = Σ over paths Π_t p_t(i, j)²/q_t(i, j)
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import scipy
from numpy.typing import ArrayLike

from logpx import _jit
from logpx.errors import InputError
from logpx.proposals.base import Floats, Integers, Proposal, no_closed_form, packed, set_fields
from logpx.proposals.categorical import distributions, upper_edges


@_jit.kernel("proposal")
def markov_chain_kernel(lam, dims, eps, z, log_q):
    """lam: for each step edges (K, K) and log probabilities (K, K), the first step's rows all alike; dims: K, T."""
    n_states, n_steps = dims[0], dims[1]
    previous = np.zeros(z.shape[1], np.int64)
    for t in range(n_steps):
        noise, latent, edges = eps[t], z[t], 2 * t * n_states * n_states
        logs = edges + n_states * n_states
        for i in range(latent.size):
            latent[i] = 0.0
        for k in range(n_states - 1):
            for i in range(latent.size):
                latent[i] += 1.0 if noise[i] >= lam[edges + previous[i] * n_states + k] else 0.0
        for i in range(latent.size):
            state = int(latent[i])
            log_q[i] = (log_q[i] if t > 0 else 0.0) + lam[logs + previous[i] * n_states + state]
            previous[i] = state


@dataclass(frozen=True, eq=False, init=False)
class MarkovChain(Proposal):
    """A path of T discrete latents, each an integer-valued float 0 … K − 1.

    Parameters
    ----------
    initial : array, (K,) or (n, K)
        Probabilities of the first state; with n rows, row i is for row i of x.
    transitions : array, (T − 1, K, K) or (n, T − 1, K, K)
        [t, i, j]: the probability of j after i. Every row adds up to 1 (within 1e-9; then scaled to 1).
    missing_mass : float or array (n,), optional
        The fraction of p(x) on paths that are never drawn; 0 where every probability is above zero.

    Raises
    ------
    InputError
        Shapes that do not fit, entries below zero or not finite, or sums that are not 1.

    Examples
    --------
    >>> q = MarkovChain([0.5, 0.5], [[[0.9, 0.1], [0.2, 0.8]]])
    >>> np.exp(q.log_density([[0.0, 0.0], [1.0, 0.0], [1.0, 2.0]])).round(9)
    array([0.45, 0.1 , 0.  ])
    """

    steps: Floats
    missing_mass: float | Floats | None

    name: ClassVar[str] = "markov_chain"
    base: str = field(init=False, repr=False)
    kernel: Any = field(init=False, repr=False)
    n_base: int = field(init=False, repr=False)
    n_latents: int = field(init=False, repr=False)
    lam: Floats = field(init=False, repr=False)
    dims: Integers = field(init=False, repr=False)

    def __init__(
        self, initial: ArrayLike, transitions: ArrayLike, *, missing_mass: float | Floats | None = None
    ) -> None:
        initial = distributions("initial probabilities", initial, n_axes=(1, 2))
        transitions = distributions("transitions", transitions, n_axes=(3, 4))
        n_states = initial.shape[-1]
        rows, (n_moves, *sizes) = transitions.shape[:-3], transitions.shape[-3:]
        if sizes != [n_states, n_states] or rows != initial.shape[:-1]:
            raise InputError(
                f"initial {initial.shape} and transitions {transitions.shape} do not fit; they must be (K,) and "
                "(T − 1, K, K), or (n, K) and (n, T − 1, K, K)"
            )
        first = np.broadcast_to(initial[..., None, None, :], (*rows, 1, n_states, n_states))
        steps = packed(np.concatenate([first, transitions], axis=-3))
        with np.errstate(divide="ignore"):
            lam = np.stack([upper_edges(steps), np.log(steps)], axis=-3).reshape(*rows, -1)
        missing = 0.0 if missing_mass is None and np.all(steps > 0) else missing_mass
        set_fields(self, steps=steps, missing_mass=missing, kernel=markov_chain_kernel, base="uniform", lam=packed(lam))
        set_fields(self, n_base=n_moves + 1, n_latents=n_moves + 1, n_discrete=n_moves + 1)
        set_fields(self, dims=np.array([n_states, n_moves + 1], dtype=np.int64))

    def log_density(self, z: ArrayLike) -> Floats:
        """log q(z) in nats, z (..., T), or (..., n, T) where there are n rows; −inf for what is no path."""
        state = np.asarray(z, dtype=np.float64)
        inside = (state >= 0) & (state < self.dims[0]) & (state == np.floor(state))
        now = np.where(inside, state, 0).astype(np.int64)
        before = np.concatenate([np.zeros_like(now[..., :1]), now[..., :-1]], axis=-1)
        rows = () if self.steps.ndim == 3 else (np.arange(len(self.steps))[:, None],)
        chosen = self.steps[(*rows, np.arange(self.n_latents), before, now)]
        with np.errstate(divide="ignore"):
            values: Floats = np.log(np.where(inside, chosen, 0.0)).sum(axis=-1)
        return values

    def kl(self, q: Proposal) -> Any:
        """KL(self‖q) in nats against another chain of as many states and steps: a float or (n,)."""
        p, other = self._beside(q)
        marginal, total = p[..., 0, 0, :], scipy.special.rel_entr(p[..., 0, 0, :], other[..., 0, 0, :]).sum(axis=-1)
        for t in range(1, self.n_latents):
            gain = scipy.special.rel_entr(p[..., t, :, :], other[..., t, :, :]).sum(axis=-1)
            total = total + np.where(marginal > 0, marginal * np.where(marginal > 0, gain, 0.0), 0.0).sum(axis=-1)
            marginal = (marginal[..., None] * p[..., t, :, :]).sum(axis=-2)
        return total

    def log_second_moment(self, q: Proposal) -> Any:
        """log E_q[(self/q)²] in nats against another chain, backwards from the last step: a float or (n,)."""
        p, other = self._beside(q)
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = p * (p / other)
            value, log_scale = np.ones((*p.shape[:-3], p.shape[-1])), 0.0
            for t in reversed(range(self.n_latents)):
                here = p[..., t, :, :] > 0
                value = np.where(here, ratio[..., t, :, :] * value[..., None, :], 0.0).sum(axis=-1)
                top = value.max(axis=-1, keepdims=True)
                value, log_scale = value / top, log_scale + np.log(top[..., 0])
            return np.where(np.isfinite(log_scale), log_scale + np.log(value[..., 0]), np.inf)

    def _beside(self, q: Proposal) -> tuple[Floats, Floats]:
        """The steps of both chains, broadcast over rows."""
        if not isinstance(q, MarkovChain):
            raise no_closed_form(self, q)
        if self.steps.shape[-3:] != q.steps.shape[-3:]:
            raise InputError(f"p has steps of shape {self.steps.shape} and q {q.steps.shape}; they must be the same")
        p, other = np.broadcast_arrays(self.steps, q.steps)
        return p, other
