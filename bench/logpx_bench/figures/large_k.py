"""One long stream: RMSE and bias of L_k at every k, the estimate as the stream grows, time and memory.

With weights of relative variance χ² the delta method has RMSE √(χ²/k) and bias −χ²/2k, both drawn from the closed form
of χ². A stream of N samples sees the bias at k with a standard error of √(χ²/N) at any k: where the measured one is
within 1.96 of its standard errors it is no estimate but a bound, and drawn as one. The path is the estimate from the
first k samples in units of its own standard error; its band holds for each k alone, as points share samples.
"""

from __future__ import annotations

import itertools

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from logpx_bench import long_runs
from logpx_bench.figures import series as s
from logpx_bench.figures import words
from logpx_bench.figures.axes import error_axis, k_axis
from logpx_bench.figures.style import BLUE, GREY, LOOKS, ORANGE, Style, panels, style
from logpx_bench.store import Store

EXPERIMENT = "large_k"
TITLE = "One long stream"
SIGMAS = 1.96  # standard errors: the 95% interval of one normal number
TIMED = 2**23  # samples from which on the clock says more of samples than of calls and commits
CHUNKS = 2**19  # samples from which on chunks are long enough to be timed
COLUMNS = (
    *("kind", "model", "n_latents", "n_observed", "row", "estimator", "estimator_options", "n_total", "chi2", "exact"),
    *("k", "n_units", "n_groups", "rmse", "rmse_low", "rmse_high", "rmse_predicted", "bias", "bias_std_error"),
    *("bias_predicted", "log_marginal", "std_error", "z", "n_run", "seconds", "ns_per_sample", "ns_in_chunks"),
    *("threads", "peak_bytes", "baseline_bytes", "provenance_id"),
)


def data(store: Store) -> s.Table:
    """Rows of kind "level", one a k, and of kind "path", one a number of samples."""
    return s.columns(long_runs.large_k(store, EXPERIMENT), COLUMNS)


def levels(table: s.Table) -> s.Table:
    """Rows of the levels whose error is known."""
    return [row for row in table if row["kind"] == "level" and s.finite(row["rmse"])]


def path(table: s.Table) -> s.Table:
    """Rows of the path."""
    return [row for row in table if row["kind"] == "path"]


def timed(table: s.Table, least: int = TIMED) -> s.Table:
    """Those of the path with enough samples of their own to be timed."""
    return [row for row in path(table) if row["n_run"] >= least]


def clocked(rows: s.Table) -> s.Table:
    """Those that a clock ran through: they were not stopped and gone on with."""
    return [row for row in rows if s.finite(row["ns_per_sample"])]


def resolved(row: s.Row) -> bool:
    """Whether a level's bias is told from zero by its 95% interval."""
    return abs(row["bias"]) > SIGMAS * row["bias_std_error"]


# -- panels -------------------------------------------------------------------------------------------------------


def draw(table: s.Table) -> Figure:
    """Six panels: RMSE and what it is over its prediction, bias, path, time, memory."""
    with style():
        layout = {"left": 0.09, "right": 0.98, "hspace": 0.55, "wspace": 0.22}
        figure, (rmse, bias, ratio, z, time, memory) = panels(3, 2, height=7.4, **layout)
        for axes, panel in ((rmse, _rmse), (bias, _bias), (ratio, _ratio)):
            _axis(axes, levels(table), "k, weights in a group")
            panel(axes, levels(table))
        for axes in (z, time, memory):
            _axis(axes, path(table), "k, first samples of the stream")
        _path(z, path(table))
        _flat(time, timed(table, CHUNKS), "ns_in_chunks", 1.0, f"time, ns a sample, {_threads(table)}")
        _clock(time, timed(table))
        _flat(memory, path(table), "peak_bytes", 1e-6, "peak memory of the process, MB")
    return figure


def _threads(table: s.Table) -> str:
    counts = sorted({int(row["threads"]) for row in timed(table) or path(table)})
    return f"{' and '.join(map(str, counts))} thread{'s' if counts[-1] > 1 else ''}"


def _axis(axes: Axes, rows: s.Table, label: str) -> None:
    if rows:
        k_axis(axes, s.column(rows, "k"), label, ticks=8)


def _theory(axes: Axes, rows: s.Table, name: str, words_: str) -> None:
    """The closed form, named at the right of its line."""
    look, known = LOOKS["theory"], [row for row in rows if s.finite(row[name]) and row[name]]
    if not known:
        return
    axes.plot(
        s.column(known, "k"), [abs(row[name]) for row in known], color=look.color, linestyle=look.line, linewidth=1.2,
        zorder=1,
    )  # fmt: skip
    where: Style = {"transform": axes.transAxes, "ha": "right", "va": "top", "fontsize": 9, "color": look.ink}
    axes.text(0.98, 0.97, f"dashed: {words_}", **where)


def _points(axes: Axes, rows: s.Table, low: list[float], value: list[float], high: list[float]) -> None:
    look = LOOKS["importance"]
    axes.vlines(s.column(rows, "k"), low, high, color=look.color, linewidth=1.3)
    axes.plot(s.column(rows, "k"), value, color=look.color, linestyle="", marker="o", markersize=3.6)


