"""How logpx compiles: every Numba option, the kernel signatures, and the cache. No other file sets one.

Four kinds of compiled function:

`leaf`
    A scalar building block (exp, log, one Philox round). Forced inline in LLVM with flags of its own,
    {contract} only, so that algorithms that rely on exact rounding survive in any caller.
`inner`
    A function over arrays that only compiled code calls; it is compiled into, and cached with, its callers.
`kernel`
    A block function of a fixed signature (points, proposal, log_joint or tree, below). Compiled on first use,
    cached on disk, called by pointer: one driver serves every combination.
`compiled`
    Anything else, with explicit signatures: compiled on first use and cached on disk, not at import.

`reassoc`, `nnan`, `ninf` and `afn` are never given: minus infinity is a legal log weight, and the order of a
sum is part of its result. `parallel=True` is never given: threads come from the engine, and kernels release
the GIL.

The cache. Numba does not see that a function imported from another file changed, and would go on using the
old machine code. The cache folder's name therefore holds a hash of every source file of this package, the
versions of numba and llvmlite, and the CPU. `LOGPX_CACHE_DIR` moves its root; where the root cannot be
written, a temporary folder serves this process. A folder that goes away or fills up later costs no more than the
compiling. Processes that share a folder compile a function one at a time: the others wait, and find the code there.
Numba numbers a function's files in the order in which they come, so two processes at once could take the same number
for different signatures.

`NUMBA_BOUNDSCHECK=1` in the environment holds for kernels that are not cached, that is, for users' own: code with such
checks must not get into the cache, where later runs would find it.
"""

import atexit
import contextlib
import functools
import hashlib
import os
import pickle
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llvmlite
import numba
import numba.core.errors
import numpy as np
from numba import types

from logpx import _pipelines
from logpx.errors import InputError
from logpx.faults import said_by_compiler
from logpx.fingerprint import fingerprint

DISABLED = bool(numba.config.DISABLE_JIT)

#: Samples in a block, the unit of SIMD and of the ladder's first tree. Part of what fixes the bits.
BLOCK = 1024

SCALARS = {"float64": types.float64, "float32": types.float32}


@functools.cache
def signature(kind, dtype="float64"):
    """The Numba signature of a kernel of this kind: "points", "proposal", "log_joint" or "tree".

    ========== ===================================== ==============================================
    points     (state, start, eps)                   base noise (n_base, B) of samples start … start+B−1
    proposal   (lam, dims, eps, z, log_q)            noise to latents (d, B); log_q (B,) is float64 always
    log_joint  (theta, dims, x, z, out)              out[i] = log p(x, z[:, i]); out (B,) is float64 always
    tree       (logs, n, moments, head, workspace)   log weights of a block to its ladder node (`logpx.tree`)
    ========== ===================================== ==============================================
    """
    real = SCALARS[dtype]
    vector, matrix = real[::1], real[:, ::1]
    weights, sizes = types.float64[::1], types.int64[::1]
    arguments = {
        "points": (types.uint64[::1], types.uint64, matrix),
        "proposal": (vector, sizes, matrix, matrix, weights),
        "log_joint": (vector, sizes, vector, matrix, weights),
        "tree": (weights, types.int64, types.float64[:, :, ::1], weights, weights),
    }
    return types.void(*arguments[kind])


