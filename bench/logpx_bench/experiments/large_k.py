r"""One long stream: the error of L_k at every level, the estimate as the stream grows, time and memory.

The stream is climbed by powers of two. The cell of n = 2^j goes on where that of n/2 ended, all from one checkpoint,
and holds the estimate from the first n samples, seconds and samples of its own half of them, and the peak memory.
Raising n_samples later adds cells and repeats nothing; a kill loses the chunks that were running. A cell that was
stopped in its half has no time by the clock: `tasks_found` says how many tasks were there when it went on, and its
seconds are then those of the work in its chunks, shared by the workers.

RMSE at k over the n/k groups of one stream needs an interval, and the groups of a level are independent as its weights
are. They are pooled in UNITS spans of the stream, n/UNITS samples each, and in spans of two and more above that as
long as 32 remain: moments of L_k in each span are kept as a ladder cell keeps those of its replicates, so that mean
squares and bootstrap are the same (`logpx_bench.summary`). Cost: that of the samples, and a second for the checkpoint.
"""

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING

from logpx_bench import data, ledger
from logpx_bench.errors import InputError
from logpx_bench.estimators import divergence, make_proposal
from logpx_bench.experiments import finished
from logpx_bench.experiments.base import Cell, Kind, Record, Resources, stream_seed, verify_row
from logpx_bench.experiments.ladder import call, describe, level_rows, sizes
from logpx_bench.options import fail

if TYPE_CHECKING:
    from pathlib import Path

    from logpx_bench.suite import Experiment

#: The first cell has 2^FIRST samples; a stream is 2^LEAST samples long at least, for units of many chunks.
FIRST, LEAST = 10, 20
#: Spans that a level's groups are pooled in, and the fewest.
UNITS, MIN_UNITS = 64, 32


def expand(suite: str, experiment: "Experiment") -> list[Cell]:
    """Stream by stream, each in powers of two."""
    streams = itertools.product(experiment.models, experiment.rows, experiment.seeds, experiment.estimators)
    (n_samples,) = experiment.n_samples
    return [
        Cell.of(suite, experiment, model, estimator, n_samples=2**level, n_replicates=1, seed=seed, row=row)
        for model, row, seed, estimator in streams
        for level in range(FIRST, n_samples.bit_length())
    ]


def check(experiment: "Experiment", where: str) -> None:
    """One stream, of one length that is a power of two."""
    if experiment.n_replicates != 1:
        fail(f"{where}: n_replicates", f"is {experiment.n_replicates}; a large_k experiment is one stream: 1")
    if len(experiment.n_samples) != 1:
        fail(f"{where}: n_samples", "is a list; allowed is one number: the powers of two below it are cells already")
    (n,) = experiment.n_samples
    if n < 2**LEAST or n & (n - 1):
        fail(f"{where}: n_samples", f"is {n}; allowed is a power of two from 2^{LEAST} on")


def verify(cell: Cell) -> None:
    """What any cell on a row needs, and an exact log p(x): no run could be so much longer as to stand in for it."""
    verify_row(cell)
    subject = data.build(cell.model, cell.model_options, cell.data)
    if data.exact(subject.model, data.take(subject, cell.row or 0)) is None:
        raise InputError(f"a long stream is held against the exact log p(x), which {subject.model.name} does not know")


def run(cell: Cell, resources: Resources) -> Record:
    """Go on to the cell's n_samples."""
    assert resources.checkpoint is not None
    subject = data.build(cell.model, cell.model_options, cell.data)
    x = data.take(subject, cell.row or 0)
    clock = ledger.Clock()
    proposal = make_proposal(cell.estimator, cell.estimator_options, subject.model, x)
    fit_seconds = clock.wall()
    own = finished.Span(resources.checkpoint, cell.n_samples - evaluations(cell), cell.n_samples)
    found = own.n_tasks()
    ledger.reset_peak()
    baseline, clock = ledger.peak_bytes(), ledger.Clock()
    how = resources.threads, resources.executor, resources.checkpoint
    seed = stream_seed("large_k", cell.seed, cell.row)
    estimate = call(cell, subject.model, x, proposal, cell.n_samples, 1, seed, *how)
    bill = replace(ledger.bill([estimate], fit_seconds, clock.cpu()), n_evaluations=evaluations(cell))
    if found:
        bill = own.billed(bill, resources.n_workers)
    kl, chi2 = divergence(subject.model, x, proposal)
    columns = describe(estimate) | bill.columns() | sizes(subject.model, x) | {"kl": kl, "chi2": chi2}
    columns |= {"exact": data.exact(subject.model, x), "threads": resources.n_workers}
    levels = unit_levels(resources.checkpoint, cell.n_samples)
    values = {"baseline_bytes": [baseline], "worked_seconds": [own.worked()], "tasks_found": [found]}
    return Record(columns=columns, levels=levels, values=values)


def unit_levels(path: "Path", n_samples: int) -> list[tuple[int, int, int, float, float]]:
    """(unit, level, n_groups, mean, m2) of L_k, k = 2^level, for every level that has 32 units or more."""
    units, done = finished.spans(path, n_samples, UNITS), 0
    rows: list[tuple[int, int, int, float, float]] = []
    while len(units) >= MIN_UNITS:
        for unit, ladder in enumerate(units):
            own = level_rows(ladder.levels)
            rows += [(unit, level, n, mean, m2) for _, level, n, mean, m2 in own if level >= done]
        done = units[0].n_samples.bit_length()
        units = [a.merge(b) for a, b in zip(units[::2], units[1::2], strict=True)]
    return rows


def evaluations(cell: Cell) -> int:
    """The upper half of its samples: the lower one is the cell before."""
    return cell.n_samples if cell.n_samples == 2**FIRST else cell.n_samples // 2


LARGE_K = Kind(
    name="large_k",
    summary=f"one stream from 2^{FIRST} samples to very many: errors at every level, its path, time and memory",
    closed="",
    keys=("model", "models", "data", "rows", "estimators", "n_samples", "n_replicates", "seeds", "points", "dtype"),
    required=("models", "estimators", "n_samples"),
    expand=expand,
    run=run,
    evaluations=evaluations,
    check=check,
    verify=verify,
    overhead=0.05,
    resumes="always",
)
