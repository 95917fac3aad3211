"""One run of an estimator, with replicates: its error at every dyadic k, its diagnostics, and its log weights.

A run of n_samples in each of n_replicates independent streams leaves, for every replicate and every k = 2^j up to
n_samples, the mean and spread of L_k over that replicate's n_samples/k groups. Against the exact log p(x) these give
the error at every k (see `logpx_bench.summary`). The first 2^14 log weights of the first stream are kept as a
histogram, in bins fine enough to be drawn on another scale than nats.

Every row of the data has streams of its own: the seed that the library gets is a hash of the cell's seed and its row.
The estimators on one row share their base noise.

Before the clock starts, a run of 2^10 samples compiles the kernels or loads them from the cache; all the time it takes
goes on the bill as compile time.

Where the exact log p(x) is not known, a long run takes its place (`reference`): its value, its standard error and its
samples are kept apart from what is exact, and are not on the cell's bill.

A cell that keeps its finished chunks (`Resources.checkpoint`) goes on from there, and is then billed for all of them.

Estimators alternate: all of them on one row, then all on the next, so that a slow minute of the machine falls on each.
"""

import concurrent.futures
import functools
import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import logpx
from logpx.errors import Interrupted
from logpx.tasks import CHUNK
from logpx_bench import data, ledger
from logpx_bench.estimators import divergence, make_proposal
from logpx_bench.experiments import finished
from logpx_bench.experiments.base import Cell, Kind, Record, Resources, stream_seed
from logpx_bench.options import fail

if TYPE_CHECKING:
    from logpx_bench.suite import Experiment

#: Log weights in a histogram, and its bins.
N_HISTOGRAM, N_BINS = 2**14, 512
#: Samples of the untimed first run.
WARM_UP = 2**10
#: Samples of a reference run over a cell's n_samples, so that it errs a sixteenth as much; and the most.
REFERENCE, MOST = 2**8, 2**30
#: How the library says that there is no Pareto k̂, and why.
NO_PARETO = "Pareto k̂ is not defined"
#: Fewest replicates that an error is computed from.
MIN_REPLICATES = 32


def expand(suite: str, experiment: "Experiment") -> list[Cell]:
    """Model by model, row by row, seed by seed: the estimators in turn."""
    return [
        Cell.of(
            suite,
            experiment,
            model,
            estimator,
            n_samples=n_samples,
            n_replicates=experiment.n_replicates,
            seed=seed,
            row=row,
        )
        for model, row, seed, n_samples, estimator in itertools.product(
            experiment.models, experiment.rows, experiment.seeds, experiment.n_samples, experiment.estimators
        )
    ]


def check(experiment: "Experiment", where: str) -> None:
    """An error is an RMSE over replicates: it needs enough of them."""
    if experiment.n_replicates < MIN_REPLICATES:
        fail(
            f"{where}: n_replicates",
            f"is {experiment.n_replicates}; an error with an interval needs {MIN_REPLICATES} or more",
        )


def run(cell: Cell, resources: Resources) -> Record:
    """Estimate, and keep the moments of every replicate."""
    subject = data.build(cell.model, cell.model_options, cell.data)
    x = data.take(subject, cell.row or 0)
    clock = ledger.Clock()
    proposal = make_proposal(cell.estimator, cell.estimator_options, subject.model, x)
    fit_seconds = clock.wall()
    how = resources.threads, resources.executor
    compile_seconds = warm_up(cell, subject.model, x, proposal, *how)
    span = finished.Span(resources.checkpoint, 0, cell.n_samples)
    resumed, clock = span.n_tasks() > 0, ledger.Clock()
    seed = seed_of(cell)
    estimate = call(
        cell, subject.model, x, proposal, cell.n_samples, cell.n_replicates, seed, *how, resources.checkpoint
    )
    bill = ledger.bill([estimate], fit_seconds, clock.cpu(), compile_seconds)
    if resumed:
        bill = span.billed(bill, resources.n_workers)
    kl, chi2 = divergence(subject.model, x, proposal)
    columns = describe(estimate) | bill.columns() | {"kl": kl, "chi2": chi2, "threads": resources.n_workers}
    columns |= {"exact": data.exact(subject.model, x)} | sizes(subject.model, x)
    drawn = logpx.samples(subject.model, x, proposal, 0, N_HISTOGRAM, seed=seed, replicate=0, row=0, points=cell.points)
    values = {"replicates": estimate.replicates}
    if columns["exact"] is None:
        values["reference"] = reference(cell, resources.threads)
    return Record(
        columns=columns,
        levels=level_rows(estimate.replicate_levels),
        histogram=histogram(drawn.log_weights),
        values=values,
    )


def reference(cell: Cell, threads: int | None) -> tuple[float, float, int, bool]:
    """What stands in for an exact log p(x) that is not known: log p̂(x) of a long run from the model's own proposal, or
    from its prior; its standard error; its samples, REFERENCE times the cell's; and whether they are the prior's."""
    n_samples = min(REFERENCE * cell.n_samples, MOST)
    return _reference(cell.model, tuple(sorted(cell.model_options.items())), cell.data, cell.row, n_samples, threads)


