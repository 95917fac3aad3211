"""How a run is cut into tasks, and how the pieces come together.

Streams lie side by side in *lanes*, a batch of streams each, and a lane is cut along its samples into tasks, aligned
powers of two. Tasks run on any `concurrent.futures.Executor` (threads by default; the compiled loop holds no
interpreter lock) and may end in any order: what they leave are nodes of the ladder, which depend on their indices
alone. Finished tasks are folded into the ladder of their lane in the order of their indices, and in all lanes as far as
the slowest, so that what is folded is at every moment the run of so many samples. Same seed, same bits: for any number
of threads, any cut into tasks, any number of interruptions. Memory: a few blocks a thread, O(log N) a stream.
"""

import bisect
import collections
import concurrent.futures
import contextlib
import copy
import itertools
import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from logpx import checkpoint as store
from logpx import groups, interrupt, pareto
from logpx._jit import BLOCK
from logpx.checks import whole
from logpx.errors import StoreError, WorkerError
from logpx.ladder import Ladder
from logpx.tasks import CALL, CHUNK, Done, Problem, run_task
from logpx.totals import Summary, concatenated, pool_moments

#: Samples that a lane has in a chunk at least, where streams are short.
TASK = 1 << 20
#: Samples of a task at least, where a run is cut finer so that every thread has work.
SMALLEST = 1 << 15
#: What handing over a task costs, in samples (a third of a millisecond: the call, its largest weights, its merge).
OVERHEAD = 1 << 15
#: Seconds that a task grows to where it costs something to hand over: with a checkpoint, or an executor.
TASK_SECONDS = 1.0
#: Parts that such a run is cut into at least: a stop then loses little, and the parts serve as independent batches.
PARTS = 64
#: Seconds from a commit to the next, where tasks are shorter.
COMMIT_SECONDS = 0.25

#: What to do when an executor has ended a run.
_THEN = "The same run again goes on from its checkpoint, if it has one"

Report = Callable[[int], None]


def _silent(n: int) -> None:
    pass


@contextlib.contextmanager
def _in_words() -> Iterator[None]:
    """An executor's own errors as WorkerError."""
    try:
        yield
    except concurrent.futures.BrokenExecutor as error:
        raise WorkerError(
            "a process of the pool died: killed, out of memory, or by a kernel that writes past its arrays, which "
            f"NUMBA_BOUNDSCHECK=1 finds. {_THEN}"
        ) from error
    except concurrent.futures.CancelledError as error:
        raise WorkerError(f"a task was cancelled by something other than this run. {_THEN}") from error


class Lane:
    """Some neighbouring streams, and how far they are."""

    def __init__(self, problem: Problem, streams: range, keep: int):
        self.part, self.streams = problem.part(streams), streams
        self.ladder = Ladder((len(streams),), iid=problem.points.iid, tail=keep - 1)
        self.groups: np.ndarray | None = None  # open groups of the folded samples
        self.end = 0  # samples finished without a gap
        self.waiting: dict[int, Done] = {}  # finished and not folded yet, by start
        self.held: list[tuple[int, int]] = []  # of these, what came from a checkpoint
        self.stored_from = 1 << 62  # a checkpoint holds what comes from here on, as part of a larger piece

    def gaps(self, start: int, stop: int) -> Iterator[tuple[int, int]]:
        """What a checkpoint did not hold of a range: (start, count) of aligned pieces."""
        held = self.held[bisect.bisect_right(self.held, start, key=lambda span: span[1]) :]
        held = list(itertools.takewhile(lambda span: span[0] < stop, held))
        if not held:
            yield start, stop - start
            return
        for begin, end in [*held, (stop, stop)]:
            while start < begin:
                count = min(_aligned(start), _power_below(begin - start))
                yield start, count
                start += count
            start = max(start, end)

    def fold(self, stop: int) -> None:
        """Move what is finished below `stop` into the ladder."""
        while self.ladder.stop < stop:
            done = self.waiting.pop(self.ladder.stop)
            self.ladder.merge(done.ladder)
            for start in sorted(done.groups):
                self.join(done.groups[start])

    def join(self, more: np.ndarray) -> None:
        """Append the open groups of the next chunk."""
        self.groups = more.copy() if self.groups is None else groups.join(self.groups, more, self.part.group_sizes)


