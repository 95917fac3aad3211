"""PyTorch on the processor.

As a user would first write it: eager, the whole run as one tensor, a row a sample, `torch.randn`. At its best: chunks
that stay in cache, a buffer that a generator fills in place, everything after the generator in one function through
`torch.compile` (which needs a C++ compiler: without one these variants are not tried), and one thread of Python a
core, because the generators have no threads and run under a lock of their own. The sweep tries three ways to normals:
the library's, Box–Muller on the library's uniforms, and on its raw 64-bit words, which its generator makes fastest.

Source: J. Ansel et al. (2024), PyTorch 2, ASPLOS, doi:10.1145/3620665.3640366.
"""

import itertools
import shutil
from typing import Any

from logpx_bench.peers.base import Peer, Run, Variant
from logpx_bench.peers.cases import Case

NORMALS = ("box-muller, words", "box-muller", "library")


def variants(case: Case, dtype: str) -> list[Variant]:
    """What the sweep tries."""
    found = {
        "uniforms": _streams,
        "normals": _streams,
        "exp": _exp,
        "logsumexp": _logsumexp,
        "log_joint": _log_joint,
        "chain": _chain,
    }[case.kind](case)
    compiler = shutil.which("g++") or shutil.which("clang++")
    return list(dict.fromkeys(one for one in found if compiler or one["mode"] != "compiled"))


def _streams(case: Case) -> list[Variant]:
    chunks = (2**13, 2**14, 2**16)
    normals: dict[str, Any] = {"normals": "library"} if case.kind == "normals" else {}
    first = Variant.of(True, mode="eager", threads="torch", chunk=case.n, **normals)
    found = [Variant.of(mode="eager", threads="pool", chunk=chunk, **normals) for chunk in chunks]
    if case.kind == "normals":
        ways = [(mode, how) for mode in ("compiled", "eager") for how in NORMALS[:2]]
        found += [
            Variant.of(mode=mode, threads="pool", chunk=chunk, normals=how)
            for mode, how in ways
            for chunk in chunks[1:]
        ]
    return [first, *found]


def _exp(case: Case) -> list[Variant]:
    first = Variant.of(True, mode="eager", threads="torch")
    return [first, *(Variant.of(mode=mode, threads="pool") for mode in ("in place", "eager", "compiled"))]


def _logsumexp(case: Case) -> list[Variant]:
    found = [Variant.of(True, mode="eager", threads="torch", chunk=case.size)]
    found += [Variant.of(mode="compiled", threads="torch", chunk=case.size)]
    chunks = (case.size,) if case.n_pieces > 1 else (2**14, 2**17)
    return found + [
        Variant.of(mode=mode, threads="pool", chunk=chunk) for mode in ("eager", "compiled") for chunk in chunks
    ]


def _forms(case: Case) -> list[dict[str, Any]]:
    ways = [("soa", "direct", "matrix"), ("aos", "direct", "matrix")]
    if case.model == "vae":
        ways = [(layout, form, "matrix") for form in ("multiplied", "direct") for layout in ("soa", "aos")]
    if case.model == "linear":
        ways = [("soa", "reduced", "unrolled"), ("soa", "reduced", "matrix"), ("aos", "reduced", "matrix"), *ways]
    return [dict(zip(("layout", "form", "products"), way, strict=True)) for way in ways]


def _log_joint(case: Case) -> list[Variant]:
    first = Variant.of(True, mode="eager", threads="torch", layout="aos", form="direct", products="matrix")
    found = [Variant.of(mode="compiled", threads="pool", **form) for form in _forms(case)]
    return [
        first,
        *found,
        Variant.of(mode="compiled", threads="torch", **_forms(case)[0]),
        Variant.of(mode="eager", threads="pool", **_forms(case)[-2]),
    ]


def _chain(case: Case) -> list[Variant]:
    forms = _forms(case)
    plain = forms[-1] | {"normals": "library", "mode": "eager", "threads": "torch", "chunk": case.n}
    few = case.data["proposal_scale"].size == 2
    steps = (2**17, 2**15, 2**16) if few else (2**14, 2**12)
    if case.model == "vae":
        steps = (2**10, 2**12)
    centre: dict[str, Any] = {"mode": "compiled", "threads": "pool", "chunk": steps[0]}
    middle = centre | {"chunk": steps[1]}
    found = [centre | forms[0] | {"normals": how} for how in NORMALS[::2]]
    found += [middle | form | {"normals": how} for form in forms[1:] for how in NORMALS[::2]]
    found += [centre | forms[0] | {"normals": how, "chunk": chunk} for how in NORMALS[::2] for chunk in steps[1:]]
    found += [centre | forms[0] | {"normals": NORMALS[1]}]
    found += [centre | forms[0] | {"normals": NORMALS[0], "threads": "torch", "chunk": case.n}]
    library = [
        centre | form | {"chunk": chunk, "normals": how, "mode": mode}
        for chunk, form, how, mode in itertools.product(steps[:2], forms[-2:], NORMALS[1:], ("compiled", "eager"))
    ]
    return [Variant.of(True, **plain), *(Variant.of(**options) for options in (*library, *found))]


def build(case: Case, dtype: str, threads: int, variant: Variant) -> Run:
    """The variant; building it compiles it."""
    from logpx_bench.peers import torch_kernels as kernels

    builder = {
        "uniforms": kernels.stream,
        "normals": kernels.stream,
        "exp": kernels.elementwise,
        "logsumexp": kernels.logsumexp,
        "log_joint": kernels.log_joint,
        "chain": kernels.chain,
    }[case.kind]
    return builder(case, dtype, threads, variant)


TORCH = Peer(
    name="torch",
    summary="PyTorch on the processor, eager and through torch.compile",
    packages=("torch",),
    variants=variants,
    build=build,
)
