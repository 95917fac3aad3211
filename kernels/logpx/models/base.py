"""What every model p(x, z) is, the user's own `Model`, and the checks that all models share.

A model is a log-joint kernel with its packed parameters, and whatever else is known about it: a prior, a good
proposal, the exact log p(x). Nothing beyond the kernel is needed to estimate log p(x); what is missing is None.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike

from logpx.checks import whole
from logpx.errors import InputError
from logpx.models.parameters import pack, with_fields
from logpx.proposals.base import Floats, Integers, Proposal, as_floats, set_fields

#: Largest entry of x: beyond it squares overflow.
LARGEST = 1e150
#: How much wider than the posterior a default proposal is at least, so that weights vary and tails are covered.
DEFAULT_WIDEN = 1.3


@runtime_checkable
class LatentModel(Protocol):
    """What the engine reads of a model, built in or brought by a user.

    Attributes
    ----------
    name : str
    log_joint : dispatcher of kind "log_joint"
        f(theta, dims, x, z, out), out[i] = log p(x, z[:, i]) in nats.
    theta : ndarray (m,) of float64; dims : ndarray of int64
        The packed parameters and the sizes that the kernel takes.
    n_latents : int
        Of a model that declares `n_discrete` too, the first so many are whole numbers; otherwise its prior tells.
    n_observed : int or None
        Length of a row of x; None where any length will do.
    prior : Proposal or None
    default_proposal, log_marginal : callable or None
        x to a good proposal; x, (p,) or (n, p), to the exact log p(x), float or (n,).
    """

    name: str
    log_joint: Any
    theta: Floats
    dims: Integers
    n_latents: int
    n_observed: int | None
    prior: Proposal | None
    default_proposal: Any
    log_marginal: Any


@dataclass(frozen=True, eq=False, init=False)
class Model:
    """A model of your own: a log-joint kernel and what is known beside it.

    Parameters
    ----------
    log_joint : kernel
        A function under `@logpx.log_joint` (a block at a time) or `@logpx.per_sample` (one sample at a time).
    theta : array (m,), or dict of arrays
        Parameters. A vector reaches the kernel as it is. Of a dict of numbers and arrays of up to 3 axes the kernel
        gets a named tuple: theta.weights[i, j], and a float where the entry is a number. The dict is packed into one
        vector, in its own order, and the attribute `theta` is that vector.
    n_latents : int
        Length of z, at least 1.
    dims : sequence of int
        Sizes that the kernel needs.
    prior : Proposal, optional
        Where z is drawn from under the model: for prior Monte Carlo, and the last resort without a proposal.
    default_proposal : Proposal or callable x → Proposal, optional
    log_marginal : callable, optional
        The exact log p(x), where it is known: of one row x (p,) a float, of rows (n, p) an array (n,). For one or two
        latents `logpx.quadrature.certified` computes it.
    grad : kernel, optional
        Reserved.
    n_observed : int, optional
        Length of a row of x, checked where given: give it. Kernels run without bounds checks. An index past an end of
        z or out reads nan or is found out when it is written; one past the end of x or theta reads whatever lies
        there. NUMBA_BOUNDSCHECK=1 in the environment finds every such index.
    name : str, optional
        The kernel's own name by default.

    Raises
    ------
    InputError
        theta not finite, neither a vector nor such a dict, n_latents below 1, a log_joint that is not decorated, a
        prior of another dimension.

    Examples
    --------
    >>> import logpx.models.user as user
    >>> from logpx.proposals import Gaussian
    >>> @user.per_sample
    ... def shift(theta, dims, x, z):
    ...     return -0.5 * z[0] ** 2 - 0.5 * theta[0] * (x[0] - z[0]) ** 2
    >>> Model(shift, [4.0], 1, prior=Gaussian([0.0], [1.0])).name
    'shift'
    >>> @user.per_sample
    ... def affine(theta, dims, x, z):
    ...     return -0.5 * z[0] ** 2 - 0.5 * ((x[0] - theta.slopes[0] * z[0]) / theta.scale) ** 2
    >>> Model(affine, {"slopes": [2.0], "scale": 0.5}, 1).theta
    array([2. , 0.5])
    """

    log_joint: Any
    theta: Floats
    n_latents: int
    dims: Integers
    prior: Proposal | None
    default_proposal: Callable[[Any], Proposal] | None
    log_marginal: Callable[[Any], Any] | None
    grad: Any
    n_observed: int | None
    name: str

    def __init__(
        self,
        log_joint: Any,
        theta: ArrayLike | Mapping[str, ArrayLike],
        n_latents: int,
        *,
        dims: Sequence[int] = (),
        prior: Proposal | None = None,
        default_proposal: Proposal | Callable[[Any], Proposal] | None = None,
        log_marginal: Callable[[Any], Any] | None = None,
        grad: Any = None,
        n_observed: int | None = None,
        name: str | None = None,
    ) -> None:
        check_kernel(log_joint)
        sizes = _as_dims(dims)
        if isinstance(theta, Mapping):
            vector, layout = pack(theta)
            kernel = with_fields(log_joint, layout)
        else:
            vector, kernel = as_theta(theta), log_joint
        set_fields(self, log_joint=kernel, theta=vector, n_latents=whole("n_latents", n_latents))
        set_fields(self, dims=sizes, grad=grad, name=name or getattr(log_joint, "__name__", "model"))
        set_fields(self, n_observed=None if n_observed is None else whole("n_observed", n_observed))
        if log_marginal is not None and not callable(log_marginal):
            raise InputError(f"log_marginal is {log_marginal!r}; give a function of x, or leave it out")
        self._check_proposals(prior, default_proposal)
        fixed = isinstance(default_proposal, Proposal)
        chosen = (lambda x: default_proposal) if fixed else default_proposal
        set_fields(self, prior=prior, default_proposal=chosen, log_marginal=log_marginal)

    def _check_proposals(self, prior: Any, default: Any) -> None:
        for role, given in (("prior", prior), ("default_proposal", default)):
            if isinstance(given, Proposal) and given.kernel is not None and given.n_latents != self.n_latents:
                raise InputError(f"the {role} has {given.n_latents} latents and the model {self.n_latents}")
        if prior is not None and not isinstance(prior, Proposal):
            raise InputError(f"prior is a {type(prior).__name__}; give a proposal, such as Gaussian(mean, scale)")
        if default is not None and not isinstance(default, Proposal) and not callable(default):
            raise InputError(f"default_proposal is a {type(default).__name__}; give a proposal or a function of x")


def check_kernel(log_joint: Any) -> None:
    """Raise InputError unless this is a decorated log-joint kernel."""
    kind = getattr(log_joint, "kind", None)
    if kind == "log_joint":
        return
    name = getattr(log_joint, "__name__", repr(log_joint))
    if kind is not None:
        raise InputError(f"{name} is a kernel of kind {kind}; a model needs a log_joint kernel")
    raise InputError(
        f"{name} is not a kernel: put @logpx.log_joint on it if it fills a block, f(theta, dims, x, z, out), "
        "or @logpx.per_sample if it returns one number, f(theta, dims, x, z)"
    )


def _as_dims(dims: Any) -> Integers:
    """Sizes as an int64 vector, or an InputError."""
    if np.ndim(dims) != 1:
        raise InputError(f"dims is {dims!r}; give a sequence of whole numbers, such as ({dims!r},)")
    return np.array([whole(f"dims[{i}]", size, least=0) for i, size in enumerate(dims)], dtype=np.int64)


def as_theta(theta: ArrayLike) -> Floats:
    """Packed parameters as a finite float64 vector (it may be empty), or an InputError."""
    with contextlib.suppress(ValueError):  # of rows of unequal length: as_floats says so
        if np.shape(theta) == (0,):
            return np.zeros(0)
    return as_floats("theta", theta, n_axes=(1,))


def positive(name: str, value: ArrayLike, n_axes: tuple[int, ...]) -> Floats:
    """An array of finite numbers above zero, or an InputError."""
    array = as_floats(name, value, n_axes=n_axes)
    bad = np.argwhere(array <= 0)
    if len(bad):
        at = tuple(bad[0])
        where = "".join(f"[{int(i)}]" for i in at)
        raise InputError(f"{name}{where} is {array[at]}; it must be above zero")
    return array


def strictly_between(name: str, value: ArrayLike, n_axes: tuple[int, ...]) -> Floats:
    """An array of probabilities above 0 and below 1, or an InputError."""
    array = as_floats(name, value, n_axes=n_axes)
    bad = np.argwhere((array <= 0) | (array >= 1))
    if len(bad):
        at = tuple(int(i) for i in bad[0])
        where = ", ".join(str(i) for i in at)
        raise InputError(
            f"{name}[{where}] is {array[at]}; it must be above 0 and below 1 (what is nearly impossible: 1e-12, say)"
        )
    return array


def factor_of(name: str, covariance: ArrayLike, d: int) -> Floats:
    """Lower Cholesky factor (d, d) of a covariance, or an InputError."""
    matrix = as_floats(name, covariance, n_axes=(2,))
    if matrix.shape != (d, d):
        raise InputError(f"{name} has shape {matrix.shape}; it must be ({d}, {d})")
    if not np.allclose(matrix, matrix.T, rtol=1e-10, atol=0):
        raise InputError(f"{name} is not symmetric; give a covariance, such as (C + C.T)/2")
    try:
        return np.asarray(np.linalg.cholesky(matrix), dtype=np.float64)
    except np.linalg.LinAlgError:
        least = np.linalg.eigvalsh(matrix)[0]
        raise InputError(f"{name} has eigenvalue {least:.3g}; a covariance must be positive definite") from None


def check_x(x: ArrayLike, n_observed: int | None) -> tuple[Floats, bool]:
    """Data as rows (n, p) of finite float64, and whether there was a row axis.

    Parameters
    ----------
    x : array, (p,) or (n, p)
    n_observed : int or None
        The p that the model needs; None accepts any.

    Raises
    ------
    InputError
        Another shape, not real numbers, or an entry that is not finite: the message names its row and column.
    """
    try:
        given = np.asarray(x)
    except ValueError as error:
        raise InputError(f"x is no array: {error}; give rows of equal length, (p,) or (n, p)") from error
    wanted = "p" if n_observed is None else str(n_observed)
    if given.dtype.kind not in "fiub":
        raise InputError(f"x has dtype {given.dtype}; give real numbers of shape ({wanted},) or (n, {wanted})")
    if given.ndim not in (1, 2) or (n_observed is not None and given.shape[-1] != n_observed):
        raise InputError(f"x has shape {given.shape}; it must be ({wanted},) or (n, {wanted})")
    if given.size == 0:
        raise InputError(f"x has shape {given.shape} and is empty; give at least one row and one column")
    rows = np.ascontiguousarray(np.atleast_2d(given), dtype=np.float64)
    bad = np.argwhere(~(np.abs(rows) <= LARGEST))
    if len(bad):
        row, column = (int(i) for i in bad[0])
        at = f"column {column}" if given.ndim == 1 else f"row {row}, column {column}"
        raise InputError(
            f"x holds {rows[row, column]} at {at} (such entries: {len(bad)}); every entry must be finite, and its "
            f"square too: at most {LARGEST:.0e} in size"
        )
    return rows, given.ndim == 2


def check_states(x: ArrayLike, n_observed: int | None, n_states: ArrayLike) -> tuple[Floats, bool]:
    """Data as `check_x` gives it, of whole numbers from 0 to n_states − 1, one number or (p,); else an InputError."""
    rows, batched = check_x(x, n_observed)
    limit = np.broadcast_to(n_states, rows.shape)
    bad = np.argwhere((rows < 0) | (rows >= limit) | (rows != np.floor(rows)))
    if len(bad):
        row, column = (int(i) for i in bad[0])
        at = f"row {row}, column {column}" if batched else f"column {column}"
        raise InputError(
            f"x holds {rows[row, column]} at {at} (such entries: {len(bad)}); it must be a whole number from 0 to "
            f"{int(limit[row, column]) - 1} there"
        )
    return rows, batched


def rows_or_one(values: Floats, batched: bool) -> Any:
    """A result for n rows, as it is for (n, p) data and without its first axis for (p,) data."""
    if batched:
        return values
    return float(values[0]) if values.ndim == 1 else values[0]


def check_fit_data(X: ArrayLike, n_latents: int, most: int, what: str) -> tuple[Floats, int]:
    """Data to fit, (n, p) with n ≥ 2, and a number of latents (or components) from 1 to `most`."""
    rows, batched = check_x(X, None)
    if not batched or len(rows) < 2:
        raise InputError(f"X has shape {np.shape(X)}; fitting needs at least 2 rows, (n, p)")
    number = whole(what, n_latents)
    if number > most:
        raise InputError(f"{what} is {number}; X of shape {rows.shape} allows 1 to {most}")
    return rows, number
