"""Models whose data are normal as a whole, or Student's t: mean and covariance of x written out, SciPy's dense density.

    x = mean + loadings z + noise,  z normal   →   x ~ N(mean, loadings Cov(z) loadingsᵀ + Cov(noise))

SciPy factorises the covariance of x by its eigenvalues, O(p³); the models never form it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

Floats = NDArray[np.float64]


def conjugate_normal(model: Any, X: Floats) -> Any:
    """One unknown mean: the same covariance between all p numbers."""
    p = model.n_observed
    covariance = model.noise_variance * np.eye(p) + model.prior_variance * np.ones((p, p))
    return stats.multivariate_normal(np.full(p, model.prior_mean), covariance).logpdf(X)


def dense_covariance(model: Any) -> Floats:
    """W Wᵀ + Ψ of PPCA or factor analysis, (p, p)."""
    noise = model.noise_variances if hasattr(model, "noise_variances") else model.noise_variance
    covariance: Floats = model.weights @ model.weights.T + np.diag(np.broadcast_to(noise, model.n_observed))
    return covariance


def linear_gaussian(model: Any, X: Floats) -> Any:
    """PPCA and factor analysis."""
    return stats.multivariate_normal(model.mean, dense_covariance(model)).logpdf(X)


def ppca_mixture(model: Any, X: Floats) -> Any:
    """Component by component, weighted."""
    logs = [linear_gaussian(component, X) for component in model.components]
    return special.logsumexp(np.log(model.mixing)[:, None] + np.reshape(logs, (-1, len(X))), axis=0)


def linear_regression(model: Any, X: Floats) -> Any:
    """Known noise: the responses are normal."""
    loadings = model.design @ model.prior_factor
    covariance = model.noise_variance * np.eye(len(loadings)) + loadings @ loadings.T
    return stats.multivariate_normal(model.design @ model.prior_mean, covariance).logpdf(X)


def linear_regression_nig(model: Any, X: Floats) -> Any:
    """Noise with a gamma prior on its precision: the responses have a t distribution with 2a degrees of freedom."""
    loadings = model.design @ model.prior_factor
    scale = model.rate / model.shape * (np.eye(len(loadings)) + loadings @ loadings.T)
    return stats.multivariate_t(model.design @ model.prior_mean, scale, df=2 * model.shape).logpdf(X)


def path_moments(model: Any) -> tuple[Floats, Floats, Floats, Floats]:
    """Of a state space model: mean and covariance of the path z, the matrix that looks at it, the covariance of x.

    Cov(z_s, z_t) = Cov(z_s) (A^{t−s})ᵀ for s ≤ t: a path's moments, step by step.
    """
    A, C, T = model.transition, model.observation, model.n_steps
    k = C.shape[1]
    mean, own = [model.initial_mean], [model.initial_covariance]
    for _ in range(T - 1):
        mean.append(A @ mean[-1])
        own.append(A @ own[-1] @ A.T + model.transition_covariance)
    Z = np.zeros((T * k, T * k))
    for s in range(T):
        for t in range(s, T):
            block = own[s] @ np.linalg.matrix_power(A, t - s).T
            Z[s * k : (s + 1) * k, t * k : (t + 1) * k] = block
            Z[t * k : (t + 1) * k, s * k : (s + 1) * k] = block.T
    look = np.kron(np.eye(T), C)
    X = look @ Z @ look.T + np.kron(np.eye(T), model.observation_covariance)
    return np.concatenate(mean), Z, look, X


def state_space(model: Any, X: Floats) -> Any:
    """All data of all steps at once."""
    mean, _, look, covariance = path_moments(model)
    return stats.multivariate_normal(look @ mean, covariance).logpdf(X)
