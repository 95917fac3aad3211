"""The fresh process of a cell of the kind "stages": JSON in (its coordinates), JSON out (columns and values).

Each stage (`stage_loops`) is timed alone, over blocks in cache, and so is a whole task of n_samples on one core, as the
engine runs it. Repetitions are interleaved: every stage and the whole once, then again. What the whole takes beyond
the sum of the stages (misses of the cache between them, calls, the set-up of a task) is left to the reader.

Beside the times stand the instructions that each stage executes for a sample, counted by its own machine code
(`logpx_bench.assembly`); nan where that is not possible. Counting needs code compiled in this process: counts are kept
in the kernels' cache folder, whose name holds their source and the CPU.

Run as `python -m logpx_bench.experiments.stage_times`.
"""

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import logpx
from logpx import _jit, engine, tasks
from logpx._jit import BLOCK
from logpx.prepare import prepare
from logpx_bench import assembly, data, ledger
from logpx_bench.counts import CLASSES
from logpx_bench.estimators import make_proposal
from logpx_bench.experiments.base import Cell, harness_hash
from logpx_bench.experiments.ladder import sizes
from logpx_bench.experiments.stage_loops import N_BLOCKS, Stage, stages
from logpx_bench.schema import content_key

#: Nanoseconds that one timing takes at least. Over a single millisecond a stage is up to a sixth slower: the core takes
#: that long to settle after other code.
LEAST_NS = 8_000_000
#: Stages whose counts depend on the run and not on the library alone.
OF_THE_RUN = ("points", "proposal", "log_joint", "largest")


def measure(cell: Cell) -> dict[str, Any]:
    """Columns and values of a cell: `ns/<stage>`, one a repetition, and `count/<stage>`, in the order of `CLASSES`."""
    subject = data.build(cell.model, cell.model_options, cell.data)
    x = data.take(subject, cell.row or 0)
    proposal = make_proposal(cell.estimator, cell.estimator_options, subject.model, x)
    options: dict[str, Any] = {"seed": cell.seed, "dtype": cell.dtype, "points": cell.points}
    problem, _ = prepare(subject.model, x, proposal, replicates=np.zeros(1, dtype=np.uint64), **options)
    clock = ledger.Clock()
    problem.compile()
    weights = logpx.samples(subject.model, x, proposal, 0, N_BLOCKS * BLOCK, **options).log_weights
    keep = engine.kept_weights(cell.n_samples, 1)
    parts = stages(problem, np.ascontiguousarray(weights), cell.n_samples, keep)
    counted = {f"count/{stage.name}": counts(stage, cell) for stage in parts}
    timers = [(stage.name, stage.samples, stage.timer()) for stage in parts]
    timers.append(("whole", cell.n_samples, _whole(problem, cell.n_samples, keep)))
    calls = {name: _enough(timer) for name, _, timer in timers}
    compile_seconds = clock.wall()
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(cell.settings["repeats"]):
        for name, samples, timer in timers:
            timer(1 + calls[name] // 8)
            times[name].append(_time(timer, calls[name]) / (samples * calls[name]))
    seconds = 1e-9 * float(np.median(times["whole"])) * cell.n_samples
    columns = {"seconds": seconds, "cpu_seconds": seconds, "compile_seconds": compile_seconds, "threads": 1}
    columns |= {"n_evaluations": cell.n_samples, "n_gradients": 0}
    values = {f"ns/{name}": own for name, own in times.items()}
    more = sizes(subject.model, x) | {"exact": data.exact(subject.model, x)}
    return {"columns": columns | more, "values": values | counted}


def _whole(problem: tasks.Problem, n_samples: int, keep: int) -> Callable[[int], None]:
    floor = np.full(1, -np.inf)

    def call(n: int) -> None:
        for _ in range(n):
            tasks.Piece(problem, 0, n_samples, keep, floor)

    return call


def _time(timer: Callable[[int], Any], n: int) -> int:
    start = time.perf_counter_ns()
    timer(n)
    return time.perf_counter_ns() - start


def _enough(timer: Callable[[int], Any]) -> int:
    """How many calls take `LEAST_NS`; the first, which may compile, is not looked at."""
    timer(1)
    n = 1
    while (taken := _time(timer, n)) < LEAST_NS:
        n = max(n + 1, min(8 * n, int(1.2 * n * LEAST_NS / max(taken, 1))))
    return n


def counts(stage: Stage, cell: Cell) -> list[float]:
    """Executed instructions a sample of every class; nan where they cannot be counted here."""
    if not assembly.supported():
        return [float("nan")] * len(CLASSES)
    run = cell.coordinates() | {"settings": None} if stage.name in OF_THE_RUN else None
    key = content_key([stage.name, str(stage.types), stage.samples, run, harness_hash()])
    kept = _jit.cache_folder() / f"counts-{key[:24]}.json"
    if kept.is_file():
        found: list[float] = json.loads(kept.read_text(encoding="utf-8"))
        return found
    total = assembly.executed(stage.fresh(), [_copy(one) for one in stage.arguments])
    result = [total[name] / stage.samples for name in CLASSES]
    kept.write_text(json.dumps(result), encoding="utf-8")
    return result


def _copy(argument: Any) -> Any:
    return argument.copy() if isinstance(argument, np.ndarray) else argument


def main() -> None:
    """Read a cell, measure it, write the answer."""
    json.dump(measure(Cell(**json.load(sys.stdin))), sys.stdout)


if __name__ == "__main__":
    main()
