"""A model in a process of its own, where Numba is set otherwise: JSON in, a line of JSON out.

    checked    NUMBA_BOUNDSCHECK=1: every index is looked at; the first that is out of range is an error
    plain      NUMBA_DISABLE_JIT=1: the kernel and all it calls as Python
    named      the same, on arrays that say which one an index has left, and in which line of the file (`named`)
    counted    as it is: seconds to compile, nanoseconds a sample, and the instructions that it executes

What a kernel does to the process, this one is spared; one that does not end is stopped after `LIMIT` seconds. Run as
`python -m logpx_bench.conformance.fresh MODE`; it is given the model's name or file, and for each of a few rows x (p,)
and latents z (d, n).
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from typing import Any

import numpy as np

from logpx import _jit
from logpx_bench import assembly, model_file, user_file
from logpx_bench.conformance import named
from logpx_bench.errors import LogpxError
from logpx_bench.plurals import counted

ENVIRONMENTS = {
    "checked": {"NUMBA_BOUNDSCHECK": "1", "NUMBA_FULL_TRACEBACKS": "1"},  # the second: it says which index
    "plain": {"NUMBA_DISABLE_JIT": "1"},
    "named": {"NUMBA_DISABLE_JIT": "1"},
    "counted": {},
}
#: Settings of ours and of Numba's that would make one of these something else.
_UNSET = ("NUMBA_BOUNDSCHECK", "NUMBA_DISABLE_JIT")
#: Seconds that a process may take, compiling and all.
LIMIT = 300.0
#: What it does, in words.
_DOES = {
    "checked": "with bounds checks",
    "plain": "as plain Python",
    "named": "as plain Python with named arrays",
    "counted": "for its time and its instructions",
}
#: What the line of an answer begins with, among whatever else is printed.
_ANSWER = "answer "
#: Rounds of timing, each long enough for the clock.
_ROUNDS, _ROUND_SECONDS = 15, 4e-3


class UnendingError(LogpxError):
    """A process took longer than LIMIT and was stopped."""


def ask(mode: str, model: str, pairs: list[tuple[Any, Any]]) -> dict[str, Any]:
    """Run a mode on rows and latents; its answer, with `error` where something was raised, and `said`, what was printed
    besides.

    Raises
    ------
    LogpxError
        The process ended without an answer: the kernel took it down.
    UnendingError
        It did not end in time.
    """
    environment = {name: value for name, value in os.environ.items() if name not in _UNSET} | ENVIRONMENTS[mode]
    question = {"model": model, "pairs": [[np.asarray(part).tolist() for part in pair] for pair in pairs]}
    command = [sys.executable, "-m", "logpx_bench.conformance.fresh", mode]
    asked = json.dumps(question)
    try:
        done = subprocess.run(
            command, input=asked, env=environment, capture_output=True, text=True, check=False, timeout=LIMIT
        )
    except subprocess.TimeoutExpired:
        raise UnendingError(_unending(mode, pairs)) from None
    lines = done.stdout.splitlines()
    found = [line for line in lines if line.startswith(_ANSWER)]
    if done.returncode != 0 or not found:
        last = (done.stderr.strip().splitlines() or ["nothing was said"])[-1]
        raise LogpxError(f"a process of its own that ran it ended with status {done.returncode}: {last}")
    answer: dict[str, Any] = json.loads(found[-1].removeprefix(_ANSWER))
    return answer | {"said": [line for line in lines if line not in found]}


def _unending(mode: str, pairs: list[tuple[Any, Any]]) -> str:
    n = sum(np.shape(z)[-1] for _, z in pairs)
    return (
        f"the kernel, run {_DOES[mode]} on {counted(n, 'sample')} in a process of its own, had not ended after "
        f"{LIMIT:g} s, compiling included, and was stopped. Look for a loop that never ends, at some x or z: bound its "
        f"number of rounds. If the kernel is right and no more than slow, check a smaller model of the same function"
    )


def answer(mode: str, question: dict[str, Any]) -> dict[str, Any]:
    """Values at every pair; in the mode counted, its measurements."""
    model = user_file.resolve(question["model"]).model
    if mode == "named":
        return _named(question, model)
    kernel = _jit.uncached(model.log_joint.python)
    start = time.perf_counter()
    if not _jit.DISABLED:
        kernel.compile(_jit.signature("log_joint").args)
    seconds = time.perf_counter() - start
    values = []
    for x, z in question["pairs"]:
        arguments = _arguments(model, np.array(x), np.array(z))
        try:
            kernel(*arguments)
        except Exception as error:
            return {"error": f"{type(error).__name__}: {error}".rstrip(": ")}
        values.append([None if np.isnan(one) else float(one) for one in arguments[-1]])
    return {"values": values} | (_counted(kernel, arguments, seconds) if mode == "counted" else {})


def _named(question: dict[str, Any], model: Any) -> dict[str, Any]:
    path = model_file.path_of(question["model"])
    for x, z in question["pairs"]:
        try:
            named.call(model, np.array(x), np.array(z))
        except Exception as error:
            return {"error": f"{error or type(error).__name__}", "line": model_file.line_of(path, error)}
    return {}


def _arguments(model: Any, x: Any, z: Any) -> tuple[Any, ...]:
    sizes = np.array(getattr(model, "dims", ()), dtype=np.int64)
    return np.array(model.theta), sizes, x, np.ascontiguousarray(z), np.full(z.shape[1], np.nan)


def _counted(kernel: Any, arguments: tuple[Any, ...], seconds: float) -> dict[str, Any]:
    n = arguments[-1].size
    found = {"compile_seconds": seconds, "ns": 1e9 * _fastest(kernel, arguments) / n}
    (text,) = kernel.inspect_asm().values()
    found["called"] = sorted(set(re.findall(r"movabsq\s+\$(?:numba_)?([a-z][a-z0-9]*),", text)))
    if assembly.supported():
        found["counts"] = {name: total / n for name, total in assembly.executed(kernel, arguments).items()}
    return found


def _fastest(kernel: Any, arguments: tuple[Any, ...]) -> float:
    """Seconds of a call, the least over some rounds."""
    start = time.perf_counter()
    kernel(*arguments)
    calls = max(1, round(_ROUND_SECONDS / max(time.perf_counter() - start, 1e-9)))
    best = float("inf")
    for _ in range(_ROUNDS):
        start = time.perf_counter()
        for _ in range(calls):
            kernel(*arguments)
        best = min(best, (time.perf_counter() - start) / calls)
    return best


def main() -> None:
    """Read a question, print the answer."""
    found = answer(sys.argv[1], json.load(sys.stdin))
    print("\n" + _ANSWER + json.dumps(found))


if __name__ == "__main__":
    main()
