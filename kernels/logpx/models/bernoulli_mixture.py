r"""A Bernoulli mixture, also known as a latent class model: one discrete latent, binary observations.

    z ∈ {0, …, K − 1},  p(z) = π_z,   x_j given z ~ Bernoulli(θ_zj), j = 1 … p, independent
    log p(x) = log Σ_z π_z Π_j θ_zj^{x_j} (1 − θ_zj)^{1 − x_j}

Within a class the p answers are independent; what correlates them is the class. As in the Gaussian mixture, the kernel
works out the K values of log p(x, z) once for a block of B samples, c_z + Σ_j x_j logit θ_zj with c_z = log π_z + Σ_j
log(1 − θ_zj), and looks each sample's up. A z that is no state, or an x that is not binary, has density zero. Source:
P. F. Lazarsfeld and N. W. Henry (1968), Latent Structure Analysis; C. M. Bishop (2006), Pattern Recognition and Machine
Learning, section 9.3.3, for the algorithm of `fit`. A sample costs p K / B multiply-adds and one look-up. In float32
only the parameters are rounded.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import scipy
from numpy.typing import ArrayLike

from logpx import _jit
from logpx.checks import whole
from logpx.errors import InputError
from logpx.models.base import check_fit_data, check_states, positive, strictly_between
from logpx.models.finite_mixture import FiniteMixture
from logpx.proposals import Categorical
from logpx.proposals.base import Floats, as_floats, packed, set_fields


@_jit.kernel("log_joint", dtypes=("float64", "float32"))
def log_joint(theta, dims, x, z, out):
    """theta: π (K,), c (K,; 0 where π is 0), logit θ (K, p); dims: K, p."""
    n_states, p = dims[0], dims[1]
    table = np.empty(n_states + 1)
    table[n_states] = -np.inf
    for k in range(n_states):
        value = np.float64(theta[n_states + k]) if theta[k] > 0.0 else -np.inf
        logits = 2 * n_states + k * p
        for j in range(p):
            value += np.float64(x[j]) * np.float64(theta[logits + j])
        for j in range(p):
            value = value if x[j] == 0.0 or x[j] == 1.0 else -np.inf
        table[k] = value
    latent = z[0]
    for i in range(latent.size):
        state = latent[i]
        inside = state >= 0.0 and state < n_states and np.floor(state) == state
        value = table[int(state) if inside else n_states]
        out[i] = value if state == state else state


def log_joint_scalar(theta, dims, x, z):
    """log p(x, z) of one sample, z (1,): the same quantity, one number at a time."""
    n_states, p = dims[0], dims[1]
    if not 0 <= z[0] < n_states or int(z[0]) != z[0]:
        return -np.inf
    k = int(z[0])
    value = theta[n_states + k] if theta[k] > 0 else -np.inf
    for j in range(p):
        if x[j] not in (0, 1):
            return -np.inf
        value += x[j] * theta[2 * n_states + k * p + j]
    return value


@dataclass(frozen=True, eq=False, init=False)
class BernoulliMixture(FiniteMixture):
    """A mixture of K products of Bernoulli distributions; z is the component's index, an integer-valued float.

    Parameters
    ----------
    weights : array (K,)
        Probabilities of the components: at least zero, with sum 1 (within 1e-9; then scaled to 1).
    probabilities : array (K, p)
        θ, of a 1 in each place: strictly between 0 and 1.

    Raises
    ------
    InputError
        Shapes that do not fit, entries that are not finite, weights that are no distribution, a probability of 0 or 1
        or beyond.

    Examples
    --------
    >>> model = BernoulliMixture([0.5, 0.5], [[0.2, 0.2], [0.8, 0.8]])
    >>> round(float(np.exp(model.log_marginal([1, 1]))), 6)
    0.34
    """

    probabilities: Floats

    name: ClassVar[str] = "bernoulli_mixture"
    summary: ClassVar[str] = "mixture of Bernoulli products, or latent class model: binary data, one discrete latent"
    second_route: ClassVar[str] = "SciPy's Bernoulli densities, state by state"
    log_joint: ClassVar[Any] = staticmethod(log_joint)
    log_joint_scalar: ClassVar[Callable[..., float]] = staticmethod(log_joint_scalar)

    def __init__(self, weights: ArrayLike, probabilities: ArrayLike) -> None:
        weights = as_floats("weights", weights, n_axes=(1,))
        shares = strictly_between("probabilities", probabilities, n_axes=(2,))
        n_states, p = shares.shape
        if weights.shape != (n_states,):
            raise InputError(
                f"weights {weights.shape}, probabilities {shares.shape} do not fit; they must be (K,) and (K, p)"
            )
        prior = Categorical(weights)
        weights = prior.probabilities
        logs = np.log(np.where(weights > 0, weights, 1.0)) + np.log1p(-shares).sum(axis=1)
        constants = np.where(weights > 0, logs, 0.0)
        theta = packed(np.concatenate([weights, constants, scipy.special.logit(shares).ravel()]))
        set_fields(self, weights=weights, probabilities=shares, prior=prior, theta=theta)
        set_fields(self, n_states=n_states, n_observed=p, dims=np.array([n_states, p], dtype=np.int64))

    def _check(self, x: ArrayLike) -> tuple[Floats, bool]:
        return check_states(x, self.n_observed, 2)

    def _log_joints(self, rows: Floats) -> Floats:
        with np.errstate(divide="ignore"):
            logs = np.log(self.weights)
        values: Floats = logs + rows @ np.log(self.probabilities).T + (1 - rows) @ np.log1p(-self.probabilities).T
        return values

    def sample(self, n: int, seed: int = 0, *, return_latents: bool = False) -> Any:
        """n rows drawn from the model: X (n, p) of zeros and ones, or (X, Z (n, 1)) with return_latents."""
        rng = np.random.default_rng(seed)
        states = rng.choice(self.n_states, size=whole("n", n), p=self.weights)
        X = (rng.random((len(states), self.n_observed)) < self.probabilities[states]).astype(np.float64)
        return (X, states[:, None].astype(np.float64)) if return_latents else X

    @classmethod
    def fit(
        cls, X: ArrayLike, n_components: int, *, seed: int = 0, pseudo_count: float = 0.5, max_iter: int = 1000
    ) -> BernoulliMixture:
        """Maximum a posteriori (a local one) by expectation-maximisation, from rows of X taken at random.

        Parameters
        ----------
        X : array (n, p) of zeros and ones
        n_components : int
            From 1 to n.
        seed : int
            Of the choice of rows.
        pseudo_count : float
            Rows of zeros, and as many of ones, that each component is thought to have seen beforehand; above zero, so
            that no probability becomes 0 or 1.
        max_iter : int
            The most iterations; fewer are made once no parameter moves by more than 1e-9.
        """
        rows, k = check_fit_data(X, n_components, len(np.atleast_1d(X)), "n_components")
        check_states(rows, None, 2)
        extra = float(positive("pseudo_count", pseudo_count, (0,)))
        chosen = np.random.default_rng(seed).choice(len(rows), size=k, replace=False)
        model = cls(np.full(k, 1 / k), 0.25 + 0.5 * rows[chosen])
        for _ in range(whole("max_iter", max_iter)):
            shares, before = model.responsibilities(rows), model
            sizes = shares.sum(axis=0) + 2 * extra
            model = cls(sizes / sizes.sum(), (shares.T @ rows + extra) / sizes[:, None])
            moved = np.abs(model.probabilities - before.probabilities).max()
            if max(moved, np.abs(model.weights - before.weights).max()) < 1e-9:
                break
        return model

    @classmethod
    def example(cls, seed: int = 0) -> tuple[BernoulliMixture, Floats]:
        """A small model, 4 classes that answer 6 questions, and 5 rows drawn from it."""
        rng = np.random.default_rng(seed)
        model = cls([0.4, 0.3, 0.2, 0.1], rng.uniform(0.1, 0.9, (4, 6)))
        return model, model.sample(5, seed + 1)
