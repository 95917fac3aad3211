"""What every built-in model and every proposal promises, one test for all rows of the registries.

A model may lack a posterior in closed form, a prior to draw from and a box of its own; what it has must hold.

Exact, except the test of the importance-sampling mean, which states its false-alarm rate.
"""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from logpx import models, proposals
from logpx.errors import InputError
from logpx.models import LatentModel
from logpx.proposals import Proposal
from logpx.proposals.divergences import chi2

MODELS = list(models.REGISTRY)
WITH_POSTERIOR = [name for name in MODELS if hasattr(models.REGISTRY[name], "posterior")]


def example(name):
    return models.REGISTRY[name].example()


def noise_for(q, n, seed=0):
    rng = np.random.default_rng(seed)
    shape = (q.n_base, n)
    return rng.standard_normal(shape) if q.base == "normal" else 0.5 * 2.0**-53 + (1 - 2.0**-53) * rng.random(shape)


def draw(q, n, dtype="float64", seed=0):
    z, log_q = np.full((q.n_latents, n), np.nan, dtype), np.full(n, np.nan)
    q.kernel(q.lam.astype(dtype), q.dims, noise_for(q, n, seed).astype(dtype), z, log_q)
    return z, log_q


def log_joint(model, x, z):
    out = np.full(z.shape[1], np.nan)
    model.log_joint(model.theta.astype(z.dtype), model.dims, x.astype(z.dtype), z, out)
    return out


def every_proposal(model, x):
    """One of each registered kind for this model, bound to x."""
    made = [model.default_proposal(x)]
    if hasattr(model, "posterior"):
        made.append(model.posterior(x))
    if hasattr(model, "uniform_domain"):
        made.append(proposals.Uniform())
    if model.prior is not None:
        made.append(proposals.Prior())
    if isinstance(model.prior, proposals.Gaussian):
        made.append(proposals.Gaussian.full(np.zeros(model.n_latents), 1.5 * np.eye(model.n_latents)))
    return [q.bind(model, x) for q in made]


def test_every_registered_proposal_is_met_here():
    met = {type(q) for name in MODELS for q in every_proposal(*example(name))} | {proposals.Prior}
    assert met == set(proposals.REGISTRY.values())
    assert all(kind.name == name for name, kind in proposals.REGISTRY.items())


@pytest.mark.parametrize("name", MODELS)
def test_model_has_what_the_engine_reads(name):
    model, X = example(name)
    assert isinstance(model, LatentModel)
    assert model.name == name
    assert 0 < len(model.summary) < 100
    assert "\n" not in model.summary
    assert 0 < len(model.exact_route) < 100
    assert model.log_joint.kind == "log_joint"
    assert "float64" in model.log_joint.dtypes
    for array, kind in ((model.theta, np.float64), (model.dims, np.int64)):
        assert array.dtype == kind
        assert array.ndim == 1
        assert array.flags.c_contiguous
    assert X.ndim == 2
    assert X.shape[1] == model.n_observed
    assert model.prior is None or (isinstance(model.prior, Proposal) and model.prior.n_latents == model.n_latents)


