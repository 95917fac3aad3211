"""E[L_k] for k = 1 (the ELBO), 2, 4, … against the exact log p(x), and how the gap closes.

By Jensen's inequality E[L_k] ≤ log p(x), and the bound rises with k (Burda, Grosse and Salakhutdinov, 2016,
arXiv:1509.00519). Where the weights have finite variance the gap is χ²(posterior‖q)/(2k) to first order in 1/k (the
delta method): the dotted curves, drawn where χ² is known and the value is below 1 nat, for above that first order
says nothing.
"""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from logpx_bench import summary
from logpx_bench.figures import series as s
from logpx_bench.figures import words
from logpx_bench.figures.axes import error_axis, k_axis
from logpx_bench.figures.labels import Label, label_ends
from logpx_bench.figures.style import LOOKS, Style, panels, style
from logpx_bench.store import Store

EXPERIMENT = "error_against_k"
TITLE = "The Jensen gap"
SIGMAS = 2.0  # half width of the error bars, in standard errors
SURE = 4.0  # standard errors beyond which two numbers are said to differ: 1 in 16,000 by chance, at many k
SMALL = 0.1  # nats: the gap that the caption looks for
COLUMNS = (
    *(
        "model",
        "n_latents",
        "row",
        "estimator",
        "estimator_options",
        "points",
        "k",
        "n_replicates",
        "n_runs",
        "n_groups",
    ),
    *("mean", "exact", "bias", "bias_std_error", "delta_gap", "chi2"),
)


def data(store: Store) -> s.Table:
    """One row a k and estimator: mean of L_k, its bias against the exact value, and the delta-method gap."""
    rows = s.inexact(s.lead_case(summary.errors_by_k(store, EXPERIMENT)))
    return s.columns(s.if_any(rows, "bias_std_error"), COLUMNS)


def _usable(table: s.Table) -> list[s.Series]:
    good = [row for row in table if s.finite(row["bias"]) and s.finite(row["bias_std_error"])]
    return s.by_estimator(good, "k")


def resolved(row: s.Row, sigmas: float = SIGMAS) -> bool:
    """Whether the gap of a row is more than so many standard errors above zero."""
    return bool(-row["bias"] > sigmas * row["bias_std_error"])


def draw(table: s.Table) -> Figure:
    """Left: L_k against the exact line, near it. Right: the gap on logarithmic axes, with the delta-method curves."""
    every = _usable(table)
    with style():
        figure, (left, right) = panels(1, 2, height=3.7, right=0.835, left=0.125, wspace=0.40)
        for axes in (left, right):
            k_axis(axes, [row["k"] for each in every for row in each.rows], "k", ticks=6)
        _bounds(left, every)
        _gaps(right, every)
    return figure


def _bounds(axes: Axes, every: list[s.Series]) -> None:
    exact = every[0].rows[0]["exact"]
    depth = max(min(-each.rows[0]["bias"] for each in every) * 2.2, 0.5)
    for each in every:
        axes.errorbar(
            s.column(each.rows, "k"),
            s.column(each.rows, "mean"),
            yerr=[SIGMAS * row["bias_std_error"] for row in each.rows],
            color=each.look.color,
            linestyle=each.look.line,
            marker=each.look.marker,
            markersize=3.5,
            elinewidth=1,
        )
    axes.axhline(exact, color=LOOKS["exact"].color, linewidth=1.1)
    axes.set_ylim(exact - depth, exact + 0.14 * depth)
    text = f"{s.truth(every[0].rows[0])} = {words.fixed(exact)}"
    axes.text(0.02, exact + 0.03 * depth, text, transform=axes.get_yaxis_transform(), fontsize=9)
    axes.ticklabel_format(axis="y", useOffset=False)
    for line, each in enumerate(reversed(every)):
        where: Style = {"transform": axes.transAxes, "ha": "right", "fontsize": 9}
        axes.text(0.98, 0.04 + 0.075 * line, s.one_line(each), color=each.look.ink, **where)
    axes.set_title("mean of $L_k$ (k = 1: the ELBO)")
    axes.set_ylabel("nats")


def _gaps(axes: Axes, every: list[s.Series]) -> None:
    values: list[float] = []
    labels = []
    for each in every:
        drawn = _gap_line(axes, each)
        values += drawn
        labels.append(Label(each.rows[-1]["k"], drawn[-1], each.name, each.look.ink))
    error_axis(axes, values, "log p(x) − E[$L_k$], nats")
    theory = "dotted: χ²/2k; " if any(_theory(each) for each in every) else ""
    axes.set_title(f"the gap ({theory}hollow: at most)")
    label_ends(axes, labels)


