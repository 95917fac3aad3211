r"""What JAX computes in the race, as its compiler likes it best: random numbers, log weights, running log-sum-exp.

Arrays are structures of arrays, latents first: (d, n) or (d, rows, lanes), or (n, d). A chunk is summed up by
`jax.nn.logsumexp`, or in lanes: the carried maximum M and sum s have one entry a lane, s ← s e^{M − M'} + Σ_rows e^{l −
M'}, and lanes meet once, at the end. XLA adds up an axis that is contiguous one number at a time, waiting for each, and
an axis before it many lanes abreast.

Normals are those of `jax.random.normal` (inverse error function), Box–Muller (1958, doi:10.1214/aoms/1177706645) on
`jax.random.uniform` by `jnp.cos` and `jnp.sin`, or Box–Muller on uniforms made of `jax.random.bits` with the sine and
cosine below. Those of XLA reduce any argument to a quadrant; with turns u in [0, 1) there is nothing to reduce, and
Taylor's polynomials up to an eighth of a turn are enough.

Imports JAX at the top: only for those who know that it is there.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from logpx_bench.peers.base import Run, Variant, in_threads
from logpx_bench.peers.cases import Case

jax.config.update("jax_enable_x64", True)

#: Lanes of a running log-sum-exp.
LANES = 1024
#: Terms of the two polynomials, past the first: enough for the last bit.
TERMS = {"float64": 8, "float32": 4}


def compiled(function: Callable[..., Any], variant: Variant) -> Callable[..., Any]:
    """`jax.jit`, with vectors of 512 bits where the variant asks for them; the function itself where it is eager."""
    if variant.get("mode") == "eager":
        return function
    wide = {"xla_cpu_prefer_vector_width": 512} if variant.get("vectors") == "512-bit vectors" else None
    return jax.jit(function, compiler_options=wide)


# -- random numbers -----------------------------------------------------------------------------------------------


def sine_cosine(turns: Any) -> tuple[Any, Any]:
    """Sine and cosine of 2π turns, 0 ≤ turns ≤ 1."""
    dtype = turns.dtype.type
    quarters = dtype(4) * turns
    nearest = jnp.floor(quarters + dtype(0.5))
    quadrant = nearest.astype(jnp.int32)
    angle = dtype(math.pi / 2) * (quarters - nearest)
    square = angle * angle
    sine = cosine = dtype(0)
    for k in range(TERMS[turns.dtype.name], 0, -1):
        sine = (sine + dtype((-1) ** k / math.factorial(2 * k + 1))) * square
        cosine = (cosine + dtype((-1) ** k / math.factorial(2 * k))) * square
    sine, cosine = angle + angle * sine, dtype(1) + cosine
    odd = (quadrant & 1) == 1
    up, right = jnp.where(odd, cosine, sine), jnp.where(odd, sine, cosine)
    return jnp.where((quadrant & 2) == 2, -up, up), jnp.where(((quadrant + 1) & 2) == 2, -right, right)


def uniform_pairs(key: Any, shape: tuple[int, ...], dtype: str) -> tuple[Any, Any]:
    """Two arrays of uniform numbers, the first above 0: of 53 bits each, or in float32 the halves of one word."""
    if dtype == "float64":
        words = jax.random.bits(key, (2, *shape), jnp.uint64)
        numbers = (words >> np.uint64(11)).astype(jnp.int64).astype(jnp.float64) * 2.0**-53
        return numbers[0] + 2.0**-54, numbers[1]
    word = jax.random.bits(key, shape, jnp.uint64)
    high, low = (word >> np.uint64(32)).astype(jnp.uint32), word.astype(jnp.uint32)
    fine = np.float32(2**-32)
    return high.astype(jnp.float32) * fine + fine / 2, (low >> np.uint32(8)).astype(jnp.float32) * np.float32(2**-24)


def normals(key: Any, shape: tuple[int, ...], axis: int, dtype: str, how: str) -> list[Any]:
    """Standard normal numbers in one or two arrays, which together have `shape` if joined along `axis`."""
    if how == "library":
        return [jax.random.normal(key, shape, dtype)]
    half = tuple(size // 2 if i == axis else size for i, size in enumerate(shape))
    if how == "box-muller, own sine":
        first, second = uniform_pairs(key, half, dtype)
        sine, cosine = sine_cosine(second)
    else:
        second, missing = jax.random.uniform(key, (2, *half), dtype)
        first, angle = 1 - missing, second * (2 * math.pi)
        sine, cosine = jnp.sin(angle), jnp.cos(angle)
    radius = jnp.sqrt(-2 * jnp.log(first))
    return [radius * cosine, radius * sine]


# -- log joints ---------------------------------------------------------------------------------------------------


def squares(rows: list[Any]) -> Any:
    """Σ_j rows_j², for a list of arrays."""
    return sum((row * row for row in rows[1:]), rows[0] * rows[0])


def linear_terms(data: dict[str, Any], row: Any, reduced: bool) -> tuple[Any, Any, Any]:
    """(A, b, c) of a linear Gaussian log joint, c − ½|b − A z|² − ½|z|², for a row of x."""
    if reduced:
        return data["R"], data["T"][row], data["reduced_constant"][row]
    scale = 1 / np.sqrt(data["noise"])
    return data["W"] * scale[:, None], (data["X"][row] - data["mu"]) * scale, data["constant"]


def log_joint_linear(terms: tuple[Any, Any, Any], latents: list[Any], unrolled: bool) -> Any:
    """Log joint of latents that come as a list of d arrays, or as one (d, …) to be multiplied as a matrix."""
    A, b, c = terms
    if not unrolled:
        z = latents[0]
        rest = jnp.expand_dims(b, tuple(range(1, z.ndim))) - jnp.tensordot(jnp.asarray(A), z, 1)
        return c - 0.5 * ((rest * rest).sum(0) + (z * z).sum(0))
    zero = np.asarray(A) == 0
    rest = []
    for i in range(len(A)):
        entries = [A[i, j] * latents[j] for j in range(len(latents)) if not zero[i, j]]
        rest.append(b[i] - sum(entries[1:], entries[0]))
    return c - 0.5 * (squares(rest) + squares(latents))


def mixture_terms(data: dict[str, Any]) -> tuple[Any, Any, Any]:
    """(A, B, c), log evidence + log π_k N(z; m_k, v_k) = c_k + B_k·z + A_k·z²."""
    m, v = data["m"].astype(np.float64), data["v"].astype(np.float64)
    c = data["log_evidence"] + data["log_pi"] - 0.5 * (m * m / v + np.log(2 * np.pi * v)).sum(1)
    return tuple(array.astype(data["m"].dtype) for array in (-0.5 / v, m / v, c))


def log_joint_mixture(terms: tuple[Any, Any, Any], z: Any, axis: int) -> Any:
    """Log joint of latents (d, …) or (…, d) by two matrix products; components end on the latents' axis."""
    A, B, c = terms
    if axis == 0:
        logs = jnp.tensordot(A, z * z, 1) + jnp.tensordot(B, z, 1) + jnp.expand_dims(c, tuple(range(1, z.ndim)))
    else:
        logs = (z * z) @ A.T + z @ B.T + c
    high = logs.max(axis, keepdims=True)
    return jnp.squeeze(high, axis) + jnp.log(jnp.exp(logs - high).sum(axis))


