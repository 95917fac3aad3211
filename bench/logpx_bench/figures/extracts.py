"""Tables that only a figure needs, read from the store as they lie: single replicates, single images, cores."""

from __future__ import annotations

import math

from logpx_bench.figures.series import Table
from logpx_bench.store import Store

CELL = ("model", "n_latents", "row", "estimator", "estimator_options", "points", "n_replicates", "exact")


def replicate_errors(store: Store, experiment: str, limit: int) -> Table:
    """Error of the first `limit` replicates of every ladder cell at each k, one row each.

    Within replicate r with G groups of k weights, `rmse` is the root mean square of L_k − exact over its groups,
    sqrt((a_r − exact)² + m_r/G); at the largest k, where G = 1, that is the |error| of its one estimate.
    """
    table = []
    for cell in store.cells(experiment):
        if cell["kind"] != "ladder" or cell["exact"] is None:
            continue
        for row in store.levels(cell["key"]):
            if row["replicate"] < limit and row["mean"] is not None and math.isfinite(row["mean"]):
                mse = (row["mean"] - cell["exact"]) ** 2 + (row["m2"] or 0.0) / row["n_groups"]
                error = {
                    "replicate": row["replicate"],
                    "k": 2 ** row["level"],
                    "n_groups": row["n_groups"],
                    "rmse": math.sqrt(mse),
                }
                table.append({name: cell[name] for name in CELL} | error)
    return table


def image_scores(store: Store, experiment: str = "digits") -> Table:
    """Exact log p(x) of every held-out image under every model of the gallery, one row each, in nats."""
    table = []
    for cell in store.cells(experiment):
        if cell["kind"] != "gallery":
            continue
        for index, value in enumerate(store.values(cell["key"]).get("log_p", ())):
            table.append(
                {"model": cell["model"], "n_latents": cell["n_latents"], "index": index, "log_p": float(value)}
            )
    return table


def n_cores(store: Store, experiment: str) -> int | None:
    """Cores of the machine that ran the experiment; None where the store does not say or several machines did."""
    ids = {cell["provenance_id"] for cell in store.cells(experiment)}
    counts = {row["n_cores"] for row in store.provenance(ids)} if ids else set()
    return int(counts.pop()) if len(counts) == 1 and None not in counts else None
