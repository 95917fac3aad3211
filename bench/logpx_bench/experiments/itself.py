"""logpx against itself: its precisions and its threads in turns, and what a new process waits for. One cell.

The chain is that of the race (PPCA, 2 latents, 8 observed: `peers.cases`), through the public `estimate`: 2^24
samples, as very large k is what threads are for, however many threads. A call that is not timed goes before each that
is, and every answer is held against the exact one. A round is one turn of each, in an order that turns from round to
round; ratios are taken round by round.

A new process imports logpx, then makes a small estimate: with the kernels in the cache, and three times with an empty
cache, where it compiles the whole chain. The clock starts after the interpreter.

Stored in `values`: "ns/<dtype>/<threads>" a sample, one a round; "errors/<dtype>/<threads>", of the same answers, in
Monte Carlo standard errors; "seconds/import", "seconds/first" and "seconds/cold", one a process.
"""

import dataclasses
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from logpx import _jit
from logpx_bench import ledger, machine
from logpx_bench.errors import InputError, LogpxError
from logpx_bench.experiments.base import Cell, Kind, Record, Resources
from logpx_bench.experiments.peers import peers_hash
from logpx_bench.options import Option
from logpx_bench.peers import OURS
from logpx_bench.peers.cases import CASES

if TYPE_CHECKING:
    from logpx_bench.suite import Experiment

SETTINGS = {
    "rounds": Option(int, 3, 1000, "rounds of turns", default=15),
    "processes": Option(int, 1, 100, "new processes with a warm cache", default=5),
}
CASE = dataclasses.replace(CASES["chain_ppca_2_8"], n=1 << 24)
#: Precisions and threads that take turns.
TURNS = (("float64", 1), ("float32", 1), ("float64", 2))
#: New processes with an empty cache.
COLD = 3
PROGRAM = """
import time
begin = time.perf_counter()
import logpx
imported = time.perf_counter()
model = logpx.models.PPCA([[1.0, 0.2], [0.3, -0.7], [0.5, 0.4]], [0.0, 0.1, 0.2], 0.5)
logpx.estimate(model, [0.5, -0.3, 0.8], n_samples=4096)
print(imported - begin, time.perf_counter() - imported)
"""


def expand(suite: str, experiment: "Experiment") -> list[Cell]:
    """The one cell."""
    return [Cell.of(suite, experiment, ("ppca", {}), ("itself", {}), n_samples=0, n_replicates=0, seed=0, threads=1)]


def verify(cell: Cell) -> None:
    """Compiled code is what is timed."""
    if _jit.DISABLED:
        raise InputError("logpx is timed in compiled code, and NUMBA_DISABLE_JIT is set; run without it")


def run(cell: Cell, resources: Resources) -> Record:
    """Turns in this process, then new processes."""
    clock = ledger.Clock()
    values = turns(cell.settings["rounds"])
    new_process()  # fills the cache
    warm = [new_process() for _ in range(cell.settings["processes"])]
    values |= {"seconds/import": [one[0] for one in warm], "seconds/first": [one[1] for one in warm]}
    values["seconds/cold"] = [cold() for _ in range(COLD)]
    columns = {"n_evaluations": 0, "n_gradients": 0, "seconds": clock.wall(), "cpu_seconds": clock.cpu()}
    return Record(columns=columns, values=values)


def turns(rounds: int) -> dict[str, list[float]]:
    """ns a sample, and errors, of each precision and number of threads that this machine has cores for, by rounds."""
    runs = {
        f"ns/{dtype}/{n}": (OURS.build(CASE, dtype, n, OURS.variants(CASE, dtype)[0]), dtype)
        for dtype, n in TURNS
        if n <= machine.n_cores()
    }
    values: dict[str, list[float]] = {name: [] for name in runs}
    values |= {name.replace("ns", "errors"): [] for name in runs}
    names = list(runs)
    for seed in range(rounds):
        for name in names[seed % len(names) :] + names[: seed % len(names)]:
            run, dtype = runs[name]
            run.call(seed)
            start = time.perf_counter()
            result = run.call(seed)
            values[name].append(1e9 * (time.perf_counter() - start) / run.n)
            verdict = CASE.check(result, seed, run.n, dtype)
            if not verdict.right:
                raise LogpxError(f"{name}, seed {seed}: the answer {result} is not right, so its time does not count")
            std_error = math.sqrt(float(CASE.data["chi2"][CASE.row(seed)]) / run.n)
            values[name.replace("ns", "errors")].append(verdict.error / std_error)
    return values


def cold() -> float:
    """Seconds to the first estimate of a new process with an empty cache."""
    with tempfile.TemporaryDirectory() as empty:
        return new_process(Path(empty))[1]


def new_process(cache: Path | None = None) -> tuple[float, float]:
    """Seconds that a new process takes to import logpx, and then to its first estimate; with a cache folder of its own.

    Raises
    ------
    LogpxError
        The process failed; the last line of what it said is in the message.
    """
    environment = os.environ | ({"LOGPX_CACHE_DIR": str(cache)} if cache else {})
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = (done.stderr.strip().splitlines() or ["nothing was said"])[-1]
        raise LogpxError(f"a new process that imports logpx ended with status {done.returncode}: {said}")
    imported, first = json.loads(f"[{done.stdout.replace(' ', ',')}]")
    return imported, first


ITSELF = Kind(
    name="itself",
    summary="logpx against itself: precisions and threads in turns, and what a new process waits for",
    keys=tuple(SETTINGS),
    required=(),
    expand=expand,
    run=run,
    evaluations=lambda cell: 0,
    check=lambda experiment, where: None,
    verify=verify,
    settings=SETTINGS,
    facts=lambda cell: {"source": peers_hash()},
    timed=True,
    duration=lambda cell: 20.0 * COLD + 1.0 * cell.settings["rounds"] + 2.0 * cell.settings["processes"],
)
