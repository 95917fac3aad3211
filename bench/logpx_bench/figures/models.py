"""Every model with an exact marginal, under its own default proposal: error, coverage and time, a line for each.

Left, the RMSE of log p̂(x) at one k with its bootstrap interval, beside the delta method's √(χ²/k); in the middle, how
often a 95 % interval made of the estimate's own standard error holds the exact answer, with Wilson's interval of that
share; right, the time of a sample on one thread. Models are in order of their error.
"""

from __future__ import annotations

import math

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, PercentFormatter

from logpx_bench import catalogue
from logpx_bench.figures import series as s
from logpx_bench.figures import words
from logpx_bench.figures.style import BLUE, LOOKS, panels, style
from logpx_bench.plurals import counted
from logpx_bench.store import Store

EXPERIMENT = "models"
TITLE = "Models with exact marginals"
CLAIMED = 0.95  # coverage of the intervals
SURE = 4.0  # standard errors by which a coverage must miss it to be said to
NEAR = 1.2  # a measured RMSE within this factor of √(χ²/k) is said to be near it
COLUMNS = (
    *("model", "n_latents", "n_discrete", "n_observed", "row", "exact_route", "second_route", "n_rows"),
    *("max_difference", "k", "n_replicates", "exact", "rmse", "rmse_low", "rmse_high", "predicted", "chi2"),
    *("chi2_from", "coverage", "coverage_low", "coverage_high", "ess_fraction", "pareto_k", "ns", "ns_low", "ns_high"),
)


def data(store: Store) -> s.Table:
    """One row a model, in the order of the registry, on the first row of its data."""
    table = catalogue.models(store, EXPERIMENT)
    first: dict[str, s.Row] = {}
    for row in table:
        first.setdefault(row["model"], row)
    return s.columns(first.values() if varying(list(first.values())) else [], COLUMNS)


def varying(table: s.Table) -> s.Table:
    """Rows with a Monte Carlo error: a proposal that is the exact posterior has none to draw."""
    return [row for row in table if row["rmse"] > s.ROUNDING and row["predicted"] > 0]


def by_error(table: s.Table) -> s.Table:
    """Rows from the largest error to the smallest, as they are drawn from below upwards."""
    return sorted(varying(table), key=lambda row: (-row["rmse"], row["model"]))


def draw(table: s.Table) -> Figure:
    """Three panels over the same lines."""
    rows = by_error(table)
    with style():
        figure, every = panels(1, 3, height=1.0 + 0.21 * max(len(rows), 4), left=0.235, right=0.975, wspace=0.14)
        for axes in every:
            axes.set_ylim(-0.7, len(rows) - 0.3)
            axes.set_yticks(range(len(rows)), [s.title(row["model"]) for row in rows])
            axes.tick_params(labelleft=axes is every[0], left=False)
        _errors(every[0], rows)
        _coverage(every[1], rows)
        _times(every[2], rows)
    return figure


def _bars(axes: Axes, rows: s.Table, name: str, color: str) -> None:
    axes.hlines(range(len(rows)), s.column(rows, f"{name}_low"), s.column(rows, f"{name}_high"), color=color, lw=1.4)
    axes.plot(s.column(rows, name), range(len(rows)), color=color, linestyle="", marker="o", markersize=4.2)


def _log_axis(axes: Axes, values: list[float]) -> None:
    axes.set_xscale("log")
    axes.set_xlim(min(values) / 1.5, max(values) * 1.5)
    axes.xaxis.set_major_locator(LogLocator(base=10, subs=(1.0, 3.0), numticks=12))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def _errors(axes: Axes, rows: s.Table) -> None:
    look = LOOKS["importance"]
    _bars(axes, rows, "rmse", look.color)
    predicted = s.column(rows, "predicted")
    axes.plot(predicted, range(len(rows)), linestyle="", marker="|", color="black", markersize=10, markeredgewidth=1.1)
    _log_axis(axes, [*predicted, *s.column(rows, "rmse_low"), *s.column(rows, "rmse_high")])
    axes.set_xlabel(f"RMSE at k = {words.plain(words.power(rows[0]['k']))}, nats")
    axes.set_title("dot: RMSE; bar: √(χ²/k)")


def _coverage(axes: Axes, rows: s.Table) -> None:
    look = LOOKS["theory"]
    axes.axvline(CLAIMED, color=look.color, linestyle=look.line, linewidth=1.1, zorder=1)
    _bars(axes, rows, "coverage", BLUE)
    axes.set_xlim(min(0.88, *s.column(rows, "coverage_low")) - 0.01, 1.01)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.set_xlabel("95% intervals that hold")
    axes.set_title("dashed: 95%")


def _times(axes: Axes, rows: s.Table) -> None:
    _bars(axes, rows, "ns", LOOKS["uniform"].color)
    _log_axis(axes, [*s.column(rows, "ns_low"), *s.column(rows, "ns_high")])
    axes.set_xlabel("ns a sample, one thread")
    axes.set_title("median, least, most")


def caption(table: s.Table) -> str:
    """How far the routes are apart at most; where error and prediction differ; whose intervals fail; who is slow."""
    text = f"Each of {counted(len(table), 'model')} by its own default proposal. "
    text += f"{_routes(table)}{_prediction(table)}{_held(table)}"
    slow, fast = (pick(table, key=lambda row: row["ns"]) for pick in (max, min))
    text += (
        f"A sample takes {words.number(fast['ns'], 2)} ns ({s.title(fast['model'])}) to "
        f"{words.number(slow['ns'], 2)} ns ({s.title(slow['model'])}) on one thread, log joint, proposal and ladder. "
    )
    return text + words.replicates_note(row["n_replicates"] for row in table)


def _routes(table: s.Table) -> str:
    known = [row for row in table if s.finite(row["max_difference"])]
    if not known:
        return ""
    far = max(known, key=lambda row: float(row["max_difference"]))
    apart = f"{words.nats(far['max_difference'], 2)} apart ({s.title(far['model'])})"
    return f"Two exact routes to $\\log p(x)$ are at most {apart}. "


def _prediction(table: s.Table) -> str:
    table = varying(table)
    off = [row for row in table if not 1 / NEAR <= row["rmse"] / row["predicted"] <= NEAR]
    closed = sum(row["chi2_from"] == "closed form" for row in table)
    count, k = f"{len(table) - len(off)} of them" if off else "all", words.power(table[0]["k"])
    text = f"At $k$ = {k} the RMSE is within a factor {NEAR:g} of √(χ²/k) for {count}"
    if off:
        text += f" (not for {words.listed([s.title(row['model']) for row in off])})"
    rest = f", and from the ESS for {len(table) - closed}" if closed < len(table) else ""
    return f"{text}; χ² is in closed form for {closed}{rest}. "


def _spread(n_replicates: int) -> float:
    """Standard error of the coverage of intervals that hold as often as they say."""
    return math.sqrt(CLAIMED * (1 - CLAIMED) / n_replicates)


def _held(table: s.Table) -> str:
    less = [row for row in table if CLAIMED - row["coverage"] > SURE * _spread(row["n_replicates"])]
    if not less:
        return "No 95% interval holds the exact answer detectably less often than it says. "
    parts = [f"{s.title(row['model'])} ({words.percent(row['coverage'])})" for row in less]
    return f"95% intervals hold the exact answer less often than they say for {words.listed(parts)}. "
