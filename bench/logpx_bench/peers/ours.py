"""logpx itself.

Chains go through the public `logpx.estimate`: full ladder, its readings and diagnostics, another row of x and another
seed each time. Log-sum-exp is `logpx.logsumexp`. The kernels alone (uniforms, normals, exp, log joint) are the
library's, called by the small drivers here as its engine calls them: in blocks of 1024 samples, by pointer.

Every run does what the other libraries' do: n samples, however many threads. The engine cuts a short run so that all
threads have work.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types

import logpx
from logpx import _jit, models, vecmath
from logpx.points import REGISTRY as POINTS
from logpx_bench.peers.base import Peer, Run, Variant, in_threads
from logpx_bench.peers.cases import Case

BLOCK = _jit.BLOCK


def _points_signature(dtype: str) -> Any:
    kernel = _jit.function_type("points", dtype)
    return types.void(kernel, types.uint64[::1], types.uint64, types.int64, _jit.SCALARS[dtype][:, ::1])


@_jit.compiled_by_dtype(_points_signature)
def _points_in_blocks(kernel, state, start, n_blocks, eps):  # type: ignore[no-untyped-def] # compiled
    """The noise of n_blocks blocks from sample `start` on, one after another into eps (n_base, B)."""
    for block in range(n_blocks):
        kernel(state, start + np.uint64(block * eps.shape[1]), eps)


def _log_joint_signature(dtype: str) -> Any:
    vector = _jit.SCALARS[dtype][::1]
    blocks = _jit.SCALARS[dtype][:, :, ::1]
    kernel = _jit.function_type("log_joint", dtype)
    return types.void(kernel, vector, types.int64[::1], vector, blocks, types.int64, types.float64[:, ::1])


@_jit.compiled_by_dtype(_log_joint_signature)
def _log_joint_in_blocks(kernel, theta, dims, x, z, times, out):  # type: ignore[no-untyped-def] # compiled
    """log p(x, z) of blocks z (n_blocks, d, B) into out (n_blocks, B), again and again."""
    for _ in range(times):
        for block in range(z.shape[0]):
            kernel(theta, dims, x, z[block], out[block])


@_jit.compiled(types.void(types.float64[::1], types.float64[::1]))
def _exp(x, out):  # type: ignore[no-untyped-def] # compiled
    for i in range(x.size):
        out[i] = vecmath.exp(x[i])


def model_of(case: Case) -> Any:
    """The case's model as the library has it."""
    data = case.data
    if case.model == "mixture":
        target = models.REGISTRY["mixture_target"]
        return target(np.exp(data["log_pi"]), data["m"], data["v"])
    if case.model == "vae":
        decoder = models.Network([data["W1"], data["W2"]], [data["b1"], data["b2"]], "tanh")
        return models.VAE(decoder)
    if np.all(data["noise"] == data["noise"][0]):
        return models.PPCA(data["W"], data["mu"], float(data["noise"][0]))
    return models.FactorAnalysis(data["W"], data["mu"], data["noise"])


def observed(case: Case) -> Any:
    """Rows of x, as the library has them."""
    return case.data["observation" if case.model == "mixture" else "X"]


def variants(case: Case, dtype: str) -> list[Variant]:
    """One: it is what it is."""
    if case.model == "mixture" and "mixture_target" not in models.REGISTRY:
        return []
    if dtype == "float32" and case.kind in ("exp", "logsumexp"):
        return []
    return [Variant.of(as_written=True, route="estimate" if case.kind == "chain" else "kernel")]


def build(case: Case, dtype: str, threads: int, variant: Variant) -> Run:
    """The case by the library."""
    return BUILD[case.kind](case, dtype, threads)


def _chain(case: Case, dtype: str, threads: int) -> Run:
    model, data = model_of(case), case.data
    proposals = [logpx.proposals.Gaussian.diagonal(mean, data["proposal_scale"]) for mean in data["proposal_mean"]]

    def call(seed: int) -> float:
        row = case.row(seed)
        est = logpx.estimate(
            model,
            observed(case)[row],
            proposal=proposals[row],
            n_samples=case.n,
            seed=seed,
            dtype=dtype,
            threads=threads,
        )
        return float(est.log_marginal)

    return Run(call, case.n)


def _numbers(case: Case, dtype: str, threads: int) -> Run:
    points, n_base = POINTS["independent"], 2
    kernel = points.kernels[case.kind.removesuffix("s")]
    _jit.compile_kernel(kernel, dtype)
    outs = [np.empty((n_base, BLOCK), dtype) for _ in range(threads)]
    n_blocks = case.n // (threads * n_base * BLOCK)
    seeds = [0]

    def work(number: int) -> Any:
        state = points.state(seeds[0], 0, 0, n_base)
        start = np.uint64(number * n_blocks * BLOCK)
        _points_in_blocks[dtype](kernel, state, start, n_blocks, outs[number])
        return outs[number]

    go = in_threads(work, threads, threads)

    def call(seed: int) -> Any:
        seeds[0] = seed
        return np.concatenate(go())

    return Run(call, case.n)


def _exponentials(case: Case, dtype: str, threads: int) -> Run:
    x = case.data["x"]
    outs = [np.empty_like(x) for _ in range(threads)]

    def work(number: int) -> Any:
        for _ in range(case.n_pieces // threads):
            _exp(x, outs[number])
        return outs[number]

    go = in_threads(work, threads, threads)
    return Run(lambda seed: go()[0], case.n)


def _logsumexp(case: Case, dtype: str, threads: int) -> Run:
    x = case.data["x"]
    go = in_threads(
        lambda number: [logpx.logsumexp(x) for _ in range(max(1, case.n_pieces // threads))][-1],
        min(threads, case.n_pieces),
        threads,
    )
    return Run(lambda seed: float(go()[0]), case.n)


def _log_joint(case: Case, dtype: str, threads: int) -> Run:
    model = model_of(case)
    _jit.compile_kernel(model.log_joint, dtype)
    z = case.arrays(dtype)["z"]
    blocks = np.ascontiguousarray(z.reshape(-1, BLOCK, z.shape[1]).transpose(0, 2, 1))
    theta, x = model.theta.astype(dtype), observed(case)[0].astype(dtype)
    outs = [np.empty((len(blocks), BLOCK)) for _ in range(threads)]

    def work(number: int) -> Any:
        times = case.n_pieces // threads
        _log_joint_in_blocks[dtype](model.log_joint, theta, model.dims, x, blocks, times, outs[number])
        return outs[number]

    go = in_threads(work, threads, threads)
    return Run(lambda seed: go()[0], case.n)


BUILD: dict[str, Callable[[Case, str, int], Run]] = {
    "uniforms": _numbers,
    "normals": _numbers,
    "exp": _exponentials,
    "logsumexp": _logsumexp,
    "log_joint": _log_joint,
    "chain": _chain,
}

OURS = Peer(
    name="logpx",
    summary="logpx: full ladder through the public estimate",
    packages=("logpx",),
    variants=variants,
    build=build,
)
