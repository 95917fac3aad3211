"""Held-out digits, what every model makes of them and dreams up, and log p(x) under each.

Reconstructions are E[x given z] at the posterior mean of z, as the model or its encoder has it (at the projection, for
PCA); samples are drawn from the model. PCA and the deterministic autoencoder have no p(x), so no samples and no
log p(x): their panels say so. Probabilistic PCA: Tipping and Bishop (1999, doi:10.1111/1467-9868.00196); variational
autoencoders: Kingma and Welling (2014, arXiv:1312.6114). log p(x) is exact or an estimate, and every row says which.
That of binary pixels is the log of a probability and has a panel of its own: it does not compare with a density.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec
from matplotlib.ticker import FixedFormatter, FixedLocator

from logpx_bench import summary
from logpx_bench.figures import series as s
from logpx_bench.figures import words
from logpx_bench.figures.extracts import ESTIMATE, image_scores
from logpx_bench.figures.style import WIDTH, Look, Style, look, style
from logpx_bench.plurals import counted
from logpx_bench.store import Store

EXPERIMENT = "digits"
TITLE = "Digits and their log p"
#: Models in the order of their strips; those without p(x), and those of binary pixels.
MODELS = ("pca", "autoencoder", "ppca", "factor_analysis", "ppca_mixture", "vae_gaussian", "vae_bernoulli")
FREE, BINARY = ("pca", "autoencoder"), ("vae_bernoulli",)
#: Those that are fitted with a floor under their noise variances.
FLOORED = ("factor_analysis", "ppca_mixture", "vae_gaussian")
SHOWN = 8  # images in a strip
SIDE = 8  # pixels on a side
COLUMNS = (
    *("panel", "model", "n_latents", "index", "log_p", "log_p_is", "std_error", "n_samples"),
    *("n_unsure", "n_at_floor", "n_observed", "pixels"),
)
#: Inches: a strip with the space below it; the scores; what lies above, between and below.
STRIP, SCORES, TOP, BETWEEN, BOTTOM = 0.5, 2.05, 0.36, 0.78, 0.48
LEFT, RIGHT = 0.135, 0.985


def data(store: Store) -> s.Table:
    """Rows of panel data, reconstruction and sample (64 pixels as JSON) and of panel log_p (nats), of every model."""
    images = [row for row in summary.gallery(store, EXPERIMENT) if row["index"] < SHOWN]
    images = [row | {"pixels": [round(value, 4) for value in row["pixels"]]} for row in images]
    scores = [row | {"panel": "log_p"} for row in image_scores(store, EXPERIMENT)]
    return s.columns(images + scores, COLUMNS)


def shown_latents(table: s.Table) -> int:
    """Number of latents whose images are shown: the largest that most of the models have."""
    models: dict[int, set[str]] = {}
    for row in table:
        if row["panel"] in ("reconstruction", "sample"):
            models.setdefault(int(row["n_latents"]), set()).add(row["model"])
    return max(models, key=lambda n: (len(models[n]), n)) if models else 0


def strip(table: s.Table, panel: str, model: str, n_latents: int) -> np.ndarray | None:
    """Up to `SHOWN` images side by side with a white column between, shape (8, 9·n − 1); None where there are none."""
    wanted = (panel, model, n_latents)
    rows = [row for row in table if (row["panel"], row["model"], row["n_latents"]) == wanted]
    if not rows:
        return None
    ordered = sorted(rows, key=lambda row: row["index"])
    images = [np.reshape(json.loads(row["pixels"]), (SIDE, SIDE)) for row in ordered]
    gap = np.full((SIDE, 1), np.nan)
    return np.hstack([part for image in images for part in (image, gap)][:-1])


def present(table: s.Table) -> list[str]:
    """The models of the table, in the order of their strips."""
    return [name for name in MODELS if any(row["model"] == name for row in table)]


def draw(table: s.Table) -> Figure:
    """Strips of images above, log p(x) of the held-out images below: grey pixels, and binary ones beside them."""
    lines = ["data", *present(table)]
    strips = STRIP * len(lines)
    height = TOP + strips + BETWEEN + SCORES + BOTTOM
    with style():
        figure = Figure(figsize=(WIDTH, height))
        below = 1 - (TOP + strips) / height
        place: Style = {"left": LEFT, "right": RIGHT, "top": 1 - TOP / height, "bottom": below}
        grid = figure.add_gridspec(len(lines), 2, wspace=0.05, hspace=0.25, **place)
        _strips(figure, grid, lines, table)
        groups, binary = scores(table, binary=False), scores(table, binary=True)
        low, tall = BOTTOM / height, SCORES / height
        wide = (RIGHT - LEFT) * (0.72 if binary else 1.0)
        axes = figure.add_axes((LEFT, low, wide, tall))
        free = words.listed([s.title(name) for name in lines if name in FREE])
        _scores(
            axes, groups, f"grey pixels, a density ({free}: no p(x))" if free != "none" else "grey pixels, a density"
        )
        axes.set_ylabel("log p(x), nats")
        if binary:
            beside = LEFT + wide + 0.075
            _scores(figure.add_axes((beside, low, RIGHT - beside, tall)), binary, "binary pixels")
        above = "log p(x) of each held-out image; bars: middle 95%, half, median"
        figure.text(LEFT, low + tall + 0.30 / height, above, fontsize=10)
    return figure


def _strips(figure: Figure, grid: GridSpec, lines: Sequence[str], table: s.Table) -> None:
    n_latents = shown_latents(table)
    data_rows = [row for row in table if row["panel"] == "data"]
    top = max((max(json.loads(row["pixels"])) for row in data_rows), default=1.0)
    for line, model in enumerate(lines):
        for column, panel in enumerate(("reconstruction", "sample")):
            axes = figure.add_subplot(grid[line, column])
            own = ("data", "data", 0) if (line, column) == (0, 0) else (panel, model, n_latents)
            _show(axes, strip(table, *own), top, _absent(model, panel))
            if column == 0:
                name = "data" if model == "data" else s.title(model).replace(" (", "\n(")
                name = name if "\n" in name else _two_lines(name)
                axes.set_ylabel(name, rotation=0, ha="right", va="center", labelpad=6)
            if line == 0:
                axes.set_title(
                    f"samples ({counted(n_latents, 'latent')})" if column else "held-out images, reconstructed"
                )


def _two_lines(name: str) -> str:
    """A name of two or more words on two lines."""
    first, _, rest = name.rpartition(" ")
    return f"{first}\n{rest}" if first else rest


def _absent(model: str, panel: str) -> str:
    if model == "data":
        return "samples should look like the images at the left"
    if model in FREE and panel == "sample":
        return f"{s.title(model)}: no p(x), so it cannot sample"
    return f"no {panel}s in this run"


def _show(axes: Axes, image: np.ndarray | None, top: float, absent: str) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    if image is None:
        where: Style = {"transform": axes.transAxes, "ha": "center", "va": "center"}
        axes.text(0.5, 0.5, absent, fontsize=9, color="#444444", style="italic", **where)
    else:
        axes.imshow(image, cmap="gray_r", vmin=0, vmax=top, aspect="auto", interpolation="nearest")


class Scores(NamedTuple):
    """log p(x) of the held-out images under one model; `estimates` are those with a standard error."""

    values: list[float]
    estimated: bool


def scores(table: s.Table, *, binary: bool) -> dict[tuple[str, int], Scores]:
    """The images' log p(x) by model and number of latents, in order of latents and then of the models."""
    groups: dict[tuple[str, int], Scores] = {}
    for row in table:
        if row["panel"] == "log_p" and s.finite(row["log_p"]) and (row["model"] in BINARY) == binary:
            key = (row["model"], int(row["n_latents"]))
            groups.setdefault(key, Scores([], row.get("log_p_is") == ESTIMATE)).values.append(row["log_p"])
    order = {name: i for i, name in enumerate(MODELS)}
    return dict(sorted(groups.items(), key=lambda item: (item[0][1], order.get(item[0][0], 9))))


