"""JAX: XLA on the processor.

As a user would first write it: the whole run as one array, a row a sample, `jax.random.normal`, `jax.jit` around it.
At its best: structures of arrays in chunks that stay in cache, `lax.scan` over chunks inside one compiled program, and
one such program a thread, because XLA's own threads split single operations and meet after each. The sweep tries both,
its generators (Threefry, and XLA's own, `rbg` and `unsafe_rbg`), three ways to normals, model matrices reduced or as
they are, as matrix products or written out, chunks summed up by `jax.nn.logsumexp` or in lanes, and vectors of 256 or
512 bits.

Source: J. Bradbury et al. (2018), JAX: composable transformations of Python+NumPy programs.
"""

from collections.abc import Callable
from typing import Any

from logpx_bench.peers.base import Peer, Run, Variant
from logpx_bench.peers.cases import Case

GENERATORS = ("threefry2x32", "rbg", "unsafe_rbg")
NARROW, WIDE = "256-bit vectors", "512-bit vectors"
OWN = "box-muller, own sine"
NORMALS = ("library", "box-muller", OWN)
SUMS = ("logsumexp", "lanes")


def variants(case: Case, dtype: str) -> list[Variant]:
    """What the sweep tries."""
    return VARIANTS[case.kind](case)


def starred(centre: dict[str, Any], **other: tuple[Any, ...]) -> list[Variant]:
    """A variant and all that differ from it in one option."""
    rays = [centre | {name: value} for name, values in other.items() for value in values if value != centre[name]]
    return [Variant.of(**options) for options in (centre, *rays)]


def unique(found: list[Variant]) -> list[Variant]:
    """Without repetitions."""
    return list(dict.fromkeys(found))


def _streams(case: Case) -> list[Variant]:
    first = Variant.of(True, generator="threefry2x32", normals="library", mode="compiled", threads="XLA", chunk=case.n)
    eager = Variant.of(generator="threefry2x32", normals="library", mode="eager", threads="XLA", chunk=case.n)
    ways = NORMALS if case.kind == "normals" else ("library",)
    best: dict[str, Any] = {"normals": ways[-1], "mode": "compiled", "threads": "pool", "chunk": 2**14, "vectors": WIDE}
    found = [Variant.of(**best, generator=each) for each in GENERATORS]
    found += starred(
        best | {"generator": GENERATORS[0]},
        normals=ways,
        threads=("XLA",),
        vectors=(NARROW,),
        chunk=(2**12, 2**13, 2**16, 2**20),
    )
    library = best | {"normals": "library", "generator": GENERATORS[0]}
    found += starred(library, generator=GENERATORS[1:], chunk=(2**12, 2**16), vectors=(NARROW,), threads=("XLA",))
    return unique([first, *found, eager])


def _exp(case: Case) -> list[Variant]:
    modes = ("eager", "compiled")
    first = [Variant.of(mode == "compiled", mode=mode, threads="XLA") for mode in modes]
    return first + [Variant.of(mode="compiled", threads="pool", vectors=vectors) for vectors in (NARROW, WIDE)]


def _logsumexp(case: Case) -> list[Variant]:
    modes = ("eager", "compiled") if case.n_pieces > 1 else ("compiled",)  # eager, 512 MB are made anew at every step
    first = [Variant.of(mode == "compiled", mode=mode, threads="XLA", sum=SUMS[0]) for mode in modes]
    centre: dict[str, Any] = {"mode": "compiled", "threads": "pool", "vectors": WIDE}
    whole = starred(centre | {"sum": SUMS[0]}, vectors=(NARROW,))
    by_chunks = centre | {"sum": SUMS[1], "chunk": 2**14}
    return first + whole + starred(by_chunks, threads=("XLA",), vectors=(NARROW,), chunk=(2**12, 2**16))


