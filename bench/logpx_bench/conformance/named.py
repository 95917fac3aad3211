"""Arrays that know their name, so that an index out of range says of which: theta.weights, x, z or out.

Compiled code with bounds checks says no more than the index; the same kernel in plain Python, on such arrays, says
which array, and its traceback which line of the user's file. A per_sample function is called itself, sample by sample.
Python's own indexing is as Numba's: from −n to n − 1.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np


class Named(np.ndarray[Any, Any]):
    """An array with a name; what is cut out of it keeps the name, what is computed from it has none."""

    name: str = ""

    @classmethod
    def of(cls, array: Any, name: str) -> Named:
        """A view of an array under a name."""
        made = np.asarray(array).view(cls)
        made.name = name
        return made

    def __getitem__(self, key: Any) -> Any:
        with _naming(self, key):
            found = super().__getitem__(key)
        return Named.of(found, self.name) if isinstance(found, np.ndarray) else found

    def __setitem__(self, key: Any, value: Any) -> None:
        with _naming(self, key):
            super().__setitem__(key, value)


@contextlib.contextmanager
def _naming(array: Named, key: Any) -> Iterator[None]:
    """An IndexError of NumPy's, with the array's name in front of it."""
    try:
        yield
    except IndexError as error:
        if not array.name:
            raise
        raise IndexError(f"{array.name}{list(_indices(key))}: {error}") from error


def _indices(key: Any) -> tuple[Any, ...]:
    parts = key if isinstance(key, tuple) else (key,)
    return tuple(int(one) if isinstance(one, int | np.integer) else one for one in parts)


def call(model: Any, x: Any, z: Any) -> None:
    """Run a model's log joint in plain Python over latents z (d, n), on arrays with names."""
    kernel = model.log_joint
    behind, layout = getattr(kernel, "fields_of", kernel), getattr(kernel, "layout", None)
    sizes = Named.of(np.array(getattr(model, "dims", ()), dtype=np.int64), "dims")
    theta: Any = Named.of(np.array(model.theta), "theta")
    if layout is not None:
        fields = layout.unpack(np.array(model.theta))
        theta = type(fields)(*(_field(name, value) for name, value in zip(layout.names, fields, strict=True)))
    row, latents = Named.of(np.array(x), "x"), np.array(z)
    if hasattr(behind, "scalar"):
        for one in latents.T:
            behind.scalar(theta, sizes, row, Named.of(one.copy(), "z"))
    else:
        behind.python(theta, sizes, row, Named.of(latents, "z"), Named.of(np.full(z.shape[1], np.nan), "out"))


def _field(name: str, value: Any) -> Any:
    return Named.of(value, f"theta.{name}") if np.ndim(value) else value
