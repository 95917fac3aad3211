"""The estimate of log p(x) and what is known about it, read off a ladder.

    log p̂ = log (1/N) Σ w_i,   std_error = CV/√N (delta method),   CV² = Var(w)/p²

Streams that are not iid take their error from the spread of independent randomisations instead. The log biases
the estimate by about −CV²/(2N), far below its standard error; `levels` shows that bias at every k.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy

from logpx import pareto
from logpx.errors import InputError, NotAvailableError, NotIndependentError
from logpx.levels import Levels, Reading, mean_reading
from logpx.totals import Summary, Totals


class Estimate:
    """An estimate of log p(x); for x of shape (n, p) every quantity is an array of n.

    Attributes
    ----------
    n_samples : int
        Log weights per stream. A stream is one replicate of one row.
    n_replicates, n_evaluations : int
        Independent streams a row; log-joint evaluations over all rows and replicates.
    seconds, compile_seconds : float or None
        Wall time of the run, and of compiling or loading kernels before it. None for foreign weights.
    bias_floor : float or ndarray
        Nats by which log p̂ falls short at any k because the proposal leaves out mass; nan if unknown.
    """

    def __init__(
        self,
        summary: Summary,
        ladder: Callable[[], Any],
        *,
        groups: dict[int, np.ndarray] | None = None,
        bias_floor: float | np.ndarray = 0.0,
        common: bool = False,
        seconds: float | None = None,
        compile_seconds: float | None = None,
        target_std_error: float | None = None,
        provenance: dict[str, Any] | None = None,
    ):
        self._each = summary
        self._groups = groups or {}
        self._common = common
        self._target = target_std_error
        self._make_ladder = ladder
        self.bias_floor = bias_floor
        self.seconds, self.compile_seconds = seconds, compile_seconds
        self.provenance = provenance or {}
        self.n_replicates = summary.shape[0]
        self.n_samples = int(summary.totals.n)
        self.n_evaluations = int(summary.totals.n) * math.prod(summary.shape)

    @functools.cached_property
    def ladder(self) -> Any:
        """The Ladder that everything is read from; shape (n_replicates, *rows), without the first for one replicate."""
        return self._make_ladder()

    @functools.cached_property
    def _pooled(self) -> Summary:
        return self._each.pooled()

    @property
    def _totals(self) -> Totals:
        return self._pooled.totals

    # --- the estimate ------------------------------------------------------------------------------------

    @property
    def log_marginal(self) -> float | np.ndarray:
        """log p̂(x) over all samples of all replicates, nats."""
        return _plain(self._totals.log_mean)

    @property
    def replicates(self) -> np.ndarray:
        """log p̂(x) of each replicate alone, (n_replicates, *rows)."""
        return self._each.totals.log_mean

    @functools.cached_property
    def std_error(self) -> float | np.ndarray:
        """Standard error of log_marginal, nats; nan where it cannot be given."""
        if self._each.iid:
            return _plain(self._totals.std_error)
        return _plain(_spread_error(self.replicates))

    def interval(self, level: float = 0.95) -> tuple[float | np.ndarray, float | np.ndarray]:
        """Interval log_marginal ± q·std_error of the given coverage.

        q is the normal quantile, or Student's with n_replicates − 1 degrees where the error is the replicates' spread.
        """
        if not isinstance(level, float) or not 0.0 < level < 1.0:
            raise InputError(f"level={level!r}: a coverage between 0 and 1, such as 0.95")
        tail = 0.5 + level / 2.0
        quantile = float(
            scipy.special.ndtri(tail) if self._each.iid else scipy.special.stdtrit(self.n_replicates - 1, tail)
        )
        half = quantile * self.std_error
        return self.log_marginal - half, self.log_marginal + half

    @property
    def total(self) -> float:
        """Σ over rows of log_marginal, nats: the log marginal likelihood of the whole x."""
        return float(np.sum(self.log_marginal))

    @functools.cached_property
    def total_std_error(self) -> float:
        """Monte Carlo standard error of `total`. The spread across rows is another thing.

        Rows on common streams are dependent: the error then comes from the replicates, and is nan for one.
        """
        if not self._common or np.ndim(self.log_marginal) == 0:
            return float(np.sqrt(np.sum(np.square(self.std_error))))
        totals = self.replicates.reshape(self.n_replicates, -1).sum(axis=1)
        if self.n_replicates < 2:
            return math.nan
        return float(np.std(totals, ddof=1) / math.sqrt(self.n_replicates))

    # --- the ladder --------------------------------------------------------------------------------------

    def _require_iid(self, what):
        if not self._each.iid:
            raise NotIndependentError(
                f"{what} needs independent log weights, and this stream's are not: its points are spread evenly "
                "on purpose. Use log_marginal and std_error, or run with points='independent'"
            )

    @functools.cached_property
    def levels(self) -> Levels:
        """Every dyadic level over all replicates."""
        self._require_iid("levels")
        return Levels(self._pooled.moments, self._pooled.total_groups)

    @functools.cached_property
    def replicate_levels(self) -> Levels:
        """Every dyadic level within each replicate, arrays (n_replicates, *rows, H)."""
        self._require_iid("replicate_levels")
        return Levels(self._each.moments, self._each.total_groups)

    @property
    def elbo(self) -> float | np.ndarray:
        """E[L_1], the evidence lower bound, nats. −inf if any weight is zero."""
        return self.bound(1).value

    def bound(self, k: int) -> Reading:
        """E[L_k], the IWAE bound of k samples: value, standard error, groups.

        Raises
        ------
        NotAvailableError
            k is neither dyadic nor among the `groups` of the run, or larger than the stream.
        NotIndependentError
            The stream is not iid.
        """
        if isinstance(k, int | np.integer) and k == 1 and not self._each.iid:
            return self._spread_elbo()
        self._require_iid(f"bound({k})")
        if isinstance(k, int | np.integer) and k in self._groups:
            return self._groups_reading(k)
        return self.levels.bound(k)

    def _spread_elbo(self):
        """The mean log weight of points that are not iid; its error from the spread of the replicates."""
        means = Levels(self._each.moments, self._each.total_groups).mean[..., 0]
        error = np.std(means, axis=0, ddof=1) / math.sqrt(len(means)) if len(means) > 1 else means[0] * math.nan
        return Reading(_plain(means.mean(axis=0)), _plain(error), self.n_replicates * self.n_samples)

    def _groups_reading(self, k):
        n, mean, m2, n_zero = self._groups[k]
        if np.any(n + n_zero == 0):
            raise NotAvailableError(f"bound({k}) needs {k} samples a stream; there are {self.n_samples}")
        return mean_reading(n, mean, m2, n + n_zero)

    def richardson(self, k: int, order: int = 1) -> Reading:
        """L_k with the bias of order 1/k (and 1/k² for order 2) removed, group by group."""
        self._require_iid("richardson")
        return self.levels.richardson(k, order)

    # --- whether to believe it ---------------------------------------------------------------------------

    @property
    def ess(self) -> float | np.ndarray:
        """Effective sample size (Σw)²/Σw² over all replicates."""
        return _plain(self._totals.ess)

    @property
    def n_neg_inf(self) -> int | np.ndarray:
        """Zero weights (log weight −inf) over all replicates."""
        counts = np.asarray(self._totals.n_neg_inf).astype(np.int64)
        return int(counts) if counts.ndim == 0 else counts

    @functools.cached_property
    def _pareto(self) -> tuple[np.ndarray, list[str]]:
        self._require_iid("pareto_k")
        top = self._pooled.top
        values, reasons = np.full(top.shape[:-1], np.nan), []
        for index in np.ndindex(*values.shape):
            k, reason = pareto.pareto_k(top[index], int(self._totals.n), self._pooled.tail)
            values[index] = math.nan if k is None else k
            if reason and reason not in reasons:
                reasons.append(reason)
        return values, reasons

    @property
    def pareto_k(self) -> float | np.ndarray | None:
        """Pareto k̂ of the weights; None (nan in an array) where it is not defined, with the reason in `warnings`."""
        values, _ = self._pareto
        if values.ndim:
            return values
        return None if math.isnan(values) else float(values)

    @functools.cached_property
    def warnings(self) -> tuple[str, ...]:
        """What speaks against the estimate, in words; empty if nothing does."""
        said = [f"{np.sum(self.n_neg_inf)} log weights are −inf"] if np.any(self.n_neg_inf) else []
        if np.any(np.isneginf(self.log_marginal)):
            said.append("every weight of a stream is zero: log_marginal is −inf and has no error")
        floor = np.max(self.bias_floor)
        if math.isnan(floor):
            said.append("the proposal may leave out mass of p(x), where its density is zero; how much is not known")
        elif floor > 2e-12:
            said.append(f"the proposal leaves out mass of p(x): bias of up to −{floor:.3g} nats at any k")
        if not self._each.iid:
            if self.n_replicates < 8:
                said.append(f"the error comes from {self.n_replicates} randomisations; use n_replicates of 16 or more")
        else:
            said += self._weight_warnings()
        if self._target is not None and not np.all(self.std_error <= self._target):
            said.append(f"target_std_error={self._target} was not reached with {self.n_samples} samples a stream")
        return tuple(said)

    def _weight_warnings(self):
        values, reasons = self._pareto
        n = int(self._totals.n)
        limit = pareto.threshold(n)
        said = [f"Pareto k̂ is not defined: {reason}" for reason in reasons]
        high = np.nanmax(values, initial=-np.inf)
        if high > limit:
            share = f" for {int(np.sum(values > limit))} of {values.size} rows" if values.ndim else ""
            said.append(
                f"Pareto k̂ = {high:.2f} is above {limit:.2f}{share}: the weights' tail is too heavy for {n} samples; "
                "neither the estimate nor its standard error can be trusted. Use a proposal nearer the posterior and "
                "with tails no lighter, or more samples"
            )
        low = float(np.min(self.ess))
        if n >= 100 and low < 0.001 * n and low < 400:
            said.append(f"effective sample size {low:.1f} of {n}: a few weights decide the estimate")
        return said

    def __repr__(self) -> str:
        count = len(self.warnings)
        said = f"; {count} warning{'s' if count > 1 else ''}, see .warnings" if count else ""
        if np.ndim(self.log_marginal):
            rows = np.size(self.log_marginal)
            return f"Estimate(total={self.total:.6g} ± {self.total_std_error:.2g} over {rows} rows{said})"
        found = f"{self.log_marginal:.6g} ± {self.std_error:.2g}"
        return f"Estimate(log_marginal={found}, n_samples={self.n_samples}{said})"


def _plain(value: Any) -> Any:
    return float(value) if np.ndim(value) == 0 else value


def _spread_error(replicates):
    """Delta-method error of the log of the mean of exp(replicates), from their spread alone; nan where all are −inf."""
    n = replicates.shape[0]
    if n < 2:
        return np.full(replicates.shape[1:], np.nan)
    high = replicates.max(axis=0)
    ratio = np.exp(replicates - np.where(np.isneginf(high), np.inf, high))
    mean = ratio.mean(axis=0)
    error = np.std(ratio, axis=0, ddof=1) / np.where(mean > 0, mean, 1.0) / math.sqrt(n)
    return np.where(mean > 0, error, np.nan)
