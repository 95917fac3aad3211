"""A figure's place on the page: its picture or why it is not there, its number, and those of a guest model."""

from __future__ import annotations

from dataclasses import replace

from logpx_bench.figures import FIGURES
from logpx_bench.figures import series as s
from logpx_bench.page.blocks import Block, Heading, Paragraph, Picture, Skipped
from logpx_bench.page.facts import Facts

SUITES = {"peers": "peers"}  # of figures that the suite `article` does not measure


def numbered(story: list[Block]) -> list[Block]:
    """The same blocks, figures numbered in the order in which they appear."""
    result, number = [], 0
    for block in story:
        if isinstance(block, Picture | Skipped):
            number += 1
            block = replace(block, number=number)
        result.append(block)
    return result


def figure(facts: Facts, name: str) -> Block:
    """A figure, or the reason why it is not there; its number comes later."""
    module, table = FIGURES[name], facts.tables[name]
    if table:
        return Picture(0, name, module.TITLE, module.caption(table))
    there = module.EXPERIMENT in facts.experiments
    reason = (
        f"The experiment `{module.EXPERIMENT}` is in this store, but has nothing finite to draw."
        if there
        else f"This store has no experiment named `{module.EXPERIMENT}`; `logpx run {SUITES.get(name, 'article')}` "
        "measures it."
    )
    return Skipped(0, module.TITLE, reason)


def guest(facts: Facts, model: str) -> list[Block]:
    """The figures of a model of the user's own."""
    text = (
        "The same measurements on a model from a file of the user's own, with its own data. A figure that is not here "
        "belongs to an experiment in which it took no part; `logpx run --model` says why. Its numbers are among the "
        "results below."
    )
    if any(row.get("estimator") == "importance" for table in facts.guests[model].values() for row in table):
        text += " Importance sampling here draws from the proposal that the file gives."
    pictures = [
        Picture(0, guest_name(name, model), f"{FIGURES[name].TITLE}: {s.title(model)}", FIGURES[name].caption(table))
        for name, table in facts.guests[model].items()
    ]
    wrong = [Paragraph(f"**{sentence}.**") for sentence in facts.contradicted[model]]
    return [Heading(2, f"A model of one's own: {s.title(model)}"), *wrong, Paragraph(text), *pictures]


def guest_name(figure: str, model: str) -> str:
    """The name of the files of a figure on a user's model."""
    return f"{figure}--{model}"
