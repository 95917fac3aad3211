# ruff: noqa: NPY002 (np.random is what Numba knows, and what is written first)
"""The loops of the plain Numba peer, as one would write them: `np.random` or a NumPy generator, `math.exp`.

Factories, because a variant fixes the options that its functions are compiled with; compiled once a variant.
"""

import math
from typing import Any

import numba
import numpy as np


def jit(fast: bool) -> Any:
    """The decorator: releases the lock; `fast` gives up the exact order of sums."""
    return numba.njit(nogil=True, fastmath=fast, error_model="numpy")


def normals(kind: str, fast: bool) -> Any:
    """fill(rng, out) of a flat array; kind: "np.random", "Generator" or "box-muller"."""

    @jit(fast)
    def by_global(rng: Any, out: Any) -> None:
        for i in range(out.size):
            out[i] = np.random.standard_normal()

    @jit(fast)
    def by_generator(rng: Any, out: Any) -> None:
        for i in range(out.size):
            out[i] = rng.standard_normal()

    @jit(fast)
    def by_box_muller(rng: Any, out: Any) -> None:
        for i in range(0, out.size - 1, 2):
            radius, turn = math.sqrt(-2.0 * math.log(1.0 - rng.random())), 2.0 * math.pi * rng.random()
            out[i], out[i + 1] = radius * math.cos(turn), radius * math.sin(turn)

    return {"np.random": by_global, "Generator": by_generator, "box-muller": by_box_muller}[kind]


def uniforms(kind: str, fast: bool) -> Any:
    """fill(rng, out) of a flat array."""

    @jit(fast)
    def by_global(rng: Any, out: Any) -> None:
        for i in range(out.size):
            out[i] = np.random.random()

    @jit(fast)
    def by_generator(rng: Any, out: Any) -> None:
        for i in range(out.size):
            out[i] = rng.random()

    return {"np.random": by_global, "Generator": by_generator}[kind]


def linear(layout: str, fast: bool) -> Any:
    """log_joint(parameters, z, out) with parameters (target, matrix, constant): see `cases`; z (n, d) or (d, n)."""

    @jit(fast)
    def aos(parameters: Any, z: Any, out: Any) -> None:
        target, matrix, constant = parameters
        for i in range(z.shape[0]):
            total = z.dtype.type(0)
            for k in range(z.shape[1]):
                total += z[i, k] * z[i, k]
            for j in range(target.size):
                residual = target[j]
                for k in range(z.shape[1]):
                    residual -= matrix[j, k] * z[i, k]
                total += residual * residual
            out[i] = constant - z.dtype.type(0.5) * total

    @jit(fast)
    def soa(parameters: Any, z: Any, out: Any) -> None:
        target, matrix, constant = parameters
        n = z.shape[1]
        residual = np.empty(n, z.dtype)
        out[:] = 0
        for k in range(z.shape[0]):
            for i in range(n):
                out[i] += z[k, i] * z[k, i]
        for j in range(target.size):
            residual[:] = target[j]
            for k in range(z.shape[0]):
                for i in range(n):
                    residual[i] -= matrix[j, k] * z[k, i]
            for i in range(n):
                out[i] += residual[i] * residual[i]
        for i in range(n):
            out[i] = constant - z.dtype.type(0.5) * out[i]

    return {"aos": aos, "soa": soa}[layout]


def mixture(layout: str, fast: bool) -> Any:
    """log_joint(parameters, z, out) with parameters (constants, m, 1/v, evidence)."""

    @jit(fast)
    def aos(parameters: Any, z: Any, out: Any) -> None:
        constants, m, inverse, evidence = parameters
        parts = np.empty(constants.size, z.dtype)
        for i in range(z.shape[0]):
            for c in range(constants.size):
                total = z.dtype.type(0)
                for k in range(z.shape[1]):
                    total += (z[i, k] - m[c, k]) ** 2 * inverse[c, k]
                parts[c] = constants[c] - z.dtype.type(0.5) * total
            high = parts.max()
            total = z.dtype.type(0)
            for c in range(constants.size):
                total += math.exp(parts[c] - high)
            out[i] = evidence + high + math.log(total)

    @jit(fast)
    def soa(parameters: Any, z: Any, out: Any) -> None:
        constants, m, inverse, evidence = parameters
        n = z.shape[1]
        parts = np.empty((constants.size, n), z.dtype)
        for c in range(constants.size):
            part = parts[c]
            part[:] = 0
            for k in range(z.shape[0]):
                for i in range(n):
                    off = z[k, i] - m[c, k]
                    part[i] += off * off * inverse[c, k]
            for i in range(n):
                part[i] = constants[c] - z.dtype.type(0.5) * part[i]
        for i in range(n):
            high, total = parts[0, i], z.dtype.type(0)
            for c in range(1, constants.size):
                high = max(high, parts[c, i])
            for c in range(constants.size):
                total += math.exp(parts[c, i] - high)
            out[i] = evidence + high + math.log(total)

    return {"aos": aos, "soa": soa}[layout]


def exponentials(fast: bool) -> Any:
    """exp(x, out, times): again and again."""

    @jit(fast)
    def loop(x: Any, out: Any, times: int) -> None:
        for _ in range(times):
            for i in range(x.size):
                out[i] = math.exp(x[i])

    return loop


def log_sum_exp(fast: bool) -> Any:
    """Of an array: the largest, then a sum."""

    @jit(fast)
    def loop(x: Any) -> float:
        high = x[0]
        for i in range(x.size):
            high = max(high, x[i])
        total = 0.0
        for i in range(x.size):
            total += math.exp(x[i] - high)
        return high + math.log(total)

    return loop


def chain(layout: str, fast: bool, fill: Any, log_joint: Any) -> Any:
    """run(rng, seed, n_chunks, mean, scale, constant, parameters, eps, z, logs): largest and Σ exp(l − largest)."""
    soa = layout == "soa"

    @jit(fast)
    def run(
        rng: Any,
        seed: int,
        n_chunks: int,
        mean: Any,
        scale: Any,
        constant: float,
        parameters: Any,
        eps: Any,
        z: Any,
        logs: Any,
    ) -> Any:
        np.random.seed(seed)
        flat, half = eps.reshape(-1), z.dtype.type(0.5)
        high, total = -math.inf, 0.0
        for _ in range(n_chunks):
            fill(rng, flat)
            n, d = logs.size, mean.size
            if soa:
                for k in range(d):
                    for i in range(n):
                        z[k, i] = mean[k] + scale[k] * eps[k, i]
            else:
                for i in range(n):
                    for k in range(d):
                        z[i, k] = mean[k] + scale[k] * eps[i, k]
            log_joint(parameters, z, logs)
            if soa:
                for k in range(d):
                    for i in range(n):
                        logs[i] += half * eps[k, i] * eps[k, i]
            else:
                for i in range(n):
                    for k in range(d):
                        logs[i] += half * eps[i, k] * eps[i, k]
            largest = logs.max()
            part = 0.0
            for i in range(n):
                part += math.exp(logs[i] - largest)
            if largest > high:
                total = total * math.exp(high - largest) + part
                high = largest
            else:
                total += part * math.exp(largest - high)
        return high - constant, total

    return run
