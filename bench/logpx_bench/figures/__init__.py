"""The figures of the report, each a file: `data(store)` makes its table, `draw(table)` a matplotlib figure,
`caption(table)` its words.

    error_against_k   |error| and RMSE against k
    jensen_gap        E[L_k] against the exact log p(x)
    cost_accuracy     RMSE against seconds
    dimension         error against the number of latents
    proposal_quality  error and ESS against the width of q, KL and χ²
    log_weights       histograms of log weights, ESS, Pareto k̂
    stages            nanoseconds of every stage of the compiled loop, and the roofs of the machine
    scaling           time and memory against k, speed-up against threads
    large_k           one long stream: errors at every k, the path of its estimate, time and memory
    models            every model with an exact marginal: error, coverage, time
    vae               ELBO and IWAE bounds of single images against exact log p(x)
    digits            images, reconstructions, samples, exact log p(x)
    ranking           how often two models are ranked wrongly
    peers             times of other libraries over ours

A figure's table is what stands beside it as CSV; a figure is drawn from that table and from nothing else. A table may
be empty: its experiment is not in the store, and the page says so. To add a figure: one file with the names of
`FigureModule`, one line in `FIGURES`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from matplotlib.figure import Figure

from logpx_bench.figures import (
    cost_accuracy,
    digits,
    dimension,
    error_against_k,
    jensen_gap,
    large_k,
    log_weights,
    models,
    peers,
    proposal_quality,
    ranking,
    scaling,
    stages,
    vae,
)
from logpx_bench.figures.save import save
from logpx_bench.figures.series import Table
from logpx_bench.store import Store

__all__ = ["FIGURES", "FigureModule", "save"]


class FigureModule(Protocol):
    """What a figure's file offers."""

    EXPERIMENT: str
    TITLE: str

    def data(self, store: Store) -> Table:
        """The figure's table; empty where the store lacks its experiment."""

    def draw(self, table: Table) -> Figure:
        """The figure of a table that is not empty."""

    def caption(self, table: Table) -> str:
        """What is seen, in words chosen by the numbers."""


FIGURES: Mapping[str, FigureModule] = {
    "error_against_k": error_against_k,
    "jensen_gap": jensen_gap,
    "cost_accuracy": cost_accuracy,
    "dimension": dimension,
    "proposal_quality": proposal_quality,
    "log_weights": log_weights,
    "scaling": scaling,
    "large_k": large_k,
    "stages": stages,
    "digits": digits,
    "models": models,
    "vae": vae,
    "ranking": ranking,
    "peers": peers,
}
