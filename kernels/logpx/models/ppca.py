r"""Probabilistic principal component analysis.

    z ~ N(0, I_d),   x given z ~ N(μ + W z, σ² I_p);   p(x) = N(μ, W Wᵀ + σ² I).

Its maximum likelihood is known: with λ_1 ≥ λ_2 ≥ … and U the eigenvalues and eigenvectors of the covariance (divided
by n), σ² is the mean of the p − d smallest eigenvalues and W = U_d (Λ_d − σ² I)^½ R for any rotation R. With R = I
the columns of W are orthogonal and the posterior precision is diagonal, so that a mean-field proposal is the exact
posterior and tests nothing: `fit` therefore applies a fixed random rotation, which leaves p(x) as it is. Source: M.
E. Tipping and C. M. Bishop (1999), J. R. Statist. Soc. B 61, 611-622. Algebra, kernel and cost: `linear_gaussian`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from logpx.errors import InputError
from logpx.models.base import check_fit_data, positive
from logpx.models.linear_gaussian import LinearGaussian, rotation
from logpx.proposals.base import Floats, set_fields


@dataclass(frozen=True, eq=False, init=False)
class PPCA(LinearGaussian):
    """Probabilistic PCA with loadings, mean and one noise variance.

    Parameters
    ----------
    weights : array (p, d)
        Loadings W.
    mean : array (p,)
    noise_variance : float
        σ², above zero, in the squared unit of x.

    Raises
    ------
    InputError
        Shapes that do not fit, entries that are not finite, a noise variance that is not above zero.

    Examples
    --------
    >>> model = PPCA([[1.0], [0.5]], [0.0, 0.0], 0.25)
    >>> round(model.log_marginal([0.3, -0.1]), 6)
    -1.464129
    """

    noise_variance: float

    name: ClassVar[str] = "ppca"
    summary: ClassVar[str] = "probabilistic PCA: Gaussian latents, linear mean, one noise variance"

    def __init__(self, weights: ArrayLike, mean: ArrayLike, noise_variance: float) -> None:
        variance = positive("noise_variance", noise_variance, (0,))
        set_fields(self, noise_variance=float(variance))
        self._prepare(weights, mean, variance)

    @classmethod
    def fit(cls, X: ArrayLike, n_latents: int, *, rotation_seed: int | None = 0) -> PPCA:
        """Maximum likelihood by scikit-learn's PCA; the loadings times a fixed random rotation.

        Parameters
        ----------
        X : array (n, p)
        n_latents : int
            From 1 to min(p, n) − 1.
        rotation_seed : int or None
            Seed of the rotation; None leaves it out.

        Raises
        ------
        InputError
            Too many latents, or data that leave no noise: the discarded eigenvalues are all zero.
        """
        from sklearn.decomposition import PCA

        shape = np.shape(X)
        rows, d = check_fit_data(X, n_latents, min(shape, default=2) - 1, "n_latents")
        if not np.any(rows.var(axis=0)):
            raise InputError("every column of X is constant; there is nothing to fit")
        pca = PCA(svd_solver="full").fit(rows)
        eigenvalues = pca.explained_variance_ * (len(rows) - 1) / len(rows)
        p = rows.shape[1]
        noise_variance = float(eigenvalues[d:].sum() / (p - d))
        if noise_variance <= 1e-12 * eigenvalues[0]:
            rank = int((eigenvalues > 1e-12 * eigenvalues[0]).sum())
            raise InputError(
                f"n_latents={d} leaves no noise: the data vary in {rank} directions; "
                + (f"use n_latents ≤ {rank - 1}" if rank > 1 else "PPCA needs at least two")
            )
        scales = np.sqrt(np.maximum(eigenvalues[:d] - noise_variance, 0.0))
        loadings: Floats = pca.components_[:d].T * scales
        return cls(loadings @ rotation(d, rotation_seed), rows.mean(axis=0), noise_variance)

    @classmethod
    def example(cls, seed: int = 0) -> tuple[PPCA, Floats]:
        """A small model, 8 observed and 2 latents, and 5 rows drawn from it."""
        rng = np.random.default_rng(seed)
        model = cls(rng.standard_normal((8, 2)), rng.standard_normal(8), 0.5)
        return model, model.sample(5, seed + 1)
