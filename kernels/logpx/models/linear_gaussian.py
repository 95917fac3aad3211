r"""The algebra that PPCA and factor analysis share.

    z ~ N(0, I_d),   x given z ~ N(μ + W z, Ψ),   Ψ diagonal.

With every observed number divided by its noise, V = Ψ^{−1/2} W and r = Ψ^{−1/2} (x − μ),

    log p(x, z) = −½(d + p) log 2π − ½ log|Ψ| − ½|z|² − ½|r − V z|²
    posterior     Λ = I + VᵀV,   m = Λ^{−1} Vᵀ r
    log p(x)    = log p(x, m) + ½ d log 2π − ½ log|Λ|

The last line is Woodbury's identity and the determinant lemma for the covariance W Wᵀ + Ψ, without a difference of
large numbers. Source: M. E. Tipping and C. M. Bishop (1999), J. R. Statist. Soc. B 61, 611-622, section 3; C. M.
Bishop (2006), section 12.2. The marginal costs p d a row after p d² + d³.

The log joint does not visit the p observed numbers for every sample. Once per model V = Q R, Q (p, r) with orthonormal
columns and R (r, d) upper trapezoidal, r = min(p, d); once per block t = Qᵀr, and then, by Pythagoras,

    |r − V z|² = |r − Q t|² + |t − R z|²

whatever R is (V may have any rank). Both squares are sums of squared residuals: nothing is expanded, nothing large
is subtracted. Q t is taken off r a column at a time, so that what is left is orthogonal to Q to rounding also where it
is a tiny part of r; this modified Gram-Schmidt is as accurate as Householder's reflections (Å. Björck, 1967, BIT 7,
1-21). Cost: d(d + 1)/2 + 2 d multiply-adds a sample where p ≥ d, whatever p is (7 for d = 2, 168 for d = 16), and
2 p r a block. In float32 t, R and z are rounded to 2^−24, the squares are added in float32, and log p(x, z) is off by
about (d + 2) 2^−24 (|z|² + |t|² + |R z|²) at most; the constant and |r − Q t|² are float64. (To reduce the prior's
|z|² along with it, by the QR decomposition of V above I, would save d more, but R is then the posterior's Cholesky
factor and what is left over the exact log p(x): an estimate must not be handed its answer.)
"""

from __future__ import annotations

import abc
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import scipy
from numpy.typing import ArrayLike

from logpx import _jit, tiles
from logpx.checks import whole
from logpx.errors import InputError
from logpx.models.base import DEFAULT_WIDEN, check_x, positive, rows_or_one
from logpx.proposals import Gaussian, Uniform
from logpx.proposals.base import Floats, Integers, as_floats, packed, set_fields, two_parts

#: Observed numbers are filled up with zeros to a multiple of this: the sums that `project` keeps side by side.
LANES = 8


@_jit.leaf
def _product(a, k, b):
    """Σ a_j b_j in eight sums side by side; a is row k of (r, n, 8), b (n, 8)."""
    s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = 0.0
    for j in range(len(b)):
        s0 += a[k, j, 0] * b[j, 0]
        s1 += a[k, j, 1] * b[j, 1]
        s2 += a[k, j, 2] * b[j, 2]
        s3 += a[k, j, 3] * b[j, 3]
        s4 += a[k, j, 4] * b[j, 4]
        s5 += a[k, j, 5] * b[j, 5]
        s6 += a[k, j, 6] * b[j, 6]
        s7 += a[k, j, 7] * b[j, 7]
    return ((s0 + s4) + (s2 + s6)) + ((s1 + s5) + (s3 + s7))


