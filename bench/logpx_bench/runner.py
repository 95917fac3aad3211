"""From a suite to a filled store: cells expanded, those already there skipped, the rest run one by one.

A cell is written in one transaction as soon as it is done. A run that is stopped keeps what it finished, and the same
command goes on from there; within a cell as well, where that keeps its finished chunks (`resume`). Each experiment
leaves a plan, the list of its cells' keys, so that a summary reads the cells of one run and not those of an older suite
of the same name.
"""

import concurrent.futures
import contextlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeElapsedColumn
from rich.text import Text

from logpx.errors import Interrupted
from logpx_bench import data, machine
from logpx_bench.errors import LogpxError
from logpx_bench.estimators import divergence, make_proposal, predicted_error
from logpx_bench.experiments import KINDS, Cell, Record, Resources
from logpx_bench.experiments.base import cell_key
from logpx_bench.resume import Checkpoints
from logpx_bench.schema import content_key
from logpx_bench.store import Store
from logpx_bench.suite import Suite


@dataclass(frozen=True)
class Planned:
    """A cell to come: its key, whether the store has it, and what it will take.

    `seconds` is predicted from the time per sample of an earlier cell of the same model and estimator where the store
    has one (`measured`), else from `default_ns`. `error` is the RMSE predicted at n_samples, sqrt(χ²/k), nan where no
    closed form is known.
    """

    cell: Cell
    key: str
    stored: bool
    seconds: float
    measured: bool
    error: float


@dataclass(frozen=True)
class Outcome:
    """What a run did, and the folder with the checkpoints that it used."""

    n_run: int
    n_skipped: int
    seconds: float
    checkpoints: Path | None


def expand(suite: Suite) -> list[Cell]:
    """All cells of a suite, in the order they run: of each experiment its own, then those of a guest."""
    cells = []
    for one in suite.experiments:
        cells += KINDS[one.kind].expand(suite.name, one)
        cells += [cell for cell in suite.guests if cell.experiment == one.name]
    return cells


def key_of(cell: Cell, threads: int) -> str:
    """The cell's content key on this machine."""
    return cell_key(cell, KINDS[cell.kind], cell.threads or threads)


# -- predictions --------------------------------------------------------------------------------------------------


def default_ns(n_latents: int) -> float:
    """Nanoseconds per sample on one thread where nothing was measured yet: 15 + 5 d, within a factor of two of what
    PPCA and factor analysis take with 1 to 16 latents on a core of 2.6 GHz with AVX2 (whose log joint reads x through
    d sums: the number of pixels does not matter)."""
    return 15.0 + 5.0 * n_latents


def predict(cell: Cell, store: Store | None, threads: int) -> tuple[float, bool]:
    """Seconds that the cell will take, and whether they rest on a measurement in the store."""
    kind = KINDS[cell.kind]
    if kind.duration is not None:
        return kind.duration(cell), False
    if kind.evaluations(cell) == 0:
        return kind.overhead + kind.besides(cell), False
    subject = data.build(cell.model, _own(cell), cell.data)
    threads, d = cell.threads or threads, int(subject.model.n_latents)
    ns = default_ns(d) / threads
    found: list[dict[str, Any]] = []
    if store is not None:
        found = store.rows(
            'SELECT "seconds", "n_evaluations", "threads" FROM "cells" WHERE "model" = ? AND "estimator" = ? '
            'AND "n_latents" = ? AND "n_observed" = ? AND "n_evaluations" > 65536 ORDER BY "created_utc" DESC LIMIT 1',
            [cell.model, cell.estimator, d, subject.X.shape[1]],
        )
    if found:
        ns = 1e9 * found[0]["seconds"] / found[0]["n_evaluations"] * found[0]["threads"] / threads
    return kind.overhead + kind.besides(cell) + 1e-9 * ns * kind.evaluations(cell), bool(found)


def _own(cell: Cell) -> dict[str, Any]:
    return {name: value for name, value in cell.model_options.items() if name != "other"}


def expected_error(cell: Cell) -> float:
    """RMSE of log p̂ at n_samples by the delta method; nan where it is not known."""
    if cell.row is None:
        return math.nan
    subject = data.build(cell.model, cell.model_options, cell.data)
    x = data.take(subject, cell.row)
    proposal = make_proposal(cell.estimator, cell.estimator_options, subject.model, x)
    return predicted_error(divergence(subject.model, x, proposal)[1], cell.n_samples)


def plan(suite: Suite, store: Store | None, threads: int) -> list[Planned]:
    """What `run` would do, with predictions; nothing is run or written. `store` None: nothing is there yet."""
    there = store.keys() if store is not None else set()
    planned = []
    for cell in expand(suite):
        with naming(cell):
            KINDS[cell.kind].verify(cell)
            key = key_of(cell, threads)
            seconds, measured = predict(cell, store, threads)
            planned.append(Planned(cell, key, key in there, seconds, measured, expected_error(cell)))
    return planned


def verify(suite: Suite) -> None:
    """A LogpxError, naming the cell, where a cell of the suite cannot be run. Nothing is run or written."""
    for cell in expand(suite):
        with naming(cell):
            KINDS[cell.kind].verify(cell)


