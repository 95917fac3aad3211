r"""Independent logits of beta variables: the posterior of a rate, or of a simplex broken into sticks.

    v_k ~ Beta(a_k, b_k),   z_k = log(v_k/(1 − v_k)),
    log q(z) = Σ_k a_k min(z_k, 0) − b_k max(z_k, 0) − (a_k + b_k) log(1 + e^{−|z_k|}) − log B(a_k, b_k)

The Jacobian v(1 − v) of the logit is in the exponents: a and b, where the density of v has a − 1 and b − 1. On this
scale there are no poles, whatever a and b are, and the tails are exponential, e^{a z} and e^{−b z}.

A draw is z = T(ε), ε standard normal, T = logit ∘ (quantile of the beta distribution) ∘ Φ: a smooth and nearly straight
function, kept as quintic Hermite pieces of length 1/8 over |ε| ≤ 9 that agree with T, T' and T'' at the nodes (noise
ends at 8.6). Each piece therefore holds exactly its probability. Within a piece the density of what is drawn is off by
a share (measured) of 1e−6 at a = b = 0.1, 7e−8 at 0.2, 3e−9 at 0.5, 5e−10 at 1 and less above, now more, now less, so
that means over q of smooth functions are right to 1e−8 at 0.1 and 1e−9 from 0.2 on; for shapes above 10^5 the rounding
of log B limits log q to 1e−9. log q is the formula above, at the z drawn. A latent costs a look-up, five multiply-adds,
an exponential and a logarithm.

Between two such distributions, with ψ the digamma function and sums over k,

    KL(p‖q)         = Σ log B(a', b')/B(a, b) + (a − a') ψ(a) + (b − b') ψ(b) − (a − a' + b − b') ψ(a + b)
    log E_q[(p/q)²] = Σ log B(2a − a', 2b − b') + log B(a', b') − 2 log B(a, b), finite where a' < 2a and b' < 2b
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import scipy
from numpy.typing import ArrayLike

from logpx import _jit, vecmath
from logpx.errors import InputError
from logpx.proposals.base import Floats, Integers, Proposal, as_floats, no_closed_form, packed, set_fields

#: Smallest and largest shape: see above.
LEAST, MOST = 0.1, 1e7
#: The pieces of T: from −REACH to REACH, so many to a unit, six coefficients each.
REACH, PER_UNIT, N_COEFFICIENTS = 9, 8, 6
N_PIECES = 2 * REACH * PER_UNIT


@_jit.inner
def log_density(a, b, constant, z, out):
    """out = constant + Σ_k log of v_k^{a_k} (1 − v_k)^{b_k} at z = logit v; a, b (d,), z (d, B), float64."""
    for k in range(z.shape[0]):
        first, second, latent = a[k], b[k], z[k]
        both = first + second
        for i in range(out.size):
            value = latent[i]
            edge = first * value if value < 0.0 else -second * value
            term = edge - both * vecmath.log1p(vecmath.exp(-abs(value)))
            out[i] = (out[i] if k > 0 else constant) + term


@_jit.kernel("proposal")
def logit_beta_kernel(lam, dims, eps, z, log_q):
    """lam: −Σ log B, a (d,), b (d,), coefficients of the pieces (d, 144, 6) in rising order; dims: d."""
    d = dims[0]
    for k in range(d):
        noise, latent, first = eps[k], z[k], 1 + 2 * d + k * N_PIECES * N_COEFFICIENTS
        for i in range(latent.size):
            place = (noise[i] + REACH) * PER_UNIT
            place = place if place > 0.0 else 0.0
            piece = min(int(place), N_PIECES - 1)
            t, at = place - piece, first + piece * N_COEFFICIENTS
            value = lam[at + 4] + t * lam[at + 5]
            value = lam[at + 2] + t * (lam[at + 3] + t * value)
            latent[i] = lam[at] + t * (lam[at + 1] + t * value)
    log_density(lam[1 : 1 + d], lam[1 + d : 1 + 2 * d], lam[0], z, log_q)


def logits(a: Floats, b: Floats, eps: Floats) -> Floats:
    """T(ε), the logit of the beta quantile at Φ(ε), with every digit also near 0 and 1; arguments are broadcast."""
    tail, low = scipy.special.ndtr(-np.abs(eps)), eps < 0
    inverse, of_rest = scipy.special.betaincinv, scipy.special.betainccinv
    v = np.where(low, inverse(a, b, tail), of_rest(a, b, tail))
    rest = np.where(low, of_rest(b, a, tail), inverse(b, a, tail))
    tiny = scipy.special.betaln(a, b) + np.log(tail)
    with np.errstate(divide="ignore"):
        log_v = np.where(v > 1e-290, np.log(v), (tiny + np.log(a)) / a)
        log_rest = np.where(rest > 1e-290, np.log(rest), (tiny + np.log(b)) / b)
    values: Floats = log_v - log_rest
    return values


def _pieces(a: Floats, b: Floats) -> Floats:
    """Coefficients of T, (..., d, 144, 6), from T, T' = φ/q(T) and T'' = −T' (ε + T' (a − (a + b) v)) at the nodes."""
    a, b, eps = a[..., None], b[..., None], np.arange(-REACH * PER_UNIT, REACH * PER_UNIT + 1) / PER_UNIT
    z = logits(a, b, eps)
    slope = np.exp(-0.5 * eps**2 - 0.5 * np.log(2 * np.pi) - _log_density(a, b, z))
    bend = -slope * (eps + slope * (a - (a + b) * scipy.special.expit(z))) / PER_UNIT**2
    slope = slope / PER_UNIT
    z0, s0, half_bend = z[..., :-1], slope[..., :-1], 0.5 * bend[..., :-1]
    rise, turn = z[..., 1:] - z0 - s0 - half_bend, slope[..., 1:] - s0 - 2 * half_bend
    twist = bend[..., 1:] - 2 * half_bend
    third, fourth = 10 * rise - 4 * turn + 0.5 * twist, -15 * rise + 7 * turn - twist
    return np.stack([z0, s0, half_bend, third, fourth, 6 * rise - 3 * turn + 0.5 * twist], axis=-1)


def _log_density(a: Floats, b: Floats, z: Floats) -> Floats:
    values: Floats = a * scipy.special.log_expit(z) + b * scipy.special.log_expit(-z) - scipy.special.betaln(a, b)
    return values


@dataclass(frozen=True, eq=False, init=False)
class LogitBeta(Proposal):
    """Independent latents, each the logit of a beta variable.

    Parameters
    ----------
    a, b : array, (d,) or (n, d)
        Shapes, 0.1 to 10^7; with n rows, row i is for row i of x.

    Raises
    ------
    InputError
        Shapes that do not fit, or entries that are not finite, below 0.1 or above 10^7.

    Examples
    --------
    >>> q = LogitBeta([1.0], [1.0])
    >>> float(np.exp(q.log_density([0.0])))
    0.25
    """

    a: Floats
    b: Floats

    name: ClassVar[str] = "logit_beta"
    base: str = field(init=False, repr=False)
    missing_mass: float = field(init=False, repr=False)
    kernel: Any = field(init=False, repr=False)
    n_base: int = field(init=False, repr=False)
    n_latents: int = field(init=False, repr=False)
    lam: Floats = field(init=False, repr=False)
    dims: Integers = field(init=False, repr=False)

    def __init__(self, a: ArrayLike, b: ArrayLike) -> None:
        a, b = as_floats("a", a, n_axes=(1, 2)), as_floats("b", b, n_axes=(1, 2))
        if a.shape != b.shape:
            raise InputError(f"a has shape {a.shape} and b {b.shape}; they must be the same, (d,) or (n, d)")
        for name, shape in (("a", a), ("b", b)):
            if shape.min() < LEAST or shape.max() > MOST:
                raise InputError(f"{name} runs from {shape.min()} to {shape.max()}; allowed is {LEAST} to {MOST:.0e}")
        d = a.shape[-1]
        constant = -scipy.special.betaln(a, b).sum(axis=-1, keepdims=True)
        pieces = _pieces(a, b).reshape(*a.shape[:-1], -1)
        set_fields(self, a=a, b=b, kernel=logit_beta_kernel, base="normal", missing_mass=0.0, n_base=d, n_latents=d)
        set_fields(self, lam=packed(np.concatenate([constant, a, b, pieces], axis=-1)), dims=np.array([d], np.int64))

    def log_density(self, z: ArrayLike) -> Floats:
        """log q(z) in nats, z (..., d), or (..., n, d) where there are n rows of shapes."""
        values: Floats = _log_density(self.a, self.b, np.asarray(z, dtype=np.float64)).sum(axis=-1)
        return values

    def kl(self, q: Proposal) -> Any:
        """KL(self‖q) in nats against another LogitBeta: a float or (n,)."""
        if not isinstance(q, LogitBeta):
            raise no_closed_form(self, q)
        digamma, more, rest = scipy.special.digamma, self.a - q.a, self.b - q.b
        terms = scipy.special.betaln(q.a, q.b) - scipy.special.betaln(self.a, self.b)
        terms = terms + more * digamma(self.a) + rest * digamma(self.b) - (more + rest) * digamma(self.a + self.b)
        return terms.sum(axis=-1)

    def log_second_moment(self, q: Proposal) -> Any:
        """log E_q[(self/q)²] in nats against another LogitBeta: a float or (n,); inf where it diverges."""
        if not isinstance(q, LogitBeta):
            raise no_closed_form(self, q)
        a, b, betaln = 2 * self.a - q.a, 2 * self.b - q.b, scipy.special.betaln
        finite = (a > 0) & (b > 0)
        terms = betaln(np.where(finite, a, 1.0), np.where(finite, b, 1.0))
        terms = terms + betaln(q.a, q.b) - 2 * betaln(self.a, self.b)
        return np.where(finite, terms, np.inf).sum(axis=-1)
