"""The data that is measured on, and the models fitted to it.

"digits" is scikit-learn's bundled set: 1797 images of handwritten digits, 8×8 pixels, intensities 0 … 16 (E. Alpaydin
and C. Kaynak, 1998, doi:10.24432/C50P49). Intensities are divided by 16 and the images split by a fixed permutation
into 1297 for training and 500 held out. Pixels that never vary over the training images carry no density and are
dropped: `kept` says which remain, and every log p(x) is a density over those pixels alone.

"sample" is small and simulated: data drawn from the model itself, whose weights are random but for the seed.

"file" is what a Python file of the user's defines, model and rows (`model_file`); for `logpx run --model`.

Bernoulli models of the digits see whole images, ink (1) where the intensity is 1/2 or more and none (0) elsewhere;
their log p(x) is that of a probability, and does not compare with a density.

Factor analysis gives each pixel a noise variance of its own; that of a pixel which is almost always blank goes to
zero, and its log density to infinity. The floor is (1/16)²/12, the variance of rounding to a step of 1/16: no model
may claim to know a pixel better than the data was written down.
"""

import copy
import functools
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from logpx import models as library
from logpx.proposals import Proposal
from logpx_bench import model_file, networks
from logpx_bench.errors import InputError, NotAvailableError
from logpx_bench.options import Option, fail

#: Seed of the permutation that splits the digits, and how many of them train.
SPLIT_SEED, N_TRAIN = 0, 1297
#: Variance of rounding to a step of 1/16.
NOISE_FLOOR = (1 / 16) ** 2 / 12

#: Data sets and what they are.
DATA = {
    "digits": "scikit-learn's digits, 1297 images to train on and 500 held out; models are fitted",
    "sample": "a small simulated data set, drawn from the model itself",
}
#: The data of a model from a user's file: its own x. Suites do not name it.
FILE = "file"
#: Those whose rows are the same for every model.
SHARED = ("digits",)


class Digits(NamedTuple):
    """The digits, split. `train` (1297, p) and `test` (500, p) over the kept pixels, 0 to 1; `kept` (64,) bool;
    `blank` (64,), the constant value of each dropped pixel, zero elsewhere; `test_labels` (500,), 0 … 9."""

    train: NDArray[np.float64]
    test: NDArray[np.float64]
    kept: NDArray[np.bool_]
    blank: NDArray[np.float64]
    test_labels: NDArray[np.int64]

    def image(self, pixels: NDArray[np.float64]) -> NDArray[np.float64]:
        """Kept pixels (..., p) as whole images (..., 64), the dropped ones at their constant value."""
        whole = np.broadcast_to(self.blank, (*pixels.shape[:-1], 64)).copy()
        whole[..., self.kept] = pixels
        return whole

    def binary(self, pixels: NDArray[np.float64]) -> NDArray[np.float64]:
        """Kept pixels (..., p) as whole images (..., 64) of 0 and 1: ink where the intensity is 1/2 or more."""
        return (self.image(pixels) >= 0.5).astype(np.float64)


@functools.cache
def digits() -> Digits:
    """The digits, scaled and split; the arrays are read-only.

    Examples
    --------
    >>> d = digits()
    >>> d.train.shape, d.test.shape, (~d.kept).nonzero()[0].tolist()
    ((1297, 61), (500, 61), [0, 32, 39])
    """
    from sklearn.datasets import load_digits  # here: a fresh process that needs no digits stays small (kind "scaling")

    images, labels = load_digits(return_X_y=True)
    images = images / 16.0
    order = np.random.default_rng(SPLIT_SEED).permutation(len(images))
    train, test = images[order[:N_TRAIN]], images[order[N_TRAIN:]]
    kept = np.ptp(train, axis=0) > 0
    blank = np.where(kept, 0.0, train[0])
    arrays = (np.ascontiguousarray(train[:, kept]), np.ascontiguousarray(test[:, kept]), kept, blank)
    for array in arrays:
        array.flags.writeable = False
    return Digits(*arrays, labels[order[N_TRAIN:]])


# -- models by name -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ModelEntry:
    """How a suite names a model: its options, the data it takes, and how it is made.

    `make(options, data)` gives the model and the rows it is measured on, (n, p).
    """

    name: str
    summary: str
    options: Mapping[str, Option]
    data: tuple[str, ...]
    make: Callable[[Mapping[str, Any], str], tuple[Any, NDArray[np.float64]]]

    def check_data(self, data: str, where: str) -> None:
        """A SuiteError if the model does not go with this data set."""
        if data not in self.data:
            fail(where, f"does not go with data {data!r}; it takes {', '.join(self.data)}")


