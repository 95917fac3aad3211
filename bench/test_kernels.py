"""Benchmark cases: every kernel alone, compiled before the clock starts, and checked before its time counts.

Cases come from the registries, so that a new model, proposal or point set is timed without a line here. Each is
checked against an oracle that shares no code with it (NumPy, SciPy, the scalar or closed form); `extra_info` carries
the error found, what kind of error it is, and the time for one element (one value, sample or log weight).
"""

import math

import numpy as np
import pytest
import scipy.special

import logpx
from logpx import _jit, models, points, proposals, vecmath

SIZE = 2**14


def finish(benchmark, group, call, n, error, error_is="largest, relative to max(1, |exact|)"):
    """Time `call` and write down its error, and what it cost for each of its n elements."""
    benchmark.group = group
    benchmark.extra_info.update(n=n, error=error, error_is=error_is)
    benchmark(call)
    if benchmark.stats is not None:
        benchmark.extra_info["ns_per_element"] = 1e9 * benchmark.stats.stats.median / n


def largest_error(found, exact):
    """Largest error relative to max(1, |exact|)."""
    return float(np.max(np.abs(found - exact) / np.maximum(1.0, np.abs(exact))))


# -- vecmath: name → (oracle, low, high of the arguments) -------------------------------------------------------

FUNCTIONS = {
    "exp": (np.exp, -50.0, 5.0),
    "exp_narrow": (np.exp, -50.0, 5.0),
    "log": (np.log, 1e-9, 50.0),
    "log1p": (np.log1p, -0.9, 50.0),
    "expm1": (np.expm1, -50.0, 5.0),
    "softplus": (lambda x: np.logaddexp(0.0, x), -50.0, 50.0),
    "sin_2pi": (lambda u: np.sin(2 * np.pi * u), 0.0, 1.0),
    "cos_2pi": (lambda u: np.cos(2 * np.pi * u), 0.0, 1.0),
    "normal_quantile": (scipy.special.ndtri, 1e-9, 1 - 1e-9),
}


#: Leaves that move bits or are one instruction: they cost nothing alone.
NOT_TIMED = {"bits_of", "float_of", "fma"}


def test_every_function_of_vecmath_has_a_case():
    assert set(FUNCTIONS) == set(vecmath.__all__) - NOT_TIMED


def over_an_array(leaf):
    @_jit.inner
    def loop(x, out):
        for i in range(x.size):
            out[i] = leaf(x[i])

    return loop


@pytest.mark.parametrize("name", FUNCTIONS)
def test_vecmath(benchmark, name):
    oracle, low, high = FUNCTIONS[name]
    x = np.linspace(low, high, SIZE)
    out = np.empty_like(x)
    loop = over_an_array(getattr(vecmath, name))
    loop(x, out)
    error = largest_error(out, oracle(x))
    assert error < 1e-14
    finish(benchmark, f"vecmath, {SIZE} values", lambda: loop(x, out), SIZE, error=error)


# -- points ----------------------------------------------------------------------------------------------------

#: What generates the numbers of a point set, where its name does not say.
GENERATORS = {"independent": "philox"}
NOISE = [(name, base) for name, point_set in points.REGISTRY.items() for base in point_set.kernels]


@pytest.mark.parametrize(("name", "base"), NOISE, ids=[f"{GENERATORS.get(name, name)}-{base}" for name, base in NOISE])
def test_points(benchmark, name, base):
    """Mean of SIZE · 2 values within 5 standard errors (false alarm 5.7e-7; detects a shift of 2.8 % of a σ)."""
    point_set, n_base = points.REGISTRY[name], 2
    kernel = point_set.kernels[base]
    state = point_set.state(0, 0, 0, n_base)
    eps = np.empty((n_base, SIZE))
    _jit.compile_kernel(kernel)
    kernel(state, np.uint64(0), eps)
    mean, deviation = {"uniform": (0.5, math.sqrt(1 / 12)), "normal": (0.0, 1.0)}[base]
    error = float(eps.mean() - mean)
    assert abs(error) <= 5 * deviation / math.sqrt(eps.size)
    call = lambda: kernel(state, np.uint64(0), eps)  # noqa: E731
    finish(
        benchmark,
        f"points, {SIZE} samples of {n_base}",
        call,
        eps.size,
        error=error,
        error_is="mean, less the exact mean",
    )


