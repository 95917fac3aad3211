r"""What PyTorch computes in the race: chunks of random numbers, log weights, running log-sum-exp.

Random numbers come from a generator a thread (MT19937, PyTorch's own on the processor), a chunk at a time, in a buffer
that is filled again and again: as normals (`normal_`), as uniforms (`uniform_`) for Box–Muller, or as 64-bit words
(`random_`), the least work for the generator: two words make two uniforms of 53 bits, and in float32 one word's halves
do. What follows is one function of the buffer, eager or through `torch.compile`, whose C++ then passes over the chunk
once.

Imports PyTorch at the top: only for those who know that it is there.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from logpx_bench.peers.base import Run, Variant, in_threads
from logpx_bench.peers.cases import Case

torch._dynamo.config.recompile_limit = 1000
torch._dynamo.config.accumulated_recompile_limit = 10000


def dtype_of(name: str) -> torch.dtype:
    """PyTorch's name of a precision."""
    return {"float64": torch.float64, "float32": torch.float32}[name]


def compiled(function: Callable[..., Any], variant: Variant) -> Callable[..., Any]:
    """`torch.compile` where the variant asks for it."""
    return torch.compile(function, dynamic=False) if variant["mode"] == "compiled" else function


# -- random numbers -----------------------------------------------------------------------------------------------


