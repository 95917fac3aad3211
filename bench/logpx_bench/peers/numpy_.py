"""NumPy: arrays and its generators. As written: `default_rng`, whole arrays, a row a sample. At its best: chunks that
stay in cache, buffers filled in place, and one chain a thread (its loops and generators release the lock)."""

import itertools
import math
from typing import Any

import numpy as np

from logpx_bench.peers import arrays
from logpx_bench.peers.arrays import GENERATORS
from logpx_bench.peers.base import Peer, Run, Variant, in_threads
from logpx_bench.peers.cases import Case


def variants(case: Case, dtype: str) -> list[Variant]:
    """The way it is first written, and every combination that NumPy has for the case, the likeliest first."""
    written = [Variant.of(as_written=True, mode="eager", chunk=case.size)]
    if case.kind == "uniforms":
        return written + _combinations(generator=GENERATORS, chunk=(2**14, 2**12, 2**16))
    if case.kind == "normals":
        return written + _combinations(normals=_normals(dtype), generator=GENERATORS, chunk=(2**14, 2**12, 2**16))
    if case.kind in ("exp", "logsumexp"):
        return written + _combinations(chunk=(2**14, 2**12, 2**10) if case.size == 2**14 else (2**14, 2**16))
    forms = FORMS[case.model]
    if case.kind == "log_joint":
        return written + _combinations(layout=("soa", "aos"), form=forms, chunk=(2**12, 2**10, 2**9))
    return written + _combinations(
        form=forms,
        layout=("soa", "aos"),
        normals=_normals(dtype),
        generator=GENERATORS[:2],
        chunk=(2**15, 2**13, 2**11) if case.size > 2**18 else (2**13, 2**11, 2**9),
    )


#: Ways to a log joint, the likeliest first.
FORMS = {"linear": ("reduced", "direct"), "mixture": ("matmul", "direct"), "vae": ("multiplied", "direct")}


def _normals(dtype: str) -> tuple[str, str]:
    """Box–Muller pays in float32, where NumPy's log, sine and cosine are vectorised."""
    return ("library", "box-muller") if dtype == "float64" else ("box-muller", "library")


def _combinations(**axes: Any) -> list[Variant]:
    return [
        Variant.of(**dict(zip(axes, values, strict=True)), mode="in place")
        for values in itertools.product(*axes.values())
    ]


def build(case: Case, dtype: str, threads: int, variant: Variant) -> Run:
    """One variant of a case."""
    if variant.as_written:
        return arrays.blas_threads(AS_WRITTEN[case.kind](case, dtype), threads)
    return arrays.blas_threads(BUILD[case.kind](case, dtype, threads, variant), 1)


# -- at its best --------------------------------------------------------------------------------------------------


