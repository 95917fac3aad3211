"""estimate(): log p(x) of a model by importance sampling, at any number of samples.

    log p̂(x) = log (1/N) Σ p(x, z_i) / q(z_i),   z_i ~ q

Uniform, prior and importance sampling differ in q alone. One pass over the stream of log weights also reads off
the ELBO, the IWAE bounds and the Jensen gap (`logpx.ladder`). Cost: N evaluations of the log joint a row.
"""

import concurrent.futures
import contextlib
import math
import os
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from logpx import _jit, engine, pareto
from logpx.checkpoint import Checkpoint
from logpx.checks import positive_number, whole
from logpx.errors import InputError, Interrupted
from logpx.identity import facts_of
from logpx.models.base import check_x
from logpx.prepare import check_points, prepare
from logpx.result import Estimate
from logpx.tasks import Problem, replay

#: Samples a stream where nothing is said, and in the first round of a run to a target.
DEFAULT_SAMPLES = 1 << 16
_FIRST_ROUND = 1 << 14
_LAST_ROUND = 1 << 34
#: Randomisations of points that are not independent, where nothing is said.
DEFAULT_RANDOMISATIONS = 16


def estimate(
    model: Any,
    x: ArrayLike,
    *,
    proposal: Any = None,
    n_samples: int | None = None,
    target_std_error: float | None = None,
    points: str = "independent",
    n_replicates: int | None = None,
    groups: tuple[int, ...] = (),
    seed: int = 0,
    dtype: str = "float64",
    common: bool = False,
    threads: int | None = None,
    executor: Any = None,
    checkpoint: str | os.PathLike[str] | None = None,
    progress: bool = False,
) -> Estimate:
    """Estimate log p(x), the log marginal likelihood of each row of x under a model.

    Parameters
    ----------
    model : model of `logpx.models`, or logpx.Model
        What p(x, z) is.
    x : array_like, (p,) or (n, p)
        One observation, or n of them: n estimates with streams of their own.
    proposal : proposal, function x → proposal, or None
        q(z). A function is called once a row, with x of shape (p,). None takes the model's default proposal, else its
        prior.
    n_samples : int, optional
        Log weights a stream, 1 to 2^62; 2^16 if nothing is said. With target_std_error the most to use (2^34).
    target_std_error : float, optional
        Take as many samples as it needs, in powers of two, until the standard error of every row is at most this many
        nats. The result is that of a run of `n_samples` samples, bit for bit.
    points : str
        "independent", or another of `logpx.points.REGISTRY`.
    n_replicates : int, optional
        Independent streams a row, pooled in log_marginal and apart in `replicates`: 1, or 16 for points that are
        not independent.
    groups : tuple of int
        Further group sizes for `bound`, not powers of two, such as (50, 5000).
    seed : int
        Same seed, same bits, whatever the threads.
    dtype : "float64" or "float32"
        Precision of noise, latents and log joint, for kernels that declare it; weights are float64 always.
    common : bool
        All rows on the same stream instead of independent ones.
    threads : int, optional
        One for each CPU by default.
    executor : concurrent.futures.Executor, optional
        Where tasks run instead of a pool of threads: processes, or a cluster (`logpx_bench.cluster`). Same bits.
    checkpoint : path, optional
        A file that keeps every finished task. The same call goes on from there, with the bits of a run that was never
        broken off; so does one with more samples, fewer, or a target (`logpx.checkpoint`).
    progress : bool
        Show a progress bar on standard error.

    Returns
    -------
    Estimate
        log_marginal, std_error, interval, elbo, bound(k), ladder, ess, pareto_k, warnings and more.

    Raises
    ------
    InputError
        An argument that does not fit; nothing was run.
    NonFiniteWeightError
        A log weight was nan or +inf; the message names sample and z.
    StoreError
        The checkpoint is that of another run or no checkpoint, in use, or the disk is full.
    WorkerError
        The executor lost a process, or a worker cannot run what it was sent.
    Interrupted
        Ctrl-C, once: the running tasks were finished, and the error carries the estimate so far. Twice stops at once.

    Examples
    --------
    >>> import logpx
    >>> model, x = logpx.models.PPCA.example()
    >>> est = logpx.estimate(model, x[0], n_samples=4096)
    >>> bool(abs(est.log_marginal - model.log_marginal(x[0])) < 5 * est.std_error)
    True
    >>> est.elbo < est.bound(16).value < est.log_marginal
    True
    """
    threads = engine.default_threads(threads)
    if not (executor is None or isinstance(executor, concurrent.futures.Executor)):
        raise InputError(
            f"executor={executor!r}: a concurrent.futures.Executor, such as a ProcessPoolExecutor or what "
            "logpx_bench.cluster.on_client makes of a Dask client; or None for threads"
        )
    point_set = check_points(points)
    if target_std_error is not None:
        target_std_error = positive_number("target_std_error", target_std_error, "nats")
    if n_replicates is None:
        n_replicates = 1 if point_set.iid else DEFAULT_RANDOMISATIONS
    n_replicates = whole("n_replicates", n_replicates, most=1 << 32)
    if n_samples is None:
        n_samples = DEFAULT_SAMPLES if target_std_error is None else min(_LAST_ROUND, point_set.index_limit)
    n_samples = whole("n_samples", n_samples)
    point_set.check_index(n_samples)
    problem, bias_floor = prepare(
        model, x, proposal, points=point_set, replicates=np.arange(n_replicates), seed=seed, dtype=dtype,
        common=common, groups=groups,
    )  # fmt: skip
    facts = {
        "seed": seed, "dtype": dtype, "points": point_set.name, "threads": threads, "cpu_target": _jit.target(),
        "source": _jit.source_hash(),
    }  # fmt: skip
    compile_seconds, began = problem.compile(), time.perf_counter()

    def read(run: engine.Run) -> Estimate:
        return Estimate(
            run.summary(), run.ladder, groups=run.group_moments(), bias_floor=bias_floor, common=common,
            seconds=time.perf_counter() - began, compile_seconds=compile_seconds, target_std_error=target_std_error,
            provenance=facts,
        )  # fmt: skip

    total = problem.n_streams * n_samples if target_std_error is None else None
    with (
        _opened(checkpoint, problem, seed, common) as file,
        _progress(progress, total, problem.model_name, executor) as report,
    ):
        work = _Work(problem, threads, executor, file, read, report)
        if target_std_error is None:
            return work.plain(n_samples) if file is None else work.resumed(n_samples)
        return _to_target(target_std_error, n_samples, work.resumed)


