r"""A Gaussian mixture: one discrete latent, the component.

    z ∈ {0, …, K − 1},  p(z) = π_z,   x given z ~ N(μ_z, diag v_z)
    log p(x) = log Σ_z π_z N(x; μ_z, diag v_z)

The set of latents is finite, so |Z| · uniform Monte Carlo (`Uniform.finite`) is unbiased with nothing cut off. The
kernel works out the K values of log p(x, z) once for a block of B samples and looks each sample's up, where K ≤ B;
with more components than samples it works out each sample's own. Either way it is log p(x, z) at the z that was
drawn. A z that is not one of the K states has density zero. Source: C. M. Bishop (2006), Pattern Recognition and
Machine Learning, section 9.2. A sample costs p K / B multiply-adds and one look-up. In float32 only x, parameters and
z are rounded; z holds up to 2^24 states exactly.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from logpx import _jit
from logpx.checks import whole
from logpx.errors import InputError
from logpx.models.base import check_fit_data, check_x, positive
from logpx.models.finite_mixture import FiniteMixture
from logpx.proposals import Categorical
from logpx.proposals.base import Floats, as_floats, packed, set_fields


@_jit.leaf
def _component(theta, n_states, p, x, k):
    """log p(x, z = k)."""
    value = theta[n_states + k] if theta[k] > 0.0 else -np.inf
    means, roots = 2 * n_states + k * p, 2 * n_states + (n_states + k) * p
    for j in range(p):
        e = (np.float64(x[j]) - np.float64(theta[means + j])) * np.float64(theta[roots + j])
        value -= 0.5 * e * e
    return value


@_jit.kernel("log_joint", dtypes=("float64", "float32"))
def log_joint(theta, dims, x, z, out):
    """theta: π (K,), log π + the density's constant (K,; 0 where π is 0), means (K, p), 1/√v (K, p); dims: K, p."""
    n_states, p = dims[0], dims[1]
    latent = z[0]
    tabulated = n_states <= latent.size
    table = np.empty(n_states if tabulated else 0)
    for k in range(table.size):
        table[k] = _component(theta, n_states, p, x, k)
    for i in range(latent.size):
        state = latent[i]
        if not (state >= 0.0 and state < n_states):
            out[i] = state if state != state else -np.inf
            continue
        k = int(state)
        if k != state:
            out[i] = -np.inf
        else:
            out[i] = table[k] if tabulated else _component(theta, n_states, p, x, k)


def log_joint_scalar(theta, dims, x, z):
    """log p(x, z) of one sample, z (1,): the same quantity, one number at a time."""
    n_states, p = dims[0], dims[1]
    if not 0 <= z[0] < n_states or int(z[0]) != z[0]:
        return -np.inf
    k = int(z[0])
    value = theta[n_states + k] if theta[k] > 0 else -np.inf
    for j in range(p):
        e = (x[j] - theta[2 * n_states + k * p + j]) * theta[2 * n_states + (n_states + k) * p + j]
        value -= 0.5 * e * e
    return value


