"""Totals over whole streams, and how they pool: the numbers that the top of a ladder stands for.

With pieces j of n_j weights, log means L_j and relative second moments v_j = Σ(w/w̄_j − 1)²,

    L = log Σ n_j e^{L_j} / N,   ρ_j = e^{L_j − L},   v = Σ_j v_j ρ_j² + n_j (ρ_j − 1)²

which never subtracts two large numbers: coefficients of variation down to 1e-8 keep their digits. Then
CV² = v/N, the delta-method error of L is √(v / (N (N − 1))), and ESS = N / (1 + v/N)
(Kong, 1992: ESS = (Σw)²/Σw²).
"""

from typing import NamedTuple

import numpy as np


class Totals(NamedTuple):
    """Weights seen (a number), log mean, relative second moment and zero weights, the latter three per stream."""

    n: float
    log_mean: np.ndarray
    rel_m2: np.ndarray
    n_neg_inf: np.ndarray

    @property
    def std_error(self) -> np.ndarray:
        """Delta-method standard error of log_mean, in nats; nan for fewer than two weights or all zero."""
        if self.n < 2:
            return np.full(np.shape(self.log_mean), np.nan)
        error = np.sqrt(self.rel_m2 / (self.n * (self.n - 1)))
        return np.where(np.isneginf(self.log_mean), np.nan, error)

    @property
    def ess(self) -> np.ndarray:
        """(Σw)²/Σw², between 1 and n; 0 where all weights are zero."""
        return np.where(np.isneginf(self.log_mean), 0.0, self.n / (1.0 + self.rel_m2 / self.n))


def pool(n: np.ndarray, log_means: np.ndarray, rel_m2: np.ndarray, n_neg_inf: np.ndarray) -> Totals:
    """Pool pieces along the first axis: n (J,), the rest (J, …)."""
    total = float(n.sum())
    shape = (-1, *[1] * (log_means.ndim - 1))
    sizes = n.reshape(shape)
    high = np.max(log_means, axis=0)
    base = np.where(np.isneginf(high), 0.0, high)
    with np.errstate(divide="ignore"):
        log_mean = base + np.log(_sum(sizes * np.exp(log_means - base)) / total)
    apart = log_means - np.where(np.isneginf(log_mean), 0.0, log_mean)
    ratio, excess = np.exp(apart), np.expm1(apart)
    v = _sum(rel_m2 * ratio**2 + sizes * excess**2)
    v = np.where(np.isneginf(log_mean), 0.0, v)
    return Totals(total, log_mean, v, n_neg_inf.sum(axis=0))


def _sum(terms):
    """Along the first axis, one after the other: NumPy's order would depend on how many streams lie side by side."""
    return np.add.accumulate(terms, axis=0)[-1]


class Summary(NamedTuple):
    """A whole ladder, read: totals, moments (…, 4, 3, H), groups per level (H,), largest weights (…, K)."""

    totals: Totals
    moments: np.ndarray
    total_groups: np.ndarray
    top: np.ndarray
    iid: bool
    tail: int

    @property
    def shape(self) -> tuple[int, ...]:
        return self.totals.log_mean.shape

    def reshaped(self, shape: tuple[int, ...]) -> "Summary":
        """The same streams under another shape."""
        n, *arrays = self.totals
        return self._replace(
            totals=Totals(n, *(a.reshape(shape) for a in arrays)),
            moments=self.moments.reshape(*shape, *self.moments.shape[-3:]),
            top=self.top.reshape(*shape, self.top.shape[-1]),
        )

    def pooled(self) -> "Summary":
        """All replicates together: the first axis merged away."""
        n_replicates = self.shape[0]
        if n_replicates == 1:
            return self.reshaped(self.shape[1:])
        n, log_mean, rel_m2, n_neg_inf = self.totals
        totals = pool(np.full(n_replicates, n), log_mean, rel_m2, n_neg_inf)
        top = np.moveaxis(self.top, 0, -2).reshape(*self.shape[1:], -1)
        return self._replace(
            totals=totals,
            moments=pool_moments(self.moments),
            total_groups=n_replicates * self.total_groups,
            top=-np.sort(-top, axis=-1)[..., : self.tail + 1],
        )


def pool_moments(moments: np.ndarray) -> np.ndarray:
    """Merge counts, means and second moments, (J, …, 3, H), along the first axis, around the pooled mean."""
    count, mean, m2 = moments[..., 0, :], moments[..., 1, :], moments[..., 2, :]
    total = count.sum(axis=0)
    safe = np.maximum(total, 1.0)
    centre = (count * mean).sum(axis=0) / safe
    centre = centre + (count * (mean - centre)).sum(axis=0) / safe
    spread = (m2 + count * (mean - centre) ** 2).sum(axis=0)
    return np.stack([total, centre, spread], axis=-2)


def concatenated(parts: list[Summary]) -> Summary:
    """Summaries of the same index set over different streams, side by side along one axis."""
    n = parts[0].totals.n
    arrays = [np.concatenate([part.totals[i] for part in parts]) for i in range(1, 4)]
    width = max(part.top.shape[-1] for part in parts)
    tops = [np.pad(p.top, ((0, 0), (0, width - p.top.shape[-1])), constant_values=-np.inf) for p in parts]
    return parts[0]._replace(
        totals=Totals(n, *arrays),
        moments=np.concatenate([part.moments for part in parts]),
        top=np.concatenate(tops),
    )
