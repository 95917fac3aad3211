"""Blocks to one HTML page that shows offline: `reports/index.html`, with its figures beside it in figures/.

No scripts, no fonts and no addresses that must be reached; formulas are inline outlines (`formula`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape

from logpx_bench.figures.words import plain
from logpx_bench.page import formula
from logpx_bench.page.blocks import Block, Code, Equation, Grid, Heading, Listing, Paragraph, Picture, Skipped

STYLE = """
:root { color-scheme: light; }
body { max-width: 46rem; margin: 2.5rem auto 5rem; padding: 0 1.2rem; color: #1c1c1c; background: #fff;
       font: 1.05rem/1.58 Georgia, "Times New Roman", serif; }
h1, h2, figcaption, table, .note { font-family: "Helvetica Neue", Arial, sans-serif; }
h1 { font-size: 2rem; line-height: 1.2; margin: 0 0 1.2rem; }
h2 { font-size: 1.3rem; margin: 2.6rem 0 .7rem; padding-top: .9rem; border-top: 1px solid #ddd; }
figure { margin: 1.8rem 0; }
figure img { width: 100%; height: auto; display: block; }
figcaption { font-size: .88rem; line-height: 1.45; color: #333; margin-top: .5rem; }
.equation { text-align: center; margin: 1.2rem 0; overflow-x: auto; }
svg.math { fill: currentColor; overflow: visible; }
code { font-size: .92em; background: #f3f3f3; padding: .05em .3em; border-radius: 3px; }
pre { background: #f3f3f3; padding: .8rem 1rem; overflow-x: auto; font-size: .9rem; }
pre code { padding: 0; }
.scroll { overflow-x: auto; margin: 1.4rem 0; }
table { border-collapse: collapse; font-size: .8rem; line-height: 1.35; font-variant-numeric: tabular-nums; }
th, td { padding: .28rem .42rem; border-bottom: 1px solid #e4e4e4; text-align: right; white-space: nowrap; }
th { border-bottom: 2px solid #888; vertical-align: bottom; white-space: normal; }
.left { text-align: left; }
td.left { white-space: normal; min-width: 5.5rem; }
caption { white-space: normal; }
caption { caption-side: bottom; text-align: left; color: #444; padding-top: .5rem; }
.note { background: #fdf3e1; border-left: 4px solid #e69f00; padding: .6rem 1rem; font-size: .92rem; }
a { color: #005a8c; }
""".strip()

MARKUP = re.compile(r"`([^`]+)`|\$([^$]+)\$|\*\*(.+?)\*\*|\*(.+?)\*|\[([^\]]+)\]\(([^)]+)\)")


def render(blocks: Sequence[Block]) -> str:
    """The whole page, ending in a newline."""
    title = next((block.text for block in blocks if isinstance(block, Heading)), "Report")
    body = "\n".join(_block(block) for block in blocks)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(plain(title))}</title>\n<style>\n{STYLE}\n</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def inline(text: str) -> str:
    """Text with its markup as HTML."""
    parts, position = [], 0
    for found in MARKUP.finditer(text):
        parts.append(escape(text[position : found.start()], quote=False))
        parts.append(_marked(*found.groups()))
        position = found.end()
    return "".join(parts) + escape(text[position:], quote=False)


def _marked(
    code: str | None, latex: str | None, bold: str | None, stress: str | None, words: str | None, address: str | None
) -> str:
    if code is not None:
        return f"<code>{escape(code, quote=False)}</code>"
    if latex is not None:
        return formula.svg(latex)
    if bold is not None:
        return f"<strong>{inline(bold)}</strong>"
    if stress is not None:
        return f"<em>{inline(stress)}</em>"
    return f'<a href="{escape(address or "")}">{inline(words or "")}</a>'


def _block(block: Block) -> str:
    match block:
        case Heading(level, text):
            return f"<h{level}>{inline(text)}</h{level}>"
        case Paragraph(text):
            return f"<p>{inline(text)}</p>"
        case Listing(items):
            return "<ul>\n" + "\n".join(f"<li>{inline(item)}</li>" for item in items) + "\n</ul>"
        case Equation(latex):
            return f'<div class="equation">{formula.svg(latex, scale=1.12)}</div>'
        case Picture():
            return _picture(block)
        case Skipped(number, title, reason):
            return f'<p class="note"><strong>Figure {number}, {inline(title)}: not drawn.</strong> {inline(reason)}</p>'
        case Grid():
            return _grid(block)
        case Code(text):
            return f"<pre><code>{escape(text, quote=False)}</code></pre>"


def _picture(block: Picture) -> str:
    alt = escape(plain(block.title))
    links = (
        (f"figures/{block.name}.pdf", "PDF"),
        (f"figures/{block.name}.png", "PNG"),
        (f"data/{block.name}.csv", "data"),
    )
    files = ", ".join(f'<a href="{address}">{name}</a>' for address, name in links)
    return (
        f'<figure id="{block.name}">\n<img src="figures/{block.name}.svg" alt="{alt}">\n<figcaption><strong>Figure '
        f"{block.number}. {inline(block.title)}.</strong> {inline(block.caption)} ({files})</figcaption>\n</figure>"
    )


def _grid(block: Grid) -> str:
    def line(cells: Sequence[str], tag: str) -> str:
        sides = ['class="left"' if i < block.n_left else "" for i in range(len(cells))]
        opened = [f"<{tag} {side}>" if side else f"<{tag}>" for side in sides]
        return "<tr>" + "".join(f"{o}{inline(c)}</{tag}>" for o, c in zip(opened, cells, strict=True)) + "</tr>"

    head = f"<thead>\n{line(block.header, 'th')}\n</thead>"
    body = "<tbody>\n" + "\n".join(line(row, "td") for row in block.rows) + "\n</tbody>"
    caption = f"<caption>{inline(block.caption)}</caption>\n" if block.caption else ""
    return f'<div class="scroll"><table>\n{caption}{head}\n{body}\n</table></div>'
