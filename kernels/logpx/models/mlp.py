r"""A multilayer perceptron: the network of a variational autoencoder, in NumPy and for kernels.

    h_0 = input,   h_l = a_l(b_l + W_l h_{l−1}),   l = 1 … L

with W_l (n_l, n_{l−1}), one activation a_l for each layer, by name (`logpx.activations`), "identity" among them. In
NumPy rows are samples, and everything is float64, by SciPy's functions. `forward` is for kernels: a strip of samples,
sample index innermost, a layer at a time from one buffer to another (`logpx.dense`), in the precision of the block;
which activation a layer has is looked up once a layer and strip. Cost: Σ_l n_l n_{l−1} multiply-adds and Σ_l n_l
activations a sample.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy
from numpy.typing import ArrayLike

from logpx import _jit, dense
from logpx.activations import ACTIVATIONS, activate
from logpx.errors import InputError
from logpx.proposals.base import Floats, Integers, as_floats, set_fields

_ROOT_TWO_OVER_PI = np.sqrt(2 / np.pi)
#: Activations in NumPy.
FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "identity": lambda a: a,
    "relu": lambda a: np.maximum(a, 0.0),
    "tanh": np.tanh,
    "gelu": lambda a: a * scipy.special.ndtr(a),
    "gelu_tanh": lambda a: 0.5 * a * (1 + np.tanh(_ROOT_TWO_OVER_PI * (a + 0.044715 * a**3))),
    "softplus": lambda a: np.maximum(a, 0.0) + np.log1p(np.exp(-np.abs(a))),
    "sigmoid": lambda a: scipy.special.expit(a),
    "silu": lambda a: a * scipy.special.expit(a),
}
#: Their derivatives.
SLOPES: dict[str, Callable[[Any], Any]] = {
    "identity": np.ones_like,
    "relu": lambda a: np.where(a > 0, 1.0, 0.0),
    "tanh": lambda a: 1 - np.tanh(a) ** 2,
    "gelu": lambda a: scipy.special.ndtr(a) + a * np.exp(-0.5 * a * a) / np.sqrt(2 * np.pi),
    "gelu_tanh": lambda a: _gelu_tanh_slope(a, np.tanh(_ROOT_TWO_OVER_PI * (a + 0.044715 * a**3))),
    "softplus": lambda a: scipy.special.expit(a),
    "sigmoid": lambda a: scipy.special.expit(a) * scipy.special.expit(-a),
    "silu": lambda a: scipy.special.expit(a) * (1 + a * scipy.special.expit(-a)),
}


def _gelu_tanh_slope(a: Floats, t: Floats) -> Floats:
    return 0.5 * (1 + t) + 0.5 * a * (1 - t * t) * _ROOT_TWO_OVER_PI * (1 + 3 * 0.044715 * a * a)


@dataclass(frozen=True, eq=False, init=False)
class Network:
    """A multilayer perceptron.

    Parameters
    ----------
    weights : sequence of arrays (n_l, n_{l−1})
        W of each layer, from the input on: outputs by inputs, as PyTorch has them. (Flax's kernels are the transposes.)
    biases : sequence of arrays (n_l,)
    activations : sequence of str, or str
        One for each layer; or one for all but the last, which then has none.

    Raises
    ------
    InputError
        Shapes that do not fit, entries that are not finite, an activation that there is not.

    Examples
    --------
    >>> network = Network([[[1.0], [2.0]], [[1.0, 1.0]]], [[0.0, 0.0], [0.5]], "relu")
    >>> network([[1.0], [-1.0]])
    array([[3.5],
           [0.5]])
    """

    weights: tuple[Floats, ...]
    biases: tuple[Floats, ...]
    activations: tuple[str, ...]

    def __init__(
        self, weights: Sequence[ArrayLike], biases: Sequence[ArrayLike], activations: Sequence[str] | str = "tanh"
    ) -> None:
        matrices = tuple(as_floats(f"weights[{i}]", one, n_axes=(2,)) for i, one in enumerate(weights))
        shifts = tuple(as_floats(f"biases[{i}]", one, n_axes=(1,)) for i, one in enumerate(biases))
        n = len(matrices)
        names = (activations,) * (n - 1) + ("identity",) if isinstance(activations, str) else tuple(activations)
        if n == 0 or not n == len(shifts) == len(names):
            raise InputError(
                f"{n} weights, {len(shifts)} biases and {len(names)} activations do not fit; give one of each a layer"
            )
        for i, name in enumerate(names):
            if name not in ACTIVATIONS:
                raise InputError(f"activations[{i}] is {name!r}; it is one of {', '.join(ACTIVATIONS)}")
            n_in = matrices[i - 1].shape[0] if i else matrices[0].shape[1]
            n_out = len(shifts[i])
            if matrices[i].shape != (n_out, n_in):
                raise InputError(
                    f"weights[{i}] has shape {matrices[i].shape}; beside what comes before and {n_out} biases it must "
                    f"be (outputs, inputs) = ({n_out}, {n_in})"
                    + ("; it looks transposed" if matrices[i].shape == (n_in, n_out) else "")
                )
        set_fields(self, weights=matrices, biases=shifts, activations=names)

    @property
    def n_inputs(self) -> int:
        """Length of an input."""
        return self.weights[0].shape[1]

    @property
    def n_outputs(self) -> int:
        """Length of an output."""
        return self.weights[-1].shape[0]

    def __call__(self, inputs: ArrayLike) -> Floats:
        """Outputs (..., n_outputs) of inputs (..., n_inputs)."""
        h = np.asarray(inputs, dtype=np.float64)
        for weights, bias, name in zip(self.weights, self.biases, self.activations, strict=True):
            h = FUNCTIONS[name](h @ weights.T + bias)
        return h

    def with_jacobian(self, inputs: Floats) -> tuple[Floats, Floats]:
        """Outputs (n, n_outputs) of inputs (n, n_inputs), and their derivatives (n, n_outputs, n_inputs)."""
        h = inputs
        slope = np.broadcast_to(np.eye(self.n_inputs), (len(inputs), self.n_inputs, self.n_inputs))
        for weights, bias, name in zip(self.weights, self.biases, self.activations, strict=True):
            a = h @ weights.T + bias
            h, slope = FUNCTIONS[name](a), SLOPES[name](a)[:, :, None] * (weights @ slope)
        return h, slope

    def packed(self) -> tuple[Floats, Integers]:
        """What `forward` takes: its numbers, layer by layer; and L, then inputs, outputs, activation of each layer."""
        layers = zip(self.weights, self.biases, self.activations, strict=True)
        sizes = [[w.shape[1], w.shape[0], ACTIVATIONS.index(name)] for w, _, name in layers]
        numbers = [dense.packed_layer(w, b) for w, b in zip(self.weights, self.biases, strict=True)]
        return np.concatenate(numbers), np.array([len(sizes), *np.ravel(sizes)], dtype=np.int64)


@_jit.leaf
def widest(dims, first, n_inputs):
    """Rows that a buffer needs for the network whose sizes begin at dims[first]."""
    width = n_inputs
    for layer in range(dims[first]):
        width = max(width, dims[first + 2 + 3 * layer])
    return (width + dense.ROWS - 1) // dense.ROWS * dense.ROWS


@_jit.inner
def forward(theta, at, dims, first, here, there):
    """The outputs for one strip of inputs, in one of two buffers of `dense.room`, the first of which holds the inputs.

    Numbers begin at theta[at], sizes at dims[first].
    """
    length = dense.strip_length(here)
    for layer in range(dims[first]):
        n_in, n_out = dims[first + 1 + 3 * layer], dims[first + 2 + 3 * layer]
        dense.multiply(theta, at, n_in, n_out, here, there)
        activate(dims[first + 3 + 3 * layer], there[: n_out * length])
        at += (n_out + dense.ROWS - 1) // dense.ROWS * dense.ROWS * (n_in + 1)
        here, there = there, here
    return here


def forward_scalar(theta, at, dims, first, z):
    """The outputs for one sample, a product at a time."""
    h = [float(one) for one in z]
    for layer in range(dims[first]):
        n_in, n_out, code = dims[first + 1 + 3 * layer : first + 4 + 3 * layer]
        after = []
        for r in range(n_out):
            row = at + r // dense.ROWS * dense.ROWS * (n_in + 1) + r % dense.ROWS
            total = theta[row]
            for k in range(n_in):
                total += theta[row + dense.ROWS * (k + 1)] * h[k]
            after.append(FUNCTIONS[ACTIVATIONS[code]](total))
        h, at = after, at + dense.n_numbers(n_in, n_out)
    return h
