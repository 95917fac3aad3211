"""Images of the digits under PCA, PPCA and factor analysis, and the exact log p(x) of the held-out images.

For each model and number of latents: the held-out images asked for (`rows`), their reconstructions, samples from the
model, and log p(x) of every held-out image. A reconstruction is mean + W E[z given x], with

    E[z given x] = (I + Wᵀ Ψ⁻¹ W)⁻¹ Wᵀ Ψ⁻¹ (x − mean)        (Tipping and Bishop, 1999, doi:10.1111/1467-9868.00196)

PCA reconstructs by orthogonal projection. It is no distribution: it has no density and nothing to sample from, so that
its samples and its log p(x) are missing here, not zero.

Nothing is estimated: log p(x) is the model's closed form. Pixels outside `kept` are put back at their constant value.
"""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from logpx_bench import data, ledger
from logpx_bench.experiments.base import Cell, Kind, Named, Record, Resources
from logpx_bench.options import Option, fail

if TYPE_CHECKING:
    from logpx_bench.suite import Experiment

SETTINGS = {"n_shown": Option(int, 1, 100, "samples drawn from each model", default=8)}

#: Models with loadings, a mean and noise of their own.
LINEAR = ("ppca", "factor_analysis")


def expand(suite: str, experiment: "Experiment") -> list[Cell]:
    """PCA at each number of latents that the models name, then the models."""
    latents = sorted({model.options["n_latents"] for model in experiment.models})
    settings, (seed,) = {**experiment.settings, "rows": list(experiment.rows)}, experiment.seeds
    models: list[Named] = [*(("pca", {"n_latents": n}) for n in latents), *experiment.models]
    cells = [
        Cell.of(suite, experiment, model, ("exact", {}), n_samples=0, n_replicates=0, seed=seed) for model in models
    ]
    return [replace(cell, settings=settings) for cell in cells]


def check(experiment: "Experiment", where: str) -> None:
    """Digits, one seed, and models that reconstruct."""
    if experiment.data != "digits":
        fail(f"{where}: data", f"is {experiment.data!r}; a gallery shows the digits")
    if len(experiment.seeds) != 1:
        fail(f"{where}: seeds", f"are {list(experiment.seeds)}; a gallery draws its samples from one seed")
    for model in experiment.models:
        if model.name not in LINEAR:
            fail(
                f"{where}: models", f"hold {model.name!r}; a gallery shows {' and '.join(LINEAR)} (PCA comes by itself)"
            )


def verify(cell: Cell) -> None:
    """That the rows to be shown are there."""
    for row in cell.settings["rows"]:
        data.take(_held_out(), row)


def _held_out() -> data.Subject:
    return data.Subject(None, data.digits().test, 0.0)


def run(cell: Cell, resources: Resources) -> Record:
    """Reconstruct, sample, and score the held-out images."""
    digits, clock = data.digits(), ledger.Clock()
    shown = np.stack([data.take(_held_out(), row) for row in cell.settings["rows"]])
    parts = _pca(cell.model_options["n_latents"], digits) if cell.model == "pca" else _linear(cell, digits)
    residual = parts["all"] - digits.test
    chosen = parts["all"][list(cell.settings["rows"])]
    values: dict[str, Any] = {
        "data": digits.image(shown).ravel(),
        "reconstruction": digits.image(chosen).ravel(),
        "reconstruction_rmse": [float(np.sqrt(np.mean(residual**2)))],
        "n_images": [len(digits.test)],
        "rows": cell.settings["rows"],
    }
    values |= {name: parts[name] for name in ("log_p", "n_at_floor") if name in parts}
    if "sample" in parts:
        values["sample"] = digits.image(parts["sample"]).ravel()
    bill = ledger.bill([], clock.wall(), clock.cpu())
    exact = float(np.mean(parts["log_p"])) if "log_p" in parts else None
    size = {"n_latents": cell.model_options["n_latents"], "n_observed": digits.test.shape[1]}
    return Record(columns=bill.columns() | size | {"exact": exact}, values=values)


def _pca(n_latents: int, digits: data.Digits) -> dict[str, Any]:
    mean = digits.train.mean(axis=0)
    _, _, components = np.linalg.svd(digits.train - mean, full_matrices=False)
    basis = components[:n_latents]
    return {"all": mean + (digits.test - mean) @ basis.T @ basis}


def _linear(cell: Cell, digits: data.Digits) -> dict[str, Any]:
    model = data.build(cell.model, cell.model_options, cell.data).model
    parts: dict[str, Any] = {
        "all": reconstruct(model, digits.test),
        "sample": np.asarray(model.sample(cell.settings["n_shown"], cell.seed)),
        "log_p": np.asarray(model.log_marginal(digits.test)),
    }
    if hasattr(model, "noise_variances"):
        parts["n_at_floor"] = [int(np.sum(model.noise_variances <= data.NOISE_FLOOR * (1 + 1e-9)))]
    return parts


def reconstruct(model: Any, X: NDArray[np.float64]) -> NDArray[np.float64]:
    """mean + W E[z given x] for rows x of X (n, p)."""
    noise = model.noise_variances if hasattr(model, "noise_variances") else model.noise_variance
    scaled = model.weights / np.broadcast_to(noise, model.mean.shape)[:, None]
    precision = np.eye(model.weights.shape[1]) + scaled.T @ model.weights
    latents = np.linalg.solve(precision, scaled.T @ (X - model.mean).T)
    return np.asarray(model.mean + latents.T @ model.weights.T)


GALLERY = Kind(
    name="gallery",
    summary="digits: images, reconstructions, samples, and the exact log p(x) of the held-out images",
    closed="it shows images of the digits",
    keys=("model", "models", "data", "rows", "seeds", *SETTINGS),
    required=("models", "rows"),
    expand=expand,
    run=run,
    evaluations=lambda cell: 0,
    check=check,
    verify=verify,
    settings=SETTINGS,
    overhead=0.3,
)