def _numbers(case: Case, dtype: str, threads: int, variant: Variant) -> Run:
    share = case.n // threads
    n = min(variant["chunk"], share)
    buffers = [(np.empty(n, dtype), np.empty(n, dtype)) for _ in range(threads)]
    seeds = [0]

    def work(number: int) -> Any:
        rng, (out, spare) = arrays.generator(variant["generator"], seeds[0], number), buffers[number]
        for _ in range(share // n):
            if case.kind == "uniforms":
                rng.random(out=out, dtype=out.dtype)
            else:
                arrays.fill_normals(rng, variant["normals"], out, spare)
        return out

    go = in_threads(work, threads, threads)

    def call(seed: int) -> Any:
        seeds[0] = seed
        return np.concatenate(go())

    return Run(call, case.n)


def _exp(case: Case, dtype: str, threads: int, variant: Variant) -> Run:
    x = case.arrays(dtype)["x"]
    outs, n = [np.empty_like(x) for _ in range(threads)], variant["chunk"]

    def work(number: int) -> Any:
        out = outs[number]
        for _ in range(case.n_pieces // threads):
            for at in range(0, x.size, n):
                np.exp(x[at : at + n], out=out[at : at + n])
        return out

    go = in_threads(work, threads, threads)
    return Run(lambda seed: go()[0], case.n)


def _logsumexp(case: Case, dtype: str, threads: int, variant: Variant) -> Run:
    x, n = case.arrays(dtype)["x"], variant["chunk"]
    buffers = [np.empty(n, dtype) for _ in range(threads)]
    many = case.n_pieces > 1
    bounds: list[tuple[int, int]] = (
        [(0, x.size)] * threads
        if many
        else [(x.size * i // threads, x.size * (i + 1) // threads) for i in range(threads)]
    )

    def once(number: int) -> arrays.Pair:
        buffer, pairs = buffers[number], []
        begin, end = bounds[number]
        for at in range(begin, end, n):
            high = x[at : at + n].max()
            np.subtract(x[at : at + n], high, out=buffer)
            np.exp(buffer, out=buffer)
            pairs.append(arrays.Pair(float(high), float(buffer.sum())))
        return arrays.together(pairs)

    def work(number: int) -> arrays.Pair:
        return [once(number) for _ in range(max(1, case.n_pieces // threads))][-1]

    go = in_threads(work, threads, threads)
    return Run(lambda seed: go()[0].log if many else arrays.together(go()).log, case.n)


def _log_joint(case: Case, dtype: str, threads: int, variant: Variant) -> Run:
    layout, n = variant["layout"], variant["chunk"]
    z = case.arrays(dtype)["z"]
    chunks = [np.ascontiguousarray(one if layout == "aos" else one.T) for one in np.split(z, case.size // n)]
    outs = [np.empty(case.size, dtype) for _ in range(threads)]
    kernels = [arrays.log_joint_of(case, dtype, layout, variant["form"], n) for _ in range(threads)]

    def work(number: int) -> Any:
        for _ in range(case.n_pieces // threads):
            for i, one in enumerate(chunks):
                kernels[number](0, one, outs[number][i * n : (i + 1) * n])
        return outs[number]

    go = in_threads(work, threads, threads)
    return Run(lambda seed: go()[0], case.n)


BUILD = {
    "uniforms": _numbers,
    "normals": _numbers,
    "exp": _exp,
    "logsumexp": _logsumexp,
    "log_joint": _log_joint,
    "chain": arrays.chain,
}

# -- as written ---------------------------------------------------------------------------------------------------


def linear_as_written(data: Any, row: int, z: Any) -> Any:
    """log p(x, z) of latents z (n, d)."""
    residual = data["X"][row] - data["mu"] - z @ data["W"].T
    return data["constant"] - 0.5 * (z**2).sum(axis=1) - 0.5 * (residual**2 / data["noise"]).sum(axis=1)


def mixture_as_written(data: Any, row: int, z: Any) -> Any:
    """log p(z) of latents z (n, d)."""
    squared = ((z[:, None, :] - data["m"]) ** 2 / data["v"]).sum(axis=2)
    parts = data["log_pi"] - 0.5 * np.log(2 * np.pi * data["v"]).sum(axis=1) - 0.5 * squared
    high = parts.max(axis=1)
    return data["log_evidence"] + high + np.log(np.exp(parts - high[:, None]).sum(axis=1))


def vae_as_written(data: Any, row: int, z: Any) -> Any:
    """log p(x, z) of latents z (n, d)."""
    logits = np.tanh(z @ data["W1"].T + data["b1"]) @ data["W2"].T + data["b2"]
    likelihood = (data["X"][row] * logits - np.logaddexp(0, logits)).sum(axis=1)
    return data["constant"] - 0.5 * (z**2).sum(axis=1) + likelihood


LOG_JOINTS_AS_WRITTEN = {"linear": linear_as_written, "mixture": mixture_as_written, "vae": vae_as_written}


def _written_chain(case: Case, dtype: str) -> Run:
    data = case.arrays(dtype)
    log_joint = LOG_JOINTS_AS_WRITTEN[case.model]
    d = len(data["proposal_scale"])

    def call(seed: int) -> float:
        row = case.row(seed)
        eps = np.random.default_rng(seed).standard_normal((case.n, d), dtype=np.dtype(dtype))
        z = data["proposal_mean"][row] + data["proposal_scale"] * eps
        logs = log_joint(data, row, z) - (data["log_q_constant"] - 0.5 * (eps**2).sum(axis=1))
        high = logs.max()
        return float(high + np.log(np.exp(logs - high).mean()))

    return Run(call, case.n)


def _written_log_joint(case: Case, dtype: str) -> Run:
    data = case.arrays(dtype)
    log_joint = LOG_JOINTS_AS_WRITTEN[case.model]
    return Run(lambda seed: [log_joint(data, 0, data["z"]) for _ in range(case.n_pieces)][-1], case.n)


def _written_logsumexp(case: Case, dtype: str) -> Run:
    x = case.arrays(dtype)["x"]

    def once() -> float:
        high = x.max()
        return float(high + math.log(np.exp(x - high).sum()))

    return Run(lambda seed: [once() for _ in range(case.n_pieces)][-1], case.n)


def _written_exp(case: Case, dtype: str) -> Run:
    x = case.arrays(dtype)["x"]
    return Run(lambda seed: [np.exp(x) for _ in range(case.n_pieces)][-1], case.n)


AS_WRITTEN: dict[str, Any] = {
    "uniforms": lambda case, dtype: Run(lambda seed: np.random.default_rng(seed).random(case.n, dtype=dtype), case.n),
    "normals": lambda case, dtype: Run(
        lambda seed: np.random.default_rng(seed).standard_normal(case.n, dtype=dtype), case.n
    ),
    "exp": _written_exp,
    "logsumexp": _written_logsumexp,
    "log_joint": _written_log_joint,
    "chain": _written_chain,
}

NUMPY = Peer(
    name="numpy",
    summary="NumPy: arrays and its generators",
    packages=("numpy",),
    variants=variants,
    build=build,
)
