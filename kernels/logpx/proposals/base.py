"""What every proposal q(z) is: a map from base noise to latents, with its log density.

A proposal turns base noise eps (uniform on (0, 1) or standard normal, n_base numbers a sample) into latents
z ~ q and says log q(z). The estimators average exp(log p(x, z) − log q(z)) over such z. The map is a kernel
of kind "proposal" (see `logpx._jit`); its numbers are packed flat in `lam`, one vector or one row of it
for each row of x, and its sizes in `dims`.
"""

from __future__ import annotations

import abc
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from logpx.errors import InputError

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


class Proposal(abc.ABC):
    """A distribution of the latents that can be drawn from and evaluated. The abstract base; see its subclasses.

    Attributes
    ----------
    name : str
        Its name in the registry.
    kernel : dispatcher of kind "proposal", or None before `bind`
        Base noise to latents and log q.
    base : str
        "uniform" or "normal", the noise that the kernel takes.
    n_base, n_latents : int
        Rows of the noise and of the latents.
    n_discrete : int
        How many of the latents, the first ones, are whole numbers; 0 unless a proposal says otherwise. The density is
        a probability in these and a density in the others, as the model's must be.
    lam : ndarray, (m,) or (n, m)
        The packed parameters; with n rows, row i is for row i of x.
    dims : ndarray of int64
        Sizes the kernel needs.
    missing_mass : float, ndarray (n,) or None
        An upper bound on the fraction of p(x) that lies where q is zero: 0.0 where q covers everything, None
        where it is not known.
    """

    name: ClassVar[str]
    kernel: Any
    base: str
    n_base: int
    n_latents: int
    n_discrete: int = 0
    lam: Floats
    dims: Integers
    missing_mass: float | Floats | None

    def bind(self, model: Any, x: ArrayLike) -> Proposal:
        """This proposal, made ready for a model and its data; most proposals are ready and return themselves."""
        return self

    @abc.abstractmethod
    def log_density(self, z: ArrayLike) -> Floats:
        """log q(z) in nats for z of shape (..., d), by SciPy: the oracle of the kernel, not used by it.

        With one row of parameters for each row of x, z is (..., n, d) and rows go with rows.
        """

    def kl(self, q: Proposal) -> Any:
        """KL(self‖q) in nats, float or (n,), where this kind has a closed form against q; see `divergences.kl`."""
        raise no_closed_form(self, q)

    def log_second_moment(self, q: Proposal) -> Any:
        """log E_q[(self/q)²] in nats, likewise; see `divergences.log_second_moment`."""
        raise no_closed_form(self, q)


def no_closed_form(p: Proposal, q: Proposal) -> InputError:
    """The error that says so."""
    return InputError(
        "closed forms exist for two Gaussians, a Mixture and a Gaussian, two Categoricals, LogitBetas or MarkovChains, "
        f"and for Bernoulli and BinaryTable; given {type(p).__name__} and {type(q).__name__} "
        "(bind Prior() and Uniform() to their model first)"
    )


def set_fields(instance: object, **values: object) -> None:
    """Set fields of a frozen dataclass while it is being made."""
    for field, value in values.items():
        object.__setattr__(instance, field, value)


def as_floats(name: str, value: ArrayLike, *, n_axes: tuple[int, ...]) -> Floats:
    """A finite, C-contiguous, read-only float64 copy of `value` with an allowed number of axes, or an InputError."""
    try:
        given = np.asarray(value)
    except ValueError as error:
        raise InputError(f"{name} is no array: {error}; give rows of equal length") from error
    if given.dtype.kind not in "fiub":
        raise InputError(f"{name} has dtype {given.dtype}; give an array of real numbers")
    array = np.array(given, dtype=np.float64, order="C")
    if array.ndim not in n_axes:
        allowed = " or ".join(str(n) for n in n_axes)
        raise InputError(f"{name} has shape {array.shape}; it needs {allowed} axes")
    if array.size == 0:
        raise InputError(f"{name} has shape {array.shape} and is empty; give at least one number")
    bad = np.argwhere(~np.isfinite(array))
    if len(bad):
        where = ", ".join(str(int(i)) for i in bad[0])
        raise InputError(f"{name}[{where}] is {array[tuple(bad[0])]}; every entry must be finite ({len(bad)} are not)")
    array.flags.writeable = False
    return array


def two_parts(constant: ArrayLike) -> Floats:
    """A constant as (..., 2): the nearest float32 and the rest.

    Their sum in float64 is the constant, also after both were rounded to float32: a log constant of
    hundreds of nats then does not cost a float32 run its accuracy. An infinite constant has rest 0.
    """
    whole = np.asarray(constant, dtype=np.float64)
    high = whole.astype(np.float32).astype(np.float64)
    rest = np.where(np.isfinite(whole), whole - np.where(np.isfinite(whole), high, 0.0), 0.0)
    return np.stack([high, rest], axis=-1)


def packed(lam: ArrayLike) -> Floats:
    """Packed parameters as the engine takes them: float64, C-contiguous, read-only."""
    array = np.array(lam, dtype=np.float64, order="C")
    array.flags.writeable = False
    return array
