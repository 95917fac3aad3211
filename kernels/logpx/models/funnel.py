r"""Neal's funnel: the scale of all other latents is the exponential of the first.

    z_1 ~ N(0, 3²),   z_j given z_1 ~ N(0, exp z_1), j = 2 … d;   Z = 1

The density is normalised and the scales span e^{±9} and more: no proposal with fixed scales has a finite variance. The
default proposal is the funnel itself, a little wider in both parts (`logpx.proposals.Funnel`), with
E[w²] = g(a) g(b)^{d−1}, g(s) = s²/√(2s² − 1), for the factors a and b. Source: R. M. Neal (2003), Ann. Statist. 31,
705-767, doi:10.1214/aos/1056562461, section 8. The log joint costs an exponential and d multiply-adds a sample.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from logpx import _jit, vecmath
from logpx.checks import whole
from logpx.models.base import check_x
from logpx.models.target import HALF_LOG_2PI, Target, log_of_data
from logpx.proposals import Funnel as FunnelProposal
from logpx.proposals.base import Floats, packed, set_fields

#: Standard deviation of z_1.
NECK = 3.0


@_jit.kernel("log_joint")
def log_joint(theta, dims, x, z, out):
    """theta: constant, 1/3; dims: d."""
    d, neck = dims[0], z[0]
    constant, root = theta[0] + log_of_data(x), theta[1]
    for i in range(out.size):
        out[i] = 0.0
    for j in range(1, d):
        latent = z[j]
        for i in range(out.size):
            out[i] += latent[i] * latent[i]
    for i in range(out.size):
        e = neck[i] * root
        out[i] = constant - 0.5 * (e * e + (d - 1) * neck[i] + out[i] * vecmath.exp(-neck[i]))


def log_joint_scalar(theta, dims, x, z):
    """log p(x, z) of one sample, z (d,)."""
    value = theta[0] - 0.5 * x[0] * x[0] - HALF_LOG_2PI - 0.5 * (z[0] * theta[1]) ** 2
    for j in range(1, dims[0]):
        value -= 0.5 * z[0] + 0.5 * z[j] * z[j] * math.exp(-z[0])
    return value


@dataclass(frozen=True, eq=False, init=False)
class Funnel(Target):
    """Neal's funnel in d dimensions.

    Parameters
    ----------
    n_latents : int
        d, at least 2.

    Examples
    --------
    >>> Funnel(10).log_evidence
    0.0
    """

    name: ClassVar[str] = "funnel"
    summary: ClassVar[str] = "Neal's funnel: one latent is the log scale of all others"
    exact_route: ClassVar[str] = "normalised by construction"
    second_route: ClassVar[str] = "adaptive quadrature over the log scale, a sum for each of the rest"
    log_joint: ClassVar[Any] = staticmethod(log_joint)
    log_joint_scalar: ClassVar[Callable[..., float]] = staticmethod(log_joint_scalar)

    def __init__(self, n_latents: int = 10) -> None:
        d = whole("n_latents", n_latents, least=2)
        set_fields(self, n_latents=d, log_evidence=0.0, dims=np.array([d], dtype=np.int64))
        set_fields(self, theta=packed([-d * HALF_LOG_2PI - math.log(NECK), 1 / NECK]), prior=self._proposal(1.0))

    def posterior(self, x: ArrayLike) -> FunnelProposal:
        """The funnel itself, as a proposal: every log weight is log p(x), with variance zero."""
        check_x(x, self.n_observed)
        return self._proposal(1.0)

    def _proposal(self, widen: float) -> FunnelProposal:
        return FunnelProposal(self.n_latents, widen * NECK, widen)

    def _draw(self, n: int, rng: np.random.Generator) -> Floats:
        necks = NECK * rng.standard_normal((n, 1))
        return np.hstack([necks, np.exp(0.5 * necks) * rng.standard_normal((n, self.n_latents - 1))])