@pytest.mark.parametrize("name", MODELS)
def test_proposals_have_what_the_engine_reads(name):
    model, X = example(name)
    for x, n_axes in ((X[0], 1), (X, 2)):
        for q in every_proposal(model, x):
            assert isinstance(q, Proposal)
            assert q.base in ("uniform", "normal")
            assert (q.kernel.kind, q.n_latents) == ("proposal", model.n_latents)
            assert q.lam.dtype == np.float64
            assert q.lam.flags.c_contiguous
            assert q.lam.ndim in (1, n_axes)
            assert q.dims.dtype == np.int64
            assert q.missing_mass is not None
            assert q.bind(model, x).n_latents == q.n_latents
            if q.lam.ndim == 1:
                z, log_q = draw(q, 50)
                np.testing.assert_allclose(q.log_density(z.T), log_q, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", MODELS)
def test_rows_of_x_are_treated_as_single_rows(name):
    model, X = example(name)
    values = model.log_marginal(X)
    assert values.shape == (len(X),)
    for i, x in enumerate(X):
        assert isinstance(model.log_marginal(x), float)
        np.testing.assert_allclose(model.log_marginal(x), values[i], rtol=1e-13)
        for together, alone in zip(every_proposal(model, X), every_proposal(model, x), strict=True):
            row = together.lam if together.lam.ndim == 1 else together.lam[i]
            np.testing.assert_allclose(row, alone.lam, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("n_samples", [1, 3, 4, 127, 128, 129, 512, 1000])
def test_kernel_is_the_scalar_form_at_any_block_size(name, n_samples):
    model, X = example(name)
    z, _ = draw(model.prior or model.default_proposal(X[0]), n_samples)
    for x in X[:2]:
        expected = [model.log_joint_scalar(model.theta, model.dims, x, sample) for sample in z.T]
        np.testing.assert_allclose(log_joint(model, x, z), expected, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("name", WITH_POSTERIOR)
def test_posterior_gives_constant_weights(name):
    model, X = example(name)
    for x in X:
        z, log_q = draw(model.posterior(x), 500)
        np.testing.assert_allclose(log_joint(model, x, z) - log_q, model.log_marginal(x), rtol=0, atol=1e-11)


@pytest.mark.parametrize("name", MODELS)
def test_default_proposal_leaves_something_to_estimate(name):
    model, X = example(name)
    for x in X:
        z, log_q = draw(model.default_proposal(x), 500)
        assert np.ptp(log_joint(model, x, z) - log_q) > 1e-3


@pytest.mark.parametrize("name", MODELS)
def test_mean_weight_of_the_default_proposal_is_the_marginal(name):
    """z-score of the mean of 2^17 weights against p(x), with the variance χ² from its closed form or the sample's.

    |z| ≤ 6 for 5 rows: false alarm 1e-8 for normal means. Detects an error of 6 √(χ²/2^17) nats: 0.006 at χ² = 0.1.
    χ² below 10 is part of the promise: one sample in eleven counts.
    """
    model, X = example(name)
    n = 2**17
    for i, x in enumerate(X):
        q = model.default_proposal(x)
        z, log_q = draw(q, n, seed=i)
        weights = np.exp(log_joint(model, x, z) - log_q - model.log_marginal(x))
        closed = isinstance(q, (proposals.Gaussian, proposals.Categorical)) and hasattr(model, "posterior")
        variance = chi2(model.posterior(x), q) if closed else weights.var()
        assert variance < 10
        assert abs(weights.mean() - 1) < 6 * np.sqrt(variance / n)


@pytest.mark.parametrize("name", [name for name in MODELS if "float32" in models.REGISTRY[name].log_joint.dtypes])
def test_float32_is_float64_up_to_rounding(name):
    model, X = example(name)
    z, _ = draw(model.default_proposal(X[0]), 512, "float32")
    single, double = log_joint(model, X[0], z), log_joint(model, X[0], z.astype(float))
    np.testing.assert_allclose(single, double, rtol=2e-6, atol=2e-6)
    assert not np.array_equal(single, double)


@pytest.mark.parametrize("name", MODELS)
def test_sampling(name):
    model, _ = example(name)
    X, Z = model.sample(7, 3, return_latents=True)
    assert X.shape == (7, model.n_observed)
    assert Z.shape == (7, model.n_latents)
    np.testing.assert_array_equal(model.sample(7, 3), X)
    assert not np.array_equal(model.sample(7, 4), X)
    with pytest.raises(InputError, match="n=0"):
        model.sample(0)


def nan_at(shape, *where):
    x = np.zeros(shape)
    x[where] = np.nan
    return x


@pytest.mark.parametrize("name", MODELS)
def test_bad_data_say_what_and_where(name):
    model, _ = example(name)
    p = model.n_observed
    cases = [
        (np.zeros(p + 1), rf"x has shape \({p + 1},\); it must be \({p},\) or \(n, {p}\)"),
        (np.zeros((2, 2, p)), r"x has shape \(2, 2"),
        (np.zeros((0, p)), "is empty"),
        (nan_at(p, p - 1), f"x holds nan at column {p - 1}"),
        (nan_at((4, p), 2, p - 1), rf"x holds nan at row 2, column {p - 1} \(such entries: 1\)"),
        (np.full(p, "a"), "x has dtype <U1"),
        (np.full(p, 1j), "x has dtype complex128"),
    ]
    for method in ("log_marginal", "default_proposal", "posterior", "uniform_domain"):
        for x, message in cases if hasattr(model, method) else ():
            with pytest.raises(InputError, match=message):
                getattr(model, method)(x)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("widen", [0.0, -1.0, np.nan])
def test_widen_is_above_zero(name, widen):
    model, X = example(name)
    with pytest.raises(InputError, match="widen"):
        model.default_proposal(X, widen)


WITHOUT_JIT = """
import json, numpy as np
import test_protocol as here
values = {}
for name in here.MODELS:
    model, X = here.example(name)
    for number, q in enumerate(here.every_proposal(model, X[0])):
        z, log_q = here.draw(q, 9)
        values[f"{name} {number}"] = [z.tolist(), log_q.tolist(), here.log_joint(model, X[0], z).tolist()]
print(json.dumps(values))
"""


def test_kernels_read_the_same_without_jit():
    found = {}
    for disabled in ("0", "1"):
        folder = os.path.dirname(__file__)
        path = os.pathsep.join(filter(None, (folder, os.environ.get("PYTHONPATH"))))
        environment = {**os.environ, "NUMBA_DISABLE_JIT": disabled, "PYTHONPATH": path}
        command = [sys.executable, "-W", "error", "-c", WITHOUT_JIT]
        result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stderr
        found[disabled] = json.loads(result.stdout)
    assert found["0"].keys() == found["1"].keys()
    assert len(found["0"]) > 2 * len(MODELS)
    for key, arrays in found["0"].items():
        for jit, plain in zip(arrays, found["1"][key], strict=True):
            np.testing.assert_allclose(jit, plain, rtol=1e-12, atol=1e-12, err_msg=key)
