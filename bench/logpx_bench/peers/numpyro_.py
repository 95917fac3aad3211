"""NumPyro: probabilistic programs on JAX.

As a user would first write it: a model, a guide, and `RenyiELBO(alpha=0)` with all samples as its particles, compiled.
At its best: by chunks inside one compiled program, a program a thread, by that bound or by `log_density` mapped over
latents that are drawn from the guide's distribution at once and summed up by JAX. It has no vectors of random numbers,
exp or log-sum-exp of its own: those are JAX's.

Source: D. Phan, N. Pradhan and M. Jankowiak (2019), arXiv:1912.11554.
"""

from typing import Any

from logpx_bench.peers.base import Peer, Run, Variant
from logpx_bench.peers.cases import Case
from logpx_bench.peers.jax_ import GENERATORS, NARROW, SUMS, WIDE, starred, unique


def variants(case: Case, dtype: str) -> list[Variant]:
    """What the sweep tries."""
    if case.model == "vae":
        return []
    if case.kind == "log_joint":
        return _log_joint()
    return _chain(case) if case.kind == "chain" else []


def _log_joint() -> list[Variant]:
    first = Variant.of(True, mode="compiled", threads="XLA", layout="aos")
    centre: dict[str, Any] = {"mode": "compiled", "threads": "pool", "layout": "soa", "vectors": WIDE}
    return [first, *starred(centre, threads=("XLA",), layout=("aos",), vectors=(NARROW,))]


def _chain(case: Case) -> list[Variant]:
    bound: dict[str, Any] = {"route": "RenyiELBO", "generator": GENERATORS[0], "mode": "compiled", "sum": SUMS[0]}
    few = case.data["proposal_scale"].size == 2
    steps = (2**14, 2**12, 2**16) if few else (2**12, 2**11, 2**13)
    by_density = bound | {
        "route": "log_density",
        "threads": "pool",
        "layout": "soa",
        "chunk": steps[0],
        "vectors": WIDE,
    }
    axes = {"generator": GENERATORS[1:], "chunk": steps, "layout": ("aos",), "threads": ("XLA",), "vectors": (NARROW,)}
    found = starred(by_density, **axes) + starred(by_density | {"sum": SUMS[1]}, **axes)
    by_chunks = bound | {"threads": "pool", "chunk": steps[0], "vectors": WIDE}
    found += starred(by_chunks, generator=GENERATORS[1:2], chunk=steps)
    whole = Variant.of(**bound | {"route": "log_density", "threads": "XLA", "layout": "aos", "chunk": case.n})
    return unique([Variant.of(True, **bound, threads="XLA", chunk=case.n), whole, *found])


def build(case: Case, dtype: str, threads: int, variant: Variant) -> Run:
    """The variant, compiled at its first call."""
    from logpx_bench.peers import numpyro_kernels as kernels

    n_pieces = threads if variant["threads"] == "pool" else 1
    builder = kernels.chain if case.kind == "chain" else kernels.log_joint
    return builder(case, dtype, n_pieces, variant)


NUMPYRO = Peer(
    name="numpyro",
    summary="NumPyro, importance sampling by its Rényi bound or by log_density",
    packages=("numpyro", "jax", "jaxlib"),
    variants=variants,
    build=build,
)
