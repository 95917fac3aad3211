r"""Binary responses in groups, each group with an intercept of its own: a logistic or probit mixed model.

    z_g ~ N(0, 1), g = 1 … G,   P(x_i = 1 given z) = F(η_i),   η_i = o_i + σ z_{g(i)}
    log p(x, z) = Σ_g log N(z_g; 0, 1) + Σ_i log F((2 x_i − 1) η_i),   F the logistic function, or Φ for probit

with offsets o_i, the fixed part of the linear predictor (covariates times coefficients), and the groups g(i) known.
Groups are independent, so that log p(x) is a sum of G one-dimensional integrals. Their integrands are analytic, and
log-concave with a second derivative of the log of at most −1: with m the mode, what lies beyond m ± c is below
exp(−c²/2) of the peak. Each is summed by the trapezoidal rule around its mode, which converges geometrically for such
functions, with the number of nodes doubled until two rules agree to 1e-11; where they do not by 2^14 nodes (σ far above
1000), that is an error and not a number. Cost: a few hundred values of F for each response. Source: C. E. McCulloch and
S. R. Searle (2001), Generalized, Linear, and Mixed Models, chapter 8; L. N. Trefethen and J. A. C. Weideman (2014),
SIAM Review 56, 385-458, doi:10.1137/130932132, for the rule.

The default proposal is for each group a mixture of a Gaussian at the mode, with the curvature there, a little wider,
and of 5 % prior: where all responses of a group are alike the posterior has a heavier tail than the first, and the
prior bounds every weight. The log joint costs an exponential a response and sample (probit: 24 multiply-adds and a
division more, for Φ); factors are multiplied, 32 at a time, before one logarithm.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

from logpx import _jit, vecmath
from logpx.activations import normal_tail
from logpx.checks import whole
from logpx.errors import InputError, NotAvailableError
from logpx.models.base import DEFAULT_WIDEN, check_x, positive, rows_or_one
from logpx.proposals import Gaussian, Product
from logpx.proposals.base import Floats, Integers, as_floats, packed, set_fields

LINKS = ("logit", "probit")
HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)
#: Factors that are multiplied before a logarithm is taken: none is below 1e-7 for |η| up to 1e6.
TOGETHER = 32
#: Half the width of what is integrated, in units of the prior; most nodes; agreement of two rules, in nats.
REACH, MOST_NODES, AGREE = 10.0, 2**14, 1e-11


@_jit.leaf
def _multiply_logistic(shift, slope, latent, product, out):
    """log F(t) = min(t, 0) − log(1 + exp(−|t|)): the first to out, 1 + exp(−|t|) to the product."""
    for i in range(out.size):
        t = shift + slope * latent[i]
        product[i] *= 1.0 + vecmath.exp(-abs(t))
        out[i] += t if t < 0.0 else 0.0


@_jit.leaf
def _multiply_normal(shift, slope, latent, product, out):
    """log Φ(t) = −t²/2 + log h for t < 0 and log(1 − h exp(−t²/2)) otherwise, h = Φ(−|t|) exp(t²/2)."""
    for i in range(out.size):
        t = shift + slope * latent[i]
        square = 0.5 * t * t
        tail = normal_tail(abs(t))
        product[i] *= tail if t < 0.0 else 1.0 - tail * vecmath.exp(-square)
        out[i] -= square if t < 0.0 else 0.0


@_jit.leaf
def _take_logarithms(sense, product, out):
    for i in range(out.size):
        out[i] += sense * vecmath.log(product[i])
        product[i] = 1.0


@_jit.kernel("log_joint")
def log_joint(theta, dims, x, z, out):
    """theta: σ, offsets (p,); dims: G, p, 1 for probit, where each group starts (G + 1,), responses by group (p,)."""
    n_groups, p, probit = dims[0], dims[1], dims[2]
    product, sense = np.ones(z.shape[1]), 1.0 if probit else -1.0
    for i in range(out.size):
        out[i] = -n_groups * HALF_LOG_2PI
    for g in range(n_groups):
        latent, start, end = z[g], dims[3 + g], dims[4 + g]
        for i in range(out.size):
            out[i] -= 0.5 * latent[i] * latent[i]
        for j in range(start, end):
            response = dims[4 + n_groups + j]
            sign = 2.0 * x[response] - 1.0
            shift, slope = sign * theta[1 + response], sign * theta[0]
            if probit:
                _multiply_normal(shift, slope, latent, product, out)
            else:
                _multiply_logistic(shift, slope, latent, product, out)
            if j % TOGETHER == TOGETHER - 1 or j == p - 1:
                _take_logarithms(sense, product, out)


def log_joint_scalar(theta, dims, x, z):
    """log p(x, z) of one sample, z (G,): the same quantity, one response at a time."""
    n_groups, probit = dims[0], dims[2]
    value = 0.0
    for g in range(n_groups):
        value -= 0.5 * z[g] * z[g] + HALF_LOG_2PI
        for j in range(dims[3 + g], dims[4 + g]):
            response = dims[4 + n_groups + j]
            t = (2 * x[response] - 1) * (theta[1 + response] + theta[0] * z[g])
            if not probit:
                value -= max(-t, 0.0) + math.log1p(math.exp(-abs(t)))
            elif t > 0:
                value += math.log1p(-0.5 * math.erfc(t / math.sqrt(2)))
            elif t > -30:
                value += math.log(0.5 * math.erfc(-t / math.sqrt(2)))
            else:
                series = 1 - 1 / t**2 + 3 / t**4 - 15 / t**6 + 105 / t**8 - 945 / t**10
                value += -0.5 * t * t - HALF_LOG_2PI - math.log(-t) + math.log(series)
    return value


@dataclass(frozen=True, eq=False, init=False)
class RandomIntercept:
    """A logistic or probit model of binary responses whose groups have normal intercepts.

    Parameters
    ----------
    groups : array (p,) of int
        The group of each response: all of 0 … G − 1, in any order.
    scale : float
        σ, the intercepts' standard deviation, above zero.
    offsets : array (p,), or float
        o, the rest of the linear predictor; zero by default.
    link : "logit" or "probit"

    Raises
    ------
    InputError
        Shapes that do not fit, a group without responses, a scale that is not above zero, another link; of data, an
        entry that is neither 0 nor 1.

    Examples
    --------
    >>> model = RandomIntercept([0, 0, 1], 1.5)
    >>> round(model.log_marginal([1, 1, 0]), 6)
    -1.822408
    """

    groups: Integers
    scale: float
    offsets: Floats
    link: str

    name: ClassVar[str] = "random_intercept"
    summary: ClassVar[str] = "logistic or probit regression with a normal intercept for each group"
    exact_route: ClassVar[str] = "trapezoidal rule for each group, doubled until two rules agree"
    second_route: ClassVar[str] = "SciPy's adaptive Gauss-Kronrod quadrature, group by group"
    log_joint: ClassVar[Any] = staticmethod(log_joint)
    log_joint_scalar: ClassVar[Callable[..., float]] = staticmethod(log_joint_scalar)
    theta: Floats = field(init=False, repr=False)
    dims: Integers = field(init=False, repr=False)
    n_latents: int = field(init=False, repr=False)
    n_observed: int = field(init=False, repr=False)
    prior: Gaussian = field(init=False, repr=False)

    def __init__(self, groups: ArrayLike, scale: float, offsets: ArrayLike = 0.0, link: str = "logit") -> None:
        given = as_floats("groups", groups, n_axes=(1,))
        offsets = as_floats("offsets", offsets, n_axes=(0, 1))
        members = np.unique(given)
        G, p = len(members), len(given)
        if not np.array_equal(members, np.arange(G)):
            raise InputError(f"groups are numbered {members[:8]} …; they must be 0 … G − 1, each with a response")
        if offsets.shape not in ((), (p,)):
            raise InputError(f"offsets has shape {offsets.shape}; {p} responses need ({p},), or one number")
        if link not in LINKS:
            raise InputError(f'link is {link!r}; it is "logit" or "probit"')
        of = given.astype(np.int64)
        sigma, shifts = float(positive("scale", scale, (0,))), np.broadcast_to(offsets, p)
        starts = np.concatenate([[0], np.cumsum(np.bincount(of))])
        dims = np.concatenate([[G, p, LINKS.index(link)], starts, np.argsort(of, kind="stable")])
        set_fields(self, groups=of, scale=sigma, offsets=packed(shifts), link=link, n_latents=G, n_observed=p)
        set_fields(self, theta=packed([sigma, *shifts]), dims=dims.astype(np.int64))
        set_fields(self, prior=Gaussian.diagonal(np.zeros(G), np.ones(G)))

    def _responses(self, x: ArrayLike) -> tuple[Floats, bool]:
        rows, batched = check_x(x, self.n_observed)
        bad = np.argwhere((rows != 0) & (rows != 1))
        if len(bad):
            row, column = (int(i) for i in bad[0])
            raise InputError(f"x holds {rows[row, column]} at row {row}, column {column}; responses are 0 or 1")
        return rows, batched

    def _slopes(self, t: Floats) -> tuple[Floats, Floats]:
        """First and second derivative of log F at t."""
        if self.link == "logit":
            first = scipy.special.expit(-t)
            return first, -first * (1 - first)
        first = np.exp(-0.5 * t**2 - HALF_LOG_2PI - scipy.special.log_ndtr(t))
        return first, -first * (first + t)

    def _modes(self, rows: Floats) -> tuple[Floats, Floats]:
        """Mode and standard deviation by the curvature of every group's integrand, (n, G) each.

        The log integrand's slope falls at least as fast as −z, so that its root is no further from 0 than its value
        there: bisection needs no other bracket.
        """
        signs, of_group = 2 * rows - 1, np.eye(self.n_latents)[self.groups]

        def derivatives(z: Floats) -> tuple[Floats, Floats]:
            first, second = self._slopes(signs * (self.offsets + self.scale * z[:, self.groups]))
            return self.scale * (signs * first) @ of_group - z, self.scale**2 * second @ of_group - 1

        high = np.abs(derivatives(np.zeros((len(rows), self.n_latents)))[0])
        low = -high
        for _ in range(64):
            middle = 0.5 * (low + high)
            rising = derivatives(middle)[0] > 0
            low, high = np.where(rising, middle, low), np.where(rising, high, middle)
        modes = 0.5 * (low + high)
        return modes, (-derivatives(modes)[1]) ** -0.5

    def log_marginal(self, x: ArrayLike) -> Any:
        """Exact log p(x) in nats: a float for x (p,), an array (n,) for x (n, p).

        Raises
        ------
        NotAvailableError
            An integral that 2^14 nodes do not settle to 1e-11 nats.
        """
        rows, batched = self._responses(x)
        modes, spreads = self._modes(rows)
        values = np.zeros(len(rows))
        for g in range(self.n_latents):
            values += self._log_integrals(rows, g, modes[:, g, None], spreads[:, g, None])
        return rows_or_one(values, batched)

    def _log_integrals(self, rows: Floats, g: int, modes: Floats, spreads: Floats) -> Floats:
        mine = self.groups == g
        signs, offsets = (2 * rows[:, mine] - 1)[:, :, None], self.offsets[mine][:, None]
        log_f = scipy.special.log_expit if self.link == "logit" else scipy.special.log_ndtr

        def log_integrand(z: Floats) -> Floats:
            terms: Floats = log_f(signs * (offsets + self.scale * z[:, None, :])).sum(axis=1)
            return terms - 0.5 * z**2 - HALF_LOG_2PI

        peaks, reach = log_integrand(modes), 4 * spreads
        while np.any(short := self._too_short(log_integrand, modes, peaks, reach)):
            reach = np.where(short, np.minimum(1.5 * reach, REACH), reach)
        n_nodes, before = 64, np.full(len(rows), np.inf)
        while n_nodes <= MOST_NODES:
            nodes = modes + reach * np.linspace(-1, 1, n_nodes + 1)
            total = np.exp(log_integrand(nodes) - peaks).sum(axis=1)
            values = peaks[:, 0] + np.log(2 * reach[:, 0] / n_nodes * total)
            if np.abs(values - before).max() < AGREE:
                return values
            n_nodes, before = 2 * n_nodes, values
        raise NotAvailableError(
            f"group {g}: {MOST_NODES} nodes do not settle its integral; scale is {self.scale:g}, and its integrand too "
            "steep for the trapezoidal rule"
        )

    @staticmethod
    def _too_short(log_integrand: Any, modes: Floats, peaks: Floats, reach: Floats) -> NDArray[np.bool_]:
        """Where the integrand is not yet below exp(−45) of its peak on both sides."""
        highest = np.maximum(log_integrand(modes - reach), log_integrand(modes + reach))
        return (highest > peaks - 45) & (reach < REACH)

    def default_proposal(self, x: ArrayLike, widen: float | None = None) -> Product:
        """Each latent from 95 % Gaussian at its mode, `widen` times as wide as the curvature says, and 5 % prior.

        None is 1 + 0.3/√G. No weight is above 20^G times the largest likelihood, whatever `widen` is.
        """
        rows, batched = self._responses(x)
        least = 1 + (DEFAULT_WIDEN - 1) / math.sqrt(self.n_latents)
        factor = least if widen is None else float(positive("widen", widen, (0,)))
        modes, spreads = self._modes(rows)
        means, scales = np.stack([modes, 0 * modes], axis=-1), np.stack([factor * spreads, 1 + 0 * modes], axis=-1)
        shares = np.broadcast_to([0.95, 0.05], means.shape)
        return Product(*(rows_or_one(part, batched) for part in (shares, means, scales)))

    def sample(self, n: int, seed: int = 0, *, return_latents: bool = False) -> Any:
        """n rows drawn from the model: X (n, p) of zeros and ones, or (X, Z (n, G)) with return_latents."""
        rng = np.random.default_rng(seed)
        Z = rng.standard_normal((whole("n", n), self.n_latents))
        F = scipy.special.expit if self.link == "logit" else scipy.special.ndtr
        chances = F(self.offsets + self.scale * Z[:, self.groups])
        X = (rng.random(chances.shape) < chances).astype(np.float64)
        return (X, Z) if return_latents else X

    @classmethod
    def example(cls, seed: int = 0) -> tuple[RandomIntercept, Floats]:
        """A small logistic model, 5 groups of 4 to 8 responses with a covariate, and 5 rows drawn from it."""
        rng = np.random.default_rng(seed)
        groups = np.repeat(np.arange(5), [4, 5, 6, 7, 8])
        model = cls(groups, 1.2, 0.3 + 0.8 * rng.standard_normal(len(groups)))
        return model, model.sample(5, seed + 1)