# -- models ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", models.REGISTRY)
def test_log_joint(benchmark, name):
    model, X = models.REGISTRY[name].example(seed=0)
    x, z = np.ascontiguousarray(X[0], dtype=float), model.sample(SIZE, seed=1, return_latents=True)[1]
    z = np.ascontiguousarray(np.asarray(z, dtype=float).reshape(SIZE, model.n_latents).T)
    out = np.empty(SIZE)
    _jit.compile_kernel(model.log_joint)
    model.log_joint(model.theta, model.dims, x, z, out)
    some = np.arange(0, SIZE, SIZE // 64)
    exact = np.array([model.log_joint_scalar(model.theta, model.dims, x, z[:, i].copy()) for i in some])
    error = largest_error(out[some], exact)
    assert error < 1e-12
    call = lambda: model.log_joint(model.theta, model.dims, x, z, out)  # noqa: E731
    finish(benchmark, f"log joint, {SIZE} samples", call, SIZE, error=error)


# -- proposals -------------------------------------------------------------------------------------------------


def proposal_examples():
    rng = np.random.default_rng(0)
    mean, scale = rng.normal(size=4), np.exp(rng.normal(size=4))
    cholesky = np.linalg.cholesky(np.cov(rng.normal(size=(4, 40))))
    model, X = models.REGISTRY["ppca"].example(seed=0)
    return {
        "gaussian-diagonal": proposals.Gaussian(mean, scale),
        "gaussian-full": proposals.Gaussian(mean, cholesky),
        "uniform-box": proposals.Uniform(mean - scale, mean + scale),
        "uniform-finite": proposals.Uniform.finite(7),
        "prior": proposals.Prior().bind(model, X[0]),
        "categorical": proposals.Categorical(np.array([0.1, 0.2, 0.7])),
        "markov_chain": proposals.MarkovChain([0.1, 0.2, 0.7], rng.dirichlet(np.ones(3), size=(5, 3))),
        "bernoulli": proposals.Bernoulli(rng.uniform(0.1, 0.9, 6)),
        "binary_table": proposals.BinaryTable(rng.dirichlet(np.ones(64))),
        "logit_beta": proposals.LogitBeta(scale, scale[::-1] + 1),
        "mixture": proposals.Mixture([0.3, 0.7], np.stack([mean, -mean]), np.stack([scale, 2 * scale])),
        "product": proposals.Product(
            np.full((4, 2), 0.5), np.stack([mean, -mean], axis=1), np.stack([scale] * 2, axis=1)
        ),
        "conditional_gaussian": proposals.ConditionalGaussian([0.3, 0.7], np.stack([mean, -mean]), [cholesky] * 2),
        "funnel": proposals.Funnel(4, 3.0),
        "shells": proposals.Shells(np.stack([mean, -mean]), 2.0, 0.1),
    }


def test_every_proposal_has_an_example():
    assert {name.partition("-")[0] for name in proposal_examples()} == set(proposals.REGISTRY)


@pytest.mark.parametrize("name", proposal_examples())
def test_proposal(benchmark, name):
    proposal = proposal_examples()[name]
    rng = np.random.default_rng(1)
    shape = (proposal.n_base, SIZE)
    eps = rng.normal(size=shape) if proposal.base == "normal" else rng.uniform(2**-53, 1 - 2**-53, size=shape)
    z, log_q = np.empty((proposal.n_latents, SIZE)), np.empty(SIZE)
    lam = np.ascontiguousarray(proposal.lam).reshape(-1)
    _jit.compile_kernel(proposal.kernel)
    proposal.kernel(lam, proposal.dims, eps, z, log_q)
    error = largest_error(log_q, proposal.log_density(z.T))
    assert error < 1e-12
    call = lambda: proposal.kernel(lam, proposal.dims, eps, z, log_q)  # noqa: E731
    finish(benchmark, f"proposal, {SIZE} samples", call, SIZE, error=error)


# -- readouts --------------------------------------------------------------------------------------------------

LOG_WEIGHTS = {
    "narrow": lambda rng: rng.normal(-100.0, 1.0, SIZE),
    "wide": lambda rng: rng.normal(-2000.0, 400.0, SIZE),
    "with-zeros": lambda rng: np.where(rng.random(SIZE) < 0.1, -np.inf, rng.normal(-100.0, 1.0, SIZE)),
}


@pytest.mark.parametrize("name", LOG_WEIGHTS)
def test_logsumexp(benchmark, name):
    weights = LOG_WEIGHTS[name](np.random.default_rng(2))
    error = largest_error(logpx.logsumexp(weights), scipy.special.logsumexp(weights))
    assert error < 1e-13
    call = lambda: logpx.logsumexp(weights)  # noqa: E731
    finish(benchmark, f"log-sum-exp, {SIZE} values", call, SIZE, error=error)


@pytest.mark.parametrize("name", LOG_WEIGHTS)
def test_ladder(benchmark, name):
    """The whole ladder over one array: its three paths are the three kinds of log weights."""
    weights = LOG_WEIGHTS[name](np.random.default_rng(2))
    exact = scipy.special.logsumexp(weights) - math.log(SIZE)
    error = largest_error(float(logpx.Ladder().update(weights).estimate().log_marginal), exact)
    assert error < 1e-13
    call = lambda: logpx.Ladder().update(weights)  # noqa: E731
    finish(benchmark, f"ladder, {SIZE} log weights", call, SIZE, error=error)
