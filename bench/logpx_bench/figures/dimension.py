"""The curse of dimension: RMSE of log p̂(x) at a fixed k against the number of latents, per estimator.

A point is one model with that many latents, fitted to the same images; where several held-out images were measured it
is the root of the mean of their squared errors, with a bootstrap over replicates of that mean. With weights that vary
by e^KL(posterior‖q), k must grow as exp KL (Chatterjee and Diaconis, 2018, doi:10.1214/17-AAP1326), and KL grows with
each latent that the proposal gets wrong.
"""

from __future__ import annotations

from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from logpx_bench import summary
from logpx_bench.figures import series as s
from logpx_bench.figures import words
from logpx_bench.figures.axes import band, error_axis
from logpx_bench.figures.labels import Label, label_ends
from logpx_bench.figures.style import panels, style
from logpx_bench.plurals import counted
from logpx_bench.store import Store

EXPERIMENT = "dimension"
TITLE = "The curse of dimension"
COLUMNS = (
    *("model", "n_latents", "n_images", "estimator", "estimator_options", "points", "k", "n_replicates", "n_runs"),
    *("n_groups", "rmse", "rmse_low", "rmse_high"),
)


def data(store: Store) -> s.Table:
    """Rows of the largest k that every cell of the experiment reached, for the first model of the experiment."""
    rows = summary.errors_over_rows(store, EXPERIMENT)
    rows = [row for row in rows if row["model"] == rows[0]["model"]]
    cells: dict[tuple[str, ...], set[int]] = {}
    for row in rows:
        cell = tuple(str(row.get(name)) for name in ("n_latents", "estimator", "estimator_options", "points"))
        cells.setdefault(cell, set()).add(int(row["k"]))
    shared = set.intersection(*cells.values()) if cells else set()
    rows = [row for row in rows if shared and row["k"] == max(shared)]
    return s.columns(rows if any(map(_drawn, rows)) else [], COLUMNS)


def _drawn(row: s.Row) -> bool:
    return s.finite(row["rmse"]) and row["rmse"] > s.ROUNDING


def against_latents(table: s.Table) -> list[s.Series]:
    """Series against n_latents, without the rows that no logarithmic axis can show."""
    return s.by_estimator([row for row in table if _drawn(row)], "n_latents")


def draw(table: s.Table) -> Figure:
    """RMSE with its band against the number of latents."""
    every = against_latents(table)
    with style():
        figure, (axes,) = panels(height=3.6)
        for each in every:
            band(axes, s.column(each.rows, "n_latents"), *s.errors(each.rows), each.look)
        error_axis(
            axes, [bound for each in every for row in each.rows for bound in s.rmse(row)], "RMSE of log p̂(x), nats"
        )
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_locator(FixedLocator(sorted({row["n_latents"] for each in every for row in each.rows})))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xlabel("number of latents")
        k = int(table[0]["k"])
        axes.set_title(f"k = {k:,} samples, {s.title(str(table[0]['model']))}")
        label_ends(
            axes, [Label(each.rows[-1]["n_latents"], each.rows[-1]["rmse"], each.name, each.look.ink) for each in every]
        )
    return figure


def caption(table: s.Table) -> str:
    """How much each error changes from the fewest to the most latents, and who is best at the most."""
    every = against_latents(table)
    if not every:
        return "No k is common to all numbers of latents."
    parts = []
    for each in every:
        first, last = each.rows[0], each.rows[-1]
        move = (
            words.against(s.rmse(last), s.rmse(first), of=f"its value at {first['n_latents']}")
            if first is not last
            else "measured there alone"
        )
        parts.append(f"{s.one_line(each)} {words.nats(last['rmse'])} at {counted(last['n_latents'], 'latent')}, {move}")
    best = min(every, key=lambda each: each.rows[-1]["rmse"])
    images = max(row["n_images"] for each in every for row in each.rows)
    pooling = "one held-out image" if images == 1 else f"{images} held-out images pooled"
    return (
        f"RMSE at $k$ = {words.power(table[0]['k'])} ({pooling}): {'; '.join(parts)}. With the most latents "
        f"{s.one_line(best)} sampling has the smallest error. Each number of latents is a model of its own, fitted to "
        f"the same images. {_left_out(table)}"
        f"{s.replicates(table)}"
    )


def _left_out(table: s.Table) -> str:
    """Which points have no error at all or an infinite one, for a logarithmic axis cannot show them."""
    reasons = {
        "the proposal is the exact posterior and the error is zero to rounding": [
            row for row in table if row["rmse"] <= s.ROUNDING
        ],
        "some estimate is of weights that are all zero": [row for row in table if not s.finite(row["rmse"])],
    }
    texts = []
    for reason, rows in reasons.items():
        places = dict.fromkeys((s.title(row["estimator"]), int(row["n_latents"])) for row in rows)
        found = [f"{name} at {counted(n, 'latent')}" for name, n in places]
        texts += [f"Not drawn: {words.listed(found)}, where {reason}. "] if found else []
    return "".join(texts)
