"""Figures to files, the same bytes every time: no dates, no software names, ids of SVG elements from a fixed salt."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from logpx_bench.figures.style import style

METADATA: dict[str, dict[str, Any]] = {
    "svg": {"Date": None, "Creator": "logpx"},
    "pdf": {"CreationDate": None, "ModDate": None, "Producer": None, "Creator": None},
    "png": {"Software": None},
}


def save(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Write `figure` as SVG, PDF and PNG under `folder`; returns the three paths."""
    paths = []
    with style():
        for kind, metadata in METADATA.items():
            path = folder / f"{name}.{kind}"
            figure.savefig(path, format=kind, metadata=metadata)
            paths.append(path)
    return paths
