"""Run time and peak memory, against k and against the number of threads.

Every point is a fresh process, a bar spans the least to the most of its runs; memory is the whole process's peak, the
interpreter and its libraries included. A stream read in blocks costs time in proportion to k and memory that does not
grow with it.
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
from logpx_bench.figures.extracts import machine
from logpx_bench.figures.style import LOOKS, VARIANT_LINES, VARIANT_MARKERS, Style, panels, style
from logpx_bench.plurals import counted
from logpx_bench.store import Store

EXPERIMENT = "scaling"
TITLE = "Time and memory"
GAIN = 1.1  # a smaller speed-up is called none
COLUMNS = (
    *("model", "n_latents", "estimator", "estimator_options", "points", "dtype", "n_samples", "n_repeats", "threads"),
    *("n_runs", "n_cores", "load_1m", "seconds", "seconds_low", "seconds_high", "cpu_seconds", "compile_seconds"),
    *("peak_bytes", "baseline_bytes"),
)


def data(store: Store) -> s.Table:
    """One row a process: samples, threads, seconds and peak memory."""
    facts = machine(store, EXPERIMENT)
    return s.columns([row | facts for row in s.lead_case(summary.scaling(store, EXPERIMENT))], COLUMNS)


def against_k(table: s.Table) -> list[s.Series]:
    """Series against the number of samples, one an estimator and number of threads."""
    result = []
    for position, threads in enumerate(sorted({int(row["threads"]) for row in table})):
        for each in s.by_estimator([row for row in table if row["threads"] == threads], "n_samples"):
            line, marker = VARIANT_LINES[position % 4], VARIANT_MARKERS[position % 6]
            look = each.look._replace(line=line, marker=marker) if position else each.look
            result.append(each._replace(name=f"{s.one_line(each)}, {counted(threads, 'thread')}", look=look))
    return result


def against_threads(table: s.Table) -> list[s.Series]:
    """Series against threads at the largest number of samples measured with more than one count of threads."""
    counts: dict[int, set[int]] = {}
    for row in table:
        counts.setdefault(int(row["n_samples"]), set()).add(int(row["threads"]))
    several = [n for n, threads in counts.items() if len(threads) > 1]
    return s.by_estimator([row for row in table if row["n_samples"] == max(several)], "threads") if several else []


def speedups(each: s.Series) -> list[tuple[int, words.Measured]]:
    """(threads, time with the fewest threads over time with these, with its range over the runs) of a series."""
    base = each.rows[0]
    return [
        (
            int(row["threads"]),
            words.Measured(
                base["seconds"] / row["seconds"],
                base["seconds_low"] / row["seconds_high"],
                base["seconds_high"] / row["seconds_low"],
            ),
        )
        for row in each.rows
    ]


def draw(table: s.Table) -> Figure:
    """Four panels: seconds and megabytes, against k and against threads."""
    with style():
        figure, (time, gain, memory, peak) = panels(2, 2, height=5.2, right=0.975, left=0.09, wspace=0.24, hspace=0.42)
        series = against_k(table)
        _time(time, series)
        _line_panel(memory, series, "peak_bytes", 1e-6)
        memory.set_title("peak memory, MB")
        _gain(gain, table)
        _peak(peak, table)
        top = max((row["peak_bytes"] or 0) for row in table) * 1.25e-6 or 1.0
        for axes in (memory, peak):
            axes.set_ylim(0, top)
    return figure


def _how(each: s.Series) -> Style:
    return {"color": each.look.color, "linestyle": each.look.line, "marker": each.look.marker}


def _line_panel(axes: Axes, series: list[s.Series], name: str, scale: float) -> None:
    k_axis(axes, [row["n_samples"] for each in series for row in each.rows], "k", ticks=6)
    for each in series:
        rows = [row for row in each.rows if s.finite(row[name])]
        axes.plot(s.column(rows, "n_samples"), [row[name] * scale for row in rows], **_how(each))


def _time(axes: Axes, series: list[s.Series]) -> None:
    _line_panel(axes, series, "seconds", 1.0)
    for line, each in enumerate(series):
        places, low, high = (s.column(each.rows, name) for name in ("n_samples", "seconds_low", "seconds_high"))
        axes.vlines(places, low, high, color=each.look.color, linewidth=1)
        where: Style = {"transform": axes.transAxes, "clip_on": False}
        axes.plot([0.03, 0.11], [0.94 - 0.09 * line] * 2, **where, **_how(each))
        axes.text(0.14, 0.94 - 0.09 * line, each.name, color=each.look.ink, va="center", fontsize=9, **where)
    axes.set_yscale("log")
    axes.set_ylim(
        10 ** math.floor(math.log10(min(row["seconds_low"] for each in series for row in each.rows))),
        10 ** math.ceil(math.log10(max(row["seconds_high"] for each in series for row in each.rows))),
    )
    axes.yaxis.set_major_locator(LogLocator(base=10, numticks=8))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_title("seconds")


def _thread_axis(axes: Axes, title: str, series: list[s.Series]) -> None:
    """Title and axis of a panel against threads, or the reason why it is empty."""
    at = f" at k = {words.plain(words.power(series[0].rows[0]['n_samples']))}" if series else ""
    axes.set_title(title + at)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    axes.set_xlabel("threads")
    if not series:
        where: Style = {"transform": axes.transAxes, "ha": "center", "va": "center", "fontsize": 9}
        axes.text(0.5, 0.5, "measured with\none count of threads", **where)


def _gain(axes: Axes, table: s.Table) -> None:
    series = against_threads(table)
    _thread_axis(axes, "speed-up", series)
    if not series:
        return
    most = max(row["threads"] for each in series for row in each.rows)
    look = LOOKS["theory"]
    axes.plot([1, most], [1, most], color=look.color, linestyle=look.line, linewidth=1.1)
    middle = (1 + most) / 2
    axes.text(middle, middle, "ideal      ", ha="right", va="bottom", fontsize=9, color=look.ink)
    for each in series:
        places, gains = zip(*speedups(each), strict=True)
        bars = [[g.value - min(g.low, g.value) for g in gains], [max(g.high, g.value) - g.value for g in gains]]
        bars[0][0] = bars[1][0] = 0.0  # the base against itself
        axes.errorbar(places, [g.value for g in gains], yerr=bars, elinewidth=1, capsize=3, **_how(each))
    axes.set_ylim(0, None)
    cores = table[0]["n_cores"]
    if cores and cores < most:
        axes.axvline(cores, color="#bbbbbb", linewidth=0.8, zorder=0)
        text = f" {counted(cores, 'core')}"
        axes.text(cores, 0.03, text, transform=axes.get_xaxis_transform(), fontsize=8.5, color="#555555")


def _peak(axes: Axes, table: s.Table) -> None:
    series = against_threads(table)
    _thread_axis(axes, "peak memory, MB,", series)
    for each in series:
        rows = [row for row in each.rows if s.finite(row["peak_bytes"])]
        axes.plot(s.column(rows, "threads"), [row["peak_bytes"] * 1e-6 for row in rows], **_how(each))


def caption(table: s.Table) -> str:
    """Time a sample at the largest k, growth of memory, the best speed-up with its range, and the load."""
    series = against_k(table)
    if not series:
        return "No run was timed."
    text = words.sentence("; ".join(map(_words_of, series)))
    text += f". {_speed_sentence(table)}{_memory_sentence(table)}{_load_sentence(table)}"
    return (
        f"{text}Each point is one fresh process, {_repeats(table)} (bars: least and most); compilation is timed apart."
        f"{s.other_runs(table)}"
    )


def _words_of(each: s.Series) -> str:
    first, last = each.rows[0], each.rows[-1]
    text = (
        f"{each.name}: {words.seconds(last['seconds'])} for $k$ = {words.power(last['n_samples'])} "
        f"({words.seconds(last['seconds'] / last['n_samples'])} a sample)"
    )
    if not (s.finite(first["peak_bytes"]) and s.finite(last["peak_bytes"])):
        return text
    text += f", with a peak of {words.memory(last['peak_bytes'])}"
    grown = _growth(last["peak_bytes"] / first["peak_bytes"])
    return text if first is last else f"{text}, {grown} at {words.power(first['n_samples'])}"


def _growth(factor: float) -> str:
    if 0.9 <= factor <= 1.1:
        return "within a tenth of the peak"
    return f"{words.ratio(factor) if factor > 1 else f'{words.percent(factor)} of'} the peak"


def _speed_sentence(table: s.Table) -> str:
    found = [(gain, threads, each) for each in against_threads(table) for threads, gain in speedups(each)[1:]]
    if not found:
        return "Only one count of threads was measured. "
    gain, threads, each = max(found, key=lambda item: item[0].value)
    least = min(row["n_repeats"] or 1 for row in each.rows)
    spread = f"{words.number(gain.low, 2)} to {words.number(gain.high, 2)} between runs"
    span = f"{words.number(gain.value, 2)} ({spread if least > 1 else 'one run each, so no range'})"
    at = f" at $k$ = {words.power(each.rows[0]['n_samples'])}"
    if gain.value < GAIN:
        return f"More threads brought nothing{at} in this run: a speed-up of {span} at best. "
    cores = table[0]["n_cores"] or "an unknown number of"
    on = f"({s.one_line(each)}, on {counted(cores, 'core')})"
    return f"The best speed-up{at} is {span}, with {counted(threads, 'thread')} {on}. "


def _memory_sentence(table: s.Table) -> str:
    """How the peak with the most threads stands to that with the fewest."""
    pairs = [(each.rows[0], each.rows[-1]) for each in against_threads(table)]
    known = [(few, many) for few, many in pairs if few["peak_bytes"] and many["peak_bytes"] and few is not many]
    if not known:
        return ""
    few, many = max(known, key=lambda pair: float(pair[1]["peak_bytes"] / pair[0]["peak_bytes"]))
    growth = _growth(many["peak_bytes"] / few["peak_bytes"])
    return f"The peak with {counted(many['threads'], 'thread')} is {growth} with {counted(few['threads'], 'thread')}. "


def _load_sentence(table: s.Table) -> str:
    load, cores = table[0]["load_1m"], table[0]["n_cores"]
    if not s.finite(load):
        return "The load of the machine was not recorded. "
    shared = bool(cores) and load > cores / 4
    at = f" on {counted(cores, 'core')}" if cores else ""
    return (
        f"Before the run the load of the machine was {words.number(load, 2)}{at}"
        f"{': other work shared the cores, and times may be too long' if shared else ''}. "
    )


def _repeats(table: s.Table) -> str:
    counts = sorted({int(row["n_repeats"]) for row in table if row["n_repeats"]})
    if not counts:
        return "the number of runs not recorded"
    if counts[-1] == 1:
        return "one run each"
    return f"the median of {counts[0]} runs" if len(counts) == 1 else f"the median of {counts[0]} to {counts[-1]} runs"
