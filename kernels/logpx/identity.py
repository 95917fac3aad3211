"""Which run it is: everything that fixes the weights of a stream, in words and hashes, for a checkpoint to compare.

How many samples are taken is not among the facts, nor the threads, the executor, and the machine; the code and the CPU
target are, because the promise of the same bits holds for these. Cost: a hash of the packed numbers.
"""

import hashlib
import sys
from collections.abc import Mapping
from typing import Any

from logpx import _jit
from logpx.tasks import CHUNK, Problem

#: What differs, in the words of a refusal; other facts stand for themselves.
_WORDS = {
    "source": "the code of logpx",
    "cpu_target": "the CPU target, for which alone the same bits are promised",
    "log_joint": "log_joint: another kernel, or one whose code, or that of something it calls, was edited",
}


def facts_of(problem: Problem, *, seed: int, common: bool) -> dict[str, Any]:
    """The facts of a run.

    Raises
    ------
    InputError
        A user's kernel reads something that has no fingerprint.
    """
    return {
        "model": problem.model_name,
        "log_joint": _jit.fact_of(problem.log_joint, problem.dtype),
        "theta": _hash(problem.theta, problem.model_dims),
        "n_latents": problem.n_latents,
        "x": _hash(problem.x),
        "proposal": _jit.fact_of(problem.proposal_kernel, problem.dtype),
        "proposal_numbers": _hash(problem.lams, problem.lam_of, problem.proposal_dims),
        "points": problem.points.name,
        "points_kernel": _jit.fact_of(problem.points_kernel, problem.dtype),
        "seed": seed,
        "n_replicates": problem.shape[0],
        "streams": problem.n_streams,
        "common": common,
        "dtype": problem.dtype,
        "groups": problem.group_sizes.tolist(),
        "block": _jit.BLOCK,
        "chunk": CHUNK,
        "source": _jit.source_hash(),
        "jit": "disabled" if _jit.DISABLED else "enabled",
        "cpu_target": _jit.target(),
        "python": ".".join(map(str, sys.version_info[:2])),
    }


def _hash(*arrays):
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape}".encode() + array.tobytes())
    return f"sha256:{digest.hexdigest()[:32]}"


def differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """What differs between the facts of two runs, in words."""
    names = [name for name in {**there, **here} if there.get(name) != here.get(name)]
    return [
        f"{_WORDS.get(name, name)} ({_short(there.get(name))} there, {_short(here.get(name))} here)" for name in names
    ]


def _short(value):
    return f"{value[:15]}…" if isinstance(value, str) and value.startswith("sha256:") else repr(value)
