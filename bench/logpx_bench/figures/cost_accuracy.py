"""RMSE of log p̂(x) against seconds, for every estimator.

A point is one k: k times the time a sample took in the run of all replicates, and the RMSE of L_k over replicates.
Compilation, the fixed cost of a call and the making of q stand apart. Lower left is better; along a line of slope −1/2
the product MSE × time, the usual measure of work, stays the same. Works are compared at a k that has many groups of k
weights, so that the interval of the MSE is narrow.
"""

from __future__ import annotations

from itertools import pairwise

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from logpx_bench import summary
from logpx_bench.figures import series as s
from logpx_bench.figures import words
from logpx_bench.figures.axes import band, error_axis
from logpx_bench.figures.labels import Label, label_ends
from logpx_bench.figures.style import LOOKS, panels, style
from logpx_bench.store import Store

EXPERIMENT = "error_against_k"
TITLE = "Cost against accuracy"
GROUPS = 1000  # groups of k weights that a comparison of work should rest on
COLUMNS = (
    *("model", "n_latents", "row", "estimator", "estimator_options", "points", "threads", "k", "n_replicates"),
    *("n_runs", "n_groups", "seconds_at_k", "fit_seconds", "rmse", "rmse_low", "rmse_high"),
)


def data(store: Store) -> s.Table:
    """One row a k and estimator: seconds and RMSE."""
    rows = s.inexact(s.lead_case(summary.errors_by_k(store, EXPERIMENT)))
    return s.columns(rows if _usable(rows) else [], COLUMNS)


def _usable(table: s.Table) -> list[s.Series]:
    timed = [row for row in table if s.finite(row["seconds_at_k"]) and row["seconds_at_k"] > 0]
    return s.by_estimator([row for row in timed if s.finite(row["rmse"]) and row["rmse"] > 0], "k")


def draw(table: s.Table) -> Figure:
    """RMSE with its band against seconds; the first, middle and last point of each line carry their k."""
    every = _usable(table)
    with style():
        figure, (axes,) = panels(height=3.8)
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(base=10, numticks=10))
        axes.set_xlabel(f"k × time a sample, seconds ({_threads(table)})")
        for each in every:
            band(axes, s.column(each.rows, "seconds_at_k"), *s.errors(each.rows), each.look)
            _name_k(axes, each, above=each is every[0])
        bounds = [bound for each in every for row in each.rows for bound in s.rmse(row)]
        error_axis(axes, [min(bounds) / 2, *bounds, max(bounds) * 1.5], "RMSE of log p̂(x), nats")
        ends = [Label(each.rows[-1]["seconds_at_k"], each.rows[-1]["rmse"], each.name, each.look.ink) for each in every]
        ends.append(_guide(axes))
        axes.set_title("a point is one k; numbers beside points: k")
        label_ends(axes, ends)
    return figure


def _name_k(axes: Axes, each: s.Series, *, above: bool) -> None:
    last = len(each.rows) - 1
    for row in (each.rows[i] for i in sorted({0, last // 2, last})):
        axes.annotate(
            f"$2^{{{int(row['k']).bit_length() - 1}}}$",
            (row["seconds_at_k"], row["rmse"]),
            xytext=(0, 5 if above else -13),
            textcoords="offset points",
            fontsize=8,
            color=each.look.ink,
            ha="center",
        )


def _guide(axes: Axes) -> Label:
    (low, high), bottom = axes.get_xlim(), axes.get_ylim()[0] * 1.15
    start, stop = (high / low) ** 0.6 * low, (high / low) ** 0.95 * low
    look = LOOKS["theory"]
    axes.plot(
        [start, stop], [bottom * (stop / start) ** 0.5, bottom], color=look.color, linestyle=look.line, linewidth=1.1
    )
    return Label(stop, bottom, "equal MSE × time", look.ink)


def _threads(table: s.Table) -> str:
    counts = sorted({int(row["threads"]) for row in table})
    return f"{words.listed([str(count) for count in counts])} thread{'s' if counts[-1] > 1 else ''}"


def work(row: s.Row) -> words.Measured:
    """MSE × seconds, what precision costs, with the interval of the MSE."""
    error = s.rmse(row)
    return words.Measured(*(bound**2 * float(row["seconds_at_k"]) for bound in error))


def caption(table: s.Table) -> str:
    """The work of each estimator, MSE × seconds, at the largest common k with many groups."""
    every = _usable(table)
    k, rows = s.at_common_k(every, GROUPS)
    if not rows:
        return "No k is common to all estimators."
    ranked = sorted(zip(every, rows, strict=True), key=lambda pair: work(pair[1]).value)
    best, row = ranked[0]
    text = (
        f"At $k$ = {words.power(k)} ({words.power(min(row['n_groups'] for row in rows))} groups of weights or more), "
        f"with {_threads(table)}, the samples of one estimate by {s.one_line(best)} sampling take "
        f"{words.seconds(row['seconds_at_k'])} and its RMSE is {words.nats(row['rmse'])}"
    )
    steps = [
        f"that of {s.one_line(a)} is {words.against(work(one), work(other), of=f'that of {s.one_line(b)}')}"
        for (a, one), (b, other) in pairwise(ranked)
    ]
    text += f". Of the work, MSE × time, {'; '.join(steps)}. " if steps else ". "
    return (
        f"{text}The intervals are those of the MSE; a time a sample is one timing of all replicates, not repeated. Not "
        f"in these seconds: compilation, what a call costs beyond its samples, and making $q$ for this $x$"
        f"{_fits(every)}. {s.all_zero(table)}{s.replicates(rows)}"
    )


def _fits(every: list[s.Series]) -> str:
    known = [(s.one_line(each), each.rows[0]["fit_seconds"]) for each in every]
    parts = [f"{words.seconds(value)} for {name}" for name, value in known if s.finite(value)]
    return f" ({words.listed(parts)})" if parts else ""
