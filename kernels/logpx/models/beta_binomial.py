r"""The beta-binomial model: counts of successes with one unknown rate.

    r ~ Beta(a, b),   x_j given r ~ Binomial(n_j, r), j = 1 … p, independent;   z = log(r/(1 − r)), one real number

    log p(x, z) = Σ_j log C(n_j, x_j) − log B(a, b) + (a + Σ_j x_j) log r + (b + Σ_j (n_j − x_j)) log(1 − r)
    log p(x)    = Σ_j log C(n_j, x_j) + log B(a + Σ_j x_j, b + Σ_j (n_j − x_j)) − log B(a, b)

The latent is the rate's logit and the Jacobian r(1 − r) is in the joint, as `logpx.models.stick_breaking` says. With
p = 1 the marginal is the beta-binomial distribution. Counts that cannot be have density zero. Source: A. Gelman et al.
(2013), Bayesian Data Analysis, 3rd ed., section 2.4. A sample costs an exponential and a logarithm; a block, 3 p log
gammas.
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
from logpx.proposals.base import Floats, as_floats, packed, set_fields
from logpx.proposals.logit_beta import log_density


@_jit.kernel("log_joint")
def log_joint(theta, dims, x, z, out):
    """theta: log B(a, b), a, b, n (p,); dims: p."""
    constant, a, b = -theta[0], theta[1], theta[2]
    for j in range(dims[0]):
        n = theta[3 + j]
        possible = x[j] >= 0.0 and x[j] <= n and np.floor(x[j]) == x[j]
        count = x[j] if possible else 0.0
        constant += math.lgamma(n + 1.0) - math.lgamma(count + 1.0) - math.lgamma(n - count + 1.0)
        constant = constant if possible else -np.inf
        a += count
        b += n - count
    log_density(np.array([a]), np.array([b]), constant, z, out)


def log_joint_scalar(theta, dims, x, z):
    """log p(x, z) of one sample, z (1,): the same quantity, one number at a time."""
    log_rate, log_rest = -math.log1p(math.exp(-z[0])), -math.log1p(math.exp(z[0]))
    value = -theta[0] + theta[1] * log_rate + theta[2] * log_rest
    for j in range(dims[0]):
        n = int(theta[3 + j])
        if x[j] not in range(n + 1):
            return -math.inf
        value += math.log(math.comb(n, int(x[j]))) + x[j] * log_rate + (n - x[j]) * log_rest
    return value


@dataclass(frozen=True, eq=False, init=False)
class BetaBinomial(StickBreaking):
    """Binomial counts with one unknown rate and its beta prior; z is the rate's logit.

    Parameters
    ----------
    a, b : float
        Shapes of the prior, 0.1 to 10^6.
    n_trials : array (p,) of whole numbers, or one
        Trials behind each count, at least 1 and 10^6 in all.

    Raises
    ------
    InputError
        Shapes out of range, or trials that are not whole numbers from 1, 10^6 in all.

    Examples
    --------
    >>> model = BetaBinomial(1.0, 1.0, n_trials=[4])
    >>> round(float(np.exp(model.log_marginal([3]))), 9)
    0.2
    """

    a: float
    b: float
    n_trials: Floats

    name: ClassVar[str] = "beta_binomial"
    summary: ClassVar[str] = "binomial counts with one unknown rate and its beta prior"
    second_route: ClassVar[str] = "Pólya's urn, trial by trial, in rational numbers"
    log_joint: ClassVar[Any] = staticmethod(log_joint)
    log_joint_scalar: ClassVar[Callable[..., float]] = staticmethod(log_joint_scalar)

    def __init__(self, a: float, b: float, n_trials: ArrayLike) -> None:
        a, b = float(prior_shape("a", a, (0,))), float(prior_shape("b", b, (0,)))
        trials = packed(np.atleast_1d(as_floats("n_trials", n_trials, n_axes=(0, 1))))
        for j, number in enumerate(trials):
            whole(f"n_trials[{j}]", float(number), most=10**6)
        if trials.sum() > 10**6:
            raise InputError(f"n_trials add up to {trials.sum():.0f}; 10^6 trials in all are allowed")
        theta = packed([scipy.special.betaln(a, b), a, b, *trials])
        set_fields(self, a=a, b=b, n_trials=trials, prior=LogitBeta([a], [b]), theta=theta)
        set_fields(self, n_latents=1, n_observed=len(trials), dims=np.array([len(trials)], dtype=np.int64))

    def _check(self, x: ArrayLike) -> tuple[Floats, bool]:
        return check_states(x, self.n_observed, self.n_trials + 1)

    def _counts(self, rows: Floats) -> tuple[Floats, Floats]:
        return rows.sum(axis=1, keepdims=True), (self.n_trials - rows).sum(axis=1, keepdims=True)

    def _log_coefficient(self, rows: Floats) -> Floats:
        log_choices = -scipy.special.betaln(rows + 1, self.n_trials - rows + 1) - np.log1p(self.n_trials)
        values: Floats = log_choices.sum(axis=1)
        return values

    def sample(self, n: int, seed: int = 0, *, return_latents: bool = False) -> Any:
        """n rows drawn from the model: X (n, p) of counts, or (X, Z (n, 1)) with return_latents."""
        rng = np.random.default_rng(seed)
        first, rest = rng.standard_gamma([[self.a], [self.b]], size=(2, whole("n", n)))[..., None]
        X = rng.binomial(self.n_trials.astype(np.int64), first / (first + rest)).astype(np.float64)
        return (X, np.log(first) - np.log(rest)) if return_latents else X

    @classmethod
    def example(cls, seed: int = 0) -> tuple[BetaBinomial, Floats]:
        """A small model, three counts of up to 20, and 5 rows drawn from it."""
        model = cls(2.0, 3.0, [10, 15, 20])
        return model, model.sample(5, seed + 1)
