"""The model's prior as the proposal: z ~ p(z), log weight log p(x given z).

Plain Monte Carlo of p(x) = E over the prior of p(x given z). It needs nothing fitted, and its weights vary the more,
the more the data say about z. It is the model's own `prior` that draws: this file only asks for it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from logpx.errors import InputError, NotAvailableError
from logpx.proposals.base import Floats, Integers, Proposal


@dataclass(frozen=True, eq=False)
class Prior(Proposal):
    """The model's prior. `bind(model, x)` gives `model.prior`.

    Examples
    --------
    >>> from logpx.models import PPCA
    >>> model, X = PPCA.example()
    >>> type(Prior().bind(model, X)).__name__
    'Gaussian'
    """

    name: ClassVar[str] = "prior"
    kernel: Any = field(default=None, init=False, repr=False)
    base: str = field(default="", init=False, repr=False)
    n_base: int = field(default=0, init=False, repr=False)
    n_latents: int = field(default=0, init=False, repr=False)
    lam: Floats = field(default_factory=lambda: np.zeros(0), init=False, repr=False)
    dims: Integers = field(default_factory=lambda: np.zeros(0, dtype=np.int64), init=False, repr=False)
    missing_mass: float = field(default=0.0, init=False, repr=False)

    def bind(self, model: Any, x: ArrayLike) -> Proposal:
        """The model's prior.

        Raises
        ------
        NotAvailableError
            The model has no prior.
        """
        prior = getattr(model, "prior", None)
        if prior is None:
            name = getattr(model, "name", type(model).__name__)
            raise NotAvailableError(
                f"{name} has no prior to draw from: give one, Model(…, prior=Gaussian(mean, scale)), or a proposal"
            )
        if not isinstance(prior, Proposal):
            raise InputError(f"the model's prior is a {type(prior).__name__}; it must be a proposal, such as Gaussian")
        return prior.bind(model, x)

    def log_density(self, z: ArrayLike) -> Floats:
        """Not known before `bind`."""
        raise NotAvailableError("Prior() stands for a model's prior; bind it to the model first")
