r"""A linear-Gaussian state space model of T steps; the latents are the path of states.

    z_1 ~ N(m_1, P_1),   z_t given z_{t−1} ~ N(A z_{t−1}, Q),   y_t given z_t ~ N(C z_t, R)

The data x are y_1 … y_T one after the other, (T p,), and the latents z_1 … z_T likewise, (T k,). The exact log p(x) is
the sum of the log densities of the innovations of the Kalman filter,

    log p(x) = Σ_t log N(y_t; C m_t, S_t),   S_t = C P_t Cᵀ + R,   K_t = P_t Cᵀ S_t^{−1}
    m_{t+1} = A (m_t + K_t (y_t − C m_t)),   P_{t+1} = A ((I − K_t C) P_t (I − K_t C)ᵀ + K_t R K_tᵀ) Aᵀ + Q

in Joseph's form, which keeps P_t positive definite. It costs T (k³ + p³), and k² + p² a step for each row of x beside.
Source: R. E. Kalman (1960), J. Basic Eng. 82, 35-45; F. C. Schweppe (1965), IEEE Trans. Inf. Theory 11, 61-70, for the
likelihood; S. Särkkä (2013), Bayesian Filtering and Smoothing, section 4.3.

Neither kernel nor posterior uses the filter. In the log joint every residual is divided by the Cholesky factor of its
covariance: a sample costs T (k(k + 1)/2 + k² + p k) multiply-adds. The posterior of the whole path has the precision
matrix JᵀJ, J the Jacobian of these residuals (H. Rue and L. Held, 2005, Gaussian Markov Random Fields, section 2), here
dense: (T k)³ once a call. The default proposal is this Gaussian, a little wider, so that a sample from it costs
(T k)²/2. In float32 the residuals are float32 and their squares are added in float64.
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
from logpx.models.base import DEFAULT_WIDEN, check_x, factor_of, positive, rows_or_one
from logpx.proposals import Gaussian
from logpx.proposals.base import Floats, Integers, as_floats, packed, set_fields, two_parts


@_jit.leaf
def _add(entry, latent, residual):
    for i in range(residual.size):
        residual[i] += entry * latent[i]


@_jit.leaf
def _take_off_square(residual, half, out):
    for i in range(residual.size):
        out[i] -= np.float64(half * residual[i] * residual[i])


@_jit.kernel("log_joint", dtypes=("float64", "float32"))
def log_joint(theta, dims, x, z, out):
    """theta: constant in two parts, −G_1 m_1 (k,), G_1, G, −G A (k, k), −F C (p, k), F (p, p); dims: T, k, p.

    G_1, G and F are the inverse Cholesky factors of P_1, Q and R.
    """
    n_steps, k, p = dims[0], dims[1], dims[2]
    move, look = 2 + k + 2 * k * k, 2 + k + 3 * k * k
    half, residual = z.dtype.type(0.5), np.empty(z.shape[1], z.dtype)
    for i in range(out.size):
        out[i] = np.float64(theta[0]) + np.float64(theta[1])
    for t in range(n_steps):
        own = 2 + k + (0 if t == 0 else k * k)
        for j in range(k):
            start = theta[2 + j] if t == 0 else z.dtype.type(0.0)
            for i in range(residual.size):
                residual[i] = start
            for c in range(j + 1):
                _add(theta[own + j * k + c], z[t * k + c], residual)
            for c in range(k if t > 0 else 0):
                _add(theta[move + j * k + c], z[(t - 1) * k + c], residual)
            _take_off_square(residual, half, out)
        for j in range(p):
            seen = 0.0
            for c in range(j + 1):
                seen += np.float64(theta[look + p * k + j * p + c]) * np.float64(x[t * p + c])
            for i in range(residual.size):
                residual[i] = z.dtype.type(seen)
            for c in range(k):
                _add(theta[look + j * k + c], z[t * k + c], residual)
            _take_off_square(residual, half, out)


def log_joint_scalar(theta, dims, x, z):
    """log p(x, z) of one sample, z (T k,): the same quantity, one number at a time."""
    n_steps, k, p = dims[0], dims[1], dims[2]
    move, look = 2 + k + 2 * k * k, 2 + k + 3 * k * k
    value = np.float64(theta[0]) + np.float64(theta[1])
    for t in range(n_steps):
        own = 2 + k + (0 if t == 0 else k * k)
        for j in range(k):
            residual = theta[2 + j] if t == 0 else 0.0
            for c in range(k):
                residual += theta[own + j * k + c] * z[t * k + c]
                if t > 0:
                    residual += theta[move + j * k + c] * z[(t - 1) * k + c]
            value -= 0.5 * residual * residual
        for j in range(p):
            residual = 0.0
            for c in range(p):
                residual += theta[look + p * k + j * p + c] * x[t * p + c]
            for c in range(k):
                residual += theta[look + j * k + c] * z[t * k + c]
            value -= 0.5 * residual * residual
    return value


@dataclass(frozen=True, eq=False, init=False)
class StateSpace:
    """A linear-Gaussian state space model: k hidden numbers and p observed ones at each of T steps.

    Parameters
    ----------
    transition : array (k, k)
        A.
    transition_covariance : array (k, k)
        Q, positive definite.
    observation : array (p, k)
        C.
    observation_covariance : array (p, p)
        R, positive definite.
    n_steps : int
        T.
    initial_mean : array (k,), optional
        m_1, zeros by default.
    initial_covariance : array (k, k), optional
        P_1, positive definite; the identity by default.

    Raises
    ------
    InputError
        Shapes that do not fit, entries that are not finite, a covariance that is none, n_steps below 1.

    Examples
    --------
    >>> model = StateSpace([[0.9]], [[0.5]], [[1.0]], [[0.2]], n_steps=3)
    >>> round(model.log_marginal([0.3, -0.1, 0.4]), 6)
    -2.868396
    """

    transition: Floats
    transition_covariance: Floats
    observation: Floats
    observation_covariance: Floats
    n_steps: int
    initial_mean: Floats
    initial_covariance: Floats

    name: ClassVar[str] = "state_space"
    summary: ClassVar[str] = "linear-Gaussian state space model: the latents are the path of states"
    exact_route: ClassVar[str] = "innovations of the Kalman filter"
    second_route: ClassVar[str] = "SciPy's normal density with the dense covariance of x"
    log_joint: ClassVar[Any] = staticmethod(log_joint)
    log_joint_scalar: ClassVar[Callable[..., float]] = staticmethod(log_joint_scalar)
    theta: Floats = field(init=False, repr=False)
    dims: Integers = field(init=False, repr=False)
    n_latents: int = field(init=False, repr=False)
    n_observed: int = field(init=False, repr=False)
    prior: Gaussian = field(init=False, repr=False)

    def __init__(
        self,
        transition: ArrayLike,
        transition_covariance: ArrayLike,
        observation: ArrayLike,
        observation_covariance: ArrayLike,
        n_steps: int,
        initial_mean: ArrayLike | None = None,
        initial_covariance: ArrayLike | None = None,
    ) -> None:
        A, C = as_floats("transition", transition, n_axes=(2,)), as_floats("observation", observation, n_axes=(2,))
        p, k = C.shape
        m1 = as_floats("initial_mean", np.zeros(k) if initial_mean is None else initial_mean, n_axes=(1,))
        if A.shape != (k, k) or m1.shape != (k,):
            raise InputError(
                f"transition {A.shape}, observation {C.shape}, initial_mean {m1.shape} do not fit; "
                "they must be (k, k), (p, k) and (k,)"
            )
        first = factor_of("initial_covariance", np.eye(k) if initial_covariance is None else initial_covariance, k)
        moved = factor_of("transition_covariance", transition_covariance, k)
        noise = factor_of("observation_covariance", observation_covariance, p)
        T = whole("n_steps", n_steps)
        set_fields(self, transition=A, transition_covariance=packed(moved @ moved.T), n_steps=T, initial_mean=m1)
        set_fields(self, observation=C, observation_covariance=packed(noise @ noise.T))
        set_fields(self, initial_covariance=packed(first @ first.T))
        set_fields(self, n_latents=T * k, n_observed=T * p, dims=np.array([T, k, p], dtype=np.int64))
        whiteners = [scipy.linalg.solve_triangular(f, np.eye(len(f)), lower=True) for f in (first, moved, noise)]
        G1, G, F = whiteners
        log_dets = [np.log(np.diagonal(w)).sum() for w in whiteners]
        constant = -0.5 * T * (k + p) * math.log(2 * math.pi) + log_dets @ np.array([1, T - 1, T])
        parts = (two_parts(constant), -G1 @ m1, G1, G, -G @ A, -F @ C, F)
        set_fields(self, theta=packed(np.concatenate([np.ravel(part) for part in parts])))
        path = [m1]
        for _ in range(T - 1):
            path.append(A @ path[-1])
        spread = scipy.linalg.solve_triangular(self._prior_residuals(G1, G), np.eye(T * k), lower=True)
        set_fields(self, prior=Gaussian.full(np.concatenate(path), spread))

    def _prior_residuals(self, G1: Floats, G: Floats) -> Floats:
        """The Jacobian (T k, T k) of the states' residuals, lower triangular."""
        k, T = len(G), self.n_steps
        jacobian = np.kron(np.eye(T), G) - np.kron(np.eye(T, k=-1), G @ self.transition)
        jacobian[:k, :k] = G1
        return jacobian

    def log_marginal(self, x: ArrayLike) -> Any:
        """Exact log p(x) in nats by the Kalman filter: a float for x (T p,), an array (n,) for x (n, T p)."""
        rows, batched = check_x(x, self.n_observed)
        A, C = self.transition, self.observation
        p, k = C.shape
        means, P = np.broadcast_to(self.initial_mean, (len(rows), k)), self.initial_covariance
        values = np.full(len(rows), -0.5 * self.n_observed * math.log(2 * math.pi))
        for t in range(self.n_steps):
            innovations = rows[:, t * p : (t + 1) * p] - means @ C.T
            factor = np.linalg.cholesky(C @ P @ C.T + self.observation_covariance)
            whitened = scipy.linalg.solve_triangular(factor, innovations.T, lower=True)
            values -= 0.5 * (whitened**2).sum(axis=0) + np.log(np.diagonal(factor)).sum()
            gain = scipy.linalg.cho_solve((factor, True), C @ P).T
            kept = np.eye(k) - gain @ C
            means = (means + innovations @ gain.T) @ A.T
            P = A @ (kept @ P @ kept.T + gain @ self.observation_covariance @ gain.T) @ A.T + self.transition_covariance
        return rows_or_one(values, batched)

    def posterior(self, x: ArrayLike) -> Gaussian:
        """The exact posterior of the path as a proposal: every log weight is then log p(x), with variance zero."""
        return self.default_proposal(x, widen=1.0)

    def default_proposal(self, x: ArrayLike, widen: float | None = None) -> Gaussian:
        """A full Gaussian over the path: the posterior, `widen` times as wide.

        None is 1 + 0.3/√(T k): the exact posterior would leave nothing to estimate, and a fixed factor would let the
        share of samples that count fall off exponentially with T. Below 1/√2 the weights have infinite variance.
        """
        rows, batched = check_x(x, self.n_observed)
        least = 1 + (DEFAULT_WIDEN - 1) / math.sqrt(self.n_latents)
        factor = least if widen is None else float(positive("widen", widen, (0,)))
        states, C = np.linalg.inv(self.prior.cholesky), np.kron(np.eye(self.n_steps), self.observation)
        noise = np.kron(np.eye(self.n_steps), np.linalg.inv(self.observation_covariance))
        precision = states.T @ states + C.T @ noise @ C
        covariance = np.linalg.inv(precision)
        innovations = rows - C @ self.prior.mean
        means = self.prior.mean + innovations @ (noise @ C @ covariance)
        return Gaussian.full(rows_or_one(means, batched), factor * np.linalg.cholesky(covariance))

    def sample(self, n: int, seed: int = 0, *, return_latents: bool = False) -> Any:
        """n rows drawn from the model: X (n, T p), or (X, Z (n, T k)) with return_latents."""
        rng = np.random.default_rng(seed)
        p, k = self.observation.shape
        noise = np.linalg.cholesky(self.observation_covariance)
        moved, state = np.linalg.cholesky(self.transition_covariance), np.empty((whole("n", n), k))
        X, Z = [], []
        for t in range(self.n_steps):
            steps = rng.standard_normal(state.shape)
            if t == 0:
                state = self.initial_mean + steps @ np.linalg.cholesky(self.initial_covariance).T
            else:
                state = state @ self.transition.T + steps @ moved.T
            Z.append(state)
            X.append(state @ self.observation.T + rng.standard_normal((n, p)) @ noise.T)
        rows: Floats = np.concatenate(X, axis=1)
        return (rows, np.concatenate(Z, axis=1)) if return_latents else rows

    @classmethod
    def example(cls, seed: int = 0) -> tuple[StateSpace, Floats]:
        """A damped rotation seen through one of its two numbers, 6 steps, and 5 rows drawn from it."""
        turn = 0.9 * np.array([[np.cos(0.7), -np.sin(0.7)], [np.sin(0.7), np.cos(0.7)]])
        model = cls(turn, [[0.3, 0.1], [0.1, 0.4]], [[1.0, 0.5]], [[0.6]], n_steps=6, initial_mean=[1.0, 0.0])
        return model, model.sample(5, seed + 1)
