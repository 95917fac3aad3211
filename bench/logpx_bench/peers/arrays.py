r"""Chains of arrays in NumPy, with buffers that are made once and filled again: what the NumPy family of peers shares.

A chain draws chunks of noise ε, sets z = m + s ε, and takes log w = log p(x, z) − log q(z) with log q(z) = c_q − ½|ε|².
The chunks' weights are reduced as running pairs (largest, Σ exp(l − largest)); threads take equal shares of the
samples, each with a generator and buffers of its own, and NumPy releases the interpreter's lock in all of it. Matrix
products then have one thread each (`blas_threads`); where there is no pool they may use all.

Layouts: "aos" keeps the numbers of a sample together, (n, d); "soa" those of a dimension, (d, n).
"""

import importlib
import math
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from logpx_bench.peers.base import Run, Variant, in_threads
from logpx_bench.peers.cases import Case, Data

Array = NDArray[Any]
#: log p(x_row, z) of a chunk, into out: f(row, z, out).
LogJoint = Callable[[int, Array, Array], Any]

GENERATORS = ("SFC64", "PCG64", "Philox", "MT19937")


class Pair(NamedTuple):
    """A running log-sum-exp: Σ exp of all so far = total · exp(largest)."""

    largest: float
    total: float

    def and_(self, other: "Pair") -> "Pair":
        """Both together."""
        high = max(self.largest, other.largest)
        return Pair(high, self.total * math.exp(self.largest - high) + other.total * math.exp(other.largest - high))

    @property
    def log(self) -> float:
        """log Σ exp."""
        return self.largest + math.log(self.total)


NOTHING = Pair(-math.inf, 0.0)


def pair_of(logs: Array) -> Pair:
    """The pair of an array, which is overwritten."""
    high = float(logs.max())
    logs -= logs.dtype.type(high)
    np.exp(logs, out=logs)
    return Pair(high, float(logs.sum()))


def together(pairs: Iterable[Pair]) -> Pair:
    """All pairs as one."""
    result = Pair(-math.inf, 0.0)
    for one in pairs:
        result = one if result.total == 0.0 else result.and_(one)
    return result


def blas_threads(run: Run, threads: int) -> Run:
    """The run with every BLAS of the process held to so many threads, at each call: variants that ask for one, and for
    all, stand prepared beside one another, and a BLAS knows but one number of threads."""
    import threadpoolctl

    importlib.import_module("scipy.linalg.cython_blas")  # brings along the BLAS that compiled Numba calls
    controllers = threadpoolctl.ThreadpoolController().lib_controllers
    libraries = [one for one in controllers if one.user_api == "blas"]

    def call(seed: int) -> Any:
        for one in libraries:
            if one.num_threads != threads:
                one.set_num_threads(threads)
        return run.call(seed)

    return Run(call, run.n)


def generator(name: str, seed: int, share: int) -> np.random.Generator:
    """The generator of one thread's share."""
    return np.random.Generator(getattr(np.random, name)([seed, share]))


def fill_normals(rng: np.random.Generator, kind: str, out: Array, spare: Array) -> None:
    """Standard normals into out (contiguous), by the library or by Box–Muller; `spare` is as large as out."""
    if kind == "library":
        rng.standard_normal(out=out, dtype=out.dtype)
        return
    flat, work = out.reshape(-1), spare.reshape(-1)
    half = (flat.size + 1) // 2
    radius, turn = work[:half], work[half : 2 * half] if flat.size % 2 == 0 else np.empty(half, out.dtype)
    rng.random(out=radius, dtype=out.dtype)
    rng.random(out=turn, dtype=out.dtype)
    np.negative(radius, out=radius)
    np.log1p(radius, out=radius)
    radius *= -2
    np.sqrt(radius, out=radius)
    turn *= out.dtype.type(2 * np.pi)
    np.cos(turn, out=flat[:half])
    np.sin(turn[: flat.size - half], out=flat[half:])
    flat[:half] *= radius
    flat[half:] *= radius[: flat.size - half]


def shape(layout: str, d: int, n: int) -> tuple[int, int]:
    """Of an array of n samples of d numbers."""
    return (n, d) if layout == "aos" else (d, n)


