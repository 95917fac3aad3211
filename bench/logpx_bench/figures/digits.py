"""Held-out digits, what PCA, PPCA and factor analysis make of them and dream up, and exact log p(x) under
each.

Reconstructions are E[x given z] at the posterior mean of z (at the projection, for PCA); samples are drawn from the
model. PCA has no noise model, so no density and no samples: its panel says so, and it has no log p(x). Probabilistic
PCA: Tipping and Bishop (1999, doi:10.1111/1467-9868.00196).
"""

from __future__ import annotations

import json

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator

from logpx_bench import summary
from logpx_bench.figures import series as s
from logpx_bench.figures import words
from logpx_bench.figures.extracts import image_scores
from logpx_bench.figures.style import WIDTH, Look, Style, look, style
from logpx_bench.store import Store

EXPERIMENT = "digits"
TITLE = "Digits and their log p"
MODELS = ("pca", "ppca", "factor_analysis")
SHOWN = 8  # images in a strip
SIDE = 8  # pixels on a side
BEHIND: Style = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1.0}
COLUMNS = ("panel", "model", "n_latents", "index", "log_p", "n_at_floor", "n_observed", "pixels")


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


def draw(table: s.Table) -> Figure:
    """Strips of images above, log p(x) of every held-out image below."""
    with style():
        figure = Figure(figsize=(WIDTH, 5.35))
        n_latents = shown_latents(table)
        data_rows = [row for row in table if row["panel"] == "data"]
        top = max((max(json.loads(row["pixels"])) for row in data_rows), default=1.0)
        grid = figure.add_gridspec(4, 2, left=0.135, right=0.985, top=0.935, bottom=0.565, wspace=0.05, hspace=0.25)
        for line, model in enumerate(("data", *MODELS)):
            for column, panel in enumerate(("reconstruction", "sample")):
                axes = figure.add_subplot(grid[line, column])
                own = ("data", "data", 0) if (line, column) == (0, 0) else (panel, model, n_latents)
                _show(axes, strip(table, *own), top, _absent(model, panel))
                if column == 0:
                    name = "data" if model == "data" else s.title(model).replace(" ", "\n")
                    axes.set_ylabel(name, rotation=0, ha="right", va="center", labelpad=6)
                if line == 0:
                    axes.set_title(f"samples ({n_latents} latents)" if column else "held-out images, reconstructed")
        _scores(figure.add_axes((0.135, 0.095, 0.85, 0.385)), table)
    return figure


def _absent(model: str, panel: str) -> str:
    if model == "data":
        return "samples should look like the images at the left"
    if model == "pca" and panel == "sample":
        return "PCA has no density: it cannot sample"
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


def scores(table: s.Table) -> dict[tuple[str, int], list[float]]:
    """log p(x) of the held-out images, by model and number of latents, in order of latents and then of the models."""
    groups: dict[tuple[str, int], list[float]] = {}
    for row in table:
        if row["panel"] == "log_p" and s.finite(row["log_p"]):
            groups.setdefault((row["model"], int(row["n_latents"])), []).append(row["log_p"])
    order = {name: i for i, name in enumerate(MODELS)}
    return dict(sorted(groups.items(), key=lambda item: (item[0][1], order.get(item[0][0], 9))))


def _scores(axes: Axes, table: s.Table) -> None:
    groups = scores(table)
    latents = sorted({n for _, n in groups})
    models = [name for name in MODELS if any(model == name for model, _ in groups)]
    for (model, n), values in groups.items():
        _strip_plot(axes, latents.index(n) + 0.34 * (models.index(model) - (len(models) - 1) / 2), values, look(model))
    axes.xaxis.set_major_locator(FixedLocator(list(range(len(latents)))))
    axes.xaxis.set_major_formatter(FixedFormatter([str(n) for n in latents]))
    axes.set_xlim(-0.5, len(latents) - 0.5)
    axes.set_xlabel("number of latents")
    axes.set_ylabel("exact log p(x), nats")
    axes.set_title("each held-out image; bars: middle 95%, half, median (PCA: no density, no log p)")
    for i, name in enumerate(reversed(models)):
        where: Style = {"transform": axes.transAxes, "ha": "right", "fontweight": "bold", "bbox": BEHIND}
        axes.text(0.985, 0.05 + 0.09 * i, s.title(name), color=look(name).ink, **where)


def _strip_plot(axes: Axes, place: float, values: list[float], how: Look) -> None:
    low, quarter, middle, three, high = np.quantile(values, [0.025, 0.25, 0.5, 0.75, 0.975])
    spread = 0.26 * ((np.arange(len(values)) * 0.6180339887498949) % 1.0 - 0.5)
    dots: Style = {"linestyle": "none", "marker": ".", "markersize": 2.6, "markeredgewidth": 0}
    axes.plot(place + spread, sorted(values), color=how.color, alpha=0.6, rasterized=True, **dots)
    axes.plot([place, place], [low, high], color=how.ink, linewidth=1.0)
    axes.plot([place, place], [quarter, three], color=how.ink, linewidth=5, solid_capstyle="butt")
    axes.plot([place], [middle], color="white", marker=how.marker, markersize=4.5, markeredgecolor=how.ink)


def caption(table: s.Table) -> str:
    """Which model explains the held-out images best at each number of latents, and what PCA cannot do."""
    groups = scores(table)
    text = "PCA reconstructs but has no density, so it can neither sample nor give a log p(x). "
    if not groups:
        return text + "No log p(x) was stored."
    means = {case: float(np.mean(values)) for case, values in groups.items()}
    parts = []
    for n in sorted({n for _, n in means}):
        here = sorted(((mean, model) for (model, m), mean in means.items() if m == n), reverse=True)
        parts.append(f"{n} latents: {', '.join(f'{s.title(model)} {words.fixed(mean, 1)}' for mean, model in here)}")
    (model, n) = max(means, key=lambda case: means[case])
    count = min(len(values) for values in groups.values())
    spread = float(np.std(groups[model, n], ddof=1)) if count > 1 else 0.0
    images = f"; single images spread by {words.nats(spread, 2)} (standard deviation)" if count > 1 else ""
    floor = (
        " Factor analysis stands on a floor of its noise variances, the variance of rounding to a step of 1/16: its "
        f"values depend on it{_standing(table)}."
        if any(model == "factor_analysis" for model, _ in means)
        else ""
    )
    return (
        f"{text}Mean exact $\\log p(x)$ over {count} held-out images, in nats, best first: {'; '.join(parts)}. The "
        f"highest is that of {s.title(model)} with {n} latents{images}.{floor} Exact values: no Monte Carlo, "
        "no replicates."
    )


def _standing(table: s.Table) -> str:
    """How many pixels stand on the floor, where the store says so."""
    rows = [row for row in table if row["panel"] == "log_p" and s.finite(row["n_at_floor"])]
    counts = {int(row["n_latents"]): (int(row["n_at_floor"]), row["n_observed"]) for row in rows}
    parts = [f"{few} of {pixels} pixels with {n} latents" for n, (few, pixels) in sorted(counts.items())]
    return f" ({words.listed(parts)} stand on it)" if parts else ""