@functools.lru_cache(maxsize=64)
def _reference(
    name: str, options: tuple[tuple[str, Any], ...], where: str, row: int | None, n_samples: int, threads: int | None
) -> tuple[float, float, int, bool]:
    subject = data.build(name, dict(options), where)
    x, seed = data.take(subject, row or 0), stream_seed("reference", row)
    long = logpx.estimate(subject.model, x, n_samples=n_samples, seed=seed, threads=threads)
    from_prior = getattr(subject.model, "default_proposal", None) is None
    return float(long.log_marginal), float(long.std_error), n_samples, from_prior


def seed_of(cell: Cell) -> int:
    """The seed of a cell's streams: rows do not share random numbers, estimators do."""
    return stream_seed("ladder", cell.seed, cell.row)


def call(
    cell: Cell,
    model: Any,
    x: NDArray[np.float64],
    proposal: Any,
    n_samples: int,
    n_replicates: int,
    seed: int,
    threads: int | None,
    executor: concurrent.futures.Executor | None = None,
    checkpoint: Path | None = None,
) -> Any:
    """`logpx.estimate` as the cell's points and dtype have it."""
    return logpx.estimate(
        model,
        x,
        proposal=proposal,
        n_samples=n_samples,
        n_replicates=n_replicates,
        points=cell.points,
        seed=seed,
        dtype=cell.dtype,
        threads=threads,
        executor=executor,
        checkpoint=checkpoint,
    )


def warm_up(
    cell: Cell,
    model: Any,
    x: NDArray[np.float64],
    proposal: Any,
    threads: int | None,
    executor: concurrent.futures.Executor | None = None,
) -> float:
    """Compile or load everything that a run needs, by a small one; seconds it took, all of them.

    A run of several chunks also merges them, by functions of their own: its warm-up has two.
    """
    clock, n_samples = ledger.Clock(), WARM_UP if cell.n_samples <= CHUNK else 2 * CHUNK
    try:
        call(cell, model, x, proposal, n_samples, 1, cell.seed, threads, executor)
    except Interrupted as stop:
        raise Interrupted(str(stop)) from stop  # its estimate is not the cell's
    return clock.wall()


def sizes(model: Any, x: NDArray[np.float64]) -> dict[str, int]:
    """Latent and observed dimensions."""
    return {"n_latents": int(model.n_latents), "n_observed": len(x)}


def describe(estimate: Any) -> dict[str, Any]:
    """What an estimate says of itself, as columns."""
    return {
        "log_marginal": float(estimate.log_marginal),
        "std_error": float(estimate.std_error),
        "elbo": float(estimate.elbo),
        "ess": float(estimate.ess),
        "pareto_k": None if estimate.pareto_k is None else float(estimate.pareto_k),
        "pareto_note": next((said for said in estimate.warnings if said.startswith(NO_PARETO)), None),
        "n_neg_inf": int(estimate.n_neg_inf),
        "bias_floor": float(estimate.bias_floor),
        "warnings": list(estimate.warnings),
    }


def level_rows(levels: Any) -> list[tuple[int, int, int, float, float]]:
    """(replicate, level, n_groups, mean, m2) of each replicate's levels, for arrays of shape (R, H)."""
    k, mean = np.asarray(levels.k), np.asarray(levels.mean)
    m2, n_groups = np.asarray(levels.m2), np.broadcast_to(levels.n_groups, mean.shape)
    rows = []
    for h, replicate in itertools.product(range(len(k)), range(len(mean))):
        count = int(n_groups[replicate, h])
        if count:
            spread = float(m2[replicate, h])
            rows.append((replicate, int(k[h]).bit_length() - 1, count, float(mean[replicate, h]), spread))
    return rows


def histogram(log_weights: NDArray[np.float64], n_bins: int = N_BINS) -> dict[str, Any] | None:
    """Equal bins from the least to the greatest finite log weight; None where none is finite. Equal weights get a
    single bin, a millionth wide."""
    finite = log_weights[np.isfinite(log_weights)]
    if finite.size == 0:
        return None
    low, high = float(finite.min()), float(finite.max())
    if high - low < 1e-9 * max(1.0, abs(low)):
        half = 0.5e-6 * max(1.0, abs(low))
        edges, counts = [low - half, high + half], [finite.size]
    else:
        heights, bounds = np.histogram(finite, bins=n_bins, range=(low, high))
        edges, counts = bounds.tolist(), heights.tolist()
    n_neg_inf = int(np.sum(np.isneginf(log_weights)))
    return {"edges": edges, "counts": counts, "n_neg_inf": n_neg_inf}


def evaluations(cell: Cell) -> int:
    """n_samples in every replicate, and the histogram's."""
    return cell.n_samples * cell.n_replicates + N_HISTOGRAM


LADDER = Kind(
    name="ladder",
    summary="an estimator's error at every dyadic k, from one run with replicates",
    closed="",
    keys=("model", "models", "data", "rows", "estimators", "n_samples", "n_replicates", "seeds", "points", "dtype"),
    required=("models", "estimators", "n_samples", "n_replicates"),
    expand=expand,
    run=run,
    evaluations=evaluations,
    check=check,
    overhead=0.1,
    resumes="asked",
)