@dataclass(frozen=True, eq=False, init=False)
class GaussianMixture(FiniteMixture):
    """A mixture of K Gaussians with diagonal covariances; z is the component's index, an integer-valued float.

    Parameters
    ----------
    weights : array (K,)
        Probabilities of the components: at least zero, with sum 1 (within 1e-9; then scaled to 1).
    means : array (K, p)
    variances : array (K, p)
        Above zero, in the squared unit of x.

    Raises
    ------
    InputError
        Shapes that do not fit, entries that are not finite, weights that are no distribution, a variance that is not
        above zero.

    Examples
    --------
    >>> model = GaussianMixture([0.5, 0.5], [[-1.0], [1.0]], [[1.0], [1.0]])
    >>> round(model.log_marginal([0.0]), 6)
    -1.418939
    """

    means: Floats
    variances: Floats

    name: ClassVar[str] = "gaussian_mixture"
    summary: ClassVar[str] = "mixture of Gaussians: one discrete latent, a finite set that can be summed over"
    second_route: ClassVar[str] = "SciPy's Gaussian densities, state by state"
    log_joint: ClassVar[Any] = staticmethod(log_joint)
    log_joint_scalar: ClassVar[Callable[..., float]] = staticmethod(log_joint_scalar)

    def __init__(self, weights: ArrayLike, means: ArrayLike, variances: ArrayLike) -> None:
        weights, means = as_floats("weights", weights, n_axes=(1,)), as_floats("means", means, n_axes=(2,))
        variances = positive("variances", variances, (2,))
        n_states, p = means.shape
        if weights.shape != (n_states,) or variances.shape != means.shape:
            raise InputError(
                f"weights {weights.shape}, means {means.shape}, variances {variances.shape} do not fit; "
                f"they must be (K,), (K, p) and (K, p)"
            )
        prior = Categorical(weights)
        weights = prior.probabilities
        logs = np.log(np.where(weights > 0, weights, 1.0)) - 0.5 * np.log(2 * np.pi * variances).sum(axis=1)
        constants = np.where(weights > 0, logs, 0.0)
        theta = packed(np.concatenate([weights, constants, means.ravel(), (variances**-0.5).ravel()]))
        set_fields(self, weights=weights, means=means, variances=variances, prior=prior, theta=theta)
        set_fields(self, n_states=n_states, n_observed=p, dims=np.array([n_states, p], dtype=np.int64))

    def _check(self, x: ArrayLike) -> tuple[Floats, bool]:
        return check_x(x, self.n_observed)

    def _log_joints(self, rows: Floats) -> Floats:
        squares = np.stack([((rows - m) ** 2 / v).sum(axis=1) for m, v in zip(self.means, self.variances, strict=True)])
        constants = np.where(self.weights > 0, self.theta[self.n_states : 2 * self.n_states], -np.inf)
        values: Floats = constants - 0.5 * squares.T
        return values

    def sample(self, n: int, seed: int = 0, *, return_latents: bool = False) -> Any:
        """n rows drawn from the model: X (n, p), or (X, Z (n, 1)) with return_latents."""
        rng = np.random.default_rng(seed)
        states = rng.choice(self.n_states, size=whole("n", n), p=self.weights)
        X = self.means[states] + np.sqrt(self.variances[states]) * rng.standard_normal((len(states), self.n_observed))
        return (X, states[:, None].astype(np.float64)) if return_latents else X

    @classmethod
    def fit(
        cls, X: ArrayLike, n_components: int, *, seed: int = 0, variance_floor: float = 1e-6, max_iter: int = 1000
    ) -> GaussianMixture:
        """Maximum likelihood (a local one) by scikit-learn's GaussianMixture with diagonal covariances.

        Parameters
        ----------
        X : array (n, p)
        n_components : int
            From 1 to n.
        seed : int
            Of the k-means start.
        variance_floor : float
            Added to every variance, in the squared unit of X; constant columns need it.
        max_iter : int
            The most iterations; scikit-learn warns when they do not suffice.
        """
        from sklearn.mixture import GaussianMixture as Fitter

        rows, k = check_fit_data(X, n_components, len(np.atleast_1d(X)), "n_components")
        floor = float(positive("variance_floor", variance_floor, (0,)))
        fitter = Fitter(k, covariance_type="diag", reg_covar=floor, random_state=seed, max_iter=max_iter)
        fitted = fitter.fit(rows)
        return cls(fitted.weights_, fitted.means_, fitted.covariances_)

    @classmethod
    def example(cls, seed: int = 0) -> tuple[GaussianMixture, Floats]:
        """A small model, 4 components of 3 observed numbers, and 5 rows drawn from it."""
        rng = np.random.default_rng(seed)
        weights = np.array([0.4, 0.3, 0.2, 0.1])
        model = cls(weights, 1.5 * rng.standard_normal((4, 3)), rng.uniform(0.5, 2.0, (4, 3)))
        return model, model.sample(5, seed + 1)
