"""From the moments of L_k to errors: RMSE and its bootstrap, bias and spread; the interval of a share and of a ratio.

With G groups of k weights in each of R replicates, replicate r holds the mean a_r and the centred sum of squares m_r
of its G values of L_k. Its mean squared error is MSE_r = (a_r − exact)² + m_r/G, and RMSE = sqrt(mean of MSE_r).
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from logpx_bench.schema import content_key

#: Resamples of the bootstrap.
RESAMPLES = 2000
#: Coordinates of a cell, columns of the table `cells`, that seed its bootstrap; none depends on any source.
COORDINATES = (
    *("model", "n_latents", "data", "row", "estimator", "estimator_options", "points", "dtype"),
    *("n_samples", "n_replicates", "seed"),
)


def rmse_from_moments(
    mean: ArrayLike, m2: ArrayLike, n_groups: ArrayLike, exact: float
) -> tuple[float, NDArray[np.float64]]:
    """RMSE pooled over replicates, and the mean squared error of each, from the moments of L_k.

    Parameters
    ----------
    mean, m2, n_groups : array_like, shape (R,)
        Mean of L_k (nats), its centred sum of squares (nats²), number of groups, in each replicate.
    exact : float
        The exact log p(x), nats.

    Returns
    -------
    rmse : float
        nats; inf where some mean is −inf.
    mse : ndarray, shape (R,)
        nats².

    Examples
    --------
    >>> values = np.array([[-1.0, -2.0], [-1.5, -1.0]])
    >>> rmse, _ = rmse_from_moments(values.mean(1), 2 * values.var(1), [2, 2], exact=-1.25)
    >>> bool(np.isclose(rmse**2, np.mean((values + 1.25) ** 2)))
    True
    """
    mean, m2, n_groups = (np.asarray(part, dtype=float) for part in (mean, m2, n_groups))
    finite = np.isfinite(mean)
    mse = np.full(mean.shape, math.inf)
    mse[finite] = (mean[finite] - exact) ** 2 + m2[finite] / n_groups[finite]
    return math.sqrt(float(mse.mean())), mse


def bootstrap_seed(cell: Mapping[str, Any], level: int | None = None) -> int:
    """A seed for a level of a cell, or for its replicates (None), by the cell's coordinates alone: the same data have
    the same interval after the source, and with it the cell's key, has changed. Cells that share all of `COORDINATES`
    share it, and resample the same replicates."""
    return int(content_key([*(cell.get(name) for name in COORDINATES), level])[:16], 16)


def bootstrap_rmse(mse: ArrayLike, seed: int, level: float = 0.95, resamples: int = RESAMPLES) -> tuple[float, float]:
    """Percentile interval of sqrt(mean(mse)) by resampling replicates."""
    mse = np.asarray(mse, dtype=float)
    generator = np.random.default_rng(seed)
    chosen = generator.integers(0, mse.size, size=(resamples, mse.size))
    means = np.sort(mse[chosen].mean(axis=1))
    tail = (1.0 - level) / 2.0
    low, high = math.ceil(tail * resamples) - 1, math.ceil((1.0 - tail) * resamples) - 1
    return math.sqrt(float(means[low])), math.sqrt(float(means[high]))


def wilson(count: float, n: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson's interval of a proportion.

    >>> low, high = wilson(5, 100)
    >>> round(low, 4), round(high, 4)
    (0.0215, 0.1118)
    """
    z = float(stats.norm.isf((1.0 - level) / 2.0))
    share, z2 = count / n, z * z / n
    centre = (share + z2 / 2) / (1 + z2)
    half = z / (1 + z2) * math.sqrt(share * (1 - share) / n + z2 / (4 * n))
    return max(0.0, centre - half), min(1.0, centre + half)


def spread(
    mean: NDArray[np.float64], m2: NDArray[np.float64], n_groups: NDArray[np.float64]
) -> tuple[float, float, float]:
    """Mean over replicates, its standard error across them, and the standard deviation of one L_k over all groups."""
    centre = float(mean.mean())
    error = float(mean.std(ddof=1)) / math.sqrt(mean.size) if mean.size > 1 else math.nan
    total = float(np.sum(m2 + n_groups * (mean - np.average(mean, weights=n_groups)) ** 2))
    count = float(n_groups.sum())
    return centre, error, math.sqrt(total / (count - 1)) if count > 1 else math.nan


class Ratio(NamedTuple):
    """The median of ratios pair by pair, their quartiles, and a 95 % bootstrap interval of the median."""

    median: float
    lower: float
    upper: float
    low: float
    high: float


def ratio(theirs: ArrayLike, ours: ArrayLike) -> Ratio:
    """Theirs over ours, round by round; all nan where any round has none.

    Examples
    --------
    >>> ratio([2.0, 4.0, 6.0], [1.0, 2.0, 3.0]).median
    2.0
    """
    pairs = np.asarray(theirs, dtype=np.float64) / np.asarray(ours, dtype=np.float64)
    if pairs.size == 0 or not np.all(np.isfinite(pairs)):
        return Ratio(*[math.nan] * 5)
    rng = np.random.default_rng(0)
    medians = np.median(rng.choice(pairs, size=(RESAMPLES, pairs.size)), axis=1)
    quarters = np.quantile(pairs, [0.25, 0.75])
    low, high = np.quantile(medians, [0.025, 0.975])
    return Ratio(float(np.median(pairs)), float(quarters[0]), float(quarters[1]), float(low), float(high))
