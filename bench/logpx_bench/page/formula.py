"""LaTeX to an SVG of outlines, by matplotlib's mathtext: formulas that show offline, without scripts and without fonts.

Lengths are in em of the text around: 100 units of the outline make one em. The baseline of an inline formula is set by
its depth. A formula is a few kilobytes; each is made once.
"""

from __future__ import annotations

import functools
from html import escape

import matplotlib as mpl
from matplotlib.font_manager import FontProperties
from matplotlib.path import Path
from matplotlib.textpath import text_to_path

EM = text_to_path.FONT_SCALE  # units of the outlines in one em
LETTERS = {Path.MOVETO: "M", Path.LINETO: "L", Path.CURVE3: "Q", Path.CURVE4: "C"}


@functools.cache
def svg(latex: str, *, scale: float = 1.0) -> str:
    """An inline `<svg>` of a formula, `scale` times the size of the text around it.

    Raises
    ------
    ValueError
        mathtext cannot read the formula.
    """
    with mpl.rc_context({"mathtext.fontset": "stix"}):
        source, font = f"${latex}$", FontProperties(size=EM)
        width, height, depth = text_to_path.get_text_width_height_descent(source, font, ismath=True)
        vertices, codes = text_to_path.get_text_path(font, source, ismath=True)
    path = Path(vertices, codes) if len(vertices) else Path([(0.0, 0.0)])
    pad = 2.0
    box = f"{-pad:g} {-(height - depth) - pad:.1f} {width + 2 * pad:.1f} {height + 2 * pad:.1f}"
    em = scale / EM
    size = f"width:{(width + 2 * pad) * em:.3f}em;height:{(height + 2 * pad) * em:.3f}em"
    return (
        f'<svg class="math" role="img" aria-label="{escape(latex)}" viewBox="{box}" '
        f'style="{size};vertical-align:{-(depth + pad) * em:.3f}em"><path d="{_outline(path)}"/></svg>'
    )


def _outline(path: Path) -> str:
    parts = []
    for points, code in path.iter_segments(simplify=False, curves=True):
        if code == Path.CLOSEPOLY:
            parts.append("Z")
        else:
            pairs = zip(points[::2], points[1::2], strict=True)
            parts.append(LETTERS[code] + " ".join(f"{x:.1f},{-y:.1f}" for x, y in pairs))
    return "".join(parts).replace(".0,", ",").replace(".0 ", " ")
