r"""What the count models with a beta or Dirichlet prior share: a simplex broken into sticks, on the logit scale.

    π_1 = v_1,  π_k = v_k Π_{l<k} (1 − v_l),   v_k ~ Beta(a_k, b_k) independent,   z_k = log(v_k/(1 − v_k)), z in R^d

With a_k = α_k and b_k = Σ_{l>k} α_l, π ~ Dirichlet(α) (d = K − 1); with d = 1 it is a rate with a beta prior. The
density of z includes the Jacobian dv/dz = v(1 − v), which turns a − 1 and b − 1 into a and b. Counts n_k of what took
stick k and m_k of what went on to later ones leave the sticks independent:

    log p(x, z) = log c(x) + Σ_k (a_k + n_k) log v_k + (b_k + m_k) log(1 − v_k) − log B(a_k, b_k)
    posterior     v_k ~ Beta(a_k + n_k, b_k + m_k)
    log p(x)    = log c(x) + Σ_k log B(a_k + n_k, b_k + m_k) − log B(a_k, b_k)

with c(x) the binomial or multinomial coefficient. Why logits: the density is smooth, without poles at 0 and 1, and z
is any real number. Its tails are exponential, so that a Gaussian proposal would have infinite variance and
`logpx.proposals.LogitBeta` has not. Source: A. Gelman et al. (2013), Bayesian Data Analysis, 3rd ed., sections 2.4 and
3.4; J. Sethuraman (1994), Statistica Sinica 4, 639-650, for the sticks. A row costs d logarithms of the beta function.
"""

from __future__ import annotations

import abc
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import scipy
from numpy.typing import ArrayLike

from logpx.errors import InputError
from logpx.models.base import DEFAULT_WIDEN, positive, rows_or_one
from logpx.proposals import LogitBeta, Uniform
from logpx.proposals.base import Floats, Integers, as_floats
from logpx.proposals.logit_beta import LEAST, MOST, logits


@dataclass(frozen=True, eq=False, init=False)
class StickBreaking(abc.ABC):
    """Counts given sticks with beta priors. A subclass sets the fields and says how x is checked and counted."""

    exact_route: ClassVar[str] = "conjugate posterior: ratio of beta functions"
    second_route: ClassVar[str]
    theta: Floats = field(init=False, repr=False)
    dims: Integers = field(init=False, repr=False)
    n_latents: int = field(init=False, repr=False)
    n_observed: int = field(init=False, repr=False)
    prior: LogitBeta = field(init=False, repr=False)

    @abc.abstractmethod
    def _check(self, x: ArrayLike) -> tuple[Floats, bool]:
        """Data as rows (n, p), and whether there was a row axis, or an InputError."""

    @abc.abstractmethod
    def _counts(self, rows: Floats) -> tuple[Floats, Floats]:
        """n_k and m_k of every row: (n, d) each."""

    @abc.abstractmethod
    def _log_coefficient(self, rows: Floats) -> Floats:
        """log c(x) of every row: (n,)."""

    def _shapes(self, rows: Floats) -> tuple[Floats, Floats]:
        """The posterior's a and b, (n, d) each."""
        taken, left = self._counts(rows)
        return self.prior.a + taken, self.prior.b + left

    def log_marginal(self, x: ArrayLike) -> Any:
        """Exact log p(x) in nats: a float for x (p,), an array (n,) for x (n, p)."""
        rows, batched = self._check(x)
        betaln = scipy.special.betaln
        sticks = betaln(*self._shapes(rows)) - betaln(self.prior.a, self.prior.b)
        return rows_or_one(self._log_coefficient(rows) + sticks.sum(axis=1), batched)

    def posterior(self, x: ArrayLike) -> LogitBeta:
        """The exact posterior of z as a proposal: every log weight is then log p(x), with variance zero."""
        rows, batched = self._check(x)
        a, b = self._shapes(rows)
        return LogitBeta(rows_or_one(a, batched), rows_or_one(b, batched))

    def default_proposal(self, x: ArrayLike, widen: float | None = None) -> LogitBeta:
        """The posterior with its shapes divided by widen², but kept at 0.1 or more: about `widen` times as wide.

        None gives 1 + 0.3/√d: with 1 there would be nothing to estimate, and the loss is then alike for any number of
        latents. The variance of the weights is finite for every widen above 1/√2.
        """
        rows, batched = self._check(x)
        least = 1 + (DEFAULT_WIDEN - 1) / np.sqrt(self.n_latents)
        factor = least if widen is None else float(positive("widen", widen, (0,)))
        a, b = (np.clip(shape / factor**2, LEAST, MOST) for shape in self._shapes(rows))
        return LogitBeta(rows_or_one(a, batched), rows_or_one(b, batched))

    def missing_mass(self, x: ArrayLike, low: ArrayLike, high: ArrayLike) -> tuple[Any, Any]:
        """Bounds (lower, upper) on the fraction of p(x) whose z is outside low … high; sticks are independent, so both
        are exact. low and high: (d,) or (n, d); results: floats or (n,)."""
        rows, batched = self._check(x)
        a, b = self._shapes(rows)
        low, high = np.asarray(low, dtype=np.float64), np.asarray(high, dtype=np.float64)
        for name, bound in (("low", low), ("high", high)):
            if bound.shape not in ((self.n_latents,), a.shape):
                raise InputError(f"{name} has shape {bound.shape}; the model has {self.n_latents} latents")
        expit, below = scipy.special.expit, scipy.special.betainc
        outside = np.minimum(below(a, b, expit(low)) + below(b, a, expit(-high)), 1 - 2.0**-53)
        mass = rows_or_one(-np.expm1(np.log1p(-outside).sum(axis=1)), batched)
        return mass, mass

    def uniform_domain(self, x: ArrayLike, missing: float = 1e-12) -> Uniform:
        """A box that leaves out `missing` of p(x), or a little less: each stick loses missing/2d at either end."""
        rows, batched = self._check(x)
        if not 0 < missing < 1:
            raise InputError(f"missing is {missing!r}; it is a fraction between 0 and 1, such as 1e-12")
        a, b = self._shapes(rows)
        reach = scipy.special.ndtri(0.5 * missing / self.n_latents)
        low = rows_or_one(logits(a, b, np.array(reach)), batched)
        high = rows_or_one(logits(a, b, np.array(-reach)), batched)
        return Uniform(low, high, missing_mass=self.missing_mass(x, low, high)[1])


def prior_shape(name: str, value: ArrayLike, n_axes: tuple[int, ...]) -> Floats:
    """Shapes of a beta or Dirichlet prior, 0.1 to 10^6, or an InputError."""
    array = as_floats(name, value, n_axes=n_axes)
    if array.min() < LEAST or array.max() > 0.1 * MOST:
        raise InputError(f"{name} runs from {array.min()} to {array.max()}; it may be from {LEAST} to {0.1 * MOST:.0e}")
    return array
