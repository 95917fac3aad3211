"""From the store to the tables of models: one row a model with an exact marginal, and one row an image of a VAE.

A cell of kind "models" holds log p(x) by two exact routes, replicates with their standard errors, and timed streams.
Here they become the largest difference of the routes, the RMSE with its bootstrap interval (`moments`), the share of
replicates whose 95 % interval holds the exact answer with Wilson's interval of that share, the median time of a sample,
and the median ESS. The delta method's √(χ²/k) takes χ² in closed form where it is known, else from that ESS, as
samples/ESS − 1.

A cell of kind "bounds" holds exact log p(x) and E[L_k] of many images.
"""

import math
from typing import Any

import numpy as np

from logpx_bench.moments import bootstrap_rmse, bootstrap_seed, rmse_from_moments, wilson
from logpx_bench.store import Store

Row = dict[str, Any]

#: Standard errors on either side of a 95 % interval.
HALF_WIDTH = 1.959963984540054


def models(store: Store, experiment: str = "models", suite: str | None = None) -> list[Row]:
    """One row a model and row of data, in the order they were run.

    Columns: `model`, `n_latents`, `n_discrete` (of them), `n_observed`, `row`, `exact_route`, `second_route` (words;
    None for a user's model), `n_rows` (on which the routes were compared), `max_difference` (nats; None without a
    second route), `k`, `n_replicates`, `exact`, `rmse`, `rmse_low`, `rmse_high`, `predicted`, `chi2`, `chi2_from`
    ("closed form" or "ESS"), `coverage`, `coverage_low`, `coverage_high`, `ess_fraction`, `pareto_k`, `ns` a sample on
    one thread, `ns_low`, `ns_high` (least and most of the repeats). A model that was run more than once on a row counts
    as it was last run.
    """
    last = {(cell["model"], cell["row"]): cell for cell in store.cells(experiment, suite) if cell["kind"] == "models"}
    return [_model(cell, store.values(cell["key"])) for cell in last.values()]


def _model(cell: Row, values: dict[str, Any]) -> Row:
    k, n, exact, words = cell["n_samples"], cell["n_replicates"], cell["exact"], cell["model_options"]
    rmse, mse = rmse_from_moments(values["replicates"], np.zeros(n), np.ones(n), exact)
    low, high = bootstrap_rmse(mse, bootstrap_seed(cell))
    inside = float(np.sum(np.abs(values["replicates"] - exact) <= HALF_WIDTH * values["std_errors"]))
    share, (ns_low, ns, ns_high) = float(np.median(values["ess_fraction"])), np.quantile(values["ns"], [0, 0.5, 1])
    known = cell["chi2"] is not None and math.isfinite(cell["chi2"])
    chi2 = float(cell["chi2"]) if known else 1 / share - 1
    coverage_low, coverage_high = wilson(inside, n)
    apart = np.abs(values["exact"] - values["second"])
    own = {name: cell[name] for name in ("model", "n_latents", "n_observed", "row", "exact", "pareto_k")}
    return own | {
        "n_discrete": int(values["n_discrete"][0]),
        "exact_route": words["exact_route"],
        "second_route": words["second_route"],
        "n_rows": values["exact"].size,
        "max_difference": float(apart.max()) if np.isfinite(apart).all() else None,
        "k": k,
        "n_replicates": n,
        "rmse": rmse,
        "rmse_low": low,
        "rmse_high": high,
        "predicted": math.sqrt(chi2 / k),
        "chi2": chi2,
        "chi2_from": "closed form" if known else "ESS",
        "coverage": inside / n,
        "coverage_low": coverage_low,
        "coverage_high": coverage_high,
        "ess_fraction": share,
        "ns": float(ns),
        "ns_low": float(ns_low),
        "ns_high": float(ns_high),
    }


def bounds(store: Store, experiment: str = "vae", suite: str | None = None) -> list[Row]:
    """One row an image and bound.

    Columns: `model`, `likelihood` (None where there is none to choose), `n_latents`, `estimator`, `index` (of the
    image, among the held-out ones), `rank` (0 … by exact log p(x)), `exact`, `exact_error` (nats, certified; nan where
    the exact answer is a closed form), `k`, `bound`, `std_error`, `gap` = exact − bound, `n_samples`.
    """
    table: list[Row] = []
    for cell in store.cells(experiment, suite):
        if cell["kind"] == "bounds":
            table += _images(cell, store.values(cell["key"]))
    return table


def _images(cell: Row, values: dict[str, Any]) -> list[Row]:
    own = {name: cell[name] for name in ("model", "n_latents", "estimator", "n_samples")}
    own |= {"likelihood": cell["model_options"].get("likelihood")}
    exact, ranks = values["exact"], np.empty(values["exact"].size, dtype=int)
    ranks[np.argsort(exact, kind="stable")] = np.arange(exact.size)
    ks = sorted(int(name.split("/")[1]) for name in values if name.startswith("bound/"))
    return [
        own
        | {"index": i, "rank": int(ranks[i]), "exact": float(exact[i]), "exact_error": float(values["exact_error"][i])}
        | {"k": k, "bound": float(values[f"bound/{k}"][i]), "std_error": float(values[f"std_error/{k}"][i])}
        | {"gap": float(exact[i] - values[f"bound/{k}"][i])}
        for k in ks
        for i in range(exact.size)
    ]
