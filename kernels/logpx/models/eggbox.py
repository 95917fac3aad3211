r"""The eggbox: a regular lattice of equal peaks in a cube.

    z ~ Uniform(0, 10π)^d,   log L = (2 + P)⁵,   P = Π_j cos(z_j/2)

There are peaks where every cosine is ±1 and an even number of them −1: 18 in two dimensions, where log Z = 235.856.
The exact evidence is a sum of positive terms in any dimension. Let exp((2 + p)⁵) = Σ_m a_m p^m; since over the cube
every z_j/2 runs through whole half periods,

    Z = Σ_{m even} a_m μ_m^d,   μ_m = E[cos^m] = C(m, m/2)/2^m,
    m a_m = Σ_{i=1}^5 i h_i a_{m−i} with (2 + p)⁵ = Σ_i h_i p^i

The terms peak near m = 400 and are gone by 1500. The same series draws exactly from L: m from the terms, cos² z_j/2
~ Beta((m + 1)/2, 1/2), and the sign of P in proportion to L(±|P|). The default proposal puts on each latent six
Gaussians of the peaks' width, widened, and 5 % of one as wide as the cube, which bounds the weights; half of its 6^d
peaks are of the wrong sign. Source: F. Feroz, M. P. Hobson and M. Bridges (2009), MNRAS 398, 1601-1614,
arXiv:0809.3437, section 6.1. The log joint costs a cosine a latent and sample.
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
from logpx.models.target import HALF_LOG_2PI, Target, log_of_data
from logpx.proposals import Product, Uniform
from logpx.proposals.base import Floats, packed, set_fields

SIDE = 10 * math.pi
TURNS = 1 / (4 * math.pi)
#: log L at a peak, and the standard deviation of a Gaussian of its curvature.
PEAK, WIDTH = 3.0**5, math.sqrt(4 / 405)
N_TERMS = 2000


@_jit.kernel("log_joint")
def log_joint(theta, dims, x, z, out):
    """theta: log prior, side; dims: d."""
    constant, side, product = theta[0] + log_of_data(x), theta[1], np.ones(out.size)
    for i in range(out.size):
        out[i] = constant
    for j in range(dims[0]):
        latent = z[j]
        for i in range(out.size):
            outside = latent[i] < 0.0 or latent[i] > side
            out[i] = -np.inf if outside else out[i]
            product[i] *= vecmath.cos_2pi(latent[i] * TURNS)
    for i in range(out.size):
        base = 2.0 + product[i]
        square = base * base
        out[i] += square * square * base


def log_joint_scalar(theta, dims, x, z):
    """log p(x, z) of one sample, z (d,)."""
    product = 1.0
    for j in range(dims[0]):
        if z[j] < 0 or z[j] > theta[1]:
            return -math.inf
        product *= math.cos(0.5 * z[j])
    return theta[0] - 0.5 * x[0] * x[0] - HALF_LOG_2PI + (2 + product) ** 5


def log_terms(d: int) -> Floats:
    """log of a_m μ_m^d, m = 0, 2, 4, …, less the peak's height."""
    heights = [32.0, 80.0, 80.0, 40.0, 10.0, 1.0]
    a = np.zeros(N_TERMS)
    a[0] = math.exp(heights[0] - PEAK)
    for m in range(1, N_TERMS):
        a[m] = sum(i * heights[i] * a[m - i] for i in range(1, min(5, m) + 1)) / m
    even = np.arange(0, N_TERMS, 2)
    log_moments = scipy.special.gammaln(even + 1) - 2 * scipy.special.gammaln(even / 2 + 1) - even * math.log(2)
    with np.errstate(divide="ignore"):
        logs: Floats = np.log(a[::2]) + d * log_moments
    return logs


@dataclass(frozen=True, eq=False, init=False)
class Eggbox(Target):
    """The eggbox in d dimensions.

    Parameters
    ----------
    n_latents : int
        d.

    Examples
    --------
    >>> round(Eggbox(2).log_evidence, 6)
    235.85594
    """

    name: ClassVar[str] = "eggbox"
    summary: ClassVar[str] = "a lattice of equal peaks in a cube"
    exact_route: ClassVar[str] = "power series with positive terms"
    second_route: ClassVar[str] = "Gauss-Legendre rules over two dimensions"
    log_joint: ClassVar[Any] = staticmethod(log_joint)
    log_joint_scalar: ClassVar[Callable[..., float]] = staticmethod(log_joint_scalar)

    def __init__(self, n_latents: int = 2) -> None:
        d = whole("n_latents", n_latents)
        log_prior = -d * math.log(SIDE)
        set_fields(self, n_latents=d, log_evidence=PEAK + float(scipy.special.logsumexp(log_terms(d))))
        set_fields(self, theta=packed([log_prior, SIDE]), dims=np.array([d], dtype=np.int64))
        set_fields(self, prior=Uniform(np.zeros(d), np.full(d, SIDE), missing_mass=0.0))

    def _proposal(self, widen: float) -> Product:
        means = np.append(2 * math.pi * np.arange(6), SIDE / 2)
        scales = np.append(np.full(6, widen * WIDTH), SIDE / 2)
        weights = np.append(np.full(6, 0.95 / 6), 0.05)
        return Product(*(np.tile(row, (self.n_latents, 1)) for row in (weights, means, scales)))

    def _draw(self, n: int, rng: np.random.Generator) -> Floats:
        logs = log_terms(self.n_latents)
        terms = np.exp(logs - logs.max())
        m = 2 * rng.choice(len(terms), size=n, p=terms / terms.sum())
        cosines = np.sqrt(rng.beta((m[:, None] + 1) / 2, 0.5, (n, self.n_latents)))
        product = cosines.prod(axis=1)
        negative = rng.random(n) < scipy.special.expit((2 - product) ** 5 - (2 + product) ** 5)
        signs = rng.choice([-1.0, 1.0], (n, self.n_latents))
        signs[:, 0] *= signs.prod(axis=1) * np.where(negative, -1, 1)
        angles, halves = np.arccos(signs * cosines), rng.integers(0, 5, (n, self.n_latents))
        # In the k-th half period an angle is kπ + u for even k and (k + 1)π − u for odd k.
        inside: Floats = np.where(halves % 2 == 0, halves * math.pi + angles, (halves + 1) * math.pi - angles)
        return 2 * inside