def _forms(case: Case) -> list[dict[str, Any]]:
    """Layouts and algebra, the likeliest first. XLA takes too much memory to write out 64 × 16 products."""
    ways = [("soa", "direct", "matrix"), ("aos", "direct", "matrix")]
    if case.model == "vae":
        ways = [(layout, form, "matrix") for form in ("multiplied", "direct") for layout in ("soa", "aos")]
    if case.model == "linear":
        written_out = [("soa", "direct", "unrolled")] * (case.data["W"].size < 100)
        reduced = [("soa", "reduced", "unrolled"), ("soa", "reduced", "matrix"), ("aos", "reduced", "matrix")]
        ways = [*reduced, *written_out, *ways]
    return [dict(zip(("layout", "form", "products"), way, strict=True)) for way in ways]


def _log_joint(case: Case) -> list[Variant]:
    forms, modes = _forms(case), ("compiled", "eager")
    first, eager = (Variant.of(mode == "compiled", mode=mode, threads="XLA", **forms[-1]) for mode in modes)
    centre: dict[str, Any] = {"mode": "compiled", "threads": "pool", "vectors": WIDE} | forms[0]
    found = starred(centre, threads=("XLA",), vectors=(NARROW,))
    narrow = [Variant.of(**centre | form | {"vectors": NARROW}) for form in forms[-2:]]
    return unique([first, *found, *(Variant.of(**centre | form) for form in forms), *narrow, eager])


def _chain(case: Case) -> list[Variant]:
    forms = _forms(case)
    plain = forms[-1] | {"normals": "library", "generator": GENERATORS[0], "threads": "XLA"}
    plain |= {"sum": SUMS[0], "chunk": case.n}
    first, eager = (Variant.of(mode == "compiled", mode=mode, **plain) for mode in ("compiled", "eager"))
    few = case.data["proposal_scale"].size == 2
    steps = (2**16, 2**14, 2**13) if few else (2**12, 2**10, 2**13)
    if case.model == "vae":
        steps = (2**11, 2**10, 2**13)
    centre = forms[0] | {"normals": OWN, "generator": GENERATORS[0], "mode": "compiled", "threads": "pool"}
    centre |= {"chunk": steps[0], "vectors": WIDE, "sum": SUMS[1]}
    found = starred(centre, chunk=steps, normals=NORMALS, generator=GENERATORS, vectors=(NARROW,), threads=("XLA",))
    crossed = [centre | form for form in forms]
    crossed += [centre | forms[-1] | {"normals": ways} for ways in NORMALS[:2]]
    crossed += [centre | {"normals": "library", "generator": "unsafe_rbg"}]
    crossed += [centre | {"normals": "library", "threads": "XLA", "chunk": 2**16}]
    found += [Variant.of(**options) for options in crossed]
    library = centre | {"form": "direct", "products": "matrix", "normals": "box-muller", "sum": SUMS[0]}
    found += starred(
        library,
        sum=SUMS[1:],
        normals=("library",),
        layout=("aos",),
        chunk=steps,
        generator=("unsafe_rbg", "rbg"),
        threads=("XLA",),
        vectors=(NARROW,),
    )
    return unique([first, *found, eager])


VARIANTS: dict[str, Callable[[Case], list[Variant]]] = {
    "uniforms": _streams,
    "normals": _streams,
    "exp": _exp,
    "logsumexp": _logsumexp,
    "log_joint": _log_joint,
    "chain": _chain,
}


def build(case: Case, dtype: str, threads: int, variant: Variant) -> Run:
    """The variant, compiled at its first call."""
    from logpx_bench.peers import jax_kernels as kernels

    n_pieces = threads if variant["threads"] == "pool" else 1
    builder = {
        "uniforms": kernels.stream,
        "normals": kernels.stream,
        "exp": kernels.elementwise,
        "logsumexp": kernels.logsumexp,
        "log_joint": kernels.log_joint,
        "chain": kernels.chain,
    }[case.kind]
    return builder(case, dtype, n_pieces, variant)


JAX = Peer(
    name="jax",
    summary="JAX, compiled by XLA",
    packages=("jax", "jaxlib"),
    variants=variants,
    build=build,
)
