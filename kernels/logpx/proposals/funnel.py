r"""A funnel-shaped proposal: the first latent is the log variance of all others.

    z_1 = a ε_1,   z_j = b exp(z_1/2) ε_j, j = 2 … d
    log q(z) = −(d/2) log 2π − log a − (d − 1)(log b + z_1/2) − ½|ε|²

For posteriors of that shape, as those of Neal's funnel and of hierarchical models with few data, for which a Gaussian
of fixed scales has infinite variance. The density is evaluated at the noise. A sample costs an exponential and 2 d
multiply-adds. Source: R. M. Neal (2003), Ann. Statist. 31, 705-767, doi:10.1214/aos/1056562461, section 8.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from logpx import _jit, vecmath
from logpx.checks import positive_number, whole
from logpx.proposals.base import Floats, Integers, Proposal, packed, set_fields


@_jit.kernel("proposal")
def funnel_kernel(lam, dims, eps, z, log_q):
    """lam: constant, a, b; dims: d."""
    d, neck = dims[0], z[0]
    scale = np.empty(log_q.size)
    for i in range(log_q.size):
        e = eps[0, i]
        neck[i] = lam[1] * e
        scale[i] = lam[2] * vecmath.exp(0.5 * neck[i])
        log_q[i] = lam[0] - 0.5 * (e * e + (d - 1) * neck[i])
    for j in range(1, d):
        noise, latent = eps[j], z[j]
        for i in range(log_q.size):
            e = noise[i]
            latent[i] = scale[i] * e
            log_q[i] -= 0.5 * e * e


@dataclass(frozen=True, eq=False, init=False)
class Funnel(Proposal):
    """A funnel around 0 in d dimensions.

    Parameters
    ----------
    n_latents : int
        d, at least 2.
    neck : float
        a, the standard deviation of z_1, above zero.
    spread : float
        b, the factor on the other standard deviations exp(z_1/2), above zero.

    Raises
    ------
    InputError
        A number that is not above zero, fewer than 2 latents.

    Examples
    --------
    >>> q = Funnel(2, 3.0, 1.0)
    >>> round(float(q.log_density([0.0, 0.0])), 6)
    -2.936489
    """

    neck: float
    spread: float

    name: ClassVar[str] = "funnel"
    base: str = field(init=False, repr=False)
    missing_mass: float = field(init=False, repr=False)
    kernel: Any = field(init=False, repr=False)
    n_base: int = field(init=False, repr=False)
    n_latents: int = field(init=False, repr=False)
    lam: Floats = field(init=False, repr=False)
    dims: Integers = field(init=False, repr=False)

    def __init__(self, n_latents: int, neck: float, spread: float = 1.0) -> None:
        d = whole("n_latents", n_latents, least=2)
        a = positive_number("neck", neck, "the standard deviation of z_1")
        b = positive_number("spread", spread, "a factor on exp(z_1/2)")
        constant = -0.5 * d * np.log(2 * np.pi) - np.log(a) - (d - 1) * np.log(b)
        set_fields(self, neck=a, spread=b, kernel=funnel_kernel, base="normal", missing_mass=0.0, n_base=d)
        set_fields(self, n_latents=d, lam=packed([constant, a, b]), dims=np.array([d], dtype=np.int64))

    def log_density(self, z: ArrayLike) -> Floats:
        """log q(z) in nats, z (..., d)."""
        z = np.asarray(z, dtype=np.float64)
        neck, rest = z[..., 0], z[..., 1:]
        squares = (neck / self.neck) ** 2 + (rest**2).sum(axis=-1) * np.exp(-neck) / self.spread**2
        logs = np.log(self.neck) + (self.n_latents - 1) * (np.log(self.spread) + 0.5 * neck)
        values: Floats = -0.5 * self.n_latents * np.log(2 * np.pi) - logs - 0.5 * squares
        return values
