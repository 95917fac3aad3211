r"""The mean of a normal sample, with its conjugate prior: one latent, exact in closed form.

    z ~ N(m_0, s_0²),   x_j given z ~ N(z, s²), j = 1 … p, independent.

    posterior   precision Λ = 1/s_0² + p/s²,   mean m = (m_0/s_0² + Σ_j x_j/s²)/Λ
    log p(x)  = −(p/2) log 2πs² − ½ log(s_0² Λ) − (m − m_0)²/(2 s_0²) − Σ_j (x_j − m)²/(2 s²)

The last line is log p(x, m) + ½ log 2π − ½ log Λ: the joint over the posterior, at the posterior mean, without a
difference of large numbers. Source: A. Gelman et al. (2013), Bayesian Data Analysis, 3rd ed., section 2.5. The log
joint costs p + 1 multiply-adds a sample.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import scipy
from numpy.typing import ArrayLike

from logpx import _jit
from logpx.checks import whole
from logpx.errors import InputError
from logpx.models.base import DEFAULT_WIDEN, check_x, positive, rows_or_one
from logpx.models.linear_gaussian import cube, tails
from logpx.proposals import Gaussian, Uniform
from logpx.proposals.base import Floats, Integers, as_floats, packed, set_fields, two_parts


@_jit.kernel("log_joint", dtypes=("float64", "float32"))
def log_joint(theta, dims, x, z, out):
    """theta: constant in two parts, m_0, 1/s_0, 1/s; dims: p. Four observed numbers at a time."""
    p = dims[0]
    centre, prior_root, noise_root = theta[2], theta[3], theta[4]
    half, none = z.dtype.type(0.5), z.dtype.type(0.0)
    constant = np.float64(theta[0]) + np.float64(theta[1])
    latent = z[0]
    for i in range(latent.size):
        e = (latent[i] - centre) * prior_root
        out[i] = constant - half * e * e
    for j in range(0, p - p % 4, 4):
        x0, x1, x2, x3 = x[j], x[j + 1], x[j + 2], x[j + 3]
        for i in range(latent.size):
            e0, e1 = (x0 - latent[i]) * noise_root, (x1 - latent[i]) * noise_root
            e2, e3 = (x2 - latent[i]) * noise_root, (x3 - latent[i]) * noise_root
            out[i] -= half * (e0 * e0 + e1 * e1 + e2 * e2 + e3 * e3)
    for j in range(p - p % 4, p):
        x0 = x[j] + none
        for i in range(latent.size):
            e = (x0 - latent[i]) * noise_root
            out[i] -= half * e * e


def log_joint_scalar(theta, dims, x, z):
    """log p(x, z) of one sample, z (1,): the same quantity, one number at a time."""
    e = (z[0] - theta[2]) * theta[3]
    value = np.float64(theta[0]) + np.float64(theta[1]) - 0.5 * e * e
    for j in range(dims[0]):
        e = (x[j] - z[0]) * theta[4]
        value -= 0.5 * e * e
    return value


@dataclass(frozen=True, eq=False)
class ConjugateNormal:
    """Normal observations of an unknown mean with a normal prior.

    Parameters
    ----------
    prior_mean, prior_variance : float
        m_0 and s_0² > 0.
    noise_variance : float
        s² > 0, known.
    n_observed : int
        p, how many numbers are observed.

    Raises
    ------
    InputError
        A variance that is not above zero, a number that is not finite, n_observed below 1.

    Examples
    --------
    >>> model = ConjugateNormal(0.0, 1.0, 1.0, n_observed=1)
    >>> round(model.log_marginal([0.0]), 6)
    -1.265512
    """

    prior_mean: float = 0.0
    prior_variance: float = 1.0
    noise_variance: float = 1.0
    n_observed: int = 1

    name: ClassVar[str] = "conjugate_normal"
    summary: ClassVar[str] = "normal observations of one unknown mean with a normal prior"
    exact_route: ClassVar[str] = "conjugate posterior in closed form"
    second_route: ClassVar[str] = "SciPy's dense Gaussian density of x"
    log_joint: ClassVar[Any] = staticmethod(log_joint)
    log_joint_scalar: ClassVar[Callable[..., float]] = staticmethod(log_joint_scalar)
    n_latents: ClassVar[int] = 1
    theta: Floats = field(init=False, repr=False)
    dims: Integers = field(init=False, repr=False)
    prior: Gaussian = field(init=False, repr=False)

    def __post_init__(self) -> None:
        m0 = float(as_floats("prior_mean", self.prior_mean, n_axes=(0,)))
        v0 = float(positive("prior_variance", self.prior_variance, (0,)))
        v = float(positive("noise_variance", self.noise_variance, (0,)))
        p = whole("n_observed", self.n_observed)
        constant = -0.5 * math.log(2 * math.pi * v0) - 0.5 * p * math.log(2 * math.pi * v)
        theta = np.concatenate([two_parts(constant), [m0, v0**-0.5, v**-0.5]])
        set_fields(self, prior_mean=m0, prior_variance=v0, noise_variance=v, n_observed=p, theta=packed(theta))
        set_fields(self, dims=np.array([p], dtype=np.int64), prior=Gaussian([m0], [math.sqrt(v0)]))

    def _posterior(self, rows: Floats) -> tuple[Floats, float]:
        """Posterior means (n,) and precision."""
        precision = 1 / self.prior_variance + self.n_observed / self.noise_variance
        means = (self.prior_mean / self.prior_variance + rows.sum(axis=1) / self.noise_variance) / precision
        return means, precision

    def log_marginal(self, x: ArrayLike) -> Any:
        """Exact log p(x) in nats: a float for x (p,), an array (n,) for x (n, p)."""
        rows, batched = check_x(x, self.n_observed)
        means, precision = self._posterior(rows)
        misfit = ((rows - means[:, None]) ** 2).sum(axis=1) / self.noise_variance
        misfit += (means - self.prior_mean) ** 2 / self.prior_variance
        constant = -0.5 * self.n_observed * math.log(2 * math.pi * self.noise_variance)
        constant -= 0.5 * math.log(self.prior_variance * precision)
        return rows_or_one(constant - 0.5 * misfit, batched)

    def posterior(self, x: ArrayLike) -> Gaussian:
        """The exact posterior of z as a proposal: every log weight is then log p(x), with variance zero."""
        return self.default_proposal(x, widen=1.0)

    def default_proposal(self, x: ArrayLike, widen: float | None = None) -> Gaussian:
        """A Gaussian around the posterior mean, `widen` times as wide as the posterior.

        None is 1.3: the best would be 1, the exact posterior, for which there is nothing to estimate. Below 1/√2
        the weights have infinite variance.
        """
        rows, batched = check_x(x, self.n_observed)
        factor = DEFAULT_WIDEN if widen is None else float(positive("widen", widen, (0,)))
        means, precision = self._posterior(rows)
        return Gaussian.diagonal(rows_or_one(means[:, None], batched), [factor * precision**-0.5])

    def missing_mass(self, x: ArrayLike, low: ArrayLike, high: ArrayLike) -> tuple[Any, Any]:
        """Bounds (lower, upper) on the fraction of p(x) whose z is outside low … high; with one latent, both exact."""
        rows, batched = check_x(x, self.n_observed)
        means, precision = self._posterior(rows)
        low, high = np.asarray(low, dtype=np.float64), np.asarray(high, dtype=np.float64)
        for name, bound in (("low", low), ("high", high)):
            if bound.shape not in ((1,), (len(rows), 1)):
                raise InputError(f"{name} has shape {bound.shape}; the model has 1 latent")
        root = math.sqrt(precision)
        outside = scipy.special.ndtr((low[..., 0] - means) * root) + scipy.special.ndtr((means - high[..., 0]) * root)
        mass = rows_or_one(outside, batched)
        return mass, mass

    def uniform_domain(self, x: ArrayLike, missing: float = 1e-12) -> Uniform:
        """The smallest interval around the prior's mean that leaves out at most `missing` of p(x)."""
        rows, batched = check_x(x, self.n_observed)
        means, precision = self._posterior(rows)
        from_prior, scales = means[:, None] - self.prior_mean, np.array([precision**-0.5])
        half_side = cube(from_prior, scales, missing)
        outside = tails(from_prior, scales, half_side)
        low = rows_or_one((self.prior_mean - half_side)[:, None], batched)
        high = rows_or_one((self.prior_mean + half_side)[:, None], batched)
        return Uniform(low, high, missing_mass=rows_or_one(outside, batched))

    def sample(self, n: int, seed: int = 0, *, return_latents: bool = False) -> Any:
        """n rows drawn from the model: X (n, p), or (X, Z (n, 1)) with return_latents."""
        rng = np.random.default_rng(seed)
        Z = self.prior_mean + math.sqrt(self.prior_variance) * rng.standard_normal((whole("n", n), 1))
        X = Z + math.sqrt(self.noise_variance) * rng.standard_normal((len(Z), self.n_observed))
        return (X, Z) if return_latents else X

    @classmethod
    def example(cls, seed: int = 0) -> tuple[ConjugateNormal, Floats]:
        """A small model, 10 observed numbers, and 5 rows drawn from it."""
        model = cls(0.5, 2.0, 1.5, n_observed=10)
        return model, model.sample(5, seed + 1)
