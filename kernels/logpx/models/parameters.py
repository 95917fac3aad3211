"""Parameters by name: a dict of arrays, packed flat for the engine and unpacked for the kernel.

The engine hands every kernel one flat vector theta, because one compiled driver serves all models. A user thinks in
weights and biases. `pack` lays the arrays of a dict end to end, in the order of the dict and each in C order, and keeps
their names and shapes as a `Layout`; `with_fields` wraps a kernel so that it gets, in place of the vector, a named
tuple of views into it: `theta.weights[i, j]`, and a float where the entry is a number. Names and shapes are constants
of the compiled code, so models of the same layout share it. Cost: the views are made once a block.
"""

from __future__ import annotations

import keyword
import math
from collections import namedtuple
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from logpx import _jit
from logpx.errors import InputError
from logpx.proposals.base import Floats, as_floats


class Layout(NamedTuple):
    """Names of the entries of theta and their shapes, in order; () is a number."""

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]

    def unpack(self, theta: Floats) -> Any:
        """The named tuple that a kernel sees, of a flat vector theta (m,)."""
        return _unpacker(self, compiled=False)(theta)


def pack(theta: Mapping[str, ArrayLike]) -> tuple[Floats, Layout]:
    """A dict of arrays as one vector (m,) and its layout.

    Parameters
    ----------
    theta : mapping of str to array_like of 0 to 3 axes
        Finite real numbers. The order of the keys is the order in the vector.

    Raises
    ------
    InputError
        No entry, a name that a kernel could not write as theta.name, an entry that is no array of finite numbers.

    Examples
    --------
    >>> vector, layout = pack({"weights": [[1.0, 2.0], [3.0, 4.0]], "scale": 0.5})
    >>> vector.tolist(), layout.shapes
    ([1.0, 2.0, 3.0, 4.0, 0.5], ((2, 2), ()))
    >>> layout.unpack(vector).weights[1, 0]
    np.float64(3.0)
    """
    if not theta:
        raise InputError("theta is an empty dict; give at least one entry, or an array: theta=[] for no parameters")
    for name in theta:
        plain = isinstance(name, str) and name.isidentifier() and not keyword.iskeyword(name)
        if not plain or name.startswith("_"):
            raise InputError(
                f"theta has an entry named {name!r}; a kernel reads it as theta.name, so give a Python name that is "
                "no keyword and does not begin with an underscore, such as 'weights'"
            )
    arrays = [as_floats(f"theta[{name!r}]", value, n_axes=(0, 1, 2, 3)) for name, value in theta.items()]
    layout = Layout(tuple(theta), tuple(array.shape for array in arrays))
    vector = np.concatenate([array.ravel() for array in arrays])
    vector.flags.writeable = False
    return vector, layout


def with_fields(kernel: Any, layout: Layout) -> Any:
    """A kernel of the engine's signature that calls this one with the fields of theta; the same for the same layout."""
    kernel = getattr(kernel, "fields_of", kernel)
    known: dict[Layout, Any] = kernel.__dict__.setdefault("by_layout", {})
    if layout not in known:
        known[layout] = _wrapped(kernel, layout)
    return known[layout]


def _wrapped(kernel: Any, layout: Layout) -> Any:
    inside, unpack = _jit.inner(kernel.python), _unpacker(layout, compiled=True)

    def block(theta, dims, x, z, out):
        inside(unpack(theta), dims, x, z, out)

    block.__name__ = block.__qualname__ = kernel.python.__name__
    block.__module__ = kernel.python.__module__
    made = _jit.kernel(kernel.kind, dtypes=kernel.dtypes, cache=False)(block)
    made.fields_of, made.layout = kernel, layout
    return made


def _unpacker(layout: Layout, *, compiled: bool) -> Callable[[Floats], Any]:
    """theta (m,) → named tuple of views. Compiled code cannot loop over values of several types: the function of each
    field calls that of the fields behind it."""
    wrap = _jit.inner if compiled else lambda function: function
    fields = namedtuple("theta", layout.names)  # type: ignore[misc]  # names are known at run time only
    sizes = [math.prod(shape) for shape in layout.shapes]
    rest = wrap(_nothing)
    for i in range(len(sizes))[::-1]:
        rest = wrap(_field(sum(sizes[:i]), sizes[i], layout.shapes[i], rest))

    def unpack(theta):
        return fields(*rest(theta))

    return wrap(unpack)


def _nothing(theta):
    return ()


def _field(start: int, size: int, shape: tuple[int, ...], rest: Any) -> Callable[[Floats], Any]:
    stop = start + size
    if not shape:

        def number(theta):
            return (theta[start], *rest(theta))

        return number

    def view(theta):
        return (theta[start:stop].reshape(shape), *rest(theta))

    return view
