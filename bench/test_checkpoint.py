"""Benchmark cases: what a checkpoint costs, going on from a large one, and a ladder to bytes and back.

Before its time counts, a case must give the bits of a run without a checkpoint, or of the same ladder: error 0.

The overhead is the median over pairs of runs in turn, one with a checkpoint and one without, of the ratio of their wall
times: `ratio_to_no_checkpoint` beside the time of the run with one. The allowance of 1 % is for tasks of a second, and
is looked at in the case marked `large` (about half a minute); the short one says what a run of a second pays.
"""

import itertools
import statistics
import time

import numpy as np
import pytest

import logpx
from logpx import Checkpoint, packing
from logpx.ladder import Ladder

BITS = "1 if any bit differs from the run without a checkpoint"
PPCA, X = logpx.models.PPCA.example()
#: Most that a run of tasks of a second may take with a checkpoint, as a ratio to its time without.
OVERHEAD = 1.01
#: Most seconds that going on from 10^5 tasks may take.
RESUME_SECONDS = 2.0


def timed(**options):
    start = time.perf_counter()
    made = logpx.estimate(PPCA, X[0], **options)
    return time.perf_counter() - start, made


def pairs(folder, n_samples, rounds, seeds):
    """Ratios of the time with a checkpoint to that without, in turn, each first every other time."""
    ratios = []
    for i, seed in zip(range(rounds), seeds, strict=False):
        options = [{"checkpoint": folder / f"{seed}.sqlite"}, {}]
        seconds, bits = {}, set()
        for one in options if i % 2 else options[::-1]:
            seconds[len(one)], made = timed(n_samples=n_samples, seed=seed, **one)
            bits.add(made.ladder.to_bytes())
        assert len(bits) == 1
        ratios.append(seconds[1] / seconds[0])
        (folder / f"{seed}.sqlite").unlink()
    return ratios


@pytest.mark.parametrize(
    ("log2_samples", "rounds", "most"),
    [(22, 3, None), pytest.param(30, 9, OVERHEAD, marks=pytest.mark.large)],
    ids=["short", "tasks-of-a-second"],
)
def test_overhead(benchmark, tmp_path, log2_samples, rounds, most):
    seeds = itertools.count(1)
    pairs(tmp_path, 1 << 20, 1, seeds)
    ratios = pairs(tmp_path, 1 << log2_samples, rounds if benchmark.enabled else 1, seeds)
    ratio = statistics.median(ratios)
    if benchmark.enabled and most is not None:
        assert ratio < most, f"with a checkpoint a run takes {sorted(ratios)} times as long; {most} is the most"
    benchmark.group = "checkpoint"
    benchmark.extra_info.update(n=1 << log2_samples, error=0.0, error_is=BITS, ratio_to_no_checkpoint=ratio)
    benchmark.pedantic(
        lambda seed: timed(n_samples=1 << log2_samples, seed=seed, checkpoint=tmp_path / f"{seed}.sqlite"),
        setup=lambda: ((next(seeds),), {}),
        rounds=1,
    )


def filled(path, n_rows, height=20):
    """A checkpoint of so many tasks of 2^height samples, all with the numbers of one; their ladder, one by one."""
    rng = np.random.default_rng(0)
    node = Ladder((1,)).update(rng.normal(size=(1, 1 << height)))._nodes[height, 0]
    with Checkpoint.open(path, create=True) as file:
        file._connection.execute("BEGIN")
        for i in range(n_rows):
            top = -np.sort(-rng.normal(size=(1, 4097 * 8 // (i + 8))))  # as many as a floor lets through
            span = [(i << height, (i + 1) << height)]
            blob = packing.pack(packing.State((1,), True, 4096, span, {(height, i): node}, {}, top))
            values = (0, 1, i << height, 1 << height, 1.0, "", "", 0, blob, b"")
            file._connection.execute(f"INSERT INTO tasks VALUES ({', '.join('?' * len(values))})", values)
        file._connection.execute("COMMIT")


@pytest.mark.parametrize("n_rows", [2000, pytest.param(100_000, marks=pytest.mark.large)])
def test_going_on_from_many_tasks(benchmark, tmp_path, n_rows):
    """The same call again, with nothing left to run: all of it, from opening the file to the estimate."""
    path = tmp_path / "run.sqlite"
    filled(path, n_rows)
    _, found = timed(n_samples=n_rows << 20, checkpoint=path)
    if n_rows == 2000:
        with Checkpoint.open(path) as file:
            one_by_one = Ladder((1,), tail=4096)
            for _, ladder in file.ladders():
                one_by_one.merge(ladder)
        assert found.ladder == Ladder.beside([one_by_one.trimmed(found.ladder.tail)], ())
    assert found.ladder.spans == ((0, n_rows << 20),)
    benchmark.group = "checkpoint"
    benchmark.extra_info.update(n=n_rows, error=0.0, error_is=BITS)
    walls = []
    benchmark.pedantic(
        lambda: walls.append(timed(n_samples=n_rows << 20, checkpoint=path)[0]), rounds=5 if benchmark.enabled else 1
    )
    assert statistics.median(walls) < RESUME_SECONDS, "of 2000 as well: a time that grows as the square shows there"


@pytest.mark.parametrize("way", ["to_bytes", "from_bytes"])
def test_bytes(benchmark, way):
    ladder = Ladder().update(np.random.default_rng(0).normal(size=(1 << 20) + 77))
    data = ladder.to_bytes()
    assert Ladder.from_bytes(data) == ladder
    benchmark.group = "checkpoint"
    benchmark.extra_info.update(n=len(data), error=0.0, error_is="1 if any byte does not come back")
    benchmark(ladder.to_bytes if way == "to_bytes" else lambda: Ladder.from_bytes(data))
