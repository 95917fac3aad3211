"""plan(): how many samples a target standard error takes, and how long they run, from a pilot.

The delta method gives std_error = CV/√k with CV² = Var(w)/p(x)², so that

    k = CV²/target²,     seconds = fixed + k · rows · (seconds a sample)

for the row that needs most. CV² comes from R = 32 independent replicates of the pilot, pooled; its interval is the
jackknife over them, of log CV² with Student's t at R − 1 degrees (B. Efron and C. Stein, 1981, Ann. Statist. 9,
586-596), and holds for all rows at once (Bonferroni). Its upper end is raised by what a generalised Pareto tail of
shape k̂, taken 1.96 of its standard errors (1 + k̂)/√M higher, has beyond the largest of M tail weights, a share
M^(2k̂−1) of its second moment; from 1/2 on that is everything, and there is no upper end. Speed is timed after
compiling, on runs of their own: the median of eight, from the fastest to the slowest, and apart from it the fixed cost
of a call.

A pilot sees only what its weights have hit. Where their tail is too heavy (Pareto k̂, see `logpx.pareto`) or has no k̂,
unless the largest weights are one value that is hit often, where few of them count, or all are zero, CV² may grow with
the pilot: k is then a lower bound, its interval has no upper end, and `reasons` says why. Cost: the pilot, and about
`timing_seconds`.
"""

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import scipy
from numpy.typing import ArrayLike

from logpx import pareto
from logpx._jit import BLOCK
from logpx.checks import positive_number, whole
from logpx.engine import default_threads
from logpx.errors import InputError
from logpx.estimate import estimate
from logpx.prepare import check_points
from logpx.result import Estimate
from logpx.totals import pool

#: Coverage of every interval.
LEVEL = 0.95
#: Independent parts of the pilot, from whose spread the interval of k comes.
_REPLICATES = 32
#: Effective samples below which a pilot has seen too little.
_FEWEST = 100
#: Runs timed.
_TIMINGS = 8
#: Relative variance of weights that differ by rounding alone.
_ROUNDING = 1e-18


class Predicted(NamedTuple):
    """A prediction and its interval: `value`, from `low` to `high`."""

    value: float
    low: float
    high: float

    def scaled(self, factor: float) -> "Predicted":
        """All three times a factor."""
        return Predicted(*(factor * one for one in self))


