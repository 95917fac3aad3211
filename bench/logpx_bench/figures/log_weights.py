"""Histograms of the log weights of each estimator, with their ESS and Pareto k̂ beside them.

The axis is log w − log p(x): 0 is a weight that equals p(x), and were all weights there, one sample would do. What
pulls the estimate is the right end of a histogram: few samples far right of the rest mean a small effective sample
size (Kong, 1992) and a heavy tail, measured by Pareto k̂ (Vehtari, Simpson, Gelman, Yao and Gabry, 2024,
arXiv:1507.02646).
"""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from logpx_bench import summary
from logpx_bench.figures import series as s
from logpx_bench.figures import words
from logpx_bench.figures.style import panels, style
from logpx_bench.store import Store

EXPERIMENT = "error_against_k"
TITLE = "Log weights"
LINEAR = 4.0  # nats: the axis is arcsinh(x / LINEAR), near 0 linear and far out logarithmic
BINS = 90  # over the whole axis, equally wide on it, so that areas are shares
COLUMNS = (
    *("model", "n_latents", "row", "estimator", "estimator_options", "points", "low", "high", "share", "median"),
    *("n_weights", "n_neg_inf", "ess_fraction", "pareto_k", "pareto_note", "n_replicates", "n_runs", "exact"),
)


def data(store: Store) -> s.Table:
    """One row a bin: its ends relative to log p(x), its share of all weights, and its estimator's diagnostics."""
    counts = {cell["n_replicates"] for cell in summary.cells(store, EXPERIMENT)}
    replicates = {"n_replicates": min(counts, default=None)}
    rows = s.lead_case(summary.histograms(store, EXPERIMENT))
    centred = [row | {name: row[name] - _centre(row) for name in ("left", "right")} | replicates for row in rows]
    ends = [row[end] for row in centred if row["count"] for end in ("left", "right")]
    if not ends:
        return []
    low, high = (math.asinh(end / LINEAR) for end in (min(ends), max(ends)))
    edges = [LINEAR * math.sinh(low + (high - low) * i / BINS) for i in range(BINS + 1)]
    table = [row for each in s.by_estimator(centred, "left") for row in rebinned(each.rows, edges)]
    return s.columns(table, COLUMNS)


def _centre(row: s.Row) -> float:
    return float(row["exact"]) if s.finite(row["exact"]) else 0.0


def rebinned(rows: s.Table, edges: list[float]) -> s.Table:
    """A histogram's share of weights in the bins between `edges`; a bin that is cut is shared out by length."""
    old = [rows[0]["left"], *(row["right"] for row in rows)]
    below = np.concatenate([[0], np.cumsum([row["count"] for row in rows])])
    total = int(below[-1]) + int(rows[0]["n_neg_inf"] or 0)
    shares = np.diff(np.interp(edges, old, below)) / max(total, 1)
    bins = zip(edges[:-1], edges[1:], shares, strict=True)
    beside = {"median": median(rows), "n_weights": total}
    return [rows[0] | {"low": a, "high": b, "share": float(share)} | beside for a, b, share in bins]


def draw(table: s.Table) -> Figure:
    """One panel an estimator, one under the other on a common axis."""
    every = s.by_estimator(table, "low")
    with style():
        figure, axes = panels(
            len(every), 1, height=1.0 + 1.25 * len(every), right=0.74, left=0.06, hspace=0.34, top=0.93
        )
        low, high = table[0]["low"], table[-1]["high"]
        for panel, each in zip(axes, every, strict=True):
            _histogram(panel, each)
            _axis(panel, low, high, last=panel is axes[-1])
        axes[0].set_title("log weights: areas on this axis are shares; the line at 0 is log p(x), ▲ the median")
        axes[-1].set_xlabel("log w − log p(x), nats (linear near 0, logarithmic far out)")
    return figure


