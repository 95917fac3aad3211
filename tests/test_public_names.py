"""Every public name is annotated in full and documented: what mypy's strict mode asks, for the public API. Exact.

Public are the names in `__all__` of logpx, logpx.models, logpx.proposals and logpx.points, and of each class its
methods and properties without a leading underscore. A property may be told in its class's docstring.
"""

import importlib
import inspect
from pathlib import Path

import pytest

MODULES = ("logpx", "logpx.models", "logpx.proposals", "logpx.points")


def public_names():
    found = {}
    for module_name in MODULES:
        module = importlib.import_module(module_name)
        for name in module.__all__:
            thing = getattr(module, name)
            if getattr(thing, "__module__", "").startswith("logpx") and callable(thing):
                found[f"{thing.__module__}.{name}"] = thing
    return found


NAMES = public_names()


#: Public functions that are compiled code: their types are the signatures of logpx._jit.
COMPILED = {"log_joint_scalar"}


def is_ours(function):
    """Written in our sources: not made by `dataclass` or `Protocol`."""
    source = inspect.getsourcefile(function)
    return source is not None and "logpx" in Path(source).parts


def functions_of(thing):
    """(label, function) of a function, or of a class's own public methods, properties and constructor."""
    if not inspect.isclass(thing):
        yield thing.__name__, inspect.unwrap(thing)
        return
    for name, member in vars(thing).items():
        member = member.__func__ if isinstance(member, classmethod | staticmethod) else member
        member = member.fget if isinstance(member, property) else getattr(member, "func", member)
        public = not name.startswith("_") or name == "__init__"
        if inspect.isfunction(member) and public and name not in COMPILED and is_ours(member):
            yield f"{thing.__name__}.{name}", member


def unannotated(function):
    signature = inspect.signature(function)
    missing = [
        name
        for position, (name, parameter) in enumerate(signature.parameters.items())
        if parameter.annotation is inspect.Parameter.empty and not (position == 0 and name in {"self", "cls"})
    ]
    returns = signature.return_annotation is inspect.Signature.empty and function.__name__ != "__init__"
    return missing + (["return"] if returns else [])


@pytest.mark.parametrize("name", NAMES)
def test_annotated_in_full(name):
    missing = {label: lacks for label, function in functions_of(NAMES[name]) if (lacks := unannotated(function))}
    assert missing == {}


@pytest.mark.parametrize("name", NAMES)
def test_documented(name):
    thing = NAMES[name]
    assert thing.__doc__, f"{name} has no docstring"
    told = thing.__doc__ if inspect.isclass(thing) else ""
    bare = [
        label
        for label, function in functions_of(thing)
        if not function.__doc__ and label.rpartition(".")[2] not in told
    ]
    assert [label for label in bare if not label.endswith(".__init__")] == []


def test_a_bare_function_is_found():
    def bare(x, y: int):
        return x

    assert unannotated(bare) == ["x", "return"]
    assert len(NAMES) > 8
