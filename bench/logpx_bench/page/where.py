"""The page `where-time-goes.md`, and the section of the report that leads to it.

The machine's limits, every stage with its floor and its instructions, the figure, the targets, and what was tried.
Tables and captions are computed from the store; what was tried comes from `tuning`.
"""

from __future__ import annotations

from collections.abc import Mapping

from logpx_bench import floors
from logpx_bench.figures import series as s
from logpx_bench.figures import stages, words
from logpx_bench.page import targets, tuning
from logpx_bench.page.blocks import Block, Grid, Heading, Paragraph
from logpx_bench.page.facts import Facts

NAME = "where-time-goes.md"
#: Limits shown: words, unit, how they were measured.
LIMITS: Mapping[str, tuple[str, str, str]] = {
    "clock": ("clock", "GHz", "a chain of dependent additions and exclusive ors, one cycle each"),
    "fma_float64": ("peak, float64", "GFLOP/s", "fused multiply-adds on eight registers at once, one core"),
    "fma_float32": ("peak, float32", "GFLOP/s", "the same in single precision"),
    "triad_l1": ("bandwidth, L1", "GB/s", "a ← b + s·c, arrays of 24 KB together, one core"),
    "triad_l2": ("bandwidth, L2", "GB/s", "the same, 384 KB"),
    "triad_l3": ("bandwidth, L3", "GB/s", "the same, 6 MB"),
    "triad_memory": ("bandwidth, memory", "GB/s", "the same, 201 MB"),
    "triad_memory_2": ("bandwidth, memory, two threads", "GB/s", "the same, half of each array a thread"),
}
#: Rates shown of each unit, by words.
UNITS: Mapping[str, str] = {
    "multiply": "products and fused multiply-adds",
    "add": "sums",
    "divide64_": "divisions, float64",
    "divide32_": "divisions, float32",
    "root64_": "square roots, float64",
    "root32_": "square roots, float32",
    "product": "integer products",
    "other": "exclusive ors: the cheapest vector operation",
    "load": "loads",
    "store": "stores",
}


def section(facts: Facts, figure: Block) -> list[Block]:
    """What the report says of it, with the figure."""
    text = (
        "Every sample passes through the same few stages: random numbers, a proposal, a log joint, and the tree that "
        "reads every $L_k$ from one stream. What each takes, what it could take at least, and what was tried is on a "
        f"page of its own: [where a sample's time goes]({NAME})."
    )
    return [Heading(2, "Where a sample's time goes"), Paragraph(text), figure, *_grids(facts.tables["stages"])[:1]]


def blocks(facts: Facts, figure: Block) -> list[Block]:
    """The whole page."""
    table = facts.tables["stages"]
    story: list[Block] = [Heading(1, "Where a sample's time goes"), Paragraph(_opening(table))]
    story += [Heading(2, "What the machine can do"), *_limits(stages.limits(table))]
    story += [Heading(2, "Stage by stage"), figure, *_stages(table)]
    story += [Heading(2, "What was to be reached"), *targets.blocks(facts)]
    return [*story, Heading(2, "What was tried"), *_tried()]


def _opening(table: s.Table) -> str:
    text = (
        "A log weight is made in blocks of 1024 samples, by one compiled loop: points, proposal, log joint, log "
        "weights, then the tree. Each stage is timed alone over blocks in cache, and so is the whole loop, on one "
        "core, in interleaved repetitions. The instructions that a stage executes are counted by its own machine code, "
        "and held against the rate at which this machine executes their kind: that gives each stage a floor. "
    )
    rows = [row for row in table if row["kind"] == "stage" and row["stage"] == floors.WHOLE]
    known = [row for row in rows if s.finite(row["ratio"])]
    if not known:
        return text.strip()
    low, high = min(row["ratio"] for row in known), max(row["ratio"] for row in known)
    ends = dict.fromkeys((words.number(low, 2), words.number(high, 2)))
    span = " to ".join(ends)
    return f"{text}The whole loop takes {span} times the sum of the floors of its stages."