def log_joint_vae(data: dict[str, Any], x: Any, multiplied: bool, z: Any, axis: int) -> Any:
    """Log joint of the autoencoder's latents (d, …) or (…, d), as in `arrays.vae_log_joint`."""
    if axis == 0:
        over = (slice(None), *[None] * (z.ndim - 1))
        hidden = jnp.tanh(jnp.tensordot(data["W1"], z, 1) + data["b1"][over])
        logits = jnp.tensordot(data["W2"], hidden, 1) + data["b2"][over]
        inner = jnp.tensordot(x, logits, 1)
    else:
        logits = jnp.tanh(z @ data["W1"].T + data["b1"]) @ data["W2"].T + data["b2"]
        inner = logits @ x
    if multiplied:
        rest = jnp.maximum(logits, 0).sum(axis) + jnp.log(jnp.prod(1 + jnp.exp(-jnp.abs(logits)), axis))
    else:
        rest = jax.nn.softplus(logits).sum(axis)
    return data["constant"] + inner - rest - 0.5 * (z * z).sum(axis)


# -- chains -------------------------------------------------------------------------------------------------------


def log_weights(data: dict[str, Any], dtype: str, variant: Variant) -> Callable[[Any, Any, tuple[int, ...]], Any]:
    """A function (key, row, shape) → log weights of that shape, from fresh latents."""
    soa, reduced = variant["layout"] == "soa", variant["form"] == "reduced"
    unrolled = variant["products"] == "unrolled"
    d, mixture, vae = len(data["proposal_scale"]), "log_pi" in data, "W1" in data
    axis = 0 if soa else -1
    means, scale = jnp.asarray(data["proposal_mean"]), data["proposal_scale"]
    data = {k: jnp.asarray(v) if k in ("X", "T", "reduced_constant") else v for k, v in data.items()}

    def weigh(key: Any, row: Any, shape: tuple[int, ...]) -> Any:
        full = (d, *shape) if soa else (*shape, d)
        parts = normals(key, full, axis % len(full), dtype, variant["normals"])
        mean = means[row]
        if unrolled:
            eps = [part[j] for part in parts for j in range(part.shape[0])]
            z = [mean[j] + scale[j] * eps[j] for j in range(d)]
            return log_joint_linear(linear_terms(data, row, reduced), z, True) - (
                data["log_q_constant"] - 0.5 * squares(eps)
            )
        eps = jnp.concatenate(parts, axis) if len(parts) > 1 else parts[0]
        over = (slice(None), *[None] * len(shape)) if soa else ...
        z = mean[over] + scale[over] * eps
        log_q = data["log_q_constant"] - 0.5 * (eps * eps).sum(axis)
        if mixture:
            return log_joint_mixture(mixture_terms(data), z, axis) - log_q
        if vae:
            return log_joint_vae(data, data["X"][row], variant["form"] == "multiplied", z, axis) - log_q
        terms = linear_terms(data, row, reduced)
        return (log_joint_linear(terms, [z], False) if soa else log_joint_rows(terms, z)) - log_q

    return weigh


