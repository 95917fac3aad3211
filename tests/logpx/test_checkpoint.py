"""Exact tests of checkpoints: whatever was stored when, the result is that of a run that was never broken off.

Chunks are made small here (`small`), so that a run of a few hundred thousand samples is one of many tasks.
"""

import concurrent.futures
import itertools
import random
import shutil
import sqlite3

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import logpx
from logpx import Checkpoint, checkpoint, engine, storefile, tasks
from logpx._jit import BLOCK
from logpx.errors import StoreError
from logpx.ladder import Ladder
from logpx.proposals import Prior

PPCA, X = logpx.models.PPCA.example()
SMALL = 1 << 14


def same(a, b):
    assert a.n_samples == b.n_samples
    assert a.ladder.to_bytes() == b.ladder.to_bytes()
    np.testing.assert_array_equal(a.log_marginal, b.log_marginal)
    np.testing.assert_array_equal(a.std_error, b.std_error)
    if a.ladder.iid:
        np.testing.assert_array_equal(a.pareto_k, b.pareto_k)
    for size in a._groups:
        np.testing.assert_array_equal(a.bound(size), b.bound(size))


# --- any run of the stream, in any order -------------------------------------------------------------------

CASES = {
    "one stream": ({"x": X[0]}, [300_000, 5, 300_000, 40_000, 1024, 600_123, 1 << 19]),
    "rows": ({"x": X, "n_replicates": 3}, [5000, 90, 70_000, 20_000]),
    "not independent": ({"x": X[0], "points": "sobol", "n_replicates": 4}, [3000, 70_001, 2048]),
    "common": ({"x": X[:3], "proposal": Prior(), "common": True, "dtype": "float32"}, [9000, 33_000]),
}


