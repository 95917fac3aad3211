"""Where the log_marginal of a user's model contradicts its log joint: an estimate that can be trusted lies far off it.

An estimate errs about as its standard error says where its effective sample size is large and the tail of its weights
is not heavy (Pareto k̂); elsewhere nothing is claimed. Of a trusted one, a distance of LIMIT standard errors comes by
chance twice in 10^9. Then one of the two is wrong, or the proposal misses part of the posterior: a mode that it never
draws from looks the same. Cost: none.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

#: Effective sample size and Pareto k̂ that the normal approximation asks for; nats that rounding may make.
LEAST_ESS, MOST_K, ROUNDING = 1000, 0.5, 1e-9
#: Standard errors from which on two values contradict each other.
LIMIT = 6.0


def trusted(ess: float, pareto_k: float | None, std_error: float) -> bool:
    """Whether a standard error can be believed.

    >>> trusted(5000.0, 0.2, 1e-3), trusted(5000.0, 0.8, 1e-3), trusted(50.0, None, 1e-3)
    (True, False, False)
    """
    heavy = pareto_k is not None and math.isfinite(pareto_k) and pareto_k > MOST_K and std_error > ROUNDING
    return ess >= LEAST_ESS and not heavy


def found(cells: Iterable[Mapping[str, Any]]) -> list[str]:
    """A sentence on each cell of the store whose estimate contradicts its exact log p(x).

    >>> cell = {"model": "mine", "row": 0, "estimator": "prior", "log_marginal": -3.0, "std_error": 0.01,
    ...         "exact": -2.9, "ess": 5000.0, "pareto_k": 0.1, "bias_floor": 0.0}
    >>> len(found([cell])), found([cell | {"exact": -2.95}])
    (1, [])
    """
    return [_words(cell) for cell in cells if _contradicts(cell)]


def _contradicts(cell: Mapping[str, Any]) -> bool:
    if any(cell.get(name) is None for name in ("exact", "log_marginal", "std_error", "ess")):
        return False
    if not trusted(cell["ess"], cell["pareto_k"], cell["std_error"]):
        return False
    floor = cell.get("bias_floor") or 0.0
    allowed = LIMIT * cell["std_error"] + (floor if math.isfinite(floor) else math.inf) + ROUNDING
    return abs(cell["log_marginal"] - cell["exact"]) > allowed


def _words(cell: Mapping[str, Any]) -> str:
    where = "" if cell.get("row") is None else f", row {cell['row']} of x"
    away = abs(cell["log_marginal"] - cell["exact"])
    return (
        f"log_marginal contradicts the log joint: {cell['model']}{where}, by {cell['estimator']} log p̂(x) = "
        f"{cell['log_marginal']:.6g} ± {cell['std_error']:.2g}, and log_marginal says {cell['exact']:.6g}: "
        f"{away:.3g} nats, {away / max(cell['std_error'], ROUNDING):.0f} standard errors apart, of weights that are "
        "even enough. One of the two is wrong, or the proposal misses part of the posterior; "
        "logpx check, given the model's file, looks for which"
    )
