"""Labels beside the lines they name, kept apart, in place of a legend.

Each label wants to stand at the height of the end of its line. Heights are sorted and pushed apart to a least
distance by pooling neighbours that touch: each pool is centred on the mean of what its members want, which is the
least-squares placement (isotonic regression; Ayer et al., 1955, doi:10.1214/aoms/1177728423). Cost O(n) after the
sort.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.axes import Axes

GAP = 1.22  # least distance of two lines of text, in font sizes


class Label(NamedTuple):
    """Text for a line that ends at (x, y), in data coordinates."""

    x: float
    y: float
    text: str
    color: str


def spread(wanted: Sequence[float], sizes: Sequence[float], low: float, high: float) -> list[float]:
    """Centres nearest to `wanted` (least squares) with intervals of the given sizes apart and within low … high.

    Examples
    --------
    >>> spread([1.0, 1.0], [2.0, 2.0], -10.0, 10.0)
    [0.0, 2.0]
    """
    order = sorted(range(len(wanted)), key=lambda i: (wanted[i], i))
    pools: list[tuple[float, float, list[int]]] = []  # (start, size, members)
    for i in order:
        start, size, members = wanted[i] - sizes[i] / 2, sizes[i], [i]
        while True:
            start = min(max(start, low), max(high - size, low))
            if not pools or pools[-1][0] + pools[-1][1] <= start:
                break
            _, size_before, before = pools.pop()
            members, size = before + members, size + size_before
            offset, wishes = 0.0, 0.0
            for m in members:
                wishes += wanted[m] - offset - sizes[m] / 2
                offset += sizes[m]
            start = wishes / len(members)
        pools.append((start, size, members))
    centres = [0.0] * len(wanted)
    for start, _, members in pools:
        for m in members:
            centres[m] = start + sizes[m] / 2
            start += sizes[m]
    return centres


def label_ends(axes: Axes, labels: Sequence[Label], *, fontsize: float = 9.0, offset: float = 9.0) -> None:
    """Write `labels` right of the axes, each joined to the end of its line where it had to move.

    Call it last: limits and scales of the axes must be final. Offsets are in points.
    """
    if not labels:
        return
    box = axes.get_window_extent()
    points = axes.get_figure(root=True).dpi / 72  # type: ignore[union-attr]  # pixels in a point
    ends = [axes.transData.transform((label.x, label.y)) for label in labels]
    heights = [GAP * fontsize * points * (1 + label.text.count("\n")) for label in labels]
    wanted = [min(max(float(end[1]), box.y0), box.y1) for end in ends]
    centres = spread(wanted, heights, box.y0 - 12 * points, box.y1 + 12 * points)
    for label, end, want, centre in zip(labels, ends, wanted, centres, strict=True):
        x = box.x1 + offset * points
        axes.annotate(
            label.text,
            xy=((min(float(end[0]), box.x1) - box.x0) / box.width, (want - box.y0) / box.height),
            xycoords="axes fraction",
            xytext=((x - box.x0) / box.width, (centre - box.y0) / box.height),
            textcoords="axes fraction",
            color=label.color,
            fontsize=fontsize,
            va="center",
            ha="left",
            linespacing=1.1,
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": label.color,
                "linewidth": 0.6,
                "alpha": 0.6,
                "shrinkA": 1,
                "shrinkB": 2,
                "relpos": (0.0, 0.5),
            },
        )