@pytest.mark.parametrize("case", CASES)
def test_more_samples_or_fewer_are_the_run_of_so_many(case, small, path):
    options, counts = CASES[case]
    for i, n in enumerate(counts):
        alone = logpx.estimate(PPCA, **options, n_samples=n, threads=1 + i % 2)
        same(logpx.estimate(PPCA, **options, n_samples=n, checkpoint=path, threads=1 + (i // 2) % 3), alone)


def test_groups_go_on_too(path):
    options = {"x": X[:2], "groups": (50, 5000)}
    for n in (2 * tasks.CHUNK + 777, 5000, 3 * tasks.CHUNK, tasks.CHUNK + 1):
        same(
            logpx.estimate(PPCA, **options, n_samples=n, checkpoint=path), logpx.estimate(PPCA, **options, n_samples=n)
        )


def test_nothing_that_is_there_is_run_again(small, path, ran):
    logpx.estimate(PPCA, X[0], n_samples=1 << 17, checkpoint=path)
    assert sum(count for *_, count in ran) == 1 << 17
    ran.clear()
    logpx.estimate(PPCA, X[0], n_samples=1 << 17, checkpoint=path)
    assert ran == []
    logpx.estimate(PPCA, X[0], n_samples=(1 << 18) + 100, checkpoint=path)
    assert sum(count for *_, count in ran) == (1 << 17) + 100
    assert min(start for _, _, start, _ in ran) == 1 << 17
    ran.clear()
    logpx.estimate(PPCA, X[0], n_samples=(1 << 18) + 100, checkpoint=path)
    assert ran == [], "what is left of a block is there too"
    with Checkpoint.open(path) as file:
        assert file.n_samples == (1 << 18) + 100
        assert [row.start for row in file.rows()] == sorted(row.start for row in file.rows())


@pytest.mark.parametrize("groups", [(), (50, 400)])
def test_short_streams_are_kept_whole(groups, path, ran):
    """Shorter than a block, or than a chunk with open groups; a longer run does not go on from within one."""
    for n in (500, 5000, 4500, 6000):
        options = {"x": X[:3], "groups": groups, "n_samples": n}
        alone = logpx.estimate(PPCA, **options)
        same(logpx.estimate(PPCA, **options, checkpoint=path), alone)
        ran.clear()
        same(logpx.estimate(PPCA, **options, checkpoint=path), alone)
        assert ran == []
    with Checkpoint.open(path) as file:
        assert file.n_samples == 6000
        assert {row.start for row in file.rows()} == ({0} if groups else {0, 4096, 5120})


def test_a_row_that_reaches_beyond_is_neither_used_nor_stored_twice(path, ran):
    logpx.estimate(PPCA, X[0], n_samples=1 << 17, checkpoint=path, threads=1)
    with Checkpoint.open(path) as file:
        before = file.rows()
    assert before[0].n_samples > 1 << 14
    same(logpx.estimate(PPCA, X[0], n_samples=1 << 14, checkpoint=path), logpx.estimate(PPCA, X[0], n_samples=1 << 14))
    with Checkpoint.open(path) as file:
        assert file.rows() == before


def test_a_run_to_a_target_goes_on(small, path, ran):
    direct = logpx.estimate(PPCA, X[:2], target_std_error=0.003, seed=3)
    assert direct.n_samples > 1 << 14
    assert sum(n * count for _, n, _, count in ran) == 2 * direct.n_samples, "no sample was run twice"
    kept = logpx.estimate(PPCA, X[:2], target_std_error=0.003, seed=3, checkpoint=path)
    same(kept, direct)
    ran.clear()
    same(logpx.estimate(PPCA, X[:2], target_std_error=0.003, seed=3, checkpoint=path), direct)
    assert ran == []
    same(
        logpx.estimate(PPCA, X[:2], n_samples=2 * direct.n_samples, seed=3, checkpoint=path),
        logpx.estimate(PPCA, X[:2], n_samples=2 * direct.n_samples, seed=3),
    )


class Shuffled(concurrent.futures.Executor):
    """Runs every task twice, much later, in any order; gives the second result."""

    def __init__(self, seed):
        self.random, self.pending = random.Random(seed), []

    def submit(self, fn, /, *args):
        future = concurrent.futures.Future()
        self.pending.append((future, fn, args))
        return future

    def wait(self, futures, **how):
        while not any(future.done() for future in futures):
            future, fn, args = self.pending.pop(self.random.randrange(len(self.pending)))
            if future.set_running_or_notify_cancel():
                fn(*args)
                future.set_result(fn(*args))
        return _wait(futures, **how)


_wait = concurrent.futures.wait


@pytest.mark.parametrize("seed", range(3))
def test_tasks_that_end_in_any_order_and_run_twice(seed, small, path, monkeypatch):
    executor = Shuffled(seed)
    monkeypatch.setattr(engine.concurrent.futures, "wait", executor.wait)
    shuffled = logpx.estimate(PPCA, X[:2], n_samples=200_000, executor=executor, checkpoint=path)
    monkeypatch.undo()
    same(shuffled, logpx.estimate(PPCA, X[:2], n_samples=200_000, threads=1))


def test_gaps_are_filled(small, path):
    """Rows taken away at random, of either lane: what is missing is run, what is there is used."""
    whole = logpx.estimate(PPCA, X[:2], n_samples=300_000, checkpoint=path)
    for seed in range(4):
        with sqlite3.connect(path) as file:
            file.execute("DELETE FROM tasks WHERE (rowid * 7919 + ?) % 3 = 0", [seed])
        file.close()
        same(logpx.estimate(PPCA, X[:2], n_samples=300_000, checkpoint=path), whole)


@given(st.data())
@settings(deadline=None, max_examples=25)
def test_any_split_into_tasks_gives_the_same_ladder(data):
    """Aligned tasks of any sizes, in any order, with the floors of any weights before them."""
    n = data.draw(st.integers(1, 40 * BLOCK))
    problem, _ = logpx.prepare.prepare(PPCA, X[:2], replicates=np.arange(1))
    part, spans, at = problem.part(range(2)), [], 0
    while at < n:
        most = min(at & -at or 1 << 20, 1 << (n - at).bit_length())
        count = data.draw(st.sampled_from([1 << i for i in range(10, max(11, most.bit_length()))]))
        spans.append((at, min(count, n - at)))
        at += count
    whole, parts = Ladder((2,), tail=30), []
    for start, count in spans:
        parts.append(tasks.run_task(part, start, count, 31, whole.floor).ladder)
        if data.draw(st.booleans()):
            whole = Ladder((2,), tail=30)
            for one in parts:
                whole.merge(one)
    joined = Ladder((2,), tail=30)
    for one in data.draw(st.permutations(parts)):
        joined.merge(one)
    assert joined == tasks.run_task(part, 0, n, 31, np.full(2, -np.inf)).ladder
    assert Ladder.joined(one.to_bytes() for one in parts) == joined


@given(
    st.integers(1, 5), st.sampled_from([1 << i for i in range(10, 18)]), st.integers(0, 17), st.integers(1, 60_000),
    st.integers(1, 9),
)  # fmt: skip
@settings(deadline=None, max_examples=15)
def test_any_threads_and_sizes_of_lanes_and_tasks_give_the_same_ladder(threads, smallest, task, n, rows):
    x = np.resize(X, (rows, X.shape[1]))
    alone = logpx.estimate(PPCA, x, n_samples=n, threads=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "SMALLEST", smallest)
        patch.setattr(engine, "CHUNK", max(smallest, SMALL))
        patch.setattr(engine, "TASK", 1 << task)
        same(logpx.estimate(PPCA, x, n_samples=n, threads=threads), alone)


def test_short_runs_use_every_thread(ran):
    """A last round is to be full, and a task costs something: three threads are done sooner with eight than four."""
    for threads, count in ((1, 1 << 20), (2, 1 << 19), (3, 1 << 17)):
        logpx.estimate(PPCA, X[0], n_samples=1 << 20, threads=threads)
        assert {count for *_, count in ran} == {count}
        ran.clear()
    logpx.estimate(PPCA, np.resize(X, (64, 8)), n_samples=1 << 12, threads=4)
    assert len(ran) == 8
    ran.clear()
    logpx.estimate(PPCA, X[0], n_samples=1 << 15, threads=4)
    assert ran == [(0, 1, 0, 1 << 15)]
    ran.clear()
    logpx.estimate(PPCA, X[0], n_samples=1 << 21, threads=2, groups=(50,))
    assert {count for *_, count in ran} == {tasks.CHUNK}, "the bits of groups depend on the chunk"


# --- rows --------------------------------------------------------------------------------------------------


def done_of(start, count, row=0, floor=-np.inf):
    problem, _ = logpx.prepare.prepare(PPCA, X[row], replicates=np.arange(1))
    return tasks.run_task(problem, start, count, 4097, np.full(1, floor))


def test_a_task_that_was_run_twice_is_ignored(path):
    with Checkpoint.open(path, create=True) as file:
        one, other = done_of(0, 4096), done_of(4096, 4096)
        assert file.add((range(1), one)) == 1
        assert file.add((range(1), done_of(0, 4096))) == 0
        assert file.add((range(1), done_of(0, 4096, floor=-12.0))) == 0, "with fewer of the largest weights"
        assert file.add((range(1), one), (range(1), other), (range(1), other)) == 1
        assert (len(file.rows()), file.n_samples) == (2, 8192)
        with pytest.raises(StoreError, match=r"samples 0 … 4095 of streams 0 … 0 are there with other bits"):
            file.add((range(1), done_of(8192, 1024)), (range(1), done_of(0, 4096, row=1)))
        assert (len(file.rows()), file.n_samples) == (2, 8192)
        assert [ladder.spans for _, ladder in file.ladders()] == [((0, 4096),), ((4096, 8192),)]


def test_two_checkpoints_of_one_run_merge(small, tmp_path, ran):
    a, b, c = (tmp_path / f"{name}.sqlite" for name in "abc")
    logpx.estimate(PPCA, X[:3], n_samples=100_000, checkpoint=a)
    shutil.copy(a, b)
    for file, odd in ((a, 0), (b, 1)):
        with sqlite3.connect(file) as connection:
            connection.execute("DELETE FROM tasks WHERE rowid % 2 = ?", [odd])
        connection.close()
    logpx.estimate(PPCA, X[0], n_samples=5000, checkpoint=c)
    with Checkpoint.open(a, create=True) as file:
        before = len(file.rows())
        assert file.merge(b) > 0
        assert file.merge(b) == 0
        assert file.merge(a) == 0
        assert len(file.rows()) > before
        with pytest.raises(StoreError, match=r"another run.*streams"):
            file.merge(c)
    ran.clear()
    logpx.estimate(PPCA, X[:3], n_samples=98_304, checkpoint=a)
    assert ran == []
    with sqlite3.connect(b) as connection:
        ((ladder,),) = connection.execute("SELECT ladder FROM tasks LIMIT 1")
        other = Ladder.from_bytes(ladder)
        next(iter(other._nodes.values())).heads[0, 0] += 1e-9
        connection.execute(
            "UPDATE tasks SET ladder = ? WHERE rowid = (SELECT min(rowid) FROM tasks)", [other.to_bytes()]
        )
    connection.close()
    with Checkpoint.open(a, create=True) as file:
        rows = file.rows()
        with pytest.raises(StoreError, match="with other bits"):
            file.merge(b)
        assert file.rows() == rows
    with Checkpoint.open(tmp_path / "new.sqlite", create=True) as file:
        assert file.merge(a) == len(rows)


def altered(data, at):
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


@pytest.mark.parametrize("damaged", ["theirs", "theirs, and not here", "groups", "ours"])
def test_a_damaged_task_is_not_merged(damaged, tmp_path):
    a, b = tmp_path / "a.sqlite", tmp_path / "b.sqlite"
    for file in (a, b):
        logpx.estimate(PPCA, X[0], n_samples=5000, groups=(50,), checkpoint=file)
    with sqlite3.connect(a if damaged == "ours" else b) as connection:
        column = "groups" if damaged == "groups" else "ladder"
        ((data,),) = connection.execute(f"SELECT {column} FROM tasks")
        connection.execute(f"UPDATE tasks SET {column} = ?", [altered(data, len(data) - 20)])
    connection.close()
    if damaged == "theirs, and not here":
        with sqlite3.connect(a) as connection:
            connection.execute("DELETE FROM tasks")
        connection.close()
    before = a.read_bytes()
    name = "a" if damaged == "ours" else "b"
    with (
        Checkpoint.open(a, create=True) as file,
        pytest.raises(StoreError, match=rf"{name}\.sqlite is damaged: samples"),
    ):
        file.merge(b)
    assert a.read_bytes() == before


def test_what_sqlite_left_of_a_deleted_file_is_not_taken_over(path):
    """After a kill there is a log beside; who deletes the file alone and runs again must not get the old run back."""
    file = Checkpoint.open(path, create=True)
    file.claim({"seed": 1})
    file.add((range(1), done_of(0, 1 << 14, row=1)))
    left = {end: path.with_name(path.name + end).read_bytes() for end in ("-wal", "-shm")}
    assert left["-wal"]
    file.close()
    path.unlink()
    for end, data in left.items():
        path.with_name(path.name + end).write_bytes(data)
    made = logpx.estimate(PPCA, X[0], n_samples=5000, checkpoint=path)
    same(made, logpx.estimate(PPCA, X[0], n_samples=5000))
    with Checkpoint.open(path) as again:
        assert again.n_samples == 5000


def test_reading_writes_nothing_even_where_nothing_can_be_written(path, monkeypatch):
    made = logpx.estimate(PPCA, X[0], n_samples=5000, checkpoint=path)
    before = path.read_bytes()
    with sqlite3.connect(path) as file:
        file.execute("PRAGMA journal_mode = DELETE")
    file.close()
    for writable in (True, False):
        monkeypatch.setattr(storefile.os, "access", lambda *_, writable=writable: writable)
        changed = path.read_bytes()
        with Checkpoint.open(path) as file:
            assert file.joined(file.rows()).estimate().log_marginal == made.log_marginal
            assert [one.name for one in path.parent.iterdir()] == [path.name], "nor is anything made beside"
        assert path.read_bytes() == changed
        path.write_bytes(before)


@pytest.mark.parametrize("n_rows", [1, 3000])
def test_many_rows_are_read_at_once(n_rows, path):
    """Rows of single blocks, more than are fetched at a time."""
    log_weights = np.random.default_rng(0).normal(0.0, 2.0, (1, n_rows * BLOCK))
    whole = Ladder((1,), tail=300).update(log_weights)
    with Checkpoint.open(path, create=True) as file:
        file._connection.execute("BEGIN")
        for i in range(n_rows):
            block = log_weights[:, i * BLOCK : (i + 1) * BLOCK]
            blob = Ladder((1,), tail=300).update(block, start=i * BLOCK).to_bytes()
            values = (0, 1, i * BLOCK, BLOCK, 0.1, "here", "now", 0, blob, b"")
            file._connection.execute(f"INSERT INTO tasks VALUES ({', '.join('?' * len(values))})", values)
        file._connection.execute("COMMIT")
        assert file.joined(file.rows()) == whole
        assert file.n_samples == n_rows * BLOCK


# --- which rows serve --------------------------------------------------------------------------------------


def row(first_stream, n_streams, start, n_samples, ids=itertools.count()):  # noqa: B008
    return checkpoint.Row(next(ids), first_stream, n_streams, start, n_samples)


def test_lanes_lie_within_rows():
    assert checkpoint.lane_size([], 100, 64) == 64
    assert checkpoint.lane_size([row(0, 16, 0, 8), row(96, 4, 0, 8)], 100, 64) == 16
    assert checkpoint.lane_size([row(0, 64, 0, 8), row(64, 36, 0, 8)], 100, 64) == 64
    assert checkpoint.lane_size([row(96, 4, 0, 8)], 100, 64) == 32


def test_of_rows_that_overlap_the_largest_serves():
    rows = [row(0, 2, 0, 8), row(0, 1, 0, 4), row(0, 1, 4, 4), row(1, 1, 8, 8), row(1, 1, 16, 16)]
    (first, second), beyond = checkpoint.chains(rows, 2, 1, 24)
    assert [(r.start, r.stop) for r in first] == [(0, 8)]
    assert [(r.start, r.stop) for r in second] == [(0, 8), (8, 16)]
    assert beyond == [24, 16]
    assert [[r.start for r in run] for run in checkpoint.neighbours(second, 24)] == [[0], [8]], "other streams"
    lane = [row(0, 1, start, 4) for start in (0, 4, 8, 16, 20)]
    assert [[r.start for r in run] for run in checkpoint.neighbours(lane, 8)] == [[0, 4], [8], [16, 20]]
    (first, second), beyond = checkpoint.chains(rows, 2, 1, 4)
    assert [(r.start, r.stop) for r in first] == [(0, 4)]
    assert second == []
    assert beyond == [0, 0]