def _rmse(axes: Axes, rows: s.Table) -> None:
    value, low, high = s.errors(rows)
    _theory(axes, rows, "rmse_predicted", "$\\sqrt{\\chi^2/k}$")
    _points(axes, rows, low, value, high)
    error_axis(axes, [*low, *high], "")
    axes.set_title("RMSE of $L_k$, nats")


def _ratio(axes: Axes, rows: s.Table) -> None:
    known = [row for row in rows if s.finite(row["rmse_predicted"]) and row["rmse_predicted"]]
    scaled = [[row[name] / row["rmse_predicted"] for row in known] for name in ("rmse_low", "rmse", "rmse_high")]
    look = LOOKS["theory"]
    axes.axhline(1.0, color=look.color, linestyle=look.line, linewidth=1.2, zorder=1)
    _points(axes, known, *scaled)
    axes.set_title("RMSE over $\\sqrt{\\chi^2/k}$, 95% intervals")


def _bias(axes: Axes, rows: s.Table) -> None:
    _theory(axes, rows, "bias_predicted", "$\\chi^2/2k$")
    sure, rest = [row for row in rows if resolved(row)], [row for row in rows if not resolved(row)]
    width = [SIGMAS * row["bias_std_error"] for row in sure]
    size = [abs(row["bias"]) for row in sure]
    least = min([*size, *(row["bias_std_error"] for row in rows)], default=1.0) / 3
    low = [max(a - b, least) for a, b in zip(size, width, strict=True)]
    _points(axes, sure, low, size, [a + b for a, b in zip(size, width, strict=True)])
    bounds = [abs(row["bias"]) + SIGMAS * row["bias_std_error"] for row in rest]
    look = LOOKS["importance"]
    axes.plot(
        s.column(rest, "k"), bounds, color=look.color, linestyle="", marker="v", markersize=4.5,
        markerfacecolor="white", markeredgewidth=1.0,
    )  # fmt: skip
    error_axis(axes, [least, *size, *bounds], "")
    where: Style = {"transform": axes.transAxes, "ha": "right", "va": "top", "fontsize": 9, "color": look.ink}
    axes.text(0.98, 0.85, "hollow: at most so much", **where)
    axes.set_title("|bias| of $L_k$, nats")


def _path(axes: Axes, rows: s.Table) -> None:
    axes.axhspan(-SIGMAS, SIGMAS, color=GREY, alpha=0.15, linewidth=0)
    axes.axhline(0, color=GREY, linewidth=0.8)
    known = [row for row in rows if s.finite(row["z"])]
    axes.plot(s.column(known, "k"), s.column(known, "z"), color=BLUE, marker="o", markersize=3.6, linewidth=1.0)
    top = max([3.0, *(abs(row["z"]) * 1.1 for row in known)])
    axes.set_ylim(-top, top)
    axes.set_title(f"error over standard error; shaded: ±{SIGMAS}")


def _flat(axes: Axes, rows: s.Table, name: str, scale: float, title: str) -> None:
    """A quantity that should not grow, from zero on."""
    axes.set_title(title)
    known = [row for row in rows if s.finite(row[name])]
    value = [row[name] * scale for row in known]
    axes.plot(s.column(known, "k"), value, color=BLUE, marker="o", markersize=3.6, linewidth=1.0)
    axes.set_ylim(0, 1.25 * max(value, default=1.0))


def _clock(axes: Axes, rows: s.Table) -> None:
    """Time by the clock, commits and waiting included, over that in the chunks."""
    where: Style = {"transform": axes.transAxes, "ha": "right", "va": "top", "fontsize": 9}
    axes.text(0.98, 0.97, "dots: in the chunks", color="#005A8C", **where)
    if not (rows := clocked(rows)):
        return
    value = s.column(rows, "ns_per_sample")
    axes.plot(s.column(rows, "k"), value, color=ORANGE, marker="x", markersize=5, linewidth=1.0)
    axes.set_ylim(0, max(1.5 * max(value), axes.get_ylim()[1]))
    axes.text(0.98, 0.85, "crosses: by the clock", color=LOOKS["factor_analysis"].ink, **where)


# -- words --------------------------------------------------------------------------------------------------------


def caption(table: s.Table) -> str:
    """How well prediction and intervals agree, how far the bias is seen, where the path lies, what it cost."""
    own = path(table)
    last = own[-1]
    shape = f"{s.case_name(last | {'row': None})} and {last['n_observed']} observed"
    text = f"{shape}: one stream of {words.power(last['n_total'])} samples, {s.title(last['estimator'])} sampling. "
    return text + _rmse_words(table) + _bias_words(table) + _path_words(own) + _cost_words(table)


