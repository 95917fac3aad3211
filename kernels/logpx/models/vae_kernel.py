r"""The log joint of a variational autoencoder as a kernel; the model and its formulas are in `logpx.models.vae`.

A strip of samples goes through the decoder (`logpx.models.mlp.forward`); then its outputs are taken pixel by pixel. A
Bernoulli pixel adds x a − max(a, 0) to a sum and multiplies a product by 1 + e^{−|a|} ≤ 2; every 64 pixels a logarithm
is taken of the product, which neither overflows nor is below 1. A Gaussian pixel adds to a sum of squares. Every 64
pixels the sums, in the block's precision, go into the float64 result.
"""

import math

import numpy as np

from logpx import _jit, dense, tiles, vecmath
from logpx.activations import exp_minus32
from logpx.models.mlp import forward, forward_scalar, widest

#: Likelihoods, as dims have them.
BERNOULLI, FIXED, LOG_VARIANCE, SOFTPLUS = range(4)
#: Pixels whose terms are added, and whose factors are multiplied, before they go into the float64 sum.
TOGETHER = 64


@_jit.leaf
def _factor(size):
    """1 + e^{−size} for size ≥ 0, in float64."""
    return 1.0 + vecmath.exp_narrow(-(size if size < 700.0 else 700.0))


@_jit.leaf
def _factor32(size):
    return np.float32(1.0) + exp_minus32(size)


@_jit.leaf
def _bernoulli(pixel, logits, factor, total, product):
    """total += x a − max(a, 0); product *= 1 + e^{−|a|}."""
    zero = logits.dtype.type(0.0)
    for i in range(total.size):
        a = logits[i]
        total[i] += pixel * a - (a if a > zero else zero)
        product[i] *= factor(abs(a))


@_jit.leaf
def _bernoulli_four(pixels, p0, p1, p2, p3, factor, total, product):
    """The same for four pixels: one load and store of sums for four."""
    x0, x1, x2, x3 = pixels
    zero = p0.dtype.type(0.0)
    for i in range(total.size):
        a, b, c, d = p0[i], p1[i], p2[i], p3[i]
        low = (x0 * a - (a if a > zero else zero)) + (x1 * b - (b if b > zero else zero))
        high = (x2 * c - (c if c > zero else zero)) + (x3 * d - (d if d > zero else zero))
        total[i] += low + high
        product[i] *= (factor(abs(a)) * factor(abs(b))) * (factor(abs(c)) * factor(abs(d)))


