"""A model from the command line: a name with its options, or the path of a Python file of the user's.

Such a file defines `model` and `x`, and a `proposal` if the model's own is not wanted:

    import logpx

    @logpx.per_sample
    def log_joint(theta, dims, x, z): ...

    model = logpx.Model(log_joint, theta=[1.0], n_latents=1, prior=logpx.proposals.Gaussian([0.0], [1.0]))
    x = [0.3]

It is run as any module is, with its own folder first on the path, so that it may import what lies beside it. What it
raises is shown in one line, with the line of the file at fault.
"""

import importlib.util
import sys
import traceback
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from logpx.models import REGISTRY
from logpx.models.base import check_x
from logpx.prepare import check_model
from logpx.proposals import Proposal
from logpx_bench import data
from logpx_bench.errors import InputError
from logpx_bench.options import check, choose


class Given(NamedTuple):
    """A model, its x, (p,) or (n, p), and a proposal or None for the model's own."""

    model: Any
    x: Any
    proposal: Any


def resolve(model: str, data_name: str | None = None, options: Iterable[str] = ()) -> Given:
    """What MODEL on a command line means, with its --data and its --option NAME=VALUE.

    Parameters
    ----------
    model : str
        A path that ends with .py, or a name: of `logpx.models.REGISTRY` for that model's example, or with data or
        options a model that suites may name.

    Raises
    ------
    InputError, SuiteError
        No such file, name or option; a file that does not define what it must.

    Examples
    --------
    >>> resolve("ppca", options=["n_latents=3"]).model.n_latents
    3
    """
    given = dict(_pair(one) for one in options)
    if model.endswith(".py"):
        if given or data_name:
            raise InputError(f"{model}: a file of your own takes neither --data nor --option; write them into the file")
        return load(Path(model))
    if not given and data_name is None:
        kind: Any = REGISTRY[choose(model, REGISTRY, "MODEL", "model")]
        example, x = kind.example()
        return Given(example, x, None)
    entry = data.MODELS[choose(model, data.MODELS, "MODEL", "model with data or options")]
    chosen = data_name or "sample"
    entry.check_data(choose(chosen, data.DATA, "--data", "data set"), f"the model {model}")
    subject = data.build(model, check(given, entry.options, "--option", sweeps=False), chosen)
    return Given(subject.model, subject.X, None)


def _pair(text: str) -> tuple[str, float]:
    name, equals, value = text.partition("=")
    try:
        number = float(value)
    except ValueError:
        equals = ""
    if not equals:
        raise InputError(f"--option {text}: give NAME=NUMBER, such as n_latents=4")
    return name, number


def load(path: Path) -> Given:
    """Run a user's file, and take `model`, `x` and `proposal` from it.

    Raises
    ------
    InputError
        The file is not there, raises, or lacks something; the message names the file, and the line if there is one.
    """
    module = _run(path)
    missing = [name for name in ("model", "x") if not hasattr(module, name)]
    if missing:
        raise InputError(f"{path}: it must define {' and '.join(missing)}; model = logpx.Model(…), x = one row or more")
    given = Given(module.model, module.x, getattr(module, "proposal", None))
    try:
        check_model(given.model)
        check_x(given.x, getattr(given.model, "n_observed", None))
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    unfit = isinstance(given.proposal, type) or not (isinstance(given.proposal, Proposal) or callable(given.proposal))
    if given.proposal is not None and unfit:
        raise InputError(f"{path}: proposal is {given.proposal!r}; give a logpx proposal, a function x → one, or none")
    return given


def _run(path: Path) -> ModuleType:
    if not path.is_file():
        raise InputError(f"{path}: there is no such file; give the path of a Python file that defines model and x")
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
        raise InputError(f"{path}{_line(path, error)}: {said}") from error
    return module


def _line(path: Path, error: BaseException) -> str:
    """The last line of the user's file that was reached."""
    own = str(path.resolve())
    if isinstance(error, SyntaxError) and error.filename == own:
        return f", line {error.lineno}"
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == own]
    return f", line {lines[-1]}" if lines else ""
