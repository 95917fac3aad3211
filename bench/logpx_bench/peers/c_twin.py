"""A straightforward C program on AVX2 and FMA intrinsics (`c_twin.c`), compiled at its first use: the yardstick of what
the machine gives on one core. It has no ladder and no diagnostics, and does the one chain that it is written for."""

import ctypes
import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np

from logpx import _jit
from logpx_bench.errors import LogpxError
from logpx_bench.peers.base import Peer, Run, Variant
from logpx_bench.peers.cases import Case

SOURCE = Path(__file__).with_name("c_twin.c")
FLAGS = {"avx2": ("-mavx2", "-mfma"), "native": ("-march=native",)}


def variants(case: Case, dtype: str) -> list[Variant]:
    """AVX2, the yardstick; and whatever the machine has."""
    if case.name != "chain_ppca_2_8" or dtype != "float64":
        return []
    return [Variant.of(target == "avx2", target=target) for target in FLAGS]


def missing() -> str | None:
    """Why it cannot be compiled or run here."""
    if compiler() is None:
        return "there is no C compiler (cc, or the one that CC names)"
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").split()
    except OSError:
        return "this system does not say whether the CPU has AVX2"
    return None if "avx2" in flags and "fma" in flags else "the CPU has no AVX2 or no FMA"


def compiler() -> str | None:
    """Path of the C compiler."""
    return shutil.which(os.environ.get("CC", "cc"))


def library(target: str) -> Path:
    """The compiled program for a target, in the cache folder; compiled if it is not there.

    Raises
    ------
    LogpxError
        The compiler failed; its first line is in the message.
    """
    command = [str(compiler()), "-O3", *FLAGS[target], "-shared", "-fPIC", str(SOURCE), "-lm"]
    made_of = SOURCE.read_bytes() + " ".join(command).encode() + _jit.target().encode()
    path = _jit.cache_folder() / f"c_twin-{hashlib.sha256(made_of).hexdigest()[:16]}.so"
    if not path.exists():
        part = path.with_suffix(f".{os.getpid()}")
        done = subprocess.run([*command, "-o", str(part)], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise LogpxError(f"{command[0]} could not compile c_twin.c: {done.stderr.strip().splitlines()[0]}")
        part.replace(path)
    return path


def build(case: Case, dtype: str, threads: int, variant: Variant) -> Run:
    """The compiled function over packed numbers of each row."""
    chain = ctypes.CDLL(str(library(variant["target"]))).chain
    chain.restype = ctypes.c_double
    chain.argtypes = [np.ctypeslib.ndpointer(np.float64), ctypes.c_uint32, ctypes.c_uint32, ctypes.c_uint64]
    data, deviation = case.data, np.sqrt(case.data["noise"])
    loadings = (data["W"] / deviation[:, None]).ravel()
    packed = [
        np.concatenate([[data["constant"], data["log_q_constant"]], mean, data["proposal_scale"], target, loadings])
        for mean, target in zip(data["proposal_mean"], (data["X"] - data["mu"]) / deviation, strict=True)
    ]
    return Run(lambda seed: float(chain(packed[case.row(seed)], seed & 0xFFFFFFFF, seed >> 32, case.n)), case.n)


C_TWIN = Peer(
    name="c-avx2",
    summary="a straightforward C program on AVX2 intrinsics, without a ladder",
    packages=(),
    variants=variants,
    build=build,
    missing=missing,
    most_threads=1,
)
