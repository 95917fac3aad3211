"""A variational autoencoder of two latents, image by image: ELBO and IWAE bounds beside the exact log p(x).

The exact answer is a certified quadrature. Above, every held-out image in order of its exact log p(x), with its bounds;
below, how far each bound lies under it. A gap that its standard error does not tell from zero is drawn hollow, at the
most that it can be. Bounds are taken with the encoder's q(z|x) as it was trained, neither widened nor refined. Sources:
D. Kingma and M. Welling (2014), arXiv:1312.6114; Y. Burda et al. (2016), arXiv:1509.00519.
"""

from __future__ import annotations

import itertools
import statistics

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from scipy.stats import binom
from scipy.stats import t as student

from logpx_bench import catalogue
from logpx_bench.figures import series as s
from logpx_bench.figures import words
from logpx_bench.figures.style import BLUE, GREEN, LOOKS, RED, Look, Style, panels, style
from logpx_bench.plurals import counted
from logpx_bench.store import Store

EXPERIMENT = "vae"
TITLE = "A VAE against its exact likelihood"
SIGMAS = 1.96  # standard errors on either side of a 95 % interval
FALSE_ALARM = 1e-6  # of any bound of a model being said to lie above exact, were they all to equal it
BOUND_LOOKS = (Look(RED, "#A84A00", "", "s"), Look(BLUE, "#005A8C", "", "^"), Look(GREEN, "#00694C", "", "o"))
GLYPHS = {"s": "■", "^": "▲", "o": "●"}
COLUMNS = (
    *("model", "likelihood", "n_latents", "estimator", "index", "rank", "exact", "exact_error"),
    *("k", "bound", "std_error", "gap", "n_samples"),
)


def data(store: Store) -> s.Table:
    """One row an image and bound, model by model."""
    return s.columns(catalogue.bounds(store, EXPERIMENT), COLUMNS)


def cases(table: s.Table) -> list[tuple[str, s.Table]]:
    """(likelihood, or the model where it has none; its rows), in the order of these names."""
    groups: dict[str, s.Table] = {}
    for row in table:
        groups.setdefault(row["likelihood"] or row["model"], []).append(row)
    return sorted(groups.items())


def name(k: int) -> str:
    """What the bound of k samples is called."""
    return "ELBO" if k == 1 else f"IWAE {k}"


def of_k(rows: s.Table) -> list[tuple[int, Look, s.Table]]:
    """(k, look, rows in order of exact log p(x)) of each bound."""
    ks = sorted(set(s.column(rows, "k")))
    ordered = sorted(rows, key=lambda row: int(row["rank"]))
    return [(k, look, [row for row in ordered if row["k"] == k]) for k, look in zip(ks, BOUND_LOOKS, strict=True)]


def draw(table: s.Table) -> Figure:
    """A column a likelihood: log p(x) and bounds above, gaps below."""
    every = cases(table)
    with style():
        figure, axes = panels(2, len(every), height=5.6, left=0.11, right=0.855, wspace=0.22, hspace=0.16)
        gaps = [shown(row) for row in table if shown(row) > 0]
        for column, (likelihood, rows) in enumerate(every):
            above, below = axes[column], axes[column + len(every)]
            _values(above, rows)
            _gaps(below, rows, (min(gaps) / 1.5, max(gaps) * 1.8))
            above.set_title(_title(likelihood, rows))
            above.tick_params(labelbottom=False)
            below.tick_params(labelleft=column == 0)
            below.set_xlabel("held-out images, by log p(x)")
        axes[0].set_ylabel("log p(x), nats")
        axes[len(every)].set_ylabel("log p(x) − bound, nats")
        _names(axes[len(every) - 1], of_k(every[-1][1]))
        beside: Style = {"xycoords": "axes fraction", "va": "top", "color": "#444444", "fontsize": 8.5}
        axes[-1].annotate("hollow:\nat most\nso much", (1.03, 0.98), **beside)
    return figure


def _values(axes: Axes, rows: s.Table) -> None:
    for _, look, own in of_k(rows):
        axes.plot(s.column(own, "rank"), s.column(own, "bound"), **_mark(look))
    first = of_k(rows)[0][2]
    axes.plot(s.column(first, "rank"), s.column(first, "exact"), color=LOOKS["exact"].color, linewidth=1.3)


