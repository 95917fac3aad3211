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
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

from logpx_bench import summary
from logpx_bench.figures import series as s
from logpx_bench.figures import words
from logpx_bench.figures.axes import error_axis
from logpx_bench.figures.style import SPARE, Look, Style, look, panels, style
from logpx_bench.plurals import counted
from logpx_bench.store import Store

EXPERIMENT = "proposal_quality"
TITLE = "What makes a proposal good"
WIDTHS = {"widen": "width of q, in mean-field widths", "scale": "standard deviation of q"}
NEAR = 1.2  # a measured ESS farther than this factor from the exact one is pointed out
TAIL = 0.5  # Pareto k̂ above this says infinite variance
CASE_LOOKS = (look("importance"), *SPARE)
DOTTED: Style = {"color": "#333333", "linestyle": (0, (1.0, 1.5)), "linewidth": 1.2}
CASE = ("model", "n_latents", "row", "estimator", "estimator_options", "points")
COLUMNS = (
    *CASE,
    *("width_is", "width", "k", "n_replicates", "n_runs", "rmse", "rmse_low", "rmse_high", "bias", "sd"),
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
    """Error above, ESS below, against width, KL and χ²; infinite variance as crosses, at the right edge of χ²."""
    edge = 6 * max([row["chi2"] for row in table if s.finite(row["chi2"])], default=1.0)
    with style():
        figure, every = panels(2, 3, height=5.0, right=0.975, left=0.12, wspace=0.12, hspace=0.14)
        for position, (_, rows) in enumerate(cases(table)):
            how = CASE_LOOKS[position % len(CASE_LOOKS)]
            at_edge = edge * 2.0**position  # side by side, so that none hides another
            chi2 = [at_edge if infinite(row) else row["chi2"] for row in rows]
            for column, places in enumerate((s.column(rows, "width"), s.column(rows, "kl"), chi2)):
                _errors(every[column], rows, places, how)
                _effective(every[3 + column], rows, places, how)
        _axes_of_errors(every[:3], table)
        _axes_of_ess(every[3:], table)
        _axes_of_chi2((every[2], every[5]), table, edge)
        for position, (n_latents, _) in enumerate(cases(table)):
            _name(every[5], position, n_latents, CASE_LOOKS[position % len(CASE_LOOKS)])
    return figure


def _marks(rows: s.Table, how: Look) -> list[dict[str, Any]]:
    good = {"marker": how.marker, "markersize": 4.5}
    bad = {"marker": "X", "markersize": 6.5, "markeredgecolor": "black", "markeredgewidth": 0.6}
    return [(bad if infinite(row) else good) | {"color": how.color} for row in rows]


def _errors(axes: Axes, rows: s.Table, places: list[Any], how: Look) -> None:
    for row, place, mark in zip(rows, places, _marks(rows, how), strict=True):
        if s.finite(place):
            error = s.rmse(row)
            bars = [[error.value - min(error.low, error.value)], [max(error.high, error.value) - error.value]]
            axes.errorbar([place], [error.value], yerr=bars, elinewidth=1, **mark)


def _effective(axes: Axes, rows: s.Table, places: list[Any], how: Look) -> None:
    for row, place, mark in zip(rows, places, _marks(rows, how), strict=True):
        if s.finite(place) and s.finite(row["ess_fraction"]):
            axes.plot([place], [row["ess_fraction"]], **mark)


def exact_ess(row: s.Row) -> float:
    """1/(1 + χ²): the ESS of many samples, as a share of them."""
    return float(1 / (1 + row["chi2"]))


def _axes_of_errors(every: list[Axes], table: s.Table) -> None:
    for axes in every:
        error_axis(axes, [bound for row in table for bound in s.rmse(row)], "RMSE, nats" if axes is every[0] else "")
        axes.tick_params(labelbottom=False, labelleft=axes is every[0])
    every[0].set_title("✕: infinite variance" if any(map(infinite, table)) else "error above, ESS below")
    every[1].set_title("dotted: √(χ²/k) above, 1/(1 + χ²) below")


def _axes_of_ess(every: list[Axes], table: s.Table) -> None:
    known = [row["ess_fraction"] for row in table if s.finite(row["ess_fraction"]) and row["ess_fraction"] > 0]
    known += [exact_ess(row) for row in table if s.finite(row["chi2"])]
    labels = (WIDTHS[table[0]["width_is"]], "KL(posterior‖q), nats", "χ²(posterior‖q)")
    known_chi2 = sorted((row for row in table if s.finite(row["chi2"])), key=lambda row: float(row["chi2"]))
    every[2].plot(s.column(known_chi2, "chi2"), list(map(exact_ess, known_chi2)), **DOTTED)
    for _, rows in cases(known_chi2):
        every[0].plot(s.column(rows, "width"), list(map(exact_ess, rows)), **DOTTED)
    for axes, label in zip(every, labels, strict=True):
        axes.set_yscale("log")
        axes.set_ylim(min(known, default=0.5) / 1.6, 1.6)
        axes.yaxis.set_major_locator(LogLocator(base=10, numticks=9))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g}%"))
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.tick_params(labelleft=axes is every[0])
        axes.set_xlabel(label)
    every[0].set_ylabel("ESS / k")