def _rmse_words(table: s.Table) -> str:
    rows = levels(table)
    known = [row for row in rows if s.finite(row["rmse_predicted"]) and row["rmse_predicted"]]
    if not known:
        if not rows:
            return "No level has enough groups for an error with an interval. "
        return f"χ² is not known here, so nothing is predicted; at $k$ = {words.power(rows[-1]['k'])} the RMSE is " + (
            f"{words.nats(rows[-1]['rmse'])} ({words.interval(s.rmse(rows[-1]))}). "
        )
    top = known[-1]
    inside = sum(row["rmse_low"] <= row["rmse_predicted"] <= row["rmse_high"] for row in known if row["k"] >= 1024)
    n_asymptotic = sum(row["k"] >= 1024 for row in known)
    text = (
        f"RMSE at $k$ is over its $N/k$ groups, {top['n_groups']} of them or more; at $k$ = {words.power(top['k'])} it "
        f"is {words.nats(top['rmse'])} ({words.interval(s.rmse(top))}, by a bootstrap over {top['n_units']} spans of "
        "the stream, so few that it tends to be too narrow) where $\\sqrt{\\chi^2/k}$ has "
        f"{words.number(top['rmse_predicted'])}. "
    )
    if n_asymptotic:
        text += (
            f"Of the {n_asymptotic} levels from {words.power(1024)} on, {inside} have the prediction in their "
            "interval; levels share samples, so that their errors go together. "
        )
    return text


def _bias_words(table: s.Table) -> str:
    rows = levels(table)
    sure = [row for row in rows if resolved(row)]
    if not rows:
        return ""
    if not sure:
        return "No bias is told from zero. "
    run = [row for row, mark in zip(rows, map(resolved, rows), strict=True) if mark]
    far = next((before for before, after in itertools.pairwise(rows) if not resolved(after)), run[-1])
    predicted = ""
    if s.finite(far["bias_predicted"]):
        off = (far["bias"] - far["bias_predicted"]) / far["bias_std_error"]
        predicted = (
            f" (the delta method has {words.number(far['bias_predicted'], 2)}, {words.number(abs(off), 1)} standard "
            "errors away)"
        )
    return (
        f"Bias is told from zero at every $k$ up to {words.power(far['k'])}, where it is "
        f"{words.nats(far['bias'], 2)} ± {words.number(far['bias_std_error'], 1)}{predicted}; beyond, a "
        "stream of this length can only bound it. "
    )


def _path_words(rows: s.Table) -> str:
    known = [row for row in rows if s.finite(row["z"])]
    if not known:
        return ""
    last, worst = known[-1], max(known, key=lambda row: abs(row["z"]))
    inside = sum(abs(row["z"]) <= SIGMAS for row in known)
    value = f"{words.fixed(last['log_marginal'], 6)} ± {words.number(last['std_error'], 2)}"
    return (
        f"The estimate from all samples is {value}, {words.number(abs(last['z']), 2)} standard errors from the exact "
        f"{words.fixed(last['exact'], 6)}. On the way "
        f"{inside} of {len(known)} points lie in the band, the farthest at {words.number(abs(worst['z']), 2)}. "
    )


def _cost_words(table: s.Table) -> str:
    own = path(table)
    rows, broken = clocked(timed(table)), len(own) - len(clocked(own))
    sittings = len({row["provenance_id"] for row in own})
    text = f"The run took {_duration(sum(row['seconds'] for row in own))}"
    text += f" in {sittings} sittings" if sittings > 1 else ""
    if broken:
        parts = "one step that was stopped" if broken == 1 else f"{broken} steps that were stopped"
        text += f" (for {parts}, which no clock ran through, the work in the chunks is counted)"
    text += _clock_words(rows) if len(rows) > 1 else ""
    return f"{text}{_memory_words([row for row in own if s.finite(row['peak_bytes'])])}."


def _clock_words(rows: s.Table) -> str:
    first, last = rows[0], rows[-1]
    return (
        f": {words.number(first['ns_per_sample'])} ns a sample by the clock at {words.power(first['k'])} and "
        f"{words.number(last['ns_per_sample'])} at {words.power(last['k'])}, of which the work in the chunks is "
        f"{words.number(first['ns_in_chunks'])} and {words.number(last['ns_in_chunks'])}"
    )


def _memory_words(rows: s.Table) -> str:
    """The peak, how it grew from 2^24 samples on, and how much of it the last step added to the process."""
    base, last = next((row for row in rows if row["k"] >= 2**24), None), rows[-1] if rows else None
    if base is None or last is None or base is last:
        return ""
    change, added = last["peak_bytes"] / base["peak_bytes"] - 1, last["peak_bytes"] - last["baseline_bytes"]
    return (
        f"; peak memory {words.memory(last['peak_bytes'])}, {_change(change)} at {words.power(base['k'])}, the "
        f"interpreter and its libraries included: {words.memory(added)} more than before the last step began"
    )


def _change(change: float) -> str:
    size = words.percent(abs(change))
    return "as" if abs(change) < 5e-4 else f"{size} {'more' if change > 0 else 'less'} than"


def _duration(seconds: float) -> str:
    for size, unit in ((3600.0, "hours"), (60.0, "minutes")):
        if seconds >= 2 * size:
            return f"{words.number(seconds / size, 2)} {unit}"
    return words.seconds(seconds)