def buffer(shape: tuple[int, ...], axis: int, dtype: str, normals: str) -> torch.Tensor:
    """The buffer that a generator fills for normals of this shape, pairs along `axis`."""
    if normals != "box-muller, words":
        return torch.empty(shape, dtype=dtype_of(dtype))
    if dtype == "float64":
        return torch.empty(shape, dtype=torch.int64)
    return torch.empty([size // 2 if i == axis else size for i, size in enumerate(shape)], dtype=torch.int64)


def fill(buffer: torch.Tensor, generator: torch.Generator, normals: str) -> torch.Tensor:
    """Fill it: normals, uniforms or words."""
    if normals == "library":
        return buffer.normal_(generator=generator)
    if normals == "box-muller":
        return buffer.uniform_(generator=generator)
    return buffer.random_(-(2**63), None, generator=generator)


def uniforms(words: torch.Tensor, axis: int, dtype: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Pairs from words: one above 0 and at most 1, one of any whole turn."""
    if dtype == "float32":
        return (words >> 32).abs().float() * 2.0**-31 + 2.0**-32, words.int().float() * 2.0**-32
    first, second = words.chunk(2, axis)
    return (first >> 11).double() * 2.0**-53 + (0.5 + 2.0**-54), second.double() * 2.0**-64


def normals_of(filled: torch.Tensor, axis: int, dtype: str, normals: str) -> tuple[torch.Tensor, ...]:
    """Standard normals in one or two tensors, halves along `axis`."""
    if normals == "library":
        return (filled,)
    if normals == "box-muller":
        first, second = filled.chunk(2, axis)
        first = 1 - first
    else:
        first, second = uniforms(filled, axis, dtype)
    radius, angle = torch.sqrt(-2 * torch.log(first)), second * (2 * math.pi)
    return radius * torch.cos(angle), radius * torch.sin(angle)


# -- log joints ---------------------------------------------------------------------------------------------------


def linear_terms(data: dict[str, Any], reduced: bool) -> tuple[Any, Any, Any]:
    """(A, b, c) of linear Gaussian log joints, c − ½|b − A z|² − ½|z|², a row of b and an entry of c for a row of x."""
    if reduced:
        return data["R"], data["T"], data["reduced_constant"]
    scale = 1 / np.sqrt(data["noise"])
    rows = (data["X"] - data["mu"]) * scale
    return data["W"] * scale[:, None], rows, np.full(len(rows), data["constant"], rows.dtype)


def log_joint_linear(A: torch.Tensor, b: torch.Tensor, c: torch.Tensor, z: torch.Tensor, axis: int) -> torch.Tensor:
    """Log joint of latents (d, n) or (n, d) by a matrix product."""
    rest = b[:, None] - A @ z if axis == 0 else b - z @ A.T
    return c - 0.5 * ((rest * rest).sum(axis) + (z * z).sum(axis))


def log_joint_written_out(
    A: list[list[float]], b: torch.Tensor, c: torch.Tensor, z: list[torch.Tensor]
) -> torch.Tensor:
    """Log joint of latents in d tensors, every product of the matrix for itself."""
    total = sum((each * each for each in z[1:]), z[0] * z[0])
    for i, row in enumerate(A):
        rest = b[i] - sum(entry * each for entry, each in zip(row, z, strict=True) if entry != 0)
        total = total + rest * rest
    return c - 0.5 * total


def mixture_terms(data: dict[str, Any]) -> tuple[Any, Any, Any]:
    """(A, B, c), log evidence + log π_k N(z; m_k, v_k) = c_k + B_k·z + A_k·z²."""
    m, v = data["m"].astype(np.float64), data["v"].astype(np.float64)
    c = data["log_evidence"] + data["log_pi"] - 0.5 * (m * m / v + np.log(2 * np.pi * v)).sum(1)
    return tuple(array.astype(data["m"].dtype) for array in (-0.5 / v, m / v, c))


def log_joint_mixture(A: torch.Tensor, B: torch.Tensor, c: torch.Tensor, z: torch.Tensor, axis: int) -> torch.Tensor:
    """Log joint of latents (d, n) or (n, d) by two matrix products."""
    if axis == 0:
        return torch.logsumexp(A @ (z * z) + B @ z + c[:, None], 0)
    return torch.logsumexp(torch.addmm(torch.addmm(c, z, B.T), z * z, A.T), 1)


def log_joint_vae(
    data: dict[str, torch.Tensor], multiplied: bool, z: torch.Tensor, x: torch.Tensor, c: torch.Tensor, axis: int
) -> torch.Tensor:
    """Log joint of the autoencoder's latents (d, n) or (n, d), as in `arrays.vae_log_joint`."""
    if axis == 0:
        hidden = torch.tanh(torch.addmm(data["b1"][:, None], data["W1"], z))
        logits = torch.addmm(data["b2"][:, None], data["W2"], hidden)
        inner = x @ logits
    else:
        hidden = torch.tanh(torch.addmm(data["b1"], z, data["W1"].T))
        logits = torch.addmm(data["b2"], hidden, data["W2"].T)
        inner = logits @ x
    if multiplied:
        factors = torch.prod(1 + torch.exp(-logits.abs()), axis)
        rest = torch.clamp(logits, min=0).sum(axis) + torch.log(factors)
    else:
        rest = torch.nn.functional.softplus(logits).sum(axis)
    return c + inner - rest - 0.5 * (z * z).sum(axis)


# -- runs ---------------------------------------------------------------------------------------------------------


def each_piece(case: Case, threads: int, call: Callable[[], Any]) -> Run:
    """The same piece by as many calls as a run has pieces, shared among the threads; the last result."""

    def share(_: int) -> Any:
        torch.set_num_threads(1)
        for _ in range(max(1, case.n_pieces // threads)):
            result = call()
        return result

    call()
    go = in_threads(share, threads, threads)
    return Run(lambda seed: go()[-1], max(1, case.n_pieces // threads) * threads * case.size)


def whole_threads(call: Callable[[], Any], n_pieces: int, threads: int, size: int) -> Run:
    """The same with PyTorch's own threads within each operation."""

    def every() -> Any:
        torch.set_num_threads(threads)
        for _ in range(n_pieces):
            result = call()
        return result

    return Run(lambda seed: every(), n_pieces * size)


def repeated(case: Case, threads: int, variant: Variant, call: Callable[[], Any]) -> Run:
    """`each_piece` or `whole_threads`, as the variant says."""
    if variant["threads"] == "pool":
        torch.set_num_threads(1)
        return each_piece(case, threads, call)
    torch.set_num_threads(threads)
    return whole_threads(call, case.n_pieces, threads, case.size)


def stream(case: Case, dtype: str, threads: int, variant: Variant) -> Run:
    """Numbers delivered in buffers of a chunk."""
    pieces = threads if variant["threads"] == "pool" else 1
    n_chunks = max(1, case.n // variant["chunk"] // pieces)
    how = "box-muller" if case.kind == "uniforms" else variant["normals"]
    plain = case.kind == "uniforms" or how == "library"

    def numbers(filled: Any) -> Any:
        return filled if plain else normals_of(filled, 0, dtype, how)

    transform = numbers if plain else compiled(numbers, variant)
    within = threads if pieces == 1 else 1
    torch.set_num_threads(within)
    buffers = [buffer((variant["chunk"],), 0, dtype, how) for _ in range(pieces)]
    transform(buffers[0].fill_(1))
    asked = [0]

    def work(piece: int) -> Any:
        torch.set_num_threads(within)
        generator = torch.Generator().manual_seed(asked[0] * 1009 + piece)
        for _ in range(n_chunks):
            filled = fill(buffers[piece], generator, how)
            result = transform(filled)
        return result

    go = in_threads(work, pieces, pieces)

    def call(seed: int) -> Any:
        asked[0] = seed
        return go()[-1]

    return Run(call, n_chunks * variant["chunk"] * pieces)


def elementwise(case: Case, dtype: str, threads: int, variant: Variant) -> Run:
    """exp of an array; with an array to write to, if the variant has one, for each thread."""
    x = torch.tensor(case.data["x"], dtype=dtype_of(dtype))
    if variant["mode"] == "in place":
        return _in_place(case, threads, x)
    exp = compiled(torch.exp, variant)
    return repeated(case, threads, variant, lambda: exp(x))


def _in_place(case: Case, threads: int, x: torch.Tensor) -> Run:
    outs = [torch.empty_like(x) for _ in range(threads)]

    def share(number: int) -> Any:
        torch.set_num_threads(1)
        for _ in range(case.n_pieces // threads):
            torch.exp(x, out=outs[number])
        return outs[number]

    go = in_threads(share, threads, threads)
    return Run(lambda seed: go()[-1], case.n)


def logsumexp(case: Case, dtype: str, threads: int, variant: Variant) -> Run:
    """Log-sum-exp of an array; of a large one, each thread takes a part, chunk by chunk."""
    x = torch.tensor(case.data["x"], dtype=dtype_of(dtype))
    pool = variant["threads"] == "pool"
    torch.set_num_threads(1 if pool else threads)
    reduce = compiled(lambda part: torch.logsumexp(part, 0), variant)
    if case.n_pieces > 1 or not pool:
        run = repeated(case, threads, variant, lambda: reduce(x).item())
        return Run(lambda seed: float(run.call(seed)), run.n)
    parts = x.reshape(threads, -1, variant["chunk"])
    reduce(parts[0, 0])

    def share(number: int) -> Any:
        torch.set_num_threads(1)
        return torch.logsumexp(torch.stack([reduce(chunk) for chunk in parts[number]]), 0).item()

    go = in_threads(share, threads, threads)
    return Run(lambda seed: float(np.logaddexp.reduce(go())), case.size)


def log_joint(case: Case, dtype: str, threads: int, variant: Variant) -> Run:
    """Log joint of latents that are there already."""
    data, axis = case.arrays(dtype), 0 if variant["layout"] == "soa" else 1
    z = torch.from_numpy(np.ascontiguousarray(data["z"].T if axis == 0 else data["z"]))
    every = compiled(weigher(case, data, variant), variant)
    row = rows_of(case, data, variant)[0]
    return repeated(case, threads, variant, lambda: every(z, *row))


def rows_of(case: Case, data: dict[str, Any], variant: Variant) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """(b, c) of every row of x; nothing to tell apart in a mixture."""
    if case.model == "mixture":
        return [(torch.zeros(1), torch.zeros(1))]
    if case.model == "vae":
        c = torch.tensor(data["constant"], dtype=dtype_of(data["X"].dtype.name))
        return [(torch.from_numpy(x.copy()), c) for x in data["X"]]
    _, b, c = linear_terms(data, variant["form"] == "reduced")
    return [(torch.from_numpy(each.copy()), torch.tensor(one)) for each, one in zip(b, c, strict=True)]


def weigher(case: Case, data: dict[str, Any], variant: Variant) -> Callable[[Any, Any, Any], Any]:
    """log p(x, z) as a function (z, b, c) of latents in the variant's layout."""
    axis = 0 if variant["layout"] == "soa" else 1
    if case.model == "mixture":
        A, B, offset = (torch.from_numpy(each) for each in mixture_terms(data))
        return lambda z, b, c: log_joint_mixture(A, B, offset, z, axis)
    if case.model == "vae":
        tensors = {name: torch.from_numpy(data[name].copy()) for name in ("W1", "b1", "W2", "b2")}
        return lambda z, x, c: log_joint_vae(tensors, variant["form"] == "multiplied", z, x, c, axis)
    matrix, _, _ = linear_terms(data, variant["form"] == "reduced")
    if variant["products"] == "unrolled":
        entries = matrix.tolist()  # an array would be an input of the compiled function, and every entry one of its own
        return lambda z, b, c: log_joint_written_out(entries, b, c, list(z))
    A = torch.from_numpy(matrix.copy())
    return lambda z, b, c: log_joint_linear(A, b, c, z, axis)


def chain(case: Case, dtype: str, threads: int, variant: Variant) -> Run:
    """The whole chain: a chunk at a time, a generator a thread."""
    pieces = threads if variant["threads"] == "pool" else 1
    within, chunk = threads // pieces, variant["chunk"]
    data, d = case.arrays(dtype), case.data["proposal_scale"].size
    axis, how = (0 if variant["layout"] == "soa" else 1), variant["normals"]
    step = compiled(stepper(case, data, dtype, variant), variant)
    rows = rows_of(case, data, variant)
    means = [torch.from_numpy(mean[:, None].copy() if axis == 0 else mean.copy()) for mean in data["proposal_mean"]]
    buffers = [buffer((d, chunk) if axis == 0 else (chunk, d), axis, dtype, how) for _ in range(pieces)]
    n_chunks = max(1, case.n // chunk // pieces)
    asked = [0, 0]

    def share(piece: int) -> float:
        torch.set_num_threads(within)
        generator = torch.Generator().manual_seed(asked[0] * 1009 + piece)
        high = torch.full((), -math.inf, dtype=dtype_of(dtype))
        total = torch.zeros((), dtype=dtype_of(dtype))
        for _ in range(n_chunks):
            filled = fill(buffers[piece], generator, how)
            high, total = step(filled, means[asked[1]], *rows[asked[1]], high, total)
        return high.item() + math.log(total.item())

    share(0)  # compiled before there are threads
    go = in_threads(share, pieces, pieces)
    n = n_chunks * chunk * pieces

    def call(seed: int) -> float:
        asked[:] = seed, case.row(seed)
        return float(np.logaddexp.reduce(go())) - math.log(n)

    return Run(call, n)


def stepper(case: Case, data: dict[str, Any], dtype: str, variant: Variant) -> Callable[..., Any]:
    """One chunk: a function (filled buffer, mean, b, c, maximum so far, sum so far) → the next two."""
    axis, how = (0 if variant["layout"] == "soa" else 1), variant["normals"]
    log_p, unrolled = weigher(case, data, variant), variant["products"] == "unrolled"
    scale = torch.from_numpy(data["proposal_scale"].copy())
    scale = scale[:, None] if axis == 0 else scale
    scales = data["proposal_scale"].tolist()
    constant = case.data["log_q_constant"]

    def step(filled: Any, mean: Any, b: Any, c: Any, high: Any, total: Any) -> Any:
        parts = normals_of(filled, axis, dtype, how)
        if unrolled:
            eps = [part[j] for part in parts for j in range(part.shape[0])]
            z: Any = [mean[j] + scales[j] * each for j, each in enumerate(eps)]
            square = sum((each * each for each in eps[1:]), eps[0] * eps[0])
        else:
            joined = torch.cat(parts, axis) if len(parts) > 1 else parts[0]
            z, square = mean + scale * joined, (joined * joined).sum(axis)
        logs = log_p(z, b, c) - (constant - 0.5 * square)
        higher = torch.maximum(high, logs.max())
        return higher, total * torch.exp(high - higher) + torch.exp(logs - higher).sum()

    return step
