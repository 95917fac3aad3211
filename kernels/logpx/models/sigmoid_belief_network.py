r"""A sigmoid belief network with one layer of binary latents: causes z, effects x.

    z_k ~ Bernoulli(σ(a_k)), k = 1 … d,   x_j given z ~ Bernoulli(σ(b_j + Σ_k W_jk z_k)), j = 1 … p, independent
    log p(x, z) = Σ_k a_k z_k − log(1 + e^{a_k}) − Σ_j log(1 + exp(s_j (b_j + W_j z))),   s_j = 1 − 2 x_j
    log p(x)    = log of the sum over all 2^d states

Independent causes become dependent once their effects are seen (they explain each other away), so that the posterior
has no product form; it is the sum over the states that is exact. With S(z) = Σ_j log(1 + exp(b_j + W_j z)), which does
not depend on x and is worked out once for a model (`logpx.models.binary_states`), a row costs 2^d additions and
exponentials:  log p(x, z) = x b − Σ_k log(1 + e^{a_k}) + z (a + Wᵀx) − S(z). Source: R. M. Neal (1992), Artif. Intell.
56, 71-113, section 2.

The default proposal is a product of Bernoullis by mean-field iteration with the means put in for the other latents
(L. K. Saul, T. Jaakkola and M. I. Jordan, 1996, J. Artif. Intell. Res. 4, 61-76, without their bound): it needs no sum
over states and serves any d. A sample costs p d multiply-adds, p exponentials and p/512 logarithms. A z or x that is
not binary has density zero.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import scipy
from numpy.typing import ArrayLike

from logpx import _jit
from logpx.checks import whole
from logpx.errors import InputError
from logpx.models.base import DEFAULT_WIDEN, check_states, positive, rows_or_one
from logpx.models.binary_states import FACTORS, MOST_UNITS, linear, settle_factors, softplus_sums, take_factor
from logpx.proposals import Bernoulli, BinaryTable
from logpx.proposals.base import Floats, Integers, as_floats, packed, set_fields
from logpx.proposals.bernoulli import check_table
from logpx.reduce import logsumexp

#: Samples whose activations are kept at a time.
STRIP = 256
#: Sweeps of the mean-field iteration.
N_SWEEPS = 30


@_jit.leaf
def add_terms(slopes, at, z, start, values):
    """values += Σ_k slopes[at + k] z_k for a strip of samples, four latents at a time."""
    d = z.shape[0]
    for k in range(0, d - d % 4, 4):
        z0, z1 = z[k, start : start + values.size], z[k + 1, start : start + values.size]
        z2, z3 = z[k + 2, start : start + values.size], z[k + 3, start : start + values.size]
        s0, s1, s2, s3 = slopes[at + k], slopes[at + k + 1], slopes[at + k + 2], slopes[at + k + 3]
        for i in range(values.size):
            values[i] += s0 * z0[i] + s1 * z1[i] + s2 * z2[i] + s3 * z3[i]
    for k in range(d - d % 4, d):
        slope, latent = slopes[at + k], z[k, start : start + values.size]
        for i in range(values.size):
            values[i] += slope * latent[i]


@_jit.inner
def forbid(z, out):
    """out = −inf where a latent is neither 0 nor 1, nan where it is nan."""
    for k in range(z.shape[0]):
        latent = z[k]
        for i in range(out.size):
            value = latent[i]
            binary = value == 0.0 or value == 1.0
            out[i] = out[i] if binary else (-np.inf if value == value else value)


@_jit.kernel("log_joint")
def log_joint(theta, dims, x, z, out):
    """theta: −Σ log(1 + e^a), a (d,), b (p,), W (p, d); dims: p, d."""
    p, d = dims[0], dims[1]
    constant = theta[0]
    for j in range(p):
        constant = constant if x[j] == 0.0 or x[j] == 1.0 else -np.inf
    room = np.empty((3, STRIP))
    for start in range(0, out.size, STRIP):
        n = min(STRIP, out.size - start)
        activation, edge, product, values = room[0, :n], room[1, :n], room[2, :n], out[start : start + n]
        for i in range(n):
            values[i] = constant
            edge[i] = 0.0
            product[i] = 1.0
        add_terms(theta, 1, z, start, values)
        for j in range(p):
            sign = 1.0 - 2.0 * x[j]
            for i in range(n):
                activation[i] = 0.0
            add_terms(theta, 1 + d + p + j * d, z, start, activation)
            for i in range(n):
                activation[i] *= sign
            take_factor(activation, sign * theta[1 + d + j], edge, product)
            if j % FACTORS == FACTORS - 1 or j == p - 1:
                settle_factors(edge, product)
        for i in range(n):
            values[i] -= edge[i]
    forbid(z, out)


def log_joint_scalar(theta, dims, x, z):
    """log p(x, z) of one sample, z (d,): the same quantity, one number at a time."""
    p, d = dims[0], dims[1]
    if any(value not in (0, 1) for value in (*x, *z)):
        return -np.inf
    value = theta[0]
    for k in range(d):
        value += theta[1 + k] * z[k]
    for j in range(p):
        activation = theta[1 + d + j]
        for k in range(d):
            activation += theta[1 + d + p + j * d + k] * z[k]
        value -= np.logaddexp(0.0, activation if x[j] == 0 else -activation)
    return value


@dataclass(frozen=True, eq=False, init=False)
class SigmoidBeliefNetwork:
    """Binary data of independent binary causes; z are the causes, 0.0 or 1.0.

    Parameters
    ----------
    prior_logits : array (d,)
        a: σ(a) is the probability of each cause; d up to 24.
    weights : array (p, d)
        W: what a cause adds to the logit of an effect.
    bias : array (p,)
        b: the logits of the effects without any cause.

    Raises
    ------
    InputError
        Shapes that do not fit, entries that are not finite, more than 24 latents.

    Examples
    --------
    >>> model = SigmoidBeliefNetwork([0.0], [[2.0]], [-1.0])
    >>> round(float(np.exp(model.log_marginal([1]))), 9)
    0.5
    """

    prior_logits: Floats
    weights: Floats
    bias: Floats

    name: ClassVar[str] = "sigmoid_belief_network"
    summary: ClassVar[str] = "sigmoid belief network: binary causes of binary data, all states summed over"
    exact_route: ClassVar[str] = "sum over all 2^d states in Gray-code order"
    second_route: ClassVar[str] = "SciPy's Bernoulli densities, state by state"
    log_joint: ClassVar[Any] = staticmethod(log_joint)
    log_joint_scalar: ClassVar[Callable[..., float]] = staticmethod(log_joint_scalar)
    theta: Floats = field(init=False, repr=False)
    dims: Integers = field(init=False, repr=False)
    n_latents: int = field(init=False, repr=False)
    n_observed: int = field(init=False, repr=False)
    prior: Bernoulli = field(init=False, repr=False)

    def __init__(self, prior_logits: ArrayLike, weights: ArrayLike, bias: ArrayLike) -> None:
        logits, bias = as_floats("prior_logits", prior_logits, n_axes=(1,)), as_floats("bias", bias, n_axes=(1,))
        weights = as_floats("weights", weights, n_axes=(2,))
        if weights.shape != (len(bias), len(logits)):
            raise InputError(
                f"prior_logits {logits.shape}, weights {weights.shape}, bias {bias.shape} do not fit; "
                "they must be (d,), (p, d) and (p,)"
            )
        p, d = weights.shape
        if d > MOST_UNITS:
            raise InputError(f"there are {d} latents; the exact log p(x) sums over 2^d states, d at most {MOST_UNITS}")
        theta = np.concatenate([[-np.logaddexp(0.0, logits).sum()], logits, bias, weights.ravel()])
        prior = Bernoulli(scipy.special.expit(logits), missing_mass=0.0)
        set_fields(self, prior_logits=logits, weights=weights, bias=bias, theta=packed(theta), prior=prior)
        set_fields(self, n_latents=d, n_observed=p, dims=np.array([p, d], dtype=np.int64))

    @functools.cached_property
    def _sums(self) -> Floats:
        """S(z) of all states."""
        return softplus_sums(self.weights, self.bias)

    def _log_joints(self, row: Floats) -> Floats:
        """log p(x, z) of all states for one row, (2^d,)."""
        values: Floats = linear(self.prior_logits + row @ self.weights) - self._sums
        return values + (self.theta[0] + row @ self.bias)

    def log_marginal(self, x: ArrayLike) -> Any:
        """Exact log p(x) in nats, by a sum over all 2^d states: a float for x (p,), an array (n,) for x (n, p)."""
        rows, batched = check_states(x, self.n_observed, 2)
        return rows_or_one(np.array([float(logsumexp(self._log_joints(row))) for row in rows]), batched)

    def posterior(self, x: ArrayLike) -> BinaryTable:
        """The exact posterior of z as a proposal, by a table: every log weight is then log p(x), with variance zero.

        Raises
        ------
        NotAvailableError
            More than 16 latents.
        """
        rows, batched = check_states(x, self.n_observed, 2)
        check_table(self.n_latents)
        logs = np.array([self._log_joints(row) for row in rows])
        shares = np.exp(logs - logs.max(axis=1, keepdims=True))
        shares /= shares.sum(axis=1, keepdims=True)
        return BinaryTable(rows_or_one(shares, batched), missing_mass=np.zeros(len(rows)) if batched else 0.0)

    def default_proposal(self, x: ArrayLike, widen: float | None = None) -> Bernoulli:
        """Independent Bernoullis by mean-field iteration, made flatter: logits over `widen`, and 0.1 of even odds.

        Parameters
        ----------
        x : array, (p,) or (n, p)
        widen : float, optional
            1.3 by default. The variance of the weights is finite whatever it is, as there are finitely many states.
        """
        rows, batched = check_states(x, self.n_observed, 2)
        factor = DEFAULT_WIDEN if widen is None else float(positive("widen", widen, (0,)))
        flat = 0.9 * scipy.special.expit(self._mean_field(rows) / factor) + 0.05
        return Bernoulli(rows_or_one(flat, batched))

    def _mean_field(self, rows: Floats) -> Floats:
        """Logits (n, d): log p(x, z_k = 1) − log p(x, z_k = 0) with every other latent at its mean, in sweeps."""
        signs = 1 - 2 * rows
        means = np.broadcast_to(scipy.special.expit(self.prior_logits), (len(rows), self.n_latents)).copy()
        found = np.zeros_like(means)
        for _ in range(N_SWEEPS):
            for k in range(self.n_latents):
                column = self.weights[:, k]
                without = self.bias + means @ self.weights.T - means[:, k, None] * column
                gain = np.logaddexp(0.0, signs * without) - np.logaddexp(0.0, signs * (without + column))
                found[:, k] = self.prior_logits[k] + gain.sum(axis=1)
                means[:, k] = scipy.special.expit(found[:, k])
        return found

    def uniform_domain(self, x: ArrayLike) -> Bernoulli:
        """All 2^d states with even odds: nothing is left out."""
        check_states(x, self.n_observed, 2)
        return Bernoulli(np.full(self.n_latents, 0.5))

    def sample(self, n: int, seed: int = 0, *, return_latents: bool = False) -> Any:
        """n rows drawn from the model: X (n, p) of zeros and ones, or (X, Z (n, d)) with return_latents."""
        rng = np.random.default_rng(seed)
        Z = (rng.random((whole("n", n), self.n_latents)) < self.prior.probabilities).astype(np.float64)
        shares = scipy.special.expit(self.bias + Z @ self.weights.T)
        X = (rng.random(shares.shape) < shares).astype(np.float64)
        return (X, Z) if return_latents else X

    @classmethod
    def example(cls, seed: int = 0, *, n_latents: int = 6, n_observed: int = 12) -> tuple[SigmoidBeliefNetwork, Floats]:
        """A model of any size and 5 rows drawn from it."""
        rng = np.random.default_rng(seed)
        d, p = whole("n_latents", n_latents), whole("n_observed", n_observed)
        model = cls(rng.normal(-0.5, 0.5, d), rng.normal(0.0, 1.5, (p, d)), rng.normal(-0.5, 0.5, p))
        return model, model.sample(5, seed + 1)
