"""Exact tests of how a run hands tasks over: their sizes, when they are committed, and executors that fail.

Chunks are made small here (`small`), as in test_checkpoint.
"""

import concurrent.futures
import itertools
import signal
import threading
import time

import pytest

import logpx
from logpx import Checkpoint, engine, tasks
from logpx.errors import InputError, Interrupted, WorkerError

PPCA, X = logpx.models.PPCA.example()
SMALL = 1 << 14


def test_tasks_grow_to_about_a_second(path, ran, monkeypatch):
    monkeypatch.setattr(engine, "TASK_SECONDS", 0.02)
    logpx.estimate(PPCA, X[0], n_samples=1 << 25, checkpoint=path, threads=1)
    counts = [count for *_, count in ran]
    assert counts[0] == engine.SMALLEST, "nothing is known of their speed"
    assert 1 << 19 <= max(counts) <= 1 << 23
    assert all(count & (count - 1) == 0 and start % count == 0 for *_, start, count in ran)


def test_tasks_of_a_long_run_grow_to_one_call_of_the_driver(ran):
    """Larger ones save a tenth of the time; the last are smaller again, so that threads end together."""
    logpx.estimate(PPCA, X[0], n_samples=1 << 24, threads=1)
    counts = [count for *_, count in ran]
    assert counts[0] == tasks.CHUNK, "nothing is known of their speed"
    assert max(counts) == tasks.CALL
    assert counts[-1] < tasks.CALL
    assert min(counts) == tasks.CHUNK


def test_tasks_of_a_slow_kernel_stay_small(path, ran, monkeypatch):
    """50 µs a sample, pretended."""
    run_task = engine.run_task
    slow = lambda *what: run_task(*what)._replace(seconds=50e-6 * what[2])  # noqa: E731
    monkeypatch.setattr(engine, "run_task", slow)
    logpx.estimate(PPCA, X[0], n_samples=1 << 22, checkpoint=path, threads=2)
    assert {count for *_, count in ran} == {engine.SMALLEST}
    ran.clear()
    logpx.estimate(PPCA, X[0], n_samples=1 << 23, threads=2)
    assert ran[-1][-1] == engine.SMALLEST, "also where nothing is kept"


def until(condition):
    """Wait for it, ten seconds at most."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and not condition():
        time.sleep(0.002)


def n_stored(path):
    with Checkpoint.open(path) as file:
        return len(file.rows())


def test_finished_tasks_are_committed_while_a_long_one_runs(small, path, monkeypatch):
    """The second ends at once after a commit; the third does not end before the second is committed."""
    seen, run_task = {}, engine.run_task

    def waits(part, start, *rest):
        number = start // SMALL
        if number:
            until(lambda: n_stored(path) >= number)
            seen[number] = n_stored(path)
        return run_task(part, start, *rest)

    monkeypatch.setattr(engine, "run_task", waits)
    logpx.estimate(PPCA, X[0], n_samples=3 * SMALL, checkpoint=path, threads=2)
    assert seen == {1: 1, 2: 2}


class Breaks(concurrent.futures.Executor):
    """Runs five tasks where they are submitted, four of which are awaited then, and breaks."""

    _max_workers, n = 1, 0

    def submit(self, fn, /, *args):
        self.n += 1
        if self.n == 6:
            raise concurrent.futures.BrokenExecutor("gone")
        future = concurrent.futures.Future()
        future.set_result(fn(*args))
        return future


def test_an_executor_that_breaks_is_told_and_what_was_finished_is_kept(small, path, monkeypatch):
    monkeypatch.setattr(engine, "COMMIT_SECONDS", 1e9)
    with pytest.raises(WorkerError, match=r"a process of the pool died.*goes on from its checkpoint"):
        logpx.estimate(PPCA, X[0], n_samples=8 * SMALL, checkpoint=path, executor=Breaks())
    assert n_stored(path) == 4


def test_a_task_that_is_cancelled_from_outside_is_told(small):
    class Cancels(concurrent.futures.Executor):
        def submit(self, fn, /, *args):
            future = concurrent.futures.Future()
            future.cancel()
            future.set_running_or_notify_cancel()
            return future

    with pytest.raises(WorkerError, match="a task was cancelled by something other than this run"):
        logpx.estimate(PPCA, X[0], n_samples=5000, executor=Cancels())


def test_ctrl_c_waits_for_running_tasks_alone(small, path, ran, monkeypatch):
    """Eight tasks are in flight on two threads when it comes."""
    run_task, main, numbers = engine.run_task, threading.main_thread().ident, itertools.count()

    def slow(*what):
        number, done = next(numbers), run_task(*what)
        time.sleep(0.2)
        if number == 0:
            signal.pthread_kill(main, signal.SIGINT)
        return done

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    monkeypatch.setattr(engine, "run_task", slow)
    try:
        with concurrent.futures.ThreadPoolExecutor(2) as pool, pytest.raises(Interrupted):
            logpx.estimate(PPCA, X[0], n_samples=64 * SMALL, executor=pool, checkpoint=path)
    finally:
        signal.signal(signal.SIGINT, before)
    assert len(ran) <= 5
    assert n_stored(path) == len(ran)


@pytest.mark.parametrize("given", [5, True, "dask", concurrent.futures.ThreadPoolExecutor, object()])
def test_what_is_no_executor_is_refused(given):
    with pytest.raises(InputError, match=r"executor=.*: a concurrent\.futures\.Executor"):
        logpx.estimate(PPCA, X[0], n_samples=10, executor=given)
