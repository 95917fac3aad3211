r"""The algebra that PPCA and factor analysis share.

    z ~ N(0, I_d),   x given z ~ N(μ + W z, Ψ),   Ψ diagonal.

With every observed number divided by its noise, V = Ψ^{−1/2} W and r = Ψ^{−1/2} (x − μ),

    log p(x, z) = −½(d + p) log 2π − ½ log|Ψ| − ½|z|² − ½|r − V z|²
    posterior     Λ = I + VᵀV,   m = Λ^{−1} Vᵀ r
    log p(x)    = log p(x, m) + ½ d log 2π − ½ log|Λ|

The last line is Woodbury's identity and the determinant lemma for the covariance W Wᵀ + Ψ, without a difference of
large numbers. Source: M. E. Tipping and C. M. Bishop (1999), J. R. Statist. Soc. B 61, 611-622, section 3; C. M.
Bishop (2006), section 12.2. The log joint costs p d + p + d multiply-adds a sample, in tiles of four observed numbers
and two latents; it evaluates the residual of every observed number and does not expand the square. The marginal costs
p d a row after p d² + d³.
"""

from __future__ import annotations

import abc
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike
from scipy import linalg, optimize, special

from logpx import _jit
from logpx.checks import whole
from logpx.errors import InputError
from logpx.models.base import DEFAULT_WIDEN, check_x, positive, rows_or_one
from logpx.proposals import Gaussian, Uniform
from logpx.proposals.base import Floats, Integers, as_floats, packed, set_fields, two_parts

#: Observed numbers in a tile, and samples in a strip that stays in the first-level cache.
ROWS, STRIP = 4, 128


@_jit.leaf
def _whitened(theta, x, p, j):
    """(x_j − μ_j)/σ_j, and 0 for the rows that fill up the last tile."""
    return (x[j] - theta[2 + j]) * theta[2 + p + j] if j < p else theta[0] * theta.dtype.type(0.0)


@_jit.leaf
def _tile(theta, at, width):
    """Loadings of four observed numbers on two latents."""
    return (
        theta[at],
        theta[at + 1],
        theta[at + width],
        theta[at + width + 1],
        theta[at + 2 * width],
        theta[at + 2 * width + 1],
        theta[at + 3 * width],
        theta[at + 3 * width + 1],
    )


@_jit.leaf
def _subtract_squares(centred, tile, first, second, half, value):
    """Four residuals on two latents, squared and subtracted at once: the whole of it where d ≤ 2."""
    r0, r1, r2, r3 = centred
    a0, b0, a1, b1, a2, b2, a3, b3 = tile
    for i in range(value.size):
        u, v = first[i], second[i]
        e0 = r0 - a0 * u - b0 * v
        e1 = r1 - a1 * u - b1 * v
        e2 = r2 - a2 * u - b2 * v
        e3 = r3 - a3 * u - b3 * v
        value[i] -= half * (e0 * e0 + e1 * e1 + e2 * e2 + e3 * e3)


@_jit.leaf
def _begin_residuals(centred, tile, first, second, residual):
    r0, r1, r2, r3 = centred
    a0, b0, a1, b1, a2, b2, a3, b3 = tile
    for i in range(first.size):
        u, v = first[i], second[i]
        residual[i] = r0 - a0 * u - b0 * v
        residual[STRIP + i] = r1 - a1 * u - b1 * v
        residual[2 * STRIP + i] = r2 - a2 * u - b2 * v
        residual[3 * STRIP + i] = r3 - a3 * u - b3 * v


@_jit.leaf
def _go_on_with_residuals(tile, first, second, residual):
    a0, b0, a1, b1, a2, b2, a3, b3 = tile
    for i in range(first.size):
        u, v = first[i], second[i]
        residual[i] = residual[i] - a0 * u - b0 * v
        residual[STRIP + i] = residual[STRIP + i] - a1 * u - b1 * v
        residual[2 * STRIP + i] = residual[2 * STRIP + i] - a2 * u - b2 * v
        residual[3 * STRIP + i] = residual[3 * STRIP + i] - a3 * u - b3 * v


@_jit.leaf
def _subtract_residuals(residual, half, value):
    for i in range(value.size):
        e0, e1, e2, e3 = residual[i], residual[STRIP + i], residual[2 * STRIP + i], residual[3 * STRIP + i]
        value[i] -= half * (e0 * e0 + e1 * e1 + e2 * e2 + e3 * e3)


@_jit.leaf
def _copy_strip(z, start, n, strip):
    """The strip's latents side by side after the residuals: rows of z lie 4 kB apart and would share cache sets."""
    for k in range(z.shape[0]):
        latent, copy = z[k, start : start + n], strip[(ROWS + k) * STRIP : (ROWS + k) * STRIP + n]
        for i in range(n):
            copy[i] = latent[i]


@_jit.leaf
def _latent(strip, k, n):
    return strip[(ROWS + k) * STRIP : (ROWS + k) * STRIP + n]


