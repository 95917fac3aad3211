"""Where a sample's time goes: nanoseconds of every stage with their floors, and the stages under the machine's roofs.

A bar is a model in one precision; its segments are the stages in the driver's order, each lettered. The solid part of a
segment is the stage's floor (`logpx_bench.floors`), the pale part what it takes beyond that. Below, every stage stands
at its arithmetic intensity and its rate of floating-point operations, under the measured bandwidths and peaks
(Williams, Waterman and Patterson, 2009, doi:10.1145/1498765.1498785). The tree works in float64 in either precision; of
models after the first only the kernels are drawn there, since the rest is the same code.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import LogLocator, NullFormatter

from logpx_bench import floors
from logpx_bench.figures import series as s
from logpx_bench.figures import words
from logpx_bench.figures.style import BLUE, GREEN, GREY, ORANGE, RED, SKY, WIDTH, style
from logpx_bench.plurals import counted
from logpx_bench.store import Store

EXPERIMENT = "stages"
TITLE = "Where a sample's time goes"
COLUMNS = (
    *("kind", "model", "n_latents", "n_observed", "dtype", "n_samples", "n_repeats", "stage", "ns", "ns_median"),
    *("floor_ns", "bound", "ratio", "instructions", "vector", "flops", "bytes", "intensity", "gflops", "value"),
)
KERNELS = ("points", "proposal", "log_joint")
COLORS: Mapping[str, str] = {
    "points": BLUE,
    "proposal": SKY,
    "log_joint": GREEN,
    "weights": ORANGE,
    "largest": RED,
    "exponentials": "#7B3F73",
    "levels_1_3": "#A65C93",
    "levels_4_6": "#CC79A7",
    "levels_7_10": "#E3A9C8",
    "carry": GREY,
    "remainder": "#FFFFFF",
}
LETTERS = dict(zip(COLORS, "abcdefghijr", strict=True))
PRECISIONS: Mapping[str, int] = {"float64": 8, "float32": 4}
ROOFS = {"triad_l1": "L1", "triad_l2": "L2", "triad_memory": "memory"}
INK = "#333333"


def data(store: Store) -> s.Table:
    """Rows of kind "stage", one a stage of a model in one precision, and of kind "limit", one a limit in `value`."""
    table = [row | {"kind": "stage"} for row in floors.stages(store)]
    if not table:
        return []
    limits = [{"kind": "limit", "stage": name, "value": value} for name, value in floors.limits(store).items()]
    return s.columns([*table, *limits], COLUMNS)


def limits(table: s.Table) -> dict[str, float]:
    """The limits of the machine in a table."""
    return {row["stage"]: row["value"] for row in table if row["kind"] == "limit"}


def cases(table: s.Table) -> list[tuple[str, dict[str, dict[str, s.Row]]]]:
    """Models in order: the name, and dtype → stage → row."""
    found: dict[str, dict[str, dict[str, s.Row]]] = {}
    for row in table:
        if row["kind"] == "stage":
            found.setdefault(_name(row), {}).setdefault(row["dtype"], {})[row["stage"]] = row
    return list(found.items())


def _name(row: s.Row) -> str:
    latents = counted(row["n_latents"], "latent")
    return f"{s.title(row['model'])}, {latents}, {row['n_observed']} observed"


def draw(table: s.Table) -> Figure:
    """Bars, model by model; letters; roofs in either precision."""
    with style():
        models = cases(table)
        rows = [0.34 + 0.27 * max(len(own) for _, own in models)] * len(models)
        heights = [*rows, 0.62, 2.9]
        total = sum(heights) + 0.42 * len(heights) + 0.45
        figure = Figure(figsize=(WIDTH, total))
        layout = {"left": 0.095, "right": 0.975, "bottom": 0.46 / total, "top": 1 - 0.30 / total}
        mean = sum(heights) / len(heights)
        grid = figure.add_gridspec(len(heights), 2, height_ratios=heights, hspace=0.42 / mean, wspace=0.16, **layout)
        for i, (name, own) in enumerate(models):
            number = f"{i + 1}  " if len(models) > 1 else ""
            _bars(figure.add_subplot(grid[i, :]), number + name, own)
        _letters(figure.add_subplot(grid[len(models), :]))
        for column, dtype in enumerate(PRECISIONS):
            _roofline(figure.add_subplot(grid[len(models) + 1, column]), dtype, models, limits(table), column == 0)
    return figure


# -- bars ---------------------------------------------------------------------------------------------------------


def _bars(axes: Axes, title: str, own: Mapping[str, Mapping[str, s.Row]]) -> None:
    longest = max(_end(rows) for rows in own.values())
    axes.set_xlim(0, 1.22 * longest)
    for place, rows in enumerate(own.values()):
        at = 0.0
        for stage in COLORS:
            width = max(rows[stage]["ns"], 0.0)
            _segment(axes, stage, at, place, width, rows[stage]["floor_ns"])
            if width > 0.02 * longest:
                ink = "white" if stage not in ("remainder", "levels_7_10") else INK
                axes.text(at + 0.005 * longest, place, LETTERS[stage], va="center", fontsize=8, color=ink)
            at += width
        whole = rows["whole"]
        axes.plot([whole["ns"]] * 2, [place - 0.44, place + 0.44], color="black", linewidth=1.4, solid_capstyle="butt")
        floor = f", floors {words.number(whole['floor_ns'])}" if s.finite(whole["floor_ns"]) else ""
        text = f"{words.number(whole['ns'])} ns{floor}"
        axes.text(_end(rows) + 0.01 * longest, place, text, va="center", fontsize=8.5, color=INK)
    axes.set_yticks(range(len(own)), list(own))
    axes.set_ylim(len(own) - 0.45, -0.55)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", visible=False)
    axes.set_title(f"{title}: ns a sample, one core")


def _end(rows: Mapping[str, s.Row]) -> float:
    return max(float(rows["whole"]["ns"]), sum(max(float(rows[stage]["ns"]), 0.0) for stage in COLORS))


def _segment(axes: Axes, stage: str, at: float, place: int, width: float, floor: float | None) -> None:
    """A pale segment with its floor solid, from its left end."""
    if width <= 0:
        return
    bare = stage == "remainder"
    low, height = place - 0.38, 0.76
    hatch = "////" if bare else None
    edge = "#999999" if bare else "white"
    axes.add_patch(
        Rectangle((at, low), width, height, facecolor=COLORS[stage], alpha=1 if bare else 0.62, edgecolor=edge,
                  hatch=hatch, linewidth=0.6)
    )  # fmt: skip
    if floor is not None and s.finite(floor):
        axes.add_patch(Rectangle((at, low), min(floor, width), height, facecolor=COLORS[stage], linewidth=0))
        axes.plot([at + min(floor, width)] * 2, [low, low + height], color="black", linewidth=0.7)


def _letters(axes: Axes) -> None:
    """What each letter stands for, in four columns."""
    axes.set_axis_off()
    axes.set_xlim(0, 4)
    axes.set_ylim(3, 0)
    names, columns = {**floors.STAGES, "remainder": "remainder"}, (0.0, 0.72, 1.85, 3.1)
    for i, (stage, letter) in enumerate(LETTERS.items()):
        x, y = columns[i // 3], i % 3 + 0.5
        hatch, edge = ("////", "#999999") if stage == "remainder" else (None, "none")
        axes.add_patch(Rectangle((x, y - 0.36), 0.07, 0.72, facecolor=COLORS[stage], hatch=hatch, edgecolor=edge))
        axes.text(x + 0.1, y, f"{letter}  {names[stage]}", va="center", fontsize=8.5, color=INK)
    axes.text(columns[3], 2.5, "solid to the tick: floor", va="center", fontsize=8.5, color=INK)


# -- roofline -----------------------------------------------------------------------------------------------------


def shown(models: list[tuple[str, dict[str, dict[str, s.Row]]]], dtype: str) -> list[tuple[str, int, float, float]]:
    """What a roofline shows: (stage, number of the model, intensity, GFLOP/s)."""
    found = []
    for number, (_, own) in enumerate(models):
        for stage in KERNELS if number or dtype != "float64" else floors.STAGES:
            row = own.get(dtype, {}).get(stage)
            if row and s.finite(row["intensity"]) and row["intensity"] > 0 and row["gflops"] > 0:
                found.append((stage, number, row["intensity"], row["gflops"]))
    return found


def peaks(dtype: str, found: Mapping[str, float]) -> list[tuple[str, float]]:
    """Peak rates of floating-point operations: of the widest registers, of AVX where it is another, of scalars."""
    lanes = 32 / PRECISIONS[dtype]
    known = [("FMA", found.get(f"fma_{dtype}", math.nan))]
    known += [("AVX2 FMA", 2 * lanes * found.get("rate_multiply256", math.nan))]
    known += [("scalar FMA", 2 * found.get("rate_multiply128", math.nan))]
    kept: list[tuple[str, float]] = []
    for name, value in known:
        if s.finite(value) and all(abs(math.log(value / other)) > 0.1 for _, other in kept):
            kept.append((name, value))
    return kept


def _roofline(
    axes: Axes,
    dtype: str,
    models: list[tuple[str, dict[str, dict[str, s.Row]]]],
    found: Mapping[str, float],
    first: bool,
) -> None:
    axes.set_title(f"{dtype}: GFLOP/s")
    axes.set_xscale("log")
    axes.set_yscale("log")
    points = shown(models, dtype)
    roofs, tops = {k: found[k] for k in ROOFS if k in found}, peaks(dtype, found)
    if not (points and roofs and tops):
        where = {"transform": axes.transAxes, "ha": "center", "va": "center", "fontsize": 9}
        axes.text(0.5, 0.5, "no counts of instructions\nor no limits in the store", **where)  # type: ignore[arg-type]
        return
    top = tops[0][1]
    low, high = 0.6 * min(point[2] for point in points), 2.2 * max(max(p[2] for p in points), top / min(roofs.values()))
    axes.set_xlim(low, high)
    axes.set_ylim(0.5 * min(point[3] for point in points), 1.6 * top)
    _lines(axes, roofs, tops, low, high)
    for stage, number, x, y in points:
        marker = f"${LETTERS[stage]}{f'_{number + 1}' if number else ''}$"
        axes.plot(x, y, marker=marker, markersize=9 if number else 7, color=COLORS[stage], markeredgewidth=0.5)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(base=10, numticks=9))
        axis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("flops a byte loaded or stored")


def _lines(axes: Axes, roofs: Mapping[str, float], tops: list[tuple[str, float]], low: float, high: float) -> None:
    """Bandwidths as slopes up to the peak, and the peaks."""
    ink = {"color": "#666666", "linewidth": 1.0, "zorder": 1}
    top = tops[0][1]
    said: list[float] = []
    for name, bandwidth in roofs.items():
        axes.plot([low, top / bandwidth], [low * bandwidth, top], **ink)  # type: ignore[arg-type]
        if any(abs(math.log(bandwidth / other)) < 0.4 for other in said):  # a label on top of another
            continue
        said.append(bandwidth)
        near = " and ".join(ROOFS[one] for one, other in roofs.items() if abs(math.log(other / bandwidth)) < 0.4)
        axes.text(
            0.87 * top / bandwidth, 0.87 * 1.05 * top, f"{near}, {words.number(bandwidth, 2)} GB/s",
            fontsize=7.5, color="#555555", rotation=_slope(axes), rotation_mode="anchor", ha="right",
            va="top" if name == "triad_memory" else "bottom",
        )  # fmt: skip
    for i, (name, peak) in enumerate(tops):
        start = top / max(roofs.values()) if i == 0 else peak / max(roofs.values())
        axes.plot([start, high], [peak, peak], linestyle="-" if i == 0 else (0, (3.0, 2.0)), **ink)  # type: ignore[arg-type]
        text = f"{name}, {words.number(peak, 2)}"
        axes.text(high * 0.95, peak * 1.06, text, fontsize=7.5, color="#555555", ha="right", va="bottom")


def _slope(axes: Axes) -> float:
    """Degrees at which a line of slope 1 rises on the page, in axes with two logarithmic scales."""
    box = axes.get_window_extent()
    (x0, x1), (y0, y1) = axes.get_xlim(), axes.get_ylim()
    return math.degrees(math.atan2(box.height / math.log(y1 / y0), box.width / math.log(x1 / x0)))


# -- words --------------------------------------------------------------------------------------------------------


def caption(table: s.Table) -> str:
    """The largest stage of each model, its floor, the remainder, and what the floor leaves out."""
    sentences = [_case_sentence(name, dtype, rows) for name, own in cases(table) for dtype, rows in own.items()]
    repeats = sorted({int(row["n_repeats"]) for row in table if row["kind"] == "stage"})
    span = f"{repeats[0]}" if len(repeats) == 1 else f"{repeats[0]} to {repeats[-1]}"
    known = any(s.finite(row["floor_ns"]) for row in table if row["kind"] == "stage")
    floor = (
        "The solid part of a segment is its floor: the least time that the instructions it executes can take at the "
        "rates measured on this machine, latency and misses left out. "
        if known
        else "Floors are not known: this store has no counts of instructions, or no limits of the machine. "
    )
    return (
        f"{' '.join(sentences)} {floor}A black line marks the whole loop, timed in one piece; each time is the least "
        f"of {span} interleaved repetitions. The letters are the same below."
    )


def _case_sentence(name: str, dtype: str, rows: Mapping[str, s.Row]) -> str:
    whole, rest = rows["whole"], rows["remainder"]["ns"]
    most = max((rows[stage] for stage in floors.STAGES), key=lambda row: row["ns"])
    share = words.percent(most["ns"] / whole["ns"])
    ratio = f", {words.number(most['ratio'], 2)} times its floor" if s.finite(most["ratio"]) else ""
    where = f"{floors.STAGES[most['stage']]}{ratio}"
    text = f"{name}, {dtype}: {words.number(whole['ns'])} ns a sample, {share} of it in {where}"
    if rest < 0:
        return f"{text}; the stages alone take {words.number(-rest, 2)} ns more than the whole, which is not drawn."
    return f"{text}; {words.number(rest, 2)} ns are in no stage."
