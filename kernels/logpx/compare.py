"""compare(): which of two models explains the data better, and how sure the Monte Carlo error leaves us.

    D = Σ_rows log p̂_a(x) − log p̂_b(x)

Both models run on the same random numbers: where their proposals take the same base noise (both Gaussian, both
uniform), sample i of row r draws the same noise under either, and the error they share cancels in D. The standard
error is the spread of D over independent replicates. Cost: two estimates.
"""

import math
from typing import Any, NamedTuple

import numpy as np
import scipy
from numpy.typing import ArrayLike

from logpx.checks import whole
from logpx.estimate import DEFAULT_SAMPLES, estimate
from logpx.result import Estimate


class Comparison(NamedTuple):
    """Model a against model b.

    Attributes
    ----------
    difference : float
        total_a − total_b, nats: above zero where a explains the data better.
    std_error : float
        Monte Carlo standard error of the difference, from the spread over replicates.
    probability_a : float
        Probability that the exact difference is above zero, as far as the Monte Carlo error goes (Student's t over
        the replicates).
    row_differences : ndarray, (n,)
        The difference of every row.
    row_std_error : float
        Standard error of the difference from the spread across rows: what other data of the same kind would change.
    a, b : Estimate
    """

    difference: float
    std_error: float
    probability_a: float
    row_differences: np.ndarray
    row_std_error: float
    a: Estimate
    b: Estimate


def compare(
    model_a: Any,
    model_b: Any,
    X: ArrayLike,
    *,
    proposal_a: Any = None,
    proposal_b: Any = None,
    n_samples: int = DEFAULT_SAMPLES,
    n_replicates: int = 32,
    seed: int = 0,
    points: str = "independent",
    dtype: str = "float64",
    threads: int | None = None,
    executor: Any = None,
    progress: bool = False,
) -> Comparison:
    """Compare two models on the same data and common random numbers.

    Parameters
    ----------
    model_a, model_b : models
        Both take rows of X.
    X : array_like, (n, p) or (p,)
    proposal_a, proposal_b : proposals, optional
        The models' own by default.
    n_samples : int
        A stream; there are n_replicates streams a row and model.
    n_replicates : int
        At least 8: the standard error is their spread.

    Raises
    ------
    InputError
        As `estimate`; fewer than 8 replicates.

    Examples
    --------
    >>> import logpx
    >>> model, x = logpx.models.PPCA.example()
    >>> other = logpx.models.PPCA(0.5 * model.weights, model.mean, model.noise_variance)
    >>> made = logpx.compare(model, other, x, n_samples=1024)
    >>> exact = model.log_marginal(x).sum() - other.log_marginal(x).sum()
    >>> bool(abs(made.difference - exact) < 5 * made.std_error + 0.01)
    True
    """
    n_replicates = whole("n_replicates (the error is their spread)", n_replicates, least=8, most=1 << 32)
    a, b = (
        estimate(
            model, X, proposal=proposal, n_samples=n_samples, n_replicates=n_replicates, seed=seed, points=points,
            dtype=dtype, threads=threads, executor=executor, progress=progress,
        )
        for model, proposal in ((model_a, proposal_a), (model_b, proposal_b))
    )  # fmt: skip
    with np.errstate(invalid="ignore"):  # −inf − (−inf) is nan: two models that both give x no mass do not compare
        rows = np.atleast_1d(a.log_marginal - b.log_marginal)
        spread = (a.replicates - b.replicates).reshape(n_replicates, -1).sum(axis=1)
        std_error = float(np.std(spread, ddof=1) / math.sqrt(n_replicates))
        across = float(np.std(rows, ddof=1) * math.sqrt(rows.size)) if rows.size > 1 else math.nan
    difference = float(rows.sum())
    if std_error == 0 or math.isinf(difference):
        probability = 0.5 * (1.0 + float(np.sign(difference)))
    else:
        probability = float(scipy.special.stdtr(n_replicates - 1, difference / std_error))
    return Comparison(difference, std_error, probability, rows, across, a, b)
