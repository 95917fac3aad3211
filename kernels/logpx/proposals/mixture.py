r"""A mixture of Gaussians with diagonal covariances, as a proposal; and its log density as a kernel.

    q(z) = Σ_k π_k N(z; m_k, diag s_k²)
    log q(z) = max_k v_k + log Σ_k exp(v_k − max_k v_k),   v_k = c_k − ½ Σ_l ((z_l − m_kl)/s_kl)²

A draw takes its component from the first number of the noise, by inversion of the cumulative weights on the scale of
a normal (k is how many of Φ^{−1}(π_1 + … + π_j) lie below it), and z = m_k + s_k ⊙ ε from the others; its log weight
has the density of the whole mixture and not that of the component drawn (the balance heuristic of E. Veach and L. J.
Guibas, 1995, SIGGRAPH '95, 419-428).

The density costs 2 K d multiply-adds, as many subtractions on a port of their own, K exponentials and a logarithm a
sample, in tiles of two components by four latents: sixteen multiply-adds for four loads of z and two of sums. z − m
is formed before it is scaled, so that a component far from 0 loses no digits. In float32 all is float32 but the
exponentials, their sum and its logarithm.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import scipy
from numpy.typing import ArrayLike

from logpx import _jit, tiles, vecmath
from logpx.errors import InputError
from logpx.proposals.base import Floats, Integers, Proposal, as_floats, packed, set_fields, two_parts
from logpx.proposals.categorical import Categorical

#: Samples in a strip: long enough that a tile's own cost is small, short enough for the second-level cache.
STRIP = 512


@_jit.leaf
def _add_squares(means, roots, k, j, z, start, n, sums):
    """Two components, four latents."""
    z0, z1, z2, z3 = (z[j, start : start + n], z[j + 1, start : start + n], z[j + 2, start : start + n],
                      z[j + 3, start : start + n])  # fmt: skip
    first, second = sums[k, :n], sums[k + 1, :n]
    a0, a1, a2, a3 = means[k, j], means[k, j + 1], means[k, j + 2], means[k, j + 3]
    b0, b1, b2, b3 = means[k + 1, j], means[k + 1, j + 1], means[k + 1, j + 2], means[k + 1, j + 3]
    r0, r1, r2, r3 = roots[k, j], roots[k, j + 1], roots[k, j + 2], roots[k, j + 3]
    s0, s1, s2, s3 = roots[k + 1, j], roots[k + 1, j + 1], roots[k + 1, j + 2], roots[k + 1, j + 3]
    for i in range(n):
        u0, u1, u2, u3 = z0[i], z1[i], z2[i], z3[i]
        e0, e1, e2, e3 = (u0 - a0) * r0, (u1 - a1) * r1, (u2 - a2) * r2, (u3 - a3) * r3
        first[i] = first[i] + e0 * e0 + e1 * e1 + e2 * e2 + e3 * e3
        f0, f1, f2, f3 = (u0 - b0) * s0, (u1 - b1) * s1, (u2 - b2) * s2, (u3 - b3) * s3
        second[i] = second[i] + f0 * f0 + f1 * f1 + f2 * f2 + f3 * f3


@_jit.leaf
def _settle(offset, half, top, values):
    """values = v_k from its sum of squares; top = the larger of both."""
    for i in range(top.size):
        value = offset - half * values[i]
        values[i] = value
        top[i] = value if value > top[i] else top[i]


@_jit.leaf
def _add_exponentials(values, top, total):
    for i in range(total.size):
        total[i] += vecmath.exp(np.float64(values[i] - top[i]))


@_jit.inner
def log_density(lam, n_components, constant, z, out):
    """out = constant + log Σ_k exp(v_k) of every sample; lam begins with what `packed_density` packs, less c's maximum.

    A z so far out that every v_k is −inf gives −inf.
    """
    z = tiles.filled_rows(z)
    width, pairs = z.shape[0], n_components + n_components % 2
    half, lowest = z.dtype.type(0.5), z.dtype.type(-1e300 if z.itemsize == 8 else -1e38)
    at = 2 + n_components
    means = lam[at : at + pairs * width].reshape(pairs, width)
    roots = lam[at + pairs * width : at + 2 * pairs * width].reshape(pairs, width)
    sums = np.empty((pairs + 1, STRIP + tiles.SKEW // z.itemsize), z.dtype)
    for start in range(0, z.shape[1], STRIP):
        n = min(STRIP, z.shape[1] - start)
        top, total = sums[pairs, :n], out[start : start + n]
        tiles.clear(sums, pairs)
        for j in range(0, width, tiles.TILE):
            for k in range(0, pairs, 2):
                _add_squares(means, roots, k, j, z, start, n, sums)
        for i in range(n):
            top[i] = lowest
            total[i] = 0.0
        for k in range(n_components):
            _settle(lam[2 + k], half, top, sums[k, :n])
        for k in range(n_components):
            _add_exponentials(sums[k, :n], top, total)
        for i in range(n):
            total[i] = constant + (np.float64(top[i]) + vecmath.log(total[i]))


def packed_density(weights: Floats, means: Floats, scales: Floats) -> Floats:
    """Largest c in two parts; c_k less it (K,); m and 1/s, each (K, d) filled up with zeros to twos by fours.

    With rows in front of all three arrays, a row of it for each. A weight of zero has c = −inf.
    """
    *rows, n_components, d = means.shape
    with np.errstate(divide="ignore"):
        constants = np.log(weights) - 0.5 * d * np.log(2 * np.pi) - np.log(scales).sum(axis=-1)
    filled = np.zeros((*rows, 2, n_components + n_components % 2, tiles.padded(d)))
    filled[..., 0, :n_components, :d], filled[..., 1, :n_components, :d] = means, 1 / scales
    largest = constants.max(axis=-1)
    numbers = filled.reshape(*rows, -1)
    return np.concatenate([two_parts(largest), constants - largest[..., None], numbers], axis=-1)


@_jit.kernel("proposal", dtypes=("float64", "float32"))
def mixture_kernel(lam, dims, eps, z, log_q):
    """lam: edges (K − 1,), scales (K, d), means (K, d), and `packed_density`; dims: K, d."""
    n_components, d = dims[0], dims[1]
    n_edges = n_components - 1
    choice = np.zeros(z.shape[1], np.int64)
    chooser = eps[0]
    for k in range(n_edges):
        edge = lam[k]
        for i in range(choice.size):
            choice[i] += 1 if chooser[i] >= edge else 0
    scales = lam[n_edges : n_edges + n_components * d].reshape(n_components, d)
    means = lam[n_edges + n_components * d : n_edges + 2 * n_components * d].reshape(n_components, d)
    for j in range(d):
        noise, latent = eps[j + 1], z[j]
        for i in range(choice.size):
            latent[i] = means[choice[i], j] + scales[choice[i], j] * noise[i]
    density = lam[n_edges + 2 * n_components * d :]
    log_density(density, n_components, np.float64(density[0]) + np.float64(density[1]), z, log_q)


@dataclass(frozen=True, eq=False, init=False)
class Mixture(Proposal):
    """A mixture of K Gaussians with diagonal covariances, one for all rows of x or one for each row.

    Parameters
    ----------
    weights : array (K,) or (n, K)
        Probabilities of the components: at least zero, with sum 1 (within 1e-9; then scaled to 1). With n rows, row i
        is for row i of x; without, components of weight zero are left out.
    means, scales : arrays (K, d) or (n, K, d)
        Standard deviations are above zero.

    Raises
    ------
    InputError
        Shapes that do not fit, entries that are not finite, weights that are no distribution, a scale that is not
        above zero.

    Examples
    --------
    >>> q = Mixture([0.5, 0.5], [[-1.0], [1.0]], [[1.0], [1.0]])
    >>> round(float(q.log_density([0.0])), 6)
    -1.418939
    """

    weights: Floats
    means: Floats
    scales: Floats

    name: ClassVar[str] = "mixture"
    base: str = field(init=False, repr=False)
    missing_mass: float = field(init=False, repr=False)
    kernel: Any = field(init=False, repr=False)
    n_base: int = field(init=False, repr=False)
    n_latents: int = field(init=False, repr=False)
    lam: Floats = field(init=False, repr=False)
    dims: Integers = field(init=False, repr=False)

    def __init__(self, weights: ArrayLike, means: ArrayLike, scales: ArrayLike) -> None:
        weights, means = as_floats("weights", weights, n_axes=(1, 2)), as_floats("means", means, n_axes=(2, 3))
        scales = as_floats("scales", scales, n_axes=(2, 3))
        if weights.shape != means.shape[:-1] or scales.shape != means.shape:
            raise InputError(
                f"weights {weights.shape}, means {means.shape}, scales {scales.shape} do not fit; "
                "they must be (K,), (K, d) and (K, d), or all three with n rows in front"
            )
        bad = np.argwhere(scales <= 0)
        if len(bad):
            where = ", ".join(str(int(i)) for i in bad[0])
            raise InputError(f"scales[{where}] is {scales[tuple(bad[0])]}; standard deviations must be above zero")
        shares = Categorical(weights).probabilities
        kept = shares > 0 if weights.ndim == 1 else slice(None)
        weights, means, scales = packed(shares[kept]), packed(means[kept]), packed(scales[kept])
        edges = scipy.special.ndtri(np.minimum(np.cumsum(weights, axis=-1)[..., :-1], 1 - 2.0**-53))
        rows = means.shape[:-2]
        flat = (scales.reshape(*rows, -1), means.reshape(*rows, -1))
        parts = (edges, *flat, packed_density(weights, means, scales))
        n_components, d = means.shape[-2:]
        set_fields(self, weights=weights, means=means, scales=scales, kernel=mixture_kernel, base="normal")
        set_fields(self, missing_mass=0.0, n_base=d + 1, n_latents=d, lam=packed(np.concatenate(parts, axis=-1)))
        set_fields(self, dims=np.array([n_components, d], dtype=np.int64))

    def log_density(self, z: ArrayLike) -> Floats:
        """log q(z) in nats, z (..., d), or (..., n, d) where there are n rows."""
        centred = (np.asarray(z, dtype=np.float64)[..., None, :] - self.means) / self.scales
        with np.errstate(divide="ignore"):
            logs = np.log(self.weights) - (np.log(self.scales) + 0.5 * np.log(2 * np.pi)).sum(axis=-1)
        values: Floats = scipy.special.logsumexp(logs - 0.5 * (centred**2).sum(axis=-1), axis=-1)
        return values
