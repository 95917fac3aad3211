r"""Certified quadrature over one or two latents: log ∫ exp(f_i(z)) dz over R^d, with an error that two rules vouch for.

    f_i(z) = log p(x_i, z),  i = 1 … n,  d = 1 or 2;   error_i ≤ tolerance (1e-6 nats), or it is said that it is not

Two rules that share no node, and no function but f, integrate all rows at once.

Lattice: h^d Σ exp f over the points of a lattice, the trapezoidal rule, h halved until no row moves by more than a
thousandth of the tolerance. For analytic integrands that decay it converges geometrically in 1/h (L. N. Trefethen and
J. A. C. Weideman, 2014, SIAM Review 56, 385-458, doi:10.1137/130932132). It covers a box that is found by looking: a
scan of a large cube in the log domain keeps the nodes where f, plus the largest difference from a neighbour on each
axis, comes within 60 nats of the top. For a quadratic f that bounds whatever the nodes step over, so that a mode far
narrower than the spacing still shows, by its flanks; the box of what is kept is scanned anew until it stops shrinking.

Panels: tensor Gauss-Legendre rules of 20 nodes a side on a larger cube, each panel halved along every axis until it and
its halves agree. It looks for no box, and refines where the mass turns out to be.

error = |lattice − panels| + the lattice's last change + the sum of all panels' last changes + what the box left out +
the caller's bound for what lies outside the cube + rounding. A last change overestimates where a rule converges at any
order from 1 on: an integrand with a kink (ReLU) or an edge is certified with many nodes, or refused. No rule sees a
spike that lies between all its nodes and shows in f nowhere else. The promise is therefore for integrands whose modes
are at least `narrowest` wide (standard deviations): the nodes of scan, lattice and panels are at most four times that
apart. Nor is anything seen outside the cube, but for what `log_tail` says.

Cost: nodes × rows values of f, most often 1e4 (d = 1) to 1e6 (d = 2), in pieces of at most max(2^20, 4096 n).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from logpx.checks import positive_number, whole
from logpx.errors import InputError, NotAvailableError
from logpx.reduce import logsumexp

Floats = NDArray[np.float64]
#: Latents that are integrated over at most.
MOST_LATENTS = 2
#: Values of f in memory at a time, rows × nodes; and in a scan, which needs neighbours.
PIECE, SCANNED = 2**20, 2**24
#: Half the side of the first cube; its growth where mass or tail asks for more; the largest.
FIRST_REACH, GROWTH, LAST_REACH = 8.0, 1.5, 1000.0
#: Fewest nodes a side of a scan, of a look at a face and of the first lattice; most nodes of a rule, levels together.
SCAN, FACE, COARSEST, MOST_NODES = {1: 4096, 2: 128}, 4096, {1: 64, 2: 32}, 2**23
#: Nats below the top at which nodes are dropped; nats that stand for the log of zero in differences.
CUT, ZERO = 60.0, -1e300
#: Gauss-Legendre nodes and first panels a side; the cube of the panels in units of the scan's, off its centre.
ORDER, PANELS, LOW, HIGH = 20, 4, -1.03, 1.09
#: The widest gap between nodes of the first halves, in units of the first panels.
WIDEST_GAP = 0.04
#: Rounding of a sum and of f, as a share of 1 + |value|.
ROUNDING = 2.0**-44
#: Change of a panel, as a share of a row's integral, at which it is left.
SETTLED = 1e-12


@dataclass(frozen=True, eq=False)
class Certified:
    """Integrals with their errors.

    Attributes
    ----------
    value : ndarray (n,)
        log ∫ exp f_i, in nats.
    error : ndarray (n,)
        Bound on the error of each, in nats, as the module's text puts it together.
    tolerance : float
        What was asked for.
    n_evaluations : int
        Nodes at which f was evaluated, each for all rows.
    rules : tuple of str
        The two rules with their sizes.
    """

    value: Floats
    error: Floats
    tolerance: float
    n_evaluations: int
    rules: tuple[str, str]

    def required(self) -> Floats:
        """The values, or NotAvailableError if any error is above the tolerance; the message names the worst row."""
        worst = int(np.argmax(np.where(np.isnan(self.error), np.inf, self.error)))
        if self.error[worst] <= self.tolerance:
            return self.value
        raise NotAvailableError(
            f"the integral of row {worst} is certain to {self.error[worst]:.1e} nats and not to {self.tolerance:.0e}: "
            f"{self.rules[0]} and {self.rules[1]} do not settle on it. Kinks (ReLU), edges or very narrow ridges in "
            "log p(x, z) do that; smooth it, or ask for a larger tolerance"
        )


@dataclass(eq=False)
class _Integrand:
    """f, checked, how far its nodes may be apart, and how many it was asked for."""

    log_f: Callable[[Floats], Floats]
    n_rows: int
    n_latents: int
    apart: float
    n_evaluations: int = field(default=0)

    def __call__(self, z: Floats) -> Floats:
        """f at the nodes z (d, m), as (n, m)."""
        self.n_evaluations += z.shape[1]
        values = np.asarray(self.log_f(z), dtype=np.float64)
        if values.shape != (self.n_rows, z.shape[1]):
            raise InputError(f"log_f gave shape {values.shape} for z {z.shape}; it must be {self.n_rows, z.shape[1]}")
        bad = np.argwhere(~(values < np.inf))
        if len(bad):
            row, node = (int(i) for i in bad[0])
            raise InputError(f"log_f is {values[row, node]} for row {row} at z = {z[:, node]}; it must be below +inf")
        return values

    def intervals(self, side: float, least: int) -> int:
        """How many make up a side, for nodes to be near enough."""
        return max(least, math.ceil(side / self.apart))

    def on(self, axes: list[Floats]) -> Iterator[Floats]:
        """f at the nodes of a grid in C order, (n, piece) by piece of at most PIECE values."""
        shape = tuple(len(axis) for axis in axes)
        n_nodes, size = math.prod(shape), max(PIECE // self.n_rows, 1)
        for start in range(0, n_nodes, size):
            at = np.unravel_index(np.arange(start, min(start + size, n_nodes)), shape)
            yield self(np.stack([axis[i] for axis, i in zip(axes, at, strict=True)]))


def certified(
    log_f: Callable[[Floats], Floats],
    n_rows: int,
    n_latents: int,
    *,
    tolerance: float = 1e-6,
    narrowest: float = 1 / 32,
    log_tail: Callable[[float], float | Floats] | None = None,
) -> Certified:
    """log ∫ exp f_i(z) dz over R^d for every row i, by two rules.

    Parameters
    ----------
    log_f : callable
        z (d, m) to f_i(z) = log p(x_i, z) in nats, (n, m); −inf is allowed. Up to max(2^20/n, 4096) nodes a call.
    n_rows : int
        n, of rows that share their nodes. Rows that lie far apart cost more together than one by one.
    n_latents : int
        d, 1 or 2.
    tolerance : float
        The error that is aimed at, in nats; what is reached is in the result.
    narrowest : float
        Standard deviation, in units of z, of the narrowest mode that is sure to be seen wherever it lies; a narrower
        one is where f shows it by its flanks. Nodes go with its inverse, to the power d.
    log_tail : callable, optional
        R to an upper bound of log ∫ exp f_i over all z with some |z_l| > R: a float, or (n,). Without it what lies
        outside the cube is taken for nothing, once f has fallen by 60 nats at its faces. For a standard normal prior
        and a likelihood of at most L it is log L + log 2d + log Φ(−R).

    Raises
    ------
    InputError
        Another d, a value of f that is +inf or nan, or of the wrong shape.
    NotAvailableError
        f is −inf wherever it was looked at, or has not fallen by 60 nats within |z| ≤ 1000.

    Examples
    --------
    >>> normal = certified(lambda z: -0.5 * ((z - 1.0) ** 2).sum(axis=0, keepdims=True), 1, 2)
    >>> bool(abs(normal.value[0] - np.log(2 * np.pi)) < normal.error[0] < 1e-9)
    True
    """
    d = whole("n_latents", n_latents, most=MOST_LATENTS)
    aim = positive_number("tolerance", tolerance, "in nats")
    apart = 4 * positive_number("narrowest", narrowest, "in units of z")
    f = _Integrand(log_f, whole("n_rows", n_rows), d, apart)
    reach, box, tail = _cube(f, log_tail, aim)
    lattice, moved, nodes = _lattice(f, box, 1e-3 * aim)
    panels, changed, n_panels = _panels(f, reach)
    with np.errstate(over="ignore"):
        left_out = np.exp(d * math.log(2 * reach) + box.top - CUT - lattice) + np.exp(tail - lattice)
    error = np.abs(lattice - panels) + moved + changed + left_out + ROUNDING * (1 + np.abs(lattice))
    rules = (
        f"the trapezoidal rule on {' × '.join([str(nodes)] * d)} nodes",
        f"adaptive Gauss-Legendre on {n_panels} panels of {' × '.join([str(ORDER)] * d)}",
    )
    return Certified(lattice, error, aim, f.n_evaluations, rules)


# -- where the mass is --------------------------------------------------------------------------------------------


class _Box(NamedTuple):
    """Corners (d,) of where the mass is, the top of each row (n,) and a rough log integral (n,)."""

    low: Floats
    high: Floats
    top: Floats
    rough: Floats


def _cube(
    f: _Integrand, log_tail: Callable[[float], float | Floats] | None, tolerance: float
) -> tuple[float, _Box, Floats]:
    """Half the side of a cube that holds the mass, the box where it is, and the log of what may lie outside, (n,)."""
    reach, tail = FIRST_REACH, np.full(f.n_rows, -np.inf)
    while True:
        box = _box(f, reach)
        if log_tail is not None:
            tail = np.broadcast_to(np.asarray(log_tail(reach), dtype=np.float64), (f.n_rows,))
        clear = _clear_faces(f, reach, box.top)
        small = np.all(tail - box.rough <= math.log(1e-3 * tolerance))
        if (clear and small) or GROWTH * reach > LAST_REACH:
            break
        reach *= GROWTH
    if np.any(box.top <= ZERO):
        row = int(np.argmax(box.top <= ZERO))
        raise NotAvailableError(f"log p(x, z) of row {row} is −inf wherever it was looked at, within |z| ≤ {reach:.0f}")
    if not clear:
        raise NotAvailableError(
            f"log p(x, z) has not fallen by {CUT:.0f} nats within |z| ≤ {reach:.0f}: shift or scale z, or its tails "
            "are too heavy for this quadrature"
        )
    return reach, box, tail


def _clear_faces(f: _Integrand, reach: float, top: Floats) -> bool:
    """Whether every row is CUT nats below its top on the faces of the cube, between the nodes too."""
    along = np.linspace(-reach, reach, FACE if f.n_latents == 2 else 1)
    for axis in range(f.n_latents):
        for side in (-reach, reach):
            values = f(np.insert(along[None], axis, side, axis=0)[: f.n_latents])
            with np.errstate(invalid="ignore"):
                steps = _steps(values, 1)
            hopeful = values + np.where(np.isfinite(steps), steps, 0.0)
            if np.any(hopeful.max(axis=1) >= top - CUT):
                return False
    return True


def _box(f: _Integrand, reach: float) -> _Box:
    """A box in the cube outside which every row is CUT nats below its top: scans until it stops shrinking."""
    side, nothing = np.full(f.n_latents, reach), np.full(f.n_rows, -np.inf)
    box = _Box(-side, side, nothing, nothing)
    while True:
        before, box = box, _scan(f, box)
        if np.prod(box.high - box.low) > 0.5 * np.prod(before.high - before.low):
            return box


def _scan(f: _Integrand, box: _Box) -> _Box:
    """The part of a box that is kept, with a node to spare.

    Kept are nodes whose value, plus for each axis the larger difference from its two neighbours there, comes within
    CUT of the top of some row.
    """
    d = f.n_latents
    n = 1 + f.intervals(float((box.high - box.low).max()), SCAN[d])
    axes = [np.linspace(a, b, n) for a, b in zip(box.low, box.high, strict=True)]
    together = max(SCANNED // n**d, 1)
    kept, tops, rough = np.zeros([n] * d, dtype=bool), [], []
    for start in range(0, f.n_rows, together):
        rows = slice(start, start + together)
        values = np.concatenate([np.maximum(part[rows], ZERO) for part in f.on(axes)], axis=1)
        tops.append(np.maximum(values.max(axis=1), box.top[rows]))
        rough.append(logsumexp(values, axis=1) + np.log((box.high - box.low) / (n - 1)).sum())
        values = values.reshape(-1, *kept.shape)
        hopeful = values + sum(_steps(values, axis) for axis in range(1, d + 1))
        kept |= np.any(hopeful >= np.expand_dims(tops[-1] - CUT, tuple(range(1, d + 1))), axis=0)
    places = [np.flatnonzero(kept.any(axis=tuple(set(range(d)) - {axis}))) for axis in range(d)]
    low = np.array([axis[max(at[0] - 1, 0)] for axis, at in zip(axes, places, strict=True)])
    high = np.array([axis[min(at[-1] + 1, n - 1)] for axis, at in zip(axes, places, strict=True)])
    return _Box(low, high, np.concatenate(tops), np.concatenate(rough))


def _steps(values: Floats, axis: int) -> Floats:
    """Of each node the larger difference from its two neighbours along an axis."""
    step = np.moveaxis(np.abs(np.diff(values, axis=axis)), axis, 0)
    edge = np.zeros((1, *step.shape[1:]))
    larger = np.maximum(np.concatenate([edge, step]), np.concatenate([step, edge]))
    return np.asarray(np.moveaxis(larger, 0, axis))


# -- the two rules ------------------------------------------------------------------------------------------------


def _lattice(f: _Integrand, box: _Box, still: float) -> tuple[Floats, Floats, int]:
    """Trapezoidal rule with the spacing halved: log integrals (n,), their last change (n,), nodes a side."""
    n, spent = f.intervals(float((box.high - box.low).max()), COARSEST[f.n_latents]), 0
    value = np.full(f.n_rows, np.inf)
    while True:
        spacing = (box.high - box.low) / n
        axes = [start + (np.arange(n) + 0.5) * h for start, h in zip(box.low, spacing, strict=True)]
        sums = [logsumexp(values, axis=1) for values in f.on(axes)]
        before, value = value, logsumexp(np.stack(sums, axis=1), axis=1) + np.log(spacing).sum()
        moved = np.abs(value - before)
        spent += n**f.n_latents
        if np.all(moved <= still) or spent + (2 * n) ** f.n_latents > MOST_NODES:
            return value, moved, n
        n *= 2


def _panels(f: _Integrand, reach: float) -> tuple[Floats, Floats, int]:
    """Adaptive Gauss-Legendre rule: log integrals (n,), the sum of all last changes as a share (n,), panels left."""
    d, halves, n_left, start = f.n_latents, 2**f.n_latents, 0, f.n_evaluations
    n_panels = f.intervals(WIDEST_GAP * (HIGH - LOW) * reach, PANELS)
    width = (HIGH - LOW) * reach / n_panels
    corners = LOW * reach + width * _tensor(np.arange(float(n_panels)), d)
    halving, coarse = _tensor(np.array([0.0, 0.5]), d)[:, None], _integrals(f, corners, width)
    done, total, changed = np.full(f.n_rows, -np.inf), np.full(f.n_rows, -np.inf), np.zeros(f.n_rows)
    while True:
        children = corners[:, :, None] + width * halving
        parts = _integrals(f, children.reshape(d, -1), width / 2).reshape(f.n_rows, -1, halves)
        fine = np.logaddexp.reduce(parts, axis=2)
        before, total = total, np.logaddexp(done, np.logaddexp.reduce(fine, axis=1))
        with np.errstate(over="ignore", invalid="ignore"):
            change = np.abs(np.exp(coarse - total[:, None]) - np.exp(fine - total[:, None]))
            changed *= np.where(changed > 0, np.exp(before - total), 0.0)
        unsettled = np.any(~(change <= SETTLED), axis=0)
        if f.n_evaluations - start + unsettled.sum() * halves**2 * ORDER**d > MOST_NODES:
            unsettled[:] = False
        changed += change[:, ~unsettled].sum(axis=1)
        done = np.logaddexp(done, np.logaddexp.reduce(fine[:, ~unsettled], axis=1, initial=-np.inf))
        n_left += halves * int((~unsettled).sum())
        if not unsettled.any():
            return done, changed, n_left
        corners, coarse = children[:, unsettled].reshape(d, -1), parts[:, unsettled].reshape(f.n_rows, -1)
        width /= 2


def _integrals(f: _Integrand, corners: Floats, width: float) -> Floats:
    """Log of the Gauss-Legendre rule of each panel and row, (n, panels), for lower corners (d, panels)."""
    points, weights = np.polynomial.legendre.leggauss(ORDER)
    inside = _tensor(0.5 * width * (points + 1), f.n_latents)[:, None]
    shares = np.log(_tensor(0.5 * width * weights, f.n_latents)).sum(axis=0)
    n_panels, per_panel = corners.shape[1], len(shares)
    together, out = max(PIECE // (f.n_rows * per_panel), 1), np.empty((f.n_rows, n_panels))
    for start in range(0, n_panels, together):
        nodes = corners[:, start : start + together, None] + inside
        values = f(nodes.reshape(f.n_latents, -1)).reshape(f.n_rows, -1, per_panel) + shares
        top = np.maximum(values.max(axis=2), ZERO)
        with np.errstate(divide="ignore"):
            out[:, start : start + together] = top + np.log(np.exp(values - top[:, :, None]).sum(axis=2))
    return out


def _tensor(side: Floats, d: int) -> Floats:
    """All d-tuples of the numbers of one side, (d, len(side)^d)."""
    return np.stack(np.meshgrid(*[side] * d, indexing="ij")).reshape(d, -1)
