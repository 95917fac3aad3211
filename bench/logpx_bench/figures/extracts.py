"""Tables that only a figure needs, read from the store as they lie: single replicates, single images, cores."""

from __future__ import annotations

import math

from logpx_bench import summary
from logpx_bench.figures.series import Table
from logpx_bench.store import Store

CELL = ("model", "n_latents", "row", "estimator", "estimator_options", "points", "n_replicates", "n_runs", "exact")


def replicate_errors(store: Store, experiment: str, limit: int) -> Table:
    """Error of the first `limit` replicates of every ladder cell at each k, one row each.

    Within replicate r with G groups of k weights, `rmse` is the root mean square of L_k − exact over its groups,
    sqrt((a_r − exact)² + m_r/G); at the largest k, where G = 1, that is the |error| of its one estimate.
    """
    table = []
    for cell in summary.runs(store, experiment):
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
                table.append({name: cell[name] for name in (*CELL, "data", *summary.REFERENCE)} | error)
    return table


def image_scores(store: Store, experiment: str = "digits") -> Table:
    """Exact log p(x) of every held-out image under every model of the gallery, one row each, in nats; `n_at_floor` is
    the number of its pixels whose noise variance stands on the floor, where that was stored."""
    table: Table = []
    for cell in summary.runs(store, experiment):
        if cell["kind"] != "gallery":
            continue
        vectors = store.values(cell["key"])
        own = {name: cell[name] for name in ("model", "n_latents", "n_observed")}
        own |= {"n_at_floor": float(vectors["n_at_floor"][0])} if "n_at_floor" in vectors else {}
        table += [own | {"index": index, "log_p": float(value)} for index, value in enumerate(vectors.get("log_p", ()))]
    return table


def machine(store: Store, experiment: str) -> dict[str, float | None]:
    """`n_cores` of the machine that ran the experiment, None where the store does not say or several machines did, and
    `load_1m`, the largest load before a run of it began."""
    ids = {cell["provenance_id"] for cell in store.cells(experiment)}
    rows = store.provenance(ids) if ids else []
    counts, loads = {row["n_cores"] for row in rows}, [row["load_1m"] for row in rows if row["load_1m"] is not None]
    same = len(counts) == 1 and None not in counts
    return {"n_cores": int(counts.pop()) if same else None, "load_1m": max(loads, default=None)}