@_jit.inner
def project(theta, x, p, r, image):
    """image = t; returns |r − Q t|², by modified Gram-Schmidt in float64."""
    n = (p + LANES - 1) // LANES
    at = 2 + 2 * p
    directions = theta[at : at + r * n * LANES].reshape(r, n, LANES)
    left = np.zeros((n, LANES))
    for j in range(p):
        left[j // LANES, j % LANES] = (np.float64(x[j]) - np.float64(theta[2 + j])) * np.float64(theta[2 + p + j])
    for k in range(r):
        component = _product(directions, k, left)
        image[k] = component
        for j in range(n):
            for lane in range(LANES):
                left[j, lane] -= component * directions[k, j, lane]
    return _product(left.reshape(1, n, LANES), 0, left)


@_jit.leaf
def _two_latents(constant, image, theta, at, half, first, second, out):
    """The whole of it for d ≤ 2: three numbers of R."""
    t0, t1 = image[0], image[1]
    a00, a01, a11 = theta[at], theta[at + 1], theta[at + tiles.TILE + 1]
    for i in range(first.size):
        u, v = first[i], second[i]
        e0, e1 = t0 + a00 * u + a01 * v, t1 + a11 * v
        out[i] = constant - np.float64(half * (e0 * e0 + e1 * e1 + u * u + v * v))


@_jit.leaf
def _add_squares(z, k, start, residuals, row, total):
    z0, z1 = z[k, start : start + total.size], z[k + 1, start : start + total.size]
    z2, z3 = z[k + 2, start : start + total.size], z[k + 3, start : start + total.size]
    e0, e1, e2, e3 = residuals[row], residuals[row + 1], residuals[row + 2], residuals[row + 3]
    for i in range(total.size):
        prior = z0[i] * z0[i] + z1[i] * z1[i] + z2[i] * z2[i] + z3[i] * z3[i]
        total[i] += prior + (e0[i] * e0[i] + e1[i] * e1[i] + e2[i] * e2[i] + e3[i] * e3[i])


@_jit.inner
def _many_latents(constant, image, theta, at, half, z, out):
    """Strips of samples; in each, the rows of R by fours, the squares added in z's precision and taken off at once."""
    length = tiles.STRIP_BYTES // z.itemsize
    rows, width = image.size, z.shape[0]
    residuals = tiles.scratch(2 * tiles.TILE + 1, z)
    for start in range(0, z.shape[1], length):
        n = min(length, z.shape[1] - start)
        total, row = residuals[2 * tiles.TILE, :n], 0
        for i in range(n):
            total[i] = 0.0
        for g in range(0, width, tiles.TILE):
            corner = at + g * width
            if g < rows:
                shift = (image[g], image[g + 1], image[g + 2], image[g + 3])
                tiles.begin(shift, theta, corner + g, width, 1, n, z, g, start, residuals, row, 0)
                for k in range(g + tiles.TILE, width, tiles.TILE):
                    before, row = row, tiles.TILE - row
                    tiles.go_on(theta, corner + k, width, 1, n, z, k, start, residuals, before, residuals, row, 0)
            elif g == rows:
                tiles.clear(residuals, 2 * tiles.TILE)
            _add_squares(z, g, start, residuals, row, total)
        values = out[start : start + n]
        for i in range(n):
            values[i] = constant - np.float64(half * total[i])


@_jit.kernel("log_joint", dtypes=("float64", "float32"))
def log_joint(theta, dims, x, z, out):
    """theta: see `pack_theta`; dims: p, d."""
    p, d = dims[0], dims[1]
    r = min(p, d)
    image = np.zeros(tiles.whole_tiles(r), z.dtype)
    rest = project(theta, x, p, r, image)
    constant = np.float64(theta[0]) + np.float64(theta[1]) - 0.5 * rest
    half = z.dtype.type(0.5)
    at = 2 + 2 * p + r * ((p + LANES - 1) // LANES * LANES)
    if d == 1:
        _two_latents(constant, image, theta, at, half, z[0], np.zeros(z.shape[1], z.dtype), out)
    elif d == 2:
        _two_latents(constant, image, theta, at, half, z[0], z[1], out)
    else:
        _many_latents(constant, image, theta, at, half, tiles.filled_rows(z), out)


def log_joint_scalar(theta, dims, x, z):
    """log p(x, z) of one sample, z (d,): the residual of every observed number, without the reduction."""
    p, d = dims[0], dims[1]
    value = np.float64(theta[0]) + np.float64(theta[1])
    for k in range(d):
        value -= 0.5 * z[k] * z[k]
    loadings = len(theta) - p * d
    for j in range(p):
        residual = (x[j] - theta[2 + j]) * theta[2 + p + j]
        for k in range(d):
            residual -= theta[loadings + j * d + k] * z[k]
        value -= 0.5 * residual * residual
    return value


def pack_theta(weights: Floats, mean: Floats, deviations: Floats) -> Floats:
    """Constant in two parts; μ (p,); 1/σ (p,); Qᵀ (r, p) filled up to eights; −R (r, d) filled up to fours; V (p, d).

    V is for `log_joint_scalar` alone.
    """
    p, d = weights.shape
    constant = -0.5 * (d + p) * np.log(2 * np.pi) - np.log(deviations).sum()
    whitened = weights / deviations[:, None]
    q, r = np.linalg.qr(whitened)
    directions = np.zeros((q.shape[1], tiles.padded(p, LANES)))
    directions[:, :p] = q.T
    matrices = directions, tiles.filled(-r), whitened
    return packed(np.concatenate([two_parts(constant), mean, 1 / deviations, *(m.ravel() for m in matrices)]))


@dataclass(frozen=True, eq=False, init=False)
class LinearGaussian(abc.ABC):
    """What PPCA and factor analysis share: everything but where the noise variances come from.

    A subclass checks its noise variances, one or (p,), and calls `_prepare`.
    """

    weights: Floats
    mean: Floats

    name: ClassVar[str]
    summary: ClassVar[str]
    exact_route: ClassVar[str] = "Woodbury's identity and the determinant lemma"
    second_route: ClassVar[str] = "SciPy's dense Gaussian density of x"
    log_joint: ClassVar[Any] = staticmethod(log_joint)
    log_joint_scalar: ClassVar[Callable[..., float]] = staticmethod(log_joint_scalar)
    theta: Floats = field(init=False, repr=False)
    dims: Integers = field(init=False, repr=False)
    n_latents: int = field(init=False, repr=False)
    n_observed: int = field(init=False, repr=False)
    prior: Gaussian = field(init=False, repr=False)
    _deviations: Floats = field(init=False, repr=False)
    _precision: Floats = field(init=False, repr=False)

    def _prepare(self, weights: ArrayLike, mean: ArrayLike, noise_variances: Floats) -> None:
        """Check and pack; noise_variances, above zero, (p,) or one for all."""
        weights, mean = as_floats("weights", weights, n_axes=(2,)), as_floats("mean", mean, n_axes=(1,))
        p, d = weights.shape
        if mean.shape != (p,):
            raise InputError(f"mean has shape {mean.shape}; weights of shape {weights.shape} need ({p},)")
        if noise_variances.shape not in ((), (p,)):
            raise InputError(f"noise_variances has shape {noise_variances.shape}; weights {weights.shape} need ({p},)")
        deviations = np.sqrt(np.broadcast_to(noise_variances, p))
        whitened = weights / deviations[:, None]
        set_fields(self, weights=weights, mean=mean, n_latents=d, n_observed=p, dims=np.array([p, d], dtype=np.int64))
        set_fields(self, theta=pack_theta(weights, mean, deviations), prior=Gaussian(np.zeros(d), np.ones(d)))
        set_fields(self, _deviations=deviations, _precision=np.eye(d) + whitened.T @ whitened)

    def _residuals(self, rows: Floats) -> Floats:
        return (rows - self.mean) / self._deviations

    def _posterior_means(self, rows: Floats) -> Floats:
        projected = self._residuals(rows) @ (self.weights / self._deviations[:, None])
        means: Floats = scipy.linalg.cho_solve(scipy.linalg.cho_factor(self._precision, lower=True), projected.T).T
        return means

    def log_marginal(self, x: ArrayLike) -> Any:
        """Exact log p(x) in nats: a float for x (p,), an array (n,) for x (n, p)."""
        rows, batched = check_x(x, self.n_observed)
        means = self._posterior_means(rows)
        whitened = self.weights / self._deviations[:, None]
        misfit = ((self._residuals(rows) - means @ whitened.T) ** 2).sum(axis=1) + (means**2).sum(axis=1)
        half_log_det = np.log(np.diagonal(np.linalg.cholesky(self._precision))).sum()
        constant = -0.5 * self.n_observed * np.log(2 * np.pi) - np.log(self._deviations).sum()
        return rows_or_one(constant - half_log_det - 0.5 * misfit, batched)

    def posterior(self, x: ArrayLike) -> Gaussian:
        """The exact posterior of z as a proposal: every log weight is then log p(x), with variance zero."""
        rows, batched = check_x(x, self.n_observed)
        means = rows_or_one(self._posterior_means(rows), batched)
        return Gaussian.full(means, np.linalg.cholesky(np.linalg.inv(self._precision)))

    def default_proposal(self, x: ArrayLike, widen: float | None = None) -> Gaussian:
        """A mean-field Gaussian around the posterior mean: precision = diagonal of the posterior's / widen².

        Parameters
        ----------
        x : array, (p,) or (n, p)
        widen : float, optional
            None gives 1.3, or `best_widen()` where that is larger: the variance of the weights is then finite, and
            never so near zero that there is nothing to estimate (rotated loadings may still leave the posterior
            nearly uncorrelated, and mean field nearly exact). Too small a `widen` may give weights of infinite
            variance (see `logpx.proposals.divergences.chi2`).
        """
        rows, batched = check_x(x, self.n_observed)
        factor = max(DEFAULT_WIDEN, self.best_widen()) if widen is None else float(positive("widen", widen, (0,)))
        scale = factor / np.sqrt(np.diagonal(self._precision))
        return Gaussian.diagonal(rows_or_one(self._posterior_means(rows), batched), scale)

    def best_widen(self) -> float:
        """The `widen` that minimises E_q[w²]: 1 where mean field is the posterior itself, otherwise more.

        With s the eigenvalues of the posterior precision scaled to a unit diagonal and t = 1/widen², E_q[w²]/p(x)² is
        Π s/√(t (2s − t)), finite for 0 < t < 2 min s. Its minimum solves Σ t/(2s − t) = d.
        """
        root = np.sqrt(np.diagonal(self._precision))
        spectrum = np.linalg.eigvalsh(self._precision / np.outer(root, root))
        top = 2 * spectrum[0]

        def slope(t: float) -> float:
            return float((t / (2 * spectrum - t)).sum() - len(spectrum))

        return float(scipy.optimize.brentq(slope, top * 1e-9, top * (1 - 1e-12), xtol=1e-15) ** -0.5)

    def _posterior_marginals(self, x: ArrayLike) -> tuple[Floats, Floats, bool]:
        rows, batched = check_x(x, self.n_observed)
        return self._posterior_means(rows), np.sqrt(np.diagonal(np.linalg.inv(self._precision))), batched

    def missing_mass(self, x: ArrayLike, low: ArrayLike, high: ArrayLike) -> tuple[Any, Any]:
        """Bounds (lower, upper) on the fraction of p(x) whose z lies outside the box low … high.

        The fraction is the posterior mass outside. It is at least the largest and at most the sum of what the d
        one-dimensional posterior marginals put outside. low and high: (d,) or (n, d); results: floats or (n,).
        """
        means, scales, batched = self._posterior_marginals(x)
        low, high = np.asarray(low, dtype=np.float64), np.asarray(high, dtype=np.float64)
        for name, bound in (("low", low), ("high", high)):
            if bound.shape not in ((self.n_latents,), (len(means), self.n_latents)):
                raise InputError(f"{name} has shape {bound.shape}; the model has {self.n_latents} latents")
        outside = scipy.special.ndtr((low - means) / scales) + scipy.special.ndtr((means - high) / scales)
        upper = np.minimum(outside.sum(axis=1), 1.0)
        return rows_or_one(outside.max(axis=1), batched), rows_or_one(upper, batched)

    def uniform_domain(self, x: ArrayLike, missing: float = 1e-12) -> Uniform:
        """The smallest cube around the prior's mean that leaves out at most `missing` of p(x), by the bound above.

        Its half side c solves Σ_l P(|z_l| > c given x) = missing, for each row of x by bisection to the last bit,
        on the side where the bound holds.
        """
        means, scales, batched = self._posterior_marginals(x)
        half_side = cube(means, scales, missing)
        outside = tails(means, scales, half_side)
        corner = rows_or_one(np.broadcast_to(half_side[:, None], means.shape), batched)
        return Uniform(-corner, corner, missing_mass=rows_or_one(outside, batched))

    def sample(self, n: int, seed: int = 0, *, return_latents: bool = False) -> Any:
        """n rows drawn from the model: X (n, p), or (X, Z (n, d)) with return_latents."""
        rng = np.random.default_rng(seed)
        Z = rng.standard_normal((whole("n", n), self.n_latents))
        X = self.mean + Z @ self.weights.T + self._deviations * rng.standard_normal((len(Z), self.n_observed))
        return (X, Z) if return_latents else X


def tails(means: Floats, scales: Floats, half_side: Floats) -> Floats:
    """Σ_l P(|z_l| > c) for independent rows of Gaussian marginals: means (n, d), scales (d,), c (n,)."""
    c = half_side[:, None]
    mass: Floats = (scipy.special.ndtr((-c - means) / scales) + scipy.special.ndtr((means - c) / scales)).sum(axis=1)
    return mass


def cube(means: Floats, scales: Floats, missing: float) -> Floats:
    """The least c (n,) with Σ_l P(|z_l| > c) ≤ missing, by bisection; the bound holds at what is returned."""
    share = float(missing)
    if not 0 < share < 1:
        raise InputError(f"missing is {missing!r}; it is a fraction between 0 and 1, such as 1e-12")
    d = means.shape[1]
    high = (np.abs(means) - scales * scipy.special.ndtri(share / (2 * d))).max(axis=1)
    low = np.zeros_like(high)
    for _ in range(60):
        middle = 0.5 * (low + high)
        enough = tails(means, scales, middle) <= share
        high, low = np.where(enough, middle, high), np.where(enough, low, middle)
    return high


def rotation(d: int, seed: int | None) -> Floats:
    """A random rotation or reflection (d, d), uniform over the orthogonal group; the identity for seed None.

    F. Mezzadri (2007), Notices of the AMS 54, 592-604: QR of a Gaussian matrix with the signs of R moved to Q.
    """
    if seed is None:
        return np.eye(d)
    q, r = np.linalg.qr(np.random.default_rng(seed).standard_normal((d, d)))
    turned: Floats = q * np.sign(np.diagonal(r))
    return turned
