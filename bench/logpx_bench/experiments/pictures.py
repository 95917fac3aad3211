"""What each model makes of the held-out digits: reconstructions, samples, log p(x). A function a model.

A reconstruction is what the model holds x to be once z is known as well as it can be, E[x given z] at

    PPCA, factor analysis   z = E[z given x] = (I + Wᵀ Ψ⁻¹ W)⁻¹ Wᵀ Ψ⁻¹ (x − mean)
                            (Tipping and Bishop, 1999, doi:10.1111/1467-9868.00196)
    mixture of PPCA         the same in each component, averaged by the components' probabilities given x
    VAE                     z = the mean of the encoder's q(z given x)
    PCA                     the orthogonal projection: no distribution, so no samples and no p(x)
    autoencoder             z = encoder(x): no distribution either

log p(x) is exact (closed form, or certified quadrature for one or two latents of a VAE) or, for a VAE of more latents,
an estimate from the model's default proposal, with its standard error.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

import logpx
from logpx import quadrature
from logpx_bench import data, networks
from logpx_bench.experiments.base import Cell, Resources, stream_seed

Array = NDArray[np.float64]
#: Pareto k̂ above which an estimate of log p(x) and its standard error are not to be trusted.
UNSURE = 0.7
#: A noise variance of up to this many times the floor stands on it: one that is trained comes near and never there.
AT_FLOOR = 1.01


@dataclass(frozen=True)
class Picture:
    """Whole images (n, 64) as the model sees them and as it reconstructs them; samples (m, 64), and log p(x) of the
    images scored, in nats, where it has them; `facts`, numbers that belong to these, by name."""

    seen: Array
    reconstruction: Array
    sample: Array | None = None
    log_p: Array | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)


def pca(cell: Cell, resources: Resources) -> Picture:
    """Projection on the leading principal components."""
    digits = data.digits()
    mean = digits.train.mean(axis=0)
    _, _, components = np.linalg.svd(digits.train - mean, full_matrices=False)
    basis = components[: cell.model_options["n_latents"]]
    return Picture(digits.image(digits.test), digits.image(mean + (digits.test - mean) @ basis.T @ basis))


def autoencoder(cell: Cell, resources: Resources) -> Picture:
    """decoder(encoder(x))."""
    digits, net = data.digits(), networks.autoencoder(cell.model_options["n_latents"])
    return Picture(digits.image(digits.test), digits.image(net.reconstruct(digits.test)))


def linear(cell: Cell, resources: Resources) -> Picture:
    """PPCA and factor analysis."""
    model = _model(cell)
    facts = at_floor(model.noise_variances) if hasattr(model, "noise_variances") else {}
    return _grey(cell, model, reconstruct(model, data.digits().test), facts)


def mixture(cell: Cell, resources: Resources) -> Picture:
    """Mixture of PPCA."""
    model, X = _model(cell), data.digits().test
    joint = [np.log(share) + one.log_marginal(X) for share, one in zip(model.mixing, model.components, strict=True)]
    shares = scipy.special.softmax(np.stack(joint), axis=0)
    parts = np.stack([reconstruct(one, X) for one in model.components])
    least = min(one.noise_variance for one in model.components)
    return _grey(cell, model, np.einsum("kn,knp->np", shares, parts), at_floor(np.full(X.shape[1], least)))


def vae(cell: Cell, resources: Resources) -> Picture:
    """Variational autoencoders of both likelihoods."""
    subject, digits = data.build(cell.model, cell.model_options, cell.data), data.digits()
    model, scored = subject.model, subject.X[: cell.settings["n_scored"]]
    whole = digits.image if subject.X.shape[1] != 64 else np.asarray
    facts: dict[str, Any] = {} if model.scale is None else at_floor(np.square(model.scale))
    if model.n_latents <= quadrature.MOST_LATENTS:
        certified = model.quadrature(scored)
        log_p, facts["max_error"] = certified.required(), [float(np.max(certified.error))]
    else:
        seed = stream_seed("gallery", cell.seed)
        estimate = logpx.estimate(model, scored, n_samples=cell.n_samples, seed=seed, threads=resources.threads)
        unsure = np.asarray(estimate.pareto_k, np.float64) > UNSURE
        log_p, facts["std_error"] = estimate.log_marginal, np.asarray(estimate.std_error)
        facts["n_unsure"] = [int(unsure.sum())]
    reconstruction = model.decode(model.encoder_proposal(subject.X).mean)
    sample = np.asarray(model.sample(cell.settings["n_shown"], cell.seed))
    return Picture(whole(subject.X), whole(reconstruction), whole(sample), np.asarray(log_p), facts)


def at_floor(noise_variances: Array) -> dict[str, list[int]]:
    """How many pixels' noise variances (p,) stand on the floor that fitting keeps them above.

    >>> at_floor(data.NOISE_FLOOR * np.array([1.0, 1.005, 1.1]))
    {'n_at_floor': [2]}
    """
    return {"n_at_floor": [int(np.sum(noise_variances <= AT_FLOOR * data.NOISE_FLOOR))]}


def reconstruct(model: Any, X: Array) -> Array:
    """mean + W E[z given x] for rows x of X (n, p)."""
    noise = model.noise_variances if hasattr(model, "noise_variances") else model.noise_variance
    scaled = model.weights / np.broadcast_to(noise, model.mean.shape)[:, None]
    precision = np.eye(model.weights.shape[1]) + scaled.T @ model.weights
    latents = np.linalg.solve(precision, scaled.T @ (X - model.mean).T)
    return np.asarray(model.mean + latents.T @ model.weights.T)


def _model(cell: Cell) -> Any:
    return data.build(cell.model, cell.model_options, cell.data).model


def _grey(cell: Cell, model: Any, reconstruction: Array, facts: Mapping[str, Any]) -> Picture:
    """The picture of a model of the kept pixels with a closed form."""
    digits = data.digits()
    sample = digits.image(np.asarray(model.sample(cell.settings["n_shown"], cell.seed)))
    log_p = np.asarray(model.log_marginal(digits.test[: cell.settings["n_scored"]]))
    return Picture(digits.image(digits.test), digits.image(reconstruction), sample, log_p, facts)


#: How each model is pictured. Those without p(x) come by themselves; the others are named by a suite.
WITHOUT_DENSITY: Mapping[str, Callable[[Cell, Resources], Picture]] = {"pca": pca, "autoencoder": autoencoder}
WITH_DENSITY: Mapping[str, Callable[[Cell, Resources], Picture]] = {
    "ppca": linear,
    "factor_analysis": linear,
    "ppca_mixture": mixture,
    "vae_gaussian": vae,
    "vae_bernoulli": vae,
}