_LATENT = {
    "n_latents": Option(int, 1, 64, "latent dimensions", default=2),
    "n_observed": Option(int, 1, 4096, 'observed dimensions, for data = "sample" (default 8)'),
    "seed": Option(int, 0, 2**31, "of the simulated weights and data, or of the rotation after a fit", default=0),
}
_MIXTURE = {
    "n_latents": Option(int, 1, 64, "dimensions of z", default=3),
    "n_components": Option(int, 1, 64, "Gaussians in the mixture", default=4),
    "seed": Option(int, 0, 2**31, "of the means, variances and data", default=0),
}
_CLUSTERS = {
    "n_latents": Option(int, 1, 60, "directions within a component", default=2),
    "n_components": Option(int, 1, 64, "components", default=10),
    "n_observed": Option(int, 1, 4096, 'observed dimensions, for data = "sample" (default 8)'),
    "seed": Option(int, 0, 2**31, "of the start of the fit, or of the simulated parameters and data", default=0),
}
_SEED = {"seed": Option(int, 0, 2**31, "of the example's parameters and data", default=0)}


def _simulated(options: Mapping[str, Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Random weights (p, d), standard normal over sqrt(d), and a mean (p,)."""
    p, d = options.get("n_observed", 8), options["n_latents"]
    generator = np.random.default_rng([options["seed"], p, d])
    return generator.standard_normal((p, d)) / np.sqrt(d), generator.standard_normal(p)


def _make_ppca(options: Mapping[str, Any], data: str) -> tuple[Any, NDArray[np.float64]]:
    if data == "digits":
        fitted = library.PPCA.fit(digits().train, options["n_latents"], rotation_seed=options["seed"])
        return fitted, digits().test
    weights, mean = _simulated(options)
    model = library.PPCA(weights, mean, 0.25)
    return model, model.sample(16, options["seed"])


def _make_ppca_mixture(options: Mapping[str, Any], data: str) -> tuple[Any, NDArray[np.float64]]:
    sizes = {name: options[name] for name in ("n_latents", "n_components")}
    if data == "digits":
        fitted = library.PPCAMixture.fit(digits().train, **sizes, seed=options["seed"], noise_floor=NOISE_FLOOR)
        return fitted, digits().test
    return library.PPCAMixture.example(options["seed"], **sizes, n_observed=options.get("n_observed", 8))


def _make_factor_analysis(options: Mapping[str, Any], data: str) -> tuple[Any, NDArray[np.float64]]:
    if data == "digits":
        fitted = library.FactorAnalysis.fit(
            digits().train, options["n_latents"], rotation_seed=options["seed"], noise_floor=NOISE_FLOOR
        )
        return fitted, digits().test
    weights, mean = _simulated(options)
    model = library.FactorAnalysis(weights, mean, np.linspace(0.1, 0.5, len(mean)))
    return model, model.sample(16, options["seed"])


def _network(kind: str, likelihood: str) -> ModelEntry:
    """A variational autoencoder that was trained on the digits."""

    def make(options: Mapping[str, Any], data: str) -> tuple[Any, NDArray[np.float64]]:
        held_out = digits().test
        rows = digits().binary(held_out) if likelihood == "Bernoulli" else held_out
        return networks.vae(kind, options["n_latents"]), rows

    allowed = networks.sizes(kind)
    latents = Option(int, min(allowed), max(allowed), f"latent dimensions: {allowed}", default=min(allowed))
    summary = f"variational autoencoder of the digits, {likelihood} pixels, trained beforehand"
    return ModelEntry(kind, summary, {"n_latents": latents}, ("digits",), make)


def _make_mixture_target(options: Mapping[str, Any], data: str) -> tuple[Any, NDArray[np.float64]]:
    sizes = {name: options[name] for name in ("n_latents", "n_components")}
    return library.GaussianMixtureTarget.example(options["seed"], **sizes)


def _example(name: str) -> ModelEntry:
    kind: Any = library.REGISTRY[name]
    return ModelEntry(name, kind.summary, _SEED, ("sample",), lambda options, data: kind.example(options["seed"]))


_BOTH = ("digits", "sample")
#: Models with an entry of their own.
_FITTED = ("ppca", "ppca_mixture", "factor_analysis", "mixture_target")

#: Models a suite may name: those that are fitted to the digits, and the example of every other.
MODELS = {
    entry.name: entry
    for entry in (
        ModelEntry("ppca", library.PPCA.summary, _LATENT, _BOTH, _make_ppca),
        ModelEntry("ppca_mixture", library.PPCAMixture.summary, _CLUSTERS, _BOTH, _make_ppca_mixture),
        ModelEntry("factor_analysis", library.FactorAnalysis.summary, _LATENT, _BOTH, _make_factor_analysis),
        ModelEntry(
            "mixture_target", library.GaussianMixtureTarget.summary, _MIXTURE, ("sample",), _make_mixture_target
        ),
        _network("vae_bernoulli", "Bernoulli"),
        _network("vae_gaussian", "Gaussian"),
        *(_example(name) for name in library.REGISTRY if name not in _FITTED),
    )
}


class Subject(NamedTuple):
    """A model with the rows it is measured on, (n, p), and the seconds that fitting it took."""

    model: Any
    X: NDArray[np.float64]
    seconds: float


@functools.lru_cache(maxsize=64)
def _build(name: str, options: tuple[tuple[str, Any], ...], data: str) -> Subject:
    start = time.perf_counter()
    model, X = _from_file(dict(options)) if data == FILE else MODELS[name].make(dict(options), data)
    return Subject(model, np.atleast_2d(X), time.perf_counter() - start)


def _from_file(options: Mapping[str, Any]) -> tuple[Any, NDArray[np.float64]]:
    """The model of a user's file and its rows; the file's proposal is the model's own."""
    given = model_file.load(options["file"])
    if given.fingerprint != options["fingerprint"]:
        raise InputError(f"{options['file']} was edited while the suite ran; run the same command again")
    model = given.model
    if given.proposal is not None:
        model = copy.copy(model)
        object.__setattr__(model, "default_proposal", _Own(given.proposal))
    return model, np.asarray(given.x, dtype=np.float64)


@dataclass(frozen=True)
class _Own:
    """A user's proposal, or function x → proposal, as a model's default."""

    proposal: Any

    def __call__(self, x: NDArray[np.float64], widen: float | None = None) -> Any:
        if widen is not None:
            raise InputError("a proposal of the user's own has no width to set")
        return self.proposal if isinstance(self.proposal, Proposal) else self.proposal(x)


def exact(model: Any, x: NDArray[np.float64]) -> float | None:
    """The exact log p(x) of one row, (p,); None where the model does not know it. InputError where a user's
    log_marginal cannot say it.

    >>> exact(library.ConjugateNormal(), np.zeros(1)) == library.ConjugateNormal().log_marginal([0.0])
    True
    """
    found = exact_or_why(model, x)
    return None if isinstance(found, str) else found


def exact_or_why(model: Any, x: NDArray[np.float64]) -> float | str:
    """The exact log p(x) of one row, (p,); where there is none, why: the model has no such function, or it refuses.

    >>> exact_or_why(library.VAE.example(n_latents=3)[0], np.zeros(12))
    'this VAE has 3 latents, and quadrature certifies log p(x) for 1 or 2'
    """
    known = getattr(model, "log_marginal", None)
    if known is None:
        return "the model has no log_marginal"
    try:
        return float(known(x))
    except NotAvailableError as error:
        return str(error).partition("; ")[0]
    except (ArithmeticError, AssertionError, LookupError, TypeError, ValueError) as error:
        raise InputError(
            f"log_marginal, called with x of shape {np.shape(x)}, raised {type(error).__name__}: {error}; it must take "
            "(p,) → float and (n, p) → (n,). logpx check says more"
        ) from error


def build(name: str, options: Mapping[str, Any], data: str) -> Subject:
    """The model of this name and these options on this data; the same object for the same request.

    Examples
    --------
    >>> subject = build("ppca", {"n_latents": 2, "seed": 0}, "digits")
    >>> subject.model.n_latents, subject.X.shape
    (2, (500, 61))
    """
    return _build(name, tuple(sorted(options.items())), data)


def take(subject: Subject, row: int) -> NDArray[np.float64]:
    """Row `row` of the subject's data, (p,).

    Raises
    ------
    InputError
        There is no such row.
    """
    if not 0 <= row < len(subject.X):
        raise InputError(f"row {row} was asked for; the data has rows 0 to {len(subject.X) - 1}")
    return np.ascontiguousarray(subject.X[row])
