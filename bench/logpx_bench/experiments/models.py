"""Every model with an exact marginal: how far two exact routes are apart, and what its default proposal is worth.

A cell is one model on the rows of its data, one thread. For all rows (n, p): log p(x) by the model and by a second
route that shares no function with it (`second_routes`). For one row: n_replicates independent estimates of n_samples
each, with their standard errors, so that RMSE and coverage can be read; and streams of 2^18 samples, timed, from which
come ESS and the time of a sample: points, proposal, log joint and full ladder, through the public `estimate`.

Stored in `values`: "exact" and "second", one a row of data; "replicates" and "std_errors", one a replicate; "ns" a
sample and "ess_fraction", one a timed stream; "n_discrete", of the latents. The other columns are those of the first
timed stream; `n_evaluations` and `seconds` are of all. `model_options` also hold both routes in words. A model of the
user's own has an exact answer of its own making, and no second.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import logpx
from logpx.models import REGISTRY
from logpx_bench import data, ledger, second_routes
from logpx_bench.errors import InputError
from logpx_bench.estimators import divergence, make_proposal
from logpx_bench.experiments import ladder
from logpx_bench.experiments.base import Cell, Kind, Record, Resources, hash_of, stream_seed, verify_row
from logpx_bench.options import Option

if TYPE_CHECKING:
    from logpx_bench.suite import Experiment

SETTINGS = {"repeats": Option(int, 1, 1000, "timed streams", default=5)}
#: Samples of a timed stream.
N_TIMED = 2**18


def expand(suite: str, experiment: "Experiment") -> list[Cell]:
    """One cell a model and row, each by the model's own default proposal."""
    sizes = {"n_samples": experiment.n_samples[0], "n_replicates": experiment.n_replicates}
    return [
        Cell.of(suite, experiment, model, ("importance", {}), **sizes, seed=experiment.seeds[0], row=row, threads=1)
        for model in experiment.models
        for row in experiment.rows
    ]


def verify(cell: Cell) -> None:
    """That model, row, proposal, exact answer and, for a registered model, second route are there."""
    verify_row(cell)
    model, X, _ = data.build(cell.model, cell.model_options, cell.data)
    why = data.exact_or_why(model, X[0])
    if isinstance(why, str):
        raise InputError(f"the table holds models with an exact log p(x), which {model.name} does not know: {why}")
    if _is_registered(model) and model.name not in second_routes.ROUTES:
        raise InputError(f"{model.name} has no second route; those that have one: {', '.join(second_routes.ROUTES)}")


def _is_registered(model: Any) -> bool:
    """Whether it comes with the library, and not from a file of the user's, whatever its name is."""
    return REGISTRY.get(model.name) is type(model)


def both_routes(model: Any, X: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """log p(x) of every row by the model, and by the second route: nan for a user's model, which has none."""
    if _is_registered(model):
        return model.log_marginal(X), second_routes.log_marginal(model, X)
    return np.array([data.exact(model, x) for x in X], dtype=np.float64), np.full(len(X), np.nan)


def run(cell: Cell, resources: Resources) -> Record:
    """Both routes, then replicates, then timed streams."""
    subject = data.build(cell.model, cell.model_options, cell.data)
    model, x, clock = subject.model, data.take(subject, cell.row or 0), ledger.Clock()
    exact, second = both_routes(model, subject.X)
    proposal = make_proposal(cell.estimator, cell.estimator_options, model, x)
    fit_seconds, clock = clock.wall(), ledger.Clock()
    every = estimates(cell, model, x, proposal)
    replicates, timed = every[0], every[1:]
    values = {
        "exact": exact,
        "second": second,
        "replicates": replicates.log_marginal,
        "std_errors": replicates.std_error,
        "ns": [1e9 * one.seconds / N_TIMED for one in timed],
        "ess_fraction": [one.ess / N_TIMED for one in timed],
        "n_discrete": [proposal.n_discrete],
    }
    kl, chi2 = divergence(model, x, proposal)
    routes = {name: getattr(model, name, None) for name in ("exact_route", "second_route")}
    columns = ladder.describe(timed[0]) | ladder.sizes(model, x) | {"kl": kl, "chi2": chi2}
    columns |= ledger.bill(every, fit_seconds, clock.cpu()).columns() | {"exact": data.exact(model, x)}
    return Record(columns=columns | {"model_options": {**cell.model_options, **routes}}, values=values)


def seed_of(cell: Cell, what: str) -> int:
    """A seed of its own for each use of a cell."""
    return stream_seed("models", cell.seed, cell.model, cell.row, what)


def estimates(cell: Cell, model: Any, x: NDArray[np.float64], proposal: Any) -> list[Any]:
    """The replicates, as rows of one call, and the timed streams. A small call before compiles what they need."""

    def estimate(x: NDArray[np.float64], n_samples: int, what: str) -> Any:
        seed = seed_of(cell, what)
        return logpx.estimate(model, x, proposal=proposal, n_samples=n_samples, seed=seed, dtype=cell.dtype, threads=1)

    estimate(x, ladder.WARM_UP, "warm-up")
    replicates = estimate(np.tile(x, (cell.n_replicates, 1)), cell.n_samples, "replicates")
    return [replicates, *(estimate(x, N_TIMED, f"timed {i}") for i in range(cell.settings["repeats"]))]


def evaluations(cell: Cell) -> int:
    """Replicates and timed streams."""
    return cell.n_samples * cell.n_replicates + N_TIMED * int(cell.settings["repeats"])


def source(cell: Cell) -> dict[str, str]:
    """The second routes decide what is stored."""
    return {"second_routes": hash_of(sorted(Path(second_routes.__file__).parent.glob("*.py")))}


MODELS = Kind(
    name="models",
    summary="every model with an exact marginal: two exact routes, and the error, ESS and time of its default proposal",
    keys=("model", "models", "data", "rows", "n_samples", "n_replicates", "seeds", "dtype", *SETTINGS),
    required=("models", "n_samples", "n_replicates"),
    expand=expand,
    run=run,
    evaluations=evaluations,
    check=ladder.check,
    verify=verify,
    settings=SETTINGS,
    facts=source,
    closed="",
    timed=True,
    overhead=1.0,
)
