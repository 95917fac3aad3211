"""numba-stats: its compiled log densities over NumPy's normals.

As written: `norm.logpdf` called from Python, dimension by dimension. At its best: the same inside a compiled function
of chunks, a share of them for each thread.
"""

import math
from typing import Any

import numpy as np

from logpx_bench.peers import arrays
from logpx_bench.peers.base import Peer, Run, Variant, in_threads
from logpx_bench.peers.cases import Case


def variants(case: Case, dtype: str) -> list[Variant]:
    """Whole arrays, as first written, and chunks, called from Python or from compiled code; log densities only."""
    if case.kind not in ("log_joint", "chain") or case.model == "vae":
        return []
    written = Variant.of(True, mode="eager", layout="soa", chunk=case.size, normals="library", generator="PCG64")
    chunks = (2**9, 2**12) if case.kind == "log_joint" else (2**9, 2**11, 2**13)
    others = [(mode, n, g) for mode in ("eager", "compiled") for n in chunks for g in ("PCG64", "SFC64")]
    if case.kind == "log_joint":
        others = [one for one in others if one[2] == "PCG64"]
    return [written] + [
        Variant.of(mode=mode, layout="soa", chunk=n, normals="library", generator=g) for mode, n, g in others
    ]


def build(case: Case, dtype: str, threads: int, variant: Variant) -> Run:
    """One variant of a case; the way it is first written has one thread, but for its matrix products."""
    run = _build(case, dtype, 1 if variant.as_written else threads, variant)
    return arrays.blas_threads(run, threads if variant.as_written else 1)


def _build(case: Case, dtype: str, threads: int, variant: Variant) -> Run:
    log_joint = _log_joint(case, dtype, variant["mode"])
    if case.kind == "chain":
        return arrays.chain(case, dtype, threads, variant, lambda *_: log_joint)
    n, z = variant["chunk"], case.arrays(dtype)["z"]
    chunks = [np.ascontiguousarray(one.T) for one in np.split(z, case.size // n)]
    outs = [np.empty((len(chunks), n), dtype) for _ in range(threads)]

    def work(number: int) -> Any:
        for _ in range(case.n_pieces // threads):
            for i, one in enumerate(chunks):
                log_joint(0, one, outs[number][i])
        return outs[number]

    go = in_threads(work, threads, threads)
    return Run(lambda seed: go()[0], case.n)


def _log_joint(case: Case, dtype: str, mode: str) -> Any:
    """f(row, z (d, n), out): Σ of log densities, one dimension at a time."""
    data, kind = case.arrays(dtype), np.dtype(dtype).type
    make = _mixture if case.model == "mixture" else _linear
    log_joint = make(mode == "compiled")
    if case.model == "mixture":
        constants, scales = data["log_pi"], np.sqrt(data["v"])
        return lambda row, z, out: log_joint(constants, data["m"], scales, kind(data["log_evidence"]), z, out)
    scale = np.sqrt(data["noise"])
    W = np.ascontiguousarray(data["W"])
    return lambda row, z, out: log_joint(data["X"][row] - data["mu"], W, scale, z, out)


def _jitted(function: Any, compiled: bool) -> Any:
    import numba

    return numba.njit(nogil=True, error_model="numpy")(function) if compiled else function


def _linear(compiled: bool) -> Any:
    from numba_stats import norm

    logpdf = norm._logpdf if compiled else norm.logpdf

    def log_joint(centred: Any, W: Any, scale: Any, z: Any, out: Any) -> None:
        zero, one = z.dtype.type(0), z.dtype.type(1)
        out[:] = 0
        for k in range(z.shape[0]):
            out += logpdf(z[k], zero, one)
        mean = W @ z
        for j in range(len(scale)):
            out += logpdf(mean[j], centred[j], scale[j])

    return _jitted(log_joint, compiled)


def _mixture(compiled: bool) -> Any:
    from numba_stats import norm

    logpdf = norm._logpdf if compiled else norm.logpdf

    def log_joint(constants: Any, m: Any, scales: Any, evidence: Any, z: Any, out: Any) -> None:
        parts = np.empty((len(constants), z.shape[1]), z.dtype)
        high = np.full(z.shape[1], -math.inf).astype(z.dtype)
        for c in range(len(constants)):
            part = np.full(z.shape[1], constants[c])
            for k in range(z.shape[0]):
                part += logpdf(z[k], m[c, k], scales[c, k])
            parts[c] = part
            high = np.maximum(high, part)
        out[:] = 0
        for c in range(len(constants)):
            out += np.exp(parts[c] - high)
        out[:] = evidence + high + np.log(out)

    return _jitted(log_joint, compiled)


NUMBA_STATS = Peer(
    name="numba-stats",
    summary="numba-stats: compiled log densities, over NumPy's normals",
    packages=("numba-stats",),
    variants=variants,
    build=build,
)
