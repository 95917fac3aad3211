"""Decorators that turn a user's function into a log-joint kernel.

`log_joint` takes a block function, f(theta, dims, x, z, out), which fills out[i] = log p(x, z[:, i]) for the B
samples of a block and is as fast as it is written. `per_sample` takes a scalar function, f(theta, dims, x, z) ->
float, of one sample z (d,), and loops over it: easier to write, one call for each sample. Neither is cached on disk,
because the function may live in a notebook. Where `Model` is given a dict of arrays, theta is a named tuple of them
(`logpx.models.parameters`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from logpx import _jit
from logpx.errors import InputError
from logpx.guards import guarded, touched

_KNOWN = ("float64", "float32")
#: Guard cells on either side of the one sample that a function of one sample is given.
_GUARDS = 16


def log_joint(function: Callable[..., None] | None = None, *, dtypes: Iterable[str] = ("float64",)) -> Any:
    """Make a log-joint kernel of a block function.

    Parameters
    ----------
    function : f(theta (m,), dims, x (p,), z (d, B), out (B,)) -> None
        Writes log p(x, z[:, i]) into out[i] for every i, in nats; −inf is a zero density.
    dtypes : names of the precisions it is written for
        "float32" needs literals in the precision of z, such as z.dtype.type(0.5).

    Examples
    --------
    >>> @log_joint
    ... def shift(theta, dims, x, z, out):
    ...     for i in range(z.shape[1]):
    ...         out[i] = -0.5 * z[0, i] ** 2 - 0.5 * theta[0] * (x[0] - z[0, i]) ** 2
    >>> shift.kind
    'log_joint'
    """
    precisions = _check_dtypes(dtypes)
    if function is None:
        return lambda given: log_joint(given, dtypes=precisions)
    return _jit.kernel("log_joint", dtypes=precisions, cache=False)(_python(function, "theta", "dims", "x", "z", "out"))


def per_sample(function: Callable[..., float] | None = None, *, dtypes: Iterable[str] = ("float64",)) -> Any:
    """Make a log-joint kernel of a function of one sample.

    Parameters
    ----------
    function : f(theta (m,), dims, x (p,), z (d,)) -> float
        log p(x, z) in nats. A function already under numba.njit will do.
    dtypes : names of the precisions it is written for

    Examples
    --------
    >>> @per_sample
    ... def shift(theta, dims, x, z):
    ...     return -0.5 * z[0] ** 2 - 0.5 * theta[0] * (x[0] - z[0]) ** 2
    >>> shift.kind
    'log_joint'
    """
    precisions = _check_dtypes(dtypes)
    if function is None:
        return lambda given: per_sample(given, dtypes=precisions)
    python = _python(function, "theta", "dims", "x", "z")
    scalar = _jit.leaf(python)

    def block(theta, dims, x, z, out):
        d = z.shape[0]
        cells = guarded(1, d + 2 * _GUARDS, z)
        sample = cells[0, _GUARDS : d + _GUARDS]
        for i in range(z.shape[1]):
            for k in range(d):
                sample[k] = z[k, i]
            out[i] = scalar(theta, dims, x, sample)
        if touched(cells, 0, 0, _GUARDS) or touched(cells, 0, d + _GUARDS, _GUARDS):
            raise IndexError("it writes past an end of z")

    block.__name__ = block.__qualname__ = python.__name__
    block.__module__ = python.__module__
    kernel = _jit.kernel("log_joint", dtypes=precisions, cache=False)(block)
    kernel.scalar = python
    return kernel


def _python(function: Any, *arguments: str) -> Callable[..., Any]:
    """The Python function behind a function or a Numba dispatcher, if it takes as many arguments as are named."""
    python: Any = getattr(function, "py_func", function)
    if not callable(python) or not hasattr(python, "__code__"):
        raise InputError(f"{function!r} is not a Python function; decorate a function written with def")
    if hasattr(function, "kind"):
        raise InputError(f"{python.__name__} is a kernel already; decorate it once")
    if python.__code__.co_argcount != len(arguments):
        given = python.__code__.co_varnames[: python.__code__.co_argcount]
        raise InputError(
            f"{python.__name__}({', '.join(given)}) takes {len(given)} arguments; it must take {len(arguments)}: "
            f"{python.__name__}({', '.join(arguments)})"
        )
    return python


def _check_dtypes(dtypes: Iterable[str]) -> tuple[str, ...]:
    given = (dtypes,) if isinstance(dtypes, str) else tuple(dtypes)
    if not given or not set(given) <= set(_KNOWN):
        raise InputError(f"dtypes is {given}; name one or both of {_KNOWN}")
    return given
