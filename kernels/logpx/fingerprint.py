"""What a function computes, as a hash: its own code and that of everything it calls, and the values that it reads.

A kernel of the user's is Python that Numba compiles together with its callees, and with the globals and closure
variables that it sees at that moment as constants. The hash is taken over the same things, by walking them: bytecode
and constants (a docstring is one; comments and line numbers are not), defaults, closure cells, and every global that
the code loads, into other functions, compiled ones and modules. What belongs to Python, NumPy, SciPy, Numba or logpx
counts by name and version, but for functions of logpx that close over values. An implementation given by
`numba.extending.overload` is out of reach. Cost: well under a millisecond a function.
"""

import dis
import enum
import hashlib
import sys
import types
from collections.abc import Callable
from typing import Any

import numpy as np

from logpx.errors import InputError

#: Packages that count by name and version, besides Python's own modules.
LIBRARIES = ("numpy", "scipy", "numba", "llvmlite", "logpx")

_PLAIN = (type(None), bool, int, str, bytes, complex, type(...), range, np.dtype)
#: Where what Numba made of a function keeps it: dispatchers, NumPy's ufuncs, callbacks, intrinsics.
_BEHIND = ("py_func", "_dispatcher", "_pyfunc", "_defn")


def fingerprint(function: Callable[..., Any]) -> str:
    """Thirty-two hex digits that change whenever what the function computes may have changed.

    Parameters
    ----------
    function : function
        Of Python, or compiled by Numba.

    Raises
    ------
    InputError
        It reads something whose value cannot be told: the message says where.

    Examples
    --------
    >>> def half(x): return scale * x
    >>> scale = 0.5
    >>> before = fingerprint(half)
    >>> scale = 0.25
    >>> fingerprint(half) == before
    False
    """
    walk = _Walk()
    walk.value(function, getattr(function, "__name__", repr(function)))
    return walk.digest.hexdigest()[:32]


class _Walk:
    """A depth-first walk that feeds a hash. `where` is the way to what it is looking at, for messages."""

    def __init__(self) -> None:
        self.digest = hashlib.sha256()
        # by id, of modules also by what was looked at; with the object, so that no id is used again
        self.seen: dict[tuple[int, frozenset[str]], tuple[int, Any]] = {}

    def feed(self, *words: object) -> None:
        for word in words:
            data = word if isinstance(word, bytes) else str(word).encode()
            self.digest.update(b"%d:" % len(data) + data)

    def value(self, value: Any, where: str, attributes: frozenset[str] = frozenset()) -> None:
        """Anything that compiled code may refer to; of modules, the attributes that the code loads."""
        if isinstance(value, _PLAIN):
            self.feed(type(value).__name__, repr(value))
        elif isinstance(value, float):
            self.feed("float", value.hex())
        elif isinstance(value, enum.Enum):
            self.feed("enum", type(value).__qualname__, value.name)
            self.value(value.value, where)
        elif isinstance(value, np.ndarray | np.generic) and not value.dtype.hasobject:
            self.feed("array", value.dtype.descr, np.shape(value), np.asarray(value).tobytes())
        elif isinstance(value, tuple | list | frozenset | set | dict):
            self.container(value, where)
        elif isinstance(value, types.CodeType):
            self.code(value, where)
        else:
            key = id(value), attributes if isinstance(value, types.ModuleType) else frozenset()
            if key in self.seen:
                self.feed("seen", self.seen[key][0])
                return
            self.seen[key] = len(self.seen), value
            self.thing(value, where, attributes)

    def container(self, value: Any, where: str) -> None:
        self.feed(type(value).__qualname__, len(value), getattr(value, "_fields", ""))
        if isinstance(value, dict):
            value = sorted(value.items(), key=repr)
        elif isinstance(value, frozenset | set):
            value = sorted(value, key=repr)
        for item in value:
            self.value(item, f"an item of {where}")

    def thing(self, value: Any, where: str, attributes: frozenset[str]) -> None:
        behind = next((name for name in _BEHIND if hasattr(value, name)), None)
        if isinstance(value, types.ModuleType):
            self.module(value, where, attributes)
        elif (library := _library(value)) and behind is None:
            numba_type = repr(value) if type(value).__module__.startswith("numba.core.types") else None
            name = getattr(value, "__qualname__", getattr(value, "__name__", numba_type))
            if name is None:
                raise _cannot_tell(value, where)
            self.feed(library, getattr(value, "__module__", ""), name)
        elif isinstance(value, types.FunctionType) and behind is None:
            self.function(value, where)
        elif behind is not None:
            self.feed("compiled", behind)
            self.value(getattr(value, "targetoptions", None), where)
            self.value(getattr(value, behind), where)
        elif isinstance(value, type) and issubclass(value, tuple | enum.Enum):
            self.feed("type", value.__qualname__, getattr(value, "_fields", ""))
            self.value([item.value for item in value] if issubclass(value, enum.Enum) else (), where)
        else:
            raise _cannot_tell(value, where)

    def module(self, module: types.ModuleType, where: str, attributes: frozenset[str]) -> None:
        if library := _library(module):
            self.feed(library, module.__name__)
            return
        self.feed("module")
        for name in sorted(attributes & vars(module).keys()):
            self.feed(name)
            self.value(vars(module)[name], f"{where}.{name}", attributes)

    def function(self, function: types.FunctionType, where: str) -> None:
        self.code(function.__code__, where)
        self.value(function.__defaults__, f"the defaults of {where}")
        self.value(function.__kwdefaults__, f"the defaults of {where}")
        attributes = frozenset(_names(function.__code__, "LOAD_ATTR", "LOAD_METHOD"))
        for name in sorted(_names(function.__code__, "LOAD_GLOBAL", "LOAD_NAME")):
            self.feed(name)
            if name in function.__globals__:
                self.value(function.__globals__[name], f"{name}, which {where} reads", attributes)
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            self.feed(name)
            self.value(_contents(cell), f"{name}, which {where} reads", attributes)

    def code(self, code: types.CodeType, where: str) -> None:
        self.feed("code", code.co_name, code.co_code, code.co_names, code.co_varnames, code.co_freevars)
        self.feed(code.co_argcount, code.co_flags, code.co_exceptiontable)
        for constant in code.co_consts:
            self.value(constant, where)


def _contents(cell):
    try:
        return cell.cell_contents
    except ValueError:  # not filled yet
        return None


def _names(code, *loads):
    """Names that code, and the code inside it, loads by these instructions."""
    found = {one.argval for one in dis.get_instructions(code) if one.opname in loads}
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            found |= _names(constant, *loads)
    return found


def _library(value):
    """Name and version of the library that something belongs to; None if it is the user's."""
    name = value.__name__ if isinstance(value, types.ModuleType) else getattr(value, "__module__", None)
    if isinstance(value, types.FunctionType) and value.__globals__ is not vars(sys.modules.get(name or "", types)):
        return None  # it wears another's name, as functools.wraps makes it, or is made by exec
    top = str(name or type(value).__module__).partition(".")[0]
    if top == "logpx" and getattr(value, "__closure__", None):
        return None  # made by a function of ours for what it closes over, which its name does not tell
    if top in LIBRARIES:
        return f"{top} {getattr(sys.modules.get(top), '__version__', '')}"
    return f"python {sys.version_info[:2]}" if top in sys.stdlib_module_names else None


def _cannot_tell(value, where):
    return InputError(
        f"{where}, is a {type(value).__module__}.{type(value).__qualname__}, and whether it is the same in another run "
        "cannot be told. Read numbers, strings, tuples, arrays and functions in a kernel that is to have a checkpoint"
    )
