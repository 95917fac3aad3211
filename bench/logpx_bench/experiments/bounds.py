"""The ELBO and two IWAE bounds of single images, beside their exact log p(x).

A cell is one model. For each of the first `n_images` rows of its data: log p(x) exactly, and E[L_k] at k = 1 (the
ELBO), 64 and 4096, read from one stream of n_samples log weights with the spread over its groups as error. Where the
exact answer is a quadrature, its certified error is kept; where it is a closed form there is none.

Stored in `values`, one number an image: "exact", "exact_error" (nan for a closed form), "bound/k", "std_error/k"; and
in `model_options` the likelihood, where the model has one to choose.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import logpx
from logpx import quadrature
from logpx_bench import data, ledger
from logpx_bench.errors import InputError
from logpx_bench.estimators import make_proposal
from logpx_bench.experiments.base import Cell, Kind, Record, Resources, certified_seconds, stream_seed
from logpx_bench.experiments.ladder import WARM_UP
from logpx_bench.options import Option, fail

if TYPE_CHECKING:
    from logpx_bench.suite import Experiment

SETTINGS = {"n_images": Option(int, 1, 100_000, "rows of the data, from the first", default=64)}
#: The k of the bounds, and the fewest groups of the largest k for a standard error.
BOUND_KS, MIN_GROUPS = (1, 64, 4096), 32


def expand(suite: str, experiment: "Experiment") -> list[Cell]:
    """One cell a model and estimator."""
    sizes = {"n_samples": experiment.n_samples[0], "n_replicates": 1}
    return [
        Cell.of(suite, experiment, model, estimator, **sizes, seed=experiment.seeds[0])
        for model in experiment.models
        for estimator in experiment.estimators
    ]


def check(experiment: "Experiment", where: str) -> None:
    """Samples for enough groups of the largest k."""
    least, given = MIN_GROUPS * BOUND_KS[-1], experiment.n_samples[0]
    if given < least:
        fail(f"{where}: n_samples", f"is {given}; bounds up to k = {BOUND_KS[-1]} need {least} or more")


def images(cell: Cell) -> tuple[Any, NDArray[np.float64]]:
    """The model and the rows that the cell looks at."""
    subject = data.build(cell.model, cell.model_options, cell.data)
    wanted = cell.settings["n_images"]
    if wanted > len(subject.X):
        raise InputError(f"n_images is {wanted}; the data has {len(subject.X)} rows")
    return subject.model, np.ascontiguousarray(subject.X[:wanted])


def verify(cell: Cell) -> None:
    """That the images, an exact answer and the proposal of the first are there."""
    model, X = images(cell)
    certified = hasattr(model, "quadrature") and model.n_latents <= quadrature.MOST_LATENTS  # seconds, left to the run
    why = None if certified else data.exact_or_why(model, X[0])
    if isinstance(why, str):
        raise InputError(f"bounds are held against the exact log p(x), which {model.name} does not know: {why}")
    make_proposal(cell.estimator, cell.estimator_options, model, X[0])


def run(cell: Cell, resources: Resources) -> Record:
    """The exact answers, then one estimate over all images."""
    model, X = images(cell)
    exact, error = exactly(model, X)

    def estimate(n_samples: int) -> Any:
        return logpx.estimate(
            model,
            X,
            proposal=lambda x: make_proposal(cell.estimator, cell.estimator_options, model, x),
            n_samples=n_samples,
            seed=stream_seed("bounds", cell.seed),
            dtype=cell.dtype,
            threads=resources.threads,
        )

    warm = estimate(WARM_UP)
    clock = ledger.Clock()
    found = estimate(cell.n_samples)
    values = {"exact": exact, "exact_error": error}
    for k in BOUND_KS:
        bound = found.bound(k)
        values |= {f"bound/{k}": bound.value, f"std_error/{k}": bound.std_error}
    bill = ledger.bill([found], 0.0, clock.cpu(), warm.compile_seconds)
    size: dict[str, Any] = {"n_latents": int(model.n_latents), "n_observed": X.shape[1], "threads": resources.threads}
    size |= {"model_options": {**cell.model_options, "likelihood": getattr(model, "likelihood", None)}}
    return Record(columns=bill.columns() | size | {"exact": float(exact.mean())}, values=values)


def exactly(model: Any, X: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """log p(x) and its certified error, (n,) each; the error is nan where the model's answer is a closed form."""
    if hasattr(model, "quadrature"):
        certified = model.quadrature(X)
        return certified.required(), certified.error
    return np.array([data.exact(model, x) for x in X], dtype=np.float64), np.full(len(X), np.nan)


BOUNDS = Kind(
    name="bounds",
    summary="the ELBO and the IWAE bounds at k = 64 and 4096 of single images, beside their exact log p(x)",
    keys=("model", "models", "data", "estimators", "n_samples", "seeds", "dtype", *SETTINGS),
    required=("models", "estimators", "n_samples"),
    expand=expand,
    run=run,
    evaluations=lambda cell: cell.n_samples * int(cell.settings["n_images"]),
    besides=lambda cell: certified_seconds(cell, int(cell.settings["n_images"])),
    check=check,
    verify=verify,
    settings=SETTINGS,
    closed="",
    overhead=1.0,
)
