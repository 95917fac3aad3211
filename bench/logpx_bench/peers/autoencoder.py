r"""The data of the autoencoder cases: a decoder d → 128 → 64 with tanh, binary pixels, and an answer that is known.

    z ~ N(0, I_d),   a = b_2 + W_2 tanh(b_1 + W_1 z),   x_j given z ~ Bernoulli(σ(a_j)),   q = N(m(x), s² I)

W_1 = V Qᵀ with Q (d, 2) of orthonormal columns: the decoder sees only two directions of the latents, which nobody makes
use of. The others integrate to 1, so that log p(x) is an integral over two numbers whatever d is, and a lattice of
spacing 0.05 gives it to rounding, as it does E_q[w²]; the d − 2 other directions are a factor s²/√(2 s² − 1) each of
that.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

Array = NDArray[np.float64]

N_HIDDEN, N_PIXELS = 128, 64
REACH, SPACING = 8.0, 0.05
#: Standard deviations of q that are tried: all above √½, below which weights have no variance.
SCALES = np.linspace(0.75, 1.5, 16)


def autoencoder(d: int, n_rows: int) -> Mapping[str, Any]:
    """Decoder, rows of x, proposal, and the right answers, as `cases` has them."""
    rng = np.random.default_rng([24, d])
    directions = np.linalg.qr(rng.normal(size=(d, 2)))[0]
    V, b1 = rng.normal(size=(N_HIDDEN, 2)), rng.normal(size=N_HIDDEN) * 0.5
    W2, b2 = rng.normal(size=(N_PIXELS, N_HIDDEN)) * (1.5 / math.sqrt(N_HIDDEN)), rng.normal(size=N_PIXELS) * 0.5
    chances = special.expit(b2 + np.tanh(b1 + rng.normal(size=(n_rows, 2)) @ V.T) @ W2.T)
    X = (rng.random(chances.shape) < chances).astype(float)
    axis = np.arange(-REACH, REACH + SPACING / 2, SPACING)
    nodes = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)
    logits = b2 + np.tanh(b1 + nodes @ V.T) @ W2.T
    joint = X @ logits.T - (np.maximum(logits, 0) + np.log1p(np.exp(-np.abs(logits)))).sum(axis=1)
    joint += -0.5 * (nodes**2).sum(axis=1) - math.log(2 * math.pi)
    cell = 2 * math.log(SPACING)
    exact = special.logsumexp(joint, axis=1) + cell
    centres = np.exp(joint + cell - exact[:, None]) @ nodes
    spreads = [_chi2(joint, exact, nodes, centres, float(s), d) for s in SCALES]
    best = int(np.argmin([spread.max() for spread in spreads]))
    scale = np.full(d, SCALES[best])
    arrays = {"W1": V @ directions.T, "b1": b1, "W2": W2, "b2": b2, "X": X, "exact": exact, "chi2": spreads[best]}
    arrays |= {"proposal_mean": centres @ directions.T, "proposal_scale": scale}
    numbers = {
        "constant": -0.5 * d * math.log(2 * math.pi),
        "log_q_constant": -0.5 * d * math.log(2 * math.pi) - float(np.log(scale).sum()),
    }
    return arrays | numbers


def _chi2(joint: Array, exact: Array, nodes: Array, centres: Array, s: float, d: int) -> Array:
    """χ²(posterior‖q) of every row: E_q[w²]/p(x)² − 1."""
    squares = ((nodes - centres[:, None]) ** 2).sum(axis=2) / s**2
    log_q = -0.5 * squares - math.log(2 * math.pi * s * s)
    second = special.logsumexp(2 * joint - log_q, axis=1) + 2 * math.log(SPACING) - 2 * exact
    return np.asarray(np.expm1(second + (d - 2) * math.log(s * s / math.sqrt(2 * s * s - 1))))
