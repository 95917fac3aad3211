"""Whether p(x) sums or integrates to 1 over x.

Where x has finitely many states (`x_states` in the file: the values of every entry, or all rows) p(x) is summed over
them; where it is one or two real numbers, integrated by the trapezoidal rule over a box that grows until p(x) is
negligible at its edges, with steps halved until two rules agree (L. N. Trefethen and J. A. C. Weideman, 2014,
doi:10.1137/130932132: for smooth p(x) that decays, it converges geometrically). An integral that is too small is not
yet a failure: a mode far from the data may lie outside the box. It is taken again over boxes twice as wide each time,
with the step kept, and is a failure where they hold no more. p(x) is the model's own where it is exact and quick; else
it is estimated at every x with streams of its own, and the sum carries their errors: a difference of more than z
standard errors of the sum, z at the false-alarm rate RATE, is a failure. A model that states a `log_evidence`, as the
targets of logpx do, is no distribution of x by design; its p(x) is held against that.
"""

from __future__ import annotations

import itertools
import math
import time
from typing import Any, NamedTuple

import numpy as np
import scipy
from numpy.typing import NDArray

import logpx
from logpx_bench.conformance.base import FAIL, PASS, RATE, SKIP, Check, Finding, Floats, Subject
from logpx_bench.contradictions import LEAST_ESS
from logpx_bench.errors import LogpxError, NotAvailableError
from logpx_bench.plurals import counted

#: Most states summed over; where p(x) is estimated, samples in all, and the fewest and most for each x; the largest
#: error of a sum worth having.
MOST_STATES, IN_ALL, FEWEST, MOST, USEFUL = 4096, 2**22, 2**12, 2**18, 0.02
#: Rows that exact values are timed on.
SOME = 256
#: Rounding of a sum of exact values; share of the largest p(x) that is negligible; points a side at first; most points
#: of a rule in all, and most seconds.
EXACT, NEGLIGIBLE, FIRST, MOST_POINTS, SECONDS = 1e-7, 1e-9, {1: 65, 2: 33}, 2**19, 10.0
#: Standard errors by which two rules differ that are not one integral; the share of what is missing by which the last
#: box must hold more than the one before for the rest to be thought farther out.
APART, GROWING = 5.0, 0.01
_TODO = (
    "The log of it is what log p(x, z) has too much, or too little: a missing constant of the density shows so (½ log "
    "2π = 0.919 for every normal number, a normaliser), and one that depends on x: log x! of counts, the Jacobian of a "
    "change of variables, the noise's log determinant"
)
_UNCOVERED = ". Or the states listed do not cover all that x can be: name the others in x_states"
_BEYOND = ". Or p(x) has a part farther out than was looked, or narrower than the step"
_SMALLER = "make and check a smaller model of the same function"
_UNSETTLED = "the quadrature of p(x) did not settle: p(x) has jumps or narrow peaks, or takes too long"


class States(NamedTuple):
    """All rows that x may be, (n, p), or None; whether that is a guess; in words, how many they are if too many."""

    rows: Floats | None = None
    guessed: bool = False
    too_many: str = ""


class Total(NamedTuple):
    """A sum of p(x), the standard error of it, what its rule may err, and in words how far x was looked at for more."""

    value: float
    error: float
    rule: float = 0.0
    looked: str = ""

    @property
    def limit(self) -> float:
        """How far from 1 it may be, at the false-alarm rate RATE."""
        return float(scipy.stats.norm.isf(RATE / 2)) * self.error + self.rule + EXACT

    @property
    def usable(self) -> bool:
        """Whether it says anything."""
        return math.isfinite(self.value) and self.error <= USEFUL

    @property
    def short(self) -> bool:
        """Whether it is too small."""
        return self.value < 1 - self.limit

    def agrees(self, other: Total) -> bool:
        """Whether both may be one integral: they differ by rounding and their errors alone."""
        return abs(self.value - other.value) <= EXACT + APART * math.hypot(self.error, other.error)


