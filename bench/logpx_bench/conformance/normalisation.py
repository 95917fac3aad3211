"""Whether p(x) sums or integrates to 1 over x.

Where x has finitely many states (`x_states` in the file: the values of every entry, or all rows) p(x) is summed over
them; where it is one or two real numbers, integrated by the trapezoidal rule over a box that grows until p(x) is
negligible at its edges, with steps halved until two rules agree (L. N. Trefethen and J. A. C. Weideman, 2014,
doi:10.1137/130932132: for smooth p(x) that decays, it converges geometrically). p(x) is the model's own where it is
exact and quick; else it is estimated at every x with streams of its own, and the sum carries their errors: a difference
of more than z standard errors of the sum, z at the false-alarm rate RATE, is a failure. A model that states a
`log_evidence`, as the targets of logpx do, is no distribution of x by design; its p(x) is held against that.
"""

from __future__ import annotations

import itertools
import math
import time
from typing import Any, NamedTuple

import numpy as np
import scipy

import logpx
from logpx_bench.conformance.base import FAIL, PASS, RATE, SKIP, Check, Finding, Floats, Subject
from logpx_bench.contradictions import LEAST_ESS
from logpx_bench.errors import LogpxError, NotAvailableError

#: Most states summed over; where p(x) is estimated, samples in all, and the fewest and most for each x; the largest
#: error of a sum worth having.
MOST_STATES, IN_ALL, FEWEST, MOST, USEFUL = 4096, 2**22, 2**12, 2**18, 0.02
#: Rounding of a sum of exact values; share of the largest p(x) that is negligible; points a side at first; most points
#: of a rule in all, and most seconds.
EXACT, NEGLIGIBLE, FIRST, MOST_POINTS, SECONDS = 1e-7, 1e-9, {1: 65, 2: 33}, 2**19, 10.0
_TODO = (
    "The log of it is what log p(x, z) has too much, or too little: a missing constant of the density shows so (½ log "
    "2π = 0.919 for every normal number, a normaliser), and one that depends on x: log x! of counts, the Jacobian of a "
    "change of variables, the noise's log determinant"
)
_UNCOVERED = ". Or the states listed do not cover all that x can be: name the others in x_states"


class States(NamedTuple):
    """All rows that x may be, (n, p), or None; whether that is a guess; in words, how many they are if too many."""

    rows: Floats | None = None
    guessed: bool = False
    too_many: str = ""


class Total(NamedTuple):
    """A sum of p(x), the standard error of it, and what its rule may err."""

    value: float
    error: float
    rule: float = 0.0


def normalised(subject: Subject) -> Finding:
    """Σ p(x) or ∫ p(x) dx, against 1."""
    p = subject.rows.shape[1]
    states = _states(subject)
    integers = bool(np.all(subject.rows == np.floor(subject.rows)))
    try:
        if states.rows is not None:
            return _verdict(_sum(subject, states.rows), f"p(x) over {len(states.rows)} states of x", states)
        if states.too_many:
            return Finding(
                SKIP,
                f"x has {states.too_many} states, and at most {MOST_STATES} are summed over; make a smaller model of "
                "the same function, with fewer entries in x, and check that",
            )
        if integers:
            return Finding(
                SKIP,
                "x holds whole numbers; if it takes finitely many values, say which, x_states = [0, 1, …], for a sum "
                "over them; for counts without a bound this check is left out",
            )
        if p > 2:
            return Finding(SKIP, f"x is {p} real numbers; p(x) is integrated over one or two")
        found = _integral(subject)
    except LogpxError as error:
        return Finding(SKIP, f"p(x) cannot be had at every x: {str(error).partition('. ')[0]}")
    return found if isinstance(found, Finding) else _verdict(found, f"the integral of p(x) over {p} dimensions")


def _verdict(total: Total, what: str, states: States | None = None) -> Finding:
    limit = float(scipy.stats.norm.isf(RATE / 2)) * total.error + total.rule + EXACT
    error = f" ± {total.error:.2g}" if total.error else ""
    said = f"{what} is {total.value:.7g}{error}"
    if not math.isfinite(total.value) or total.error > USEFUL:
        return Finding(SKIP, f"{said}: too uncertain; a better proposal would do")
    if abs(total.value - 1) <= limit:
        return Finding(PASS, f"{said}; a difference of {2 * limit:.1g} from 1 would be found")
    if states is not None and states.guessed:
        return Finding(SKIP, f"{said}: if x takes 0 and 1 alone it must be 1; else say what it takes, x_states = […]")
    log = f", its log {math.log(total.value):+.4f} nats" if total.value > 0 else ""
    todo = _TODO + (_UNCOVERED if states is not None and total.value < 1 else "")
    return Finding(FAIL, f"{said}{log}; it must be 1", todo)


