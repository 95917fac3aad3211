"""The report of a store: one story, told twice, as README.md for GitHub and as index.html for a browser without a
network.

facts      the tables that the story reads its numbers from
story      the story: a list of blocks; no number in it is typed
places     where a figure stands in it, or why it is not there
where      the page where-time-goes.md, with what was tried (`tuning`)
blocks     what a story is made of
markdown   blocks to README.md
html       blocks to index.html, with `formula` for mathematics
build      everything together, into a folder
"""

from logpx_bench.page.build import build

__all__ = ["build"]