@functools.cache
def source_hash():
    """Sixteen hex digits over every source file of the package: the kernels' version."""
    root = Path(__file__).parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0")
        digest.update(path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


@functools.cache
def target():
    """Name of the CPU target that the bits hold for: CPU name, a hash of its features, numba, llvmlite."""
    cpu, features = _pipelines.machine()
    short = hashlib.sha256(features.encode()).hexdigest()[:8]
    return f"{cpu}-{short}-numba{numba.__version__}-llvmlite{llvmlite.__version__}"


def cache_root() -> Path:
    """Where the cache folders of all versions stand: LOGPX_CACHE_DIR, else logpx in the user's cache folder."""
    given = os.environ.get("LOGPX_CACHE_DIR")
    if given:
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "logpx"


@functools.cache
def cache_folder() -> Path:
    """Where compiled kernels are kept: root / target-and-source; a temporary folder if that is not writable."""
    name = f"{target()}-{source_hash()}"
    folder = cache_root() / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except (OSError, RuntimeError):
        own = tempfile.mkdtemp(prefix="logpx-")
        atexit.register(shutil.rmtree, own, ignore_errors=True)
        folder = Path(own) / name
        folder.mkdir()
    return folder


@contextlib.contextmanager
def _our_cache():
    """Numba reads CACHE_DIR when a function is decorated: set it for that moment only."""
    before = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = str(cache_folder())
    try:
        yield
    finally:
        numba.config.CACHE_DIR = before


_SCALAR_OPTIONS = {"fastmath": {"contract"}, "error_model": "numpy"}
_ARRAY_OPTIONS = {"nogil": True, "boundscheck": False, **_SCALAR_OPTIONS}


def _plain_python(function):
    """Machine code does not warn of inf − inf; NumPy's scalars would."""
    quiet = np.errstate(all="ignore")(function)
    quiet.py_func = function  # as compiled functions have it
    return quiet


def leaf(function):
    """A scalar building block, inlined into its callers with its own floating-point flags."""
    return _plain_python(function) if DISABLED else _pipelines.Inside(function, forceinline=True, **_SCALAR_OPTIONS)


def inner(function):
    """A function over arrays that compiled code calls; part of its callers' machine code."""
    return _plain_python(function) if DISABLED else _pipelines.Inside(function, **_ARRAY_OPTIONS)


def uncached(function: Callable[..., Any]) -> Any:
    """A function over arrays that is compiled anew in every process, so that its machine code can be read."""
    return (
        _plain_python(function)
        if DISABLED
        else numba.njit(pipeline_class=_pipelines.OUTSIDE, **_ARRAY_OPTIONS)(function)
    )


def _njit(function, cache):
    if DISABLED or not cache:
        return uncached(function)
    with _our_cache():
        return numba.njit(cache=True, pipeline_class=_pipelines.OUTSIDE, **_ARRAY_OPTIONS)(function)


def kernel(kind, *, dtypes=("float64",), cache=True):
    """Decorate a block kernel of the given kind; `dtypes` names the precisions that it is written for.

    A kernel that declares "float32" keeps its literals in the precision of z (`z.dtype.type(0.5)`), because
    a Python float literal would promote the arithmetic to float64.
    """
    signature(kind)

    def decorate(function):
        dispatcher = _njit(function, cache)
        _pipelines.remember_results(dispatcher)
        dispatcher.kind = kind
        dispatcher.dtypes = tuple(dtypes)
        dispatcher.ready, dispatcher.cached = set(), cache
        dispatcher.python = function
        dispatcher.fingerprints = None if cache else {}
        return dispatcher

    return decorate


def is_kernel(thing):
    """Whether this was made by `kernel`."""
    return hasattr(thing, "kind") and hasattr(thing, "fingerprints")


def compiled(*signatures):
    """Decorate a function of fixed signatures: compiled on its first call and cached, never at import."""

    def decorate(function):
        dispatcher = _njit(function, cache=True)
        if DISABLED:
            return dispatcher
        return _OnFirstCall(dispatcher, signatures)

    return decorate


def compiled_by_dtype(make_signature):
    """As `compiled`, one version for each precision: `function["float32"](…)`; only what is called is compiled."""

    def decorate(function):
        return {dtype: compiled(make_signature(dtype))(function) for dtype in SCALARS}

    return decorate


_COMPILING = threading.RLock()
#: Seconds to wait for another process that compiles; one that was stopped must not hold up the others for good.
_PATIENCE = 300.0


@contextlib.contextmanager
def _compiling(dispatcher, cached=True):
    """One thread compiles at a time, and into the cache one process, without bounds checks."""
    with _COMPILING:
        dispatcher.typingctx.refresh()  # most of what loading takes in a new process: before the others have to wait
        dispatcher.targetctx.refresh()
        if not cached:
            yield
            return
        before, numba.config.BOUNDSCHECK = numba.config.BOUNDSCHECK, 0
        try:
            with _alone(dispatcher.py_func):
                yield
        finally:
            numba.config.BOUNDSCHECK = before


@contextlib.contextmanager
def _alone(function):
    """Hold the lock on a function's files, which ends with the process; where there are no locks, go on without."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError, ImportError):
            import fcntl

            name = f"{function.__module__}.{function.__qualname__}.lock"
            file = stack.enter_context((cache_folder() / name).open("ab"))
            until = time.monotonic() + _PATIENCE
            while time.monotonic() < until:
                with contextlib.suppress(BlockingIOError):
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                time.sleep(0.02)
        yield


def _compile(dispatcher, signature):
    """Compile or load; where the cache can no longer be read or written, go on without it."""
    try:
        dispatcher.compile(signature)
    except (OSError, EOFError, pickle.PickleError):
        dispatcher._cache.disable()
        dispatcher.compile(signature)


class _OnFirstCall:
    """Compiles the declared signatures at the first call, then forwards. `dispatcher` is the compiled function."""

    def __init__(self, dispatcher, signatures):
        functools.update_wrapper(self, dispatcher.py_func)
        self.dispatcher, self.signatures, self._ready = dispatcher, signatures, False

    def compile(self):
        """Compile or load from the cache; seconds spent."""
        start = time.perf_counter()
        if not self._ready:
            with _compiling(self.dispatcher):
                self._compile_all()
        return time.perf_counter() - start

    def _compile_all(self):
        if self._ready:  # another thread was first
            return
        for one in self.signatures:
            _compile(self.dispatcher, one)
        self.dispatcher.disable_compile()
        self._ready = True

    def __call__(self, *arguments):
        if not self._ready:
            self.compile()
        return self.dispatcher(*arguments)


_COMPILE_ERRORS = (numba.core.errors.NumbaError, numba.core.errors.UnsupportedBytecodeError, TypeError)


def compile_kernel(dispatcher: Any, dtype: str = "float64") -> float:
    """Compile a kernel at the driver's signature, or load it from the cache; seconds spent."""
    start = time.perf_counter()
    if dtype not in dispatcher.ready:
        try:
            if not DISABLED:
                with _compiling(dispatcher, dispatcher.cached):
                    _compile(dispatcher, signature(dispatcher.kind, dtype).args)
        except _COMPILE_ERRORS as error:
            name = dispatcher.py_func.__name__
            raise InputError(
                f"the {dispatcher.kind} kernel {name} does not compile. A block kernel fills out and returns nothing, "
                "a per_sample function returns one float; inside, math and NumPy's functions of numbers will do, "
                f"other modules will not. Numba says: {said_by_compiler(error, getattr(dispatcher, 'layout', None))}"
            ) from error
        if dispatcher.fingerprints is not None:  # now, as the globals that it read are constants from here on
            dispatcher.fingerprints[dtype] = _fingerprint_or_why_not(dispatcher.python)
        dispatcher.ready.add(dtype)
    return time.perf_counter() - start


def _fingerprint_or_why_not(function):
    try:
        return fingerprint(function)
    except InputError as error:
        return error


def fact_of(dispatcher, dtype):
    """The name of a compiled kernel, and for a user's the hash of what it computes; InputError where it has none."""
    name = f"{dispatcher.python.__module__}.{dispatcher.python.__qualname__}"
    if dispatcher.fingerprints is None:
        return name
    found = dispatcher.fingerprints[dtype]
    if isinstance(found, InputError):
        raise found
    return f"{name} {found}"


def compile_now(*functions):
    """Compile `compiled` functions, or load them from the cache; seconds spent."""
    return sum(function.compile() for function in functions if not DISABLED)


def function_type(kind, dtype="float64"):
    """The first-class function type under which a driver takes a kernel."""
    return types.FunctionType(signature(kind, dtype))


def facts() -> dict[str, str]:
    """What determines the machine code, for provenance: a dict of strings."""
    cpu, _ = _pipelines.machine()
    return {
        "cpu_target": target(),
        "cpu_name": cpu,
        "numba": numba.__version__,
        "llvmlite": llvmlite.__version__,
        "python": sys.version.split()[0],
        "source": source_hash(),
        "cache_folder": str(cache_folder()),
        "jit": "disabled" if DISABLED else "enabled",
    }
