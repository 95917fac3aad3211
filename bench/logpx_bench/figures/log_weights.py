"""Histograms of the log weights of each estimator, with their ESS and Pareto k̂ beside them.

The axis is log w − log p(x): 0 is a weight that equals p(x), and were all weights there, one sample would do. What
pulls the estimate is the right end of a histogram: few samples far right of the rest mean a small effective sample
size (Kong, 1992) and a heavy tail, measured by Pareto k̂ (Vehtari, Simpson, Gelman, Yao and Gabry, 2024,
arXiv:1507.02646).
"""

from __future__ import annotations

import math

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
LINEAR = 10.0  # nats on either side of 0 drawn on a linear scale; logarithmic beyond
COLUMNS = (
    *("model", "n_latents", "row", "estimator", "estimator_options", "points", "low", "high", "count", "n_neg_inf"),
    *("ess_fraction", "pareto_k", "pareto_note", "n_replicates", "exact"),
)


def data(store: Store) -> s.Table:
    """One row a bin: its ends relative to log p(x), its count, and the diagnostics of its estimator."""
    counts = {cell["n_replicates"] for cell in summary.cells(store, EXPERIMENT)}
    replicates = {"n_replicates": min(counts, default=None)}
    table = []
    for row in s.lead_case(summary.histograms(store, EXPERIMENT)):
        centre = row["exact"] if s.finite(row["exact"]) else 0.0
        table.append(row | {"low": row["left"] - centre, "high": row["right"] - centre} | replicates)
    return s.columns(table, COLUMNS)


def _draws(each: s.Series) -> int:
    return sum(int(row["count"]) for row in each.rows) + int(each.rows[0]["n_neg_inf"] or 0)


def draw(table: s.Table) -> Figure:
    """One panel an estimator, one under the other on a common axis."""
    every = s.by_estimator(table, "low")
    with style():
        figure, axes = panels(
            len(every), 1, height=1.0 + 1.25 * len(every), right=0.74, left=0.06, hspace=0.34, top=0.93
        )
        ends = [row[end] for each in every for row in each.rows if row["count"] for end in ("low", "high")]
        low, high = min(ends), max(ends)
        for panel, each in zip(axes, every, strict=True):
            _histogram(panel, each)
            _axis(panel, low, high, last=panel is axes[-1])
        axes[0].set_title("share of log weights a bin; the line at 0 is log p(x)")
        axes[-1].set_xlabel(f"log w − log p(x), nats (linear within ±{LINEAR:g}, logarithmic beyond)")
    return figure


def _axis(axes: Axes, low: float, high: float, *, last: bool) -> None:
    axes.set_xscale("symlog", linthresh=LINEAR, linscale=1.6)
    axes.set_xlim(low * 1.1 if low < 0 else low - 1, max(high * 1.2, 4.0))
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
    total = max(_draws(each), 1)
    heights = [row["count"] / total for row in each.rows]
    axes.stairs(heights, edges, fill=True, color=each.look.color, alpha=0.35)
    axes.stairs(heights, edges, color=each.look.color, linewidth=1.2)
    axes.set_ylim(0, max(heights) * 1.12)
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
            f"{s.one_line(each)}: median {words.nats(median(each.rows))} from $\\log p(x)$, {share}, {_tail(first)}"
        )
    ranked = [each for each in every if s.finite(each.rows[0]["ess_fraction"])]
    text = words.sentence("; ".join(parts)) + ". "
    if ranked:
        best = max(ranked, key=lambda each: each.rows[0]["ess_fraction"])
        text += f"{words.sentence(s.one_line(best))} sampling has the largest effective sample size. "
    draws = words.power(_draws(every[0]))
    return f"{text}Histograms of {draws} weights; ESS and $\\hat k$ of the whole run. {s.replicates(table)}"


def _tail(row: s.Row) -> str:
    if not s.finite(row["pareto_k"]):
        return f"no Pareto $\\hat k$ ({row['pareto_note'] or 'reason not recorded'})"
    value = row["pareto_k"]
    verdict = "no reliable mean at this size" if value > 0.7 else "heavy tail" if value > 0.5 else "no warning"
    return f"Pareto $\\hat k$ {words.number(value, 2)} ({verdict})"


def median(rows: s.Table) -> float:
    """Median of the finite log weights of a histogram, linear inside the bin that holds it."""
    half, seen = sum(row["count"] for row in rows) / 2, 0.0
    for row in rows:
        if row["count"] and seen + row["count"] >= half:
            return float(row["low"] + (half - seen) / row["count"] * (row["high"] - row["low"]))
        seen += row["count"]
    return math.nan
