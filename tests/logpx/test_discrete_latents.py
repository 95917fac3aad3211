"""Proposals that draw real numbers for discrete latents, or the other way about, are refused before a run. Exact."""

import re

import numpy as np
import pytest

from logpx import models, proposals
from logpx.errors import InputError
from logpx.prepare import prepare
from logpx.proposals import Bernoulli, Categorical, ConditionalGaussian, Gaussian, Uniform


def run(name, proposal):
    model, X = models.REGISTRY[name].example()
    return prepare(model, X[0], proposal, replicates=np.arange(1))


DISCRETE = {
    "gaussian_mixture": 1,
    "bernoulli_mixture": 1,
    "hidden_markov": 6,
    "sigmoid_belief_network": 6,
    "rbm": 8,
    "ppca_mixture": 1,
}


@pytest.mark.parametrize("name", models.REGISTRY)
def test_every_proposal_of_a_model_draws_as_many_whole_numbers_as_it_has(name):
    model, X = models.REGISTRY[name].example()
    made = [model.default_proposal(X[0]), *([model.prior] if model.prior is not None else [])]
    assert [q.n_discrete for q in made] == [DISCRETE.get(name, 0)] * len(made)
    run(name, None)


@pytest.mark.parametrize("name", DISCRETE)
def test_real_numbers_for_discrete_latents_are_refused(name):
    d = models.REGISTRY[name].example()[0].n_latents
    expected = rf"{name} has {DISCRETE[name]} discrete latents among its {d}, and the proposal gaussian draws 0 whole"
    with pytest.raises(InputError, match=expected):
        run(name, Gaussian(np.zeros(d), np.ones(d)))
    with pytest.raises(InputError, match=r"proposal uniform draws 0 whole|use Uniform.finite"):
        run(name, Uniform(np.full(d, -0.5), np.full(d, 1.5)))


def test_whole_numbers_for_real_latents_are_refused():
    with pytest.raises(InputError, match=r"conjugate_normal has 0 discrete latents among its 1, .* draws 1 whole"):
        run("conjugate_normal", Categorical([0.5, 0.5]))
    with pytest.raises(InputError, match=r"ppca has 0 discrete latents among its 2, .* bernoulli draws 2 whole"):
        run("ppca", Bernoulli([0.5, 0.5]))
    with pytest.raises(InputError, match=r"ppca_mixture has 1 discrete latents among its 3, .* draws 3 whole"):
        run("ppca_mixture", Bernoulli([0.5, 0.5, 0.5]))


def test_a_machine_without_a_prior_says_so_itself():
    machine = models.RBM(np.zeros((2, 30)), [1.0, -1.0], np.zeros(30))
    assert machine.prior is None
    with pytest.raises(InputError, match="rbm has 30 discrete latents among its 30"):
        prepare(machine, [0.0, 1.0], Gaussian(np.zeros(30), np.ones(30)), replicates=np.arange(1))


def test_a_users_model_is_known_by_its_prior_and_otherwise_not_checked():
    model, X = models.PPCAMixture.example()
    fields = {"dims": model.dims, "n_observed": model.n_observed}
    own = models.Model(models.ppca_mixture.log_joint, model.theta, 3, prior=model.prior, **fields)
    prepare(own, X[0], ConditionalGaussian([1.0], [[0.0, 0.0]], [np.eye(2)]), replicates=np.arange(1))
    wrong = Gaussian(np.zeros(3), np.ones(3))
    with pytest.raises(InputError, match="has 1 discrete latents among its 3"):
        prepare(own, X[0], wrong, replicates=np.arange(1))
    unknown = models.Model(models.ppca_mixture.log_joint, model.theta, 3, **fields)
    prepare(unknown, X[0], wrong, replicates=np.arange(1))


def test_the_message_names_every_proposal_that_draws_whole_numbers():
    with pytest.raises(InputError) as raised:
        run("rbm", Gaussian(np.zeros(8), np.ones(8)))
    drawing = {type(q).__name__ for q in _bound_examples() if q.n_discrete} | {"Uniform"}
    said = set(re.findall(r"\w+", str(raised.value)))
    assert drawing == said & {kind.__name__ for kind in proposals.REGISTRY.values()}


def _bound_examples():
    for kind in models.REGISTRY.values():
        model, X = kind.example()
        yield model.default_proposal(X[0])
        if hasattr(model, "posterior"):
            yield model.posterior(X[0])
