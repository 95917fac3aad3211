r"""A Gaussian mixture as the target over z: many modes, and everything about it known.

    z ~ Σ_k π_k N(m_k, diag v_k) in R^d,   x ~ N(0, 1), one number, independent of z
    log p(x, z) = log N(x; 0, 1) + log Σ_k π_k N(z; m_k, diag v_k),   log p(x) = log N(x; 0, 1)

A joint density whose latent part is any mixture one likes and whose evidence is known: for a fixed x, p(x, ·) is an
unnormalised target with log evidence −½ x² − ½ log 2π, so that a wrong constant is seen, and z given x is the mixture
itself. It is what a sampler's or a proposal's reach over several modes is tried on; x does no more than make data of
it. Density, kernel, their source and cost: `logpx.proposals.mixture`.

The default proposal is one Gaussian with the mixture's mean and, widened, its variances. Its χ² is a closed form
(`logpx.proposals.divergences.chi2`), finite while every variance of q is above half of every component's, and grows as
exp of the components' squared distance from the centre: it serves mixtures whose components overlap, as those of
`example` do in any number of dimensions, where they lie about 1.2 standard deviations from the centre.
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
from logpx.proposals import Gaussian, Mixture, Uniform, divergences
from logpx.proposals.base import Floats, Integers, as_floats, packed, set_fields
from logpx.proposals.mixture import log_density, packed_density

HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


@_jit.kernel("log_joint", dtypes=("float64", "float32"))
def log_joint(theta, dims, x, z, out):
    """theta: see `logpx.proposals.mixture.packed_density`; dims: K, d."""
    data = np.float64(x[0])
    constant = np.float64(theta[0]) + np.float64(theta[1]) - (0.5 * data * data + HALF_LOG_2PI)
    log_density(theta, dims[0], constant, z, out)


def log_joint_scalar(theta, dims, x, z):
    """log p(x, z) of one sample, z (d,): the same quantity, one number at a time."""
    n_components, d = dims[0], dims[1]
    width, pairs = d + -d % 4, n_components + n_components % 2
    top, total = -math.inf, 0.0
    for k in range(n_components):
        value = theta[2 + k]
        for j in range(d):
            at = 2 + n_components + k * width + j
            e = (z[j] - theta[at]) * theta[at + pairs * width]
            value -= 0.5 * e * e
        if value > top:
            total = total * math.exp(top - value) + 1.0
            top = value
        elif value > -math.inf:
            total += math.exp(value - top)
    if total == 0.0:
        return top
    return theta[0] + theta[1] - 0.5 * x[0] * x[0] - HALF_LOG_2PI + top + math.log(total)


@dataclass(frozen=True, eq=False, init=False)
class GaussianMixtureTarget:
    """A mixture of K Gaussians with diagonal covariances as the density of z; x is one standard normal number.

    Parameters
    ----------
    weights : array (K,)
        Probabilities of the components: at least zero, with sum 1 (within 1e-9; then scaled to 1). Components of
        weight zero are left out.
    means : array (K, d)
    variances : array (K, d)
        Above zero.

    Raises
    ------
    InputError
        Shapes that do not fit, entries that are not finite, weights that are no distribution, a variance that is not
        above zero.

    Examples
    --------
    >>> model = GaussianMixtureTarget([0.5, 0.5], [[-1.0, 0.0], [1.0, 0.0]], [[1.0, 1.0], [1.0, 2.0]])
    >>> round(model.log_marginal([0.0]), 6)
    -0.918939
    """

    weights: Floats
    means: Floats
    variances: Floats

    name: ClassVar[str] = "mixture_target"
    summary: ClassVar[str] = "mixture of Gaussians as the density of z: many modes, evidence known"
    exact_route: ClassVar[str] = "known by construction"
    second_route: ClassVar[str] = "each factor of each Gaussian by adaptive quadrature"
    log_joint: ClassVar[Any] = staticmethod(log_joint)
    log_joint_scalar: ClassVar[Callable[..., float]] = staticmethod(log_joint_scalar)
    n_observed: ClassVar[int] = 1
    n_latents: int = field(init=False, repr=False)
    theta: Floats = field(init=False, repr=False)
    dims: Integers = field(init=False, repr=False)
    prior: Mixture = field(init=False, repr=False)

    def __init__(self, weights: ArrayLike, means: ArrayLike, variances: ArrayLike) -> None:
        means, variances = as_floats("means", means, n_axes=(2,)), positive("variances", variances, (2,))
        if np.shape(weights) != means.shape[:1] or variances.shape != means.shape:
            raise InputError(
                f"weights {np.shape(weights)}, means {means.shape}, variances {variances.shape} do not fit; "
                "they must be (K,), (K, d) and (K, d)"
            )
        prior = Mixture(weights, means, np.sqrt(variances))
        set_fields(self, weights=prior.weights, means=prior.means, variances=packed(prior.scales**2), prior=prior)
        set_fields(self, theta=packed(packed_density(prior.weights, prior.means, prior.scales)))
        set_fields(self, n_latents=prior.n_latents, dims=prior.dims)

    def log_marginal(self, x: ArrayLike) -> Any:
        """Exact log p(x) in nats: a float for x (1,), an array (n,) for x (n, 1)."""
        rows, batched = check_x(x, self.n_observed)
        return rows_or_one(-0.5 * rows[:, 0] ** 2 - HALF_LOG_2PI, batched)

    def posterior(self, x: ArrayLike) -> Mixture:
        """The exact posterior of z, the mixture, as a proposal: every log weight is log p(x), with variance zero."""
        check_x(x, self.n_observed)
        return self.prior

    def default_proposal(self, x: ArrayLike, widen: float | None = None) -> Gaussian:
        """A Gaussian with the mixture's mean, and `widen` times its standard deviations.

        Parameters
        ----------
        x : array, (1,) or (n, 1)
        widen : float, optional
            None gives `best_widen()`, or 1 + 0.3/√d where that is larger: near the Gaussian that the mixture may be,
            there would be nothing to estimate.
        """
        check_x(x, self.n_observed)
        least = 1 + (DEFAULT_WIDEN - 1) / math.sqrt(self.n_latents)
        factor = max(least, self.best_widen()) if widen is None else float(positive("widen", widen, (0,)))
        return self._matched(factor)

    def _matched(self, widen: float) -> Gaussian:
        mean = self.weights @ self.means
        return Gaussian.diagonal(mean, widen * np.sqrt(self.weights @ (self.variances + (self.means - mean) ** 2)))

    def best_widen(self) -> float:
        """The `widen` that minimises E_q[w²] of the default proposal, to 1e-4; it is finite there."""
        ratio = float((self.variances / self._matched(1.0).scale ** 2).max())
        least = math.sqrt(0.5 * ratio) * (1 + 1e-6)

        def spread(widen: float) -> float:
            return float(divergences.log_second_moment(self.prior, self._matched(widen)))

        bounds = (least, 3 * max(1.0, least))
        return float(scipy.optimize.minimize_scalar(spread, bounds=bounds, method="bounded", options={"xatol": 1e-4}).x)

    def missing_mass(self, x: ArrayLike, low: ArrayLike, high: ArrayLike) -> tuple[float, float]:
        """Bounds (lower, upper) on the fraction of p(x) whose z lies outside the box low … high, (d,) each.

        The fraction is the mixture's mass outside: at least the largest and at most the sum of what its d marginals
        put outside.
        """
        check_x(x, self.n_observed)
        low, high = np.asarray(low, dtype=np.float64), np.asarray(high, dtype=np.float64)
        for name, bound in (("low", low), ("high", high)):
            if bound.shape != (self.n_latents,):
                raise InputError(f"{name} has shape {bound.shape}; the model has {self.n_latents} latents")
        scales = self.prior.scales
        tails = scipy.special.ndtr((low - self.means) / scales) + scipy.special.ndtr((self.means - high) / scales)
        outside = self.weights @ tails
        return float(outside.max()), min(float(outside.sum()), 1.0)

    def uniform_domain(self, x: ArrayLike, missing: float = 1e-12) -> Uniform:
        """A box that leaves out at most `missing` of p(x): each component's marginals lose at most missing/d."""
        check_x(x, self.n_observed)
        if not 0 < missing < 1:
            raise InputError(f"missing is {missing!r}; it is a fraction between 0 and 1, such as 1e-12")
        reach = -scipy.special.ndtri(0.5 * missing / self.n_latents) * self.prior.scales
        low, high = (self.means - reach).min(axis=0), (self.means + reach).max(axis=0)
        return Uniform(low, high, missing_mass=self.missing_mass(x, low, high)[1])

    def sample(self, n: int, seed: int = 0, *, return_latents: bool = False) -> Any:
        """n rows drawn from the model: X (n, 1), or (X, Z (n, d)) with return_latents."""
        rng = np.random.default_rng(seed)
        X = rng.standard_normal((whole("n", n), 1))
        chosen = rng.choice(len(self.weights), size=len(X), p=self.weights)
        Z = self.means[chosen] + self.prior.scales[chosen] * rng.standard_normal((len(X), self.n_latents))
        return (X, Z) if return_latents else X

    @classmethod
    def example(
        cls, seed: int = 0, *, n_latents: int = 3, n_components: int = 4
    ) -> tuple[GaussianMixtureTarget, Floats]:
        """A model of any size whose components overlap, and 5 rows drawn from it.

        The means lie about 1.2 from 0 whatever d is, and the variances between 0.75 and 1.25.
        """
        rng = np.random.default_rng(seed)
        K, d = whole("n_components", n_components), whole("n_latents", n_latents)
        means = rng.standard_normal((K, d)) * (1.2 / math.sqrt(d))
        model = cls(rng.dirichlet(np.full(K, 5.0)), means, rng.uniform(0.75, 1.25, (K, d)))
        return model, model.sample(5, seed + 1)