# -- sums ---------------------------------------------------------------------------------------------------------


def _states(subject: Subject) -> States:
    """All rows that x may be, as the file says, or as a guess where x is binary."""
    p, given = subject.rows.shape[1], subject.given.x_states
    guessed = given is None and bool(np.isin(subject.rows, (0.0, 1.0)).all())
    values = np.asarray([0.0, 1.0] if guessed else [] if given is None else given, dtype=np.float64)
    if values.ndim == 2:
        return States(values) if len(values) <= MOST_STATES else States(too_many=str(len(values)))
    if not values.size:
        return States()
    if values.size**p > MOST_STATES:
        return States(too_many=f"{values.size}^{p}")
    return States(np.array(list(itertools.product(values.tolist(), repeat=p))), guessed)


def _sum(subject: Subject, rows: Floats) -> Total:
    values, errors = _densities(subject, rows)
    return Total(math.fsum(values), float(np.sqrt(np.sum(errors**2))))


def _densities(subject: Subject, rows: Floats) -> tuple[Floats, Floats]:
    """p(x) of rows (n, p), and its standard errors, zero where it is exact; over the evidence where that is not 1."""
    model = subject.model
    evidence = float(getattr(model, "log_evidence", 0.0))
    if _affordable(model, rows):
        values = np.exp(np.asarray(model.log_marginal(rows), dtype=np.float64) - evidence)
        return values, np.zeros(len(rows))
    n_samples = min(max(IN_ALL // len(rows), FEWEST), MOST)
    found = logpx.estimate(model, rows, proposal=subject.own, n_samples=n_samples)
    values = np.exp(found.log_marginal - evidence)
    poor = found.ess < LEAST_ESS / 20
    if (values * poor).sum() > 0.01 * values.sum():
        raise LogpxError("the weights are too uneven; a better proposal would do")
    return values, values * np.nan_to_num(found.std_error)


def _affordable(model: Any, rows: Floats) -> bool:
    """Whether the model knows its exact log p(x), and all of these rows of it can be had in time."""
    if getattr(model, "log_marginal", None) is None:
        return False
    try:
        model.log_marginal(rows[:1])  # the first call may compile
    except NotAvailableError:
        return False
    start = time.perf_counter()
    model.log_marginal(rows[:1])
    return (time.perf_counter() - start) * len(rows) <= SECONDS


# -- integrals ----------------------------------------------------------------------------------------------------


def _integral(subject: Subject) -> Total | Finding:
    """By the trapezoidal rule, on a box found by doubling, with steps halved."""
    p = subject.rows.shape[1]
    centre = np.median(subject.rows, axis=0)
    half = np.maximum(1.0, 4 * np.ptp(subject.rows, axis=0))
    n = FIRST[p]
    for _ in range(30):
        values, _ = _on_grid(subject, centre, half, n)
        open_sides = _edges(values) > NEGLIGIBLE * max(values.max(), 1e-300)
        if not open_sides.any():
            break
        half = np.where(open_sides, 2 * half, half)
    else:
        return Finding(SKIP, "p(x) does not fall off: the model is no distribution of x, or one of very heavy tails")
    before, seconds = None, 0.0
    while n**p <= MOST_POINTS and 2**p * seconds <= SECONDS:
        start = time.perf_counter()
        values, errors = _on_grid(subject, centre, half, n)
        cell = float(np.prod(2 * half / (n - 1)))
        total = Total(cell * math.fsum(values.ravel()), cell * float(np.sqrt(np.sum(errors**2))))
        if before is not None and abs(total.value - before.value) <= EXACT + 5 * math.hypot(total.error, before.error):
            return total._replace(rule=abs(total.value - before.value) if not total.error else 0.0)
        before, n, seconds = total, 2 * n - 1, time.perf_counter() - start
    return Finding(SKIP, "the quadrature of p(x) did not settle: p(x) has jumps or narrow peaks, or takes too long")


def _on_grid(subject: Subject, centre: Floats, half: Floats, n: int) -> tuple[Floats, Floats]:
    axes = [np.linspace(c - h, c + h, n) for c, h in zip(centre, half, strict=True)]
    rows = np.stack([axis.ravel() for axis in np.meshgrid(*axes, indexing="ij")], axis=1)
    values, errors = _densities(subject, rows)
    shape = (n,) * len(axes)
    return values.reshape(shape), errors.reshape(shape)


def _edges(values: Floats) -> Floats:
    """The largest value on either end of each axis."""
    return np.array([max(values.take(0, axis).max(), values.take(-1, axis).max()) for axis in range(values.ndim)])


CHECKS = (
    Check("normalisation", "p(x) sums or integrates to 1 over x, where that can be done", normalised, estimates=True),
)
