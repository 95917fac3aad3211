r"""Certified quadrature over one or two latents: log ∫ exp(f_i(z)) dz over R^d, with an error that two rules vouch for.

    f_i(z) = log p(x_i, z),  i = 1 … n,  d = 1 or 2;   error_i ≤ tolerance (1e-6 nats), or it is said that it is not

Two rules that share no node, and no function but f, integrate all rows at once: f is asked for at a node once, for
those rows that need it there. For each row both look at a cube, the smallest of some at whose faces f is 60 nats below
its top and outside which the caller's bound leaves next to nothing.

Lattice: h^d Σ exp f over the points of a lattice, the trapezoidal rule, h halved for the rows that still move by more
than a thousandth of the tolerance. For analytic integrands that decay it converges geometrically in 1/h (L. N.
Trefethen and J. A. C. Weideman, 2014, SIAM Review 56, 385-458, doi:10.1137/130932132). It covers a box that is found by
looking: a scan of the cube in the log domain keeps the nodes where f, plus the largest difference from a neighbour on
each axis, comes within 60 nats of the top. For a quadratic f that bounds whatever the nodes step over, so that a mode
far narrower than the spacing still shows, by its flanks; the box of what is kept, for all rows, is scanned anew until
it stops shrinking.

Panels: tensor Gauss-Legendre rules of 20 nodes a side on a larger cube, each panel halved along every axis for the rows
in which it and its halves do not agree. It looks for no box, and refines where the mass turns out to be.

error = |lattice − panels| + the lattice's last change + the sum of all panels' last changes + what the box left out +
the caller's bound for what lies outside the cube + rounding. A last change overestimates where a rule converges at any
order from 1 on: an integrand with a kink (ReLU) or an edge is certified with many nodes, or refused. No rule sees a
spike that lies between all its nodes and shows in f nowhere else. The promise is therefore for integrands whose modes
are at least `narrowest` wide (standard deviations): the nodes of scan, lattice and panels are at most four times that
apart. Nor is anything seen outside a row's cube, but for what `log_tail` says.

Cost: values of f, for each row most often 1e4 (d = 1) to 1e6 (d = 2), in pieces of at most max(2^20, 4096 n). Most are
those of the scan and the first panels, which cover the cube, and grow with the inverse of `narrowest`, to the power d.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from logpx.checks import positive_number, whole
from logpx.errors import InputError, NotAvailableError
from logpx.reduce import logsumexp

Floats = NDArray[np.float64]
Rows = NDArray[np.intp]
#: Latents that are integrated over at most.
MOST_LATENTS = 2
#: Values of f in memory at a time, rows × nodes, and in a scan, which needs neighbours; nodes of panels at a time.
PIECE, SCANNED, TOGETHER = 2**20, 2**22, 4096
#: Half the side of the first cube; its growth where mass or tail asks for more; the largest.
FIRST_REACH, GROWTH, LAST_REACH = 8.0, 1.5, 1000.0
#: Fewest nodes a side of a scan, a look at a face and the first lattice; most of a row's rule, levels together
#: (of all rows' panels: four times that).
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
        Nodes at which f was evaluated, each for the rows that needed it.
    rules : tuple of str
        The two rules with their largest sizes.
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


@dataclass(frozen=True, eq=False)
class _Integrand:
    """f of some rows, checked, how far its nodes may be apart, and how many it was asked for, all rows together."""

    log_f: Callable[..., Floats]
    by_rows: bool
    n_given: int
    rows: Rows
    n_latents: int
    apart: float
    asked: NDArray[np.int64] = field(default_factory=lambda: np.zeros(1, dtype=np.int64))

    @property
    def n_rows(self) -> int:
        return len(self.rows)

    def of(self, rows: Rows) -> _Integrand:
        """f of some of these rows, by their places among them."""
        return replace(self, rows=self.rows[rows])

    def __call__(self, z: Floats) -> Floats:
        """f at the nodes z (d, m), as (n, m)."""
        self.asked[0] += z.shape[1]
        values = np.asarray(self.log_f(z, self.rows) if self.by_rows else self.log_f(z), dtype=np.float64)
        shape = (self.n_rows if self.by_rows else self.n_given, z.shape[1])
        if values.shape != shape:
            raise InputError(f"log_f gave shape {values.shape} for z {z.shape}; it must be {shape}")
        if not np.all(values < np.inf):
            at, node = (int(i) for i in np.argwhere(~(values < np.inf))[0])
            row = self.rows[at] if self.by_rows else at
            raise InputError(f"log_f is {values[at, node]} for row {row} at z = {z[:, node]}; it must be below +inf")
        return values if len(values) == self.n_rows else values[self.rows]

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
    log_f: Callable[..., Floats],
    n_rows: int,
    n_latents: int,
    *,
    by_rows: bool = False,
    tolerance: float = 1e-6,
    narrowest: float = 1 / 32,
    log_tail: Callable[[float], float | Floats] | None = None,
) -> Certified:
    """log ∫ exp f_i(z) dz over R^d for every row i, by two rules.

    Parameters
    ----------
    log_f : callable
        z (d, m) to f_i(z) = log p(x_i, z) in nats, (n, m); −inf is allowed. Up to max(2^20, 4096 n) values a call.
    n_rows : int
        n.
    n_latents : int
        d, 1 or 2.
    by_rows : bool
        Whether log_f takes (z, rows): z (d, m) and the places (k,) of the rows that are needed there, to (k, m). Many
        rows that lie far apart are then much faster. Without it all are worked out wherever any is needed.
    tolerance : float
        The error that is aimed at, in nats; what is reached is in the result.
    narrowest : float
        Standard deviation, in units of z, of the narrowest mode that is sure to be seen wherever it lies; a narrower
        one is where f shows it by its flanks. Nodes go with its inverse, to the power d.
    log_tail : callable, optional
        R to an upper bound of log ∫ exp f_i over all z with some |z_l| > R: a float, or (n,). Without it what lies
        outside a row's cube is taken for nothing, once f has fallen by 60 nats at its faces. For a standard normal
        prior and a likelihood of at most L it is log L + log 2d + log Φ(−R).

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
    apart, n = 4 * positive_number("narrowest", narrowest, "in units of z"), whole("n_rows", n_rows)
    f = _Integrand(log_f, by_rows, n, np.arange(n), d, apart)
    reach, box, tail = _cubes(f, log_tail, aim)
    lattice, moved, nodes = _lattice(f, box, 1e-3 * aim)
    panels, changed, n_panels = _panels(f, reach)
    with np.errstate(over="ignore"):
        left_out = np.exp(d * np.log(2 * reach) + box.top - CUT - lattice) + np.exp(tail - lattice)
    error = np.abs(lattice - panels) + moved + changed + left_out + ROUNDING * (1 + np.abs(lattice))
    rules = (
        f"the trapezoidal rule on {' × '.join([str(nodes)] * d)} nodes",
        f"adaptive Gauss-Legendre on {n_panels} panels of {' × '.join([str(ORDER)] * d)}",
    )
    return Certified(lattice, error, aim, int(f.asked[0]), rules)