def _scores(axes: Axes, groups: dict[tuple[str, int], Scores], title: str) -> None:
    latents = sorted({n for _, n in groups})
    models = [name for name in MODELS if any(model == name for model, _ in groups)]
    step = min(0.34, 0.84 / max(len(models), 1))
    for (model, n), one in groups.items():
        here = [name for name in models if (name, n) in groups]
        place = latents.index(n) + step * (here.index(model) - (len(here) - 1) / 2)
        _strip_plot(axes, place, 0.76 * step, one, look(model))
    axes.xaxis.set_major_locator(FixedLocator(list(range(len(latents)))))
    axes.xaxis.set_major_formatter(FixedFormatter([str(n) for n in latents]))
    axes.set_xlim(-0.5, len(latents) - 0.5)
    axes.margins(y=0.14)
    axes.set_xlabel("number of latents")
    axes.set_title(title)
    _names(axes, models)


def _names(axes: Axes, models: Sequence[str]) -> None:
    """The models' names in a row along the lower edge, below what is drawn, each with room by its length."""
    titles = [s.title(name) for name in models]
    ends = np.cumsum([len(text) + 2 for text in titles])
    for name, text, end in zip(models, titles, ends, strict=True):
        where: Style = {"transform": axes.transAxes, "ha": "center", "fontweight": "bold", "fontsize": 8.5}
        axes.text((end - 0.5 * len(text) - 1) / ends[-1], 0.03, text, color=look(name).ink, **where)


