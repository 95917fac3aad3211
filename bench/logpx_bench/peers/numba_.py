"""Plain Numba: loops over `np.random` and `math.exp` under `njit`, what one writes before knowing better.

At its best: a NumPy generator in place of `np.random`, sums in any order, samples innermost, and a share of the samples
for each thread.
"""

import itertools
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from logpx_bench.peers.arrays import Pair, generator, shape, together
from logpx_bench.peers.base import Peer, Run, Variant, in_threads
from logpx_bench.peers.cases import Case


def variants(case: Case, dtype: str) -> list[Variant]:
    """As first written, then every combination of what could be better, the likeliest first."""
    if case.model == "vae":
        return []
    if case.kind == "uniforms":
        return _listed({"generator": "np.random", "chunk": 2**14}, generator=("Generator",), chunk=(2**14,))
    normals = ("Generator", "np.random", "box-muller")
    if case.kind == "normals":
        return _listed({"normals": "np.random", "chunk": 2**14}, normals=normals, chunk=(2**14,))
    if case.kind in ("exp", "logsumexp"):
        return _listed({"fast": False}, fast=(True,))
    forms = ("direct",) if case.model == "mixture" else ("reduced", "direct")
    written = {"form": "direct", "layout": "aos", "fast": False, "chunk": 2**10}
    better: dict[str, tuple[Any, ...]] = {"form": forms, "layout": ("soa", "aos"), "fast": (True,)}
    if case.kind == "log_joint":
        return _listed(written, **better, chunk=(2**10, 2**8, 2**12))
    return _listed(written | {"normals": "np.random"}, normals=normals, **better, chunk=(2**10, 2**8))


def _listed(written: Mapping[str, Any], **axes: tuple[Any, ...]) -> list[Variant]:
    """The one as written, and every combination of the others."""
    combinations = [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]
    return [Variant.of(True, **written)] + [Variant.of(**one) for one in combinations if one != written]


def build(case: Case, dtype: str, threads: int, variant: Variant) -> Run:
    """One variant of a case; the way it is first written has one thread."""
    return BUILD[case.kind](case, dtype, 1 if variant.as_written else threads, variant)


def parameters(case: Case, dtype: str, form: str) -> list[Any]:
    """What the log joint of each row takes, in the precision."""
    kind, data = np.dtype(dtype).type, case.data
    if case.model == "mixture":
        constants = data["log_pi"] - 0.5 * np.log(2 * np.pi * data["v"]).sum(axis=1)
        arrays = (constants.astype(dtype), data["m"].astype(dtype), (1 / data["v"]).astype(dtype))
        return [(*arrays, kind(data["log_evidence"]))]
    deviation = np.sqrt(data["noise"])
    if form == "reduced":
        targets, matrix, constants = data["T"], data["R"], data["reduced_constant"]
    else:
        targets, matrix = (data["X"] - data["mu"]) / deviation, data["W"] / deviation[:, None]
        constants = np.full(len(targets), data["constant"])
    matrix = np.ascontiguousarray(matrix.astype(dtype))
    return [(np.ascontiguousarray(t.astype(dtype)), matrix, kind(c)) for t, c in zip(targets, constants, strict=True)]


def _log_joint_loop(case: Case, variant: Variant) -> Any:
    from logpx_bench.peers import numba_loops

    make = numba_loops.mixture if case.model == "mixture" else numba_loops.linear
    return make(variant["layout"], variant["fast"])


