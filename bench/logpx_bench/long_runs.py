"""From the store to the table of one long stream: errors at every level, and the estimate as the stream grew.

The cells of a large_k experiment are one stream at n = 2^10, 2^11, … N samples. From the last one come, for k = 2^j,
RMSE and bias of L_k over its N/k groups, pooled in units (spans of the stream), with the bootstrap over units of
`summary`; below 32 units no level is kept. Where a unit is a single group, a 95 % interval of 32 units holds the truth
in 89 % of all cases and one of 64 in 92 % (normal L_k, by simulation).

Every cell gives one point of the path: z = (L_n − log p(x))/std_error, the time per sample of its own half of the
samples, and the peak memory. Points of the path share samples, and so do levels: an interval or a band holds for each
of them alone.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from logpx_bench.moments import bootstrap_rmse, bootstrap_seed, rmse_from_moments, spread
from logpx_bench.store import Store

Row = dict[str, Any]

_CASE = (
    *("suite", "experiment", "model", "n_latents", "n_observed", "data", "row", "estimator", "estimator_options"),
    *("points", "dtype", "seed", "exact", "chi2"),
)


def large_k(store: Store, experiment: str = "large_k", suite: str | None = None) -> list[Row]:
    """Rows of kind "level", one a k, and of kind "path", one a number of samples, of an experiment's first stream.

    Columns: those of the stream, `n_total` (N), `kind`, `k`; of a level `n_units`, `n_groups`, `rmse`, `rmse_low`,
    `rmse_high` (95 %), `rmse_predicted` = sqrt(χ²/k), `bias`, `bias_std_error`, `bias_predicted` = −χ²/2k; of the path
    `log_marginal`, `std_error`, `z`, `n_run` (samples that the time is of), `seconds`, `ns_per_sample` (by clock; nan
    where the cell was stopped and gone on with, as no clock ran through), `ns_in_chunks` (work in the finished chunks,
    shared by the threads), `threads`, `peak_bytes`, `baseline_bytes` (the process before the cell), `provenance_id`
    (one a sitting). nats, seconds, bytes; what a row does not have is not there.
    """
    cells = [cell for cell in store.cells(experiment, suite) if cell["kind"] == "large_k"]
    if not cells:
        return []
    stream = [cells[0][name] for name in _CASE]
    own = sorted((cell for cell in cells if [cell[name] for name in _CASE] == stream), key=lambda c: c["n_samples"])
    case = {name: own[0][name] for name in _CASE} | {"n_total": own[-1]["n_samples"]}
    levels: dict[int, list[Row]] = {}
    for row in store.levels(own[-1]["key"]):
        levels.setdefault(row["level"], []).append(row)
    return [
        *(case | _level(own[-1], level, rows) for level, rows in sorted(levels.items())),
        *(case | _point(cell, store.values(cell["key"])) for cell in own),
    ]


def _level(cell: Row, level: int, rows: list[Row]) -> Row:
    mean, m2, n_groups = (np.array([row[name] for row in rows], dtype=float) for name in ("mean", "m2", "n_groups"))
    rmse, mse = rmse_from_moments(mean, m2, n_groups, cell["exact"])
    low, high = bootstrap_rmse(mse, bootstrap_seed(cell, level))
    centre, error, _ = spread(mean, m2, n_groups)
    chi2 = math.nan if cell["chi2"] is None else cell["chi2"]
    return {
        "kind": "level",
        "k": 2**level,
        "n_units": len(rows),
        "n_groups": int(n_groups.sum()),
        "rmse": rmse,
        "rmse_low": low,
        "rmse_high": high,
        "rmse_predicted": math.sqrt(chi2 / 2**level),
        "bias": centre - cell["exact"],
        "bias_std_error": error,
        "bias_predicted": -chi2 / 2 ** (level + 1),
    }


def _point(cell: Row, values: Mapping[str, Any]) -> Row:
    n_run, unbroken = cell["n_evaluations"], not values.get("tasks_found", [0])[0]
    worked = float(values["worked_seconds"][0]) or math.nan
    return {
        "kind": "path",
        "k": cell["n_samples"],
        "log_marginal": cell["log_marginal"],
        "std_error": cell["std_error"],
        "z": (cell["log_marginal"] - cell["exact"]) / cell["std_error"] if cell["std_error"] else math.nan,
        "n_run": n_run,
        "seconds": cell["seconds"],
        "ns_per_sample": 1e9 * cell["seconds"] / n_run if unbroken else math.nan,
        "ns_in_chunks": 1e9 * worked / cell["threads"] / n_run,
        "threads": cell["threads"],
        "peak_bytes": cell["peak_bytes"],
        "baseline_bytes": float(values["baseline_bytes"][0]),
        "provenance_id": cell["provenance_id"],
    }
