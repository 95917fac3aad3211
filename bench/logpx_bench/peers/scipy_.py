"""SciPy: `scipy.special.logsumexp`, and `scipy.stats` for random numbers and log densities, as its users write them;
at its best in chunks that stay in cache, a share of them for each thread."""

import math
from typing import Any

import numpy as np

from logpx_bench.peers.arrays import blas_threads
from logpx_bench.peers.base import Peer, Run, Variant, in_threads
from logpx_bench.peers.cases import Case


def variants(case: Case, dtype: str) -> list[Variant]:
    """Whole arrays, as first written, and chunks. SciPy has no exp and no random float32 of its own."""
    if case.model == "vae" or case.kind == "exp" or (dtype == "float32" and case.kind in ("uniforms", "normals")):
        return []
    chunks = {"logsumexp": (2**12, 2**14) if case.size == 2**14 else (2**14, 2**16), "log_joint": (2**10, 2**12)}.get(
        case.kind, (2**12, 2**14, 2**16)
    )
    return [Variant.of(as_written=True, chunk=case.size)] + [Variant.of(chunk=n, mode="in chunks") for n in chunks]


def build(case: Case, dtype: str, threads: int, variant: Variant) -> Run:
    """One variant of a case."""
    pool = 1 if variant.as_written else threads
    n = min(variant["chunk"], case.size, case.n // pool)
    return blas_threads(BUILD[case.kind](case, dtype, pool, n), threads if variant.as_written else 1)


def log_densities(case: Case, data: Any, row: int, z: Any) -> Any:
    """log p(x_row, z) of latents z (n, d), by scipy.stats and scipy.special."""
    from scipy import special, stats

    if case.model == "mixture":
        parts = stats.norm.logpdf(z[:, None, :], data["m"], np.sqrt(data["v"])).sum(axis=2)
        return data["log_evidence"] + special.logsumexp(parts + data["log_pi"], axis=1)
    likelihood = stats.norm.logpdf(data["X"][row], data["mu"] + z @ data["W"].T, np.sqrt(data["noise"]))
    return stats.norm.logpdf(z).sum(axis=1) + likelihood.sum(axis=1)


def _numbers(case: Case, dtype: str, threads: int, n: int) -> Run:
    from scipy import stats

    law = stats.uniform if case.kind == "uniforms" else stats.norm
    seeds = [0]

    def work(number: int) -> Any:
        rng = np.random.default_rng([seeds[0], number])
        return [law.rvs(size=n, random_state=rng) for _ in range(case.n // threads // n)][-1]

    go = in_threads(work, threads, threads)

    def call(seed: int) -> Any:
        seeds[0] = seed
        return np.concatenate(go())

    return Run(call, case.n)


def _logsumexp(case: Case, dtype: str, threads: int, n: int) -> Run:
    from scipy.special import logsumexp

    x = case.arrays(dtype)["x"]
    pieces = np.split(x, x.size // n)
    if case.n_pieces > 1:
        once = lambda: logsumexp(x) if len(pieces) == 1 else logsumexp([logsumexp(one) for one in pieces])  # noqa: E731
        go = in_threads(lambda i: [once() for _ in range(case.n_pieces // threads)][-1], threads, threads)
        return Run(lambda seed: float(go()[0]), case.n)
    parts = in_threads(lambda i: logsumexp(pieces[i]), len(pieces), threads)
    return Run(lambda seed: float(logsumexp(parts())), case.n)


def _log_joint(case: Case, dtype: str, threads: int, n: int) -> Run:
    data = case.arrays(dtype)
    pieces = np.split(data["z"], case.size // n)

    def work(number: int) -> Any:
        for _ in range(case.n_pieces // threads):
            found = [log_densities(case, data, 0, z) for z in pieces]
        return np.concatenate(found)

    go = in_threads(work, threads, threads)
    return Run(lambda seed: go()[0], case.n)


def _chain(case: Case, dtype: str, threads: int, n: int) -> Run:
    from scipy import special, stats

    data, seeds = case.arrays(dtype), [0]
    scale = data["proposal_scale"]

    def chunk(rng: Any, row: int) -> float:
        mean = data["proposal_mean"][row]
        z = (mean + scale * rng.standard_normal((n, len(scale)), dtype=dtype)).astype(dtype)
        log_q = stats.norm.logpdf(z, mean, scale).sum(axis=1)
        return float(special.logsumexp(log_densities(case, data, row, z) - log_q))

    def work(number: int) -> list[float]:
        rng = np.random.default_rng([seeds[0], number])
        return [chunk(rng, case.row(seeds[0])) for _ in range(case.n // threads // n)]

    go = in_threads(work, threads, threads)

    def call(seed: int) -> float:
        seeds[0] = seed
        return float(special.logsumexp(np.concatenate(go()))) - math.log(case.n)

    return Run(call, case.n)


BUILD: dict[str, Any] = {
    "uniforms": _numbers,
    "normals": _numbers,
    "logsumexp": _logsumexp,
    "log_joint": _log_joint,
    "chain": _chain,
}

SCIPY = Peer(
    name="scipy",
    summary="SciPy: special.logsumexp, stats' densities and random numbers",
    packages=("scipy",),
    variants=variants,
    build=build,
)
