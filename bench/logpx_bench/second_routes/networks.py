"""Variational autoencoders of one or two latents: a forward pass written out, and a grid over the latents.

    p(x) = ∫ N(z; 0, I) p(x given z) dz,   z in (−9, 9)^d,

by Gauss-Legendre rules of 8 nodes in 60 panels a side: with two latents 230,400 nodes, 0.04 apart on average, each with
one forward pass for all rows of x. Panels that hold more than e^−40 of some row's integral are halved along each axis,
until no row moves by more than 1e-10 nats: the step follows the posterior, whose standard deviation must be 0.02 or
more to be seen. What lies outside the square is below 4e-19 of the largest likelihood.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

Floats = NDArray[np.float64]

#: Half a side of the square, panels a side, nodes a panel, and nodes that are looked at together.
REACH, N_PANELS, ORDER, PIECE = 9.0, 60, 8, 2**15
#: Share of a row's integral, in nats, below which a panel is left; change at which a row is; most halvings.
LEFT, STILL, MOST_HALVINGS = 40.0, 1e-10, 5
#: Activations, as their definitions read.
FUNCTIONS: Mapping[str, Callable[[Floats], Any]] = {
    "identity": lambda a: a,
    "relu": lambda a: np.where(a > 0, a, 0),
    "tanh": np.tanh,
    "gelu": lambda a: a * (1 + special.erf(a / np.sqrt(2))) / 2,
    "gelu_tanh": lambda a: a / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (a + 0.044715 * a**3))),
    "softplus": lambda a: np.log1p(np.exp(-np.abs(a))) + np.maximum(a, 0),
    "sigmoid": lambda a: 1 / (1 + np.exp(-a)),
    "silu": lambda a: a / (1 + np.exp(-a)),
}


def forward(network: Any, inputs: Floats) -> Floats:
    """Outputs (n, n_outputs) of a multilayer perceptron at inputs (n, n_inputs)."""
    h = inputs
    for weights, bias, name in zip(network.weights, network.biases, network.activations, strict=True):
        h = FUNCTIONS[name](np.inner(h, weights) + bias)
    return h


def log_likelihoods(model: Any, X: Floats, Z: Floats) -> Floats:
    """log p(x given z) of every row of X (n, p) at every row of Z (m, d), (n, m)."""
    outputs, p = forward(model.decoder, Z), X.shape[1]
    if model.likelihood == "bernoulli":
        bernoulli: Floats = X @ outputs.T - FUNCTIONS["softplus"](outputs).sum(axis=1)
        return bernoulli
    means, scale = outputs[:, :p], model.scale
    if isinstance(scale, str):
        raw = outputs[:, p:]
        scale = np.exp(raw / 2) if scale == "log_variance" else np.log1p(np.exp(raw))
    scale = np.broadcast_to(scale, means.shape)
    normal = [-0.5 * (((x - means) / scale) ** 2).sum(axis=1) for x in X]
    return np.array(normal) - np.log(scale * math.sqrt(2 * math.pi)).sum(axis=1)


def vae(model: Any, X: Floats) -> Any:
    """The sum over all panels, of which those that matter are halved until it stays."""
    d, width = model.n_latents, 2 * REACH / N_PANELS
    corners = _tuples(np.arange(N_PANELS) * width - REACH, d)
    done, value = np.full(len(X), -np.inf), np.full(len(X), np.inf)
    for _ in range(MOST_HALVINGS + 1):
        parts = _integrals(model, X, corners, width)
        before, value = value, np.logaddexp(done, special.logsumexp(parts, axis=1))
        if np.all(np.abs(value - before) < STILL):
            break
        matter = np.any(parts > value[:, None] - LEFT, axis=0)
        done = np.logaddexp(done, special.logsumexp(np.where(matter, -np.inf, parts), axis=1))
        width /= 2
        corners = (corners[matter][:, None] + width * _tuples(np.arange(2.0), d)).reshape(-1, d)
    return value


def _integrals(model: Any, X: Floats, corners: Floats, width: float) -> Floats:
    """Log integral of p(x, z) over each panel, (n, panels), by its lower corner (panels, d)."""
    d = corners.shape[1]
    nodes, weights = np.polynomial.legendre.leggauss(ORDER)
    inside = width * (_tuples(nodes, d) + 1) / 2
    mass = np.log(_tuples(width * weights / 2, d)).sum(axis=1)
    together, parts = max(PIECE // len(inside), 1), []
    for start in range(0, len(corners), together):
        z = (corners[start : start + together, None] + inside).reshape(-1, d)
        logs = log_likelihoods(model, X, z) - 0.5 * (z**2).sum(axis=1) - 0.5 * d * math.log(2 * math.pi)
        parts.append(special.logsumexp(logs.reshape(len(X), -1, len(inside)) + mass, axis=2))
    return np.concatenate(parts, axis=1)


def _tuples(side: NDArray[np.floating[Any]], d: int) -> Floats:
    """All d-tuples of the numbers of one side, (len(side)^d, d)."""
    return np.stack(np.meshgrid(*[side] * d, indexing="ij"), axis=-1).reshape(-1, d)
