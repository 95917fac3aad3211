r"""A proposal for a component and for what lies within it: one discrete latent, then Gaussian ones given it.

    c ~ π,   z given c ~ N(m_c, L_c L_cᵀ);   log q(c, z) = log π_c + log N(z; m_c, L_c L_cᵀ)

It is a mixture of Gaussians whose component is a latent too, so that the density is that of one component and costs
nothing that grows with their number K. A draw takes c from the first number of the noise, by inversion of the
cumulative probabilities on the scale of a normal, and z = m_c + L_c ε from the others; the density is evaluated at ε. A
component of probability zero is never drawn. A sample costs K comparisons and d(d + 1)/2 + d multiply-adds, their
factors looked up by c. In float32 all is float32 but log q.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import scipy
from numpy.typing import ArrayLike

from logpx import _jit
from logpx.errors import InputError
from logpx.proposals.base import Floats, Integers, Proposal, as_floats, packed, set_fields, two_parts
from logpx.proposals.categorical import distributions, upper_edges


@_jit.leaf
def _begin(means, choice, latent):
    for i in range(latent.size):
        latent[i] = means[choice[i]]


@_jit.leaf
def _add(factors, choice, noise, latent):
    for i in range(latent.size):
        latent[i] += factors[choice[i]] * noise[i]


@_jit.kernel("proposal", dtypes=("float64", "float32"))
def conditional_gaussian_kernel(lam, dims, eps, z, log_q):
    """lam: edges (K,), log π − log |L| − (d/2) log 2π in two parts (K, 2), means (d, K), L (d, d, K); dims: K, d."""
    n_components, d = dims[0], dims[1]
    choice, half = np.zeros(z.shape[1], np.int64), z.dtype.type(0.5)
    chooser, component = eps[0], z[0]
    for k in range(n_components - 1):
        edge = lam[k]
        for i in range(choice.size):
            choice[i] += 1 if chooser[i] >= edge else 0
    constants = np.empty(n_components)
    for k in range(n_components):
        at = n_components + 2 * k
        constants[k] = np.float64(lam[at]) + np.float64(lam[at + 1])
    for i in range(choice.size):
        component[i] = choice[i]
        log_q[i] = constants[choice[i]]
    means = lam[3 * n_components : (3 + d) * n_components].reshape(d, n_components)
    factors = lam[(3 + d) * n_components : (3 + d + d * d) * n_components].reshape(d, d, n_components)
    for j in range(d):
        _begin(means[j], choice, z[1 + j])
        for k in range(j + 1):
            _add(factors[j, k], choice, eps[1 + k], z[1 + j])
        noise = eps[1 + j]
        for i in range(choice.size):
            log_q[i] -= np.float64(half * noise[i] * noise[i])


@dataclass(frozen=True, eq=False, init=False)
class ConditionalGaussian(Proposal):
    """A component, an integer-valued float 0 … K − 1, and d Gaussian latents given it.

    Parameters
    ----------
    probabilities : array (K,) or (n, K)
        Of the components: at least zero, with sum 1 (within 1e-9; then scaled to 1). With n rows, row i is for row i
        of x.
    means : array (K, d) or (n, K, d)
    cholesky : array (K, d, d)
        Lower Cholesky factors of the covariances, the same for all rows.
    missing_mass : float or array (n,), optional
        An upper bound on the fraction of p(x) in components of probability zero; 0.0 where there are none.

    Raises
    ------
    InputError
        Shapes that do not fit, entries that are not finite, probabilities that are no distribution, a factor with
        anything above its diagonal or a diagonal that is not above zero.

    Examples
    --------
    >>> q = ConditionalGaussian([0.5, 0.5], [[-1.0], [1.0]], [[[1.0]], [[2.0]]])
    >>> q.log_density([[0.0, -1.0], [1.0, 1.0]]).round(6)
    array([-1.612086, -2.305233])
    """

    probabilities: Floats
    means: Floats
    cholesky: Floats
    missing_mass: float | Floats | None

    name: ClassVar[str] = "conditional_gaussian"
    base: str = field(init=False, repr=False)
    kernel: Any = field(init=False, repr=False)
    n_base: int = field(init=False, repr=False)
    n_latents: int = field(init=False, repr=False)
    lam: Floats = field(init=False, repr=False)
    dims: Integers = field(init=False, repr=False)

    def __init__(
        self,
        probabilities: ArrayLike,
        means: ArrayLike,
        cholesky: ArrayLike,
        *,
        missing_mass: float | Floats | None = None,
    ) -> None:
        shares = distributions("probabilities", probabilities, n_axes=(1, 2))
        means, factors = as_floats("means", means, n_axes=(2, 3)), as_floats("cholesky", cholesky, n_axes=(3,))
        n_components, d = means.shape[-2:]
        if means.shape[:-1] != shares.shape or factors.shape != (n_components, d, d):
            raise InputError(
                f"probabilities {shares.shape}, means {means.shape}, cholesky {factors.shape} do not fit; they must be "
                "(K,), (K, d) and (K, d, d), or (n, K), (n, K, d) and (K, d, d)"
            )
        diagonals = np.diagonal(factors, axis1=-2, axis2=-1)
        if np.any(np.triu(factors, 1)) or np.any(diagonals <= 0):
            raise InputError("cholesky holds no lower Cholesky factors: pass np.linalg.cholesky(covariances)")
        rows = shares.shape[:-1]
        with np.errstate(divide="ignore"):
            constants = np.log(shares) - np.log(diagonals).sum(axis=-1) - 0.5 * d * np.log(2 * np.pi)
        below = upper_edges(shares)
        edges = np.where(below > 1, np.inf, scipy.special.ndtri(np.minimum(below, 1 - 2.0**-53)))
        roots = np.moveaxis(factors, 0, -1).reshape(-1)
        own = edges, two_parts(constants).reshape(*rows, -1), np.swapaxes(means, -1, -2).reshape(*rows, -1)
        lam = np.concatenate([*own, np.broadcast_to(roots, (*rows, roots.size))], axis=-1)
        missing = 0.0 if missing_mass is None and np.all(shares > 0) else missing_mass
        set_fields(self, probabilities=shares, means=means, cholesky=factors, missing_mass=missing, base="normal")
        set_fields(self, kernel=conditional_gaussian_kernel, n_base=d + 1, n_latents=d + 1, n_discrete=1)
        set_fields(self, lam=packed(lam), dims=np.array([n_components, d], dtype=np.int64))

    def log_density(self, z: ArrayLike) -> Floats:
        """log q(c, z) in nats, the argument (..., 1 + d), or (..., n, 1 + d) where there are n rows; −inf elsewhere."""
        given = np.asarray(z, dtype=np.float64)
        state, n_components = given[..., 0], self.probabilities.shape[-1]
        logs = np.full(given.shape[:-1], -np.inf)
        for k in range(n_components):
            centred = np.moveaxis(given[..., 1:] - self.means[..., k, :], -1, 0)
            root = self.cholesky[k]
            flat = scipy.linalg.solve_triangular(root, centred.reshape(len(root), -1), lower=True)
            squares = (flat**2).sum(axis=0).reshape(state.shape)
            with np.errstate(divide="ignore"):
                constant = np.log(self.probabilities[..., k]) - np.log(np.diagonal(root)).sum()
            value = constant - 0.5 * len(root) * np.log(2 * np.pi) - 0.5 * squares
            logs = np.where(state == k, value, logs)
        return logs