class _Box(NamedTuple):
    """Corners (n, d) of where each row's mass is, its top (n,) and a rough log integral (n,)."""

    low: Floats
    high: Floats
    top: Floats
    rough: Floats


def _cubes(
    f: _Integrand, log_tail: Callable[[float], float | Floats] | None, tolerance: float
) -> tuple[Floats, _Box, Floats]:
    """For each row half the side of a cube that holds the mass, the box there, and the log of what may lie outside."""
    d, reach, going = f.n_latents, FIRST_REACH, np.arange(f.n_rows)
    reaches, tails = np.empty(f.n_rows), np.full(f.n_rows, -np.inf)
    boxes = _Box(np.empty((f.n_rows, d)), np.empty((f.n_rows, d)), np.empty(f.n_rows), np.empty(f.n_rows))
    while True:
        part = f.of(going)
        box = _box(part, reach)
        for every, some in zip(boxes, box, strict=True):
            every[going] = some
        if log_tail is not None:
            tails[going] = np.broadcast_to(np.asarray(log_tail(reach), dtype=np.float64), (f.n_rows,))[going]
        clear, reaches[going] = _clear_faces(part, reach, box.top), reach
        going = going[~(clear & (tails[going] - box.rough <= math.log(1e-3 * tolerance)))]
        if len(going) == 0 or GROWTH * reach > LAST_REACH:
            break
        reach *= GROWTH
    if np.any(boxes.top <= ZERO):
        row = int(np.argmax(boxes.top <= ZERO))
        raise NotAvailableError(
            f"log p(x, z) of row {row} is −inf wherever it was looked at, within |z| ≤ {reaches[row]:.0f}"
        )
    if not np.all(clear):
        raise NotAvailableError(
            f"log p(x, z) has not fallen by {CUT:.0f} nats within |z| ≤ {reach:.0f}: shift or scale z, or its tails "
            "are too heavy for this quadrature"
        )
    return reaches, boxes, tails


def _clear_faces(f: _Integrand, reach: float, top: Floats) -> NDArray[np.bool_]:
    """Whether each row is CUT nats below its top on the faces of the cube, between the nodes too, (n,)."""
    along, clear = np.linspace(-reach, reach, FACE if f.n_latents == 2 else 1), np.ones(f.n_rows, dtype=bool)
    for axis in range(f.n_latents):
        for side in (-reach, reach):
            values = f(np.insert(along[None], axis, side, axis=0)[: f.n_latents])
            with np.errstate(invalid="ignore"):
                steps = _steps(values, 1)
            hopeful = values + np.where(np.isfinite(steps), steps, 0.0)
            clear &= hopeful.max(axis=1) < top - CUT
    return clear


