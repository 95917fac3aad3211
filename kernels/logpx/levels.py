"""What the levels of a ladder say: E[L_k], the Jensen gap and the Richardson readouts for every dyadic k.

    E[L_k] = log p − Var(w)/(2 k p²) + O(k⁻²)      (the delta method; k = 1 is the ELBO, E[L_k] the IWAE bound)

Level j is read off n groups of k = 2^j weights (inside a block the group of a weight is every 2^(b−j)-th weight,
above it neighbouring blocks; for independent weights one choice is as good as another): mean, unbiased variance, and
standard error √(variance/n). Below 32 groups no standard error is given. Levels of one stream share its weights: they
are dependent, and no line is to be fitted through them as if they were not.
"""

from typing import NamedTuple

import numpy as np

from logpx import dyadic
from logpx.errors import InputError, NotAvailableError

#: Fewest groups from which a standard error is given.
MIN_GROUPS = 32


class Reading(NamedTuple):
    """One value read off the ladder, in nats, with its standard error (nan below 32 groups) and group count."""

    value: float | np.ndarray
    std_error: float | np.ndarray
    n_groups: int | np.ndarray


class Levels:
    """Moments of every level, arrays of shape (*shape, H) where H is the number of levels.

    Attributes
    ----------
    k : ndarray of int, (H,)
        Group sizes 1, 2, 4, …
    n_groups : ndarray, (*shape, H)
        Groups of k weights, those of zero weights included.
    n_zero : ndarray
        Groups whose weights are all zero: L_k = −inf there, and so is the level's mean.
    mean, variance, std_error : ndarray
        Of L_k over its groups, in nats. `m2` is the centred sum of squares.
    gap, gap_variance, gap_std_error : ndarray
        Of Δ_k, the rise from L_k to L_2k over groups of 2k weights; the last level has none (nan).
    moments : ndarray, (*shape, 4, 3, H)
        Count, mean and centred second moment of L, Δ, R1 and R2 by group level (see `logpx.dyadic`).
    """

    def __init__(self, moments: np.ndarray, total_groups: np.ndarray):
        self.moments = moments
        self.n_levels = moments.shape[-1]
        self.k = 2 ** np.arange(self.n_levels, dtype=np.int64)
        self.n_groups = np.broadcast_to(total_groups, (*moments.shape[:-3], self.n_levels))

    def _family(self, family):
        return self.moments[..., family, 0, :], self.moments[..., family, 1, :], self.moments[..., family, 2, :]

    @property
    def n_zero(self) -> np.ndarray:
        return self.n_groups - self.moments[..., dyadic.L, 0, :]

    @property
    def m2(self) -> np.ndarray:
        return np.where(self.n_zero > 0, np.nan, self.moments[..., dyadic.L, 2, :])

    @property
    def mean(self) -> np.ndarray:
        return np.where(self.n_zero > 0, -np.inf, self.moments[..., dyadic.L, 1, :])

    @property
    def variance(self) -> np.ndarray:
        return np.where(self.n_zero > 0, np.nan, _variance(*self._family(dyadic.L)))

    @property
    def std_error(self) -> np.ndarray:
        return _std_error(self.variance, self.n_groups)

    def _next(self, family, stat):
        """A family's statistic moved from the group level 2k to k; nan at the top."""
        shifted = np.full(self.n_groups.shape, np.nan)
        shifted[..., :-1] = self.moments[..., family, stat, 1:]
        return shifted

    @property
    def gap(self) -> np.ndarray:
        pairs = np.full(self.n_groups.shape, np.nan)
        pairs[..., :-1] = self.n_groups[..., 1:]
        return np.where(self._next(dyadic.GAP, 0) == pairs, self._next(dyadic.GAP, 1), np.inf) + 0.0 * pairs

    @property
    def gap_variance(self) -> np.ndarray:
        counts, means, m2 = (self._next(dyadic.GAP, stat) for stat in range(3))
        return _variance(counts, means, m2)

    @property
    def gap_std_error(self) -> np.ndarray:
        return _std_error(self.gap_variance, self._next(dyadic.GAP, 0))

    def level_of(self, k: int) -> int:
        """Level of a dyadic k that is there; NotAvailableError with the bracketing values otherwise."""
        if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1:
            raise InputError(f"k={k!r}: a group size is an integer of at least 1")
        level = int(k).bit_length() - 1
        if k != 1 << level:
            raise NotAvailableError(
                f"k={k} is not a power of two; the ladder reads {1 << level} and {2 << level}. "
                f"For this k run the estimate with groups=({k},)"
            )
        if level >= self.n_levels:
            raise NotAvailableError(
                f"k={k} needs at least one whole group of {k} weights; the largest here is {1 << (self.n_levels - 1)}"
            )
        return level

    def bound(self, k: int) -> Reading:
        """E[L_k]: the mean over the groups of k weights."""
        level = self.level_of(k)
        return _reading(self.mean[..., level], self.std_error[..., level], self.n_groups[..., level])

    def richardson(self, k: int, order: int = 1) -> Reading:
        """The bias of order 1/k (order=1) or also 1/k² (order=2) removed from L_k, group by group.

        Order 1 is L_2k + Δ_k over groups of 2k, order 2 is (8 L_4k − 6 L_2k + L_k)/3 over groups of 4k.
        """
        if isinstance(order, bool) or not isinstance(order, int | np.integer) or order not in (1, 2):
            raise InputError(f"order={order!r}: 1 or 2")
        level = self.level_of(k) + order
        if level >= self.n_levels:
            raise NotAvailableError(
                f"richardson({k}, {order}) needs a group of {k << order} weights; "
                f"the largest here is {1 << (self.n_levels - 1)}"
            )
        count, mean, m2 = (self.moments[..., (dyadic.R1, dyadic.R2)[order - 1], stat, level] for stat in range(3))
        groups = self.n_groups[..., level]
        if np.any(count < groups):
            missing = int(np.max(groups - count))
            raise NotAvailableError(
                f"richardson({k}, {order}) is undefined: {missing} groups hold a half of only zero weights; "
                "use a larger k"
            )
        return _reading(mean, _std_error(_variance(count, mean, m2), groups), groups)


def _variance(count, mean, m2):
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(count > 1, m2 / (count - 1), np.nan)


def _std_error(variance, count):
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(count >= MIN_GROUPS, np.sqrt(variance / count), np.nan)


def mean_reading(count: np.ndarray, mean: np.ndarray, m2: np.ndarray, n_groups: np.ndarray) -> Reading:
    """A mean over groups: `count` finite ones of `n_groups`; −inf, and without an error, where some are zero."""
    zero = np.asarray(count) < n_groups
    value = np.where(zero, -np.inf, mean)
    return _reading(value, np.where(zero, np.nan, _std_error(_variance(count, mean, m2), n_groups)), n_groups)


def _reading(value, std_error, n_groups):
    if np.ndim(value) == 0:
        return Reading(float(value), float(std_error), int(n_groups))
    return Reading(np.asarray(value), np.asarray(std_error), np.asarray(n_groups).astype(np.int64))
