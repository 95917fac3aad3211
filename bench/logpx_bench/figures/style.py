"""How every figure looks: fonts, sizes, grid, and one colour, line style and marker per estimator.

The palette is that of Okabe and Ito (2008, "Color Universal Design"), which stays apart under the common kinds of
colour blindness; line style and marker differ as well, so that a figure also reads in grey. An estimator keeps its
look in every figure. Text is drawn as DejaVu Sans outlines, the fonts that come with matplotlib, so that a figure is
the same file on every machine with the same matplotlib.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

Style = dict[str, Any]  # keywords of a drawing call

WIDTH = 7.2  # inches: a text column on a page, or half a screen

RC: Mapping[str, Any] = {
    "figure.dpi": 100,
    "savefig.dpi": 160,
    "savefig.facecolor": "white",
    "figure.facecolor": "white",
    "font.family": ["DejaVu Sans"],
    "font.size": 9.5,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.titlepad": 6,
    "axes.titley": 1.0,
    "axes.labelsize": 9.5,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#666666",
    "axes.linewidth": 0.8,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.7,
    "xtick.color": "#444444",
    "ytick.color": "#444444",
    "lines.linewidth": 1.8,
    "lines.markersize": 4.5,
    "mathtext.fontset": "dejavusans",
    "svg.fonttype": "path",
    "svg.hashsalt": "logpx",
    "pdf.fonttype": 3,
    "path.simplify": True,
}


class Look(NamedTuple):
    """Colour of lines and areas, a darker one for text, line style and marker."""

    color: str
    ink: str
    line: str | tuple[int, tuple[float, ...]]
    marker: str


BLUE, ORANGE, GREEN, RED = "#0072B2", "#E69F00", "#009E73", "#D55E00"
PURPLE, SKY, BLACK, GREY = "#CC79A7", "#56B4E9", "#000000", "#777777"

LOOKS: Mapping[str, Look] = {
    "uniform": Look(RED, "#A84A00", (0, (5.0, 1.6)), "s"),
    "prior": Look(BLUE, "#005A8C", (0, (1.2, 1.2)), "^"),
    "importance": Look(GREEN, "#00694C", "-", "o"),
    "importance_sobol": Look(PURPLE, "#9C4A79", (0, (6.0, 1.4, 1.2, 1.4)), "D"),
    "ppca": Look(SKY, "#1B6C9C", "-", "o"),
    "factor_analysis": Look(ORANGE, "#8F6200", (0, (5.0, 1.6)), "s"),
    "pca": Look(GREY, "#555555", (0, (1.2, 1.2)), "^"),
    "ppca_mixture": Look(PURPLE, "#9C4A79", (0, (6.0, 1.4, 1.2, 1.4)), "D"),
    "vae_gaussian": Look(GREEN, "#00694C", "-", "v"),
    "vae_bernoulli": Look(RED, "#A84A00", (0, (3.0, 1.0, 1.0, 1.0)), "s"),
    "exact": Look(BLACK, BLACK, "-", ""),
    "theory": Look("#555555", "#444444", (0, (3.0, 2.0)), ""),
}
SPARE = (
    Look(PURPLE, "#9C4A79", (0, (6.0, 1.4, 1.2, 1.4)), "D"),
    Look(ORANGE, "#8F6200", (0, (3.0, 1.0, 1.0, 1.0, 1.0, 1.0)), "v"),
    Look(SKY, "#1B6C9C", (0, (8.0, 2.0)), "P"),
    Look(GREY, "#555555", (0, (2.0, 2.0)), "X"),
)
VARIANT_LINES: tuple[str | tuple[int, tuple[float, ...]], ...] = (
    "-",
    (0, (7.0, 2.0)),
    (0, (4.0, 1.2, 1.2, 1.2)),
    (0, (1.0, 1.0)),
)
VARIANT_MARKERS = ("o", "D", "v", "P", "X", "*")


def look(name: str, variant: int = 0) -> Look:
    """How the estimator or model `name` is drawn; `variant` counts settings of the same estimator from 0."""
    base = LOOKS.get(name) or SPARE[sum(map(ord, name)) % len(SPARE)]
    if variant == 0:
        return base
    return base._replace(
        line=VARIANT_LINES[variant % len(VARIANT_LINES)], marker=VARIANT_MARKERS[variant % len(VARIANT_MARKERS)]
    )


@contextmanager
def style() -> Iterator[None]:
    """Matplotlib's defaults, then `RC`, and nothing of the user's own settings."""
    with mpl.rc_context():
        mpl.rcdefaults()
        for name, value in RC.items():
            mpl.rcParams[name] = value  # type: ignore[index]  # mpl types the names as literals
        yield


def panels(
    rows: int = 1, columns: int = 1, *, height: float = 3.6, right: float = 0.80, **layout: Any
) -> tuple[Figure, list[Axes]]:
    """A figure `WIDTH` wide with a margin on the right for the labels of its lines; axes in reading order."""
    figure = Figure(figsize=(WIDTH, height))
    grid = {
        "left": 0.105,
        "right": right,
        "bottom": 0.48 / height,
        "top": 1 - 0.30 / height,
        "wspace": 0.34,
        "hspace": 0.42,
    }
    gridspec = figure.add_gridspec(rows, columns, **(grid | layout))
    return figure, [figure.add_subplot(gridspec[i, j]) for i in range(rows) for j in range(columns)]
