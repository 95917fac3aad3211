"""What an error in log p̂ means for a decision: how often two models are ranked wrongly, against k.

Two models whose exact log p(x) are close are compared by their estimates; the share of replicates that prefer the
worse one is drawn with its interval (Wilson, 1927). Half is a coin's answer. Left, each model has random numbers of
its own; right, both see the same ones, so that noise they share cancels. Where the Jensen gaps of the two models
differ, a small k is not only noisy but leans to one side, and the share can exceed a half.
"""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from logpx_bench import summary
from logpx_bench.figures import series as s
from logpx_bench.figures import words
from logpx_bench.figures.axes import k_axis
from logpx_bench.figures.labels import Label, label_ends
from logpx_bench.figures.style import LOOKS, panels, style
from logpx_bench.figures.words import Measured
from logpx_bench.store import Store

EXPERIMENT = "ranking"
TITLE = "Ranking two models"
RARE = 0.05  # share of wrong rankings that the caption looks for
VARIANTS = {"independent": "streams of their own", "common": "common streams"}
COLUMNS = (
    *("model", "n_latents", "other", "row", "estimator", "estimator_options", "points", "variant", "gap", "k"),
    *("n_replicates", "n_runs", "n_wrong", "wrong", "wrong_low", "wrong_high", "mean_difference", "sd_difference"),
)


def data(store: Store) -> s.Table:
    """One row an estimator, kind of streams and k: the share of replicates that rank the two models wrongly."""
    return s.columns(s.lead_case(summary.ranking(store, EXPERIMENT)), COLUMNS)


def of_variant(table: s.Table, variant: str) -> list[s.Series]:
    """Series of each estimator under one kind of streams."""
    return s.by_estimator([row for row in table if row["variant"] == variant], "k")


def measured(row: s.Row) -> Measured:
    """The share of wrong rankings of a row with its interval."""
    return Measured(row["wrong"], row["wrong_low"], row["wrong_high"])


def draw(table: s.Table) -> Figure:
    """Share of wrong rankings with bars against k, a panel for each kind of streams that was run."""
    present = [name for name in VARIANTS if of_variant(table, name)]
    with style():
        figure, every = panels(1, len(present), height=3.7, right=0.835, left=0.105, wspace=0.78)
        top = max(0.58, min(1.06 * max(s.column(table, "wrong_high")), 1.02))
        for axes, variant in zip(every, present, strict=True):
            k_axis(axes, s.column(table, "k"), ticks=6)
            axes.set_ylim(-0.02, top)
            axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
            axes.set_title(VARIANTS[variant])
            _panel(axes, of_variant(table, variant))
        every[0].set_ylabel("replicates that prefer the worse model")
    return figure


def _panel(axes: Axes, series: list[s.Series]) -> None:
    labels = []
    for position, each in enumerate(series):
        shift = 2.0 ** (0.16 * (position - (len(series) - 1) / 2))
        points = [measured(row) for row in each.rows]
        bars = [[p.value - min(p.low, p.value) for p in points], [max(p.high, p.value) - p.value for p in points]]
        axes.errorbar(
            [row["k"] * shift for row in each.rows],
            [p.value for p in points],
            yerr=bars,
            color=each.look.color,
            linestyle=each.look.line,
            marker=each.look.marker,
            markersize=4,
            elinewidth=0.9,
            linewidth=1.6,
        )
        labels.append(Label(each.rows[-1]["k"] * shift, each.rows[-1]["wrong"], each.name, each.look.ink))
    look = LOOKS["theory"]
    axes.axhline(0.5, color=look.color, linestyle=look.line, linewidth=1.0)
    label_ends(axes, [*labels, Label(axes.get_xlim()[1], 0.5, "a coin", look.ink)])


def caption(table: s.Table) -> str:
    """Wrong at the smallest and largest k per estimator; where common streams help, and where not."""
    if not table:
        return "No pair of models was ranked."
    text = f"Exact log p of the two models differs by {words.nats(table[0]['gap'])}{_who(table[0])}. "
    ends = [_words_of(each) for each in of_variant(table, "independent")]
    text += words.sentence("; ".join(ends)) + ". " if ends else ""
    return f"{text}{_streams(table)}Bars: 95% binomial intervals. {s.replicates(table)}"


def _words_of(each: s.Series) -> str:
    low, high = each.rows[0], each.rows[-1]
    need = next((row["k"] for row in each.rows if row["wrong"] <= RARE), None)
    rare = f"{100 * RARE:g}%"
    reach = f"at most {rare} from $k$ = {words.power(need)}" if need else f"never as rarely as {rare}"
    return (
        f"{s.one_line(each)} is wrong in {words.percent(low['wrong'])} of the replicates at $k$ = "
        f"{words.power(low['k'])} and in {words.percent(high['wrong'])} at {words.power(high['k'])}, {reach}"
    )


def _who(row: s.Row) -> str:
    name, _, rest = str(row["other"] or "").partition(" ")
    return f", {s.case_name(row)}, against {s.title(name)} {rest}".rstrip() if name else ""


def _streams(table: s.Table) -> str:
    shared = {each.name: each for each in of_variant(table, "common")}
    parts = []
    for own in of_variant(table, "independent"):
        pairs = {row["k"]: row for row in shared[own.name].rows} if own.name in shared else {}
        both = [(measured(row), measured(pairs[row["k"]])) for row in own.rows if row["k"] in pairs]
        better = sum(common.high < alone.low for alone, common in both)
        worse = sum(common.low > alone.high for alone, common in both)
        if better or worse:
            counts = [f"less often at {better}"] * (better > 0) + [f"more often at {worse}"] * (worse > 0)
            parts.append(f"{s.one_line(own)} errs {' and '.join(counts)} of {len(both)} values of $k$")
        elif both:
            parts.append(f"for {s.one_line(own)} no difference can be told")
    return f"With common streams instead, {'; '.join(parts)}. " if parts else ""
