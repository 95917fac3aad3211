"""RMSE of log p̂(x) against seconds, for every estimator.

A point is one k: the seconds that k samples take at the measured rate of the stream (compilation and start-up apart),
and the RMSE of L_k over replicates. Lower left is better; along a line of slope −1/2 the product MSE × time, the
usual measure of work, stays the same.
"""

from __future__ import annotations

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
COLUMNS = (
    *("model", "n_latents", "row", "estimator", "estimator_options", "points", "threads", "k", "n_replicates"),
    *("seconds_at_k", "rmse", "rmse_low", "rmse_high"),
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
        axes.set_xlabel("seconds for one estimate")
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


def work(row: s.Row) -> float:
    """MSE × seconds: what precision costs."""
    return float(row["rmse"]) ** 2 * float(row["seconds_at_k"])


def caption(table: s.Table) -> str:
    """The work of each estimator, MSE × seconds, at the largest common k."""
    every = _usable(table)
    k, rows = s.at_common_k(every)
    if not rows:
        return "No k is common to all estimators."
    ranked = sorted(zip(every, rows, strict=True), key=lambda pair: work(pair[1]))
    best, row = ranked[0]
    text = (
        f"At $k$ = {words.power(k)}, one estimate by {s.one_line(best)} sampling takes "
        f"{words.seconds(row['seconds_at_k'])} and its RMSE is {words.nats(row['rmse'])}: "
        "the least work, counted as MSE × time"
    )
    others = [f"{words.ratio(work(other) / work(row))} as much for {s.one_line(each)}" for each, other in ranked[1:]]
    text += f"; the work is {words.listed(others)}. " if others else ". "
    return f"{text}Compilation and the fitting of the model are not in these seconds. {s.replicates(rows)}"
