r"""A product of one-dimensional mixtures of Gaussians: independent latents, each with several modes or heavy tails.

    q(z) = Π_l Σ_k π_lk N(z_l; m_lk, s_lk²)

K components for each of d latents are K^d modes at the cost of K d, where `Mixture` writes every one out. A draw takes
each latent's component from a number of the noise of its own, by inversion of the cumulative weights on the scale of a
normal, and z_l = m_lk + s_lk ε_l from another. A sample costs K d exponentials and d logarithms. A sum of exponentials
does not underflow: the component that was drawn is within a few of its own deviations. In float32 z is float32, and
exponentials, their sums and logarithms are float64.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import scipy
from numpy.typing import ArrayLike

from logpx import _jit, vecmath
from logpx.errors import InputError
from logpx.proposals.base import Floats, Integers, Proposal, as_floats, packed, set_fields, two_parts
from logpx.proposals.categorical import Categorical


@_jit.kernel("proposal", dtypes=("float64", "float32"))
def product_kernel(lam, dims, eps, z, log_q):
    """lam: constant in two parts; for each latent edges, means, scales, 1/scales, π/scales (K,) each; dims: d, K."""
    d, n_components = dims[0], dims[1]
    total, half = np.empty(z.shape[1]), z.dtype.type(0.5)
    for i in range(log_q.size):
        log_q[i] = np.float64(lam[0]) + np.float64(lam[1])
    for j in range(d):
        chooser, noise, latent = eps[j], eps[d + j], z[j]
        at = 2 + 5 * j * n_components
        for i in range(log_q.size):
            latent[i] = noise[i]
            total[i] = 0.0
        for k in range(n_components):
            edge, mean, scale = lam[at + k], lam[at + n_components + k], lam[at + 2 * n_components + k]
            for i in range(log_q.size):
                latent[i] = mean + scale * noise[i] if chooser[i] >= edge else latent[i]
        for k in range(n_components):
            mean, root = lam[at + n_components + k], lam[at + 3 * n_components + k]
            weight = np.float64(lam[at + 4 * n_components + k])
            for i in range(log_q.size):
                e = (latent[i] - mean) * root
                total[i] += weight * vecmath.exp(-np.float64(half * e * e))
        for i in range(log_q.size):
            log_q[i] += vecmath.log(total[i])


@dataclass(frozen=True, eq=False, init=False)
class Product(Proposal):
    """Independent latents, each from a mixture of K Gaussians; one for all rows of x or one for each row.

    Parameters
    ----------
    weights : array (d, K) or (n, d, K)
        Probabilities of each latent's components: at least zero, with sum 1 (within 1e-9; then scaled to 1). With n
        rows, row i is for row i of x.
    means, scales : arrays of the same shape
        Standard deviations are above zero.

    Raises
    ------
    InputError
        Shapes that do not fit, entries that are not finite, weights that are no distribution, a scale that is not
        above zero.

    Examples
    --------
    >>> q = Product([[0.5, 0.5], [1.0, 0.0]], [[-1.0, 1.0], [0.0, 0.0]], np.ones((2, 2)))
    >>> round(float(q.log_density([0.0, 0.0])), 6)
    -2.337877
    """

    weights: Floats
    means: Floats
    scales: Floats

    name: ClassVar[str] = "product"
    base: str = field(init=False, repr=False)
    missing_mass: float = field(init=False, repr=False)
    kernel: Any = field(init=False, repr=False)
    n_base: int = field(init=False, repr=False)
    n_latents: int = field(init=False, repr=False)
    lam: Floats = field(init=False, repr=False)
    dims: Integers = field(init=False, repr=False)

    def __init__(self, weights: ArrayLike, means: ArrayLike, scales: ArrayLike) -> None:
        weights, means = as_floats("weights", weights, n_axes=(2, 3)), as_floats("means", means, n_axes=(2, 3))
        scales = as_floats("scales", scales, n_axes=(2, 3))
        if not weights.shape == means.shape == scales.shape:
            raise InputError(
                f"weights {weights.shape}, means {means.shape}, scales {scales.shape} do not fit; "
                "they must all be (d, K), or (n, d, K)"
            )
        bad = np.argwhere(scales <= 0)
        if len(bad):
            where = ", ".join(str(int(i)) for i in bad[0])
            raise InputError(f"scales[{where}] is {scales[tuple(bad[0])]}; standard deviations must be above zero")
        d, n_components = means.shape[-2:]
        shares = packed(Categorical(weights.reshape(-1, n_components)).probabilities.reshape(weights.shape))
        below = np.concatenate([np.zeros_like(shares[..., :1]), np.cumsum(shares, axis=-1)[..., :-1]], axis=-1)
        edges = scipy.special.ndtri(np.minimum(below, 1 - 2.0**-53))
        latents = np.stack([edges, means, scales, 1 / scales, shares / scales], axis=-2)
        rows = means.shape[:-2]
        constant = np.broadcast_to(two_parts(-0.5 * d * np.log(2 * np.pi)), (*rows, 2))
        lam = np.concatenate([constant, latents.reshape(*rows, 5 * d * n_components)], axis=-1)
        set_fields(self, weights=shares, means=means, scales=scales, kernel=product_kernel, base="normal")
        set_fields(self, missing_mass=0.0, n_base=2 * d, n_latents=d, lam=packed(lam))
        set_fields(self, dims=np.array([d, n_components], dtype=np.int64))

    def log_density(self, z: ArrayLike) -> Floats:
        """log q(z) in nats, z (..., d), or (..., n, d) where there are n rows."""
        centred = (np.asarray(z, dtype=np.float64)[..., None] - self.means) / self.scales
        with np.errstate(divide="ignore"):
            logs = np.log(self.weights) - np.log(self.scales) - 0.5 * np.log(2 * np.pi)
        values: Floats = scipy.special.logsumexp(logs - 0.5 * centred**2, axis=-1).sum(axis=-1)
        return values