def _strip_plot(axes: Axes, place: float, width: float, one: Scores, how: Look) -> None:
    low, quarter, middle, three, high = np.quantile(one.values, [0.025, 0.25, 0.5, 0.75, 0.975])
    spread = width * ((np.arange(len(one.values)) * 0.6180339887498949) % 1.0 - 0.5)
    dots: Style = {"linestyle": "none", "marker": ".", "markersize": 2.6, "markeredgewidth": 0}
    axes.plot(place + spread, sorted(one.values), color=how.color, alpha=0.6, rasterized=True, **dots)
    axes.plot([place, place], [low, high], color=how.ink, linewidth=1.0)
    axes.plot([place, place], [quarter, three], color=how.ink, linewidth=5, solid_capstyle="butt")
    axes.plot([place], [middle], color="white", marker=how.marker, markersize=4.5, markeredgecolor=how.ink)
    if one.estimated:
        above: Style = {"xytext": (0, 4), "textcoords": "offset points", "ha": "center", "style": "italic"}
        axes.annotate("estimate", (place, max(one.values)), color=how.ink, fontsize=8, **above)


def caption(table: s.Table) -> str:
    """Which model explains the held-out images best at each number of latents, and what has no p(x)."""
    free = [s.title(name) for name in present(table) if name in FREE]
    text = (
        f"{words.sentence(words.listed(free))} can reconstruct but {'have' if len(free) > 1 else 'has'} no density, "
        "and can neither sample nor give a log p(x). "
        if free
        else ""
    )
    groups, binary = scores(table, binary=False), scores(table, binary=True)
    if not groups and not binary:
        return text + "No log p(x) was stored."
    return f"{text}{_densities(table, groups)}{_probabilities(binary)}{_behind(table)}"


def _mean(one: Scores) -> str:
    """A mean in words, with a sign where it is estimated."""
    return f"{'≈ ' if one.estimated else ''}{words.fixed(float(np.mean(one.values)), 1)}"


