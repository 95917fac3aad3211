r"""A categorical proposal for one discrete latent.

    z = the k with c_{k−1} ≤ u < c_k,   c_k = Σ_{j ≤ k} q_j,   log q(z) = log q_z

by inversion of the cumulative sum. Up to 16 states are found by comparing with every c_k, which vectorises;
more by bisection. A state of probability zero is never drawn. In float32 the edges c_k, the noise and log q_k are
rounded: a state is drawn with a probability off by up to 2^−23, and the weights with it, by a share of 2^−23/q_k.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from logpx import _jit
from logpx.errors import InputError
from logpx.proposals.base import Floats, Integers, Proposal, as_floats, packed, set_fields


@_jit.kernel("proposal", dtypes=("float64", "float32"))
def categorical_kernel(lam, dims, eps, z, log_q):
    """lam: cumulative sums (K,), log probabilities (K,); dims: K."""
    n_states = dims[0]
    noise, state = eps[0], z[0]
    if n_states <= 16:
        for i in range(z.shape[1]):
            state[i] = z.dtype.type(0.0)
            log_q[i] = lam[n_states]
        for k in range(1, n_states):
            edge, log_probability, index = lam[k - 1], np.float64(lam[n_states + k]), z.dtype.type(k)
            for i in range(z.shape[1]):
                above = noise[i] >= edge
                state[i] = index if above else state[i]
                log_q[i] = log_probability if above else log_q[i]
    else:
        for i in range(z.shape[1]):
            low, high = 0, n_states - 1
            while low < high:
                middle = (low + high) // 2
                if noise[i] >= lam[middle]:
                    low = middle + 1
                else:
                    high = middle
            state[i] = low
            log_q[i] = lam[n_states + low]


@dataclass(frozen=True, eq=False, init=False)
class Categorical(Proposal):
    """One discrete latent, an integer-valued float 0 … K − 1.

    Parameters
    ----------
    probabilities : array, (K,) or (n, K)
        At least zero, with sum 1 (within 1e-9; then scaled to 1); with n rows, row i is for row i of x.

    Raises
    ------
    InputError
        Entries below zero or not finite, or a sum that is not 1.

    Examples
    --------
    >>> q = Categorical([0.25, 0.75])
    >>> np.exp(q.log_density([[0.0], [1.0], [2.0]]))
    array([0.25, 0.75, 0.  ])
    """

    probabilities: Floats
    missing_mass: float | Floats | None

    name: ClassVar[str] = "categorical"
    kernel: Any = field(init=False, repr=False)
    base: str = field(init=False, repr=False)
    n_base: int = field(init=False, repr=False)
    n_latents: int = field(init=False, repr=False)
    lam: Floats = field(init=False, repr=False)
    dims: Integers = field(init=False, repr=False)

    def __init__(self, probabilities: ArrayLike, *, missing_mass: float | Floats | None = None) -> None:
        shares = distributions("probabilities", probabilities, n_axes=(1, 2))
        with np.errstate(divide="ignore"):
            logs = np.log(shares)
        lam = np.concatenate([upper_edges(shares), logs], axis=-1)
        missing = 0.0 if missing_mass is None and np.all(shares > 0) else missing_mass
        set_fields(self, probabilities=shares, missing_mass=missing, kernel=categorical_kernel)
        set_fields(self, base="uniform", n_base=1, n_latents=1, n_discrete=1)
        set_fields(self, lam=packed(lam), dims=np.array([shares.shape[-1]], dtype=np.int64))

    @property
    def n_states(self) -> int:
        """K."""
        return int(self.probabilities.shape[-1])

    def bind(self, model: Any, x: ArrayLike) -> Categorical:
        """This proposal, with the posterior mass of the states it never draws where the model can tell it."""
        n_states = getattr(model, "n_states", None)
        if n_states is not None and n_states != self.probabilities.shape[-1]:
            raise InputError(f"the proposal has {self.probabilities.shape[-1]} states and the model {n_states}")
        responsibilities = getattr(model, "responsibilities", None)
        if self.missing_mass is not None or responsibilities is None:
            return self
        missed = np.where(self.probabilities > 0, 0.0, responsibilities(x)).sum(axis=-1)
        return dataclasses.replace(self, missing_mass=float(missed) if np.ndim(missed) == 0 else missed)

    def log_density(self, z: ArrayLike) -> Floats:
        """log q(z) in nats, z (..., 1), or (..., n, 1) where there are n rows of probabilities; −inf elsewhere."""
        state = np.asarray(z, dtype=np.float64)[..., 0]
        n_states = self.probabilities.shape[-1]
        inside = (state >= 0) & (state < n_states) & (state == np.floor(state))
        index = np.where(inside, state, 0).astype(np.int64)
        table = np.broadcast_to(self.probabilities, (*index.shape, n_states))
        chosen = np.take_along_axis(table, index[..., None], axis=-1)[..., 0]
        with np.errstate(divide="ignore"):
            return np.log(np.where(inside, chosen, 0.0))


def distributions(name: str, value: ArrayLike, n_axes: tuple[int, ...]) -> Floats:
    """Probabilities (..., K) that add up to 1 along the last axis (within 1e-9; then scaled to 1), or an InputError."""
    given = as_floats(name, value, n_axes=n_axes)
    total = given.sum(axis=-1, keepdims=True)
    if np.any(given < 0):
        raise InputError(f"{name} hold {given.min()}; every one must be at least zero")
    if np.any(np.abs(total - 1) > 1e-9):
        worst = total.flat[np.argmax(np.abs(total - 1))]
        raise InputError(f"{name} add up to {worst:.12g}; they must add up to 1 (divide by their sum)")
    return packed(given / total)


def upper_edges(probabilities: Floats) -> Floats:
    """Edges c_k of the last axis. From the last state of positive probability on they are 2: no gap is left below 1."""
    positive = probabilities > 0
    later: Floats = np.cumsum(positive[..., ::-1], axis=-1)[..., ::-1] - positive
    return np.where(later == 0, 2.0, np.cumsum(probabilities, axis=-1))