def _numbers(case: Case, dtype: str, threads: int, variant: Variant) -> Run:
    from logpx_bench.peers import numba_loops

    name = "generator" if case.kind == "uniforms" else "normals"
    fill = getattr(numba_loops, case.kind)(variant[name], False)
    outs, seeds = [np.empty(variant["chunk"], dtype) for _ in range(threads)], [0]

    def work(number: int) -> Any:
        rng = generator("PCG64", seeds[0], number)
        for _ in range(case.n // threads // variant["chunk"]):
            fill(rng, outs[number])
        return outs[number]

    go = in_threads(work, threads, threads)

    def call(seed: int) -> Any:
        seeds[0] = seed
        return np.concatenate(go())

    return Run(call, case.n)


def _exponentials(case: Case, dtype: str, threads: int, variant: Variant) -> Run:
    from logpx_bench.peers import numba_loops

    x, loop = case.arrays(dtype)["x"], numba_loops.exponentials(variant["fast"])
    outs = [np.empty_like(x) for _ in range(threads)]
    go = in_threads(lambda i: loop(x, outs[i], case.n_pieces // threads), threads, threads)
    return Run(lambda seed: (go(), outs[0])[1], case.n)


def _logsumexp(case: Case, dtype: str, threads: int, variant: Variant) -> Run:
    from logpx_bench.peers import numba_loops

    x, loop = case.arrays(dtype)["x"], numba_loops.log_sum_exp(variant["fast"])
    if case.n_pieces > 1:
        go = in_threads(lambda i: [loop(x) for _ in range(case.n_pieces // threads)][-1], threads, threads)
        return Run(lambda seed: float(go()[0]), case.n)
    pieces = np.split(x, threads)
    go = in_threads(lambda i: Pair(loop(pieces[i]), 1.0), threads, threads)
    return Run(lambda seed: together(go()).log, case.n)


def _log_joint(case: Case, dtype: str, threads: int, variant: Variant) -> Run:
    layout, n = variant["layout"], variant["chunk"]
    loop, given = _log_joint_loop(case, variant), parameters(case, dtype, variant["form"])[0]
    z = case.arrays(dtype)["z"]
    chunks = [np.ascontiguousarray(one if layout == "aos" else one.T) for one in np.split(z, case.size // n)]
    outs = [np.empty((len(chunks), n), dtype) for _ in range(threads)]

    def work(number: int) -> Any:
        for _ in range(case.n_pieces // threads):
            for i, one in enumerate(chunks):
                loop(given, one, outs[number][i])
        return outs[number]

    go = in_threads(work, threads, threads)
    return Run(lambda seed: go()[0], case.n)


def _chain(case: Case, dtype: str, threads: int, variant: Variant) -> Run:
    from logpx_bench.peers import numba_loops

    layout, n, fast = variant["layout"], variant["chunk"], variant["fast"]
    fill = numba_loops.normals(variant["normals"], fast)
    loop = numba_loops.chain(layout, fast, fill, _log_joint_loop(case, variant))
    given, data, seeds = parameters(case, dtype, variant["form"]), case.arrays(dtype), [0]
    d, constant = len(data["proposal_scale"]), float(data["log_q_constant"])
    buffers = [[np.empty(shape(layout, d, n), dtype) for _ in range(2)] + [np.empty(n, dtype)] for _ in range(threads)]
    n_chunks = case.n // threads // n

    def work(number: int) -> Pair:
        seed, row = seeds[0], case.row(seeds[0])
        rng, one_seed = generator("PCG64", seed, number), (seed * 7919 + number * 104729) % 2**32
        mean = data["proposal_mean"][row]
        found = loop(rng, one_seed, n_chunks, mean, data["proposal_scale"], constant, given[row], *buffers[number])
        return Pair(*found)

    go = in_threads(work, threads, threads)

    def call(seed: int) -> float:
        seeds[0] = seed
        return together(go()).log - math.log(case.n)

    return Run(call, case.n)


BUILD: dict[str, Any] = {
    "uniforms": _numbers,
    "normals": _numbers,
    "exp": _exponentials,
    "logsumexp": _logsumexp,
    "log_joint": _log_joint,
    "chain": _chain,
}

NUMBA = Peer(
    name="numba",
    summary="plain Numba: loops over np.random and math.exp",
    packages=("numba",),
    variants=variants,
    build=build,
)
