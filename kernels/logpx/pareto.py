"""Pareto k̂: the shape of the generalised Pareto distribution fitted to the largest importance weights.

With S weights the tail is the M = ⌈min(S/5, 3√S)⌉ largest (Vehtari, Simpson, Gelman, Yao and Gabry, 2024, JMLR
25(72)), at most 4096. The fit is the quasi-Bayes estimate of Zhang and Stephens (2009, Technometrics 51), shrunk
towards 1/2 with the weight of ten observations. Above min(1 − 1/log10 S, 0.7) neither the estimate nor its
standard error is to be trusted; from 1 on the mean is not even finite. Cost: O(M^1.5) a stream.

The fit is to a continuous distribution. Discrete latents give no more different weights than they have states, each of
them again and again, and k̂ would describe the ties: where less than half of the tail differs by more than rounding, it
is not defined.
"""

import math

import numpy as np

#: Most weights kept for the tail, besides the cut-off below them.
MAX_TAIL = 4096
_FEWEST = 5
#: Difference of two log weights, as a share of 1 + their size, that is rounding.
_ROUNDING = 2.0**-44


def tail_length(n_samples: int) -> int:
    """How many of the largest of n_samples weights form the tail."""
    return min(math.ceil(min(0.2 * n_samples, 3.0 * math.sqrt(n_samples))), MAX_TAIL)


def threshold(n_samples: int) -> float:
    """The k̂ above which an estimate from n_samples weights is not to be trusted: min(1 − 1/log10 S, 0.7)."""
    return min(1.0 - 1.0 / math.log10(n_samples), 0.7) if n_samples > 10 else 0.0


def pareto_k(top: np.ndarray, n_samples: int, tail: int = MAX_TAIL) -> tuple[float | None, str]:
    """k̂ of one stream from its largest log weights.

    Parameters
    ----------
    top : ndarray, (≥ M + 1,)
        The largest log weights in descending order.
    n_samples : int
        How many weights there were.
    tail : int
        Upper limit on M.

    Returns
    -------
    k : float or None
        None where it is not defined.
    reason : str
        Why it is None; empty otherwise.
    """
    length = min(tail_length(n_samples), tail)
    if length < _FEWEST:
        return None, f"{n_samples} weights leave a tail of {length}; at least {_FEWEST} are needed"
    if top.size < length + 1 or np.isneginf(top[length]):
        return None, f"fewer than {length + 1} weights are not zero"
    with np.errstate(under="ignore"):
        excess = np.exp(top[:length] - top[0]) - np.exp(top[length] - top[0])
    excess = excess[::-1]
    if top[0] - top[length] < 1e-9:
        return None, f"the {length + 1} largest weights are equal to rounding, and there is no tail to fit"
    different = 1 + int(np.sum(-np.diff(top[:length]) > _ROUNDING * (1.0 + abs(top[0]))))
    if different < max(0.5 * length, _FEWEST) or not excess[0] > 0.0:
        return None, (
            f"the {length} largest weights are ties, {different} different ones, as those of discrete latents are; "
            "judge by ess"
        )
    return _shape(excess), ""


def _shape(x):
    """Generalised Pareto shape of exceedances x > 0 in ascending order (Zhang and Stephens, 2009)."""
    n = x.size
    grid = 30 + int(math.sqrt(n))
    quartile = x[int(n / 4 + 0.5) - 1]
    b = 1.0 / x[-1] + (1.0 - np.sqrt(grid / (np.arange(1, grid + 1) - 0.5))) / (3.0 * quartile)
    k = np.log1p(-b[:, None] * x).mean(axis=1)
    profile = n * (np.log(-b / k) - k - 1.0)
    weights = np.exp(profile - profile.max())
    weights /= weights.sum()
    kept = weights >= 10.0 * np.finfo(float).eps
    b_mean = np.sum(b[kept] * weights[kept]) / np.sum(weights[kept])
    k_mean = float(np.log1p(-b_mean * x).mean())
    return (n * k_mean + 10.0 * 0.5) / (n + 10.0)
