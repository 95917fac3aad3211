"""The model's prior as the proposal: z ~ p(z), log weight log p(x given z).

Plain Monte Carlo of p(x) = E over the prior of p(x given z). It needs nothing fitted, and its weights vary the more,
the more the data say about z. It is the model's own `prior` that draws: this file only asks for it.
"""

from __future__ import annotations

from dataclasses import dataclass
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
    base: ClassVar[str] = ""
    kernel: ClassVar[Any] = None
    n_base: ClassVar[int] = 0
    n_latents: ClassVar[int] = 0
    lam: ClassVar[Floats] = np.zeros(0)
    dims: ClassVar[Integers] = np.zeros(0, dtype=np.int64)
    missing_mass: ClassVar[float] = 0.0

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
                f"{name} has no prior to draw from; give one, Model(…, prior=Gaussian(mean, scale)), or another proposal"
            )
        if not isinstance(prior, Proposal):
            raise InputError(f"the model's prior is a {type(prior).__name__}; it must be a proposal, such as Gaussian")
        return prior

    def log_density(self, z: ArrayLike) -> Floats:
        """Not known before `bind`."""
        raise NotAvailableError("Prior() stands for a model's prior; bind it to the model first")