def _box(f: _Integrand, reach: float) -> _Box:
    """Boxes in the cube outside which rows are CUT nats below their tops: scans of all until they stop shrinking."""
    high, top = np.full(f.n_latents, reach), np.full(f.n_rows, -np.inf)
    low = -high
    while True:
        box, before = _scan(f, low, high, top), np.prod(high - low)
        low, high, top = box.low.min(axis=0), box.high.max(axis=0), box.top
        if np.prod(high - low) > 0.5 * before:
            return box


def _scan(f: _Integrand, low: Floats, high: Floats, top: Floats) -> _Box:
    """The part of a box (d,) that is kept for each row, with a node to spare; tops (n,) as far as known."""
    n = 1 + f.intervals(float((high - low).max()), SCAN[f.n_latents])
    axes = [np.linspace(a, b, n) for a, b in zip(low, high, strict=True)]
    groups = np.array_split(np.arange(f.n_rows), min(f.n_rows, math.ceil(f.n_latents * f.n_rows * n / SCANNED)))
    return _Box(*map(np.concatenate, zip(*[_scanned(f.of(rows), axes, top[rows]) for rows in groups], strict=True)))


def _scanned(f: _Integrand, axes: list[Floats], top: Floats) -> _Box:
    """The same of a grid.

    Kept are nodes whose value, plus for each axis the larger difference from its two neighbours there, comes within
    CUT of the top. Of these sums only the largest on each line across an axis is remembered.
    """
    d, n = f.n_latents, len(axes[0])
    largest, rough = np.full((d, f.n_rows, n), -np.inf), np.full(f.n_rows, -np.inf)
    thick = max(SCANNED // (f.n_rows * n ** (d - 1)), 2)
    for start in range(0, n, thick):
        first, inner = max(start - 1, 0), slice(start, min(start + thick, n))
        slab = [axes[0][first : inner.stop + 1], *axes[1:]]
        values = np.concatenate([np.maximum(part, ZERO) for part in f.on(slab)], axis=1)
        for row, one in enumerate(values.reshape(f.n_rows, *map(len, slab))):
            within = slice(inner.start - first, inner.stop - first)
            hopeful = (one + sum(_steps(one, axis) for axis in range(d)))[within]
            top[row] = max(top[row], one.max())
            rough[row] = np.logaddexp(rough[row], logsumexp(one[within].ravel()))
            largest[0, row, inner] = hopeful.max(axis=tuple(range(1, d)))
            if d == 2:
                largest[1, row] = np.maximum(largest[1, row], hopeful.max(axis=0))
    kept = largest >= (top - CUT)[:, None]
    ends = np.maximum(kept.argmax(axis=2) - 1, 0), np.minimum(n - kept[:, :, ::-1].argmax(axis=2), n - 1)
    lows, highs = (np.stack([nodes[at] for nodes, at in zip(axes, end, strict=True)], axis=1) for end in ends)
    return _Box(lows, highs, top, rough + np.log([nodes[1] - nodes[0] for nodes in axes]).sum())


def _steps(values: Floats, axis: int) -> Floats:
    """Of each node the larger difference from its two neighbours along an axis."""
    step, edge = np.abs(np.diff(values, axis=axis)), np.zeros_like(values.take([0], axis))
    return np.maximum(np.concatenate([edge, step], axis), np.concatenate([step, edge], axis))


def _lattice(f: _Integrand, box: _Box, still: float) -> tuple[Floats, Floats, int]:
    """Trapezoidal rule with the spacing halved, over the box of the rows that still move.

    Log integrals (n,), their last change (n,), and the most nodes a side.
    """
    going, value, moved, spent = np.arange(f.n_rows), np.full(f.n_rows, np.inf), np.full(f.n_rows, np.inf), 0
    low, side = box.low.min(axis=0), box.high.max(axis=0) - box.low.min(axis=0)
    n = most = f.intervals(float(side.max()), COARSEST[f.n_latents])
    while True:
        axes = [start + (np.arange(n) + 0.5) * h for start, h in zip(low, side / n, strict=True)]
        sums = [logsumexp(values, axis=1) for values in f.of(going).on(axes)]
        finer = logsumexp(np.stack(sums, axis=1), axis=1) + np.log(side / n).sum()
        moved[going], value[going] = np.abs(finer - value[going]), finer
        going, before, spent, most = going[~(moved[going] <= still)], side, spent + n**f.n_latents, max(most, n)
        if len(going) == 0:
            return value, moved, most
        low, side = box.low[going].min(axis=0), box.high[going].max(axis=0) - box.low[going].min(axis=0)
        n = max(math.ceil(2 * n * (side / before).max()), COARSEST[f.n_latents])
        if spent + n**f.n_latents > MOST_NODES:
            return value, moved, most


def _panels(f: _Integrand, reach: Floats) -> tuple[Floats, Floats, int]:
    """Adaptive Gauss-Legendre rule: log integrals (n,), the sum of all last changes as a share (n,), panels left."""
    d, halves, per_panel = f.n_latents, 2**f.n_latents, ORDER**f.n_latents
    side = (HIGH - LOW) * reach.max()
    n_panels = f.intervals(WIDEST_GAP * side, PANELS)
    width, halving = side / n_panels, _tensor(np.array([0.0, 0.5]), d)[:, None]
    corners = LOW * reach.max() + width * _tensor(np.arange(float(n_panels)), d)
    cubes = (corners + width > LOW * reach[:, None, None]) & (corners < HIGH * reach[:, None, None])
    needed = cubes.all(axis=1)
    coarse, spent, n_left = _integrals(f, corners, width, needed), needed.sum(axis=1), np.zeros(f.n_rows, dtype=int)
    asked = needed.shape[1]
    done, total, changed = np.full(f.n_rows, -np.inf), np.full(f.n_rows, -np.inf), np.zeros(f.n_rows)
    while True:
        children = corners[:, :, None] + width * halving
        parts = _integrals(f, children.reshape(d, -1), width / 2, np.repeat(needed, halves, axis=1))
        parts = parts.reshape(f.n_rows, -1, halves)
        fine = np.logaddexp.reduce(parts, axis=2)
        before, total = total, np.logaddexp(done, np.logaddexp.reduce(fine, axis=1))
        with np.errstate(over="ignore", invalid="ignore"):
            change = np.abs(np.exp(coarse - total[:, None]) - np.exp(fine - total[:, None]))
            changed *= np.where(changed > 0, np.exp(before - total), 0.0)
        spent, asked = spent + halves * needed.sum(axis=1), asked + halves * needed.shape[1]
        unsettled = needed & ~(change <= SETTLED)
        unsettled &= ((spent + halves**2 * unsettled.sum(axis=1)) * per_panel <= MOST_NODES)[:, None]
        frugal = np.argsort(unsettled.sum(axis=1), kind="stable")  # the first to go on, where not all can
        union = np.logical_or.accumulate(unsettled[frugal], axis=0).sum(axis=1)
        unsettled[frugal] &= ((asked + halves**2 * union) * per_panel <= 4 * MOST_NODES)[:, None]
        settled = needed & ~unsettled
        changed += np.where(settled, change, 0.0).sum(axis=1)
        done = np.logaddexp(done, np.logaddexp.reduce(np.where(settled, fine, -np.inf), axis=1))
        n_left += halves * settled.sum(axis=1)
        kept = unsettled.any(axis=0)
        if not kept.any():
            return done, changed, int(n_left.max())
        corners, coarse = children[:, kept].reshape(d, -1), parts[:, kept].reshape(f.n_rows, -1)
        needed, width = np.repeat(unsettled[:, kept], halves, axis=1), width / 2


def _integrals(f: _Integrand, corners: Floats, width: float, needed: NDArray[np.bool_]) -> Floats:
    """Log of the Gauss-Legendre rule of each panel and row, (n, panels), for lower corners (d, panels).

    −inf where a row does not need a panel, (n, panels).
    """
    points, weights = np.polynomial.legendre.leggauss(ORDER)
    inside = _tensor(0.5 * width * (points + 1), f.n_latents)[:, None]
    shares = np.log(_tensor(0.5 * width * weights, f.n_latents)).sum(axis=0)
    n_panels, per_panel = corners.shape[1], len(shares)
    together, out = max(min(PIECE // f.n_rows, TOGETHER) // per_panel, 1), np.full((f.n_rows, n_panels), -np.inf)
    for start in range(0, n_panels, together):
        piece = slice(start, start + together)
        rows = np.flatnonzero(needed[:, piece].any(axis=1))
        nodes = corners[:, piece, None] + inside
        values = f.of(rows)(nodes.reshape(f.n_latents, -1)).reshape(len(rows), -1, per_panel) + shares
        top = np.maximum(values.max(axis=2), ZERO)
        with np.errstate(divide="ignore"):
            sums = top + np.log(np.exp(values - top[:, :, None]).sum(axis=2))
        out[rows, piece] = np.where(needed[rows, piece], sums, -np.inf)
    return out


def _tensor(side: Floats, d: int) -> Floats:
    """All d-tuples of the numbers of one side, (d, len(side)^d)."""
    return np.stack(np.meshgrid(*[side] * d, indexing="ij")).reshape(d, -1)
