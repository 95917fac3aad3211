"""The cases' right answers, against other derivations; and that what is wrong is found out.

Exact, but for two Monte Carlo comparisons, each within 5 standard errors of its own (false alarm 5.7e-7).
"""

import itertools
import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import threadpoolctl
from scipy import stats

import logpx
from logpx import models
from logpx_bench.peers import C_TWIN, NUMBA, NUMBA_STATS, NUMPY, OURS, REGISTRY, SCIPY
from logpx_bench.peers.cases import CASES, log_joint_exact, logsumexp_exact, mixture, mixture_chi2

LINEAR = [name for name, case in CASES.items() if case.model == "linear"]
DTYPES = ["float64", "float32"]
CHAINS = [name for name, case in CASES.items() if case.kind == "chain"]


def small(case):
    """The case with so few elements that its slowest variant takes a moment; two pieces, one a thread."""
    n = {"uniforms": 2**16, "normals": 2**16, "chain": 2**13}.get(case.kind)
    return replace(case, n=n, size=n) if n else replace(case, n=2 * case.size)


@pytest.mark.parametrize("name", LINEAR)
def test_linear_models_are_those_of_the_library(name):
    data = CASES[name].data
    model = models.FactorAnalysis(data["W"], data["mu"], data["noise"])
    assert model.log_marginal(data["X"]) == pytest.approx(data["exact"], rel=1e-12)
    z = data["proposal_mean"] + 0.3
    joint = [model.log_joint_scalar(model.theta, model.dims, x, one) for x, one in zip(data["X"], z, strict=True)]
    residual = data["T"] - z @ data["R"].T
    reduced = data["reduced_constant"] - 0.5 * (z**2).sum(axis=1) - 0.5 * (residual**2).sum(axis=1)
    assert reduced == pytest.approx(joint, rel=1e-12)
    assert log_joint_exact(data, z[:1])[0] == pytest.approx(joint[0], rel=1e-12)


def weights(name, n):
    """Weights over p(x_0) of n samples from the proposal, by SciPy."""
    data, rng = CASES[name].data, np.random.default_rng(3)
    mean, scale = data["proposal_mean"][0], data["proposal_scale"]
    z = mean + scale * rng.standard_normal((n, len(scale)))
    return np.exp(log_joint_exact(data, z) - stats.norm.logpdf(z, mean, scale).sum(axis=1) - data["exact"][0])


@pytest.mark.parametrize("name", CHAINS)
def test_weights_have_mean_one_and_the_variance_that_is_said(name):
    """Detects: a mean off by 5 √(χ²/n); a χ² off by five standard errors of the sample's own (some per cent)."""
    n = 2**13
    found, chi2 = weights(name, n), CASES[name].data["chi2"][0]
    assert abs(found.mean() - 1) <= 5 * math.sqrt(chi2 / n)
    squares = (found - 1) ** 2
    assert abs(squares.mean() - chi2) <= 5 * squares.std() / math.sqrt(n)


def test_chi2_of_a_mixture_in_one_dimension_by_quadrature():
    pi, m, v = np.array([0.3, 0.7]), np.array([[-0.5], [0.8]]), np.array([[0.6], [0.9]])
    centre, variance = np.array([0.2]), np.array([1.7])
    x = np.linspace(-30, 30, 200001)
    p = (pi[:, None] * stats.norm.pdf(x, m, np.sqrt(v))).sum(axis=0)
    exact = np.trapezoid(p**2 / stats.norm.pdf(x, centre, np.sqrt(variance)), x) - 1
    assert mixture_chi2(pi, m, v, centre, variance) == pytest.approx(exact, rel=1e-10)
    assert mixture_chi2(pi, m, v, centre, np.array([0.4])) == math.inf


def test_the_mixture_is_one_whose_weights_can_be_averaged():
    assert mixture(64, 10)["chi2"][0] < 50


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_logsumexp_exact_by_fsum(dtype):
    case = CASES["logsumexp_cache"]
    x = case.data["x"].astype(dtype).astype(float)
    assert logsumexp_exact(case, dtype) == pytest.approx(math.log(math.fsum(map(math.exp, x))), rel=1e-15)


# -- what is wrong is found out ----------------------------------------------------------------------------------


