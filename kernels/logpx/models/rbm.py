r"""A restricted Boltzmann machine: binary units in two layers, with an exact partition function.

    p(v, h) = exp(b·v + c·h + v·W h)/Z,   v ∈ {0, 1}^p seen, h ∈ {0, 1}^d latent
    log p(v) = b·v + Σ_k log(1 + exp(c_k + (Wᵀv)_k)) − log Z

Given one layer the units of the other are independent, so that the posterior of h is a product of Bernoullis and one
layer is summed over in closed form: log Z is the log of a sum over the 2^min(p, d) states of the smaller layer (here
h; otherwise with v and h exchanged),

    Z = Σ_h exp(c·h + Σ_j log(1 + exp(b_j + W_j h))),

worked out once, in Gray-code order (`logpx.models.binary_states`). The smaller layer may have up to 24 units. A sample
costs d multiply-adds: it is only the normalised joint that is dear. A v or h that is not binary has density zero. The
prior p(h) is no product; it is a table, known for up to 16 latents and otherwise None. Source: P. Smolensky (1986), in
Parallel Distributed Processing 1, 194-281; G. E. Hinton (2002), Neural Computation 14, 1771-1800, section 3; R.
Salakhutdinov and I. Murray (2008), ICML, 872-879, for log Z by enumeration as the truth that estimates are held to.
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
from logpx.models.binary_states import MOST_UNITS, linear, softplus_sums, unpacked
from logpx.models.sigmoid_belief_network import add_terms, forbid
from logpx.proposals import Bernoulli, BinaryTable
from logpx.proposals.base import Floats, Integers, as_floats, packed, set_fields
from logpx.proposals.bernoulli import MOST_IN_TABLE
from logpx.reduce import logsumexp


@_jit.kernel("log_joint")
def log_joint(theta, dims, x, z, out):
    """theta: log Z, b (p,), c (d,), W (p, d); dims: p, d."""
    p, d = dims[0], dims[1]
    constant, slopes = -theta[0], theta[1 + p : 1 + p + d].copy()
    for j in range(p):
        constant += x[j] * theta[1 + j]
        for k in range(d):
            slopes[k] += x[j] * theta[1 + p + d + j * d + k]
    for j in range(p):
        constant = constant if x[j] == 0.0 or x[j] == 1.0 else -np.inf
    for i in range(out.size):
        out[i] = constant
    add_terms(slopes, 0, z, 0, out)
    forbid(z, out)


def log_joint_scalar(theta, dims, x, z):
    """log p(x, z) of one sample, z (d,): the same quantity, one number at a time."""
    p, d = dims[0], dims[1]
    if any(value not in (0, 1) for value in (*x, *z)):
        return -np.inf
    value = -theta[0]
    for k in range(d):
        value += theta[1 + p + k] * z[k]
    for j in range(p):
        value += theta[1 + j] * x[j]
        for k in range(d):
            value += x[j] * theta[1 + p + d + j * d + k] * z[k]
    return value


@dataclass(frozen=True, eq=False, init=False)
class RBM:
    """A restricted Boltzmann machine of binary units; z is the hidden layer, 0.0 or 1.0.

    Parameters
    ----------
    weights : array (p, d)
        W, between p visible and d hidden units; the smaller number is at most 24.
    visible_bias : array (p,)
        b.
    hidden_bias : array (d,)
        c.

    Attributes
    ----------
    log_partition : float
        log Z in nats.

    Raises
    ------
    InputError
        Shapes that do not fit, entries that are not finite, two layers of more than 24 units.

    Examples
    --------
    >>> model = RBM([[0.0, 0.0]], [1.0], [0.0, 0.0])
    >>> round(float(np.exp(model.log_marginal([1]))), 6)
    0.731059
    """

    weights: Floats
    visible_bias: Floats
    hidden_bias: Floats
    log_partition: float = field(init=False)

    name: ClassVar[str] = "rbm"
    summary: ClassVar[str] = "restricted Boltzmann machine: binary layers, partition function by enumeration"
    exact_route: ClassVar[str] = "hidden layer in closed form, partition function over the smaller layer's states"
    second_route: ClassVar[str] = "sum of exp(−energy) over the states of both layers at once"
    log_joint: ClassVar[Any] = staticmethod(log_joint)
    log_joint_scalar: ClassVar[Callable[..., float]] = staticmethod(log_joint_scalar)
    theta: Floats = field(init=False, repr=False)
    dims: Integers = field(init=False, repr=False)
    n_latents: int = field(init=False, repr=False)
    n_discrete: int = field(init=False, repr=False)
    n_observed: int = field(init=False, repr=False)
    prior: BinaryTable | None = field(init=False, repr=False)

    def __init__(self, weights: ArrayLike, visible_bias: ArrayLike, hidden_bias: ArrayLike) -> None:
        weights = as_floats("weights", weights, n_axes=(2,))
        b, c = as_floats("visible_bias", visible_bias, n_axes=(1,)), as_floats("hidden_bias", hidden_bias, n_axes=(1,))
        if weights.shape != (len(b), len(c)):
            raise InputError(
                f"weights {weights.shape}, visible_bias {b.shape}, hidden_bias {c.shape} do not fit; "
                "they must be (p, d), (p,) and (d,)"
            )
        p, d = weights.shape
        if min(p, d) > MOST_UNITS:
            raise InputError(
                f"the layers have {p} and {d} units; the partition function sums over the states of the smaller one, "
                f"which may have {MOST_UNITS}"
            )
        set_fields(self, weights=weights, visible_bias=b, hidden_bias=c, n_latents=d, n_discrete=d, n_observed=p)
        log_z = float(logsumexp(self._smaller_layer))
        theta = packed(np.concatenate([[log_z], b, c, weights.ravel()]))
        set_fields(self, log_partition=log_z, theta=theta, dims=np.array([p, d], dtype=np.int64))
        set_fields(self, prior=self._hidden_table() if d <= MOST_IN_TABLE else None)

    @functools.cached_property
    def _smaller_layer(self) -> Floats:
        """log of Z p(state) of every state of the smaller layer."""
        if self.n_latents <= self.n_observed:
            return linear(self.hidden_bias) + softplus_sums(self.weights, self.visible_bias)
        return linear(self.visible_bias) + softplus_sums(self.weights.T, self.hidden_bias)

    def _hidden_table(self) -> BinaryTable:
        logs = linear(self.hidden_bias) + softplus_sums(self.weights, self.visible_bias)
        shares = np.exp(logs - logs.max())
        return BinaryTable(shares / shares.sum(), missing_mass=0.0)

    def _hidden_logits(self, rows: Floats) -> Floats:
        values: Floats = self.hidden_bias + rows @ self.weights
        return values

    def log_marginal(self, x: ArrayLike) -> Any:
        """Exact log p(x) in nats: a float for x (p,), an array (n,) for x (n, p)."""
        rows, batched = check_states(x, self.n_observed, 2)
        hidden = np.logaddexp(0.0, self._hidden_logits(rows)).sum(axis=1)
        return rows_or_one(rows @ self.visible_bias + hidden - self.log_partition, batched)

    def posterior(self, x: ArrayLike) -> Bernoulli:
        """The exact posterior of z as a proposal: every log weight is then log p(x), with variance zero."""
        rows, batched = check_states(x, self.n_observed, 2)
        shares = scipy.special.expit(self._hidden_logits(rows))
        return Bernoulli(rows_or_one(shares, batched), missing_mass=np.zeros(len(rows)) if batched else 0.0)

    def default_proposal(self, x: ArrayLike, widen: float | None = None) -> Bernoulli:
        """The posterior made flatter: its logits over `widen`, and a share of 0.05/d of even odds.

        None is a `widen` of 1 + 0.3/√d, so that the loss is alike for any number of latents; with 1 and no share there
        would be nothing to estimate. The variance of the weights is finite, as there are finitely many states.
        """
        rows, batched = check_states(x, self.n_observed, 2)
        least = 1 + (DEFAULT_WIDEN - 1) / np.sqrt(self.n_latents)
        factor = least if widen is None else float(positive("widen", widen, (0,)))
        share = 0.05 / self.n_latents
        flat = (1 - share) * scipy.special.expit(self._hidden_logits(rows) / factor) + 0.5 * share
        return Bernoulli(rows_or_one(flat, batched))

    def uniform_domain(self, x: ArrayLike) -> Bernoulli:
        """All 2^d hidden states with even odds: nothing is left out."""
        check_states(x, self.n_observed, 2)
        return Bernoulli(np.full(self.n_latents, 0.5))

    def sample(self, n: int, seed: int = 0, *, return_latents: bool = False) -> Any:
        """n independent rows, exact: X (n, p) of zeros and ones, or (X, Z (n, d)) with return_latents.

        A state of the smaller layer is drawn from the table of all of them, then the other layer given it: no chain.
        """
        rng = np.random.default_rng(seed)
        edges = np.cumsum(np.exp(self._smaller_layer - self.log_partition))
        states = np.searchsorted(edges, rng.random(whole("n", n)) * edges[-1], side="right")
        smaller = unpacked(states, min(self.weights.shape))
        hidden_first = self.n_latents <= self.n_observed
        bias, weights = (self.visible_bias, self.weights) if hidden_first else (self.hidden_bias, self.weights.T)
        shares = scipy.special.expit(bias + smaller @ weights.T)
        larger = (rng.random(shares.shape) < shares).astype(np.float64)
        X, Z = (larger, smaller) if hidden_first else (smaller, larger)
        return (X, Z) if return_latents else X

    @classmethod
    def example(cls, seed: int = 0, *, n_latents: int = 8, n_observed: int = 12) -> tuple[RBM, Floats]:
        """A model of any size and 5 rows drawn from it."""
        rng = np.random.default_rng(seed)
        d, p = whole("n_latents", n_latents), whole("n_observed", n_observed)
        model = cls(rng.normal(0.0, 0.7, (p, d)), rng.normal(-0.5, 0.5, p), rng.normal(-0.5, 0.5, d))
        return model, model.sample(5, seed + 1)