def _gap_line(axes: Axes, each: s.Series) -> list[float]:
    """Draw one estimator's gap; returns the heights drawn, in order of k."""
    heights = {row["k"]: -row["bias"] for row in each.rows if resolved(row)}
    limits = {
        row["k"]: max(-row["bias"], 0.0) + SIGMAS * row["bias_std_error"] for row in each.rows if not resolved(row)
    }
    bars = [SIGMAS * row["bias_std_error"] for row in each.rows if resolved(row)]
    how: Style = {"color": each.look.color, "linestyle": each.look.line, "marker": each.look.marker}
    axes.errorbar(list(heights), list(heights.values()), yerr=bars, markersize=3.5, elinewidth=1, **how)
    hollow: Style = {"marker": "v", "fillstyle": "none", "markersize": 5, "linestyle": "none"}
    axes.plot(list(limits), list(limits.values()), color=each.look.color, **hollow)
    theory = _theory(each)
    line: Style = {"linestyle": (0, (1.0, 1.5)), "linewidth": 1.3, "color": each.look.ink}
    axes.plot(s.column(theory, "k"), s.column(theory, "delta_gap"), **line)
    both = heights | limits
    return [both[k] for k in sorted(both)]


def _theory(each: s.Series) -> s.Table:
    """Rows at which the delta method is drawn."""
    return [row for row in each.rows if s.finite(row["delta_gap"]) and row["delta_gap"] < 1.0]


def caption(table: s.Table) -> str:
    """The ELBO's gap of each estimator, how far k must go for a small one, and whether the delta method holds."""
    every = _usable(table)
    if not every:
        return "No gap could be measured."
    text = words.sentence("; ".join(map(_words_of, every))) + ". " + _delta_sentence(every)
    return (
        f"{text} All $k$ are read from the same weights, so neighbouring points err together: a stretch of a curve can "
        f"lie above the exact line by chance. Bars: ±{SIGMAS:g} standard errors. {s.all_zero(table)}"
        f"{s.replicates(row for each in every for row in each.rows)}"
    )


def _words_of(each: s.Series) -> str:
    first, last = each.rows[0], each.rows[-1]
    close = next((row["k"] for row in each.rows if SIGMAS * row["bias_std_error"] + abs(row["bias"]) < SMALL), None)
    if close:
        reach = f"under {SMALL:g} nats, error bar included, from $k$ = {words.power(close)}"
    elif resolved(last):
        reach = f"still {words.nats(-last['bias'])} at $k$ = {words.power(last['k'])}"
    elif last["bias"] > SURE * last["bias_std_error"]:
        reach = (
            f"none: at $k$ = {words.power(last['k'])} the bound is {words.nats(last['bias'])} above $\\log p(x)$, "
            "where no bound can be, so that the $\\log p(x)$ given and the weights contradict each other"
        )
    else:
        reach = f"too small for these replicates to measure at $k$ = {words.power(last['k'])}"
    name = "the ELBO" if first["k"] == 1 else f"$L_{{{first['k']}}}$"
    if abs(first["bias"]) <= SURE * first["bias_std_error"]:
        place = f"cannot be told from $\\log p(x)$ ({words.nats(first['bias'], 2)})"
    else:
        place = f"lies {words.nats(abs(first['bias']))} {'below' if first['bias'] < 0 else 'above'} $\\log p(x)$"
    return f"with {s.one_line(each)} sampling {name} {place}, and the gap is {reach}"


def _delta_sentence(every: list[s.Series]) -> str:
    rows = [(each, row) for each in every for row in each.rows if s.finite(row["delta_gap"])]
    if not rows:
        return "χ² is not known or not finite here, so there is no delta-method curve."
    known = [pair for pair in rows if resolved(pair[1], 5.0)]
    if not known:
        return "No gap is measured well enough (5 standard errors) to hold it against the delta method."
    each, row = max(known, key=lambda pair: (pair[1]["k"], -abs(pair[1]["bias"])))
    gap, theory, error = -row["bias"], row["delta_gap"], row["bias_std_error"]
    away = abs(gap - theory) / error
    verdict = "agrees, within its error, with" if away <= SURE else "is above" if gap > theory else "is below"
    return (
        f"At $k$ = {words.power(row['k'])}, the largest where a gap exceeds 5 of its standard errors, "
        f"{s.one_line(each)}'s {words.nats(gap)} (standard error {words.number(error, 2)}) {verdict} the delta "
        f"method's {words.nats(theory)} ({words.number(away, 2)} standard errors away)."
    )
