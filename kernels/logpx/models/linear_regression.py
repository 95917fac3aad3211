r"""Bayesian linear regression with known noise.

    β ~ N(m_0, V_0),   y given β ~ N(X β, s² I_n);   p(y) = N(X m_0, X V_0 Xᵀ + s² I)

The data x of this model are the n responses y; the design X is part of the model. With L the Cholesky factor of V_0,
the latents are the coefficients in units of their prior, β = m_0 + L z, so that z is standard normal and y given z is
N(X m_0 + X L z, s² I): the algebra, kernel, proposals and cost of `linear_gaussian`, with loadings X L. p(y) does not
depend on the units. Source: D. V. Lindley and A. F. M. Smith (1972), J. R. Statist. Soc. B 34, 1-41, section 2; C. M.
Bishop (2006), Pattern Recognition and Machine Learning, section 3.3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from logpx.errors import InputError
from logpx.models.base import factor_of, positive
from logpx.models.linear_gaussian import LinearGaussian
from logpx.proposals.base import Floats, as_floats, set_fields


@dataclass(frozen=True, eq=False, init=False)
class LinearRegression(LinearGaussian):
    """Linear regression of n responses on d covariates, with a normal prior of the coefficients.

    Parameters
    ----------
    design : array (n, d)
        X, a column of ones included where there is an intercept.
    noise_variance : float
        s², above zero, in the squared unit of the responses.
    prior_mean : array (d,), optional
        m_0, zeros by default.
    prior_covariance : array (d, d), optional
        V_0, symmetric and positive definite; the identity by default.

    Raises
    ------
    InputError
        Shapes that do not fit, entries that are not finite, a noise variance that is not above zero, a prior
        covariance that is none.

    Examples
    --------
    >>> model = LinearRegression([[1.0, 0.0], [1.0, 1.0]], 0.25)
    >>> round(model.log_marginal([0.3, -0.1]), 6)
    -2.211093
    """

    design: Floats
    noise_variance: float
    prior_mean: Floats
    prior_factor: Floats

    name: ClassVar[str] = "linear_regression"
    summary: ClassVar[str] = "Bayesian linear regression: normal coefficients, known noise"
    exact_route: ClassVar[str] = "normal integral by Woodbury's identity"
    second_route: ClassVar[str] = "SciPy's dense multivariate normal density"

    def __init__(
        self,
        design: ArrayLike,
        noise_variance: float,
        prior_mean: ArrayLike | None = None,
        prior_covariance: ArrayLike | None = None,
    ) -> None:
        variance = positive("noise_variance", noise_variance, (0,))
        design, prior_mean, factor = checked_prior(design, prior_mean, prior_covariance)
        set_fields(self, design=design, prior_mean=prior_mean, prior_factor=factor, noise_variance=float(variance))
        self._prepare(design @ factor, design @ prior_mean, variance)

    def coefficients(self, z: ArrayLike) -> Floats:
        """β (..., d) of latents z (..., d)."""
        beta: Floats = self.prior_mean + np.asarray(z, dtype=np.float64) @ self.prior_factor.T
        return beta

    @classmethod
    def example(cls, seed: int = 0) -> tuple[LinearRegression, Floats]:
        """A small model, an intercept and two covariates of 12 cases, and 5 rows of responses drawn from it."""
        rng = np.random.default_rng(seed)
        design = np.column_stack([np.ones(12), rng.standard_normal((12, 2))])
        model = cls(design, 0.8, [0.5, 0.0, -1.0], [[1.0, 0.3, 0.0], [0.3, 0.5, 0.0], [0.0, 0.0, 2.0]])
        return model, model.sample(5, seed + 1)


def checked_prior(design: ArrayLike, mean: ArrayLike | None, covariance: ArrayLike | None) -> tuple[Floats, ...]:
    """Design (n, d), prior mean (d,) and the Cholesky factor of the prior covariance, or an InputError."""
    design = as_floats("design", design, n_axes=(2,))
    d = design.shape[1]
    mean = as_floats("prior_mean", np.zeros(d) if mean is None else mean, n_axes=(1,))
    if mean.shape != (d,):
        raise InputError(f"prior_mean has shape {mean.shape}; a design of shape {design.shape} needs ({d},)")
    return design, mean, factor_of("prior_covariance", np.eye(d) if covariance is None else covariance, d)
