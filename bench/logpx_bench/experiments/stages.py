"""Where a sample's time goes: nanoseconds a sample of every stage of the driver's loop, and of the loop as a whole.

A cell is a model in one precision; every experiment runs both, each in a fresh process (`stage_times`, which says what
is measured there and how).
"""

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING

from logpx import _jit
from logpx._jit import BLOCK
from logpx.tasks import CHUNK
from logpx_bench.errors import InputError
from logpx_bench.experiments.base import Cell, Kind, Record, Resources, verify_row
from logpx_bench.experiments.scaling import in_fresh_process
from logpx_bench.options import Option, fail

if TYPE_CHECKING:
    from logpx_bench.suite import Experiment

SETTINGS = {"repeats": Option(int, 3, 1000, "interleaved repetitions of every stage", default=15)}
DTYPES = ("float64", "float32")


def expand(suite: str, experiment: "Experiment") -> list[Cell]:
    """Model by model, both precisions of each."""
    return [
        replace(
            Cell.of(
                suite, experiment, model, estimator, n_samples=n, n_replicates=1, seed=seed, row=row, threads=1
            ),
            dtype=dtype,
        )
        for n, seed, model, row, estimator, dtype in itertools.product(
            experiment.n_samples,
            experiment.seeds,
            experiment.models,
            experiment.rows,
            experiment.estimators,
            DTYPES,
        )
    ]  # fmt: skip


def check(experiment: "Experiment", where: str) -> None:
    """Whole blocks within one task."""
    for n in experiment.n_samples:
        if n % BLOCK or n > CHUNK:
            fail(f"{where}: n_samples", f"is {n}; a stage is timed on whole blocks: a multiple of 1024 up to 2^20")


def verify(cell: Cell) -> None:
    """What any cell on a row needs, and compiled code."""
    verify_row(cell)
    if _jit.DISABLED:
        raise InputError("stages are timed in compiled code, and NUMBA_DISABLE_JIT is set; run without it")


def run(cell: Cell, resources: Resources) -> Record:
    """In a fresh process, on one core."""
    answer = in_fresh_process(cell, "logpx_bench.experiments.stage_times")
    return Record(columns=answer["columns"], values=answer["values"])


STAGES = Kind(
    name="stages",
    summary="time of every stage of the compiled loop, and the instructions it executes, in both precisions",
    closed="",
    keys=("model", "models", "data", "rows", "estimators", "n_samples", "seeds", "points", *SETTINGS),
    required=("models", "estimators", "n_samples"),
    expand=expand,
    run=run,
    evaluations=lambda cell: cell.n_samples * cell.settings["repeats"],
    check=check,
    verify=verify,
    settings=SETTINGS,
    timed=True,
    overhead=2.5,
)
