r"""Binary latents: independent (`Bernoulli`), or jointly by a table of all 2^d states (`BinaryTable`).

    Bernoulli:    z_k = 1 with probability p_k,           log q(z) = Σ_k log p_k or log(1 − p_k)
    BinaryTable:  z with probability P[Σ_k z_k 2^k],      log q(z) = log P[…]

An independent latent is one comparison u_k < p_k. A joint draw goes down a binary tree: z_0 with its marginal
probability, then z_1 given z_0, and so on, each a look-up in 2^k numbers and a comparison; it takes d numbers of noise
too. States of probability zero are never drawn. A table holds up to 2^16 states.

Between products both closed forms are sums over the d latents; with a table they are sums over the states.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import scipy
from numpy.typing import ArrayLike

from logpx import _jit
from logpx.errors import InputError, NotAvailableError
from logpx.proposals.base import Floats, Integers, Proposal, as_floats, no_closed_form, packed, set_fields
from logpx.proposals.categorical import distributions

#: Most latents of a table.
MOST_IN_TABLE = 16


@_jit.kernel("proposal")
def bernoulli_kernel(lam, dims, eps, z, log_q):
    """lam: p (d,), log p (d,), log(1 − p) (d,); dims: d."""
    d = dims[0]
    for k in range(d):
        noise, latent, share, log_one, log_zero = eps[k], z[k], lam[k], lam[d + k], lam[2 * d + k]
        for i in range(latent.size):
            one = noise[i] < share
            latent[i] = 1.0 if one else 0.0
            log_q[i] = (log_q[i] if k > 0 else 0.0) + (log_one if one else log_zero)


@_jit.kernel("proposal")
def binary_table_kernel(lam, dims, eps, z, log_q):
    """lam: for each k the probability that z_k = 1 after each of 2^k beginnings, then log P (2^d,); dims: d."""
    d = dims[0]
    state = np.zeros(z.shape[1], np.int64)
    for k in range(d):
        noise, latent, bit = eps[k], z[k], 1 << k
        for i in range(latent.size):
            one = noise[i] < lam[bit - 1 + state[i]]
            latent[i] = 1.0 if one else 0.0
            state[i] += bit if one else 0
    for i in range(state.size):
        log_q[i] = lam[(1 << d) - 1 + state[i]]


def _second_moment(p: Floats, q: Floats) -> Floats:
    """Σ p²/q over the last axis."""
    with np.errstate(divide="ignore", invalid="ignore"):
        values: Floats = np.where(p > 0, p * (p / q), 0.0).sum(axis=-1)
        return values


@dataclass(frozen=True, eq=False, init=False)
class Bernoulli(Proposal):
    """Independent binary latents, each 0.0 or 1.0.

    Parameters
    ----------
    probabilities : array, (d,) or (n, d)
        Of a 1, from 0 to 1; with n rows, row i is for row i of x.
    missing_mass : float or array (n,), optional
        The fraction of p(x) on states that are never drawn; 0 where no probability is 0 or 1.

    Raises
    ------
    InputError
        Entries that are not finite, below 0 or above 1.

    Examples
    --------
    >>> q = Bernoulli([0.25, 0.5])
    >>> np.exp(q.log_density([[0.0, 1.0], [1.0, 0.0], [1.0, 0.5]])).round(9)
    array([0.375, 0.125, 0.   ])
    """

    probabilities: Floats
    missing_mass: float | Floats | None

    name: ClassVar[str] = "bernoulli"
    base: str = field(init=False, repr=False)
    kernel: Any = field(init=False, repr=False)
    n_base: int = field(init=False, repr=False)
    n_latents: int = field(init=False, repr=False)
    lam: Floats = field(init=False, repr=False)
    dims: Integers = field(init=False, repr=False)

    def __init__(self, probabilities: ArrayLike, *, missing_mass: float | Floats | None = None) -> None:
        p = as_floats("probabilities", probabilities, n_axes=(1, 2))
        if p.min() < 0 or p.max() > 1:
            raise InputError(f"probabilities run from {p.min()} to {p.max()}; every one must be from 0 to 1")
        with np.errstate(divide="ignore"):
            lam = np.concatenate([p, np.log(p), np.log1p(-p)], axis=-1)
        missing = 0.0 if missing_mass is None and np.all((p > 0) & (p < 1)) else missing_mass
        set_fields(self, probabilities=p, missing_mass=missing, kernel=bernoulli_kernel, base="uniform")
        set_fields(self, n_base=p.shape[-1], n_latents=p.shape[-1], lam=packed(lam))
        set_fields(self, n_discrete=p.shape[-1], dims=np.array([p.shape[-1]], dtype=np.int64))

    def table(self) -> Floats:
        """Probabilities of all states, (2^d,) or (n, 2^d), state Σ_k z_k 2^k; d up to 16."""
        p, d = self.probabilities, self.n_latents
        check_table(d)
        states = np.ones((*p.shape[:-1], 1))
        for k in range(d):
            one = p[..., k, None]
            states = np.concatenate([states * (1 - one), states * one], axis=-1)
        return states

    def log_density(self, z: ArrayLike) -> Floats:
        """log q(z) in nats, z (..., d), or (..., n, d) where there are n rows; −inf for what is not binary."""
        z = np.asarray(z, dtype=np.float64)
        share = np.where(z == 1, self.probabilities, np.where(z == 0, 1 - self.probabilities, 0.0))
        with np.errstate(divide="ignore"):
            values: Floats = np.log(share).sum(axis=-1)
        return values

    def kl(self, q: Proposal) -> Any:
        """KL(self‖q) in nats against a Bernoulli or a BinaryTable: a float or (n,)."""
        if isinstance(q, BinaryTable):
            return scipy.special.rel_entr(self.table(), q.probabilities).sum(axis=-1)
        p, other = self._beside(q)
        return scipy.special.rel_entr(p, other).sum(axis=(-2, -1))

    def log_second_moment(self, q: Proposal) -> Any:
        """log E_q[(self/q)²] in nats against a Bernoulli or a BinaryTable: a float or (n,)."""
        with np.errstate(divide="ignore"):
            if isinstance(q, BinaryTable):
                return np.log(_second_moment(self.table(), q.probabilities))
            return np.log(_second_moment(*self._beside(q))).sum(axis=-1)

    def _beside(self, q: Proposal) -> tuple[Floats, Floats]:
        """(..., d, 2) of both."""
        if not isinstance(q, Bernoulli):
            raise no_closed_form(self, q)
        p, other = self.probabilities, q.probabilities
        return np.stack([1 - p, p], axis=-1), np.stack([1 - other, other], axis=-1)


@dataclass(frozen=True, eq=False, init=False)
class BinaryTable(Proposal):
    """Up to 16 binary latents, each 0.0 or 1.0, with any joint distribution.

    Parameters
    ----------
    probabilities : array, (2^d,) or (n, 2^d)
        Of the state Σ_k z_k 2^k; every row adds up to 1 (within 1e-9; then scaled to 1).
    missing_mass : float or array (n,), optional
        The fraction of p(x) on states that are never drawn; 0 where every probability is above zero.

    Raises
    ------
    InputError
        A length that is not 2 to 2^16 and a power of two, entries below zero or not finite, or sums that are not 1.

    Examples
    --------
    >>> q = BinaryTable([0.1, 0.2, 0.3, 0.4])
    >>> np.exp(q.log_density([[1.0, 0.0], [0.0, 1.0]])).round(9)
    array([0.2, 0.3])
    """

    probabilities: Floats
    missing_mass: float | Floats | None

    name: ClassVar[str] = "binary_table"
    base: str = field(init=False, repr=False)
    kernel: Any = field(init=False, repr=False)
    n_base: int = field(init=False, repr=False)
    n_latents: int = field(init=False, repr=False)
    lam: Floats = field(init=False, repr=False)
    dims: Integers = field(init=False, repr=False)

    def __init__(self, probabilities: ArrayLike, *, missing_mass: float | Floats | None = None) -> None:
        shares = distributions("probabilities", probabilities, n_axes=(1, 2))
        n_states = shares.shape[-1]
        d = n_states.bit_length() - 1
        if n_states != 2**d or not 1 <= d <= MOST_IN_TABLE:
            raise InputError(f"there are {n_states} probabilities; they must be 2^d, d from 1 to {MOST_IN_TABLE}")
        branches = []
        for k in range(d):
            both = shares.reshape(*shares.shape[:-1], -1, 2, 2**k).sum(axis=-3)
            total = both.sum(axis=-2)
            branches.append(both[..., 1, :] / np.where(total > 0, total, 1.0))
        with np.errstate(divide="ignore"):
            lam = packed(np.concatenate([*branches, np.log(shares)], axis=-1))
        missing = 0.0 if missing_mass is None and np.all(shares > 0) else missing_mass
        set_fields(self, probabilities=shares, missing_mass=missing, kernel=binary_table_kernel, base="uniform")
        set_fields(self, n_base=d, n_latents=d, n_discrete=d, lam=lam, dims=np.array([d], dtype=np.int64))

    def log_density(self, z: ArrayLike) -> Floats:
        """log q(z) in nats, z (..., d), or (..., n, d) where there are n rows; −inf for what is not binary."""
        z = np.asarray(z, dtype=np.float64)
        binary = np.all((z == 0) | (z == 1), axis=-1)
        state = np.where(binary[..., None], z, 0.0) @ 2.0 ** np.arange(self.n_latents)
        table = np.broadcast_to(self.probabilities, (*state.shape, self.probabilities.shape[-1]))
        chosen = np.take_along_axis(table, state.astype(np.int64)[..., None], axis=-1)[..., 0]
        with np.errstate(divide="ignore"):
            return np.log(np.where(binary, chosen, 0.0))

    def kl(self, q: Proposal) -> Any:
        """KL(self‖q) in nats against a Bernoulli or a BinaryTable: a float or (n,)."""
        return scipy.special.rel_entr(self.probabilities, self._table_of(q)).sum(axis=-1)

    def log_second_moment(self, q: Proposal) -> Any:
        """log E_q[(self/q)²] in nats against a Bernoulli or a BinaryTable: a float or (n,)."""
        return np.log(_second_moment(self.probabilities, self._table_of(q)))

    def _table_of(self, q: Proposal) -> Floats:
        if isinstance(q, Bernoulli):
            return q.table()
        if not isinstance(q, BinaryTable):
            raise no_closed_form(self, q)
        return q.probabilities


def check_table(n_latents: int) -> None:
    """Raise NotAvailableError where a table would have more than 2^16 states."""
    if n_latents > MOST_IN_TABLE:
        raise NotAvailableError(f"a table of 2^{n_latents} states is too large; it has at most {MOST_IN_TABLE} latents")
