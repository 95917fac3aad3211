"""A model from the command line: a name with its options, or the path of a Python file of the user's (`model_file`)."""

from collections.abc import Iterable
from typing import Any

from logpx.models import REGISTRY
from logpx_bench import data, model_file
from logpx_bench.errors import InputError
from logpx_bench.model_file import Given
from logpx_bench.options import check, choose


def resolve(model: str, data_name: str | None = None, options: Iterable[str] = ()) -> Given:
    """What MODEL on a command line means, with its --data and its --option NAME=VALUE.

    Parameters
    ----------
    model : str
        A path that ends with .py (or .py:variable), or a name: of `logpx.models.REGISTRY` for that model's example, or
        with data or options a model that suites may name.

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
    if model_file.is_file(model):
        if given or data_name:
            raise InputError(f"{model}: a file of your own takes neither --data nor --option; write them into the file")
        return model_file.load(model)
    if not given and data_name is None:
        kind: Any = REGISTRY[choose(model, REGISTRY, "MODEL", "model")]
        example, x = kind.example()
        return Given(example, x)
    entry = data.MODELS[choose(model, data.MODELS, "MODEL", "model with data or options")]
    chosen = data_name or "sample"
    entry.check_data(choose(chosen, data.DATA, "--data", "data set"), f"the model {model}")
    subject = data.build(model, check(given, entry.options, "--option", sweeps=False), chosen)
    return Given(subject.model, subject.X)


def _pair(text: str) -> tuple[str, float]:
    name, equals, value = text.partition("=")
    try:
        number = float(value)
    except ValueError:
        equals = ""
    if not equals:
        raise InputError(f"--option {text}: give NAME=NUMBER, such as n_latents=4")
    return name, number
