"""The error of log p̂(x) against k, for uniform, prior and importance sampling on one held-out image.

The bold line is the RMSE of L_k over all groups of k weights of all replicates, with its bootstrap interval; a thin
one is the same within a single replicate, which at the largest k is the |error| of that replicate's one estimate. A
guide falls as k^-1/2, the rate of any Monte Carlo mean of finite variance. All k are read from one stream, the dyadic
ladder.
"""

from __future__ import annotations

import math

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from logpx_bench import summary
from logpx_bench.figures import series as s
from logpx_bench.figures import words
from logpx_bench.figures.axes import band, error_axis, k_axis
from logpx_bench.figures.extracts import replicate_errors
from logpx_bench.figures.labels import Label, label_ends
from logpx_bench.figures.style import LOOKS, panels, style
from logpx_bench.plurals import counted
from logpx_bench.store import Store

EXPERIMENT = "error_against_k"
TITLE = "Error against k"
PATHS = 8  # single replicates drawn
COLUMNS = (
    *("kind", "model", "n_latents", "row", "estimator", "estimator_options", "points", "replicate"),
    *("k", "n_replicates", "n_runs", "n_groups", "bias", "sd", "rmse", "rmse_low", "rmse_high", "exact"),
)


def data(store: Store) -> s.Table:
    """Rows of kind "rmse", one a k and estimator, and of kind "path", the errors of a few single replicates."""
    rmse = [{"kind": "rmse"} | row for row in s.lead_case(summary.errors_by_k(store, EXPERIMENT))]
    paths = [{"kind": "path"} | row for row in s.lead_case(replicate_errors(store, EXPERIMENT, PATHS))]
    return s.columns(s.if_any(s.inexact(rmse + paths), "rmse_high"), COLUMNS)


def _split(table: s.Table) -> tuple[list[s.Series], list[s.Series]]:
    kinds = [[row for row in table if row["kind"] == kind and s.finite(row["rmse"])] for kind in ("rmse", "path")]
    return s.by_estimator(kinds[0], "k"), s.by_estimator(kinds[1], "k")


def draw(table: s.Table) -> Figure:
    """Bold RMSE on its band, thin single replicates behind, a slope guide below the lowest line."""
    bold, thin = _split(table)
    with style():
        figure, (axes,) = panels(height=3.9)
        rows = [row for each in bold for row in each.rows]
        k_axis(axes, s.column(rows, "k"))
        for each in thin:
            _paths(axes, each)
        for each in bold:
            band(axes, s.column(each.rows, "k"), *s.errors(each.rows), each.look)
        lowest = min(s.rmse(each.rows[-1]).low for each in bold)
        error_axis(axes, [lowest / 2.5, *s.errors(rows)[2]], "|error| of log p̂(x), nats")
        ends = [Label(each.rows[-1]["k"], each.rows[-1]["rmse"], each.name, each.look.ink) for each in bold]
        ends.append(_guide(axes, rows))
        shown = f"{_drawn(thin)} of {counted(rows[0]['n_replicates'], 'replicate')}"
        axes.set_title(f"bold: RMSE with its 95% band; thin: {shown}, one by one")
        label_ends(axes, ends)
    return figure


def _drawn(thin: list[s.Series]) -> int:
    return max((len(set(s.column(each.rows, "replicate"))) for each in thin), default=0)


def _paths(axes: Axes, each: s.Series) -> None:
    for replicate in sorted(set(s.column(each.rows, "replicate"))):
        path = [row for row in each.rows if row["replicate"] == replicate and row["rmse"] > 0]
        axes.plot(s.column(path, "k"), s.column(path, "rmse"), color=each.look.color, linewidth=0.6, alpha=0.5)


def _guide(axes: Axes, rows: s.Table) -> Label:
    high = max(s.column(rows, "k"))
    low = max(min(s.column(rows, "k")), high / 2**6)
    bottom = axes.get_ylim()[0] * 1.25
    look = LOOKS["theory"]
    line = [bottom * (high / low) ** 0.5, bottom]
    axes.plot([low, high], line, color=look.color, linestyle=look.line, linewidth=1.1)
    return Label(high, bottom, "slope $k^{-1/2}$", look.ink)


def caption(table: s.Table) -> str:
    """Who is closest at the largest common k, by how much, and how fast each error falls."""
    bold, _ = _split(table)
    k, rows = s.at_common_k(bold)
    if not rows:
        return "No k is common to all estimators."
    ranked = sorted(zip(bold, map(s.rmse, rows), strict=True), key=lambda pair: pair[1].value)
    best, error = ranked[0]
    has = "has the smallest RMSE," if len(ranked) > 1 else "has an RMSE of"
    text = (
        f"{s.case_name(rows[0])}. At $k$ = {words.power(k)}, {s.one_line(best)} sampling {has} "
        f"{words.nats(error.value)} ({words.interval(error)})"
    )
    for each, other in ranked[1:]:
        text += f", {words.against(error, other, of=f'that of {s.one_line(each)}')}"
    steep = [f"{s.one_line(each)} as $k^{{{_exponent(each)}}}$" for each in bold if len(each.rows) > 2]
    if steep:
        text += (
            f". Over the last factor of 16 in $k$ the RMSE goes, for {words.listed(steep)}; where the variance of the "
            "weights is finite it ends as $k^{-0.50}$"
        )
    return f"{text}. {s.all_zero(table)}{s.replicates(rows)}"


def slope(each: s.Series) -> float:
    """Exponent of k between the last row and the row at a sixteenth of its k, or the first row after that."""
    last = each.rows[-1]
    first = next(row for row in each.rows if row["k"] * 16 >= last["k"])
    return math.log(last["rmse"] / first["rmse"]) / math.log(last["k"] / first["k"])


def _exponent(each: s.Series) -> str:
    text = f"{slope(each):.2f}"
    return "0.00" if text == "-0.00" else text
