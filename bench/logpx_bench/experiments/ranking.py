"""How often Monte Carlo error ranks two models wrongly, against k.

Two fitted models A and B explain an image with exact log densities that differ by `gap` nats. Each is estimated at
k = 1, 2, 4, … n_samples in n_replicates independent replicates; a replicate ranks wrongly where log p̂ of the better
model comes out below that of the worse. Two variants: "independent" (each model has random numbers of its own) and
"common" (both see the same base noise, as `logpx.compare` does).

The image is not picked by hand. Of all held-out images it is the one whose exact |gap| comes closest to `gap` (0.5
nat unless the suite says otherwise): small enough that Monte Carlo error matters, and the same for everyone who runs
this. A is by definition the model that explains that image better.

Each k is a run of its own seeds, so that neighbouring points of the curve do not share their noise.

Stored per k = 2^j, one value a replicate: "independent/a/j", "independent/b/j", "common/a/j", "common/b/j"; "exact"
holds the two exact values.
"""

import itertools
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from logpx_bench import data, ledger
from logpx_bench.estimators import divergence, make_proposal
from logpx_bench.experiments.base import Cell, Kind, Record
from logpx_bench.experiments.ladder import call, sizes, warm_up
from logpx_bench.options import Option, fail

if TYPE_CHECKING:
    from logpx_bench.suite import Experiment

SETTINGS = {"gap": Option(float, 0, 1e6, "nats; the exact gap that the chosen image comes closest to", default=0.5)}

#: Seeds of model B in the independent variant lie this far from those of A.
SEED_STEP = 1_000_003


def expand(suite: str, experiment: "Experiment") -> list[Cell]:
    """One cell an estimator and seed; the pair is the experiment's two models, the better one yet unknown."""
    first, second = experiment.models
    return [
        Cell(
            suite=suite,
            experiment=experiment.name,
            kind="ranking",
            model=first.name,
            model_options={**first.options, "other": {"name": second.name, **second.options}},
            data=experiment.data,
            row=None,
            estimator=estimator.name,
            estimator_options=estimator.options,
            points=experiment.points,
            dtype=experiment.dtype,
            threads=None,
            n_samples=experiment.n_samples[0],
            n_replicates=experiment.n_replicates,
            seed=seed,
            settings=experiment.settings,
        )
        for seed, estimator in itertools.product(experiment.seeds, experiment.estimators)
    ]


def check(experiment: "Experiment", where: str) -> None:
    """Two models, one power of two."""
    if len(experiment.models) != 2:
        fail(f"{where}: models", f"are {len(experiment.models)} (sweeps counted); a ranking is of exactly 2")
    n_samples = experiment.n_samples
    if len(n_samples) != 1 or n_samples[0] & (n_samples[0] - 1):
        fail(f"{where}: n_samples", 'is not one power of two; give the largest k, as in "2^12"')


class Pair(NamedTuple):
    """Two models, the better one on `row` first, that row, and the exact log p(x) of both."""

    better: tuple[str, dict[str, Any], data.Subject]
    worse: tuple[str, dict[str, Any], data.Subject]
    row: int
    exact: tuple[float, float]


def choose_pair(cell: Cell) -> Pair:
    """The held-out row whose exact gap is closest to the one asked for, and which model is better there."""
    other = dict(cell.model_options["other"])
    named = [(cell.model, {k: v for k, v in cell.model_options.items() if k != "other"}), (other.pop("name"), other)]
    made = [(name, options, data.build(name, options, cell.data)) for name, options in named]
    totals = [np.asarray(subject.model.log_marginal(subject.X)) for _, _, subject in made]
    difference = totals[0] - totals[1]
    row = int(np.argmin(np.abs(np.abs(difference) - cell.settings["gap"])))
    if difference[row] < 0:
        made.reverse()
        totals.reverse()
    return Pair(made[0], made[1], row, (float(totals[0][row]), float(totals[1][row])))


def run(cell: Cell, threads: int) -> Record:
    """Both models at every dyadic k, with random numbers of their own and with common ones."""
    pair = choose_pair(cell)
    x = data.take(pair.better[2], pair.row)
    clock = ledger.Clock()
    sides = [(subject.model, _proposal(cell, subject.model, x)) for _, _, subject in (pair.better, pair.worse)]
    fit_seconds = clock.wall()
    compile_seconds = sum(warm_up(cell, model, x, proposal, threads) for model, proposal in sides)
    clock, estimates = ledger.Clock(), []
    values: dict[str, Any] = {"exact": pair.exact}
    for level in range(cell.n_samples.bit_length()):
        seed = cell.seed + level
        for name, side, own in (("common/a", 0, seed), ("common/b", 1, seed), ("independent/b", 1, seed + SEED_STEP)):
            model, proposal = sides[side]
            one = call(cell, model, x, proposal, 2**level, cell.n_replicates, own, threads)
            estimates.append(one)
            values[f"{name}/{level}"] = np.asarray(one.replicates, dtype=np.float64)
        values[f"independent/a/{level}"] = values[f"common/a/{level}"]
    bill = ledger.bill(estimates, fit_seconds, clock.cpu(), compile_seconds)
    return Record(columns=_columns(pair, sides, x, threads) | bill.columns(), values=values)


def _proposal(cell: Cell, model: Any, x: NDArray[np.float64]) -> Any:
    return make_proposal(cell.estimator, cell.estimator_options, model, x)


def _columns(pair: Pair, sides: list[tuple[Any, Any]], x: NDArray[np.float64], threads: int) -> dict[str, Any]:
    (name, options, _), (other, other_options, _) = pair.better, pair.worse
    model, proposal = sides[0]
    kl, chi2 = divergence(model, x, proposal)
    return sizes(model, x) | {
        "model": name,
        "model_options": {**options, "other": f"{other} with {other_options.get('n_latents', '?')} latents"},
        "row": pair.row,
        "exact": pair.exact[0] - pair.exact[1],
        "kl": kl,
        "chi2": chi2,
        "threads": threads,
    }


RANKING = Kind(
    name="ranking",
    summary="the probability of ranking two models wrongly, against k",
    keys=(
        "model",
        "models",
        "data",
        "estimators",
        "n_samples",
        "n_replicates",
        "seeds",
        "points",
        "dtype",
        *SETTINGS,
    ),
    required=("models", "estimators", "n_samples", "n_replicates"),
    expand=expand,
    run=run,
    evaluations=lambda cell: 3 * (2 * cell.n_samples - 1) * cell.n_replicates,
    check=check,
    settings=SETTINGS,
    overhead=0.5,
)
