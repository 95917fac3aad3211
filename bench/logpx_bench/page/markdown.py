"""Blocks to Markdown as GitHub reads it: `reports/README.md`."""

from __future__ import annotations

from collections.abc import Sequence

from logpx_bench.figures.words import plain
from logpx_bench.page.blocks import Block, Code, Equation, Grid, Heading, Listing, Paragraph, Picture, Skipped


def render(blocks: Sequence[Block]) -> str:
    """The whole page, ending in a newline."""
    return "\n\n".join(_block(block) for block in blocks) + "\n"


def _block(block: Block) -> str:
    match block:
        case Heading(level, text):
            return f"{'#' * level} {text}"
        case Paragraph(text):
            return text
        case Listing(items):
            return "\n".join(f"- {item}" for item in items)
        case Equation(latex):
            return f"$$\n{latex}\n$$"
        case Picture():
            return _picture(block)
        case Skipped(number, title, reason):
            return f"> **Figure {number}, {title}: not drawn.** {reason}"
        case Grid():
            return _grid(block)
        case Code(text):
            return f"```sh\n{text}\n```"


def _picture(block: Picture) -> str:
    files = f"[PDF](figures/{block.name}.pdf), [PNG](figures/{block.name}.png), [data](data/{block.name}.csv)"
    image = f"![{plain(block.title)}](figures/{block.name}.svg)"
    return f"{image}\n\n**Figure {block.number}. {block.title}.** {block.caption} ({files})"


def _grid(block: Grid) -> str:
    marks = [":--"] * block.n_left + ["--:"] * (len(block.header) - block.n_left)
    lines = [block.header, tuple(marks), *block.rows]
    table = "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
    return f"{table}\n\n*{block.caption}*" if block.caption else table