# -- running ------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def naming(cell: Cell) -> Iterator[None]:
    """An error of the library, with the cell that it happened in."""
    try:
        yield
    except LogpxError as error:
        raise LogpxError(f"experiment {cell.experiment!r}, cell {cell.words()}: {error}") from error


@contextlib.contextmanager
def stopping(cell: Cell, checkpoint: Path | None) -> Iterator[None]:
    """Ctrl-C, with the cell that it stopped, the estimate so far where the cell is a single one, and what is kept."""
    try:
        yield
    except Interrupted as stop:
        estimate = stop.estimate if KINDS[cell.kind].resumes != "never" else None  # others make many estimates
        said = f"experiment {cell.experiment!r}, cell {cell.words()}: stopped"
        if estimate is None:
            said += "."
        else:
            value = f"{float(estimate.log_marginal):.9g} ± {float(estimate.std_error):.2g}"
            said += f" after {estimate.n_evaluations:,} samples, log p̂(x) = {value} so far."
        if checkpoint is not None:
            said += f" Finished chunks are kept in {checkpoint}."
        else:
            said += " Finished cells are kept, and this one begins anew; --resume keeps the chunks of long cells too."
        raise Interrupted(said, estimate) from stop


def row_of(cell: Cell, record: Record, key: str, provenance_id: str) -> dict[str, Any]:
    """The row of the table `cells`."""
    coordinates = {name: value for name, value in cell.coordinates().items() if name != "settings"}
    extra = {"key": key, "provenance_id": provenance_id, "created_utc": machine.utc_now()}
    return coordinates | dict(record.columns) | extra


def run(
    suite: Suite,
    store: Store,
    threads: int,
    *,
    executor: concurrent.futures.Executor | None = None,
    resume: bool = False,
    fresh: bool = False,
    console: Console | None = None,
    after_cell: Callable[[Cell], None] | None = None,
) -> Outcome:
    """Run what the store lacks.

    Parameters
    ----------
    threads : int
        For cells that do not fix their own.
    executor : Executor, optional
        Where long cells run their tasks, instead of threads (see `logpx_bench.cluster`).
    resume : bool
        Long cells of every kind that can keep their finished chunks, and go on from them; some kinds always do.
    fresh : bool
        Checkpoints that are there are moved aside, and their cells begin anew.
    console : rich Console, optional
        Shows a progress bar; None is silent.
    after_cell : callable, optional
        Called with each cell after it is in the store.

    Raises
    ------
    LogpxError
        A cell cannot be run (see `verify`): nothing is written. Or it failed: cells before it are kept. The message
        names it.
    Interrupted
        Ctrl-C within a cell, with the estimate so far.
    """
    verify(suite)
    start, counts = time.perf_counter(), [0, 0]
    where = machine.provenance(threads)
    store.write_provenance(where)
    cells = expand(suite)
    there = store.keys()
    tell = console.print if console is not None else lambda words: None
    kept = Checkpoints(store.path, resume, fresh, lambda cell: predict(cell, store, threads)[0], tell)
    with _bar(console, len(cells), executor) as advance:
        for experiment in suite.experiments:
            own = [(cell, key_of(cell, threads)) for cell in cells if cell.experiment == experiment.name]
            store.write_plan(
                _plan_row(suite.name, experiment.name, experiment.kind, [key for _, key in own], where["id"])
            )
            for cell, key in own:
                advance(cell, False)
                counts[key in there] += 1
                if key not in there:
                    with naming(cell):
                        path = kept.of(cell)
                        with stopping(cell, path):
                            record = KINDS[cell.kind].run(cell, Resources(cell.threads or threads, executor, path))
                    row = row_of(cell, record, key, where["id"])
                    store.write_cell(row, levels=record.levels, histogram=record.histogram, values=record.values)
                    if after_cell is not None:
                        after_cell(cell)
                advance(cell, True)
    return Outcome(counts[0], counts[1], time.perf_counter() - start, kept.folder if kept.used else None)


def _plan_row(suite: str, experiment: str, kind: str, keys: list[str], provenance_id: str) -> dict[str, Any]:
    row = {"provenance_id": provenance_id, "suite": suite, "experiment": experiment, "kind": kind, "keys": keys}
    row["created_utc"] = machine.utc_now()
    return {"id": content_key(row), **row}


class _Saying(ProgressColumn):
    """What an executor says of itself at the moment: its workers, and what they have done."""

    def __init__(self, executor: Any):
        super().__init__()
        self._executor = executor

    def render(self, task: Task) -> Text:
        return Text(self._executor.words())


@contextlib.contextmanager
def _bar(console: Console | None, total: int, executor: Any) -> Iterator[Callable[[Cell, bool], None]]:
    if console is None:
        yield lambda cell, done: None
        return
    columns: list[ProgressColumn] = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()]
    columns.append(TimeElapsedColumn())
    if hasattr(executor, "words"):
        columns.append(_Saying(executor))
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=total)

        def advance(cell: Cell, done: bool) -> None:
            progress.update(task, description=f"{cell.experiment}: {cell.words()}", advance=int(done))

        yield advance
