"""estimate(): log p(x) of a model by importance sampling, at any number of samples.

    log p̂(x) = log (1/N) Σ p(x, z_i) / q(z_i),   z_i ~ q

Uniform, prior and importance sampling differ in q alone. One pass over the stream of log weights also reads off
the ELBO, the IWAE bounds and the Jensen gap (`logpx.ladder`). Cost: N evaluations of the log joint a row.
"""

import contextlib
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from logpx import _jit, engine
from logpx.errors import InputError
from logpx.prepare import check_count, check_points, prepare
from logpx.result import Estimate

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
        q(z). None takes the model's default proposal, else its prior.
    n_samples : int, optional
        Log weights a stream, 1 to 2^62; 2^16 if nothing is said. With target_std_error the most to use (2^34).
    target_std_error : float, optional
        Double the samples until the standard error of every row is at most this many nats.
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
        Where tasks run instead of a pool of threads.
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
    last = check_count("n_samples", _default(n_samples, target_std_error))
    if target_std_error is not None and not (np.ndim(target_std_error) == 0 and 0 < float(target_std_error) < np.inf):
        raise InputError(f"target_std_error={target_std_error!r}: a standard error in nats, above 0")
    if n_replicates is None:
        n_replicates = 1 if check_points(points).iid else DEFAULT_RANDOMISATIONS
    n_replicates = check_count("n_replicates", n_replicates, 1 << 32)
    problem, bias_floor = prepare(
        model, x, proposal, points=points, replicates=np.arange(n_replicates), seed=seed, dtype=dtype, common=common,
        groups=tuple(groups),
    )  # fmt: skip
    problem.points.check_index(last)
    run = engine.Run(problem, last, threads, executor)
    whole = problem.n_streams * last if target_std_error is None else None
    with _progress(progress, whole, problem.model_name) as report:
        for n in [last] if target_std_error is None else engine.rounds(min(_FIRST_ROUND, last), last):
            run.advance(n, report)
            made = _read(run, bias_floor, common, target_std_error, seed)
            if target_std_error is not None and np.all(made.std_error <= target_std_error):
                break
    return made


def _default(n_samples, target):
    if n_samples is not None:
        return n_samples
    return DEFAULT_SAMPLES if target is None else _LAST_ROUND


def _read(run, bias_floor, common, target, seed):
    problem = run.problem
    return Estimate(
        run.summary(),
        run.ladder,
        groups=run.group_moments(),
        bias_floor=bias_floor,
        common=common,
        seconds=run.seconds,
        compile_seconds=run.compile_seconds,
        target_std_error=target,
        provenance={
            "seed": seed, "dtype": problem.dtype, "points": problem.points.name, "threads": run.threads,
            "cpu_target": _jit.target(), "source": _jit.source_hash(),
        },
    )  # fmt: skip


@contextlib.contextmanager
def _progress(shown, total, label):
    """A function to report finished samples to; it draws a bar if one is wanted, without an end if total is None."""
    if not shown:
        yield lambda n: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(f"log p(x) · {label}", total=total)
        yield lambda n: bar.advance(task, n)


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
    stop = start + 1 if stop is None else stop
    if not (0 <= start < stop):
        raise InputError(f"start={start}, stop={stop}: a range of sample indices with 0 ≤ start < stop")
    check_count("stop", stop)
    single = np.ndim(x) == 1
    n_rows = 1 if single else len(np.asarray(x))
    if row < 0 or (not single and row >= n_rows):
        raise InputError(f"row={row}: x has rows 0 to {n_rows - 1}")
    problem, _ = prepare(
        model, x, proposal, points=points, replicates=np.array([replicate]), first_row=row if single else 0, seed=seed,
        dtype=dtype, common=common,
    )  # fmt: skip
    problem.points.check_index(stop)
    return Samples(*engine.replay(problem, 0 if single else row, start, stop))
