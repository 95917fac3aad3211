"""The table of targets on the page `where-time-goes.md`: what was to be reached, what was, and where not, why not."""

from __future__ import annotations

from logpx_bench import floors
from logpx_bench.figures import peers as race
from logpx_bench.figures import series as s
from logpx_bench.figures import words
from logpx_bench.page.blocks import Block, Grid, Paragraph
from logpx_bench.page.facts import Facts
from logpx_bench.plurals import counted

ROLES = {"best": "best variant", "library": "library functions only", "as written": "as first written", "": ""}


def blocks(facts: Facts) -> list[Block]:
    """The table, with what its words mean."""
    rows = facts.targets
    counted = [sum(row["reached"] == word for row in rows) for word in ("yes", "no", "undecided", "not measured")]
    if counted[3] == len(rows):
        return [Paragraph("Nothing of it is in this store; `logpx run peers` measures it.")]
    notes = (
        f"Reached: {counted[0]} of {len(rows)}; missed: {counted[1]}; undecided: {counted[2]}; not measured: "
        f"{counted[3]}. A ratio is the median over rounds with its 95% interval, against the fastest of the libraries "
        "that are named; seconds are medians over new processes, with the least and the most. A target is reached, or "
        "missed, where its whole interval is. What a best variant may hold that library functions do not: see "
        "[the race](README.md). The floor is the least time that the instructions of our stages can take at the rates "
        "measured on this machine, shared among the threads; what it leaves out is said above."
    )
    notes += _precision(facts)
    header = ("target", "against", "to reach", "measured", "interval", "reached", "why not")
    return [Paragraph(notes), Grid("", header, tuple(_line(row) for row in rows), n_left=len(header))]


def _precision(facts: Facts) -> str:
    """How far either precision was from the exact answer, a sentence."""
    parts = [
        f"{dtype} {words.number(worst, 2)} standard errors in {counted(count, 'run')}"
        for dtype, (worst, count) in sorted(facts.precision.items(), reverse=True)
    ]
    what = "Largest error of our chain against the exact answer, each run with its own seed"
    return f" {what}: {words.listed(parts)}." if parts else ""


def _line(row: s.Row) -> tuple[str, ...]:
    unit = " s" if row["unit"] == "seconds" else ""
    wanted = f"≥ {words.short(row['at_least'])}" if row["at_least"] is not None else f"≤ {words.short(row['at_most'])}"
    known = s.finite(row["measured"])
    return (
        row["what"],
        _against(row),
        f"{wanted}{unit}",
        f"{words.number(row['measured'])}{unit}" if known else "–",
        f"{words.number(row['low'])} to {words.number(row['high'])}" if known else "–",
        row["reached"],
        why(row),
    )


def _against(row: s.Row) -> str:
    if not row["role"]:
        return "–"
    named = [row["peer"]] if row["peer"] else row["peers"]
    among = f" (fastest of {len(row['peers'])})" if row["peer"] and len(row["peers"]) > 1 else ""
    return f"{words.listed([race.name(peer) for peer in named])}, {ROLES[row['role']]}{among}"


def why(row: s.Row) -> str:
    """What stands between ours and a target that is not surely reached, by the floors or in the target's own words;
    nothing where it is."""
    if row["reached"] not in ("no", "undecided"):
        return ""
    if not s.finite(row["needed_ns"]):
        return str(row["why"])
    needed, ours = words.number(row["needed_ns"], 2), words.number(row["ns"], 2)
    if not s.finite(row["floor_ns"]):
        return f"it asks for {needed} ns, and we take {ours}; its floor is not known"
    floor = words.number(row["floor_ns"], 2)
    if row["floor_ns"] > row["needed_ns"]:
        return f"the floor of our instructions alone is {floor} ns; it asks for {needed}, and we take {ours}"
    if not row["stage"]:
        return f"it asks for {needed} ns, and we take {ours} with a floor of {floor}"
    return (
        f"it asks for {needed} ns, and we take {ours} with a floor of {floor}: most above its own is "
        f"{floors.STAGES[row['stage']]}, by {words.number(row['above_ns'], 2)} ns on one core"
    )
