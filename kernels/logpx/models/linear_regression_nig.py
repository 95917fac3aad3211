r"""Bayesian linear regression with unknown noise: the normal-inverse-gamma prior.

    τ ~ Gamma(a, rate b),   β given τ ~ N(m_0, V_0/τ),   y given β, τ ~ N(X β, I_n/τ)
    p(y) = t with 2a degrees of freedom, location X m_0 and scale matrix (b/a)(I + X V_0 Xᵀ)

The data x of this model are the n responses y. With L the Cholesky factor of V_0, V = X L and r = y − X m_0, the
latents are w = √τ and the coefficients in units of their prior, u = w L^{−1}(β − m_0), which is N(0, I) whatever w is:

    log p(y, u, w) = C + (n + 2a − 1) log w − b w² − ½|u|² − ½|w r − V u|²,   w > 0
    C = log 2 + a log b − log Γ(a) − ½(n + d) log 2π

Everything but log w is a quadratic form, and the posterior is u given w ~ N(w m, Λ^{−1}) with Λ = I + VᵀV and m =
Λ^{−1}Vᵀr, w² ~ Gamma(a + n/2, rate c) with c = b + ½|r − V m|² + ½|m|². So in these latents, unlike in (β, log σ²),
its tails are no heavier than a Gaussian's. The default proposal is a full Gaussian at the posterior's mode with the
covariance of the curvature there, in which w has variance 1/4c, widened: since the tail is exp(−c w²), the variance of
the weights is finite for every widening above 1. Source: A. Gelman et al. (2013), Bayesian Data Analysis, 3rd ed.,
sections 14.2 and 14.8; A. O'Hagan and J. Forster (2004), Kendall's Advanced Theory of Statistics 2B, section 11.

As in `linear_gaussian`, V = Q R once a model and t = Qᵀr once a block, so that a sample costs d(d + 1)/2 + 3 d
multiply-adds and a logarithm, whatever n is.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import scipy
from numpy.typing import ArrayLike

from logpx import _jit, vecmath
from logpx.checks import whole
from logpx.models.base import DEFAULT_WIDEN, check_x, positive, rows_or_one
from logpx.models.linear_regression import checked_prior
from logpx.proposals import Gaussian
from logpx.proposals.base import Floats, Integers, packed, set_fields


@_jit.kernel("log_joint")
def log_joint(theta, dims, x, z, out):
    """theta: C, n + 2a − 1, b, X m_0 (n,), Qᵀ (r, n), R (r, d), V (n, d); dims: n, d, r = min(n, d)."""
    n, d, rank = dims[0], dims[1], dims[2]
    left, root, residual = np.empty(n), z[d], np.empty(z.shape[1])
    for i in range(n):
        left[i] = x[i] - theta[3 + i]
    for i in range(root.size):
        w = root[i]
        out[i] = -np.inf if w <= 0.0 else theta[0] + theta[1] * vecmath.log(w)
    for j in range(rank):
        direction = theta[3 + n + j * n : 3 + n + (j + 1) * n]
        component = 0.0
        for i in range(n):
            component += direction[i] * left[i]
        for i in range(n):
            left[i] -= component * direction[i]
        for i in range(root.size):
            residual[i] = component * root[i]
        for k in range(j, d):
            entry, latent = theta[3 + n + rank * n + j * d + k], z[k]
            for i in range(root.size):
                residual[i] -= entry * latent[i]
        for i in range(root.size):
            out[i] -= 0.5 * residual[i] * residual[i]
    rate = theta[2]
    for i in range(n):
        rate += 0.5 * left[i] * left[i]
    for k in range(d):
        latent = z[k]
        for i in range(root.size):
            out[i] -= 0.5 * latent[i] * latent[i]
    for i in range(root.size):
        out[i] -= rate * root[i] * root[i]


def log_joint_scalar(theta, dims, x, z):
    """log p(x, z) of one sample, z (d + 1,): the residual of every response, without the reduction."""
    n, d = dims[0], dims[1]
    w = z[d]
    if w <= 0:
        return -math.inf
    value = theta[0] + theta[1] * math.log(w) - theta[2] * w * w
    for k in range(d):
        value -= 0.5 * z[k] * z[k]
    start = len(theta) - n * d
    for i in range(n):
        residual = w * (x[i] - theta[3 + i])
        for k in range(d):
            residual -= theta[start + i * d + k] * z[k]
        value -= 0.5 * residual * residual
    return value


@dataclass(frozen=True, eq=False, init=False)
class LinearRegressionNIG:
    """Linear regression of n responses on d covariates, coefficients and noise unknown; latents (u, w), d + 1.

    Parameters
    ----------
    design : array (n, d)
        X, a column of ones included where there is an intercept.
    shape, rate : float
        a and b of the noise precision's gamma prior, above zero; b in the squared unit of the responses.
    prior_mean : array (d,), optional
        m_0, zeros by default.
    prior_covariance : array (d, d), optional
        V_0, the coefficients' covariance in units of the noise variance; the identity by default.

    Raises
    ------
    InputError
        Shapes that do not fit, entries that are not finite, a shape or rate that is not above zero, a prior
        covariance that is none.

    Examples
    --------
    >>> model = LinearRegressionNIG([[1.0, 0.0], [1.0, 1.0]], 2.0, 0.5)
    >>> round(model.log_marginal([0.3, -0.1]), 6)
    -1.459278
    """

    design: Floats
    shape: float
    rate: float
    prior_mean: Floats
    prior_factor: Floats

    name: ClassVar[str] = "linear_regression_nig"
    summary: ClassVar[str] = "Bayesian linear regression, unknown noise: normal-inverse-gamma prior"
    exact_route: ClassVar[str] = "normal and gamma integrals, conjugate"
    second_route: ClassVar[str] = "SciPy's dense multivariate t density"
    log_joint: ClassVar[Any] = staticmethod(log_joint)
    log_joint_scalar: ClassVar[Callable[..., float]] = staticmethod(log_joint_scalar)
    prior: ClassVar[None] = None
    theta: Floats = field(init=False, repr=False)
    dims: Integers = field(init=False, repr=False)
    n_latents: int = field(init=False, repr=False)
    n_observed: int = field(init=False, repr=False)

    def __init__(
        self,
        design: ArrayLike,
        shape: float,
        rate: float,
        prior_mean: ArrayLike | None = None,
        prior_covariance: ArrayLike | None = None,
    ) -> None:
        a, b = float(positive("shape", shape, (0,))), float(positive("rate", rate, (0,)))
        design, prior_mean, factor = checked_prior(design, prior_mean, prior_covariance)
        n, d = design.shape
        loadings = design @ factor
        q, r = np.linalg.qr(loadings)
        constant = math.log(2) + a * math.log(b) - math.lgamma(a) - 0.5 * (n + d) * math.log(2 * math.pi)
        scalars = [constant, n + 2 * a - 1, b]
        theta = np.concatenate([scalars, design @ prior_mean, q.T.ravel(), r.ravel(), loadings.ravel()])
        set_fields(self, design=design, shape=a, rate=b, prior_mean=prior_mean, prior_factor=factor)
        set_fields(self, theta=packed(theta), dims=np.array([n, d, min(n, d)], np.int64), n_latents=d + 1, n_observed=n)

    def _posterior(self, rows: Floats) -> tuple[Floats, Any, Floats]:
        """m (n, d), the Cholesky factor of Λ, and the rate c (n,) of w²."""
        loadings, residuals = self.design @ self.prior_factor, rows - self.design @ self.prior_mean
        factor: Floats = np.asarray(np.linalg.cholesky(np.eye(loadings.shape[1]) + loadings.T @ loadings), np.float64)
        means = scipy.linalg.cho_solve((factor, True), (residuals @ loadings).T).T
        misfit = ((residuals - means @ loadings.T) ** 2).sum(axis=1) + (means**2).sum(axis=1)
        return means, factor, self.rate + 0.5 * misfit

    def log_marginal(self, x: ArrayLike) -> Any:
        """Exact log p(y) in nats: a float for x (n,), an array for several rows of responses."""
        rows, batched = check_x(x, self.n_observed)
        _, factor, rate = self._posterior(rows)
        n, shape = self.n_observed, self.shape + 0.5 * self.n_observed
        constant = self.shape * math.log(self.rate) + math.lgamma(shape) - math.lgamma(self.shape)
        constant -= 0.5 * n * math.log(2 * math.pi) + np.log(np.diagonal(factor)).sum()
        return rows_or_one(constant - shape * np.log(rate), batched)

    def default_proposal(self, x: ArrayLike, widen: float | None = None) -> Gaussian:
        """A full Gaussian at the posterior's mode, `widen` times as wide as the curvature there says.

        None is 1 + 0.3/√(d + 1). Above 1 the weights have finite variance.
        """
        rows, batched = check_x(x, self.n_observed)
        least = 1 + (DEFAULT_WIDEN - 1) / math.sqrt(self.n_latents)
        factor = least if widen is None else float(positive("widen", widen, (0,)))
        means, precision, rate = self._posterior(rows)
        d = means.shape[1]
        modes = np.sqrt((self.shape + 0.5 * self.n_observed - 0.5) / rate)
        inner = np.linalg.cholesky(np.linalg.inv(precision @ precision.T))
        spread = 0.5 / np.sqrt(rate)
        # w comes last, and u given w has mean w m: the joint covariance, then its factor.
        covariance = np.empty((len(rows), d + 1, d + 1))
        covariance[:, :d, :d] = inner @ inner.T + (means[:, :, None] * means[:, None, :]) * spread[:, None, None] ** 2
        covariance[:, :d, d] = covariance[:, d, :d] = means * spread[:, None] ** 2
        covariance[:, d, d] = spread**2
        centre = np.column_stack([modes[:, None] * means, modes])
        factors = factor * np.linalg.cholesky(covariance)
        return Gaussian.full(rows_or_one(centre, batched), rows_or_one(factors, batched))

    def coefficients(self, z: ArrayLike) -> tuple[Floats, Floats]:
        """β (..., d) and the noise variance σ² (...) of latents z (..., d + 1)."""
        z = np.asarray(z, dtype=np.float64)
        beta: Floats = self.prior_mean + z[..., :-1] @ self.prior_factor.T / z[..., -1:]
        return beta, z[..., -1] ** -2.0

    def sample(self, n: int, seed: int = 0, *, return_latents: bool = False) -> Any:
        """n rows of responses drawn from the model: Y (n, p), or (Y, Z (n, d + 1)) with return_latents."""
        rng = np.random.default_rng(seed)
        precisions = rng.gamma(self.shape, 1 / self.rate, whole("n", n))
        Z = np.column_stack([rng.standard_normal((len(precisions), self.n_latents - 1)), np.sqrt(precisions)])
        beta, variances = self.coefficients(Z)
        Y = beta @ self.design.T + np.sqrt(variances)[:, None] * rng.standard_normal((len(Z), self.n_observed))
        return (Y, Z) if return_latents else Y

    @classmethod
    def example(cls, seed: int = 0) -> tuple[LinearRegressionNIG, Floats]:
        """A small model, an intercept and two covariates of 12 cases, and 5 rows of responses drawn from it."""
        rng = np.random.default_rng(seed)
        design = np.column_stack([np.ones(12), rng.standard_normal((12, 2))])
        model = cls(design, 3.0, 2.0, [0.5, 0.0, -1.0], [[1.0, 0.3, 0.0], [0.3, 0.5, 0.0], [0.0, 0.0, 2.0]])
        return model, model.sample(5, seed + 1)
