r"""A mixture of probabilistic principal component analysers: clusters, each with directions of its own.

    c ~ π,   z ~ N(0, I_d),   x given c, z ~ N(μ_c + W_c z, σ_c² I_p);   the latents are (c, z_1 … z_d)
    log p(x) = log Σ_c π_c N(x; μ_c, W_c W_cᵀ + σ_c² I)

A component is a model of `ppca`, whose algebra (Woodbury's identity, and the reduction of x to d numbers once a block)
serves here too. The posterior is the responsibilities times each component's Gaussian: a `ConditionalGaussian`.

`fit` is the algorithm of M. E. Tipping and C. M. Bishop (1999), Neural Computation 11, 443-482,
doi:10.1162/089976699300016728, section 3.3 and appendix C: responsibilities; then of each component the weighted mean
and covariance, whose leading eigenvectors and eigenvalues give W_c and σ_c² in closed form. The likelihood never falls.

A sample costs d(d + 1)/2 + 2 d multiply-adds, their factors looked up by its component, and a block K p d more. In
float32 the squares are added in float32. A c that is no component has density zero.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from logpx import _jit, tiles
from logpx.checks import whole
from logpx.errors import InputError, NotAvailableError
from logpx.models import linear_gaussian
from logpx.models.base import DEFAULT_WIDEN, check_fit_data, check_x, positive, rows_or_one
from logpx.models.linear_gaussian import LANES, project, rotation
from logpx.models.ppca import PPCA
from logpx.proposals import ConditionalGaussian
from logpx.proposals.base import Floats, Integers, as_floats, packed, set_fields
from logpx.proposals.categorical import distributions
from logpx.reduce import logsumexp


@_jit.leaf
def _begin(image, choice, residual):
    for i in range(residual.size):
        residual[i] = image[choice[i]]


@_jit.leaf
def _add(factors, choice, latent, residual):
    for i in range(residual.size):
        residual[i] += factors[choice[i]] * latent[i]


@_jit.leaf
def _add_square(values, total):
    for i in range(total.size):
        total[i] += values[i] * values[i]


@_jit.inner
def _choose(component, n_components, choice, constants, out):
    """choice = the component, 0 where it is none; out = its constant, −inf where it is none, nan where it is nan."""
    for i in range(out.size):
        state = component[i]
        inside = state >= 0.0 and state < n_components and np.floor(state) == state
        choice[i] = int(state) if inside else 0
        out[i] = constants[choice[i]] if inside else (-np.inf if state == state else np.nan)


@_jit.kernel("log_joint", dtypes=("float64", "float32"))
def log_joint(theta, dims, x, z, out):
    """theta: log π (K,), then of each component what `linear_gaussian.pack_theta` packs; dims: K, p, d."""
    n_components, p, d = dims[0], dims[1], dims[2]
    r, size = min(p, d), (theta.size - dims[0]) // dims[0]
    constants, image = np.empty(n_components), np.zeros(r, z.dtype)
    images, factors = np.empty((r, n_components), z.dtype), np.empty((r, d, n_components), z.dtype)
    at, width = 2 + 2 * p + r * ((p + LANES - 1) // LANES * LANES), tiles.whole_tiles(d)
    for c in range(n_components):
        part = theta[n_components + c * size : n_components + (c + 1) * size]
        rest = project(part, x, p, r, image)
        constants[c] = np.float64(theta[c]) + np.float64(part[0]) + np.float64(part[1]) - 0.5 * rest
        for j in range(r):
            images[j, c] = image[j]
            for k in range(j, d):
                factors[j, k, c] = part[at + j * width + k]
    choice, residual = np.empty(out.size, np.int64), np.empty(out.size, z.dtype)
    total, half = np.zeros(out.size, z.dtype), z.dtype.type(0.5)
    _choose(z[0], n_components, choice, constants, out)
    for j in range(d):
        _add_square(z[1 + j], total)
    for j in range(r):
        _begin(images[j], choice, residual)
        for k in range(j, d):
            _add(factors[j, k], choice, z[1 + k], residual)
        _add_square(residual, total)
    for i in range(out.size):
        out[i] -= np.float64(half * total[i])


def log_joint_scalar(theta, dims, x, z):
    """log p(x, c, z) of one sample, z (1 + d,): the residual of every observed number."""
    n_components, p, d = dims[0], dims[1], dims[2]
    if not 0 <= z[0] < n_components or int(z[0]) != z[0]:
        return -np.inf
    size, c = (len(theta) - n_components) // n_components, int(z[0])
    part = theta[n_components + c * size : n_components + (c + 1) * size]
    return theta[c] + linear_gaussian.log_joint_scalar(part, (p, d), x, z[1:])


@dataclass(frozen=True, eq=False, init=False)
class PPCAMixture:
    """A mixture of K probabilistic principal component analysers of d directions each.

    The latents are the component, an integer-valued float 0 … K − 1, and d coordinates within it.

    Parameters
    ----------
    mixing : array (K,)
        Probabilities of the components: above zero, with sum 1 (within 1e-9; then scaled to 1).
    weights : array (K, p, d)
        Loadings W_c.
    means : array (K, p)
    noise_variances : array (K,)
        σ_c², above zero, in the squared unit of x.

    Raises
    ------
    InputError
        Shapes that do not fit, entries that are not finite, probabilities or variances that are not above zero.

    Examples
    --------
    >>> model = PPCAMixture([0.5, 0.5], [[[1.0]], [[2.0]]], [[0.0], [0.0]], [1.0, 1.0])
    >>> round(float(np.exp(model.log_marginal([0.0]))), 6)
    0.230254
    """

    mixing: Floats
    components: tuple[PPCA, ...]

    name: ClassVar[str] = "ppca_mixture"
    summary: ClassVar[str] = "mixture of probabilistic PCA: clusters, each with directions of its own"
    exact_route: ClassVar[str] = "sum over the components, each by Woodbury's identity"
    second_route: ClassVar[str] = "SciPy's dense Gaussian densities, component by component"
    log_joint: ClassVar[Any] = staticmethod(log_joint)
    log_joint_scalar: ClassVar[Callable[..., float]] = staticmethod(log_joint_scalar)
    theta: Floats = field(init=False, repr=False)
    dims: Integers = field(init=False, repr=False)
    n_latents: int = field(init=False, repr=False)
    n_observed: int = field(init=False, repr=False)
    prior: ConditionalGaussian = field(init=False, repr=False)

    def __init__(self, mixing: ArrayLike, weights: ArrayLike, means: ArrayLike, noise_variances: ArrayLike) -> None:
        mixing = distributions("mixing", positive("mixing", mixing, (1,)), n_axes=(1,))
        weights, means = as_floats("weights", weights, n_axes=(3,)), as_floats("means", means, n_axes=(2,))
        variances = positive("noise_variances", noise_variances, (1,))
        k, p, d = weights.shape
        if mixing.shape != (k,) or means.shape != (k, p) or variances.shape != (k,):
            raise InputError(
                f"mixing {mixing.shape}, weights {weights.shape}, means {means.shape}, noise_variances "
                f"{variances.shape} do not fit; they must be (K,), (K, p, d), (K, p) and (K,)"
            )
        parts = tuple(PPCA(w, m, v) for w, m, v in zip(weights, means, variances, strict=True))
        theta = np.concatenate([np.log(mixing), *(part.theta for part in parts)])
        prior = ConditionalGaussian(mixing, np.zeros((k, d)), np.broadcast_to(np.eye(d), (k, d, d)))
        set_fields(self, mixing=mixing, components=parts, theta=packed(theta), prior=prior)
        set_fields(self, n_latents=1 + d, n_observed=p, dims=np.array([k, p, d], dtype=np.int64))

    def _log_joints(self, rows: Floats) -> Floats:
        """log π_c p(x given c) of every row and component, (n, K)."""
        values = np.stack([part.log_marginal(rows) for part in self.components], axis=1)
        return np.asarray(np.log(self.mixing) + values)

    def _shares(self, rows: Floats, widen: float) -> Floats:
        """The responsibilities' power 1/widen, scaled to sum 1, (n, K)."""
        values = self._log_joints(rows) / widen
        return np.asarray(np.exp(values - np.asarray(logsumexp(values, axis=1))[:, None]))

    def log_marginal(self, x: ArrayLike) -> Any:
        """Exact log p(x) in nats: a float for x (p,), an array (n,) for x (n, p)."""
        rows, batched = check_x(x, self.n_observed)
        return rows_or_one(np.asarray(logsumexp(self._log_joints(rows), axis=1)), batched)

    def responsibilities(self, x: ArrayLike) -> Any:
        """p(c given x) of every component: (K,) for x (p,), (n, K) for x (n, p)."""
        rows, batched = check_x(x, self.n_observed)
        return rows_or_one(self._shares(rows, 1.0), batched)

    def posterior(self, x: ArrayLike) -> ConditionalGaussian:
        """The exact posterior of component and coordinates as a proposal: every log weight is then log p(x).

        A component whose share underflows (below 1e-308) is never drawn; no digit of p(x) is missing.
        """
        rows, batched = check_x(x, self.n_observed)
        missing = np.zeros(len(rows)) if batched else 0.0
        return self._proposal(rows, batched, self._shares(rows, 1.0), 1.0, missing)

    def default_proposal(self, x: ArrayLike, widen: float | None = None) -> ConditionalGaussian:
        """The posterior, flatter and wider: 0.95 of the responsibilities' power 1/widen, scaled to sum 1, and 0.05
        spread evenly; within each component the posterior `widen` times as wide.

        `widen` is 1.3 by default. Below 1/√2 the weights have infinite variance.
        """
        rows, batched = check_x(x, self.n_observed)
        factor = DEFAULT_WIDEN if widen is None else float(positive("widen", widen, (0,)))
        shares = 0.95 * self._shares(rows, factor) + 0.05 / len(self.components)
        return self._proposal(rows, batched, shares, factor, None)

    def _proposal(
        self, rows: Floats, batched: bool, shares: Floats, widen: float, missing: float | Floats | None
    ) -> ConditionalGaussian:
        within = [part.posterior(rows) for part in self.components]
        means = np.stack([q.mean for q in within], axis=1)
        factors = widen * np.stack([q.cholesky for q in within])
        return ConditionalGaussian(
            rows_or_one(shares, batched), rows_or_one(means, batched), factors, missing_mass=missing
        )

    def sample(self, n: int, seed: int = 0, *, return_latents: bool = False) -> Any:
        """n rows drawn from the model: X (n, p), or (X, Z (n, 1 + d)) with return_latents."""
        rng = np.random.default_rng(seed)
        chosen = rng.choice(len(self.components), size=whole("n", n), p=self.mixing)
        z = rng.standard_normal((len(chosen), self.n_latents - 1))
        X = rng.standard_normal((len(chosen), self.n_observed))
        for k, part in enumerate(self.components):
            here = chosen == k
            X[here] = part.mean + z[here] @ part.weights.T + np.sqrt(part.noise_variance) * X[here]
        return (X, np.column_stack([chosen.astype(np.float64), z])) if return_latents else X

    @classmethod
    def fit(
        cls,
        X: ArrayLike,
        n_latents: int,
        n_components: int,
        *,
        seed: int = 0,
        noise_floor: float = 1e-6,
        tol: float = 1e-6,
        max_iter: int = 2000,
    ) -> PPCAMixture:
        """Maximum likelihood (a local one) by expectation-maximisation from a k-means start.

        Parameters
        ----------
        X : array (n, p)
        n_latents : int
            d, from 1 to p − 1.
        n_components : int
            K, from 1 to n.
        seed : int
            Of the start, and of the rotation of the loadings.
        noise_floor : float
            The least σ_c², in the squared unit of X: without one a component can shrink onto d + 1 rows.
        tol : float
            Iterations end once the log likelihood rises by less than this, in nats for each row.
        max_iter : int

        Raises
        ------
        InputError
            Numbers of latents or components out of range, a component that loses all its rows.
        NotAvailableError
            No convergence within `max_iter` iterations.
        """
        from sklearn.cluster import KMeans

        rows, k = check_fit_data(X, n_components, len(np.atleast_1d(X)), "n_components")
        _, d = check_fit_data(X, n_latents, rows.shape[1] - 1, "n_latents")
        floor = float(positive("noise_floor", noise_floor, (0,)))
        labels = KMeans(k, n_init=4, random_state=seed).fit(rows).labels_
        shares, before = (labels[:, None] == np.arange(k)).astype(np.float64), -np.inf
        for _ in range(whole("max_iter", max_iter)):
            model = cls(*_maximised(rows, shares, d, floor, rotation(d, seed)))
            joints = model._log_joints(rows)
            logs = np.asarray(logsumexp(joints, axis=1))
            if logs.mean() - before < tol:
                return model
            shares, before = np.exp(joints - logs[:, None]), logs.mean()
        raise NotAvailableError(f"the fit did not converge in {max_iter} iterations; allow more, or use a larger tol")

    @classmethod
    def example(
        cls, seed: int = 0, *, n_latents: int = 2, n_components: int = 3, n_observed: int = 6
    ) -> tuple[PPCAMixture, Floats]:
        """A model of any size, clusters two to three standard deviations apart, and 5 rows drawn from it."""
        k, p, d = whole("n_components", n_components), whole("n_observed", n_observed), whole("n_latents", n_latents)
        rng = np.random.default_rng(seed)
        loadings, means = rng.standard_normal((k, p, d)) / np.sqrt(d), rng.standard_normal((k, p))
        mixing = np.arange(k, 0.0, -1.0)
        model = cls(mixing / mixing.sum(), loadings, means, rng.uniform(0.2, 0.6, k))
        return model, model.sample(5, seed + 1)


def _maximised(
    rows: Floats, shares: Floats, d: int, floor: float, turn: Floats
) -> tuple[Floats, Floats, Floats, Floats]:
    """The M step: mixing (K,), loadings (K, p, d), means (K, p), noise variances (K,) from responsibilities (n, K)."""
    sizes = shares.sum(axis=0)
    if np.any(sizes < 1e-6):
        raise InputError(
            f"component {int(np.argmin(sizes))} has lost all its rows; use fewer components, or another seed"
        )
    means = (shares.T @ rows) / sizes[:, None]
    loadings, noise = [], []
    for share, size, mean in zip(shares.T, sizes, means, strict=True):
        centred = rows - mean
        values, vectors = np.linalg.eigh((share[:, None] * centred).T @ centred / size)
        variance = max(float(values[:-d].mean()), floor)
        loadings.append(vectors[:, -d:] * np.sqrt(np.maximum(values[-d:] - variance, 0.0)) @ turn)
        noise.append(variance)
    return sizes / sizes.sum(), np.stack(loadings), means, np.array(noise)