def _axis(axes: Axes, low: float, high: float, *, last: bool) -> None:
    axes.set_xscale("asinh", linear_width=LINEAR)
    axes.set_xlim(low * 1.1 if low < 0 else -1.0, max(high * 1.2, LINEAR))
    ticks = [-(10.0**power) * m for power in range(1, 6) for m in (1, 3)] + [-5, 0, 5, 10, 30, 100, 1000]
    axes.xaxis.set_major_locator(
        FixedLocator([tick for tick in sorted(ticks) if axes.get_xlim()[0] <= tick <= axes.get_xlim()[1]])
    )
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}".replace("-", words.MINUS)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_locator(NullLocator())
    axes.spines["left"].set_visible(False)
    axes.tick_params(labelbottom=last)


def _histogram(axes: Axes, each: s.Series) -> None:
    edges = [row["low"] for row in each.rows] + [each.rows[-1]["high"]]
    heights = s.column(each.rows, "share")
    axes.stairs(heights, edges, fill=True, color=each.look.color, alpha=0.35)
    axes.stairs(heights, edges, color=each.look.color, linewidth=1.2)
    axes.set_ylim(0, (max(heights) or 1.0) * 1.12)
    axes.plot([each.rows[0]["median"]], [0.0], marker="^", color=each.look.ink, markersize=6, clip_on=False, zorder=5)
    axes.axvline(0.0, color="black", linewidth=0.9)
    first = each.rows[0]
    share = (
        "ESS unknown"
        if not s.finite(first["ess_fraction"])
        else f"ESS {words.plain(words.percent(first['ess_fraction']))} of k"
    )
    tail = f"Pareto k̂ {words.number(first['pareto_k'], 2)}" if s.finite(first["pareto_k"]) else "Pareto k̂: none"
    zeros = f"\nzero weights: {first['n_neg_inf']:,}" if first["n_neg_inf"] else ""
    axes.text(
        1.03,
        0.92,
        each.name,
        transform=axes.transAxes,
        color=each.look.ink,
        fontsize=9.5,
        va="top",
        linespacing=1.1,
        fontweight="bold",
    )
    axes.text(
        1.03,
        0.34 if "\n" in each.name else 0.58,
        f"{share}\n{tail}{zeros}",
        transform=axes.transAxes,
        fontsize=9,
        va="top",
        color="#333333",
    )


def caption(table: s.Table) -> str:
    """The middle of each histogram, its ESS and k̂, and whether k̂ warns."""
    every = s.by_estimator(table, "low")
    if not every:
        return "No histogram was stored."
    parts = []
    for each in every:
        first = each.rows[0]
        share = f"ESS {words.percent(first['ess_fraction'])}" if s.finite(first["ess_fraction"]) else "no ESS"
        parts.append(
            f"{s.one_line(each)}: median {words.nats(first['median'])} from $\\log p(x)$, {share}, {_tail(first)}"
        )
    ranked = [each for each in every if s.finite(each.rows[0]["ess_fraction"])]
    text = words.sentence("; ".join(parts)) + ". "
    if len(ranked) > 1:
        best = max(ranked, key=lambda each: each.rows[0]["ess_fraction"])
        text += f"{words.sentence(s.one_line(best))} sampling has the largest effective sample size. "
    draws = words.power(table[0]["n_weights"])
    return (
        f"{text}Histograms of {draws} weights, in bins equally wide on the axis; ESS and $\\hat k$ of the whole run. "
        f"{s.replicates(table)}"
    )


def _tail(row: s.Row) -> str:
    if not s.finite(row["pareto_k"]):
        return f"no Pareto $\\hat k$ ({row['pareto_note'] or 'reason not recorded'})"
    value = row["pareto_k"]
    verdict = "no reliable mean at this size" if value > 0.7 else "heavy tail" if value > 0.5 else "no warning"
    return f"Pareto $\\hat k$ {words.number(value, 2)} ({verdict})"


def median(rows: s.Table) -> float:
    """Median of the finite log weights of a histogram, linear inside the bin that holds it."""
    half, seen = sum(s.column(rows, "count")) / 2, 0.0
    for row in rows:
        if row["count"] and seen + row["count"] >= half:
            return float(row["left"] + (half - seen) / row["count"] * (row["right"] - row["left"]))
        seen += row["count"]
    return math.nan
