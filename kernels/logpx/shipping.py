"""A task on its way to another process: what is found there by name, what travels by value, what is refused.

Machine code does not travel. A kernel that an import finds is sent as its module and qualified name, with a hash of
what it computes where it is a user's; one that no import finds, from a notebook, a script or a closure, is sent as its
Python function, decorated and compiled anew on arrival, once a process; one with named parameters as the kernel behind
it with their layout. A registered point set is sent by name. The rest is numbers.

All of it stands packed in a `Parcel`, which goes through any scheduler unopened: what is wrong with it is found by the
task that opens it, as an error that comes back, and not by the machinery between. The bits of a run hold for one
source of logpx and one CPU target, so a parcel opens only where these are the sender's. Cost: about 0.2 ms a task.
"""

import functools
import importlib
import io
import pickle
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any, NamedTuple

from numba import cloudpickle

from logpx import _jit
from logpx.errors import WorkerError
from logpx.fingerprint import fingerprint
from logpx.models.parameters import with_fields
from logpx.models.user import per_sample
from logpx.points import REGISTRY as POINTS
from logpx.points import PointSet


class Build(NamedTuple):
    """What must be the same wherever a run computes: source of logpx, CPU target with Numba, and Python."""

    source: str
    cpu_target: str
    python: str


def build() -> Build:
    """The build of this process."""
    return Build(_jit.source_hash(), _jit.target(), "{}.{}".format(*sys.version_info))


@dataclass(frozen=True)
class Parcel:
    """A packed object and the build that packed it."""

    sender: Build
    contents: bytes

    def open(self) -> Any:
        """The object, its kernels those of this process.

        Raises
        ------
        WorkerError
            This process has another build, or lacks a file, or has another version of it.
        """
        check(self.sender)
        return pickle.loads(self.contents)


def parcel(whole: Any) -> Parcel:
    """An object of numbers, kernels and point sets, packed; its own `__reduce__` is not asked."""
    packed = io.BytesIO()
    _Pickler(packed, whole).dump(whole)
    return Parcel(build(), packed.getvalue())


def opened(sent: Any) -> Any:
    """What a task was given: opened if it came as a parcel, as it is if it never left the process."""
    return sent.open() if isinstance(sent, Parcel) else sent


def check(sender: Build) -> None:
    """Raise WorkerError unless this process has the sender's build."""
    here = build()
    other = [
        f"{name.replace('_', ' ')} {mine} and not {theirs}"
        for name, mine, theirs in zip(Build._fields, here, sender, strict=True)
        if mine != theirs
    ]
    if other:
        raise WorkerError(
            f"the worker on {socket.gethostname()} has {', '.join(other)} as the sender. A run has its bits from one "
            "source of logpx, one Numba and one CPU target: install the same on both. Where the CPUs are of several "
            "kinds, set NUMBA_CPU_NAME and NUMBA_CPU_FEATURES to what all of them have, for sender and workers alike"
        )


# -- packing ------------------------------------------------------------------------------------------------------


class _Pickler(cloudpickle.CloudPickler):  # type: ignore[misc]  # Numba's types are not read
    """Compiled functions and registered point sets by name where they have one; the rest as cloudpickle does."""

    def __init__(self, file: io.BytesIO, whole: Any):
        super().__init__(file)
        self._whole = whole

    def reducer_override(self, thing: Any) -> Any:
        if thing is self._whole:
            return _restored, (type(thing), vars(thing))
        if isinstance(thing, PointSet) and POINTS.get(thing.name) is thing:
            return _point_set, (thing.name,)
        if _jit.is_kernel(thing):
            return self._kernel(thing)
        address = _address(thing) if hasattr(thing, "py_func") else None  # a function that compiled code calls
        return super().reducer_override(thing) if address is None else (_imported, address)

    def _kernel(self, kernel: Any) -> Any:
        address = _address(kernel)
        how: Any = _imported, address
        if hasattr(kernel, "layout"):
            how = with_fields, (kernel.fields_of, kernel.layout)
        elif address is None:
            how = _decorated, (_value(kernel), kernel.kind, kernel.dtypes, hasattr(kernel, "scalar"))
        compiled = (kernel.fingerprints or {}).get(getattr(self._whole, "dtype", ""))
        return (_checked, (*how, compiled)) if isinstance(compiled, str) else how


def _address(thing: Any) -> tuple[str, str] | None:
    """Module and qualified name by which an import finds this very object, here and elsewhere; None without one."""
    python = getattr(thing, "python", None) or thing.py_func
    found = sys.modules.get(python.__module__)
    for name in python.__qualname__.split("."):
        found = getattr(found, name, None)
    importable = found is thing and python.__module__ != "__main__" and _on_the_path(python.__module__)
    return (python.__module__, python.__qualname__) if importable else None


@functools.cache
def _on_the_path(module: str) -> bool:
    """Whether a new process with this one's search path would import the module from the file it came from here."""
    name, path, spec = "", None, None
    for part in module.split("."):
        name = f"{name}.{part}" if name else part
        spec = PathFinder.find_spec(name, path)
        if spec is None:
            return False
        path = spec.submodule_search_locations
    here = getattr(sys.modules[module], "__file__", None) or ""
    there = spec.origin if spec is not None else None
    return there is not None and Path(there).resolve() == Path(here).resolve()


@functools.lru_cache(maxsize=256)
def _value(kernel: Any) -> bytes:
    """The Python function of a kernel with what it refers to, as it was when first sent."""
    packed = io.BytesIO()
    _Pickler(packed, None).dump(getattr(kernel, "scalar", kernel.python))
    return packed.getvalue()


# -- opening ------------------------------------------------------------------------------------------------------


def _restored(kind: type, fields: dict[str, Any]) -> Any:
    whole: Any = object.__new__(kind)
    vars(whole).update(fields)
    return whole


def _point_set(name: str) -> PointSet:
    return POINTS[name]


def _checked(make: Callable[..., Any], arguments: tuple[Any, ...], computes: str) -> Any:
    """A user's kernel, if it computes what the one that the sender has compiled computes."""
    kernel = make(*arguments)
    if _fingerprint(kernel) != computes:
        raise WorkerError(
            f"the kernel {kernel.python.__name__} is not on the worker on {socket.gethostname()} what the sender has "
            "compiled. Either the file on the worker is of another version: upload the sender's, or start the workers "
            "anew. Or a global that the kernel reads was changed after the sender had compiled it: decorate it again"
        )
    return kernel


@functools.lru_cache(maxsize=256)
def _fingerprint(kernel: Any) -> str:
    return fingerprint(kernel.python)


def _imported(module: str, name: str) -> Any:
    """The compiled function of that name."""
    try:
        found: Any = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except Exception as error:
        raise WorkerError(
            f"the worker on {socket.gethostname()} cannot import {name} of the module {module}: "
            f"{type(error).__name__}: {error}. Upload the file that it is in, or put it where the worker's Python looks"
        ) from error
    return found


@functools.lru_cache(maxsize=256)
def _decorated(value: bytes, kind: str, dtypes: tuple[str, ...], is_scalar: bool) -> Any:
    """The kernel of a function that came by value; the same one for every task, so that it is compiled once."""
    python = pickle.loads(value)
    return per_sample(python, dtypes=dtypes) if is_scalar else _jit.kernel(kind, dtypes=dtypes, cache=False)(python)