@contextlib.contextmanager
def _opened(path: Any, problem: Problem, seed: int, common: bool) -> Iterator[Checkpoint | None]:
    """The checkpoint at a path, claimed for this run; None for None."""
    if path is None:
        yield None
        return
    with Checkpoint.open(path, create=True) as file:
        file.claim(facts_of(problem, seed=seed, common=common))
        yield file


class _Work:
    """One call of `estimate`, ready to run any number of samples."""

    def __init__(
        self, problem: Problem, threads: int, executor: Any, checkpoint: Checkpoint | None,
        read: Callable[[engine.Run], Estimate], report: Callable[[int], None],
    ):  # fmt: skip
        self.problem, self.checkpoint, self._read, self._report = problem, checkpoint, read, report
        self._how = threads, executor, checkpoint
        self._run: engine.Run | None = None

    def plain(self, n: int) -> Estimate:
        """A run of n samples that nothing goes on from."""
        run = engine.Run(self.problem, n, engine.kept_weights(n, self.problem.shape[0]), *self._how)
        self._reach(run, n, n)
        return self._read(run)

    def resumed(self, n: int) -> Estimate:
        """A run of n samples that goes on from the one before, or from the checkpoint, and can be gone on from: in
        memory whole grains of the stream are kept, and what is behind the last one is run apart."""
        if self._run is None or self.checkpoint is not None:
            self._run = engine.Run(self.problem, n, pareto.MAX_TAIL + 1, *self._how)
        run = self._run
        self._reach(run, n if self.checkpoint is not None else n - n % engine.grain(self.problem), n)
        if run.at < n:
            run = run.fork()
            self._reach(run, n, n)
        return self._read(run)

    def _reach(self, run: engine.Run, stop: int, n: int) -> None:
        if not run.advance(stop, self._report):
            raise self._interrupted(run, n)

    def _interrupted(self, run: engine.Run, n: int) -> Interrupted:
        """The error of a run that Ctrl-C stopped, with the estimate so far."""
        if self.checkpoint is None:
            then = "Give checkpoint='run.sqlite' to be able to go on from where a run stopped"
        else:
            then = f"The same call goes on from there: finished tasks are in {self.checkpoint.path}"
        if not run.at:
            return Interrupted(f"stopped before the first samples were finished. {then}")
        estimate = self._read(run)
        single = np.ndim(estimate.log_marginal) == 0
        value, error = (
            (estimate.log_marginal, estimate.std_error) if single else (estimate.total, estimate.total_std_error)
        )
        name = "log p̂" if single else "total log p̂"
        return Interrupted(
            f"stopped after {run.at:,} of {n:,} samples: {name} = {value:.9g} ± {error:.2g} so far. {then}", estimate
        )