@_jit.leaf
def _bernoulli_pixels(x, p, values, factor, sums, out):
    """out += log p(x given z) of one strip of Bernoulli pixels."""
    length = dense.strip_length(values)
    total, product = sums[:length], sums[length : 2 * length]
    rows = values.reshape(values.size // length, length)
    for first in range(0, p, TOGETHER):
        last = min(first + TOGETHER, p)
        for j in range(first, last - 3, 4):
            pixels = x[j], x[j + 1], x[j + 2], x[j + 3]
            _bernoulli_four(pixels, rows[j], rows[j + 1], rows[j + 2], rows[j + 3], factor, total, product)
        for j in range(last - last % 4, last):
            _bernoulli(x[j], rows[j], factor, total, product)
        _settle_bernoulli(total, product, out)


@_jit.leaf
def _settle_bernoulli(total, product, out):
    for i in range(out.size):
        out[i] += np.float64(total[i]) - vecmath.log(np.float64(product[i]))
    for i in range(total.size):
        total[i] = 0.0
        product[i] = 1.0


@_jit.leaf
def _gaussian_fixed(pixel, root, means, total):
    for i in range(total.size):
        e = (pixel - means[i]) * root
        total[i] += e * e


@_jit.leaf
def _gaussian_log_variance(pixel, means, raw, total):
    for i in range(total.size):
        e = np.float64(pixel - means[i])
        total[i] += raw[i] + e * e * vecmath.exp(-np.float64(raw[i]))


@_jit.leaf
def _gaussian_softplus(pixel, means, raw, total):
    for i in range(total.size):
        scale = vecmath.softplus(np.float64(raw[i]))
        e = np.float64(pixel - means[i]) / scale
        total[i] += 2.0 * vecmath.log(scale) + e * e


@_jit.leaf
def _settle_gaussian(total, out):
    for i in range(out.size):
        out[i] -= 0.5 * np.float64(total[i])
    for i in range(total.size):
        total[i] = 0.0


@_jit.inner
def _gaussian_pixels(kind, theta, x, p, values, sums, out):
    """out += log p(x given z) of one strip of Gaussian pixels, but for its constant."""
    length = dense.strip_length(values)
    total = sums[:length]
    for j in range(p):
        pixel, means = x[j], values[j * length : (j + 1) * length]
        if kind == FIXED:
            _gaussian_fixed(pixel, theta[2 + j], means, total)
        else:
            raw = values[(p + j) * length : (p + j + 1) * length]
            if kind == LOG_VARIANCE:
                _gaussian_log_variance(pixel, means, raw, total)
            else:
                _gaussian_softplus(pixel, means, raw, total)
        if j % TOGETHER == TOGETHER - 1 or j == p - 1:
            _settle_gaussian(total, out)


@_jit.kernel("log_joint", dtypes=("float64", "float32"))
def log_joint(theta, dims, x, z, out):
    """theta: constant in two parts, 1/s (p,) where it is fixed, the decoder; dims: p, likelihood, the decoder's."""
    p, kind, d = dims[0], dims[1], z.shape[0]
    constant: float = np.float64(theta[0]) + np.float64(theta[1])
    zero = z.dtype.type(0.0)
    if kind == BERNOULLI:
        for j in range(p):
            constant = constant if x[j] == 0.0 or x[j] == 1.0 else -np.inf
    at, length, width = 2 + (p if kind == FIXED else 0), dense.strip_length(z), widest(dims, 2, d)
    here, there, sums = dense.room(width, z), dense.room(width, z), dense.room(2, z)
    for i in range(length):
        sums[length + i] = 1.0
    for start in range(0, out.size, length):
        n = min(length, out.size - start)
        strip = out[start : start + n]
        for i in range(n):
            strip[i] = constant
        for k in range(d):
            latent = here[k * length : (k + 1) * length]
            for i in range(n):
                latent[i] = z[k, start + i]
                strip[i] -= 0.5 * np.float64(latent[i] * latent[i])
            for i in range(n, length):
                latent[i] = zero
        values = forward(theta, at, dims, 2, here, there)
        if kind != BERNOULLI:
            _gaussian_pixels(kind, theta, x, p, values, sums, strip)
        elif tiles.is_double(z):
            _bernoulli_pixels(x, p, values, _factor, sums, strip)
        else:
            _bernoulli_pixels(x, p, values, _factor32, sums, strip)


def log_joint_scalar(theta, dims, x, z):
    """log p(x, z) of one sample, z (d,): the same quantity, one number at a time."""
    p, kind = dims[0], dims[1]
    value = theta[0] + theta[1]
    for latent in z:
        value -= 0.5 * latent * latent
    outputs = forward_scalar(theta, 2 + (p if kind == FIXED else 0), dims, 2, z)
    for j in range(p):
        if kind == BERNOULLI:
            if x[j] not in (0, 1):
                return -np.inf
            value -= float(np.logaddexp(0.0, outputs[j] if x[j] == 0 else -outputs[j]))
        elif kind == FIXED:
            value -= 0.5 * ((x[j] - outputs[j]) * theta[2 + j]) ** 2
        else:
            raw = outputs[p + j]
            scale = math.exp(0.5 * raw) if kind == LOG_VARIANCE else np.logaddexp(0.0, raw)
            value -= math.log(scale) + 0.5 * ((x[j] - outputs[j]) / scale) ** 2
    return value
