r"""What targets share: densities of z whose normalising constant is known.

    log p(x, z) = log N(x; 0, 1) + log L(z),   log p(x) = log N(x; 0, 1) + log Z,   Z = ∫ L(z) dz

L is a density of z or a likelihood times a prior, not normalised, and log Z its evidence. The data are one standard
normal number that says nothing about z and does no more than make a model of it, as in `mixture_target`: a wrong
constant is seen, and any proposal or sampler can be tried on L. A target is a file: kernel, evidence, a way to draw z
from L/Z, and a proposal that reaches all of it.
"""

from __future__ import annotations

import abc
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from logpx import _jit
from logpx.checks import whole
from logpx.models.base import DEFAULT_WIDEN, check_x, positive, rows_or_one
from logpx.proposals import Proposal
from logpx.proposals.base import Floats, Integers

HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


@_jit.leaf
def log_of_data(x):
    """log N(x; 0, 1)."""
    return -0.5 * x[0] * x[0] - HALF_LOG_2PI


@dataclass(frozen=True, eq=False, init=False)
class Target(abc.ABC):
    """A density of z with known evidence; a subclass gives kernel, `log_evidence`, draws and a proposal.

    Attributes
    ----------
    n_latents : int
    log_evidence : float
        log Z in nats, without the data's own density.
    """

    n_latents: int
    log_evidence: float = field(init=False, repr=False)
    theta: Floats = field(init=False, repr=False)
    dims: Integers = field(init=False, repr=False)
    prior: Proposal | None = field(init=False, repr=False)

    name: ClassVar[str]
    summary: ClassVar[str]
    exact_route: ClassVar[str]
    second_route: ClassVar[str]
    log_joint: ClassVar[Any]
    log_joint_scalar: ClassVar[Callable[..., float]]
    n_observed: ClassVar[int] = 1

    def log_marginal(self, x: ArrayLike) -> Any:
        """Exact log p(x) in nats: a float for x (1,), an array (n,) for x (n, 1)."""
        rows, batched = check_x(x, self.n_observed)
        return rows_or_one(self.log_evidence - 0.5 * rows[:, 0] ** 2 - HALF_LOG_2PI, batched)

    def default_proposal(self, x: ArrayLike, widen: float | None = None) -> Proposal:
        """A proposal that reaches all of the target, `widen` times as wide as fits best; None is 1 + 0.3/√d."""
        check_x(x, self.n_observed)
        least = 1 + (DEFAULT_WIDEN - 1) / math.sqrt(self.n_latents)
        return self._proposal(least if widen is None else float(positive("widen", widen, (0,))))

    @abc.abstractmethod
    def _proposal(self, widen: float) -> Proposal:
        """The default proposal, its scales times `widen`."""

    @abc.abstractmethod
    def _draw(self, n: int, rng: np.random.Generator) -> Floats:
        """n independent z from L/Z, (n, d)."""

    def sample(self, n: int, seed: int = 0, *, return_latents: bool = False) -> Any:
        """n rows drawn from the model: X (n, 1), or (X, Z (n, d)) with return_latents."""
        rng = np.random.default_rng(seed)
        X = rng.standard_normal((whole("n", n), 1))
        return (X, self._draw(len(X), rng)) if return_latents else X

    @classmethod
    def example(cls, seed: int = 0) -> tuple[Target, Floats]:
        """The target in a few dimensions, and 5 rows of data."""
        model = cls()
        return model, model.sample(5, seed + 1)


def by_inversion(grid: Floats, log_density: Floats, n: int, rng: np.random.Generator) -> Floats:
    """n draws of a one-dimensional density by inversion of its cumulative sum, linear between the grid's points."""
    heights = np.exp(log_density - log_density.max())
    cells = 0.5 * (heights[1:] + heights[:-1]) * np.diff(grid)
    edges = np.concatenate([[0.0], np.cumsum(cells)])
    draws: Floats = np.interp(rng.random(n) * edges[-1], edges, grid)
    return draws


def log_sum(logs: Floats) -> float:
    """log Σ exp, of an array."""
    top = logs.max()
    return float(top + math.log(np.exp(logs - top).sum()))
