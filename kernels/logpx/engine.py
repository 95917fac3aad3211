"""Blocks, chunks, streams: which samples run where, and how the pieces come together.

A *stream* is one replicate of one row of x. A *task* is a range of samples of a batch of streams: a chunk of one
long stream, or many short streams whole, so that ten thousand rows of five thousand samples are a few dozen
tasks. Tasks run on any `concurrent.futures.Executor` (threads by default; the compiled loop holds no
interpreter lock) and may end in any order: what they leave are nodes of the ladder, which depend on their indices
alone. Same seed, same bits, for any number of threads. Memory: a few blocks a thread, O(log N) a stream.
"""

import concurrent.futures
import contextlib
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from logpx import driver, groups, nodes, pareto
from logpx._jit import BLOCK, compile_kernel, compile_now
from logpx.checks import whole
from logpx.errors import NonFiniteWeightError
from logpx.ladder import Ladder
from logpx.points.base import PointSet
from logpx.shipping import Parcel, opened, parcel
from logpx.totals import Summary, concatenated, pool_moments
from logpx.tree import block_tree

#: Samples in a chunk, a power of two: the unit of scheduling. Part of what fixes the bits.
CHUNK = 1 << 20
#: Samples that a task should have at least, where streams are short.
TASK = 1 << 20


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
    shape: tuple[int, ...]  # (n_replicates, *rows)
    dtype: str
    group_sizes: np.ndarray

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled as a parcel, which the task opens where it runs."""
        sent = parcel(self)
        return Parcel, (sent.sender, sent.contents)

    @property
    def n_streams(self) -> int:
        return len(self.x_of)

    @property
    def n_rows(self) -> int:
        return self.n_streams // self.shape[0]

    def place(self, stream: int) -> tuple[int, int]:
        """Replicate and row of a stream."""
        return divmod(stream, self.n_rows)

    def compile(self) -> float:
        """Compile what is not compiled yet; seconds spent."""
        seconds = compile_kernel(self.points_kernel, self.dtype)
        seconds += compile_kernel(self.proposal_kernel, self.dtype) + compile_kernel(self.log_joint, self.dtype)
        return seconds + nodes.compile_all() + compile_now(driver.run_streams[self.dtype])


def batches(n_streams: int, count: int) -> list[range]:
    """Streams in batches: as many as make a task of `count` samples each worth scheduling, one when they are long."""
    size = max(1, TASK // count)
    return [range(i, min(i + size, n_streams)) for i in range(0, n_streams, size)]


class Piece:
    """What one task left: nodes, raw tail, largest weights and open groups of a batch of streams."""

    def __init__(self, problem: Problem, streams: range, start: int, count: int, keep: int, floor: np.ndarray):
        problem = opened(problem)
        n, n_blocks = len(streams), count // BLOCK
        self.streams, self.start, self.count = streams, start, count
        self.moments, self.heads = nodes.layout(n, n_blocks)
        self.raw = np.zeros((n, count % BLOCK))
        self.top = np.full((n, min(keep, count)), -np.inf)
        self.groups = groups.empty((n,), len(problem.group_sizes))
        n_top, failed = np.zeros(n, dtype=np.int64), np.zeros(2, dtype=np.int64)
        own = slice(streams.start, streams.stop)
        bad = driver.run_streams[problem.dtype](
            problem.points_kernel, problem.proposal_kernel, problem.log_joint, block_tree,
            problem.states[own], problem.n_base, problem.lams, problem.lam_of[own], problem.proposal_dims,
            problem.theta, problem.model_dims, problem.x, problem.x_of[own], problem.n_latents,
            np.uint64(start), count, self.moments, self.heads, self.raw, self.top, floor, n_top,
            problem.group_sizes, self.groups, failed,
        )  # fmt: skip
        if bad:
            raise bad_weight(problem, streams.start + int(failed[0]), start + int(failed[1]))
        self.top = self.top[:, : n_top.max(initial=0)]

    def add_to(self, ladder: Ladder) -> None:
        """Hand the pieces over to the ladder of these streams."""
        ladder.put_range(
            self.start, self.count, nodes.unpack(self.count // BLOCK, self.moments, self.heads), self.raw, self.top
        )


def replay(problem: Problem, stream: int, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
    """Latents (n, d) and log weights (n,) of the samples start … stop − 1 of one stream."""
    first = start - start % BLOCK
    z = np.empty((stop - first, problem.n_latents), dtype=problem.x.dtype)
    logs = np.empty(stop - first)
    driver.replay_stream[problem.dtype](
        problem.points_kernel, problem.proposal_kernel, problem.log_joint, problem.states[stream], problem.n_base,
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
        f"replicate={replicate}, …) replays it; look at log_joint there",
        index=index,
        row=row,
        replicate=replicate,
        value=float(logs[0]),
        z=z[0],
    )


class _Here(concurrent.futures.Executor):
    """Runs a task where it is submitted."""

    def submit(self, fn, /, *args, **kwargs):
        future: concurrent.futures.Future[Any] = concurrent.futures.Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except BaseException as error:
            future.set_exception(error)
        return future


@contextlib.contextmanager
def _executor(given, threads):
    """The executor to use and how many tasks to keep in flight on it; one thread is the caller's own."""
    if given is not None:
        yield given, 4 * (getattr(given, "_max_workers", None) or os.cpu_count() or 1)
    elif threads == 1:
        yield _Here(), 1
    else:
        with concurrent.futures.ThreadPoolExecutor(threads) as pool:
            try:
                yield pool, 2 * threads
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                raise


