"""Axes that several figures share: k in powers of two, errors on a logarithmic scale, a line with its interval."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter, NullLocator

from logpx_bench.figures.style import Look


def k_axis(axes: Axes, values: Iterable[float], label: str = "number of samples k", ticks: int = 8) -> None:
    """A horizontal axis in powers of two over `values`, with at most `ticks` ticks."""
    known = [float(value) for value in values]
    low, high = math.floor(math.log2(min(known))), math.ceil(math.log2(max(known)))
    step = max(1, math.ceil((high - low) / (ticks - 1)))
    axes.set_xscale("log", base=2)
    room = max(0.3, 0.03 * (high - low))
    axes.set_xlim(2.0 ** (low - room), 2.0 ** (high + room))
    axes.xaxis.set_major_locator(FixedLocator([2.0**power for power in range(low, high + 1, step)]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"$2^{{{round(math.log2(value))}}}$"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel(label)


def error_axis(axes: Axes, values: Iterable[float], label: str) -> None:
    """A vertical logarithmic axis that holds every positive finite one of `values` with a little room."""
    known = [value for value in values if value > 0 and math.isfinite(value)]
    axes.set_yscale("log")
    if known:
        axes.set_ylim(min(known) / 1.6, max(known) * 1.6)
    axes.yaxis.set_major_locator(LogLocator(base=10, numticks=9))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_ylabel(label)


def band(
    axes: Axes, x: Sequence[float], y: Sequence[float], low: Sequence[float], high: Sequence[float], look: Look
) -> None:
    """A bold line with markers, on a light band for its interval."""
    axes.fill_between(x, low, high, color=look.color, alpha=0.18, linewidth=0)
    axes.plot(x, y, color=look.color, linestyle=look.line, marker=look.marker, markersize=4, markeredgewidth=0)
