"""What makes a proposal good: error and effective sample size against the width of q, KL and χ²(posterior‖q).

For weights of finite variance the error of log p̂(x) is √(χ²/k) to first order and the effective sample size is k/(1
+ χ²) (Kong, 1992; Owen, 2013, chapter 9): the dotted curves. Where χ² is infinite, because q is too narrow in some
direction, neither holds; such points are crosses.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from logpx_bench import summary
from logpx_bench.figures import series as s
from logpx_bench.figures import words
from logpx_bench.figures.axes import error_axis
from logpx_bench.figures.style import SPARE, Look, Style, look, panels, style
from logpx_bench.store import Store

EXPERIMENT = "proposal_quality"
TITLE = "What makes a proposal good"
WIDTHS = {"widen": "width of q, in mean-field widths", "scale": "standard deviation of q"}
TAIL = 0.5  # Pareto k̂ above this says infinite variance
CASE_LOOKS = (look("importance"), *SPARE)
DOTTED: Style = {"color": "#333333", "linestyle": (0, (1.0, 1.5)), "linewidth": 1.2}
CASE = ("model", "n_latents", "row", "estimator", "estimator_options", "points")
COLUMNS = (
    *CASE,
    *("width_is", "width", "k", "n_replicates", "rmse", "rmse_low", "rmse_high", "bias", "sd"),
    *("ess_fraction", "kl", "chi2", "pareto_k"),
)


def data(store: Store) -> s.Table:
    """One row a width of q: the error at the largest k, ESS over samples, KL, χ² (inf: infinite), k̂."""
    cells = {_case(cell): cell for cell in summary.cells(store, EXPERIMENT)}
    top: dict[tuple[str, ...], s.Row] = {}
    for row in summary.errors_by_k(store, EXPERIMENT):
        if s.finite(row["rmse"]) and _width(row) and row["k"] >= top.get(_case(row), {"k": 0})["k"]:
            top[_case(row)] = row
    rows = []
    for case, row in top.items():
        known = {name: cells[case][name] for name in ("kl", "chi2", "pareto_k", "ess_fraction")}
        rows.append(row | known | dict(zip(("width_is", "width"), _width(row), strict=True)))
    names = Counter(row["width_is"] for row in rows).most_common(1)
    rows = [row for row in rows if row["width_is"] == names[0][0]]
    first = [row for row in rows if (row["model"], row["row"]) == (rows[0]["model"], rows[0]["row"])]
    return s.columns(sorted(first, key=lambda row: (row["n_latents"], row["width"])), COLUMNS)


def _width(row: s.Row) -> tuple[str, float] | tuple[()]:
    given = s.options(row)
    return next(((name, float(given[name])) for name in WIDTHS if s.finite(given.get(name))), ())


def _case(row: s.Row) -> tuple[str, ...]:
    return tuple(
        str(sorted(s.options(row).items())) if name == "estimator_options" else str(row.get(name)) for name in CASE
    )


def cases(table: s.Table) -> list[tuple[int, s.Table]]:
    """(number of latents, rows in order of width) of each model."""
    ordered = sorted(table, key=lambda row: row["width"])
    return [(n, [row for row in ordered if row["n_latents"] == n]) for n in sorted(set(s.column(table, "n_latents")))]


def infinite(row: s.Row) -> bool:
    """Whether the weights of a row are known to have infinite variance."""
    return row["chi2"] is not None and math.isinf(float(row["chi2"]))


def draw(table: s.Table) -> Figure:
    """Four panels; infinite variance as crosses, at the right edge where the axis is χ²."""
    label = WIDTHS[table[0]["width_is"]]
    edge = 6 * max([row["chi2"] for row in table if s.finite(row["chi2"])], default=1.0)
    with style():
        figure, every = panels(2, 2, height=5.7, right=0.97, left=0.10, wspace=0.30, hspace=0.42)
        width, effective, kl, chi2 = every
        for position, (n_latents, rows) in enumerate(cases(table)):
            how = CASE_LOOKS[position % len(CASE_LOOKS)]
            _errors(width, rows, s.column(rows, "width"), how)
            _errors(kl, rows, s.column(rows, "kl"), how)
            _errors(chi2, rows, [edge if infinite(row) else row["chi2"] for row in rows], how)
            _effective(effective, rows, how)
            _name(effective, position, n_latents, how)
        for axes in (width, kl, chi2):
            error_axis(axes, [bound for row in table for bound in s.rmse(row)], "RMSE, nats")
        _divergence_axes(kl, chi2, table, edge)
        effective.set_title("ESS against width (dotted: 1/(1 + χ²))")
        width.set_title("error against width" + ("; ✕: infinite variance" if any(map(infinite, table)) else ""))
        width.set_xlabel(label)
        effective.set_xlabel(label)
    return figure


def _marks(rows: s.Table, how: Look) -> list[dict[str, Any]]:
    good = {"marker": how.marker, "markersize": 4.5}
    bad = {"marker": "X", "markersize": 7, "markeredgecolor": "black", "markeredgewidth": 0.6}
    return [(bad if infinite(row) else good) | {"color": how.color} for row in rows]


def _errors(axes: Axes, rows: s.Table, places: list[Any], how: Look) -> None:
    for row, place, mark in zip(rows, places, _marks(rows, how), strict=True):
        if s.finite(place):
            error = s.rmse(row)
            bars = [[error.value - min(error.low, error.value)], [max(error.high, error.value) - error.value]]
            axes.errorbar([place], [error.value], yerr=bars, elinewidth=1, **mark)


def _effective(axes: Axes, rows: s.Table, how: Look) -> None:
    for row, mark in zip(rows, _marks(rows, how), strict=True):
        if s.finite(row["ess_fraction"]):
            axes.plot([row["width"]], [row["ess_fraction"]], **mark)
    known = [row for row in rows if s.finite(row["chi2"])]
    axes.plot(s.column(known, "width"), [1 / (1 + row["chi2"]) for row in known], **DOTTED)
    axes.set_ylim(0, 1.04)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.set_ylabel("ESS / k")


def _name(axes: Axes, position: int, n_latents: int, how: Look) -> None:
    text = f"{n_latents} latents" if n_latents != 1 else "1 latent"
    where: Style = {"transform": axes.transAxes, "ha": "right", "va": "top", "fontweight": "bold"}
    axes.text(0.98, 0.98 - 0.10 * position, text, color=how.ink, **where)


def _divergence_axes(kl: Axes, chi2: Axes, table: s.Table, edge: float) -> None:
    kl.set_title("error against KL")
    kl.set_xlabel("KL(posterior‖q), nats")
    chi2.set_title("error against χ² (dotted: √(χ²/k))")
    chi2.set_xlabel("χ²(posterior‖q)")
    known = sorted(row["chi2"] for row in table if s.finite(row["chi2"]) and row["chi2"] > 0)
    if known:
        chi2.set_xscale("log")
        chi2.plot(known, [math.sqrt(value / table[0]["k"]) for value in known], **DOTTED)
    if any(map(infinite, table)):
        chi2.axvline(edge, color="#bbbbbb", linewidth=0.8, zorder=0)
        chi2.text(edge, 1.01, "∞", transform=chi2.get_xaxis_transform(), ha="center", fontsize=11)


def caption(table: s.Table) -> str:
    """For each number of latents the best and worst width with their numbers; what k̂ says of infinite variance."""
    if not table:
        return "No width was measured."
    text = " ".join(_words_of(rows) for _, rows in cases(table))
    bad = [row for row in table if infinite(row)]
    text += f" {_warned(bad)}" if bad else " No width measured here is known to give infinite variance."
    return f"{text} {s.replicates(table)}"


def _words_of(rows: s.Table) -> str:
    best, worst = min(rows, key=lambda row: row["rmse"]), max(rows, key=lambda row: row["rmse"])
    text = (
        f"{s.case_name(best)}, $k$ = {words.power(best['k'])}: the smallest RMSE, {words.nats(best['rmse'])}, comes at "
        f"width {words.short(best['width'])}{_facts(best)}"
    )
    if worst is not best:
        relation = words.against(s.rmse(worst), s.rmse(best), of="that")
        text += f"; at width {words.short(worst['width'])} it is {relation}{_facts(worst)}"
    return text + "."


def _facts(row: s.Row) -> str:
    facts = [f"KL {words.nats(row['kl'])}"] if s.finite(row["kl"]) else []
    if s.finite(row["chi2"]):
        facts.append(f"χ² {words.number(row['chi2'])}")
    if s.finite(row["ess_fraction"]):
        facts.append(f"ESS {words.percent(row['ess_fraction'])} of the samples")
    return f" ({', '.join(facts)})" if facts else ""


def _warned(bad: s.Table) -> str:
    made = [row for row in bad if s.finite(row["pareto_k"])]
    seen = [row for row in made if row["pareto_k"] > TAIL]
    text = f"{len(bad)} of the proposals give{'s' if len(bad) == 1 else ''} weights of infinite variance (crosses)"
    if not made:
        return f"{text}; no Pareto $\\hat k$ was made of them."
    text += f"; Pareto $\\hat k$ is above {TAIL:g}, the mark of infinite variance, for {len(seen)} of {len(made)}"
    missed = len(made) - len(seen)
    return (
        f"{text}: the other {missed} did not meet the tail, and their ESS is not to be trusted."
        if missed
        else f"{text}."
    )