def squares(layout: str, a: Array, out: Array) -> Array:
    """Σ over dimensions of a², into out (n,)."""
    return np.einsum("ij,ij->i" if layout == "aos" else "ij,ij->j", a, a, out=out)


def linear_log_joint(case: Case, dtype: str, layout: str, form: str, n: int) -> LogJoint:
    """log p(x, z) of a linear Gaussian model: "direct" by p residuals, or "reduced" by d (see `cases`)."""
    data = case.data
    deviation = np.sqrt(data["noise"])
    if form == "direct":
        matrix, targets = data["W"] / deviation[:, None], (data["X"] - data["mu"]) / deviation
        constants = np.full(len(targets), data["constant"])
    else:
        matrix, targets, constants = data["R"], data["T"], data["reduced_constant"]
    factor = np.ascontiguousarray((matrix.T if layout == "aos" else matrix).astype(dtype))
    target = targets.astype(dtype)
    residual, spare = np.empty(shape(layout, len(matrix), n), dtype), np.empty(n, dtype)

    def log_joint(row: int, z: Array, out: Array) -> None:
        if layout == "aos":
            np.matmul(z, factor, out=residual)
            np.subtract(target[row], residual, out=residual)
        else:
            np.matmul(factor, z, out=residual)
            np.subtract(target[row][:, None], residual, out=residual)
        squares(layout, residual, out)
        out += squares(layout, z, spare)
        out *= -0.5
        out += dtype_of(out)(constants[row])

    return log_joint


def dtype_of(a: Array) -> Any:
    """The scalar type of an array."""
    return a.dtype.type


def mixture_log_joint(case: Case, dtype: str, layout: str, form: str, n: int) -> LogJoint:
    """log p(z) of the mixture: "direct" component by component, or "matmul" with the squares multiplied out."""
    data: Data = case.data
    m, v = data["m"], data["v"]
    constant = data["log_pi"] - 0.5 * np.log(2 * np.pi * v).sum(axis=1)
    axis = 1 if layout == "aos" else 0
    parts = np.empty(shape(layout, len(m), n), dtype)
    along = parts.T if layout == "aos" else parts
    work, high = np.empty(shape(layout, m.shape[1], n), dtype), np.empty(n, dtype)
    linear, square = (m / v).astype(dtype), (-0.5 / v).astype(dtype)
    level = (constant - 0.5 * (m**2 / v).sum(axis=1)).astype(dtype)
    means, roots = m.astype(dtype), np.sqrt(0.5 / v).astype(dtype)
    if layout == "aos":
        linear, square = np.ascontiguousarray(linear.T), np.ascontiguousarray(square.T)
    second = np.empty_like(parts)

    def multiplied(z: Array) -> None:
        np.multiply(z, z, out=work)
        if layout == "aos":
            np.matmul(z, linear, out=parts)
            parts.__iadd__(np.matmul(work, square, out=second)).__iadd__(level)
        else:
            np.matmul(linear, z, out=parts)
            parts.__iadd__(np.matmul(square, work, out=second)).__iadd__(level[:, None])

    def one_by_one(z: Array) -> None:
        for k in range(len(m)):
            mean, root = (means[k], roots[k]) if layout == "aos" else (means[k][:, None], roots[k][:, None])
            np.subtract(z, mean, out=work)
            np.multiply(work, root, out=work)
            squares(layout, work, along[k])
            np.subtract(dtype_of(work)(constant[k]), along[k], out=along[k])

    def log_joint(row: int, z: Array, out: Array) -> None:
        (multiplied if form == "matmul" else one_by_one)(z)
        np.max(parts, axis=axis, out=high)
        np.subtract(parts, high[:, None] if layout == "aos" else high, out=parts)
        np.exp(parts, out=parts)
        np.sum(parts, axis=axis, out=out)
        np.log(out, out=out)
        np.add(out, high, out=out)
        out += dtype_of(out)(data["log_evidence"])

    return log_joint


