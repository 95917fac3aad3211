"""The race: how many times longer other libraries take than logpx, for each task, on a logarithmic axis.

A task is a line of each panel, a library a mark on it, at the median over rounds of its time over ours in the same
round; a bar spans the quartiles of these ratios. Filled marks are each library's best variant, found by a search over
layouts, generators, normals, chunk sizes and compilation; half-filled ones the best of its own functions alone, without
parts written by hand; hollow ones the way its user would first write it. What is two of these is marked as the first.
Left of the line at 1 a library is faster than logpx.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from logpx_bench import races
from logpx_bench.figures import series as s
from logpx_bench.figures import words
from logpx_bench.figures.style import BLACK, BLUE, GREEN, GREY, LOOKS, ORANGE, PURPLE, RED, SKY, WIDTH, style
from logpx_bench.plurals import counted
from logpx_bench.store import Store

EXPERIMENT = "peers"
TITLE = "Beside other libraries"
COLUMNS = (
    *("case", "dtype", "threads", "peer", "versions", "role", "variant", "ns", "ns_ours", "ratio", "ratio_lower"),
    *("ratio_upper", "ratio_low", "ratio_high", "n_rounds", "n_tried", "n_variants", "compile_seconds", "note"),
)
BEST, LIBRARY, WRITTEN = "best", "library", "as written"
LOOKS_OF_PEERS: Mapping[str, tuple[str, str]] = {  # colour and marker
    "numpy": (BLUE, "o"),
    "scipy": (SKY, "s"),
    "numba": (GREEN, "^"),
    "numba-stats": (GREY, "v"),
    "jax": (RED, "D"),
    "torch": (ORANGE, "P"),
    "numpyro": (PURPLE, "X"),
    "c-avx2": (BLACK, "*"),
}
NAMES: Mapping[str, str] = {
    "numpy": "NumPy",
    "scipy": "SciPy",
    "numba": "Numba",
    "jax": "JAX",
    "torch": "PyTorch",
    "numpyro": "NumPyro",
    "c-avx2": "C, AVX2",
}
KINDS: Mapping[str, str] = {  # by how the names of their cases begin
    "uniforms": "random numbers",
    "normals": "random numbers",
    "exp": "functions",
    "logsumexp": "functions",
    "log_joint": "log joint alone",
    "chain": "whole chain",
}
CASES: Mapping[str, str] = {
    "uniforms": "uniforms",
    "normals": "normals",
    "exp": "exp",
    "logsumexp_cache": "log-sum-exp, $2^{14}$",
    "logsumexp_memory": "log-sum-exp, $2^{26}$",
    "log_joint_ppca": "PPCA, 2 → 8",
    "log_joint_fa": "factors, 16 → 64",
    "log_joint_mixture": "mixture, 64-D",
    "chain_ppca_2_8": "PPCA, 2 → 8",
    "chain_ppca_16_64": "PPCA, 16 → 64",
    "chain_mixture_64": "mixture, 64-D",
    "chain_vae_2": "VAE, 2 → 64",
    "chain_vae_10": "VAE, 10 → 64",
}


def data(store: Store) -> s.Table:
    """One row a case, precision, number of threads, library and role, if any was timed; those that were not say why."""
    rows = sorted(races.peers(store), key=_place)
    return s.columns(rows, COLUMNS) if timed(rows) else []


def _place(row: s.Row) -> tuple[int, ...]:
    """Where a row stands: kinds and cases in the order above, most threads first, logpx before the others."""
    kinds, cases, peers = list(dict.fromkeys(KINDS.values())), list(CASES), [races.OURS, *LOOKS_OF_PEERS]
    return (
        kinds.index(KINDS.get(_start(row), kinds[0])),
        -int(row["threads"]),
        cases.index(row["case"]) if row["case"] in cases else len(cases),
        -int(str(row["dtype"]).removeprefix("float")),
        peers.index(row["peer"]) if row["peer"] in peers else len(peers),
        races.ROLES.index(row["role"]),
    )


def _start(row: s.Row) -> str:
    return next((start for start in KINDS if row["case"].startswith(start)), row["case"])


def name(peer: str) -> str:
    """A library as it is called."""
    return NAMES.get(peer, peer)


def kind(row: s.Row) -> str:
    """What kind of case a row is of, in words, with its number of threads."""
    return f"{KINDS.get(_start(row), row['case'])}, {counted(int(row['threads']), 'thread')}"


def case(row: s.Row) -> str:
    """The case of a row in words."""
    return CASES.get(row["case"], row["case"])


def timed(table: s.Table) -> s.Table:
    """Rows of others that have a ratio."""
    return [row for row in table if s.finite(row["ratio"]) and row["peer"] != races.OURS]


def groups(table: s.Table) -> dict[str, dict[str, str]]:
    """Cases, with their words, under the title of their panel, in the order of the table."""
    found: dict[str, dict[str, str]] = {}
    for row in table:
        found.setdefault(kind(row), {})[row["case"]] = case(row)
    return found


def draw(table: s.Table) -> Figure:
    """A column of panels a precision, a row of them a kind of case."""
    rows = timed(table)
    kinds, dtypes = groups(rows), sorted({row["dtype"] for row in rows}, reverse=True)
    peers = [peer for peer in LOOKS_OF_PEERS if any(row["peer"] == peer for row in rows)]
    n_cases, limits = sum(map(len, kinds.values())), _limits(rows)
    with style():
        height = 1.5 + 0.42 * len(kinds) + 0.46 * n_cases
        figure = Figure(figsize=(WIDTH, height))
        grid = figure.add_gridspec(
            len(kinds),
            len(dtypes),
            height_ratios=[len(cases) for cases in kinds.values()],
            left=0.185,
            right=0.985,
            bottom=0.5 / height,
            top=1 - 0.9 / height,
            hspace=0.42 * len(kinds) / (0.46 * n_cases),
            wspace=0.06,
        )
        for i, (title, cases) in enumerate(kinds.items()):
            for j, dtype in enumerate(dtypes):
                own = [row for row in rows if row["dtype"] == dtype and kind(row) == title]
                if not own:  # such cases are in the other precision alone
                    continue
                axes = figure.add_subplot(grid[i, j])
                _panel(axes, own, list(cases), peers)
                _axis(axes, limits, last=i == len(kinds) - 1)
                axes.set_yticks(range(len(cases)), list(cases.values()) if j == 0 else [""] * len(cases))
                axes.set_title(f"{title}, {dtype}" if j == 0 else dtype)
        _key(figure, peers, 1 - 0.18 / height)
    return figure


def _limits(rows: s.Table) -> tuple[float, float]:
    known = [row[end] for row in rows for end in ("ratio_lower", "ratio_upper", "ratio") if s.finite(row[end])]
    return min([0.8, *(0.8 * value for value in known)]), max([2.0, *(1.3 * value for value in known)])


def _axis(axes: Axes, limits: tuple[float, float], last: bool) -> None:
    axes.set_xscale("log")
    axes.set_xlim(*limits)
    steps = (1, 2, 5) if limits[1] / limits[0] < 60 else (1,)
    ticks = [step * 10.0**power for power in range(-3, 7) for step in steps]
    axes.xaxis.set_major_locator(FixedLocator([tick for tick in ticks if limits[0] <= tick <= limits[1]]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.tick_params(labelbottom=last)
    if last:
        axes.set_xlabel("time over that of logpx")
    look = LOOKS["theory"]
    axes.axvline(1.0, color=look.color, linewidth=1.1, zorder=1)


def _panel(axes: Axes, rows: s.Table, cases: list[str], peers: list[str]) -> None:
    """A line a case; within it each library a little below the one before."""
    axes.set_ylim(len(cases) - 0.5, -0.5)
    axes.grid(axis="y", visible=False)
    for place in range(1, len(cases)):
        axes.axhline(place - 0.5, color="#e6e6e6", linewidth=0.7)
    lane = 1 / (len(peers) + 1.5)
    drawn: set[tuple[str, str, str]] = set()  # a variant in two roles is one mark, that of the first
    for row in rows:
        if (one := (row["case"], row["peer"], row["variant"])) in drawn:
            continue
        drawn.add(one)
        y = cases.index(row["case"]) + lane * (peers.index(row["peer"]) - (len(peers) - 1) / 2)
        color, marker = LOOKS_OF_PEERS[row["peer"]]
        look: dict[str, Any] = {
            "markerfacecolor": "white" if row["role"] == WRITTEN else color,
            "markerfacecoloralt": "white",
        }
        fill = "left" if row["role"] == LIBRARY else "full"
        axes.plot([row["ratio_lower"], row["ratio_upper"]], [y, y], color=color, linewidth=1.0, solid_capstyle="butt")
        axes.plot(row["ratio"], y, marker=marker, markersize=5, color=color, fillstyle=fill, linestyle="none", **look)


def _key(figure: Figure, peers: list[str], y: float) -> None:
    """The library of each mark, above the panels."""
    room = [len(name(peer)) + 3.5 for peer in peers]  # of each entry, in letters
    x = 0.01
    for peer, letters in zip(peers, room, strict=True):
        color, marker = LOOKS_OF_PEERS[peer]
        axes = figure.add_axes((x, y - 0.008, 0.02, 0.016))
        axes.set_axis_off()
        axes.plot(0.5, 0.5, marker=marker, markersize=5, color=color, clip_on=False)
        figure.text(x + 0.025, y, name(peer), fontsize=9, va="center", color="#333333")
        x += letters * min(0.98 / sum(room), 0.016)
    figure.text(
        *(0.985, y - 0.2 / figure.get_figheight()),
        "filled: best variant; half: best of library functions alone; hollow: as first written; bar: quartiles",
        fontsize=9,
        va="center",
        ha="right",
        color="#333333",
    )


def caption(table: s.Table) -> str:
    """The fastest other library in each whole chain, with and without parts by hand, who is ahead, who is absent."""
    rows = timed(table)
    if not rows:
        return f"No other library was timed. {absent(table)}"
    chains: dict[str, s.Table] = {}
    for row in rows:
        if row["case"].startswith("chain"):
            chains.setdefault(f"{case(row)}, {row['dtype']}, {counted(int(row['threads']), 'thread')}", []).append(row)
    parts = [f"{where}: {_fastest(own)}" for where, own in chains.items()]
    text = (
        "The fastest other library in a whole chain, as a multiple of our time (in brackets the fastest by its own "
        f"functions alone, without parts written by hand): {'; '.join(parts)}. "
    )
    return (
        f"{text if parts else ''}{_ahead(rows)}{absent(table)}{_rounds(rows)}; bars: quartiles. A time counts only "
        "where the answer was right."
    )


def _fastest(rows: s.Table) -> str:
    found = []
    for role in (BEST, LIBRARY):
        own = [row for row in rows if row["role"] == role]
        best = min(own, key=lambda row: float(row["ratio"]), default=None)
        found.append(f"{name(best['peer'])} {words.number(best['ratio'], 2)}" if best else "none")
    return f"{found[0]} ({found[1]})"


def _ahead(rows: s.Table) -> str:
    """Who is faster than logpx, by intervals that stay clear of 1."""
    found: dict[str, list[str]] = {}
    for row in rows:
        if row["role"] == BEST and row["ratio_high"] < 1:
            where = f"{case(row)} ({kind(row)}, {row['dtype']}; {words.number(row['ratio'], 2)})"
            found.setdefault(name(row["peer"]), []).append(where)
    parts = [f"{peer} in {words.listed(places)}" for peer, places in found.items()]
    return f"Faster than logpx: {'; '.join(parts)}. " if parts else "None is faster than logpx in any case. "


def absent(table: s.Table) -> str:
    """Libraries without a time in any case, with the reasons."""
    there = {row["peer"] for row in table if s.finite(row["ratio"])}
    reasons: dict[str, str] = {}
    for row in table:
        if row["peer"] not in there and row["note"]:
            reasons.setdefault(row["peer"], row["note"])
    parts = [f"{name(peer)} ({note})" for peer, note in reasons.items()]
    return f"Absent: {'; '.join(parts)}. " if parts else ""


def _rounds(rows: s.Table) -> str:
    counts = sorted({int(row["n_rounds"]) for row in rows})
    span = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return f"Medians over {span} rounds of turns, each time over ours of the same round"