class Box(NamedTuple):
    """Where the trapezoidal rule looks at x: centre and half widths (p,), and points a side."""

    centre: Floats
    half: Floats
    n: int

    @property
    def size(self) -> int:
        """Points in all."""
        return int(self.n ** len(self.half))

    @property
    def finer(self) -> Box:
        """With half the step."""
        return self._replace(n=2 * self.n - 1)

    @property
    def coarser(self) -> Box:
        """With twice the step."""
        return self._replace(n=(self.n + 1) // 2)

    @property
    def wider(self) -> Box:
        """Twice as wide, with the same step."""
        return Box(self.centre, 2 * self.half, 2 * self.n - 1)

    def __str__(self) -> str:
        sides = zip(self.centre, self.half, strict=True)
        return " × ".join(f"[{c - h:.4g}, {c + h:.4g}]" for c, h in sides)


class _UnevenError(LogpxError):
    """p(x) was estimated, and most of the weight lies where that cannot be trusted."""


def normalised(subject: Subject) -> Finding:
    """Σ p(x) or ∫ p(x) dx, against 1."""
    p = subject.rows.shape[1]
    states = _states(subject)
    integers = bool(np.all(subject.rows == np.floor(subject.rows)))
    try:
        if states.rows is not None:
            return _verdict(_sum(subject, states.rows), f"p(x) over {counted(len(states.rows), 'state')} of x", states)
        if states.too_many:
            return Finding(
                SKIP,
                f"x has {states.too_many} states, and at most {MOST_STATES} are summed over; {_SMALLER}, with fewer "
                "entries in x",
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
    if isinstance(found, Finding):
        return found
    return _verdict(found, f"the integral of p(x) over {counted(p, 'dimension')}")


def _verdict(total: Total, what: str, states: States | None = None) -> Finding:
    limit = total.limit
    error = f" ± {total.error:.2g}" if total.error else ""
    said = f"{what} is {total.value:.7g}{error}"
    if not total.usable:
        return Finding(SKIP, f"{said}: too uncertain; a better proposal would do")
    if abs(total.value - 1) <= limit:
        return Finding(PASS, f"{said}; a difference of {2 * limit:.1g} from 1 would be found")
    if states is not None and states.guessed:
        return Finding(SKIP, f"{said}: if x takes 0 and 1 alone it must be 1; else say what it takes, x_states = […]")
    log = f", its log {math.log(total.value):+.4f} nats" if total.value > 0 else ""
    less = total.value < 1
    todo = _TODO + (_UNCOVERED if states is not None and less else _BEYOND if less else "")
    return Finding(FAIL, f"{said}{log}; it must be 1{total.looked}", todo)


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
    if _affordable(model, rows[:1], len(rows)):
        values = np.exp(np.asarray(model.log_marginal(rows), dtype=np.float64) - evidence)
        return values, np.zeros(len(rows))
    n_samples = min(max(IN_ALL // len(rows), FEWEST), MOST)
    found = logpx.estimate(model, rows, proposal=subject.own, n_samples=n_samples)
    values = np.exp(found.log_marginal - evidence)
    poor = found.ess < LEAST_ESS / 20
    if (values * poor).sum() > 0.01 * values.sum():
        raise _UnevenError("the weights are too uneven; a better proposal would do")
    return values, values * np.nan_to_num(found.std_error)


def _affordable(model: Any, row: Floats, n: int) -> bool:
    """Whether the model knows its exact log p(x), and n rows like this one, (1, p), can be had in time."""
    if getattr(model, "log_marginal", None) is None:
        return False
    try:
        model.log_marginal(row)  # the first call may compile
    except NotAvailableError:
        return False
    for size in (1, SOME):  # many at once may be much quicker, each
        rows = np.repeat(row, size, axis=0)
        start = time.perf_counter()
        model.log_marginal(rows)
        seconds = (time.perf_counter() - start) / size
        if seconds * n <= SECONDS or seconds * SOME > SECONDS:
            break
    return seconds * n <= SECONDS


# -- integrals ----------------------------------------------------------------------------------------------------


def _integral(subject: Subject) -> Total | Finding:
    """By the trapezoidal rule, on a box found by doubling, with steps halved; where it is too small, on wider ones."""
    p = subject.rows.shape[1]
    box = Box(np.median(subject.rows, axis=0), np.maximum(1.0, 4 * np.ptp(subject.rows, axis=0)), FIRST[p])
    for _ in range(30):
        open_sides = _open(_on_grid(subject, box)[0])
        if not open_sides.any():
            break
        box = box._replace(half=np.where(open_sides, 2 * box.half, box.half))
    else:
        return Finding(SKIP, "p(x) does not fall off: the model is no distribution of x, or one of very heavy tails")
    found = _settled(subject, box)
    if found is None:
        return Finding(SKIP, _UNSETTLED)
    total, box = found
    return _farther(subject, total, box.coarser) if total.usable and total.short else total


def _settled(subject: Subject, box: Box) -> tuple[Total, Box] | None:
    """The integral where two rules agree, the second of half the step, and its box; None where that takes too long."""
    before, seconds = None, 0.0
    while box.size <= MOST_POINTS and 2 ** len(box.half) * seconds <= SECONDS:
        start = time.perf_counter()
        total, _ = _rule(subject, box)
        if before is not None and total.agrees(before):
            return total._replace(rule=abs(total.value - before.value) if not total.error else 0.0), box
        before, box, seconds = total, box.finer, time.perf_counter() - start
    return None


def _farther(subject: Subject, total: Total, box: Box) -> Total | Finding:
    """A total that is too small, taken anew over boxes that grow for as long as it stays so and time allows.

    Where a wider box holds more, and is negligible at its edges, steps are halved there until two rules agree.
    """
    looked, grew, seconds, start = False, 0.0, 0.0, time.perf_counter()
    while total.short and _affords(subject, total, box.wider, seconds):
        before = time.perf_counter()
        try:
            more, cut = _rule(subject, box.wider)
            usable = math.isfinite(more.value)
            grows = usable and not more.agrees(total)
            found = _settled(subject, box.wider) if grows and not cut else None
        except _UnevenError:
            raise
        except Exception:  # of the user's own functions, so far from where they were meant for
            break
        if not usable:
            break
        looked, box, grew = True, box.wider, more.value - total.value if grows else 0.0
        if grows and not cut:
            if found is None:
                return Finding(SKIP, _UNSETTLED)
            grew, total, box = found[0].value - total.value, found[0], found[1].coarser
        now = time.perf_counter()
        seconds = now - start + 2 ** len(box.half) * (now - before)
    if not total.short:
        return total
    said = f"the integral of p(x) is {total.value:.7g} over {box}"
    if not looked:
        return Finding(SKIP, f"{said}, and farther out p(x) cannot be had, or not in time; {_SMALLER}")
    if grew > GROWING * (1 - total.value):
        return Finding(SKIP, f"{said}, and grows with the box: the rest may lie farther out")
    step = ", ".join(f"{one:.3g}" for one in 2 * box.half / (box.n - 1))
    return total._replace(looked=f", and nothing more was found as far as {box}, in steps of {step}")


def _affords(subject: Subject, total: Total, box: Box, seconds: float) -> bool:
    """Whether a rule of these points can be had, in the same way as the total was."""
    if box.size > MOST_POINTS or seconds > SECONDS:
        return False
    return total.error > 0 or _affordable(subject.model, subject.rows[:1], box.size)


def _rule(subject: Subject, box: Box) -> tuple[Total, bool]:
    """The trapezoidal rule on a box, and whether an edge cuts through p(x)."""
    values, errors = _on_grid(subject, box)
    cell = float(np.prod(2 * box.half / (box.n - 1)))
    total = Total(cell * math.fsum(values.ravel()), cell * float(np.sqrt(np.sum(errors**2))))
    return total, bool(_open(values).any())


def _on_grid(subject: Subject, box: Box) -> tuple[Floats, Floats]:
    axes = [np.linspace(c - h, c + h, box.n) for c, h in zip(box.centre, box.half, strict=True)]
    rows = np.stack([axis.ravel() for axis in np.meshgrid(*axes, indexing="ij")], axis=1)
    values, errors = _densities(subject, rows)
    shape = (box.n,) * len(axes)
    return values.reshape(shape), errors.reshape(shape)


def _open(values: Floats) -> NDArray[np.bool_]:
    """Whether p(x) is more than negligible at either end of each axis."""
    edges = [max(values.take(0, axis).max(), values.take(-1, axis).max()) for axis in range(values.ndim)]
    return np.array(edges) > NEGLIGIBLE * max(values.max(), 1e-300)


CHECKS = (
    Check("normalisation", "p(x) sums or integrates to 1 over x, where that can be done", normalised, estimates=True),
)