def vae_log_joint(case: Case, dtype: str, layout: str, form: str, n: int) -> LogJoint:
    """log p(x, z) of the autoencoder: log(1 + e^a) "direct", or its factors "multiplied" before one logarithm."""
    data, across = case.arrays(dtype), layout == "aos"
    kind, axis = np.dtype(dtype).type, 1 if layout == "aos" else 0
    W1, W2 = ((data[name].T.copy() if across else data[name].copy()) for name in ("W1", "W2"))
    b1, b2 = ((data[name] if across else data[name][:, None]) for name in ("b1", "b2"))
    hidden, logits = (np.empty(shape(layout, len(data[name]), n), dtype) for name in ("b1", "b2"))
    work, spare = np.empty_like(logits), np.empty(n, dtype)

    def times(matrix: Array, samples: Array, out: Array) -> None:
        first, second = (samples, matrix) if across else (matrix, samples)
        np.matmul(first, second, out=out)

    def log_joint(row: int, z: Array, out: Array) -> None:
        times(W1, z, hidden)
        np.tanh(np.add(hidden, b1, out=hidden), out=hidden)
        times(W2, hidden, logits)
        np.add(logits, b2, out=logits)
        times(data["X"][row], logits, out)
        if form == "direct":
            np.logaddexp(kind(0), logits, out=work)
            out -= np.sum(work, axis=axis, out=spare)
        else:
            np.maximum(logits, kind(0), out=work)
            out -= np.sum(work, axis=axis, out=spare)
            np.exp(np.negative(np.abs(logits, out=work), out=work), out=work)
            np.prod(np.add(work, kind(1), out=work), axis=axis, out=spare)
            out -= np.log(spare, out=spare)
        squares(layout, z, spare)
        out -= np.multiply(spare, kind(0.5), out=spare)
        out += kind(data["constant"])

    return log_joint


def log_joint_of(case: Case, dtype: str, layout: str, form: str, n: int) -> LogJoint:
    """Of the case's model, for chunks of n samples; with buffers of its own, so one a thread."""
    return LOG_JOINTS[case.model](case, dtype, layout, form, n)


LOG_JOINTS = {"linear": linear_log_joint, "mixture": mixture_log_joint, "vae": vae_log_joint}


def chain(case: Case, dtype: str, threads: int, variant: Variant, make_log_joint: Any = log_joint_of) -> Run:
    """The whole chain in chunks, `threads` equal shares of it beside one another."""
    layout, data = variant["layout"], case.arrays(dtype)
    share = case.n // threads
    n = min(variant["chunk"], share)
    workers = [_share_of_chain(case, data, dtype, variant, n, share, layout, make_log_joint) for _ in range(threads)]
    seeds = [0]
    go = in_threads(lambda i: workers[i](seeds[0], i), threads, threads)

    def call(seed: int) -> float:
        seeds[0] = seed
        return together(go()).log - math.log(threads * (share // n) * n)

    return Run(call, threads * (share // n) * n)


def _share_of_chain(case, data, dtype, variant, n, share, layout, make_log_joint):  # type: ignore[no-untyped-def] # one caller
    d = len(data["proposal_scale"])
    eps, z = (np.empty(shape(layout, d, n), dtype) for _ in range(2))
    logs, spare = np.empty(n, dtype), np.empty(n, dtype)
    log_joint = make_log_joint(case, dtype, layout, variant.get("form", "direct"), n)
    constant = dtype_of(logs)(data["log_q_constant"])
    scale = data["proposal_scale"] if layout == "aos" else data["proposal_scale"][:, None]

    def work(seed: int, number: int) -> Pair:
        rng, row, pairs = generator(variant["generator"], seed, number), case.row(seed), []
        mean = data["proposal_mean"][row] if layout == "aos" else data["proposal_mean"][row][:, None]
        for _ in range(share // n):
            fill_normals(rng, variant["normals"], eps, z)
            np.multiply(eps, scale, out=z)
            np.add(z, mean, out=z)
            log_joint(row, z, logs)
            squares(layout, eps, spare)
            np.multiply(spare, dtype_of(spare)(0.5), out=spare)
            np.add(logs, spare, out=logs)
            np.subtract(logs, constant, out=logs)
            pairs.append(pair_of(logs))
        return together(pairs)

    return work
