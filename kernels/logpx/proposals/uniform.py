r"""Uniform proposals: a box, or a finite set of states.

    box:         z = low + (high − low) ⊙ u,   log q(z) = −Σ_l log(high_l − low_l)
    finite set:  z = ⌊n u⌋,                    log q(z) = −log n

With them importance sampling is plain uniform Monte Carlo, log weight log|Z| + log p(x, z). On a finite set it
is unbiased for p(x). On a box it is so for the mass of p(x) inside the box only: what a box leaves out
is a bias that no number of samples removes, and `missing_mass` says how much of p(x) it is. `Uniform()` has
no bounds yet: the model chooses them, so that the missing mass is at most 1e-12 (`model.uniform_domain`).
A sample costs one multiply-add for each latent. In float32 u has a resolution of 2^−24, so that the probabilities of
n states are off by up to n 2^−24 of themselves.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from logpx import _jit
from logpx.checks import whole
from logpx.errors import InputError, NotAvailableError
from logpx.proposals.base import Floats, Integers, Proposal, as_floats, packed, set_fields, two_parts


@_jit.kernel("proposal", dtypes=("float64", "float32"))
def box_kernel(lam, dims, eps, z, log_q):
    """lam: constant in two parts, low (d,), width (d,); dims: d."""
    d = dims[0]
    constant = np.float64(lam[0]) + np.float64(lam[1])
    for i in range(z.shape[1]):
        log_q[i] = constant
    for k in range(d):
        low, width = lam[2 + k], lam[2 + d + k]
        noise, latent = eps[k], z[k]
        for i in range(z.shape[1]):
            latent[i] = low + width * noise[i]


@_jit.kernel("proposal", dtypes=("float64", "float32"))
def finite_kernel(lam, dims, eps, z, log_q):
    """lam: −log n in two parts, n; dims: n. u < 1 and rounding keep n u below n for every n < 2^52 (float32: 2^24)."""
    constant, n_states = np.float64(lam[0]) + np.float64(lam[1]), lam[2]
    noise, latent = eps[0], z[0]
    for i in range(z.shape[1]):
        latent[i] = np.floor(n_states * noise[i])
        log_q[i] = constant


@dataclass(frozen=True, eq=False, init=False)
class Uniform(Proposal):
    """Uniform on a box (low, high), on a finite set (`Uniform.finite`), or on what the model chooses (`Uniform()`).

    Parameters
    ----------
    low, high : array, (d,) or (n, d)
        The box, low below high in every coordinate; with n rows, row i is for row i of x. Both or neither.

    Raises
    ------
    InputError
        One bound without the other, shapes that do not fit, low ≥ high, entries that are not finite.

    Examples
    --------
    >>> q = Uniform([-1.0, -2.0], [1.0, 2.0])
    >>> float(np.exp(-q.log_density([0.0, 0.0])).round(9))
    8.0
    """

    low: Floats | None
    high: Floats | None
    n_states: int | None
    missing_mass: float | Floats | None

    name: ClassVar[str] = "uniform"
    base: str = field(init=False, repr=False)
    kernel: Any = field(init=False, repr=False)
    n_base: int = field(init=False, repr=False)
    n_latents: int = field(init=False, repr=False)
    lam: Floats = field(init=False, repr=False)
    dims: Integers = field(init=False, repr=False)

    def __init__(
        self,
        low: ArrayLike | None = None,
        high: ArrayLike | None = None,
        *,
        n_states: int | None = None,
        missing_mass: float | Floats | None = None,
    ) -> None:
        set_fields(self, low=None, high=None, n_states=None, missing_mass=missing_mass, base="uniform")
        if n_states is not None:
            if low is not None or high is not None:
                raise InputError("a finite set has no low and high; use Uniform.finite(n_states) alone")
            self._prepare_finite(n_states)
        elif low is None and high is None:
            set_fields(self, kernel=None, n_base=0, n_latents=0, lam=np.zeros(0), dims=np.zeros(0, dtype=np.int64))
        elif low is None or high is None:
            raise InputError("give both low and high, or neither: Uniform() lets the model choose the box")
        else:
            self._prepare_box(low, high)

    def _prepare_finite(self, n_states: int) -> None:
        n = whole("n_states", n_states)
        if n >= 2**52:
            raise InputError(f"n_states is {n}; it must be below 2^52, so that every state is a float64")
        set_fields(self, n_states=n, kernel=finite_kernel, n_base=1, n_latents=1, n_discrete=1)
        set_fields(self, lam=packed([*two_parts(-math.log(n)), n]), dims=np.array([n], dtype=np.int64))

    def _prepare_box(self, low: ArrayLike, high: ArrayLike) -> None:
        low, high = as_floats("low", low, n_axes=(1, 2)), as_floats("high", high, n_axes=(1, 2))
        if low.shape != high.shape:
            raise InputError(f"low has shape {low.shape} and high {high.shape}; they must be the same, (d,) or (n, d)")
        with np.errstate(over="ignore"):
            width = high - low
        bad = np.argwhere(~((width > 0) & np.isfinite(width)))
        if len(bad):
            where = ", ".join(str(int(i)) for i in bad[0])
            at = tuple(bad[0])
            raise InputError(f"low[{where}] is {low[at]} and high[{where}] is {high[at]}; low must be below high")
        constant = two_parts(-np.log(width).sum(axis=-1))
        d = low.shape[-1]
        set_fields(self, low=low, high=high, kernel=box_kernel, n_base=d, n_latents=d)
        set_fields(self, lam=packed(np.concatenate([constant, low, width], axis=-1)), dims=np.array([d], np.int64))

    @classmethod
    def finite(cls, n_states: int) -> Uniform:
        """Uniform on the states 0, 1, …, n_states − 1 of one discrete latent: log q = −log n_states."""
        return cls(n_states=n_states)

    def bind(self, model: Any, x: ArrayLike) -> Proposal:
        """The box or set that the model chooses, or this one with its missing mass where the model can tell it.

        On the states of several discrete latents, the model's choice is a proposal of another kind with even odds.

        Raises
        ------
        NotAvailableError
            `Uniform()` on a model that chooses no box.
        InputError
            A box on a discrete latent, or a finite set on a continuous one, where the model knows.
        """
        n_states = getattr(model, "n_states", None)
        if self.kernel is None:
            domain = getattr(model, "uniform_domain", None)
            if domain is None:
                raise NotAvailableError(f"{_name(model)} has no box of its own; give one: Uniform(low, high)")
            chosen: Proposal = domain(x)
            return chosen
        if self.n_states is not None:
            return self._bind_finite(model, n_states)
        if n_states is not None:
            raise InputError(
                f"the latent of {_name(model)} is one of {n_states} states; use Uniform.finite({n_states})"
            )
        missing = getattr(model, "missing_mass", None)
        if missing is None:
            return self
        return dataclasses.replace(self, missing_mass=missing(x, self.low, self.high)[1])

    def _bind_finite(self, model: Any, n_states: int | None) -> Uniform:
        if n_states is None and getattr(model, "missing_mass", None) is not None:
            raise InputError(f"the latents of {_name(model)} are continuous; use a box, Uniform(low, high)")
        if n_states is None:
            return self
        if self.n_states != n_states:
            raise InputError(
                f"Uniform.finite({self.n_states}) on {_name(model)}, which has {n_states} states; "
                f"use Uniform.finite({n_states})"
            )
        return dataclasses.replace(self, missing_mass=0.0)

    def log_density(self, z: ArrayLike) -> Floats:
        """log q(z) in nats, z (..., d); −inf outside."""
        z = np.asarray(z, dtype=np.float64)
        if self.n_states is not None:
            state = z[..., 0]
            inside = (state >= 0) & (state < self.n_states) & (state == np.floor(state))
            return np.where(inside, -np.log(self.n_states), -np.inf)
        if self.low is None or self.high is None:
            raise NotAvailableError("Uniform() has no box yet; bind it to a model and its data first")
        inside = np.all((z >= self.low) & (z <= self.high), axis=-1)
        return np.where(inside, -np.log(self.high - self.low).sum(axis=-1), -np.inf)


def _name(model: Any) -> str:
    return str(getattr(model, "name", type(model).__name__))