class Run:
    """All streams of a problem, and how many samples of each are folded.

    Parameters
    ----------
    n_samples : int
        How many are meant to be run; lanes are cut to suit it.
    keep : int
        How many of the largest weights of each stream to keep (see `kept_weights`).
    checkpoint : Checkpoint, optional
        Where finished tasks are kept, and taken from.
    """

    def __init__(
        self, problem: Problem, n_samples: int, keep: int, threads: int, executor: Any = None,
        checkpoint: "store.Checkpoint | None" = None,
    ):  # fmt: skip
        self.problem, self.threads, self.executor, self.checkpoint = problem, threads, executor, checkpoint
        self.at, self._speed = 0, 0.0
        self._workers = threads if executor is None else _width(executor)
        size = self._lane_size(min(n_samples, CHUNK))
        n = problem.n_streams
        self.lanes = [Lane(problem, range(i, min(i + size, n)), keep) for i in range(0, n, size)]
        part = _power_below(max(n_samples * n // (PARTS * size), 1)) if checkpoint is not None else 1 << 62
        self._longest = max(part, CHUNK if problem.group_sizes.size else SMALLEST)
        self._reached: collections.Counter[int] = collections.Counter()  # lanes whose end was there
        self._unsaved: list[tuple[range, Done]] = []
        self._saved = 0.0  # when the last commit ended

    def _lane_size(self, count: int) -> int:
        """Streams in a lane, a power of two: enough to make tasks of `count` samples each worth scheduling, few enough
        that every thread has some, and within every row of the checkpoint."""
        n = self.problem.n_streams
        size = min(_power_below(max(1, TASK // count)), _power_above(n))
        while size > 1 and -(-n // size) < 2 * self._workers and size * count >= 2 * SMALLEST:
            size //= 2
        return size if self.checkpoint is None else store.lane_size(self.checkpoint.rows(), n, size)

    # --- running -----------------------------------------------------------------------------------------

    @_in_words()
    def advance(self, stop: int, report: Report = _silent) -> bool:
        """Run every task up to `stop`; False if Ctrl-C stopped it, and then `at` says how far it is.

        `report` is told of samples as they are finished. Where tasks fail, those submitted before the first failure are
        awaited, so that the error raised is that of the earliest task whatever the order in which they end.
        """
        if self.checkpoint is not None:
            self._take(self.checkpoint, stop, report)
        base = self._base(stop)
        n_tasks = len(self.lanes) * -(-(stop - self.at) // base)
        failures: dict[int, BaseException] = {}
        waiting: dict[concurrent.futures.Future[Any], tuple[int, Lane]] = {}
        with _executor(self.executor, min(self.threads, n_tasks)) as (pool, window), interrupt.watched() as stopped:
            try:
                for order, (lane, start, count) in enumerate(self._tasks(stop, base)):
                    while len(waiting) >= window():
                        self._collect(waiting, failures, report)
                    if failures or stopped:
                        break
                    ladder = lane.ladder
                    future = pool.submit(run_task, lane.part, start, count, ladder.tail + 1, ladder.floor)
                    waiting[future] = order, lane
                while waiting:
                    if stopped:
                        _leave_out(waiting, _not_begun(waiting))
                    self._collect(waiting, failures, report)
                self._save(soon=False)
            except BaseException as error:
                for future in waiting:
                    future.cancel()
                if not isinstance(error, StoreError):
                    with contextlib.suppress(StoreError):
                        self._save(soon=False)
                raise
        if stopped:
            failures = {order: error for order, error in failures.items() if not interrupt.is_part_of_it(error)}
        if failures:
            raise failures[min(failures)]
        return not stopped

    def _base(self, stop: int) -> int:
        """Samples a task while speeds are not known: a chunk at most, cut so that the workers are done the soonest."""
        if self.problem.group_sizes.size:
            return CHUNK
        n, streams = stop - self.at, len(self.lanes[0].streams)

        def cost(size: int) -> int:
            rounds = -(-len(self.lanes) * -(-n // size) // self._workers)
            return rounds * (min(size, n) * streams + OVERHEAD)

        sizes = [1 << i for i in range(SMALLEST.bit_length() - 1, CHUNK.bit_length())]
        return min(reversed(sizes), key=cost)

    def _tasks(self, stop: int, base: int) -> Iterator[tuple[Lane, int, int]]:
        """What is to be run, by start, then by lane; cut as late as possible, when speeds are known."""
        at = self.at
        while (at := max(at, self.at)) < stop:
            count = self._length(at, stop, base)
            for lane in self.lanes:
                for start, length in lane.gaps(at, at + count):
                    yield lane, start, length
            at += count

    def _length(self, at: int, stop: int, base: int) -> int:
        """Samples of the next task: such as take about a second, fewer at the start, when the speed is not known."""
        fast = _power_below(max(int(self._speed * TASK_SECONDS / len(self.lanes[0].streams)), 1))
        least = CHUNK if self.problem.group_sizes.size else SMALLEST
        rest = stop - at
        share = _power_below(max(rest * len(self.lanes) // (2 * self._workers), 1))
        if self.checkpoint is None and self.executor is None:
            wanted = min(max(base, min(share, CALL)), max(least, fast)) if self._speed else base
            return min(wanted, _aligned(at), rest)
        if rest >= grain(self.problem):  # what is less is run in one piece: no run can go on from within it
            rest = _power_below(rest)
        return min(max(least, min(share, fast)), self._longest, _aligned(at), rest)

    def _collect(self, waiting, failures, report):
        """Wait for some task, or for the moment at which those before it are to be committed."""
        first, patience = concurrent.futures.FIRST_COMPLETED, COMMIT_SECONDS if self._unsaved else None
        finished, _ = concurrent.futures.wait(waiting, timeout=patience, return_when=first)
        for future in finished:
            order, lane = waiting.pop(future)
            error = concurrent.futures.CancelledError() if future.cancelled() else future.exception()
            if error is not None:
                failures[order] = error
                continue
            self._finish(lane, future.result(), report)
        self._save(soon=True)
        if failures:
            _leave_out(waiting, [future for future, (order, _) in waiting.items() if order > min(failures)])

    def _finish(self, lane, done, report):
        """Take a finished task, and fold what all lanes have."""
        n = (done.stop - done.start) * len(lane.streams)
        self._speed = n / max(done.seconds, 1e-9)
        if self.checkpoint is not None and done.start < lane.stored_from:
            self._unsaved.append((lane.streams, done))
        lane.waiting[done.start] = done
        self._chain(lane)
        report(n)

    def _chain(self, lane):
        """Follow a lane's finished tasks as far as they go; where all lanes were, fold."""
        while (done := lane.waiting.get(lane.end)) is not None:
            lane.end = done.stop
            self._reached[lane.end] += 1
            if self._reached[lane.end] == len(self.lanes):
                self._fold(lane.end)

    def _fold(self, stop):
        for lane in self.lanes:
            lane.fold(stop)
        self.at = stop
        self._reached = collections.Counter({end: n for end, n in self._reached.items() if end > stop})

    # --- a checkpoint ------------------------------------------------------------------------------------

    def _take(self, checkpoint: store.Checkpoint, stop: int, report: Report) -> None:
        """Take over what a checkpoint holds below `stop`, neighbours joined as far as all lanes have them."""
        step = grain(self.problem)
        serving = [row for row in checkpoint.rows() if row.n_samples % step == 0 or row.stop == stop]
        chains, beyond = store.chains(serving, self.problem.n_streams, len(self.lanes[0].streams), stop)
        ends = collections.Counter(row.stop for chain in chains for row in store.leading(chain))
        common = max((end for end, n in ends.items() if n == len(self.lanes)), default=0)
        joined: dict[Any, Ladder] = {}
        for lane, chain, stored_from in zip(self.lanes, chains, beyond, strict=True):
            lane.stored_from = stored_from
            for rows in store.neighbours(chain, common):
                if rows not in joined:
                    joined[rows] = checkpoint.joined(rows)
                first = rows[0].first_stream
                part = joined[rows].part(range(lane.streams.start - first, lane.streams.stop - first))
                opened = [checkpoint.groups(row, lane.streams) for row in rows if self.problem.group_sizes.size]
                done = Done(part, {start: state for one in opened for start, state in one.items()}, 0.0, "")
                lane.waiting[done.start] = done
                lane.held.append((done.start, done.stop))
                report(len(lane.streams) * (done.stop - done.start))
        for lane in self.lanes:
            self._chain(lane)

    def _save(self, soon: bool) -> None:
        """Commit what is finished; with `soon`, unless the last commit is a moment ago: it waits for the disk."""
        if self._unsaved and not (soon and time.perf_counter() - self._saved < COMMIT_SECONDS):
            assert self.checkpoint is not None
            self.checkpoint.add(*self._unsaved)
            self._unsaved, self._saved = [], time.perf_counter()

    # --- reading -----------------------------------------------------------------------------------------

    def fork(self) -> "Run":
        """A run of its own that begins with what is folded here, and stores nothing."""
        other = copy.copy(self)
        other.checkpoint, other.lanes, other._reached = None, [], collections.Counter()
        for lane in self.lanes:
            twin = copy.copy(lane)
            twin.ladder, twin.waiting, twin.held, twin.end = lane.ladder.copy(), {}, [], self.at
            twin.groups = None if lane.groups is None else lane.groups.copy()
            other.lanes.append(twin)
        return other

    def _ladders(self) -> list[Ladder]:
        """The ladder of each lane, as a run of so many samples has it: with as many of the largest weights."""
        tail = kept_weights(self.at, self.problem.shape[0]) - 1
        return [lane.ladder.trimmed(tail) for lane in self.lanes]

    def summary(self) -> Summary:
        """All streams' readings, shape (n_replicates, *rows)."""
        with _executor(None, min(self.threads, len(self.lanes))) as (pool, _):
            parts = list(pool.map(Ladder.summary, self._ladders()))
        return concatenated(parts).reshaped(self.problem.shape)._replace(tail=pareto.MAX_TAIL)

    def ladder(self) -> Ladder:
        """One ladder over all streams, its shape (*rows,) for one replicate and (n_replicates, *rows) for more."""
        shape = self.problem.shape if self.problem.shape[0] > 1 else self.problem.shape[1:]
        return Ladder.beside(self._ladders(), shape)

    def group_moments(self) -> dict[int, np.ndarray]:
        """For each group size (n, mean, m2, zero groups) over rows, replicates pooled: (4, *rows)."""
        sizes = self.problem.group_sizes
        if not sizes.size:
            return {}
        whole = np.concatenate([lane.groups for lane in self.lanes if lane.groups is not None])
        states = whole.reshape(*self.problem.shape, len(sizes), groups.N_FIELDS)
        moments = pool_moments(np.moveaxis(states[..., groups.MOMENTS], -1, -2))  # (*rows, 3, sizes)
        zeros = states[..., groups.N_ZERO].sum(axis=0)
        return {
            int(size): np.stack([*np.moveaxis(moments[..., i], -1, 0), zeros[..., i]]) for i, size in enumerate(sizes)
        }


def kept_weights(n_samples: int, n_replicates: int) -> int:
    """How many of its largest weights each stream keeps for the Pareto k̂ of all replicates together.

    The pooled tail has tail_length(n·R) weights. A stream's share of them is that over R on average; twice its own
    tail is four times the share or more for R > 3, so that no stream can be expected to lack any.
    """
    pooled = pareto.tail_length(n_samples * n_replicates)
    return min(pooled, 2 * pareto.tail_length(n_samples) + 16) + 1


def grain(problem: Problem) -> int:
    """A run can be continued after a multiple of this many samples: whole blocks, and whole chunks where groups are
    open."""
    return CHUNK if problem.group_sizes.size else BLOCK


# --- where tasks run -----------------------------------------------------------------------------------------


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
    """The executor to use and how many tasks to keep in flight on it, which may change as workers come and go; one
    thread is the caller's own."""
    if given is not None:
        yield given, lambda: 4 * _width(given)
    elif threads <= 1:
        yield _Here(), lambda: 1
    else:
        pool = concurrent.futures.ThreadPoolExecutor(threads)
        try:
            yield pool, lambda: 2 * threads
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        pool.shutdown()


def _not_begun(waiting):
    """Of the tasks in flight those that wait for others; none where an executor does not tell (Dask's)."""
    begun = [future for future in waiting if future.running()]
    return [future for future in waiting if not future.running()] if begun else []


def _leave_out(waiting, futures):
    for future in futures:
        if future.cancel():
            del waiting[future]


def _width(executor):
    """How many tasks an executor runs at once, as far as it says."""
    return getattr(executor, "_max_workers", None) or os.cpu_count() or 1


def default_threads(threads: int | None) -> int:
    """Threads to use: as given, or one for each CPU this process may run on."""
    if threads is None:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return whole("threads", threads, most=1 << 16)


def _power_below(n: int) -> int:
    """The largest power of two up to n ≥ 1."""
    return 1 << (n.bit_length() - 1)


def _power_above(n: int) -> int:
    """The smallest power of two from n ≥ 1 on."""
    return 1 << (n - 1).bit_length()


def _aligned(index: int) -> int:
    """The largest power of two that divides an index."""
    return index & -index or 1 << 62
