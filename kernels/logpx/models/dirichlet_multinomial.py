r"""The Dirichlet-multinomial model: counts in K categories with unknown probabilities.

    π ~ Dirichlet(α),   x given π ~ Multinomial(N, π), x (K,) with Σ_k x_k = N
    log p(x) = log N!/Π_k x_k! + log Γ(A)/Γ(A + N) + Σ_k log Γ(α_k + x_k)/Γ(α_k),   A = Σ_k α_k

The latents are z in R^{K−1}: π is broken into sticks v_k = π_k/(1 − π_1 − … − π_{k−1}), and z_k = log(v_k/(1 − v_k));
the Jacobian of both steps is in the joint, as `logpx.models.stick_breaking` says. In z the prior and the posterior
have independent coordinates, whatever α and x are. Counts that cannot be, or do not add up to N, have density zero.
Source: A. Gelman et al. (2013), Bayesian Data Analysis, 3rd ed., section 3.4. A sample costs K − 1 exponentials and
logarithms; a block, K + 1 log gammas.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import scipy
from numpy.typing import ArrayLike

from logpx import _jit
from logpx.checks import whole
from logpx.errors import InputError
from logpx.models.base import check_states
from logpx.models.stick_breaking import StickBreaking, prior_shape
from logpx.proposals import LogitBeta
from logpx.proposals.base import Floats, packed, set_fields
from logpx.proposals.logit_beta import log_density


@_jit.kernel("log_joint")
def log_joint(theta, dims, x, z, out):
    """theta: Σ_k log B(a_k, b_k), N, a (K − 1,), b (K − 1,); dims: K."""
    d = dims[0] - 1
    left, constant = theta[1], math.lgamma(theta[1] + 1.0) - theta[0]
    a, b = theta[2 : 2 + d].copy(), theta[2 + d : 2 + 2 * d].copy()
    for k in range(d + 1):
        possible = x[k] >= 0.0 and np.floor(x[k]) == x[k] and x[k] <= theta[1]
        count = x[k] if possible else 0.0
        constant -= math.lgamma(count + 1.0)
        constant = constant if possible else -np.inf
        left -= count
        if k < d:
            a[k] += count
            b[k] += left if left > 0.0 else 0.0
    constant = constant if left == 0.0 else -np.inf
    log_density(a, b, constant, z, out)


def log_joint_scalar(theta, dims, x, z):
    """log p(x, z) of one sample, z (K − 1,): the same quantity, one number at a time."""
    d, trials = dims[0] - 1, int(theta[1])
    if sum(x) != trials or any(count not in range(trials + 1) for count in x):
        return -math.inf
    value, rest = -theta[0], 0.0
    for k in range(d):
        log_share, log_rest = -math.log1p(math.exp(-z[k])), -math.log1p(math.exp(z[k]))
        value += x[k] * (rest + log_share) + theta[2 + k] * log_share + theta[2 + d + k] * log_rest
        rest += log_rest
    value += x[d] * rest
    for count in x:
        value += math.log(math.comb(trials, int(count)))
        trials -= int(count)
    return value


@dataclass(frozen=True, eq=False, init=False)
class DirichletMultinomial(StickBreaking):
    """Multinomial counts with unknown probabilities and their Dirichlet prior; z are the logits of its sticks.

    Parameters
    ----------
    concentration : array (K,)
        α, at least 0.1 each and 10^6 in all; K at least 2.
    n_trials : int
        N, 1 to 10^6.

    Raises
    ------
    InputError
        α out of range or of one category only, or N that is not a whole number from 1 to 10^6.

    Examples
    --------
    >>> model = DirichletMultinomial([1.0, 1.0, 1.0], n_trials=2)
    >>> round(float(np.exp(model.log_marginal([1, 1, 0]))), 9)
    0.166666667
    """

    concentration: Floats
    n_trials: int

    name: ClassVar[str] = "dirichlet_multinomial"
    summary: ClassVar[str] = "counts in categories with unknown probabilities and their Dirichlet prior"
    second_route: ClassVar[str] = "Pólya's urn, draw by draw, in rational numbers"
    log_joint: ClassVar[Any] = staticmethod(log_joint)
    log_joint_scalar: ClassVar[Callable[..., float]] = staticmethod(log_joint_scalar)

    def __init__(self, concentration: ArrayLike, n_trials: int) -> None:
        alpha, trials = prior_shape("concentration", concentration, (1,)), whole("n_trials", n_trials, most=10**6)
        if len(alpha) < 2:
            raise InputError(f"concentration has shape {alpha.shape}; it needs at least 2 categories")
        if alpha.sum() > 1e6:
            raise InputError(f"concentration adds up to {alpha.sum():.3g}; 10^6 in all is allowed")
        rest = np.cumsum(alpha[::-1])[::-1][1:]
        prior = LogitBeta(alpha[:-1], rest)
        theta = packed([scipy.special.betaln(alpha[:-1], rest).sum(), trials, *alpha[:-1], *rest])
        set_fields(self, concentration=alpha, n_trials=trials, prior=prior, theta=theta)
        set_fields(self, n_latents=len(rest), n_observed=len(alpha), dims=np.array([len(alpha)], dtype=np.int64))

    def _check(self, x: ArrayLike) -> tuple[Floats, bool]:
        rows, batched = check_states(x, self.n_observed, self.n_trials + 1)
        bad = np.flatnonzero(rows.sum(axis=1) != self.n_trials)
        if len(bad):
            where = f"row {int(bad[0])} of x" if batched else "x"
            raise InputError(f"{where} adds up to {rows[bad[0]].sum():.0f}; the counts must add up to {self.n_trials}")
        return rows, batched

    def _counts(self, rows: Floats) -> tuple[Floats, Floats]:
        return rows[:, :-1], np.cumsum(rows[:, ::-1], axis=1)[:, ::-1][:, 1:]

    def _log_coefficient(self, rows: Floats) -> Floats:
        gammaln = scipy.special.gammaln
        values: Floats = gammaln(self.n_trials + 1.0) - gammaln(rows + 1.0).sum(axis=1)
        return values

    def sample(self, n: int, seed: int = 0, *, return_latents: bool = False) -> Any:
        """n rows drawn from the model: X (n, K) of counts, or (X, Z (n, K − 1)) with return_latents."""
        rng = np.random.default_rng(seed)
        gammas = rng.standard_gamma(self.concentration, size=(whole("n", n), self.n_observed))
        X = rng.multinomial(self.n_trials, gammas / gammas.sum(axis=1, keepdims=True)).astype(np.float64)
        if not return_latents:
            return X
        return X, np.log(gammas[:, :-1]) - np.log(np.cumsum(gammas[:, ::-1], axis=1)[:, ::-1][:, 1:])

    @classmethod
    def example(cls, seed: int = 0) -> tuple[DirichletMultinomial, Floats]:
        """A small model, 20 counts in 4 categories, and 5 rows drawn from it."""
        model = cls([0.8, 1.5, 2.0, 3.0], n_trials=20)
        return model, model.sample(5, seed + 1)