def _limits(found: Mapping[str, float]) -> list[Block]:
    if not found:
        return [Paragraph("This store has no experiment named `limits`; `logpx run article` measures it.")]
    rows = tuple(
        (name, how, f"{words.number(found[key])} {unit}") for key, (name, unit, how) in LIMITS.items() if key in found
    )
    caption = (
        "The best of interleaved repetitions. A triad counts 24 bytes an element: what a write reads first is left out."
    )
    grids: list[Block] = [Grid(caption, ("limit", "measured by", "value"), rows, n_left=2)]
    if any(key.startswith("rate_") for key in found):
        grids.append(_rates(found))
    return grids


def _rates(found: Mapping[str, float]) -> Grid:
    widths = [width for width in (128, 256, 512) if f"rate_other{width}" in found]
    rows = [(name, *(words.number(found[f"rate_{unit}{width}"]) for width in widths)) for unit, name in UNITS.items()]
    caption = (
        "Instructions per nanosecond by the width of their registers in bits, each in a loop of nothing else; scalars "
        f"count as the narrowest. Of any kind at most {words.number(found.get('rate_issue'))} per nanosecond."
    )
    return Grid(caption, ("instructions", *map(str, widths)), tuple(rows))


def _grids(table: s.Table) -> list[Block]:
    """A table of stages for each model in each precision."""
    grids: list[Block] = []
    header = ("stage", "bound by", "ns", "median", "floor", "ns / floor", "instructions", "vector", "flops", "bytes")
    for name, own in stages.cases(table):
        for dtype, rows in own.items():
            order = (*floors.STAGES, floors.REMAINDER, floors.WHOLE)
            lines = tuple(_line(rows[stage]) for stage in order)
            whole = rows[floors.WHOLE]
            caption = (
                f"{name}, {dtype}; all but ratios a sample, of {whole['n_samples']:,} in one task. ns: the least of "
                f"{whole['n_repeats']} repetitions, and their median. Vector: vector operations, of any width."
            )
            grids.append(Grid(caption, header, lines, n_left=2))
    return grids


def _stages(table: s.Table) -> list[Block]:
    grids = _grids(table)
    if not grids:
        return []
    notes = (
        "The floor is the time of the part of the core that is busiest, if nothing else kept it waiting: "
        "multiplications, additions, divisions, integer products, all vector operations together, loads, stores, or "
        "the number of instructions. It leaves out the latency of chains of dependent operations, misses of the first "
        "cache, mispredicted branches, kinds of operations that share a port, and called functions. It is the floor of "
        "the code as it is compiled: an algorithm with fewer operations would have another. Bytes are those of "
        "all loads and stores as executed, constants and spilled registers included. The remainder is the whole less "
        "the stages: misses between them, calls, and the set-up of a task; where it is negative, the stages take "
        "longer alone than in the loop."
    )
    return [*grids, Paragraph(notes)]


def _line(row: s.Row) -> tuple[str, ...]:
    name = {**floors.STAGES, floors.REMAINDER: "remainder", floors.WHOLE: "**whole**"}.get(row["stage"], "")
    numbers = [words.number(row[key], 3) if s.finite(row[key]) else "–" for key in ("ns", "ns_median", "floor_ns")]
    counts = ("instructions", "vector", "flops", "bytes")
    ratio = words.number(row["ratio"], 2) if s.finite(row["ratio"]) else "–"
    return (
        name,
        row["bound"] or "–",
        *numbers,
        ratio,
        *(words.number(row[key], 3) if s.finite(row[key]) else "–" for key in counts),
    )


def _tried() -> list[Block]:
    rows = tuple(
        (one.change, one.predicted, one.measured(), "kept" if one.kept else "dropped", one.why) for one in tuning.load()
    )
    if not rows:
        return [Paragraph("Nothing is on record.")]
    return [
        Paragraph(
            "Every change was predicted, measured, and kept or dropped. These numbers were measured while the code was "
            "changed, and are the only ones here that are not read from the store."
        ),
        Grid("", ("change", "predicted", "measured", "", "why"), rows, n_left=5),
    ]
