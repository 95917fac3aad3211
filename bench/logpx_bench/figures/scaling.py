"""Run time and peak memory against k, and speed-up against the number of threads.

Every point is a fresh process; memory is the whole process's peak, the interpreter and its libraries included. A stream
read in blocks costs time in proportion to k and memory that does not grow with it.
"""

from __future__ import annotations

import math

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from logpx_bench import summary
from logpx_bench.figures import series as s
from logpx_bench.figures import words
from logpx_bench.figures.axes import k_axis
from logpx_bench.figures.extracts import n_cores
from logpx_bench.figures.style import LOOKS, Style, panels, style
from logpx_bench.store import Store

EXPERIMENT = "scaling"
TITLE = "Time and memory"
GAIN = 1.1  # a smaller speed-up is called none
COLUMNS = (
    *("model", "n_latents", "estimator", "estimator_options", "points", "dtype", "n_samples", "n_repeats", "threads"),
    *("n_cores", "seconds", "cpu_seconds", "compile_seconds", "peak_bytes", "baseline_bytes"),
)


def data(store: Store) -> s.Table:
    """One row a process: samples, threads, seconds and peak memory."""
    cores = {"n_cores": n_cores(store, EXPERIMENT)}
    return s.columns([row | cores for row in summary.scaling(store, EXPERIMENT)], COLUMNS)


def against_k(table: s.Table) -> list[s.Series]:
    """Series against the number of samples at the number of threads that covers the most values of k."""
    spans: dict[int, set[int]] = {}
    for row in table:
        spans.setdefault(int(row["threads"]), set()).add(int(row["n_samples"]))
    threads = max(spans, key=lambda t: (len(spans[t]), -t), default=0)
    return s.by_estimator([row for row in table if row["threads"] == threads], "n_samples")


def against_threads(table: s.Table) -> list[s.Series]:
    """Series against threads at the largest number of samples measured with more than one count of threads."""
    counts: dict[int, set[int]] = {}
    for row in table:
        counts.setdefault(int(row["n_samples"]), set()).add(int(row["threads"]))
    several = [n for n, threads in counts.items() if len(threads) > 1]
    return s.by_estimator([row for row in table if row["n_samples"] == max(several)], "threads") if several else []


def speedups(each: s.Series) -> list[tuple[int, float]]:
    """(threads, time with the fewest threads over time with these) of a series."""
    base = each.rows[0]
    return [(int(row["threads"]), base["seconds"] / row["seconds"]) for row in each.rows]


def draw(table: s.Table) -> Figure:
    """Three panels: seconds, megabytes, speed-up."""
    with style():
        figure, (time, memory, threads) = panels(1, 3, height=3.0, right=0.985, left=0.085, wspace=0.42)
        series = against_k(table)
        _line_panel(time, series, "seconds", 1.0)
        time.set_yscale("log")
        low, high = time.get_ylim()
        time.set_ylim(10 ** math.floor(math.log10(low)), 10 ** math.ceil(math.log10(high)))
        time.yaxis.set_major_locator(LogLocator(base=10, numticks=8))
        time.yaxis.set_minor_formatter(NullFormatter())
        time.set_title("seconds")
        _line_panel(memory, series, "peak_bytes", 1e-6)
        memory.set_ylim(0, max((row["peak_bytes"] or 0) for row in table) * 1.25e-6 or 1.0)
        memory.set_title("peak memory, MB")
        for position, each in enumerate(series):
            where: Style = {"transform": time.transAxes, "va": "top", "fontsize": 9}
            time.text(0.04, 0.96 - 0.10 * position, s.one_line(each), color=each.look.ink, **where)
        _threads(threads, table)
    return figure


def _line_panel(axes: Axes, series: list[s.Series], name: str, scale: float) -> None:
    k_axis(axes, [row["n_samples"] for each in series for row in each.rows], "k", ticks=5)
    for each in series:
        rows = [row for row in each.rows if s.finite(row[name])]
        how: Style = {"color": each.look.color, "linestyle": each.look.line, "marker": each.look.marker}
        axes.plot(s.column(rows, "n_samples"), [row[name] * scale for row in rows], **how)


def _threads(axes: Axes, table: s.Table) -> None:
    axes.set_title("speed-up")
    series = against_threads(table)
    if not series:
        where: Style = {"transform": axes.transAxes, "ha": "center", "va": "center", "fontsize": 9}
        axes.text(0.5, 0.5, "measured with\none count of threads", **where)
        return
    most = max(row["threads"] for each in series for row in each.rows)
    look = LOOKS["theory"]
    axes.plot([1, most], [1, most], color=look.color, linestyle=look.line, linewidth=1.1)
    middle = (1 + most) / 2
    axes.text(middle, middle, "ideal  ", ha="right", va="bottom", fontsize=9, color=look.ink)
    for each in series:
        how: Style = {"color": each.look.color, "linestyle": each.look.line, "marker": each.look.marker}
        axes.plot(*zip(*speedups(each), strict=True), **how)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    axes.set_xlabel("threads")
    axes.set_ylim(0, None)
    cores = table[0]["n_cores"]
    if cores and cores < most:
        axes.axvline(cores, color="#bbbbbb", linewidth=0.8, zorder=0)
        axes.text(cores, 0.03, f" {cores} cores", transform=axes.get_xaxis_transform(), fontsize=8.5, color="#555555")


def caption(table: s.Table) -> str:
    """Time a sample at the largest k, growth of memory over the whole range, and the best speed-up."""
    series = against_k(table)
    if not series:
        return "No run was timed."
    threads = series[0].rows[0]["threads"]
    text = f"With {threads} thread{'s' if threads != 1 else ''}, {'; '.join(map(_words_of, series))}. "
    text += _speed_sentence(table)
    return f"{text} Each point is one fresh process, {_repeats(table)}; compilation is timed apart."


def _words_of(each: s.Series) -> str:
    first, last = each.rows[0], each.rows[-1]
    text = (
        f"{s.one_line(each)} takes {words.seconds(last['seconds'])} for $k$ = {words.power(last['n_samples'])} "
        f"({words.seconds(last['seconds'] / last['n_samples'])} a sample)"
    )
    if not (s.finite(first["peak_bytes"]) and s.finite(last["peak_bytes"])):
        return text
    grown = last["peak_bytes"] / first["peak_bytes"]
    same = 0.9 <= grown <= 1.1
    move = "within a tenth of" if same else words.ratio(grown) if grown > 1 else f"{words.percent(grown)} of"
    peak = f"with a peak of {words.memory(last['peak_bytes'])}"
    return f"{text}, {peak}, {move} the peak at {words.power(first['n_samples'])}"


def _speed_sentence(table: s.Table) -> str:
    found = [(gain, threads, each) for each in against_threads(table) for threads, gain in speedups(each)[1:]]
    if not found:
        return "Only one count of threads was measured."
    gain, threads, each = max(found, key=lambda item: item[0])
    if gain < GAIN:
        return f"More threads brought nothing in this run: a speed-up of {words.number(gain, 2)} at best."
    cores = table[0]["n_cores"] or "an unknown number of"
    return (
        f"The best speed-up is {words.number(gain, 2)}, with {threads} threads ({s.one_line(each)}, on {cores} cores)."
    )


def _repeats(table: s.Table) -> str:
    counts = sorted({int(row["n_repeats"]) for row in table if row["n_repeats"]})
    if not counts:
        return "the number of runs not recorded"
    if counts[-1] == 1:
        return "one run each"
    return f"the median of {counts[0]} runs" if len(counts) == 1 else f"the median of {counts[0]} to {counts[-1]} runs"
