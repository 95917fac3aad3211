r"""All 2^d states of a layer of binary units: what the two models of binary latents enumerate.

    S(z) = Σ_j log(1 + exp(b_j + Σ_k W_jk z_k)),   z ∈ {0, 1}^d, in the order Σ_k z_k 2^k

Neighbours in a Gray code differ in one bit, so that the p activations of a state are those of the state before, plus or
minus one column of W: p additions where a product costs p d. 64 states that differ in the first six bits go side by
side, which makes every step packed instructions; every 1024 steps the activations are worked out anew, so that rounding
does not add up. Σ_j log(1 + e^η) = Σ_j max(η, 0) + log Π_j (1 + e^{−|η|}): one logarithm for up to 512 units, whose
product cannot overflow. Source: F. Gray (1953), US patent 2,632,058. A state costs p additions and p exponentials; 2^24
states 128 MB for the result.
"""

import numpy as np
from numba import types

from logpx import _jit, vecmath
from logpx.proposals.base import Floats

#: Most units of an enumerated layer.
MOST_UNITS = 24
#: Units whose factors 1 + e^{−|η|} ≤ 2 are multiplied before a logarithm is taken.
FACTORS = 512
_LANE_BITS, _REFRESH = 6, 1024


@_jit.leaf
def take_factor(activation, change, edge, product):
    """η += change; edge += max(η, 0); product *= 1 + exp(−|η|)."""
    for i in range(edge.size):
        value = activation[i] + change
        activation[i] = value
        edge[i] += value if value > 0.0 else 0.0
        product[i] *= 1.0 + vecmath.exp(-abs(value))


@_jit.leaf
def settle_factors(edge, product):
    """edge += log product; product = 1."""
    for i in range(edge.size):
        edge[i] += vecmath.log(product[i])
        product[i] = 1.0


@_jit.inner
def _start(weights, bias, state, activations):
    """Activations of the states `state` + lane, (p, lanes)."""
    p, d = weights.shape
    for j in range(p):
        for lane in range(activations.shape[1]):
            value = bias[j]
            for k in range(d):
                value += weights[j, k] if ((state + lane) >> k) & 1 == 1 else 0.0
            activations[j, lane] = value


@_jit.compiled(types.void(types.float64[:, ::1], types.float64[::1], types.float64[::1]))
def _fill(weights, bias, out):
    p, d = weights.shape
    lane_bits = min(d, _LANE_BITS)
    lanes = 1 << lane_bits
    activations, product = np.empty((p, lanes)), np.ones(lanes)
    for step in range(1 << (d - lane_bits)):
        code = step ^ (step >> 1)
        state = code << lane_bits
        anew, bit = step % _REFRESH == 0, 0
        if anew:
            _start(weights, bias, state, activations)
        while step > 0 and (step >> bit) & 1 == 0:
            bit += 1
        sign = 0.0 if anew else 2.0 * ((code >> bit) & 1) - 1.0
        column = 0 if anew else lane_bits + bit
        edge = out[state : state + lanes]
        for lane in range(lanes):
            edge[lane] = 0.0
        for j in range(p):
            take_factor(activations[j], sign * weights[j, column], edge, product)
            if j % FACTORS == FACTORS - 1 or j == p - 1:
                settle_factors(edge, product)


def softplus_sums(weights: Floats, bias: Floats) -> Floats:
    """S(z) of all states, (2^d,), for weights (p, d), d up to 24, and bias (p,).

    Examples
    --------
    >>> softplus_sums(np.array([[1.0, -1.0]]), np.array([0.0])).round(4)
    array([0.6931, 1.3133, 0.3133, 0.6931])
    """
    out = np.empty(1 << weights.shape[1])
    _fill(np.array(weights, order="C"), np.array(bias), out)
    return out


def linear(slopes: Floats) -> Floats:
    """Σ_k slopes_k z_k of all states, (2^d,) for slopes (d,), by doubling: 2^d additions.

    Examples
    --------
    >>> linear(np.array([1.0, 10.0]))
    array([ 0.,  1., 10., 11.])
    """
    values = np.zeros(1)
    for slope in slopes:
        values = np.concatenate([values, values + slope])
    return values


def unpacked(states: np.ndarray, n_units: int) -> Floats:
    """States as rows of zeros and ones, (n, d)."""
    bits: Floats = (states[:, None] >> np.arange(n_units) & 1).astype(np.float64)
    return bits
