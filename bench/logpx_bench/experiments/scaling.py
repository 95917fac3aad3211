"""Run time and peak memory against n_samples and threads. Every cell runs in a fresh process of its own (`fresh`).

In that process a first small run loads the compiled kernels, untimed. Then the run is repeated, each time with another
seed, until `budget` seconds or `repeats` runs are spent, one run at least; `seconds` is the median. The first run's
estimate is the one kept, and it is held against exact: a time counts for nothing if the answer is wrong.

Peak memory is the high-water mark of the whole process, interpreter and compiled code included; the mark just before
the first timed run stands beside it (`baseline_bytes`).

The process that starts it has filled the kernel cache: a cell that compiled would carry the compiler's memory.
"""

import itertools
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from logpx.errors import LogpxError
from logpx_bench import data
from logpx_bench.estimators import make_proposal
from logpx_bench.experiments.base import Cell, Kind, Record, Resources
from logpx_bench.experiments.ladder import warm_up
from logpx_bench.options import Option, fail

if TYPE_CHECKING:
    from logpx_bench.suite import Experiment

SETTINGS = {
    "repeats": Option(int, 1, 1000, "most runs of one cell", default=9),
    "budget": Option(float, 0, 3600, "seconds after which no further run of a cell starts", default=0.3),
}


def expand(suite: str, experiment: "Experiment") -> list[Cell]:
    """Size by size, the thread counts and estimators in turn."""
    threads = experiment.threads or (1,)
    return [
        Cell.of(
            suite,
            experiment,
            model,
            estimator,
            n_samples=n_samples,
            n_replicates=1,
            seed=seed,
            row=row,
            threads=n_threads,
        )
        for n_samples, seed, model, row, estimator, n_threads in itertools.product(
            experiment.n_samples,
            experiment.seeds,
            experiment.models,
            experiment.rows,
            experiment.estimators,
            threads,
        )
    ]


def check(experiment: "Experiment", where: str) -> None:
    """One stream a cell."""
    if experiment.n_replicates != 1:
        fail(f"{where}: n_replicates", f"is {experiment.n_replicates}; a scaling experiment times single streams: 1")


def run(cell: Cell, resources: Resources) -> Record:
    """In a fresh process, with the cell's own number of threads."""
    _fill_cache(cell)
    answer = in_fresh_process(cell)
    return Record(columns=answer["columns"], values=answer["values"])


def _fill_cache(cell: Cell) -> None:
    """Compile, in this process, what the fresh one will load; a moment where that was done before."""
    subject = data.build(cell.model, cell.model_options, cell.data)
    x = data.take(subject, cell.row or 0)
    warm_up(cell, subject.model, x, make_proposal(cell.estimator, cell.estimator_options, subject.model, x), threads=1)


def in_fresh_process(cell: Cell, module: str = "logpx_bench.experiments.fresh") -> dict[str, Any]:
    """Run a cell by `python -m` and this module; its columns and values.

    Raises
    ------
    LogpxError
        The process failed; the last line of what it said is in the message.
    """
    command = [sys.executable, "-m", module]
    done = subprocess.run(command, input=json.dumps(cell.coordinates()), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = (done.stderr.strip().splitlines() or ["nothing was said"])[-1]
        raise LogpxError(f"the process that timed a cell ended with status {done.returncode}: {said}")
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


SCALING = Kind(
    name="scaling",
    summary="run time and peak memory against n_samples and threads, each point in a fresh process",
    closed="",
    keys=(
        "model",
        "models",
        "data",
        "rows",
        "estimators",
        "n_samples",
        "threads",
        "n_replicates",
        "seeds",
        "points",
        "dtype",
        *SETTINGS,
    ),
    required=("models", "estimators", "n_samples"),
    expand=expand,
    run=run,
    evaluations=lambda cell: cell.n_samples,
    check=check,
    settings=SETTINGS,
    timed=True,
    overhead=2.5,
)
