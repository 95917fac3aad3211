"""A Python file of the user's that defines a model: what it must hold, and how it is run.

    model      logpx.Model(…), or one of logpx.models
    x          one row of data (p,), or more (n, p)
    proposal   where the model's own is not wanted: a proposal, or a function x → one        (may be left out)
    scalar     the log joint of one sample as a textbook writes it, f(theta, dims, x, z) → float, to hold a
               block kernel against                                                          (may be left out)
    x_states   what x may be, where that is finite: the values of every entry, as in [0, 1], or all rows (n, p)
                                                                                             (may be left out)

The file is run as any module is, with its own folder first on the path, so that it may import what lies beside it;
once a process. `mine.py:second` takes the variable `second` for its model. What the file raises is shown in one line,
with the line at fault. The fingerprint is a hash of the file's text, of the kernel with all that it calls, and of
theta, dims and x, so that an edit of any of them is another model.
"""

import contextlib
import functools
import hashlib
import importlib.util
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from logpx.errors import InputError
from logpx.fingerprint import fingerprint
from logpx.models.base import check_x
from logpx.prepare import check_model
from logpx.proposals import Proposal


class Given(NamedTuple):
    """A model and what comes with it: x, (p,) or (n, p), and what may be left out (None)."""

    model: Any
    x: Any
    proposal: Any = None
    scalar: Callable[..., float] | None = None
    x_states: Any = None
    fingerprint: str = ""


def is_file(text: str) -> bool:
    """Whether a MODEL on the command line is a file: mine.py, or mine.py:variable."""
    return _split(text)[0].endswith(".py")


def name_of(text: str) -> str:
    """The name under which the model of a file stands in tables: the variable's, else the file's."""
    path, variable = _split(text)
    return variable or Path(path).stem


def path_of(text: str) -> Path:
    """The file of mine.py:variable."""
    return Path(_split(text)[0])


def _split(text: str) -> tuple[str, str]:
    path, colon, variable = text.rpartition(":")
    return (path, variable) if colon and path.endswith(".py") else (text, "")


def load(text: str | Path) -> Given:
    """Run a user's file, and take its model and what comes with it.

    Parameters
    ----------
    text : str or path
        mine.py, or mine.py:variable.

    Raises
    ------
    InputError
        The file is not there, raises, or lacks something; the message names the file, and the line if there is one.
    """
    path, variable = _split(str(text))
    if not Path(path).is_file():
        raise InputError(f"{path}: there is no such file; give the path of a Python file that defines model and x")
    return _loaded(path, variable or "model", hashlib.sha256(Path(path).read_bytes()).hexdigest())


@functools.lru_cache(maxsize=32)
def _loaded(path: str, variable: str, digest: str) -> Given:
    module = _run(Path(path))
    missing = [name for name in (variable, "x") if not hasattr(module, name)]
    if missing:
        raise InputError(
            f"{path}: it must define {' and '.join(missing)}; {variable} = logpx.Model(…), x = one row or more"
        )
    others: dict[str, Any] = {name: getattr(module, name, None) for name in ("proposal", "scalar", "x_states")}
    given = Given(getattr(module, variable), module.x, **others)
    try:
        check_model(given.model)
        check_x(given.x, getattr(given.model, "n_observed", None))
        _check_others(given)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    return given._replace(fingerprint=_fingerprint(given, digest))


def _check_others(given: Given) -> None:
    proposal, scalar = given.proposal, given.scalar
    unfit = isinstance(proposal, type) or not (isinstance(proposal, Proposal) or callable(proposal))
    if proposal is not None and unfit:
        raise InputError(f"proposal is {proposal!r}; give a logpx proposal, a function x → one, or none")
    if scalar is not None and not callable(scalar):
        raise InputError(f"scalar is {scalar!r}; give a function f(theta, dims, x, z) → float, or none")


def _fingerprint(given: Given, digest: str) -> str:
    """Sixteen hex digits; a kernel that reads what cannot be told counts by the text of the file alone."""
    whole = hashlib.sha256(digest.encode())
    with contextlib.suppress(InputError):
        whole.update(fingerprint(given.model.log_joint.python).encode())
    for array in (given.model.theta, getattr(given.model, "dims", ()), given.x):
        whole.update(np.ascontiguousarray(array).tobytes())
    return whole.hexdigest()[:16]


def _run(path: Path) -> ModuleType:
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    spec = importlib.util.spec_from_file_location(path.stem, path.resolve())
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    before = sys.modules.get(path.stem)
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        sys.modules.pop(path.stem)
        if before is not None:
            sys.modules[path.stem] = before
        said = f"{type(error).__name__}: {getattr(error, 'msg', '') or error}".rstrip(": ")
        raise InputError(f"{path}{line_of(path, error)}: {said}") from error
    return module


def line_of(path: Path, error: BaseException) -> str:
    """The last line of the user's file that was reached, as ", line 12"; nothing if it was not."""
    own = str(path.resolve())
    if isinstance(error, SyntaxError) and error.filename == own:
        return f", line {error.lineno}"
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == own]
    return f", line {lines[-1]}" if lines else ""
