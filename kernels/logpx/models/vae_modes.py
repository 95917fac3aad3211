r"""Where the posterior of a variational autoencoder has its modes, for a proposal.

log p(x, z) is raised by Fisher scoring from several starts: z ← z + (I + JᵀFJ)^{−1} ∇ log p(x, z), with J the
derivatives of the decoder's outputs and F the Fisher information of the likelihood in them. The matrix is the expected
curvature and at least the prior's, and its inverse the covariance of a Laplace approximation. Starts are the encoder's
mean, where there is one, and draws of the prior; several may end at the same mode. Source: M. R. Osborne (1992), Int.
Stat. Rev. 60, 99-117, for the scoring. Cost: some ten evaluations of the decoder, with derivatives, a row and start.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import scipy

from logpx.models.mlp import FUNCTIONS
from logpx.proposals.base import Floats

if TYPE_CHECKING:
    from logpx.models.vae import VAE

softplus = FUNCTIONS["softplus"]
#: Share of the prior in the default proposal, and of what is dealt out evenly among the modes that are found.
PRIOR_SHARE, EVEN_SHARE = 0.05, 0.1
#: Points of the prior that a search for a mode starts from the best of; its steps, and how often each is halved.
N_STARTS, N_STEPS, N_HALVINGS = 256, 60, 8
#: Nats by which log p(x, z) may fall in a step: rounding must not decide where a search ends.
SLACK = 1e-9
#: Steps at which a search ends; how near, in standard deviations, two modes are one.
SMALL_STEP, NEAR = 1e-8, 0.1


def starts(model: VAE, rows: Floats) -> Floats:
    """Where searches for modes begin, (s, n, d)."""
    points = np.random.default_rng(0).standard_normal((N_STARTS, model.n_latents))
    tops = model.log_likelihood(rows, points) - 0.5 * (points**2).sum(axis=1)
    quadrants = (points[:, :2] > 0) @ np.array([1, 2])[: min(2, model.n_latents)]
    found = [points[np.where(quadrants == k, tops, -np.inf).argmax(axis=1)] for k in np.unique(quadrants)]
    return np.stack([model.encoded(rows)[0], *found] if model.encoder is not None else found)


def search(model: VAE, rows: Floats) -> tuple[Floats, Floats, Floats]:
    """Modes of every row and standard deviations there, (n, s, d) each, and log p(x, z) less a constant, (n, s)."""
    begin = starts(model, rows)
    modes, scales, tops = laplace(model, np.tile(rows, (len(begin), 1)), begin.reshape(-1, model.n_latents))
    modes, scales = (np.moveaxis(part.reshape(begin.shape), 0, 1) for part in (modes, scales))
    return modes, scales, tops.reshape(begin.shape[:2]).T


def narrowest(model: VAE, rows: Floats) -> float:
    """The least standard deviation, in any direction, of the Laplace approximations at all modes of all rows."""
    modes, _, _ = search(model, rows)
    n, s, d = modes.shape
    information = slopes(model, np.repeat(rows, s, axis=0), modes.reshape(n * s, d))[1]
    return float(1 / np.sqrt(np.linalg.eigvalsh(information)[:, -1].max()))


def laplace(model: VAE, rows: Floats, z: Floats) -> tuple[Floats, Floats, Floats]:
    """Modes of log p(x_i, ·) near z_i, standard deviations there, (n, d) each, and log p(x, z) less a constant.

    Fisher scoring, each step halved until log p(x, z) rises; a row whose steps have become small stays where it is.
    The information I + JᵀFJ, F that of the decoder's outputs and J their derivatives, is the expected curvature; it
    is never below the prior's, and its inverse gives the standard deviations.
    """
    z, going = z.copy(), np.arange(len(rows))
    for _ in range(N_STEPS):
        x, at = rows[going], z[going]
        gradients, information = slopes(model, x, at)
        step, height = np.linalg.solve(information, gradients[:, :, None])[:, :, 0], heights(model, x, at)
        for _ in range(N_HALVINGS):
            better = heights(model, x, at + step) >= height - SLACK
            if better.all():
                break
            step = np.where(better[:, None], step, 0.5 * step)
        z[going] = at + np.where(better[:, None], step, 0.0)
        going = going[np.abs(step).max(axis=1) > SMALL_STEP]
        if len(going) == 0:
            break
    covariance = np.linalg.inv(slopes(model, rows, z)[1])
    return z, np.sqrt(np.diagonal(covariance, axis1=1, axis2=2)), heights(model, rows, z)


def heights(model: VAE, rows: Floats, z: Floats) -> Floats:
    """log p(x_i, z_i), up to a constant, row by row: (n,)."""
    means, scales = model.halves(z)
    if scales is None:
        return np.asarray((rows * means - softplus(means)).sum(axis=1) - 0.5 * (z * z).sum(axis=1))
    terms = -np.log(scales) - 0.5 * ((rows - means) / scales) ** 2
    return np.asarray(terms.sum(axis=1) - 0.5 * (z * z).sum(axis=1))


def slopes(model: VAE, rows: Floats, z: Floats) -> tuple[Floats, Floats]:
    """Gradients of log p(x_i, z_i), (n, d), and the information (n, d, d)."""
    outputs, jacobian = model.decoder.with_jacobian(z)
    means, scales = model.halves(z)
    if scales is None:
        chances = scipy.special.expit(outputs)
        score, fisher = rows - chances, chances * (1 - chances)
    else:
        e = (rows - means) / scales
        score, fisher = e / scales, np.broadcast_to(scales**-2.0, means.shape)
        if isinstance(model.scale, str):
            raw = outputs[:, model.n_observed :]
            growth = 0.5 + 0 * raw if model.scale == "log_variance" else scipy.special.expit(raw) / scales
            score = np.concatenate([score, (e * e - 1) * growth], axis=1)
            fisher = np.concatenate([fisher, 2 * growth**2], axis=1)
    gradient = np.einsum("nj,njk->nk", score, jacobian) - z
    return gradient, np.eye(model.n_latents) + np.einsum("nj,njk,njl->nkl", fisher, jacobian, jacobian)


def shares(modes: Floats, scales: Floats, tops: Floats) -> Floats:
    """Weights (n, s + 1) of s modes (n, s, d), by their Laplace approximations, and of the prior.

    A mode that was found more than once has its weight in as many parts.
    """
    apart = np.abs(modes[:, :, None] - modes[:, None]) / scales[:, :, None]
    once = 1 / (apart.max(axis=3) < NEAR).sum(axis=2)
    logs = tops + np.log(scales).sum(axis=2)
    masses = once * np.exp(logs - logs.max(axis=1, keepdims=True))
    masses, even = (part / part.sum(axis=1, keepdims=True) for part in (masses, once))
    parts = (1 - PRIOR_SHARE) * ((1 - EVEN_SHARE) * masses + EVEN_SHARE * even)
    return np.append(parts, np.full((len(parts), 1), PRIOR_SHARE), axis=1)
