"""The mean weight: E[p(x, z)/q(z)] over z ~ q is p(x), for every q that covers the posterior.

Where the model knows its exact log p(x), the estimate is held against it. The error over its standard error is normal
to good approximation where the effective sample size is large and the tail of the weights is not heavy; elsewhere
nothing is claimed. False alarms are rarer than RATE for the whole check (Bonferroni over rows and proposals). An error
of twice the limit is found as surely as that.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import scipy

import logpx
from logpx_bench import data
from logpx_bench.conformance.base import FAIL, PASS, RATE, SKIP, Check, Finding, Subject
from logpx_bench.contradictions import ROUNDING, trusted

N_SAMPLES = 2**17
_TODO = (
    "Either log_marginal is wrong, or the log joint is: look for a normalising constant that is missing (½ log 2π for "
    "every normal number, the log determinant, log x! of counts), for a prior that differs from the log joint's, and "
    "for a proposal that does not reach where p(x, z) is"
)


def usable(estimate: Any) -> bool:
    """Whether an estimate's standard error can be believed."""
    return trusted(float(estimate.ess), estimate.pareto_k, float(estimate.std_error))


def mean_weight(subject: Subject) -> Finding:
    """log p̂(x) of each row and proposal against log_marginal(x)."""
    model = subject.model
    exact = [data.exact_or_why(model, x) for x in subject.rows]
    why = next((one for one in exact if isinstance(one, str)), "")
    if why:
        return Finding(SKIP, f"{why}: there is no exact value to hold an estimate against")
    cases = [(name, q, i) for name, q in subject.proposals() for i in range(len(subject.rows))]
    limit = float(scipy.stats.norm.isf(RATE / (2 * len(cases))))
    worst, left_out = 0.0, set[str]()
    resolved: dict[int, float] = {}  # nats, of each row, by the proposal that resolves most
    for name, proposal, i in cases:
        found = logpx.estimate(model, subject.rows[i], proposal=proposal, n_samples=N_SAMPLES)
        known = float(exact[i])
        if not usable(found):
            left_out.add(name)
            continue
        floor = float(np.nan_to_num(found.bias_floor)) + ROUNDING
        difference = float(found.log_marginal) - known
        error, allowed = abs(difference), limit * float(found.std_error) + floor
        if not error <= allowed:
            said = (
                f"log p̂(x) = {found.log_marginal:.6f} ± {found.std_error:.2g} from {name}, row {i} of x, and "
                f"log_marginal says {known:.6f}: {difference:+.4f} ± {found.std_error:.2g} nats, "
                f"{error / max(found.std_error, ROUNDING):.0f} standard errors apart"
            )
            return Finding(FAIL, said, _TODO)
        resolved[i], worst = min(resolved.get(i, math.inf), 2 * allowed), max(worst, error / allowed * limit)
    if not resolved:
        return Finding(
            SKIP, f"the weights of {' and '.join(sorted(left_out))} are too uneven for a verdict; give a better one"
        )
    but = f"; {' and '.join(sorted(left_out))} left out, weights too uneven" if left_out else ""
    return Finding(
        PASS,
        f"log_marginal is met, the farthest at {worst:.1f} standard errors (limit {limit:.1f}, false alarms {RATE:g}); "
        f"{max(resolved.values()):.2g} nats would be found{but}",
    )


CHECKS = (Check("mean weight", "E[weight] is the exact p(x) where that is known", mean_weight, estimates=True),)
