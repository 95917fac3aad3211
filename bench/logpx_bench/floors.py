"""Where a sample's time goes, as a table: every stage's nanoseconds beside the least that its instructions can take.

The floor of a stage is the longest of the times that each part of the core needs for its share of the counted
instructions, each at the rate measured for that kind and width of instruction in a loop of nothing else:

    floor = max over parts of  Σ count / rate,   parts = multiplications, additions, divisions and roots,
                                                 integer products, all vector operations, loads, stores,
                                                 all instructions

It leaves out latency (chains of dependent operations), misses of the first cache, mispredicted branches, operations
that share a port with another kind, and called functions. So it is a floor of this machine code: other code for the
same numbers may have a lower one.

The arithmetic intensity is floating-point operations over bytes that the code loads and stores, as executed, and
belongs to the roof of the first cache (Williams, Waterman and Patterson, 2009, doi:10.1145/1498765.1498785). Integer
operations, most of what a generator of random numbers does, are no flops.

Times are the least of the interleaved repetitions, with the median beside. The remainder is the least of the whole less
the sum of the stages' least.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from logpx_bench import summary
from logpx_bench.counts import CLASSES, WIDTHS, slot
from logpx_bench.store import Store
from logpx_bench.summary import Row, Table

#: Stages in the driver's order, with the words of figures and pages.
STAGES: Mapping[str, str] = {
    "points": "points",
    "proposal": "proposal",
    "log_joint": "log joint",
    "weights": "log weights and checks",
    "largest": "largest weights",
    "exponentials": "centre and exponentials",
    "levels_1_3": "levels 1 to 3",
    "levels_4_6": "levels 4 to 6",
    "levels_7_10": "levels 7 to 10, records",
    "carry": "carry",
}
REMAINDER, WHOLE = "remainder", "whole"
_VECTOR = ("multiply", "add", "divide64", "divide32", "root64", "root32", "product", "other")
#: What each part of the core does, by the units whose instructions occupy it.
PARTS: Mapping[str, tuple[str, ...]] = {
    "multiplications": ("multiply",),
    "additions": ("add",),
    "divisions and roots": ("divide64", "divide32", "root64", "root32"),
    "integer products": ("product",),
    "loads": ("load",),
    "stores": ("store",),
}
_CELL = ("model", "n_latents", "n_observed", "dtype", "n_samples")


def limits(store: Store, experiment: str = "limits") -> dict[str, float]:
    """Limits of the machine by name (see `logpx_bench.roofline`); empty where the store has none."""
    for cell in store.cells(experiment):
        return {
            name.removeprefix("limit/"): float(value[0])
            for name, value in store.values(cell["key"]).items()
            if name.startswith("limit/")
        }
    return {}


def logsumexp(store: Store, experiment: str = "limits") -> float:
    """The floor of a log-sum-exp in cache, ns an element; nan where it is not known."""
    rates = {name.removeprefix("rate_"): value for name, value in limits(store, experiment).items()}
    for cell in store.cells(experiment):
        values = store.values(cell["key"])
        if "count/logsumexp" in values:
            return floor(dict(zip(CLASSES, values["count/logsumexp"].tolist(), strict=True)), rates)[0]
    return math.nan


def floor(counts: Mapping[str, float], rates: Mapping[str, float]) -> tuple[float, str]:
    """The floor in nanoseconds and the part that sets it; nan and "" where counts or rates are missing.

    Examples
    --------
    >>> rates = {"issue": 6.0, "multiply512": 4.0, "other512": 8.0, "load512": 4.0}
    >>> floor({"instructions": 3.0, "multiply512": 2.0, "load512": 1.0}, rates)
    (0.5, 'multiplications')
    """
    times = {part: _time(counts, rates, units) for part, units in PARTS.items()}
    any_vector = {slot("other", width): sum(counts.get(slot(unit, width), 0.0) for unit in _VECTOR) for width in WIDTHS}
    times["vector operations"] = _time(any_vector, rates, ("other",))
    times["instructions"] = counts["instructions"] / rates["issue"] if "issue" in rates else math.nan
    bound = max(times, key=lambda part: -1.0 if math.isnan(times[part]) else times[part])
    missing = any(math.isnan(value) for value in times.values())
    return (math.nan, "") if missing else (times[bound], bound)


def _time(counts: Mapping[str, float], rates: Mapping[str, float], units: tuple[str, ...]) -> float:
    used = [slot(unit, width) for unit in units for width in WIDTHS if counts.get(slot(unit, width), 0.0) != 0.0]
    return sum(counts[name] / rates.get(name, math.nan) for name in used)


def stages(store: Store, experiment: str = "stages") -> Table:
    """One row a stage of every cell, the remainder and the whole.

    Columns: the cell's `model`, `n_latents`, `n_observed`, `dtype`, `n_samples`; `stage`, `n_repeats`, `ns` (least),
    `ns_median`, `floor_ns` and `bound` (nan and "" where not known), `ratio` = ns / floor, and of the counts a sample
    `instructions`, `vector` (operations), `flops`, `bytes` (loaded and stored), with `intensity` = flops / bytes and
    `gflops` = flops / ns. Times are nanoseconds a sample. Counts are nan for the remainder.
    """
    found = limits(store)
    rates = {name.removeprefix("rate_"): value for name, value in found.items() if name.startswith("rate_")}
    table = []
    for cell in sorted(summary.runs(store, experiment), key=_place):
        values = store.values(cell["key"])
        if cell["kind"] != "stages" or not {f"ns/{name}" for name in (*STAGES, WHOLE)} <= set(values):
            continue
        own = {name: cell[name] for name in _CELL}
        least = {name: float(np.min(values[f"ns/{name}"])) for name in (*STAGES, WHOLE)}
        middle = {name: float(np.median(values[f"ns/{name}"])) for name in least}
        rows = [_row(name, least[name], middle[name], values, rates) for name in STAGES]
        for times in (least, middle):
            times[REMAINDER] = times[WHOLE] - sum(times[name] for name in STAGES)
        rows += [_row(name, least[name], middle[name], {}, rates) for name in (REMAINDER, WHOLE)]
        rows[-1] |= _totals(rows[: len(STAGES)], least[WHOLE])
        repeats = int(values[f"ns/{WHOLE}"].size)
        table += [own | {"stage": row["stage"], "n_repeats": repeats} | row for row in rows]
    return table


def _place(cell: Mapping[str, Any]) -> tuple[int, str, bool]:
    """Small models first, float64 before float32: the same order from any store."""
    return cell["n_latents"] or 0, cell["model"], cell["dtype"] != "float64"


def _row(name: str, least: float, middle: float, values: Mapping[str, np.ndarray], rates: Mapping[str, float]) -> Row:
    vector = values.get(f"count/{name}", np.full(len(CLASSES), math.nan))
    counts = dict(zip(CLASSES, vector.tolist(), strict=True))
    low, bound = floor(counts, rates)
    moved = counts["load_bytes"] + counts["store_bytes"]
    return {
        "stage": name,
        "ns": least,
        "ns_median": middle,
        "floor_ns": low,
        "bound": bound,
        "ratio": least / low if low > 0 else math.nan,
        "instructions": counts["instructions"],
        "vector": sum(counts[slot(unit, width)] for unit in _VECTOR for width in WIDTHS),
        "flops": counts["flops"],
        "bytes": moved,
        "intensity": counts["flops"] / moved if moved > 0 else math.nan,
        "gflops": counts["flops"] / least,
    }


def _totals(rows: Table, whole: float) -> Row:
    """Of the whole: the stages' floors and counts together."""
    total = {name: sum(row[name] for row in rows) for name in ("floor_ns", "instructions", "vector", "flops", "bytes")}
    ratio = whole / total["floor_ns"] if total["floor_ns"] > 0 else math.nan
    intensity = total["flops"] / total["bytes"] if total["bytes"] > 0 else math.nan
    return total | {"bound": "", "ratio": ratio, "intensity": intensity, "gflops": total["flops"] / whole}
