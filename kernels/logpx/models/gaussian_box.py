r"""A Gaussian likelihood without its constant in a box with a uniform prior.

    z ~ Uniform(−c, c)^d,   L = exp(−½|z|²);   log Z = d log(√(2π) (2Φ(c) − 1)/(2c))

The plainest case of nested sampling: with c = 5 and d = 2, log Z = −2.7673. All that can go wrong is the prior's volume
and the box's edge, where the density stops: a z outside has density zero. The default proposal is a Gaussian a little
wider than the likelihood. Source: J. Skilling (2006), Bayesian Anal. 1, 833-860, doi:10.1214/06-BA127. The log joint
costs d multiply-adds a sample.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import scipy

from logpx import _jit
from logpx.checks import positive_number, whole
from logpx.models.target import HALF_LOG_2PI, Target, log_of_data
from logpx.proposals import Gaussian, Uniform
from logpx.proposals.base import Floats, packed, set_fields


@_jit.kernel("log_joint")
def log_joint(theta, dims, x, z, out):
    """theta: log prior, c; dims: d."""
    constant, edge = theta[0] + log_of_data(x), theta[1]
    for i in range(out.size):
        out[i] = constant
    for j in range(dims[0]):
        latent = z[j]
        for i in range(out.size):
            out[i] = -np.inf if abs(latent[i]) > edge else out[i] - 0.5 * latent[i] * latent[i]


def log_joint_scalar(theta, dims, x, z):
    """log p(x, z) of one sample, z (d,)."""
    value = theta[0] - 0.5 * x[0] * x[0] - HALF_LOG_2PI
    for j in range(dims[0]):
        value = value - 0.5 * z[j] * z[j] if abs(z[j]) <= theta[1] else -math.inf
    return value


@dataclass(frozen=True, eq=False, init=False)
class GaussianBox(Target):
    """A standard Gaussian likelihood, not normalised, under a uniform prior on a cube.

    Parameters
    ----------
    n_latents : int
        d.
    half_side : float
        c, above zero.

    Examples
    --------
    >>> round(GaussianBox(2).log_evidence, 4)
    -2.7673
    """

    half_side: float

    name: ClassVar[str] = "gaussian_box"
    summary: ClassVar[str] = "Gaussian likelihood, not normalised, under a uniform prior on a cube"
    exact_route: ClassVar[str] = "closed form"
    second_route: ClassVar[str] = "adaptive quadrature, dimension by dimension"
    log_joint: ClassVar[Any] = staticmethod(log_joint)
    log_joint_scalar: ClassVar[Callable[..., float]] = staticmethod(log_joint_scalar)

    def __init__(self, n_latents: int = 2, half_side: float = 5.0) -> None:
        d, c = whole("n_latents", n_latents), positive_number("half_side", half_side, "half the cube's side")
        log_prior = -d * math.log(2 * c)
        log_one = HALF_LOG_2PI + math.log(scipy.special.erf(c / math.sqrt(2)))
        set_fields(self, n_latents=d, half_side=c, log_evidence=d * log_one + log_prior)
        set_fields(self, theta=packed([log_prior, c]), dims=np.array([d], dtype=np.int64))
        set_fields(self, prior=Uniform(np.full(d, -c), np.full(d, c), missing_mass=0.0))

    def _proposal(self, widen: float) -> Gaussian:
        return Gaussian.diagonal(np.zeros(self.n_latents), np.full(self.n_latents, widen))

    def _draw(self, n: int, rng: np.random.Generator) -> Floats:
        low, high = scipy.special.ndtr([-self.half_side, self.half_side])
        draws: Floats = scipy.special.ndtri(rng.uniform(low, high, (n, self.n_latents)))
        return draws
