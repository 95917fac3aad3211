r"""Two thin spherical shells in a cube.

    z ~ Uniform(−6, 6)^d,   L = Σ_± N(|z ∓ 3.5 e_1|; r, w²)

with r = 2 and w = 0.1: curved, thin, apart. A shell has the evidence ∫ S ρ^{d−1} N(ρ; r, w²) (1 − h(ρ)) dρ over the
radius, S = 2π^{d/2}/Γ(d/2), by the trapezoidal rule, where h is the fraction of the sphere beyond the cube's face at a
distance of c = 2.5, the cap ½ I_{1−(c/ρ)²}((d − 1)/2, ½); the other faces are out of reach. log Z = −1.7456 for d = 2
and −5.6736 for d = 5. The default proposal has both shells, of radius r + (d − 1) w²/r, where ρ^{d−1} N is largest, and
of widened thickness, from the sphere's uniform distribution. Source: F. Feroz, M. P. Hobson and M. Bridges (2009),
MNRAS 398, 1601-1614, arXiv:0809.3437, section 6.2. The log joint costs 2 d multiply-adds, two roots and a softplus a
sample.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import scipy

from logpx import _jit, vecmath
from logpx.checks import whole
from logpx.models.target import HALF_LOG_2PI, Target, by_inversion, log_of_data, log_sum
from logpx.proposals import Shells, Uniform
from logpx.proposals.base import Floats, packed, set_fields

CENTRE, SIDE, RADIUS, WIDTH = 3.5, 6.0, 2.0, 0.1
#: Radii from 12 widths inside to 12 outside.
GRID = np.linspace(RADIUS - 12 * WIDTH, RADIUS + 12 * WIDTH, 4801)


@_jit.kernel("log_joint")
def log_joint(theta, dims, x, z, out):
    """theta: constant, centre, half side, radius, 1/width; dims: d."""
    constant, centre, side, first = theta[0] + log_of_data(x), theta[1], theta[2], z[0]
    around = np.zeros(out.size)
    for i in range(out.size):
        out[i] = -np.inf if abs(first[i]) > side else constant
    for j in range(1, dims[0]):
        latent = z[j]
        for i in range(out.size):
            out[i] = -np.inf if abs(latent[i]) > side else out[i]
            around[i] += latent[i] * latent[i]
    for i in range(out.size):
        left, right = first[i] + centre, first[i] - centre
        e = (np.sqrt(around[i] + left * left) - theta[3]) * theta[4]
        f = (np.sqrt(around[i] + right * right) - theta[3]) * theta[4]
        a, b = -0.5 * e * e, -0.5 * f * f
        out[i] += (a if a > b else b) + vecmath.log1p(vecmath.exp(-abs(a - b)))


def log_joint_scalar(theta, dims, x, z):
    """log p(x, z) of one sample, z (d,)."""
    around = 0.0
    for j in range(dims[0]):
        if abs(z[j]) > theta[2]:
            return -math.inf
        around += z[j] * z[j] if j > 0 else 0.0
    a = -0.5 * ((math.sqrt(around + (z[0] + theta[1]) ** 2) - theta[3]) * theta[4]) ** 2
    b = -0.5 * ((math.sqrt(around + (z[0] - theta[1]) ** 2) - theta[3]) * theta[4]) ** 2
    return theta[0] - 0.5 * x[0] * x[0] - HALF_LOG_2PI + max(a, b) + math.log1p(math.exp(-abs(a - b)))


@dataclass(frozen=True, eq=False, init=False)
class GaussianShells(Target):
    """Two Gaussian shells in d dimensions.

    Parameters
    ----------
    n_latents : int
        d, from 2 to 64: beyond, the shells are no longer thin beside where their mass lies.

    Examples
    --------
    >>> round(GaussianShells(2).log_evidence, 4), round(GaussianShells(5).log_evidence, 4)
    (-1.7456, -5.6736)
    """

    name: ClassVar[str] = "gaussian_shells"
    summary: ClassVar[str] = "two thin spherical shells in a cube"
    exact_route: ClassVar[str] = "radial integral, trapezoidal rule, less the caps outside the cube"
    second_route: ClassVar[str] = "Gauss-Legendre rules over two dimensions"
    log_joint: ClassVar[Any] = staticmethod(log_joint)
    log_joint_scalar: ClassVar[Callable[..., float]] = staticmethod(log_joint_scalar)

    def __init__(self, n_latents: int = 2) -> None:
        d = whole("n_latents", n_latents, least=2, most=64)
        log_prior = -d * math.log(2 * SIDE)
        log_area = math.log(2) + 0.5 * d * math.log(math.pi) - math.lgamma(0.5 * d)
        ratio = np.minimum((SIDE - CENTRE) / GRID, 1.0)
        cap = 0.5 * scipy.special.betainc(0.5 * (d - 1), 0.5, 1 - ratio**2)
        log_shell = log_area + log_sum(self._log_radii(d) + np.log1p(-cap)) + math.log(GRID[1] - GRID[0])
        set_fields(self, n_latents=d, log_evidence=math.log(2) + log_shell + log_prior)
        constant = log_prior - HALF_LOG_2PI - math.log(WIDTH)
        set_fields(self, theta=packed([constant, CENTRE, SIDE, RADIUS, 1 / WIDTH]), dims=np.array([d], dtype=np.int64))
        set_fields(self, prior=Uniform(np.full(d, -SIDE), np.full(d, SIDE), missing_mass=0.0))

    @staticmethod
    def _log_radii(d: int) -> Floats:
        """log of ρ^{d−1} N(ρ; r, w²) over the grid."""
        density = -0.5 * ((GRID - RADIUS) / WIDTH) ** 2 - HALF_LOG_2PI - math.log(WIDTH)
        values: Floats = density + (d - 1) * np.log(GRID)
        return values

    def _proposal(self, widen: float) -> Shells:
        centres = np.zeros((2, self.n_latents))
        centres[:, 0] = -CENTRE, CENTRE
        return Shells(centres, RADIUS + (self.n_latents - 1) * WIDTH**2 / RADIUS, widen * WIDTH)

    def _draw(self, n: int, rng: np.random.Generator) -> Floats:
        Z = np.full((n, self.n_latents), np.inf)
        while (out := np.any(np.abs(Z) > SIDE, axis=1)).any():
            count = int(out.sum())
            directions = rng.standard_normal((count, self.n_latents))
            directions /= np.linalg.norm(directions, axis=1, keepdims=True)
            Z[out] = by_inversion(GRID, self._log_radii(self.n_latents), count, rng)[:, None] * directions
            Z[out, 0] += rng.choice([-CENTRE, CENTRE], count)
        return Z
