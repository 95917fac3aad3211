"""Every exact log p(x) is confirmed by a second route, and what is said to confirm it notices when it is wrong.

A test that holds `log_marginal` of a model to another way of working it out says so with
`@pytest.mark.second_route("ppca", …)`, the models' names. Here those tests are called once more with a `log_marginal`
that is 1e-6 nats off: each must fail for each model that it names. A model without one is an error. Exact.
"""

import importlib.util
import itertools
from pathlib import Path

import pytest

from logpx import models

FILES = sorted(Path(__file__).parent.glob("test_*.py"))
#: What is planted, in nats.
SHIFT = 1e-6


def confirming(paths):
    """(test function, names of models) of every marked test in these files."""
    found = []
    for path in paths:
        spec = importlib.util.spec_from_file_location(f"confirming_{path.stem}", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        for value in vars(module).values():
            marks = [mark for mark in getattr(value, "pytestmark", ()) if mark.name == "second_route"]
            found += [(value, mark.args) for mark in marks]
    return found


CONFIRMING = confirming(path for path in FILES if path != Path(__file__))
CLAIMS = [(test, name) for test, names in CONFIRMING for name in names]


def calls(test):
    """Keyword arguments of every call that pytest makes of a test, as its `parametrize` marks say."""
    axes = []
    for mark in test.pytestmark:
        if mark.name == "parametrize":
            names, values = mark.args[:2]
            names = [name.strip() for name in names.split(",")] if isinstance(names, str) else list(names)
            axes.append([dict(zip(names, v if len(names) > 1 else [v], strict=True)) for v in values])
    return [{k: v for part in parts for k, v in part.items()} for parts in itertools.product(*axes)]


def notices(test):
    for arguments in calls(test):
        try:
            test(**arguments)
        except AssertionError:
            return True
    return False


def test_every_model_has_a_second_route():
    assert {name for _, name in CLAIMS} == set(models.REGISTRY)
    for kind in models.REGISTRY.values():
        assert 0 < len(kind.second_route) < 100
        assert kind.second_route != kind.exact_route


@pytest.mark.parametrize(("test", "name"), CLAIMS, ids=[f"{name}-{test.__name__}" for test, name in CLAIMS])
def test_the_second_route_notices_an_error(monkeypatch, test, name):
    kind = models.REGISTRY[name]
    exact = kind.log_marginal
    monkeypatch.setattr(kind, "log_marginal", lambda self, x: exact(self, x) + SHIFT)
    assert notices(test), f"{test.__name__} passes for {name} with log p(x) off by {SHIFT} nats"
