r"""Double wells, as many as there are pairs of dimensions: 2^{d/2} modes of unequal mass.

    log L(z) = Σ_{j odd} (−z_j⁴ + 6 z_j² + z_j/2) − Σ_{j even} z_j²/2,   j = 1 … d
    log Z = ⌈d/2⌉ log Z_1 + ⌊d/2⌋ ½ log 2π,   Z_1 = ∫ exp(−z⁴ + 6 z² + z/2) dz = 11784.50927

d = 1 is the double well, d = 2 its usual plane, d = 32 the many-well target with 65,536 modes. Each well is two modes
near ±√3, five sixths of its mass on the right. Z_1 is a sum over a grid (the trapezoidal rule, which converges
geometrically for such a function). The default proposal is a mixture of two Gaussians for each well, with the mass,
mean and, widened, the standard deviation of each half: the quartic has lighter tails. Source: F. Noé et al. (2019),
Science 365, eaaw1147; L. I. Midgley et al. (2023), ICLR, arXiv:2208.01893, for many wells. The log joint costs 2.5 d
multiply-adds a sample.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from logpx import _jit
from logpx.checks import whole
from logpx.models.target import HALF_LOG_2PI, Target, by_inversion, log_of_data, log_sum
from logpx.proposals import Product
from logpx.proposals.base import Floats, set_fields

#: Beyond ±6 a well is below exp(−1080).
GRID = np.linspace(-6, 6, 12001)
WELL = -(GRID**4) + 6 * GRID**2 + 0.5 * GRID


@_jit.kernel("log_joint")
def log_joint(theta, dims, x, z, out):
    """theta is empty; dims: d."""
    constant = log_of_data(x)
    for i in range(out.size):
        out[i] = constant
    for j in range(0, dims[0], 2):
        latent = z[j]
        for i in range(out.size):
            square = latent[i] * latent[i]
            out[i] += square * (6.0 - square) + 0.5 * latent[i]
    for j in range(1, dims[0], 2):
        latent = z[j]
        for i in range(out.size):
            out[i] -= 0.5 * latent[i] * latent[i]


def log_joint_scalar(theta, dims, x, z):
    """log p(x, z) of one sample, z (d,)."""
    value = -0.5 * x[0] * x[0] - HALF_LOG_2PI
    for j in range(dims[0]):
        value += -0.5 * z[j] ** 2 if j % 2 else -(z[j] ** 4) + 6 * z[j] ** 2 + 0.5 * z[j]
    return value


@dataclass(frozen=True, eq=False, init=False)
class ManyWell(Target):
    """⌈d/2⌉ double wells, a normal latent after each.

    Parameters
    ----------
    n_latents : int
        d; 1 is the double well.

    Examples
    --------
    >>> round(math.exp(ManyWell(1).log_evidence), 5)
    11784.50927
    """

    name: ClassVar[str] = "many_well"
    summary: ClassVar[str] = "double wells, one for every two latents: 2^(d/2) modes of unequal mass"
    exact_route: ClassVar[str] = "product of one-dimensional integrals, trapezoidal rule"
    second_route: ClassVar[str] = "adaptive quadrature, well by well"
    log_joint: ClassVar[Any] = staticmethod(log_joint)
    log_joint_scalar: ClassVar[Callable[..., float]] = staticmethod(log_joint_scalar)

    def __init__(self, n_latents: int = 6) -> None:
        d = whole("n_latents", n_latents)
        log_well = log_sum(WELL) + math.log(GRID[1] - GRID[0])
        set_fields(self, n_latents=d, log_evidence=(d - d // 2) * log_well + (d // 2) * HALF_LOG_2PI)
        set_fields(self, theta=np.zeros(0), dims=np.array([d], dtype=np.int64), prior=None)

    def _proposal(self, widen: float) -> Product:
        heights = np.exp(WELL - WELL.max())
        shape = self.n_latents, 2
        weights, means, scales = np.full(shape, 0.5), np.zeros(shape), np.ones(shape)
        for k, half in enumerate((GRID < 0, GRID >= 0)):
            share = heights[half].sum()
            mean = (heights[half] @ GRID[half]) / share
            weights[::2, k], means[::2, k] = share / heights.sum(), mean
            scales[::2, k] = math.sqrt(heights[half] @ (GRID[half] - mean) ** 2 / share)
        return Product(weights, means, widen * scales)

    def _draw(self, n: int, rng: np.random.Generator) -> Floats:
        Z = rng.standard_normal((n, self.n_latents))
        wells = Z[:, ::2].shape
        Z[:, ::2] = by_inversion(GRID, WELL, wells[0] * wells[1], rng).reshape(wells)
        return Z
