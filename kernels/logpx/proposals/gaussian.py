r"""Gaussian proposals, diagonal or full.

    z = m + s ⊙ ε   or   z = m + L ε,   ε ~ N(0, I),
    log q(z) = −(d/2) log 2π − Σ_l log s_l − ½ |ε|²     (s_l = L_ll for the full one)

The density is evaluated at the noise and not at z: no triangular solve is needed. A sample costs 2 d multiply-adds
(diagonal), or d(d + 1)/2 + d (full, in the tiles of `logpx.tiles`). In float32 the noise is squared, and the squares
of up to four latents added, in float32; log q is float64, so that it is off by at most 2^−23 |ε|². Source: the
reparameterisation of D. P. Kingma and M. Welling (2014), arXiv:1312.6114, section 2.4.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import scipy
from numpy.typing import ArrayLike

from logpx import _jit, tiles
from logpx.errors import InputError
from logpx.proposals.base import Floats, Integers, Proposal, as_floats, packed, set_fields, two_parts


@_jit.leaf
def _diagonal_two(lam, k, d, eps, z, constant, log_q):
    m0, m1, s0, s1 = lam[2 + k], lam[3 + k], lam[2 + d + k], lam[3 + d + k]
    half = z.dtype.type(0.5)
    e0, e1, z0, z1 = eps[k], eps[k + 1], z[k], z[k + 1]
    for i in range(log_q.size):
        a, b = e0[i], e1[i]
        z0[i], z1[i] = m0 + s0 * a, m1 + s1 * b
        before = log_q[i] if k > 0 else constant
        log_q[i] = before - np.float64(half * (a * a + b * b))


@_jit.leaf
def _diagonal_one(lam, k, d, eps, z, constant, log_q):
    mean, scale, half = lam[2 + k], lam[2 + d + k], z.dtype.type(0.5)
    noise, latent = eps[k], z[k]
    for i in range(log_q.size):
        e = noise[i]
        latent[i] = mean + scale * e
        before = log_q[i] if k > 0 else constant
        log_q[i] = before - np.float64(half * e * e)


@_jit.kernel("proposal", dtypes=("float64", "float32"))
def diagonal_kernel(lam, dims, eps, z, log_q):
    """lam: constant in two parts, mean (d,), scale (d,); dims: d. Latents by twos."""
    d = dims[0]
    constant = np.float64(lam[0]) + np.float64(lam[1])
    for k in range(0, d - 1, 2):
        _diagonal_two(lam, k, d, eps, z, constant, log_q)
    if d % 2 == 1:
        _diagonal_one(lam, d - 1, d, eps, z, constant, log_q)


@_jit.leaf
def _full_two(lam, eps, z, constant, log_q):
    """The whole of it for d = 2; of reversed rows, the last comes first."""
    m1, m0, a11, a10, a00 = lam[2], lam[3], lam[4], lam[5], lam[7]
    half = z.dtype.type(0.5)
    e0, e1, z0, z1 = eps[0], eps[1], z[0], z[1]
    for i in range(log_q.size):
        a, b = e0[i], e1[i]
        z0[i], z1[i] = m0 + a00 * a, m1 + a10 * a + a11 * b
        log_q[i] = constant - np.float64(half * (a * a + b * b))


@_jit.leaf
def _take_off_squares(eps, k, half, start, log_q):
    e0, e1 = eps[k, start : start + log_q.size], eps[k + 1, start : start + log_q.size]
    e2, e3 = eps[k + 2, start : start + log_q.size], eps[k + 3, start : start + log_q.size]
    for i in range(log_q.size):
        log_q[i] -= np.float64(half * (e0[i] * e0[i] + e1[i] * e1[i] + e2[i] * e2[i] + e3[i] * e3[i]))


@_jit.inner
def _full_many(lam, eps, z, constant, log_q):
    """Four latents at a time from the last to the first, summed in scratch rows; their last tile puts them in place."""
    width, length, half = z.shape[0], tiles.STRIP_BYTES // z.itemsize, z.dtype.type(0.5)
    sums = tiles.scratch(2 * tiles.TILE, z)
    for start in range(0, z.shape[1], length):
        n = min(length, z.shape[1] - start)
        rest = log_q[start : start + n]
        for i in range(n):
            rest[i] = constant
        for g in range(0, width, tiles.TILE):
            top, corner = width - 1 - g, 2 + width + g * width
            mean, row = (lam[2 + g], lam[3 + g], lam[4 + g], lam[5 + g]), tiles.TILE - 1
            _take_off_squares(eps, top - 3, half, start, rest)
            if g + tiles.TILE == width:
                tiles.begin(mean, lam, corner + g, width, -1, n, eps, top, start, z, top, start)
                break
            tiles.begin(mean, lam, corner + g, width, -1, n, eps, top, start, sums, row, 0)
            for k in range(g + tiles.TILE, width - tiles.TILE, tiles.TILE):
                before, row = row, 3 * tiles.TILE - 2 - row
                tiles.go_on(lam, corner + k, width, -1, n, eps, width - 1 - k, start, sums, before, sums, row, 0)
            last = width - tiles.TILE
            tiles.go_on(lam, corner + last, width, -1, n, eps, tiles.TILE - 1, start, sums, row, z, top, start)


@_jit.kernel("proposal", dtypes=("float64", "float32"))
def full_kernel(lam, dims, eps, z, log_q):
    """lam: see `_packed_full`; dims: d ≥ 2."""
    constant = np.float64(lam[0]) + np.float64(lam[1])
    if dims[0] == 2:
        _full_two(lam, eps, z, constant, log_q)
    else:
        latents = tiles.filled_rows(z)
        _full_many(lam, tiles.filled_rows(eps), latents, constant, log_q)
        for k in range(dims[0] if latents.shape[0] > dims[0] else 0):
            for i in range(z.shape[1]):
                z[k, i] = latents[k, i]


def _packed_full(mean: Floats, factor: Floats) -> tuple[Floats, Floats]:
    """Mean and Cholesky factor with rows and columns in reverse order, so that the factor is upper triangular. For
    d > 2, zeros in front of them fill them up to fours."""
    d = mean.shape[-1]
    width = tiles.padded(d) if d > 2 else 2
    rows = factor.shape[:-2]
    reverse, matrix = np.zeros((*mean.shape[:-1], width)), np.zeros((*rows, width, width))
    reverse[..., width - d :] = mean[..., ::-1]
    matrix[..., width - d :, width - d :] = factor[..., ::-1, ::-1]
    return reverse, matrix.reshape(*rows, width * width)


@dataclass(frozen=True, eq=False, init=False)
class Gaussian(Proposal):
    """A Gaussian proposal, diagonal or full, one for all rows of x or one for each row.

    Parameters
    ----------
    mean : array, (d,) or (n, d)
        With n rows, row i is for row i of x.
    scale : array
        Standard deviations (d,), or (n, d) beside a mean (n, d): diagonal. Lower Cholesky factor (d, d) of the
        covariance, shared by all rows, or one for each, (n, d, d): full. Beside a mean of shape (d,) a two-axis scale
        is a Cholesky factor. Beside a mean (d, d) a scale (d, d) could be either and is refused for d > 1:
        use `Gaussian.diagonal` or `Gaussian.full`, which leave nothing to guess.
    form : "diagonal", "full" or None
        None reads the form off the shapes as said above.

    Raises
    ------
    InputError
        Shapes that do not fit, entries that are not finite, scales that are not positive, a Cholesky factor
        with anything above its diagonal (a covariance was given, most likely).

    Examples
    --------
    >>> q = Gaussian([0.0, 1.0], [1.0, 2.0])
    >>> float(q.log_density([0.0, 1.0]).round(6))
    -2.531024
    """

    mean: Floats
    scale: Floats
    form: str

    name: ClassVar[str] = "gaussian"
    base: str = field(init=False, repr=False)
    missing_mass: float = field(init=False, repr=False)
    kernel: Any = field(init=False, repr=False)
    n_base: int = field(init=False, repr=False)
    n_latents: int = field(init=False, repr=False)
    lam: Floats = field(init=False, repr=False)
    dims: Integers = field(init=False, repr=False)

    def __init__(self, mean: ArrayLike, scale: ArrayLike, *, form: str | None = None) -> None:
        mean = as_floats("mean", mean, n_axes=(1, 2))
        scale = as_floats("scale", scale, n_axes=(1, 2, 3))
        form = form or _form_of(mean, scale)
        d = mean.shape[-1]
        if form == "diagonal":
            _check_diagonal(mean, scale)
            deviations = scale
        elif form == "full":
            _check_cholesky(mean, scale)
            deviations = np.diagonal(scale, axis1=-2, axis2=-1)
        else:
            raise InputError(f'form is {form!r}; it is "diagonal" or "full"')
        constant = two_parts(-0.5 * d * np.log(2 * np.pi) - np.log(deviations).sum(axis=-1))
        rows = mean.shape[:-1]
        if form == "full" and d > 1:
            kernel, numbers = full_kernel, _packed_full(mean, scale)
        else:
            kernel, numbers = diagonal_kernel, (mean, scale if form == "diagonal" else scale[..., 0])
        parts = [np.broadcast_to(part, (*rows, part.shape[-1])) for part in (constant, *numbers)]
        set_fields(self, mean=mean, scale=scale, form=form, kernel=kernel, base="normal", missing_mass=0.0)
        lam = packed(np.concatenate(parts, axis=-1))
        set_fields(self, n_base=d, n_latents=d, lam=lam, dims=np.array([d], dtype=np.int64))

    @classmethod
    def diagonal(cls, mean: ArrayLike, scale: ArrayLike) -> Gaussian:
        """Independent latents: mean (d,) or (n, d), standard deviations (d,) or (n, d)."""
        return cls(mean, scale, form="diagonal")

    @classmethod
    def full(cls, mean: ArrayLike, cholesky: ArrayLike) -> Gaussian:
        """Mean (d,) or (n, d) and the lower Cholesky factor (d, d) of the covariance, or one (n, d, d) for each row."""
        return cls(mean, cholesky, form="full")

    @property
    def cholesky(self) -> Floats:
        """Lower Cholesky factor of the covariance: (d, d), or (n, d, d) where each row has scales of its own."""
        if self.form == "full":
            return self.scale
        return self.scale[..., None] * np.eye(self.n_latents)

    def log_density(self, z: ArrayLike) -> Floats:
        """log q(z) in nats, z (..., d), or (..., n, d) where the mean has n rows."""
        centred = np.asarray(z, dtype=np.float64) - self.mean
        constant = -0.5 * self.n_latents * np.log(2 * np.pi)
        if self.form == "diagonal":
            standard = centred / self.scale
            return constant - (np.log(self.scale) + 0.5 * standard**2).sum(axis=-1)
        if self.scale.ndim == 3:
            squares = (np.linalg.solve(self.scale, centred[..., None])[..., 0] ** 2).sum(axis=-1)
        else:
            flat = scipy.linalg.solve_triangular(self.scale, centred.reshape(-1, self.n_latents).T, lower=True)
            squares = (flat**2).sum(axis=0).reshape(centred.shape[:-1])
        return constant - np.log(np.diagonal(self.scale, axis1=-2, axis2=-1)).sum(axis=-1) - 0.5 * squares


def _form_of(mean: Floats, scale: Floats) -> str:
    d = mean.shape[-1]
    if scale.ndim == 1:
        return "diagonal"
    if mean.ndim == 1 or scale.ndim == 3:
        return "full"
    if mean.shape == scale.shape == (d, d) and d > 1:
        raise InputError(
            f"mean and scale both have shape {mean.shape}: the scale is either one row of standard deviations for each "
            "row of x, or one Cholesky factor; say Gaussian.diagonal(mean, scale) or Gaussian.full(mean, cholesky)"
        )
    return "diagonal" if scale.shape == mean.shape else "full"


def _check_diagonal(mean: Floats, scale: Floats) -> None:
    d = mean.shape[-1]
    if scale.shape != (d,) and scale.shape != mean.shape:
        raise InputError(
            f"scale has shape {scale.shape} beside a mean of shape {mean.shape}; give standard deviations of shape "
            f"({d},){f' or {mean.shape}' if mean.ndim == 2 else ''}, or a Cholesky factor ({d}, {d})"
        )
    bad = np.argwhere(scale <= 0)
    if len(bad):
        where = ", ".join(str(int(i)) for i in bad[0])
        raise InputError(f"scale[{where}] is {scale[tuple(bad[0])]}; standard deviations must be above zero")


def _check_cholesky(mean: Floats, factor: Floats) -> None:
    d = mean.shape[-1]
    if factor.shape not in ((d, d), (*mean.shape, d)):
        own = f" or {(*mean.shape, d)}" if mean.ndim == 2 else ""
        raise InputError(f"the Cholesky factor has shape {factor.shape}; {d} latents need ({d}, {d}){own}")
    if np.any(np.triu(factor, 1)):
        raise InputError(
            "the Cholesky factor has entries above its diagonal; give a lower triangular one: "
            "for a covariance, pass np.linalg.cholesky(covariance)"
        )
    diagonal = np.diagonal(factor, axis1=-2, axis2=-1)
    bad = np.argwhere(diagonal <= 0)
    if len(bad):
        value = diagonal[tuple(bad[0])]
        raise InputError(
            f"the Cholesky factor's diagonal entry {bad[0][-1]} is {value}; the diagonal must be above zero"
        )
