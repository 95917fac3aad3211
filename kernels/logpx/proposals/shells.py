r"""A proposal of thin spherical shells around one or more centres.

    z = c_k + (r + s ε) g/|g|,   k uniform over the centres, g ~ N(0, I_d)
    q(z) = (1/K) Σ_k N(ρ_k; r, s²)/(S ρ_k^{d−1}),   ρ_k = |z − c_k|,   S = 2π^{d/2}/Γ(d/2)

A Gaussian direction over its length is uniform on the sphere, whose area at radius ρ is S ρ^{d−1}. For posteriors that
lie on a surface, which no few Gaussians cover. A radius below zero would be drawn with probability Φ(−r/s), for which
the density does not account: r must be at least 10 s. A sample costs 2 d K multiply-adds, and for each centre an
exponential, a logarithm and a root.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import scipy
from numpy.typing import ArrayLike

from logpx import _jit, vecmath
from logpx.checks import positive_number
from logpx.errors import InputError
from logpx.proposals.base import Floats, Integers, Proposal, as_floats, packed, set_fields


@_jit.kernel("proposal")
def shells_kernel(lam, dims, eps, z, log_q):
    """lam: constant (of a density relative to r^{d−1}), r, s, edges (K,), centres (K, d); dims: d, K."""
    d, n_centres = dims[0], dims[1]
    radius, scale, total = lam[1], lam[2], np.zeros(log_q.size)
    chooser, radial = eps[0], eps[1]
    factor, square = np.zeros(log_q.size), np.zeros(log_q.size)
    for j in range(d):
        direction = eps[2 + j]
        for i in range(log_q.size):
            square[i] += direction[i] * direction[i]
    for i in range(log_q.size):
        factor[i] = (radius + scale * radial[i]) / np.sqrt(square[i])
    for j in range(d):
        direction, latent = eps[2 + j], z[j]
        for i in range(log_q.size):
            latent[i] = 0.0
        for k in range(n_centres):
            edge, centre = lam[3 + k], lam[3 + n_centres + k * d + j]
            for i in range(log_q.size):
                latent[i] = centre if chooser[i] >= edge else latent[i]
        for i in range(log_q.size):
            latent[i] += factor[i] * direction[i]
    for k in range(n_centres):
        for i in range(log_q.size):
            square[i] = 0.0
        for j in range(d):
            centre, latent = lam[3 + n_centres + k * d + j], z[j]
            for i in range(log_q.size):
                square[i] += (latent[i] - centre) * (latent[i] - centre)
        for i in range(log_q.size):
            e = (np.sqrt(square[i]) - radius) / scale
            area = 0.5 * (d - 1) * vecmath.log(square[i] / (radius * radius))
            total[i] += vecmath.exp(-0.5 * e * e - area)
    for i in range(log_q.size):
        log_q[i] = lam[0] + vecmath.log(total[i])


@dataclass(frozen=True, eq=False, init=False)
class Shells(Proposal):
    """Spherical shells of one radius and thickness around K centres, each equally likely.

    Parameters
    ----------
    centres : array (K, d)
    radius : float
        r.
    width : float
        s, the standard deviation of the distance from the centre, above zero and at most r/10.

    Raises
    ------
    InputError
        Entries that are not finite, a radius or width that is not above zero, a width above r/10.

    Examples
    --------
    >>> q = Shells([[0.0, 0.0]], 2.0, 0.1)
    >>> round(float(q.log_density([2.0, 0.0])), 6)
    -1.147378
    """

    centres: Floats
    radius: float
    width: float

    name: ClassVar[str] = "shells"
    base: str = field(init=False, repr=False)
    missing_mass: float = field(init=False, repr=False)
    kernel: Any = field(init=False, repr=False)
    n_base: int = field(init=False, repr=False)
    n_latents: int = field(init=False, repr=False)
    lam: Floats = field(init=False, repr=False)
    dims: Integers = field(init=False, repr=False)

    def __init__(self, centres: ArrayLike, radius: float, width: float) -> None:
        centres = as_floats("centres", centres, n_axes=(2,))
        r = positive_number("radius", radius, "the distance from a centre")
        s = positive_number("width", width, "the standard deviation of the distance")
        if s > r / 10:
            raise InputError(f"width is {s:g} and radius {r:g}; the width must be at most a tenth of the radius")
        n_centres, d = centres.shape
        edges = scipy.special.ndtri(np.arange(n_centres) / n_centres)
        set_fields(self, centres=centres, radius=r, width=s, kernel=shells_kernel, base="normal", missing_mass=0.0)
        constant = self._log_constant(n_centres, d) - (d - 1) * np.log(r)
        set_fields(self, n_base=d + 2, n_latents=d, dims=np.array([d, n_centres], dtype=np.int64))
        set_fields(self, lam=packed(np.concatenate([[constant, r, s], edges, centres.ravel()])))

    def _log_constant(self, n_centres: int, d: int) -> float:
        """−log of K, of √(2π) s and of S."""
        log_area = np.log(2) + 0.5 * d * np.log(np.pi) - scipy.special.gammaln(0.5 * d)
        return float(-np.log(n_centres) - 0.5 * np.log(2 * np.pi) - np.log(self.width) - log_area)

    def log_density(self, z: ArrayLike) -> Floats:
        """log q(z) in nats, z (..., d)."""
        distances = np.linalg.norm(np.asarray(z, dtype=np.float64)[..., None, :] - self.centres, axis=-1)
        n_centres, d = self.centres.shape
        logs = -0.5 * ((distances - self.radius) / self.width) ** 2 - (d - 1) * np.log(distances)
        values: Floats = scipy.special.logsumexp(logs, axis=-1) + self._log_constant(n_centres, d)
        return values
