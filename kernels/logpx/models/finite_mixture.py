r"""What the mixtures share: one discrete latent, the component, summed over.

    z ∈ {0, …, K − 1},  p(z) = π_z,   log p(x) = log Σ_z π_z p(x given z), a sum of K terms in the log domain

The posterior is the categorical distribution of the responsibilities p(z given x). The default proposal is flatter,
so that there is something to estimate, and keeps a share for every state, so that weights are bounded. Source: C. M.
Bishop (2006), Pattern Recognition and Machine Learning, section 9.2. A row costs K densities.
"""

from __future__ import annotations

import abc
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from logpx.models.base import DEFAULT_WIDEN, positive, rows_or_one
from logpx.proposals import Categorical, Uniform
from logpx.proposals.base import Floats, Integers


@dataclass(frozen=True, eq=False, init=False)
class FiniteMixture(abc.ABC):
    """A mixture of K densities of x. A subclass sets the fields below and says how x is checked and its density."""

    weights: Floats

    exact_route: ClassVar[str] = "sum over the components"
    second_route: ClassVar[str]
    n_latents: ClassVar[int] = 1
    theta: Floats = field(init=False, repr=False)
    dims: Integers = field(init=False, repr=False)
    n_observed: int = field(init=False, repr=False)
    n_states: int = field(init=False, repr=False)
    prior: Categorical = field(init=False, repr=False)

    @abc.abstractmethod
    def _check(self, x: ArrayLike) -> tuple[Floats, bool]:
        """Data as rows (n, p), and whether there was a row axis, or an InputError."""

    @abc.abstractmethod
    def _log_joints(self, rows: Floats) -> Floats:
        """log p(x, z) of every row and every state, (n, K)."""

    def log_marginal(self, x: ArrayLike) -> Any:
        """Exact log p(x) in nats, by a sum over the K states: a float for x (p,), an array (n,) for x (n, p)."""
        rows, batched = self._check(x)
        values = self._log_joints(rows)
        top = values.max(axis=1)
        return rows_or_one(top + np.log(np.exp(values - top[:, None]).sum(axis=1)), batched)

    def responsibilities(self, x: ArrayLike) -> Any:
        """p(z given x) of every state: (K,) for x (p,), (n, K) for x (n, p)."""
        rows, batched = self._check(x)
        return rows_or_one(self._shares(rows, 1.0), batched)

    def _shares(self, rows: Floats, widen: float) -> Floats:
        """The responsibilities' power 1/widen, scaled to sum 1."""
        values = self._log_joints(rows)
        shares = np.exp((values - values.max(axis=1, keepdims=True)) / widen)
        scaled: Floats = shares / shares.sum(axis=1, keepdims=True)
        return scaled

    def posterior(self, x: ArrayLike) -> Categorical:
        """The exact posterior of z as a proposal: every log weight is then log p(x), with variance zero.

        A state whose share underflows (below 1e-308) is never drawn; no digit of p(x) is missing.
        """
        shares = self.responsibilities(x)
        missing = 0.0 if np.ndim(shares) == 1 else np.zeros(len(shares))
        return Categorical(shares, missing_mass=missing)

    def default_proposal(self, x: ArrayLike, widen: float | None = None) -> Categorical:
        """The posterior made flatter: 0.95 of its power 1/widen, scaled to sum 1, and 0.05 spread evenly.

        `widen` is 1.3 by default. Every state keeps at least 0.05/K, so that no weight is above 20 K p(x).
        """
        rows, batched = self._check(x)
        factor = DEFAULT_WIDEN if widen is None else float(positive("widen", widen, (0,)))
        return Categorical(rows_or_one(0.95 * self._shares(rows, factor) + 0.05 / self.n_states, batched))

    def uniform_domain(self, x: ArrayLike) -> Uniform:
        """The K states: nothing is left out."""
        self._check(x)
        return Uniform(n_states=self.n_states, missing_mass=0.0)
