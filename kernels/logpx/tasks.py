"""What to run, and one piece of it: the problem, and the task that a worker runs.

A *stream* is one replicate of one row of x. A *task* is a range of samples of a batch of streams, and `run_task` turns
it into a ladder over that range, wherever it runs: it is a plain function at the top of a module, and what it is given
(`Problem.part`) is as small as the batch, so that threads, processes and other machines serve alike. A nan or +inf
among the weights raises an error that names the sample by its row and replicate in the whole run. Cost: one call of
the compiled driver for every 2^22 samples, and one merge of its nodes.
"""

import contextlib
import math
import platform
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from logpx import driver, faults, groups, nodes
from logpx._jit import BLOCK, compile_kernel, compile_now
from logpx.errors import NonFiniteWeightError
from logpx.ladder import Ladder
from logpx.points.base import PointSet
from logpx.shipping import Parcel, opened, parcel
from logpx.tree import block_tree

#: Samples in a chunk, a power of two: the unit of scheduling. Part of what fixes the bits of `groups`.
CHUNK = 1 << 20
#: Samples of a stream that the compiled driver runs in one call at most.
CALL = 1 << 22


@dataclass(frozen=True)
class Problem:
    """Everything that determines the log weights: kernels, packed numbers, and the streams (see `logpx.prepare`)."""

    model_name: str
    points: PointSet
    points_kernel: Any
    proposal_kernel: Any
    log_joint: Any
    states: np.ndarray  # (S, n_state) uint64
    n_base: int
    lams: np.ndarray  # (n_lam, m)
    lam_of: np.ndarray  # (S,)
    proposal_dims: np.ndarray
    theta: np.ndarray
    model_dims: np.ndarray
    x: np.ndarray  # (n, p)
    x_of: np.ndarray  # (S,)
    n_latents: int
    shape: tuple[int, ...]  # (n_replicates, *rows) of the whole run
    dtype: str
    group_sizes: np.ndarray
    first: int = 0  # number, in the whole run, of the first stream

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled as a parcel, which the task opens where it runs."""
        sent = parcel(self)
        return Parcel, (sent.sender, sent.contents)

    @property
    def n_streams(self) -> int:
        return len(self.x_of)

    @property
    def kernels(self) -> dict[str, Any]:
        """The kernels by kind, in the order in which the driver takes them."""
        return {"points": self.points_kernel, "proposal": self.proposal_kernel, "log_joint": self.log_joint}

    def place(self, stream: int) -> tuple[int, int]:
        """Replicate and row, in the whole run, of a stream."""
        return divmod(self.first + stream, math.prod(self.shape[1:]))

    def part(self, streams: range) -> "Problem":
        """The problem of some neighbouring streams: only their states, parameters and rows of x."""
        own = slice(streams.start, streams.stop)
        lams, lam_of = np.unique(self.lam_of[own], return_inverse=True)
        rows, x_of = np.unique(self.x_of[own], return_inverse=True)
        return replace(
            self, states=self.states[own], lams=self.lams[lams], lam_of=lam_of, x=self.x[rows], x_of=x_of,
            first=self.first + streams.start,
        )  # fmt: skip

    def compile(self) -> float:
        """Compile what is not compiled yet; seconds spent."""
        seconds = compile_kernel(self.points_kernel, self.dtype)
        seconds += compile_kernel(self.proposal_kernel, self.dtype) + compile_kernel(self.log_joint, self.dtype)
        return seconds + nodes.compile_all() + compile_now(driver.run_streams[self.dtype])


class Piece:
    """What one call of the driver left: nodes, raw tail, largest weights and open groups of a batch of streams."""

    def __init__(self, problem: Problem, start: int, count: int, keep: int, floor: np.ndarray):
        n, n_blocks = problem.n_streams, count // BLOCK
        self.start, self.count = start, count
        self.moments, self.heads = nodes.layout(n, n_blocks)
        self.raw = np.zeros((n, count % BLOCK))
        self.top = np.full((n, min(keep, count)), -np.inf)
        self.groups = groups.empty((n,), len(problem.group_sizes))
        n_top, failed = np.zeros(n, dtype=np.int64), np.zeros(2, dtype=np.int64)
        with _kernels_named(problem, 0, start, failed):
            bad = driver.run_streams[problem.dtype](
                *problem.kernels.values(), block_tree,
                problem.states, problem.n_base, problem.lams, problem.lam_of, problem.proposal_dims,
                problem.theta, problem.model_dims, problem.x, problem.x_of, problem.n_latents,
                np.uint64(start), count, self.moments, self.heads, self.raw, self.top, floor, n_top,
                problem.group_sizes, self.groups, failed,
            )  # fmt: skip
        if bad == driver.OVERRUN:
            raise faults.overrun(problem.model_name, problem.kernels, driver.GUARDED[failed[1]])
        if bad == driver.BAD_WEIGHT:
            raise bad_weight(problem, int(failed[0]), start + int(failed[1]))
        self.top = self.top[:, : n_top.max(initial=0)]

    def add_to(self, ladder: Ladder) -> None:
        """Hand the pieces over to the ladder of these streams."""
        ladder.put_range(
            self.start, self.count, nodes.unpack(self.count // BLOCK, self.moments, self.heads), self.raw, self.top
        )


class Done(NamedTuple):
    """A finished task: its ladder, the open groups of each chunk by its start, and who took how long."""

    ladder: Ladder
    groups: dict[int, np.ndarray]
    seconds: float
    host: str

    @property
    def start(self) -> int:
        return self.ladder.spans[0][0]

    @property
    def stop(self) -> int:
        return self.ladder.stop


def run_task(part: Problem, start: int, count: int, keep: int, floor: np.ndarray) -> Done:
    """Run samples start … start + count − 1 of the streams of `part`.

    Parameters
    ----------
    part : Problem
        Of the streams of this task alone; a parcel of it, where it came from another process.
    start, count : int
        A range that lies in the aligned power of two around it, as the driver takes it; with groups, `start` is a
        multiple of CHUNK.
    keep : int
        How many of the largest weights of each stream to hand on.
    floor : ndarray (S,)
        No weight at or below it is among those (see `Ladder.floor`).
    """
    part = opened(part)
    part.compile()
    began = time.perf_counter()
    ladder = Ladder((part.n_streams,), iid=part.points.iid, tail=keep - 1)
    open_groups = {}
    step = CHUNK if part.group_sizes.size else CALL
    for at in range(start, start + count, step):
        piece = Piece(part, at, min(step, start + count - at), keep, np.maximum(floor, ladder.floor))
        piece.add_to(ladder)
        if part.group_sizes.size:
            open_groups[at] = piece.groups
    return Done(ladder, open_groups, time.perf_counter() - began, platform.node())


@contextlib.contextmanager
def _kernels_named(problem: Problem, stream: int, start: int, failed: np.ndarray) -> Iterator[None]:
    """What a kernel raises becomes an error that names it, and the block (`failed`: stream, position) it was at."""
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:
        _, row = problem.place(stream + int(failed[0]))
        raise faults.raised(problem.model_name, problem.kernels, row, start + int(failed[1]), error) from error


def replay(problem: Problem, stream: int, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
    """Latents (n, d) and log weights (n,) of the samples start … stop − 1 of one stream."""
    first = start - start % BLOCK
    z = np.empty((stop - first, problem.n_latents), dtype=problem.x.dtype)
    logs = np.empty(stop - first)
    with _kernels_named(problem, stream, first, np.zeros(2, dtype=np.int64)):
        driver.replay_stream[problem.dtype](
            *problem.kernels.values(), problem.states[stream], problem.n_base,
            problem.lams[problem.lam_of[stream]], problem.proposal_dims, problem.theta, problem.model_dims,
            problem.x[problem.x_of[stream]], np.uint64(first), z, logs,
        )  # fmt: skip
    return z[start - first :], logs[start - first :]


def bad_weight(problem: Problem, stream: int, index: int) -> NonFiniteWeightError:
    """The error for a nan or +inf weight, with the sample replayed."""
    z, logs = replay(problem, stream, index, index + 1)
    replicate, row = problem.place(stream)
    where = f"model {problem.model_name}, row {row}, replicate {replicate}, sample index {index}"
    values = np.array2string(z[0], precision=6, threshold=12)
    return NonFiniteWeightError(
        f"the log weight is {logs[0]} at {where}, z = {values}. A log weight is a real number or −inf "
        f"(a zero weight). logpx.samples(model, x, proposal, {index}, {index + 1}, row={row}, "
        f"replicate={replicate}, …) replays it; look at log_joint there. Cells past the ends of z and out hold nan: "
        "NUMBA_BOUNDSCHECK=1 in the environment finds an index out of range",
        index=index,
        row=row,
        replicate=replicate,
        value=float(logs[0]),
        z=z[0],
    )


assert CHUNK % BLOCK == 0
assert CALL % CHUNK == 0
assert math.log2(CALL // BLOCK) < driver.STACK