def _names(axes: Axes, bounds: list[tuple[int, Look, s.Table]]) -> None:
    """What is what, beside the panel: the best at the top, as in it."""
    names = [("— exact", LOOKS["exact"].ink)]
    names += [(f"{GLYPHS[look.marker]} {name(k)}", look.ink) for k, look, _ in reversed(bounds)]
    for position, (text, ink) in enumerate(names):
        axes.annotate(text, (1.03, 0.98 - 0.09 * position), xycoords="axes fraction", va="top", color=ink)


def _mark(look: Look) -> Style:
    return {"linestyle": "", "marker": look.marker, "markersize": 3.4, "color": look.color, "markeredgewidth": 0.9}


def resolved(row: s.Row) -> bool:
    """Whether a gap is told from zero by its 95% interval."""
    return float(row["gap"]) > SIGMAS * float(row["std_error"])


def shown(row: s.Row) -> float:
    """A gap, or the most that it can be where it is not told from zero."""
    return float(row["gap"]) + (0.0 if resolved(row) else SIGMAS * float(row["std_error"]))


def _gaps(axes: Axes, rows: s.Table, limits: tuple[float, float]) -> None:
    for _, look, own in of_k(rows):
        sure, rest = [row for row in own if resolved(row)], [row for row in own if not resolved(row)]
        axes.plot(s.column(sure, "rank"), s.column(sure, "gap"), **_mark(look))
        axes.plot(s.column(rest, "rank"), list(map(shown, rest)), **_mark(look) | {"markerfacecolor": "white"})
    axes.set_yscale("log")
    axes.set_ylim(*limits)
    axes.yaxis.set_major_locator(LogLocator(base=10, numticks=8))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def caption(table: s.Table) -> str:
    """The mean gap of every bound, for how many images they are in order, and how exact exact is."""
    text = " ".join(_words_of(likelihood, rows) for likelihood, rows in cases(table))
    return f"{text} {_certified(table)}Every bound from {words.power(table[0]['n_samples'])} samples an image."


def _title(likelihood: str, rows: s.Table) -> str:
    return f"{words.sentence(likelihood)} likelihood" if rows[0]["likelihood"] else s.title(likelihood)


def _words_of(likelihood: str, rows: s.Table) -> str:
    bounds = of_k(rows)
    gaps = [_median_gap(k, s.column(own, "gap")) for k, _, own in bounds]
    latents, images = counted(rows[0]["n_latents"], "latent"), counted(len(bounds[0][2]), "held-out image")
    case = f"{_title(likelihood, rows)}, {latents}, {images}"
    said = f"the bounds lie, in the median, {words.listed(gaps)} below the exact $\\log p(x)$"
    return f"{case}: {said}. {_in_order(bounds)}"


def _median_gap(k: int, gaps: list[float]) -> str:
    """The median gap in words, and whether it is told from zero: by the sign test, at the level of a 95% interval."""
    chance = binom.sf(sum(gap > 0 for gap in gaps) - 1, len(gaps), 0.5)
    doubt = "" if chance < 0.025 else "; not told from zero"
    return f"{words.nats(statistics.median(gaps))} ({name(k)}; at most {words.number(max(gaps))}{doubt})"


def _in_order(bounds: list[tuple[int, Look, s.Table]]) -> str:
    """For how many images the bounds rise with k, as those of one stream must, and how many lie above exact."""
    images = list(zip(*(own for _, _, own in bounds), strict=True))
    rising = sum(all(low["bound"] < high["bound"] for low, high in itertools.pairwise(one)) for one in images)
    over = sum(any(_over(row, sum(map(len, images))) for row in one) for one in images)
    text = f"They rise with $k$ for {rising} of {len(images)}, as bounds read from one stream must"
    return f"{text}; none lies above exact." if not over else f"{text}; for {over} one lies above exact."


def _over(row: s.Row, n_bounds: int) -> bool:
    """Whether a bound, one of so many, lies above the exact answer by more than both errors allow.

    Its standard error comes from n_samples/k groups: Student's t, by Bonferroni one for each bound.
    """
    slack = row["exact_error"] if s.finite(row["exact_error"]) else 0.0
    sure = student.isf(FALSE_ALARM / n_bounds, row["n_samples"] / row["k"] - 1)
    return float(row["gap"]) < -float(sure) * float(row["std_error"]) - slack


def _certified(table: s.Table) -> str:
    known = [float(row["exact_error"]) for row in table if s.finite(row["exact_error"])]
    return f"Exact is a quadrature with a certified error of at most {words.nats(max(known), 1)}. " if known else ""