def verdict(name, result, n=2**20, dtype="float64"):
    return CASES[name].check(result, 0, n, dtype)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_wrong_answers_are_wrong(dtype):
    rng = np.random.default_rng(0)
    normal, uniform = rng.standard_normal(2**16), rng.random(2**16)
    assert verdict("normals", normal, dtype=dtype).right
    assert not verdict("normals", normal + 0.03, dtype=dtype).right
    assert not verdict("normals", normal * 1.03, dtype=dtype).right
    assert not verdict("normals", np.full(10, math.nan), dtype=dtype).right
    assert verdict("uniforms", uniform, dtype=dtype).right
    assert not verdict("uniforms", uniform**1.05, dtype=dtype).right
    assert not verdict("uniforms", np.append(uniform, 1.1), dtype=dtype).right
    exps = np.exp(CASES["exp"].arrays(dtype)["x"].astype(float))
    assert verdict("exp", exps, dtype=dtype).right
    assert not verdict("exp", np.where(np.arange(exps.size) == 77, exps * (1 + 1e-6), exps), dtype=dtype).right
    assert not verdict("exp", exps[:100], dtype=dtype).right
    exact = logsumexp_exact(CASES["logsumexp_cache"], dtype)
    assert verdict("logsumexp_cache", exact, dtype=dtype).right
    assert not verdict("logsumexp_cache", exact + 1e-3, dtype=dtype).right
    data = CASES["log_joint_fa"].data
    joint = log_joint_exact(data, CASES["log_joint_fa"].arrays(dtype)["z"].astype(float))
    assert verdict("log_joint_fa", joint, dtype=dtype).right
    assert not verdict("log_joint_fa", joint * 1.0001, dtype=dtype).right
    assert not verdict("log_joint_fa", joint[::-1], dtype=dtype).right


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", CHAINS)
def test_a_chain_is_held_against_its_own_row(name, dtype):
    data = CASES[name].data
    for seed, exact in enumerate(data["exact"]):
        allowed = CASES[name].check(exact, seed, 2**20, dtype).allowed
        assert CASES[name].check(exact + 0.99 * allowed, seed, 2**20, dtype).right
        assert not CASES[name].check(exact + 1.01 * allowed, seed, 2**20, dtype).right
        assert allowed < 0.05


# -- every variant of the peers that are always there ------------------------------------------------------------


def variants(peer, case, dtype):
    """All, but the likeliest alone of Numba, which compiles each."""
    found = peer.variants(case, dtype)
    assert [one.as_written for one in found].count(True) == min(1, len(found))
    return found[1:2] if peer is NUMBA else found


@pytest.mark.parametrize("peer", [one for one in REGISTRY.values() if one is not OURS], ids=lambda peer: peer.name)
def test_every_library_has_a_variant_of_its_functions_alone_and_is_first_written_so(peer):
    """In every case that it does; none that is written by hand throughout."""
    for case, dtype in itertools.product(CASES.values(), DTYPES):
        found = peer.variants(case, dtype)
        written = [one for one in found if one.as_written]
        assert all(one.library == (peer is not C_TWIN) for one in written)
        assert len(set(found)) == len(found), (peer.name, case.name)
        if case.kind == "chain" and found and peer is not C_TWIN:
            assert sum(one.library for one in found) >= 3


NAMES = [name for name in CASES if name != "logsumexp_memory"]
DONE = [
    one
    for one in itertools.product([OURS, NUMPY, SCIPY, NUMBA, C_TWIN], NAMES, DTYPES)
    if one[0].variants(CASES[one[1]], one[2])
]


@pytest.mark.parametrize(
    ("peer", "name", "dtype"), DONE, ids=[f"{peer.name}-{name}-{dtype}" for peer, name, dtype in DONE]
)
def test_every_variant_is_right(peer, name, dtype):
    if reason := peer.available():
        pytest.skip(reason)
    case = small(CASES[name])
    for variant in variants(peer, case, dtype):
        run = peer.build(case, dtype, peer.most_threads or 2, variant)
        found = case.check(run.call(3), 3, run.n, dtype)
        assert found.right, (variant.words(), found)


def test_a_chain_of_ours_has_as_many_samples_as_those_of_the_others(monkeypatch):
    """On any number of threads."""
    asked = []
    monkeypatch.setattr(
        logpx, "estimate", lambda *_, **options: asked.append(options) or SimpleNamespace(log_marginal=0)
    )
    case = CASES["chain_ppca_2_8"]
    for threads in (1, 3):
        run = OURS.build(case, "float64", threads, OURS.variants(case, "float64")[0])
        run.call(1)
        assert run.n == case.n
    assert [(one["n_samples"], one["threads"]) for one in asked] == [(case.n, 1), (case.n, 3)]


@pytest.mark.parametrize("peer", [NUMPY, SCIPY, NUMBA_STATS], ids=lambda peer: peer.name)
def test_matrix_products_have_a_thread_in_a_pool_and_all_as_first_written(peer):
    """Variants of either kind stand prepared and take turns."""
    if reason := peer.available():
        pytest.skip(reason)
    case = small(CASES["log_joint_ppca"])
    written, *others = peer.variants(case, "float64")
    runs = [peer.build(case, "float64", 2, one) for one in (written, others[0])]
    blas = [one for one in threadpoolctl.ThreadpoolController().lib_controllers if one.user_api == "blas"]
    assert blas
    for run, threads in (*zip(runs, (2, 1), strict=True), (runs[0], 2)):
        run.call(0)
        assert {one.num_threads for one in blas} == {threads}


def test_the_same_seed_gives_the_same_and_another_another():
    case = small(CASES["chain_ppca_2_8"])
    for peer in (NUMPY, NUMBA):
        run = peer.build(case, "float64", 2, peer.variants(case, "float64")[1])
        assert run.call(1) == run.call(1) != run.call(9)