def log_joint_rows(terms: tuple[Any, Any, Any], z: Any) -> Any:
    """Linear Gaussian log joint of latents (…, d)."""
    A, b, c = terms
    rest = b - z @ jnp.asarray(A).T
    return c - 0.5 * ((rest * rest).sum(-1) + (z * z).sum(-1))


def running(step: Callable[[Any], Any], items: Any, dtype: str, lanes: int) -> Any:
    """Log Σ exp of all numbers in the arrays (rows, lanes) that `step` makes of each item."""

    def body(carry: tuple[Any, Any], item: Any) -> tuple[tuple[Any, Any], None]:
        high, total = carry
        logs = step(item)
        higher = jnp.maximum(high, logs.max(0))
        return (higher, total * jnp.exp(high - higher) + jnp.exp(logs - higher).sum(0)), None

    start = jnp.full(lanes, -jnp.inf, dtype), jnp.zeros(lanes, dtype)
    (high, total), _ = lax.scan(body, start, items)
    high = high.astype(jnp.float64)
    top = high.max()
    return top + jnp.log((total.astype(jnp.float64) * jnp.exp(high - top)).sum())


# -- runs ---------------------------------------------------------------------------------------------------------


def each_piece(case: Case, threads: int, call: Callable[[], Any]) -> Run:
    """The same piece by as many calls as a run has pieces, shared among the threads; the last result."""

    def share(_: int) -> Any:
        for _ in range(max(1, case.n_pieces // threads)):
            result = call().block_until_ready()
        return result

    go = in_threads(share, threads, threads)
    return Run(lambda seed: go()[-1], max(1, case.n_pieces // threads) * threads * case.size)


def stream(case: Case, dtype: str, threads: int, variant: Variant) -> Run:
    """Numbers delivered in buffers of a chunk, or of half a chunk where they come in pairs."""
    n_chunks = max(1, case.n // variant["chunk"] // threads)

    def fill(key: Any) -> Any:
        if case.kind == "uniforms":
            return (jax.random.uniform(key, (variant["chunk"],), dtype),)
        return tuple(lax.optimization_barrier(normals(key, (variant["chunk"],), 0, dtype, variant["normals"])))

    def whole(seed: Any, piece: Any) -> Any:
        key = jax.random.fold_in(jax.random.key(seed, impl=variant["generator"]), piece)
        if n_chunks == 1:
            return fill(key)
        keys = jax.random.split(key, n_chunks)
        return lax.fori_loop(1, n_chunks, lambda i, _: fill(keys[i]), fill(keys[0]))

    share = compiled(whole, variant)
    asked = [0]
    go = in_threads(lambda piece: jax.block_until_ready(share(asked[0], piece)), threads, threads)

    def call(seed: int) -> Any:
        asked[0] = seed
        return go()[-1]

    return Run(call, n_chunks * variant["chunk"] * threads)


def elementwise(case: Case, dtype: str, threads: int, variant: Variant) -> Run:
    """exp of an array."""
    x = jnp.asarray(case.data["x"], dtype)
    exp = compiled(jnp.exp, variant)
    return each_piece(case, threads, lambda: exp(x))


def logsumexp(case: Case, dtype: str, threads: int, variant: Variant) -> Run:
    """Log-sum-exp of an array; of a large one, each thread takes a part."""
    parts = threads if case.n_pieces == 1 else 1
    x = jnp.asarray(case.data["x"], dtype).reshape(parts, -1)
    reduce = compiled(jax.nn.logsumexp if variant["sum"] == "logsumexp" else _lanes(x[0], variant), variant)
    pieces = [part.block_until_ready() for part in x]
    if parts == 1 and case.n_pieces > 1:
        run = each_piece(case, threads, lambda: reduce(pieces[0]))
        return Run(lambda seed: float(run.call(seed)), run.n)
    go = in_threads(lambda piece: float(reduce(pieces[piece])), parts, threads)
    return Run(lambda seed: float(np.logaddexp.reduce(go())), case.size)


def _lanes(x: Any, variant: Variant) -> Callable[[Any], Any]:
    rows = min(variant["chunk"], x.size) // LANES
    return lambda part: running(lambda chunk: chunk, part.reshape(-1, rows, LANES), part.dtype, LANES)


def log_joint(case: Case, dtype: str, threads: int, variant: Variant) -> Run:
    """Log joint of latents that are there already."""
    data, soa = case.arrays(dtype), variant["layout"] == "soa"
    z = jnp.asarray(data["z"].T.copy() if soa else data["z"])
    terms = mixture_terms(data) if case.model == "mixture" else linear_terms(data, 0, variant["form"] == "reduced")

    def every(z: Any) -> Any:
        if case.model == "mixture":
            return log_joint_mixture(terms, z, 0 if soa else -1)
        if not soa:
            return log_joint_rows(terms, z)
        unrolled = variant["products"] == "unrolled"
        return log_joint_linear(terms, list(z) if unrolled else [z], unrolled)

    call = compiled(every, variant)
    return each_piece(case, threads, lambda: call(z))


def chain(case: Case, dtype: str, threads: int, variant: Variant) -> Run:
    """The whole chain."""
    return chunked(case, dtype, threads, variant, log_weights(case.arrays(dtype), dtype, variant))


def chunked(case: Case, dtype: str, threads: int, variant: Variant, weigh: Callable[[Any, Any, Any], Any]) -> Run:
    """A chain of log weights from `weigh`(key, row, shape): chunks in one compiled program, one program a thread."""
    n_chunks = max(1, case.n // variant["chunk"] // threads)
    n = n_chunks * variant["chunk"] * threads

    def whole(seed: Any, piece: Any, row: Any) -> Any:
        key = jax.random.fold_in(jax.random.key(seed, impl=variant["generator"]), piece)
        if variant["chunk"] == case.n:
            return jax.nn.logsumexp(weigh(key, row, (case.n,)))
        keys = jax.random.split(key, n_chunks)
        if variant["sum"] == "logsumexp":
            sums = lax.map(lambda each: jax.nn.logsumexp(weigh(each, row, (variant["chunk"],))), keys)
            return jax.nn.logsumexp(sums.astype(jnp.float64))
        shape = (variant["chunk"] // LANES, LANES)
        return running(lambda each: weigh(each, row, shape), keys, dtype, LANES)

    share = compiled(whole, variant)
    asked = [0, 0]
    go = in_threads(lambda piece: float(share(asked[0], piece, np.int32(asked[1]))), threads, threads)

    def call(seed: int) -> float:
        asked[:] = seed, case.row(seed)
        return float(np.logaddexp.reduce(go())) - math.log(n)

    return Run(call, n)
