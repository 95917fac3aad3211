r"""Skewed and heavy-tailed modes: log-gamma and normal marginals in the unit cube, four modes.

    z ~ Uniform(0, 1)^d,   L = Π_j g_j(z_j),   LG_m(z) = exp(u − e^u)/s with u = (z − m)/s, s = 1/30
    g_1 = ½ LG_{1/3} + ½ LG_{2/3},   g_2 = ½ N(1/3, s²) + ½ N(2/3, s²)
    g_j = LG_{2/3} for 3 ≤ j ≤ (d + 2)/2,   g_j = N(2/3, s²) above

Every factor is a density on the line, so that log Z is what the cube cuts off: −2e−5 in two dimensions, from the left
tails exp(u) of the log-gammas, in closed form. The default proposal is a product of mixtures: two Gaussians for a
bimodal normal, and three for each log-gamma, whose weights, means and scales minimise E[w²] (1.009 for one): a Gaussian
alone has no such tail. Source: F. Beaujean and A. Caldwell (2013), arXiv:1304.7808, section 4.3. The log joint costs
an exponential for a log-gamma and sample, and a softplus for each of the two mixtures.
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

SCALE = 1 / 30
MODES = np.array([1 / 3, 2 / 3])
#: Three Gaussians for a log-gamma, in units of its scale: weights, means, standard deviations.
MIXTURE = np.array([[0.552, 0.402, 0.046], [0.105, -1.239, -3.049], [0.710, 1.120, 2.302]])


@_jit.leaf
def _larger_and_rest(a, b):
    """log(exp a + exp b)."""
    return (a if a > b else b) + vecmath.log1p(vecmath.exp(-abs(a - b)))


@_jit.leaf
def _bounded(latent, value):
    """The value inside the cube (and nan at nan), −inf outside."""
    return -np.inf if latent < 0.0 or latent > 1.0 else value


@_jit.kernel("log_joint")
def log_joint(theta, dims, x, z, out):
    """theta: constant, 1/s; dims: d, number of log-gammas."""
    constant, root = theta[0] + log_of_data(x), theta[1]
    first, second = z[0], z[1]
    for i in range(out.size):
        u, v = (first[i] - 1 / 3) * root, (first[i] - 2 / 3) * root
        skewed = _larger_and_rest(u - vecmath.exp(u), v - vecmath.exp(v))
        u, v = (second[i] - 1 / 3) * root, (second[i] - 2 / 3) * root
        value = constant + skewed + _larger_and_rest(-0.5 * u * u, -0.5 * v * v)
        out[i] = _bounded(first[i], _bounded(second[i], value))
    for j in range(2, dims[1] + 1):
        latent = z[j]
        for i in range(out.size):
            u = (latent[i] - 2 / 3) * root
            out[i] = _bounded(latent[i], out[i] + u - vecmath.exp(u))
    for j in range(dims[1] + 1, dims[0]):
        latent = z[j]
        for i in range(out.size):
            u = (latent[i] - 2 / 3) * root
            out[i] = _bounded(latent[i], out[i] - 0.5 * u * u)


def log_joint_scalar(theta, dims, x, z):
    """log p(x, z) of one sample, z (d,)."""
    value = theta[0] - 0.5 * x[0] * x[0] - HALF_LOG_2PI
    for j in range(dims[0]):
        if not 0 <= z[j] <= 1:
            return -math.inf
        u, v = (z[j] - 1 / 3) * theta[1], (z[j] - 2 / 3) * theta[1]
        if j == 0 or 2 <= j <= dims[1]:
            a, b = u - math.exp(u), v - math.exp(v)
        else:
            a, b = -0.5 * u * u, -0.5 * v * v
        value += b if j > 1 else max(a, b) + math.log1p(math.exp(-abs(a - b)))
    return value


@dataclass(frozen=True, eq=False, init=False)
class LogGamma(Target):
    """The log-gamma and normal target with four modes.

    Parameters
    ----------
    n_latents : int
        d, at least 2.

    Examples
    --------
    >>> round(LogGamma(2).log_evidence, 7)
    -2.27e-05
    """

    name: ClassVar[str] = "log_gamma"
    summary: ClassVar[str] = "log-gamma and normal marginals in the unit cube: four modes, skewed tails"
    exact_route: ClassVar[str] = "closed form, a product"
    second_route: ClassVar[str] = "SciPy's densities by adaptive quadrature, factor by factor"
    log_joint: ClassVar[Any] = staticmethod(log_joint)
    log_joint_scalar: ClassVar[Callable[..., float]] = staticmethod(log_joint_scalar)

    def __init__(self, n_latents: int = 4) -> None:
        d = whole("n_latents", n_latents, least=2)
        n_skewed = (d + 2) // 2 - 1
        n_normal = d - n_skewed
        constant = -2 * math.log(2) - d * math.log(SCALE) - n_normal * HALF_LOG_2PI
        # What is outside the cube: of a log-gamma below 0 (above 1 it is exp(−e^10)), of a normal on both sides.
        below = -np.expm1(-np.exp(-MODES / SCALE))
        outside = scipy.special.ndtr(-MODES / SCALE) + scipy.special.ndtr((MODES - 1) / SCALE)
        logs = [np.log1p(-below.mean()), (n_skewed - 1) * np.log1p(-below[1])]
        logs += [np.log1p(-outside.mean()), (n_normal - 1) * np.log1p(-outside[1])]
        set_fields(self, n_latents=d, log_evidence=float(sum(logs)), theta=packed([constant, 1 / SCALE]))
        set_fields(self, dims=np.array([d, n_skewed], dtype=np.int64))
        set_fields(self, prior=Uniform(np.zeros(d), np.ones(d), missing_mass=0.0))

    def _is_skewed(self) -> Any:
        j = np.arange(self.n_latents)
        return (j == 0) | ((j >= 2) & (j <= self.dims[1]))

    def _proposal(self, widen: float) -> Product:
        d = self.n_latents
        weights, means, scales = np.zeros((d, 2, 3)), np.zeros((d, 2, 3)), np.zeros((d, 2, 3))
        for j, skewed in enumerate(self._is_skewed()):
            shares = np.array([0.5, 0.5]) if j < 2 else np.array([0.0, 1.0])
            own = MIXTURE if skewed else np.array([[1 / 3] * 3, [0.0] * 3, [1.0] * 3])
            weights[j] = shares[:, None] * own[0]
            means[j], scales[j] = MODES[:, None] + SCALE * own[1], widen * SCALE * own[2]
        return Product(*(part.reshape(d, 6) for part in (weights, means, scales)))

    def _draw(self, n: int, rng: np.random.Generator) -> Floats:
        Z = np.full((n, self.n_latents), -1.0)
        skewed = self._is_skewed()
        while (out := np.any((Z < 0) | (Z > 1), axis=1)).any():
            shape = (int(out.sum()), self.n_latents)
            modes = np.where(np.arange(self.n_latents) < 2, rng.choice(MODES, shape), MODES[1])
            noise = np.where(skewed, np.log(rng.standard_exponential(shape)), rng.standard_normal(shape))
            Z[out] = modes + SCALE * noise
        return Z