def kept_weights(n_samples: int, n_replicates: int) -> int:
    """How many of its largest weights each stream keeps for the Pareto k̂ of all replicates together.

    The pooled tail has tail_length(n·R) weights. A stream's share of them is that over R on average; twice its own
    tail is four times the share or more for R > 3, so that no stream can be expected to lack any.
    """
    pooled = pareto.tail_length(n_samples * n_replicates)
    return min(pooled, 2 * pareto.tail_length(n_samples) + 16) + 1


class Run:
    """All streams of a problem, run to n_samples: a ladder for each batch of streams."""

    def __init__(self, problem: Problem, n_samples: int, threads: int, executor: Any = None):
        self.problem, self.n_samples, self.threads, self.executor = problem, n_samples, threads, executor
        self.keep = kept_weights(n_samples, problem.shape[0])
        self.batches = batches(problem.n_streams, min(n_samples, CHUNK))
        self.ladders = [Ladder((len(batch),), iid=problem.points.iid, tail=self.keep - 1) for batch in self.batches]
        self.group_parts: dict[tuple[int, int], np.ndarray] = {}

    def execute(self, report: Callable[[int], None] = lambda n: None) -> None:
        """Run every task; `report` is told of samples as they are finished.

        Where tasks fail, those submitted before the first failure are awaited, so that the error raised is that of
        the earliest task whatever the order in which they end.
        """
        n_tasks = len(self.batches) * -(-self.n_samples // CHUNK)
        tasks = ((start, batch) for start in range(0, self.n_samples, CHUNK) for batch in self.batches)
        failures: dict[int, BaseException] = {}
        with _executor(self.executor, min(self.threads, n_tasks)) as (pool, window):
            waiting: dict[concurrent.futures.Future[Any], int] = {}
            for order, (start, batch) in enumerate(tasks):
                if len(waiting) >= window:
                    self._collect(waiting, failures, report)
                if failures:
                    break
                count = min(CHUNK, self.n_samples - start)
                floor = self.ladders[order % len(self.batches)].floor
                waiting[pool.submit(Piece, self.problem, batch, start, count, self.keep, floor)] = order
            while waiting:
                self._collect(waiting, failures, report)
        if failures:
            raise failures[min(failures)]

    def _collect(self, waiting, failures, report):
        finished, _ = concurrent.futures.wait(waiting, return_when=concurrent.futures.FIRST_COMPLETED)
        for future in finished:
            order = waiting.pop(future)
            if (error := future.exception()) is not None:
                failures[order] = error
                continue
            piece, number = future.result(), order % len(self.batches)
            piece.add_to(self.ladders[number])
            if self.problem.group_sizes.size:
                self.group_parts[piece.start, number] = piece.groups
            report(piece.count * len(piece.streams))
        for future in [future for future, order in waiting.items() if failures and order > min(failures)]:
            if future.cancel():
                del waiting[future]

    def summary(self) -> Summary:
        """All streams' readings, shape (n_replicates, *rows)."""
        with _executor(None, min(self.threads, len(self.ladders))) as (pool, _):
            parts = list(pool.map(Ladder.summary, self.ladders))
        return concatenated(parts).reshaped(self.problem.shape)._replace(tail=pareto.MAX_TAIL)

    def ladder(self) -> Ladder:
        """One ladder over all streams, its shape (*rows,) for one replicate and (n_replicates, *rows) for more."""
        shape = self.problem.shape if self.problem.shape[0] > 1 else self.problem.shape[1:]
        return Ladder.beside(self.ladders, shape)

    def group_moments(self) -> dict[int, np.ndarray]:
        """For each group size (n, mean, m2, zero groups) over rows, replicates pooled: (4, *rows)."""
        sizes = self.problem.group_sizes
        if not sizes.size:
            return {}
        totals: dict[int, np.ndarray] = {}
        for (start, number), part in sorted(self.group_parts.items()):
            if start == 0:
                totals[number] = part.copy()
            else:
                groups.join(totals[number], part, sizes)
        whole = np.concatenate([totals[number] for number in range(len(self.batches))])
        states = whole.reshape(*self.problem.shape, len(sizes), groups.N_FIELDS)
        moments = pool_moments(np.moveaxis(states[..., groups.MOMENTS], -1, -2))  # (*rows, 3, sizes)
        zeros = states[..., groups.N_ZERO].sum(axis=0)
        return {
            int(size): np.stack([*np.moveaxis(moments[..., i], -1, 0), zeros[..., i]]) for i, size in enumerate(sizes)
        }


def default_threads(threads: int | None) -> int:
    """Threads to use: as given, or one for each CPU this process may run on."""
    if threads is None:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return whole("threads", threads, most=1 << 16)


assert CHUNK % BLOCK == 0
assert math.log2(CHUNK // BLOCK) < driver.STACK
