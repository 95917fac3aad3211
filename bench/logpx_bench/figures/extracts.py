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


#: What stands behind a log p(x) of the gallery.
EXACT, ESTIMATE, NONE = "exact", "estimate", "no p(x)"


def image_scores(store: Store, experiment: str = "digits") -> Table:
    """log p(x) of every held-out image that was scored, under every model of the gallery, one row each, in nats.

    `log_p_is` says whether it is exact or an estimate, whose standard error is `std_error` and whose samples are
    `n_samples`; a model without p(x) has one row, which says so. Numbers of a whole model, where they were stored, are
    `n_at_floor`, the pixels whose noise variance stands on the floor, and `n_unsure`, the images whose Pareto k̂ says
    that the estimate is not to be trusted.
    """
    table: Table = []
    for cell in summary.runs(store, experiment):
        if cell["kind"] != "gallery":
            continue
        vectors = store.values(cell["key"])
        own = {name: cell[name] for name in ("model", "n_latents", "n_observed")}
        own |= {name: float(vectors[name][0]) for name in ("n_at_floor", "n_unsure") if name in vectors}
        if "log_p" not in vectors:
            table.append(own | {"log_p_is": NONE})
            continue
        estimated = "std_error" in vectors
        own |= {"log_p_is": ESTIMATE, "n_samples": cell["n_samples"]} if estimated else {"log_p_is": EXACT}
        for index, value in enumerate(vectors["log_p"]):
            error = {"std_error": float(vectors["std_error"][index])} if estimated else {}
            table.append(own | {"index": index, "log_p": float(value)} | error)
    return table


def machine(store: Store, experiment: str) -> dict[str, float | None]:
    """`n_cores` of the machine that ran the experiment, None where the store does not say or several machines did, and
    `load_1m`, the largest load before a run of it began."""
    ids = {cell["provenance_id"] for cell in store.cells(experiment)}
    rows = store.provenance(ids) if ids else []
    counts, loads = {row["n_cores"] for row in rows}, [row["load_1m"] for row in rows if row["load_1m"] is not None]
    same = len(counts) == 1 and None not in counts
    return {"n_cores": int(counts.pop()) if same else None, "load_1m": max(loads, default=None)}
