"""What the story is made of: a list of blocks, which `markdown` and `html` each turn into text.

Text in a block uses the small markup of `figures.words`: `**bold**`, `*stress*`, `` `code` ``, `$mathematics$` and
`[words](address)`. Mathematics is the part of LaTeX that both GitHub and matplotlib's mathtext read.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Heading:
    """A title (level 1) or the head of a section (level 2)."""

    level: int
    text: str


@dataclass(frozen=True)
class Paragraph:
    """A paragraph of text."""

    text: str


@dataclass(frozen=True)
class Listing:
    """A bulleted list."""

    items: tuple[str, ...]


@dataclass(frozen=True)
class Equation:
    """A formula on a line of its own, in LaTeX."""

    latex: str


@dataclass(frozen=True)
class Picture:
    """A figure: files figures/<name>.svg, .pdf, .png and data/<name>.csv beside the page."""

    number: int
    name: str
    title: str
    caption: str


@dataclass(frozen=True)
class Skipped:
    """A figure that was not drawn, and why."""

    number: int
    title: str
    reason: str


@dataclass(frozen=True)
class Grid:
    """A table: a caption, a header and rows of the same length; columns after the first `n_left` are flush right."""

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    n_left: int = 1


@dataclass(frozen=True)
class Code:
    """Lines to type into a shell."""

    text: str


Block = Heading | Paragraph | Listing | Equation | Picture | Skipped | Grid | Code