@dataclass(frozen=True, eq=False)
class Plan:
    """What a run to a target standard error takes.

    Attributes
    ----------
    target_std_error : float
        Nats, for each row of x.
    k : Predicted
        Samples a row, for the row that needs most.
    seconds : Predicted
        Wall time of one call on `threads` threads, without compiling.
    ns_per_sample : Predicted
        Nanoseconds a sample and row on these threads together: median, fastest and slowest of the timed runs.
    fixed_seconds : float
        Cost of a call whatever its length; part of `seconds`.
    lower_bound : bool
        The pilot cannot be trusted: k and all that follows from it are lower bounds, and the upper ends are inf.
    reasons : tuple of str
        Why; empty if it can be trusted.
    worst_row : int
        The row of x that needs most, as far as the pilot has seen.
    row_k, row_pareto_k, row_ess : ndarray (n,)
        Each row's k, its Pareto k̂ (nan where undefined), and its effective sample size in the pilot.
    n_rows, pilot_samples, threads : int
        Rows of x, pilot samples a row, threads that were timed.
    bias_floor : float
        Nats that stay missing at any k, because the proposal leaves out mass; nan if unknown.
    compile_seconds : float
        What this process spent on compiling, or on loading kernels; not part of `seconds`.
    """

    target_std_error: float
    k: Predicted
    seconds: Predicted
    ns_per_sample: Predicted
    fixed_seconds: float
    lower_bound: bool
    reasons: tuple[str, ...]
    worst_row: int
    row_k: np.ndarray
    row_pareto_k: np.ndarray
    row_ess: np.ndarray
    n_rows: int
    pilot_samples: int
    threads: int
    bias_floor: float
    compile_seconds: float

    @property
    def machine_hours(self) -> Predicted:
        """Hours of one machine of this kind with `threads` threads."""
        return self.seconds.scaled(1 / 3600)

    @property
    def core_hours(self) -> Predicted:
        """`machine_hours` times `threads`."""
        return self.machine_hours.scaled(self.threads)

    def words(self) -> str:
        """The plan as text, a few lines."""
        least = "at least " if self.lower_bound else ""
        of_row = f", for row {self.worst_row} of {self.n_rows}" if self.n_rows > 1 else ""
        lines = [
            f"standard error {self.target_std_error:g} nats{of_row}",
            f"  k              {least}{_span(self.k)} samples a row",
            f"  time           {least}{_span(self.seconds)} s on {_threads(self.threads)}",
            f"  machine-hours  {least}{_span(self.machine_hours)}",
            f"  core-hours     {least}{_span(self.core_hours)}",
            f"  speed          {_span(self.ns_per_sample)} ns a sample, and {self.fixed_seconds:.2g} s a call",
            f"  pilot          {self.pilot_samples} samples a row, ESS {self.row_ess[self.worst_row]:.4g}, "
            f"Pareto k̂ {_pareto_words(self.row_pareto_k[self.worst_row])}",
        ]
        if not self.bias_floor <= 2e-12:
            size = "of unknown size" if math.isnan(self.bias_floor) else f"of up to −{self.bias_floor:.3g} nats"
            lines.append(f"  beside it      a bias {size} at any k: the proposal leaves out mass")
        if self.lower_bound:
            lines += ["The pilot cannot be trusted, and k is a lower bound:", *(f"  {said}" for said in self.reasons)]
        return "\n".join(lines)

    __str__ = words