def _densities(table: s.Table, groups: dict[tuple[str, int], Scores]) -> str:
    if not groups:
        return ""
    means = {case: float(np.mean(one.values)) for case, one in groups.items()}
    parts = []
    for n in sorted({n for _, n in means}):
        here = sorted(((mean, model) for (model, m), mean in means.items() if m == n), reverse=True)
        parts.append(
            f"{counted(n, 'latent')}: {', '.join(f'{s.title(model)} {_mean(groups[model, n])}' for _, model in here)}"
        )
    (model, n) = max(means, key=lambda case: means[case])
    count = min(len(one.values) for one in groups.values())
    spread = float(np.std(groups[model, n].values, ddof=1)) if count > 1 else 0.0
    images = f"; single images spread by {words.nats(spread, 2)} (standard deviation)" if count > 1 else ""
    return (
        f"Mean $\\log p(x)$ over {counted(count, 'held-out image')}, in nats, best first: {'; '.join(parts)}. The "
        f"highest is that of {s.title(model)} with {counted(n, 'latent')}{images}.{_floor(table)}"
    )


def _probabilities(binary: dict[tuple[str, int], Scores]) -> str:
    """What binary pixels have, which is no density."""
    if not binary:
        return ""
    parts = [f"{s.title(model)} with {counted(n, 'latent')} {_mean(one)}" for (model, n), one in binary.items()]
    return (
        f" Of binary pixels, ink or none: {words.listed(parts)}. This is the log of a probability, which does not "
        "compare with a density."
    )


def _behind(table: s.Table) -> str:
    """What is exact and what is estimated, and how well."""
    rows = [row for row in table if row["panel"] == "log_p" and row.get("log_p_is") == ESTIMATE]
    if not rows:
        return " Exact values: no Monte Carlo, no replicates."
    errors = [row["std_error"] for row in rows]
    models = {(row["model"], row["n_latents"]): row for row in rows}
    unsure = sum(int(row["n_unsure"] or 0) for row in models.values())
    doubt = (
        f"; for {unsure} of {len(rows)} Pareto $\\hat k$ says that neither estimate nor error is to be trusted, and "
        "the estimate is then more likely too low"
        if unsure
        else ""
    )
    return (
        f" ≈: estimated, from one stream of {words.power(rows[0]['n_samples'])} samples an image, no replicates; the "
        f"standard error of an image is {words.nats(float(np.median(errors)), 2)} in the median{doubt}. All others are "
        "exact: closed forms, and for a VAE of two latents certified quadrature."
    )


def at_floor(table: s.Table) -> dict[str, dict[int, tuple[int, int]]]:
    """Of each model whose noise variances are kept above a floor, by number of latents: the pixels that stand on it,
    and all of its pixels. Empty for a model where the store does not say."""
    found: dict[str, dict[int, tuple[int, int]]] = {}
    for row in table:
        if row["panel"] == "log_p" and row["model"] in FLOORED:
            counts = found.setdefault(row["model"], {})
            if s.finite(row["n_at_floor"]):
                counts[int(row["n_latents"])] = (int(row["n_at_floor"]), int(row["n_observed"]))
    return {model: dict(sorted(found[model].items())) for model in FLOORED if model in found}


def standing(table: s.Table) -> list[str]:
    """The models of which a pixel stands on the floor, or may: log p(x) under them depends on it."""
    return [
        s.title(model) for model, counts in at_floor(table).items() if not counts or any(n for n, _ in counts.values())
    ]


def _floor(table: s.Table) -> str:
    """Which models' noise variances stand on the floor, with how many pixels."""
    known, on = at_floor(table), standing(table)
    if not known:
        return ""
    text = (
        f" The noise variances of {words.listed([s.title(model) for model in known])} are kept above a floor, the "
        "variance of rounding to a step of 1/16"
    )
    parts = [_counted(s.title(model), counts) for model, counts in known.items() if counts]
    text += f": on it stand {'; '.join(parts)}." if parts else "."
    return f"{text} Values under {words.listed(on)} depend on it." if on else text


def _counted(name: str, counts: Mapping[int, tuple[int, int]]) -> str:
    """Under one model, how many of how many pixels, at each number of latents."""
    each = [f"{few} of {pixels} with {counted(n, 'latent')}" for n, (few, pixels) in counts.items()]
    return f"under {name} " + (words.listed(each) if any(few for few, _ in counts.values()) else "none")