def _to_target(target: float, most: int, made: Callable[[int], Estimate]) -> Estimate:
    """A pilot run, then runs of the power of two that the errors so far call for, until one meets the target.

    Each goes on from the one before, and is the run of its length, bit for bit. Errors that are not known (every weight
    zero, one randomisation) end the search.
    """
    n = min(_FIRST_ROUND, most)
    while True:
        estimate = made(n)
        worst = float(np.max(estimate.std_error))
        if not worst > target or n == most:
            return estimate
        wanted = n * (worst / target) ** 2
        n = min(max(2 * n, 1 << math.ceil(math.log2(wanted))), most) if math.isfinite(wanted) else most


@contextlib.contextmanager
def _progress(shown: bool, total: int | None, label: str, executor: Any) -> Iterator[Callable[[int], None]]:
    """A function to report finished samples to; it draws a bar if one is wanted, without an end if total is None, and
    with what the executor has to say of itself (`words`)."""
    if not shown:
        yield lambda n: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(f"log p(x) · {label}", total=total)

        def report(n: int) -> None:
            said = f" · {executor.words()}" if hasattr(executor, "words") else ""
            bar.update(task, advance=n, description=f"log p(x) · {label}{said}")

        yield report


class Samples(NamedTuple):
    """Latents z (n, d) and log weights (n,) of a range of sample indices."""

    z: np.ndarray
    log_weights: np.ndarray


def samples(
    model: Any,
    x: ArrayLike,
    proposal: Any = None,
    start: int = 0,
    stop: int | None = None,
    *,
    seed: int = 0,
    replicate: int = 0,
    row: int = 0,
    points: str = "independent",
    dtype: str = "float64",
    common: bool = False,
) -> Samples:
    """Replay samples start … stop − 1 of a stream of `estimate`, bit for bit.

    Parameters
    ----------
    model, x, proposal, seed, points, dtype, common
        As given to `estimate`.
    start, stop : int
        Range of sample indices, start < stop ≤ 2^62; stop is start + 1 if nothing is said.
    replicate, row : int
        Which stream; for x of shape (p,), row is the row it had in a larger x.

    Examples
    --------
    >>> import logpx
    >>> model, x = logpx.models.PPCA.example()
    >>> z, log_weights = logpx.samples(model, x[0], None, 1000, 1003)
    >>> z.shape, log_weights.shape
    ((3, 2), (3,))
    """
    start = whole("start", start, least=0)
    stop = whole("stop", start + 1 if stop is None else stop)
    if start >= stop:
        raise InputError(f"start={start}, stop={stop}: a range of sample indices with start < stop")
    rows, has_rows = check_x(x, getattr(model, "n_observed", None))
    single = not has_rows
    row = whole("row", row, least=0, most=(1 << 32) - 1 if single else len(rows) - 1)
    replicate = whole("replicate", replicate, least=0)
    problem, _ = prepare(
        model, x, proposal, points=points, replicates=np.array([replicate]), first_row=row if single else 0, seed=seed,
        dtype=dtype, common=common,
    )  # fmt: skip
    problem.points.check_index(stop)
    return Samples(*replay(problem, 0 if single else row, start, stop))
