"""Images of the digits under every model of them, and log p(x) of the held-out images.

For each model and number of latents: the held-out images asked for (`rows`), their reconstructions, samples from the
model, and log p(x) of the first `n_scored` held-out images. What each model makes of an image is in `pictures`. PCA and
the deterministic autoencoder come by themselves, at each number of latents that the models name (the autoencoder where
one was trained): they reconstruct, but have no p(x), so that samples and log p(x) are missing here, not zero.

log p(x) is exact but for a variational autoencoder of more than two latents: there it is an estimate from `n_samples`
samples an image, with its standard error, and the number of images whose Pareto k̂ says that neither can be trusted.
Pixels outside `kept` are put back at their constant value.
"""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from logpx import quadrature
from logpx_bench import data, ledger, networks
from logpx_bench.experiments import pictures
from logpx_bench.experiments.base import Cell, Kind, Named, Record, Resources, certified_seconds
from logpx_bench.options import Option, fail

if TYPE_CHECKING:
    from logpx_bench.suite import Experiment, Spec

SETTINGS = {
    "n_shown": Option(int, 1, 100, "samples drawn from each model", default=8),
    "n_scored": Option(int, 1, 500, "held-out images whose log p(x) is worked out, from the first", default=500),
}
#: Fewest samples of an estimate whose standard error means something.
MIN_SAMPLES = 256


def estimated(model: "Spec") -> bool:
    """Whether log p(x) of this model is not known exactly."""
    return networks.vae_latents(model.name, model.options) > quadrature.MOST_LATENTS


def expand(suite: str, experiment: "Experiment") -> list[Cell]:
    """What has no p(x), at each number of latents that the models name; then the models."""
    latents = sorted({model.options["n_latents"] for model in experiment.models})
    settings, (seed,) = {**experiment.settings, "rows": list(experiment.rows)}, experiment.seeds
    free: list[Named] = [("pca", {"n_latents": n}) for n in latents]
    free += [("autoencoder", {"n_latents": n}) for n in latents if n in networks.sizes("autoencoder")]
    samples = [0 if not estimated(model) else experiment.n_samples[0] for model in experiment.models]
    cells = [
        Cell.of(
            suite,
            experiment,
            model,
            ("importance" if n_samples else "exact", {}),
            n_samples=n_samples,
            n_replicates=0,
            seed=seed,
        )
        for model, n_samples in [*((one, 0) for one in free), *zip(experiment.models, samples, strict=True)]
    ]
    return [replace(cell, settings=settings) for cell in cells]


def check(experiment: "Experiment", where: str) -> None:
    """Digits, one seed, models that reconstruct, and samples for those that must be estimated."""
    if experiment.data != "digits":
        fail(f"{where}: data", f"is {experiment.data!r}; a gallery shows the digits")
    if len(experiment.seeds) != 1:
        fail(f"{where}: seeds", f"are {list(experiment.seeds)}; a gallery draws its samples from one seed")
    for model in experiment.models:
        if model.name not in pictures.WITH_DENSITY:
            known = ", ".join(pictures.WITH_DENSITY)
            free = " and ".join(pictures.WITHOUT_DENSITY)
            fail(f"{where}: models", f"hold {model.name!r}; a gallery shows {known} ({free} come by themselves)")
        if estimated(model) and experiment.n_samples[0] < MIN_SAMPLES:
            fail(
                f"{where}: n_samples",
                f"is {experiment.n_samples[0]}; log p(x) of {model.name} with {model.options['n_latents']} latents is "
                f"estimated, from {MIN_SAMPLES} samples an image or more",
            )


def verify(cell: Cell) -> None:
    """That the rows to be shown are there, and the model."""
    for row in cell.settings["rows"]:
        data.take(_held_out(), row)
    if cell.model in data.MODELS:
        data.build(cell.model, cell.model_options, cell.data)


def _held_out() -> data.Subject:
    return data.Subject(None, data.digits().test, 0.0)


def run(cell: Cell, resources: Resources) -> Record:
    """Reconstruct, sample, and score the held-out images."""
    clock, rows = ledger.Clock(), list(cell.settings["rows"])
    make = {**pictures.WITHOUT_DENSITY, **pictures.WITH_DENSITY}[cell.model]
    picture = make(cell, resources)
    values: dict[str, Any] = {
        "data": picture.seen[rows].ravel(),
        "reconstruction": picture.reconstruction[rows].ravel(),
        "reconstruction_rmse": [float(np.sqrt(np.mean((picture.reconstruction - picture.seen) ** 2)))],
        "n_images": [len(picture.seen)],
        "rows": rows,
        **picture.facts,
    }
    if picture.sample is not None:
        values["sample"] = picture.sample.ravel()
    if picture.log_p is not None:
        values["log_p"] = picture.log_p
    bill = ledger.bill([], clock.wall(), clock.cpu())
    exact = None if picture.log_p is None or cell.n_samples else float(np.mean(picture.log_p))
    subject = data.build(cell.model, cell.model_options, cell.data) if cell.model in data.MODELS else _held_out()
    size = {"n_latents": cell.model_options["n_latents"], "n_observed": subject.X.shape[1]}
    return Record(columns=bill.columns() | size | {"exact": exact}, values=values)


GALLERY = Kind(
    name="gallery",
    summary="digits: images, reconstructions, samples, and log p(x) of the held-out images",
    closed="it shows images of the digits",
    keys=("model", "models", "data", "rows", "seeds", "n_samples", *SETTINGS),
    required=("models", "rows"),
    expand=expand,
    run=run,
    evaluations=lambda cell: cell.n_samples * cell.settings["n_scored"],
    besides=lambda cell: certified_seconds(cell, cell.settings["n_scored"]),
    check=check,
    verify=verify,
    settings=SETTINGS,
    overhead=0.3,
)