def _name(axes: Axes, position: int, n_latents: int, how: Look) -> None:
    text = counted(n_latents, "latent")
    where: Style = {"transform": axes.transAxes, "ha": "left", "va": "bottom", "fontweight": "bold"}
    axes.text(0.04, 0.03 + 0.09 * position, text, color=how.ink, **where)


def _axes_of_chi2(both: tuple[Axes, Axes], table: s.Table, edge: float) -> None:
    known = sorted(row["chi2"] for row in table if s.finite(row["chi2"]) and row["chi2"] > 0)
    if known:
        both[0].plot(known, [math.sqrt(value / table[0]["k"]) for value in known], **DOTTED)
    for axes in both if known else ():
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(base=10, numticks=5))
        axes.xaxis.set_minor_locator(NullLocator())
    if any(map(infinite, table)):
        for axes in both:
            axes.axvline(edge / 1.9, color="#bbbbbb", linewidth=0.8, zorder=0)
        both[0].text(edge, 1.01, "∞", transform=both[0].get_xaxis_transform(), ha="center", fontsize=11)


def caption(table: s.Table) -> str:
    """For each number of latents the best and worst width with their numbers; what k̂ says of infinite variance."""
    if not table:
        return "No width was measured."
    text = " ".join(_words_of(rows) for _, rows in cases(table))
    return f"{text} {_effective_words(table)}{_warned(table)} {s.replicates(table)}"


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


def _effective_words(table: s.Table) -> str:
    """Where the measured ESS is farthest from its exact value, for it too is an estimate."""
    known = [
        row for row in table if s.finite(row["chi2"]) and s.finite(row["ess_fraction"]) and row["ess_fraction"] > 0
    ]
    if not known:
        return ""
    far = max(known, key=lambda row: abs(math.log(row["ess_fraction"] / exact_ess(row))))
    off = math.exp(abs(math.log(far["ess_fraction"] / exact_ess(far))))
    if off < NEAR:
        return f"The ESS measured is within a factor {NEAR:g} of $1/(1 + \\chi^2)$ wherever χ² is finite. "
    return (
        f"The ESS is an estimate too: at {counted(far['n_latents'], 'latent')} and width {words.short(far['width'])} "
        f"it reads {words.number(100 * far['ess_fraction'], 2)}% where the exact value is "
        f"{words.number(100 * exact_ess(far), 2)}%. "
    )


def _warned(table: s.Table) -> str:
    """How often Pareto k̂ is above the mark of infinite variance: where the variance is infinite, and where not."""
    bad = [row for row in table if infinite(row)]
    good = [row for row in table if s.finite(row["chi2"])]
    hit, of_bad = _above(bad)
    false, of_good = _above(good)
    text = (
        f"{len(bad)} of the proposals give{'s' if len(bad) == 1 else ''} weights of infinite variance (crosses), where "
        "bootstrap intervals tend to be too narrow"
        if bad
        else "No width measured here is known to give infinite variance"
    )
    if not of_bad + of_good:
        return f"{text}; no Pareto $\\hat k$ was made of them."
    text += f". Pareto $\\hat k$ is above {TAIL:g}, its mark of infinite variance, for"
    parts = [f" {hit} of {of_bad} of these"] if of_bad else []
    parts += [f" {false} of {of_good} with finite χ²"] if of_good else []
    text += " and for".join(parts)
    wrong = (false > 0) + (hit < of_bad)
    return f"{text}: at this $k$ it does not tell the two apart." if wrong else f"{text}."


def _above(rows: s.Table) -> tuple[int, int]:
    made = [row["pareto_k"] for row in rows if s.finite(row["pareto_k"])]
    return sum(value > TAIL for value in made), len(made)
