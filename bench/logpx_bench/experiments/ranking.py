"""How often Monte Carlo error ranks two models wrongly, against k.

Two fitted models A and B explain an image with exact log densities that differ by `gap` nats. Each is estimated at
k = 1, 2, 4, … n_samples in n_replicates independent replicates; a replicate ranks wrongly where log p̂ of the better
model comes out below that of the worse. Two variants: "independent" (each model has random numbers of its own) and
"common" (both see the same base noise, as `logpx.compare` does).

The image is not picked by hand. Of all held-out images it is the one whose exact |gap| comes closest to `gap` (0.5
nat unless the suite says otherwise): small enough that Monte Carlo error matters, and the same for everyone who runs
this. A is by definition the model that explains that image better.

Each k is a run of seeds of its own, hashed from seed, k and model: no two points of the curve share their noise.

Stored per k = 2^j, one value a replicate: "independent/a/j", "independent/b/j", "common/a/j", "common/b/j"; "exact"
holds the two exact values.
"""

import itertools
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from logpx_bench import data, ledger
from logpx_bench.errors import InputError
from logpx_bench.estimators import divergence, make_proposal
from logpx_bench.experiments.base import Cell, Kind, Record, Resources, stream_seed
from logpx_bench.experiments.ladder import call, sizes, warm_up
from logpx_bench.options import Option, fail

if TYPE_CHECKING:
    from logpx_bench.suite import Experiment

SETTINGS = {"gap": Option(float, 0, 1, "nats; the exact gap that the chosen image comes closest to", default=0.5)}

#: Exact gap of the chosen image, nats: more than rounding, and small, for what is asked is how often that is missed.
MIN_GAP, MAX_GAP = 1e-9, 1.0


def expand(suite: str, experiment: "Experiment") -> list[Cell]:
    """One cell an estimator and seed; the pair is the experiment's two models, the better one yet unknown."""
    first, second = experiment.models
    pair = (first.name, {**first.options, "other": {"name": second.name, **second.options}})
    return [
        Cell.of(
            suite,
            experiment,
            pair,
            estimator,
            n_samples=experiment.n_samples[0],
            n_replicates=experiment.n_replicates,
            seed=seed,
        )
        for seed, estimator in itertools.product(experiment.seeds, experiment.estimators)
    ]


def check(experiment: "Experiment", where: str) -> None:
    """Data that both models explain, two models, one power of two."""
    if experiment.data not in data.SHARED:
        allowed = ", ".join(data.SHARED)
        fail(f"{where}: data", f"is {experiment.data!r}, of which each model draws its own; a ranking needs {allowed}")
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
    """The held-out row whose exact gap is closest to the one asked for, and which model is better there.

    Raises
    ------
    InputError
        Not even the closest gap is under 1 nat, or the two models are the same, or they see the data differently.
    """
    other = dict(cell.model_options["other"])
    named = [(cell.model, {k: v for k, v in cell.model_options.items() if k != "other"}), (other.pop("name"), other)]
    made = [(name, options, data.build(name, options, cell.data)) for name, options in named]
    if not np.array_equal(made[0][2].X, made[1][2].X):
        raise InputError(
            f"{made[0][0]} and {made[1][0]} see different rows of {cell.data} (grey or binary pixels); a ranking is of "
            "two models of the same rows"
        )
    totals = [np.asarray(subject.model.log_marginal(subject.X)) for _, _, subject in made]
    difference = totals[0] - totals[1]
    row = int(np.argmin(np.abs(np.abs(difference) - cell.settings["gap"])))
    if not MIN_GAP <= abs(difference[row]) <= MAX_GAP:
        raise InputError(
            f"the two models differ by {abs(difference[row]):.4g} nats on row {row}, where they come closest to a gap "
            f"of {cell.settings['gap']:g}; a ranking needs a gap of {MIN_GAP:g} nat at least and of {MAX_GAP:g} nat at "
            "most. Choose models that are more alike, but not the same."
        )
    if difference[row] < 0:
        made.reverse()
        totals.reverse()
    return Pair(made[0], made[1], row, (float(totals[0][row]), float(totals[1][row])))


def run(cell: Cell, resources: Resources) -> Record:
    """Both models at every dyadic k, with random numbers of their own and with common ones."""
    threads, pair = resources.threads, choose_pair(cell)
    x = data.take(pair.better[2], pair.row)
    clock = ledger.Clock()
    sides = [(subject.model, _proposal(cell, subject.model, x)) for _, _, subject in (pair.better, pair.worse)]
    fit_seconds = clock.wall()
    compile_seconds = sum(warm_up(cell, model, x, proposal, threads) for model, proposal in sides)
    clock, estimates = ledger.Clock(), []
    values: dict[str, Any] = {"exact": pair.exact}
    for level in range(cell.n_samples.bit_length()):
        seed, other = (stream_seed("ranking", cell.seed, level, side) for side in "ab")
        for name, side, own in (("common/a", 0, seed), ("common/b", 1, seed), ("independent/b", 1, other)):
            model, proposal = sides[side]
            one = call(cell, model, x, proposal, 2**level, cell.n_replicates, own, threads)
            estimates.append(one)
            values[f"{name}/{level}"] = np.asarray(one.replicates, dtype=np.float64)
        values[f"independent/a/{level}"] = values[f"common/a/{level}"]
    bill = ledger.bill(estimates, fit_seconds, clock.cpu(), compile_seconds)
    return Record(columns=_columns(pair, sides, x, threads) | bill.columns(), values=values)


def verify(cell: Cell) -> None:
    """That there is an image with such a gap, and that both proposals can be made for it."""
    pair = choose_pair(cell)
    for _, _, subject in (pair.better, pair.worse):
        _proposal(cell, subject.model, data.take(pair.better[2], pair.row))


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
    closed="it compares two models of the same images",
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
    verify=verify,
    settings=SETTINGS,
    overhead=0.5,
)
