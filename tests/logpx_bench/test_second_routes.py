"""Second routes: one for every model, the same log p(x), from parameters alone. Exact; rounding is all that is allowed.

That a test of a model notices an error in its `log_marginal` is held in tests/logpx/models/test_second_routes.py.
"""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest

from logpx.models import REGISTRY
from logpx_bench import second_routes
from logpx_bench.errors import InputError
from logpx_bench.second_routes import ROUTES

#: What a model computes when it is made, and a route may not take from it.
DERIVED = {"theta", "dims", "prior", "log_evidence", "log_partition"}
#: Nats: quadratures ask for 1e-11 of the value, and add over up to ten latents.
ALLOWED = 1e-9


def parameters_of(model):
    """The model without its methods: nothing but its name and what it was made from."""
    names = [field.name for field in dataclasses.fields(model) if field.name[0] != "_"]
    names += ["name", "n_latents", "n_observed"]
    return SimpleNamespace(**{name: getattr(model, name) for name in set(names) - DERIVED})


def test_every_model_has_one():
    assert list(ROUTES) == list(REGISTRY)


@pytest.mark.parametrize("name", REGISTRY)
def test_both_routes_agree_and_the_second_needs_parameters_alone(name):
    model, X = REGISTRY[name].example(seed=3)
    second = second_routes.log_marginal(parameters_of(model), X)
    assert second.shape == (len(X),)
    np.testing.assert_allclose(second, model.log_marginal(X), rtol=0, atol=ALLOWED)


def test_what_a_route_may_not_take_is_not_there():
    """The stand-in above lacks the answer: without this, agreement would say nothing."""
    for kind in REGISTRY.values():
        bare = parameters_of(kind.example()[0])
        assert not any(hasattr(bare, word) for word in ("log_marginal", "posterior", "log_joint", *DERIVED))


def test_a_model_without_one_says_so():
    with pytest.raises(InputError, match="mine has no second route; those that have one: conjugate_normal"):
        second_routes.log_marginal(SimpleNamespace(name="mine"), np.zeros((1, 1)))