def plan(
    model: Any,
    x: ArrayLike,
    target_std_error: float,
    *,
    proposal: Any = None,
    pilot_samples: int = 1 << 16,
    points: str = "independent",
    seed: int = 0,
    dtype: str = "float64",
    threads: int | None = None,
    timing_seconds: float = 2.0,
) -> Plan:
    """Predict what an estimate to a target standard error takes.

    Parameters
    ----------
    model, x, proposal, seed, dtype, threads
        As `estimate` takes them. The target holds for each row of x.
    target_std_error : float
        Nats.
    pilot_samples : int
        Samples a row in the pilot, from 1024 on; they are rounded up to a multiple of 32.
    points : str
        Independent ones: the law std_error = CV/√k is theirs.
    timing_seconds : float
        How long to time for, about.

    Returns
    -------
    Plan
        k, seconds, machine_hours and core_hours, each with a 95 % interval, which has no upper end where the variance
        of the weights may be infinite; reasons where they are lower bounds.

    Raises
    ------
    InputError
        An argument that does not fit, points that are not independent among them.
    NonFiniteWeightError
        A log weight was nan or +inf.

    Examples
    --------
    >>> import logpx
    >>> model, x = logpx.models.PPCA.example()
    >>> planned = logpx.plan(model, x[0], 1e-3, timing_seconds=0.05)
    >>> planned.k.low < planned.k.value < planned.k.high
    True
    >>> planned.lower_bound, planned.reasons
    (False, ())
    """
    target = positive_number("target_std_error", target_std_error, "nats")
    budget = positive_number("timing_seconds", timing_seconds, "seconds")
    pilot_samples = whole("pilot_samples", pilot_samples, least=1024, most=1 << 40)
    point_set, threads = check_points(points), default_threads(threads)
    if not point_set.iid:
        raise InputError(
            f"points={points!r}: a plan needs independent points. The error of {point_set.name} points does not fall "
            "like CV/√k, at which rate it does depends on the model: run twice, and compare the errors"
        )

    def run(count: int, replicates: int = 1) -> Estimate:
        return estimate(
            model, x, proposal=proposal, n_samples=count, n_replicates=replicates, seed=seed, dtype=dtype,
            threads=threads,
        )  # fmt: skip

    pilot = run(-(-pilot_samples // _REPLICATES), _REPLICATES)
    rows = _read(pilot, np.size(pilot.log_marginal))
    k_low, ks, k_high = (np.maximum(np.ceil(cv2 / target**2), 2.0) for cv2 in (rows.low, rows.cv2, rows.high))
    k = Predicted(float(ks.max()), float(k_low.max()), float(k_high.max()))
    fixed, ns = _speed(run, len(ks), budget)
    return Plan(
        target_std_error=target, k=k, ns_per_sample=ns, fixed_seconds=fixed,
        seconds=Predicted(*(fixed + 1e-9 * n * len(ks) * each for n, each in zip(k, ns, strict=True))),
        lower_bound=bool(rows.reasons), reasons=rows.reasons, worst_row=int(ks.argmax()), row_k=ks,
        row_pareto_k=rows.pareto_k, row_ess=rows.ess, n_rows=len(ks), pilot_samples=pilot.n_samples * _REPLICATES,
        threads=threads, bias_floor=float(np.max(pilot.bias_floor)), compile_seconds=float(pilot.compile_seconds or 0),
    )  # fmt: skip


class _Rows(NamedTuple):
    """What the pilot says of each row: CV² with its interval, k̂ and ESS; and why it cannot be trusted."""

    cv2: np.ndarray
    low: np.ndarray
    high: np.ndarray
    pareto_k: np.ndarray
    ess: np.ndarray
    reasons: tuple[str, ...]


def _read(pilot: Estimate, at_once: int) -> _Rows:
    """Each row, its interval wide enough to hold for `at_once` of them."""
    each, n = pilot._each.totals, pilot.n_samples * _REPLICATES
    log_means, rel_m2 = (np.reshape(one, (_REPLICATES, -1)) for one in (each.log_mean, each.rel_m2))
    cv2, half = _log_interval(each.n, log_means, rel_m2, at_once)
    ess, missed = np.ravel(pilot.ess), np.ravel(pilot.n_neg_inf) == n
    cv2 = np.where(missed, n / 3.0, cv2)  # none of n seen: at 95 % fewer than 3 in n, and CV² = (1 − f)/f
    top = pilot._pooled.top.reshape(len(ess), -1)
    tails = [_tail(*row, n) for row in zip(top, np.ravel(pilot.log_marginal), strict=True)]
    shapes, unseen = np.array([one.shape for one in tails]), np.array([one.unseen for one in tails])
    trusted, reasons = _judge(ess, missed, shapes, [one.unknown for one in tails], n)
    with np.errstate(over="ignore", invalid="ignore"):
        low = np.where(missed, cv2, cv2 * np.exp(-half))
        high = np.where(trusted, cv2 * np.exp(half) + unseen, np.inf)
    return _Rows(cv2, low, high, shapes, ess, reasons)


def _log_interval(n, log_means, rel_m2, at_once):
    """CV² of each row, and half the width of the interval of its logarithm, from leave-one-out over the replicates."""
    sizes, none = np.full(_REPLICATES, n), np.zeros_like(rel_m2)

    def cv2(kept):
        pooled = pool(sizes[kept], log_means[kept], rel_m2[kept], none[kept])
        return pooled.rel_m2 / (pooled.n - 1)

    every = np.arange(_REPLICATES)
    value = cv2(every)
    with np.errstate(divide="ignore", invalid="ignore"):
        without = np.log([cv2(every != one) for one in every])
        variance = (_REPLICATES - 1) * np.var(without, axis=0)
    quantile = scipy.special.stdtrit(_REPLICATES - 1, 1.0 - (1.0 - LEVEL) / 2.0 / at_once)
    half = np.nan_to_num(quantile * np.sqrt(variance), nan=math.inf)  # nan: one replicate holds all of the variance
    return value, np.where(value <= _ROUNDING, 0.0, half)


class _Tail(NamedTuple):
    """Of a row's largest weights: k̂ or nan, why it is not known, and what may lie beyond them."""

    shape: float
    unknown: str
    unseen: float


def _tail(top, log_mean, n):
    """k̂, and what the tail beyond the largest weight may add to CV²; inf where the variance may be infinite."""
    shape, reason = pareto.pareto_k(top, n)
    length = pareto.tail_length(n)
    if shape is None:
        flat = top.size > length and top[length] > top[0] - 1e-9  # one value, hit often: no tail, and nothing unknown
        return _Tail(math.nan, "" if flat else reason, 0.0)
    upper = shape + scipy.special.ndtri(0.5 + LEVEL / 2.0) * (1.0 + max(shape, 0.0)) / math.sqrt(length)
    if upper >= 0.5:
        return _Tail(shape, "", math.inf)
    beyond = length ** (2.0 * upper - 1.0)
    return _Tail(shape, "", np.exp(2.0 * (top[:length] - log_mean)).sum() / n * beyond / (1.0 - beyond))


def _judge(ess, missed, shapes, unknown, n):
    """Which rows can be trusted, and in words why the others cannot."""
    limit = pareto.threshold(n)
    heavy, infinite = shapes > limit, (shapes > 0.5) & (shapes <= limit)
    few, undefined = ~missed & (ess < _FEWEST), ~missed & (np.array(unknown) != "")

    def up_to(rows):
        return f"Pareto k̂ is up to {np.max(shapes, initial=-np.inf, where=rows):.2f}"

    least = np.min(ess, initial=np.inf, where=few)
    why = next((reason for reason, which in zip(unknown, undefined, strict=True) if which), "")
    said = [
        (missed, f"all {n} weights of the pilot are zero: the proposal has not hit p(x, z) yet"),
        (heavy, f"{up_to(heavy)}, above {limit:.2f}: the tail is too heavy for the pilot to see how weights vary"),
        (infinite, f"{up_to(infinite)}, above 1/2: their variance may be infinite, k then grows faster than 1/target²"),
        (few, f"effective sample size down to {least:.1f} of {n}, below {_FEWEST}: a few weights decide"),
        (undefined, f"Pareto k̂ is not defined: {why}"),
    ]
    trusted = ~(missed | heavy | infinite | few | undefined)
    share = [f" ({int(which.sum())} of {len(ess)} rows)" if len(ess) > 1 else "" for which, _ in said]
    return trusted, tuple(words + of for (which, words), of in zip(said, share, strict=True) if which.any())


def _speed(run: Callable[[int], Estimate], n_rows: int, budget: float) -> tuple[float, Predicted]:
    """Seconds that a call costs whatever its length, and nanoseconds a sample in runs as long as the budget allows."""

    def timed(count: int) -> float:
        start = time.perf_counter()
        run(count)
        return time.perf_counter() - start

    short = statistics.median(timed(BLOCK) for _ in range(3))
    share = max(budget / _TIMINGS, 3.0 * short)
    count = 4 * BLOCK
    while (seconds := timed(count)) < share:
        count *= max(2, 1 << int(math.log2(share / seconds)))
    more = 1e-9 * (count - BLOCK) * n_rows
    times = [timed(count) for _ in range(_TIMINGS)]
    rates = sorted(max(one - short, 0.01 * one) / more for one in times)  # above 0 whatever the noise
    typical = statistics.median(rates)
    return max(0.0, short - 1e-9 * typical * BLOCK * n_rows), Predicted(typical, rates[0], rates[-1])


def _span(found: Predicted) -> str:
    high = f"to {found.high:.3g}" if math.isfinite(found.high) else "and no upper end"
    return f"{found.value:.3g} ({found.low:.3g} {high})"


def _threads(number: int) -> str:
    return f"{number} thread{'s' if number > 1 else ''}"


def _pareto_words(shape: float) -> str:
    return "not defined" if math.isnan(shape) else f"{shape:.2f}"