@_jit.kernel("log_joint", dtypes=("float64", "float32"))
def log_joint(theta, dims, x, z, out):
    """theta: see `pack_theta`; dims: p, d. Four observed numbers by two latents at a time, strips of 128 samples."""
    p, d = dims[0], dims[1]
    width = d + d % 2
    half = z.dtype.type(0.5)
    constant = np.float64(theta[0]) + np.float64(theta[1])
    strip = np.zeros((ROWS + width) * STRIP if width > 2 else 0, z.dtype)
    for start in range(0, z.shape[1], STRIP):
        n = min(STRIP, z.shape[1] - start)
        value = out[start : start + n]
        if width > 2:
            _copy_strip(z, start, n, strip)
        for i in range(n):
            value[i] = constant
        for k in range(d):
            latent = z[k, start : start + n]
            for i in range(n):
                value[i] -= half * latent[i] * latent[i]
        for j in range(0, p, ROWS):
            centred = (
                _whitened(theta, x, p, j),
                _whitened(theta, x, p, j + 1),
                _whitened(theta, x, p, j + 2),
                _whitened(theta, x, p, j + 3),
            )
            at = 2 + 2 * p + j * width
            if width == 2:
                first, second = z[0, start : start + n], z[d - 1, start : start + n]
                _subtract_squares(centred, _tile(theta, at, width), first, second, half, value)
            else:
                _begin_residuals(centred, _tile(theta, at, width), _latent(strip, 0, n), _latent(strip, 1, n), strip)
                for k in range(2, width, 2):
                    first, second = _latent(strip, k, n), _latent(strip, k + 1, n)
                    _go_on_with_residuals(_tile(theta, at + k, width), first, second, strip)
                _subtract_residuals(strip, half, value)


def log_joint_scalar(theta, dims, x, z):
    """log p(x, z) of one sample, z (d,): the same quantity, one number at a time."""
    p, d = dims[0], dims[1]
    width = d + d % 2
    value = np.float64(theta[0]) + np.float64(theta[1])
    for k in range(d):
        value -= 0.5 * z[k] * z[k]
    for j in range(p):
        residual = (x[j] - theta[2 + j]) * theta[2 + p + j]
        for k in range(d):
            residual -= theta[2 + 2 * p + j * width + k] * z[k]
        value -= 0.5 * residual * residual
    return value


def pack_theta(weights: Floats, mean: Floats, noise_variances: Floats) -> Floats:
    """Constant in two parts; μ (p,); 1/σ (p,); V = W/σ by rows, filled up with zeros to fours by twos."""
    p, d = weights.shape
    deviations = np.sqrt(noise_variances)
    constant = -0.5 * (d + p) * np.log(2 * np.pi) - np.log(deviations).sum()
    whitened = np.zeros((p + -p % ROWS, d + d % 2))
    whitened[:p, :d] = weights / deviations[:, None]
    return packed(np.concatenate([two_parts(constant), mean, 1 / deviations, whitened.ravel()]))


@dataclass(frozen=True, eq=False, init=False)
class LinearGaussian(abc.ABC):
    """What PPCA and factor analysis share: everything but where the noise variances come from.

    A subclass has the fields `weights` (p, d) and `mean` (p,) and calls `_prepare` with them and the noise (p,).
    """

    weights: Floats
    mean: Floats

    name: ClassVar[str]
    summary: ClassVar[str]
    log_joint: ClassVar[Any] = staticmethod(log_joint)
    log_joint_scalar: ClassVar[Callable[..., float]] = staticmethod(log_joint_scalar)
    theta: Floats = field(init=False, repr=False)
    dims: Integers = field(init=False, repr=False)
    n_latents: int = field(init=False, repr=False)
    n_observed: int = field(init=False, repr=False)
    prior: Gaussian = field(init=False, repr=False)
    _deviations: Floats = field(init=False, repr=False)
    _precision: Floats = field(init=False, repr=False)

    def _prepare(self, weights: Floats, mean: ArrayLike, noise_variances: Floats) -> None:
        mean = as_floats("mean", mean, n_axes=(1,))
        p, d = weights.shape
        if mean.shape != (p,):
            raise InputError(f"mean has shape {mean.shape}; weights of shape {weights.shape} need ({p},)")
        deviations = np.sqrt(noise_variances)
        whitened = weights / deviations[:, None]
        set_fields(self, weights=weights, mean=mean, n_latents=d, n_observed=p, dims=np.array([p, d], dtype=np.int64))
        set_fields(self, theta=pack_theta(weights, mean, noise_variances), prior=Gaussian(np.zeros(d), np.ones(d)))
        set_fields(self, _deviations=deviations, _precision=np.eye(d) + whitened.T @ whitened)

    def _residuals(self, rows: Floats) -> Floats:
        return (rows - self.mean) / self._deviations

    def _posterior_means(self, rows: Floats) -> Floats:
        projected = self._residuals(rows) @ (self.weights / self._deviations[:, None])
        means: Floats = linalg.cho_solve(linalg.cho_factor(self._precision, lower=True), projected.T).T
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

        return float(optimize.brentq(slope, top * 1e-9, top * (1 - 1e-12), xtol=1e-15) ** -0.5)

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
        outside = special.ndtr((low - means) / scales) + special.ndtr((means - high) / scales)
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
    mass: Floats = (special.ndtr((-c - means) / scales) + special.ndtr((means - c) / scales)).sum(axis=1)
    return mass


def cube(means: Floats, scales: Floats, missing: float) -> Floats:
    """The least c (n,) with Σ_l P(|z_l| > c) ≤ missing, by bisection; the bound holds at what is returned."""
    share = float(missing)
    if not 0 < share < 1:
        raise InputError(f"missing is {missing!r}; it is a fraction between 0 and 1, such as 1e-12")
    d = means.shape[1]
    high = (np.abs(means) - scales * special.ndtri(share / (2 * d))).max(axis=1)
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
