r"""Factor analysis.

    z ~ N(0, I_d),   x given z ~ N(μ + W z, Ψ),   Ψ = diag(ψ_1 … ψ_p);   p(x) = N(μ, W Wᵀ + Ψ).

PPCA with a noise variance for each observed number. Its maximum likelihood has no closed form. `fit` alternates two
steps that have one: given Ψ, the best W from the eigenvectors of Ψ^{−1/2} S Ψ^{−1/2} (S the covariance divided by n),
and given W, Ψ = diag(S − W Wᵀ), from below kept at a floor. At its end Wᵀ Ψ^{−1} W is diagonal, and so, as for PPCA,
`fit` applies a fixed random rotation. Source: D. Barber (2012), Bayesian Reasoning and Machine Learning, section
21.2; K. G. Jöreskog (1967), Psychometrika 32, 443-482. Algebra, kernel and cost: `linear_gaussian`; an iteration of
the fit costs p³, whatever n.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from logpx.checks import whole
from logpx.errors import InputError, NotAvailableError
from logpx.models.base import check_fit_data, positive
from logpx.models.linear_gaussian import LinearGaussian, rotation
from logpx.proposals.base import Floats, set_fields


@dataclass(frozen=True, eq=False, init=False)
class FactorAnalysis(LinearGaussian):
    """Factor analysis with loadings, mean and noise variances.

    Parameters
    ----------
    weights : array (p, d)
        Loadings W.
    mean : array (p,)
    noise_variances : array (p,)
        ψ, above zero, in the squared unit of x.

    Raises
    ------
    InputError
        Shapes that do not fit, entries that are not finite, a noise variance that is not above zero.

    Examples
    --------
    >>> model = FactorAnalysis([[1.0], [0.5]], [0.0, 0.0], [0.25, 0.25])
    >>> round(model.log_marginal([0.3, -0.1]), 6)
    -1.464129
    """

    noise_variances: Floats

    name: ClassVar[str] = "factor_analysis"
    summary: ClassVar[str] = "factor analysis: Gaussian latents, linear mean, a noise variance for each observed number"

    def __init__(self, weights: ArrayLike, mean: ArrayLike, noise_variances: ArrayLike) -> None:
        variances = positive("noise_variances", noise_variances, (1,))
        set_fields(self, noise_variances=variances)
        self._prepare(weights, mean, variances)

    @classmethod
    def fit(
        cls,
        X: ArrayLike,
        n_latents: int,
        *,
        rotation_seed: int | None = 0,
        noise_floor: float | None = None,
        tol: float = 1e-3,
        max_iter: int = 20000,
    ) -> FactorAnalysis:
        """Maximum likelihood by alternating between W and Ψ; the loadings times a fixed random rotation.

        Parameters
        ----------
        X : array (n, p)
        n_latents : int
            From 1 to min(n, p).
        rotation_seed : int or None
            Seed of the rotation; None leaves it out.
        noise_floor : float, optional
            Least noise variance, in the squared unit of X; kept throughout the fit. A column that is constant, or that
            the latents explain exactly, has none otherwise and its density is unbounded. None is one thousandth
            of the mean variance of the columns. (model.noise_variances == noise_floor).sum() columns stand on it.
        tol : float
            The fit stops when an iteration adds less than this to the log likelihood of all rows together, in nats.
        max_iter : int
            The most iterations.

        Raises
        ------
        InputError
            Too many latents, a floor that is not above zero, data without any variance.
        NotAvailableError
            `max_iter` iterations did not suffice.
        """
        rows, d = check_fit_data(X, n_latents, min(np.shape(X), default=1), "n_latents")
        mean = rows.mean(axis=0)
        covariance = (rows - mean).T @ (rows - mean) / len(rows)
        variance = float(np.diagonal(covariance).mean())
        if variance == 0:
            raise InputError("every column of X is constant; there is nothing to fit")
        floor = 1e-3 * variance if noise_floor is None else float(positive("noise_floor", noise_floor, (0,)))
        weights, noise_variances = _maximise(covariance, d, floor, tol / len(rows), whole("max_iter", max_iter))
        return cls(weights @ rotation(d, rotation_seed), mean, noise_variances)

    @classmethod
    def example(cls, seed: int = 0) -> tuple[FactorAnalysis, Floats]:
        """A small model, 7 observed and 3 latents, and 5 rows drawn from it."""
        rng = np.random.default_rng(seed)
        model = cls(rng.standard_normal((7, 3)), rng.standard_normal(7), rng.uniform(0.3, 1.2, 7))
        return model, model.sample(5, seed + 1)


def _maximise(covariance: Floats, d: int, floor: float, tol: float, max_iter: int) -> tuple[Floats, Floats]:
    """Loadings (p, d) and noise variances (p,), until the mean log likelihood of a row grows by less than `tol`."""
    variances = np.diagonal(covariance)
    noise = np.maximum(variances, floor)
    before = -np.inf
    for _ in range(max_iter):
        root = np.sqrt(noise)
        eigenvalues, vectors = np.linalg.eigh(covariance / np.outer(root, root))
        top = np.maximum(eigenvalues[-d:], 1.0)
        weights = root[:, None] * vectors[:, -d:] * np.sqrt(top - 1)
        misfit = eigenvalues.sum() - (top - 1).sum()
        now = -0.5 * float(np.log(2 * np.pi * noise).sum() + np.log(top).sum() + misfit)
        if now - before < tol:
            return weights, noise
        before, noise = now, np.maximum(variances - (weights**2).sum(axis=1), floor)
    raise NotAvailableError(
        f"factor analysis did not converge in {max_iter} iterations; raise max_iter or tol, or use fewer latents"
    )
