"""From the store to plain tables: lists of dicts, no drawing.

Error at every k from one run. With G groups of k weights in each of R replicates, replicate r holds the mean a_r and
the centred sum of squares m_r of its G values of L_k. The mean squared error against the exact log p(x) is then

    MSE_r = (a_r − exact)² + m_r / G,      RMSE = sqrt(mean over r of MSE_r),

which is the mean of (L_k − exact)² over all R·G values, to the letter. The interval of RMSE is a percentile bootstrap
over replicates (Efron, 1979, doi:10.1214/aos/1176344552), 2000 resamples, seeded by the cell's coordinates: groups
of one replicate are independent too, but a replicate is the unit that makes no assumption. With weights of heavy tails
such an interval is too narrow: what no replicate met cannot be resampled. The bias is the mean of a_r less exact, with
the standard error of that mean. A replicate with L_k = −inf makes MSE, RMSE and bias infinite, not nan.

The cost of an estimate at k is k times the seconds per sample of the whole run; what a call costs beyond its samples
is not in it (the experiment `scaling` measures that).

Levels that some replicate lacks, or with fewer than 32 groups over all replicates, are left out.

Where no exact log p(x) is known, a long run stands in for it (`experiments.ladder`): `exact` is then its value,
`reference_error` its standard error, which also counts in that of the bias, `reference_samples` its length, and
`reference_from` what it drew from, "prior" or "proposal"; all are None where the value is exact.

A suite may run one case several times, with other sizes, seeds or settings of the model. A table holds one run of each
case, the largest and of those the first (`runs`), and says how many there were (`n_runs`).
"""

import csv
import io
import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from logpx_bench.moments import bootstrap_rmse, bootstrap_seed, rmse_from_moments, spread, wilson
from logpx_bench.schema import canonical
from logpx_bench.store import Store

Row = dict[str, Any]
Table = list[Row]

#: Least number of groups, over all replicates, that an error is computed from.
MIN_GROUPS = 32

#: Columns on what stands in for an exact value that is not known.
REFERENCE = ("reference_error", "reference_samples", "reference_from")
_CELL = (
    "suite",
    "experiment",
    "model",
    "model_options",
    "n_latents",
    "n_observed",
    "data",
    "row",
    "estimator",
    "estimator_options",
    "points",
    "dtype",
    "threads",
    "seed",
)


def label(estimator: str, options: dict[str, Any]) -> str:
    """An estimator with its options in words: `importance (widen 1.3)`."""
    if not options:
        return estimator
    words = (f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}" for name, value in options.items())
    return f"{estimator} ({', '.join(words)})"


_CASE = ("kind", "model", "n_latents", "data", "row", "estimator", "estimator_options", "points", "dtype")


def runs(store: Store, experiment: str, suite: str | None = None) -> Table:
    """The cells of an experiment, one a case: that of the largest n_samples, of those the first; `n_runs` counts them.

    A case is a model with its number of latents, a row of data and an estimator; in the kind "scaling" n_samples and
    threads tell cases apart too.
    """
    groups: dict[str, Table] = {}
    for cell in store.cells(experiment, suite):
        names = (*_CASE, "n_samples", "threads") if cell["kind"] == "scaling" else _CASE
        groups.setdefault(canonical([cell[name] for name in names]), []).append(cell)
    chosen = [max(own, key=lambda cell: cell["n_samples"] or 0) | {"n_runs": len(own)} for own in groups.values()]
    return [cell | _reference(store, cell) for cell in chosen]


def _reference(store: Store, cell: Row) -> Row:
    """What a cell is held against where its exact value is not known."""
    if cell["kind"] == "ladder" and cell["exact"] is None:
        found = store.values(cell["key"]).get("reference")
        if found is not None:
            value, error, n_samples, *from_prior = found.tolist()  # older files do not say which
            source = "prior" if any(from_prior) else "proposal"
            return {"exact": value} | dict(zip(REFERENCE, (error, int(n_samples), source), strict=True))
    return dict.fromkeys(REFERENCE)


def _cell(row: Row) -> Row:
    words = {"label": label(row["estimator"], row["estimator_options"]), "n_runs": row["n_runs"]}
    return {name: row[name] for name in (*_CELL, *REFERENCE)} | words


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


# -- error against k -----------------------------------------------------------------------------------------------


def errors_by_k(store: Store, experiment: str, suite: str | None = None) -> Table:
    """Error against k, per cell of a ladder experiment: bias, spread, RMSE with its interval, and cost.

    Columns: those of the cell (`suite` … `seed`, `label`), `k`, `n_replicates`, `n_groups` (all replicates), `mean`,
    `exact`, `bias`, `bias_std_error`, `sd` (of one L_k), `rmse`, `rmse_low`, `rmse_high` (95 %), `seconds_at_k`,
    `fit_seconds` (making the proposal, once), `delta_gap` = χ²/(2k), the delta method's Jensen gap (inf or nan where χ²
    is), `chi2`, `kl`, `bias_floor`; nats and seconds.
    """
    return [
        _error_row(cell, level, rows)
        for cell in _ladders(store, experiment, suite)
        for level, rows in _levels(store, cell).items()
    ]


def _ladders(store: Store, experiment: str, suite: str | None) -> Table:
    return [cell for cell in runs(store, experiment, suite) if cell["kind"] == "ladder" and cell["exact"] is not None]


def _levels(store: Store, cell: Row) -> dict[int, Table]:
    """Rows of every level that all replicates have and that has enough groups, in order."""
    levels: dict[int, Table] = {}
    for row in store.levels(cell["key"]):
        levels.setdefault(row["level"], []).append(row)
    return {
        level: rows
        for level, rows in sorted(levels.items())
        if len(rows) == cell["n_replicates"] and sum(row["n_groups"] for row in rows) >= MIN_GROUPS
    }


def _moments(rows: Table) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    mean, m2, n_groups = (np.array([_number(row[name]) for row in rows]) for name in ("mean", "m2", "n_groups"))
    return mean, m2, n_groups


def _error_row(cell: Row, level: int, rows: Table) -> Row:
    mean, m2, n_groups = _moments(rows)
    exact, k = cell["exact"], 2**level
    rmse, mse = rmse_from_moments(mean, m2, n_groups, exact)
    low, high = bootstrap_rmse(mse, bootstrap_seed(cell, level))
    if np.isfinite(mean).all():
        centre, error, sd = spread(mean, m2, n_groups)
    else:
        centre, error, sd = -math.inf, math.nan, math.inf
    per_sample = _number(cell["seconds"]) / max(1, cell["n_evaluations"] or 0)
    return _cell(cell) | {
        "k": k,
        "n_replicates": len(rows),
        "n_groups": int(n_groups.sum()),
        "mean": centre,
        "exact": exact,
        "bias": centre - exact,
        "bias_std_error": math.hypot(error, cell["reference_error"] or 0.0),
        "sd": sd,
        "rmse": rmse,
        "rmse_low": low,
        "rmse_high": high,
        "seconds_at_k": per_sample * k if cell["n_evaluations"] else math.nan,
        "fit_seconds": _number(cell["fit_seconds"]),
        "delta_gap": _number(cell["chi2"]) / (2 * k),
        "chi2": _number(cell["chi2"]),
        "kl": _number(cell["kl"]),
        "bias_floor": _number(cell["bias_floor"]),
    }


def errors_over_rows(store: Store, experiment: str, suite: str | None = None) -> Table:
    """RMSE against k over all rows of the data, one row a (model, estimator, k).

    The mean squared error of a replicate is the mean over the rows of the data; its mean and its bootstrap over
    replicates give `rmse`, `rmse_low` and `rmse_high`. Beside the cell's columns: `k`, `n_images`, `n_replicates` (of
    each row of the data), `n_groups` (all). Only levels that all rows of the data have.
    """
    groups: dict[str, Table] = {}
    for cell in _ladders(store, experiment, suite):
        groups.setdefault(canonical([cell[name] for name in (*_CASE, "n_replicates") if name != "row"]), []).append(
            cell
        )
    table = []
    for cells_ in groups.values():
        levels = [_levels(store, cell) for cell in cells_]
        shared = sorted(set.intersection(*map(set, levels)))
        table += [_pooled_row(cells_, level, [rows[level] for rows in levels]) for level in shared]
    return table


def _pooled_row(own: Table, level: int, rows: list[Table]) -> Row:
    errors = [rmse_from_moments(*_moments(part), cell["exact"])[1] for cell, part in zip(own, rows, strict=True)]
    mse = np.mean(errors, axis=0)
    low, high = bootstrap_rmse(mse, bootstrap_seed(own[0], level))
    return _cell(own[0]) | {
        "row": None,
        "k": 2**level,
        "n_images": len(own),
        "n_replicates": mse.size,
        "n_groups": sum(row["n_groups"] for part in rows for row in part),
        "rmse": math.sqrt(float(mse.mean())),
        "rmse_low": low,
        "rmse_high": high,
    }


# -- cells --------------------------------------------------------------------------------------------------------


def cells(store: Store, experiment: str, suite: str | None = None) -> Table:
    """One row a cell: its coordinates, its estimate against exact, its diagnostics, and its bill.

    Beside the columns of `errors_by_k`'s cell: `n_samples`, `n_replicates`, `exact`, `log_marginal`, `error`,
    `std_error`, `rmse` with `rmse_low` and `rmse_high` (of the replicates, each at k = n_samples), `elbo`, `ess`,
    `ess_fraction` = ess over the samples of all replicates, `pareto_k` (nan with `pareto_note` where there is none),
    `n_neg_inf`, `bias_floor`, `kl`, `chi2` (inf where infinite, nan where not known), `n_evaluations`, `n_gradients`,
    `seconds`, `cpu_seconds`, `compile_seconds`, `fit_seconds`, `peak_bytes`, `warnings` (list).
    """
    return [_cell_row(store, cell) for cell in runs(store, experiment, suite)]


def _cell_row(store: Store, cell: Row) -> Row:
    numbers = ("exact", "log_marginal", "std_error", "elbo", "ess", "pareto_k", "bias_floor", "kl", "chi2")
    bill = ("seconds", "cpu_seconds", "compile_seconds", "fit_seconds")
    row = _cell(cell) | {name: _number(cell[name]) for name in numbers + bill}
    counts = ("n_samples", "n_replicates", "n_neg_inf", "n_evaluations", "n_gradients", "peak_bytes")
    row |= {name: cell[name] for name in counts}
    row |= {"pareto_note": cell["pareto_note"], "warnings": cell["warnings"], "kind": cell["kind"]}
    row["error"] = row["log_marginal"] - row["exact"] if math.isfinite(row["exact"]) else math.nan
    row["ess_fraction"] = row["ess"] / cell["n_evaluations"] if cell["n_evaluations"] else math.nan
    replicates = store.values(cell["key"]).get("replicates")
    row |= {"rmse": math.nan, "rmse_low": math.nan, "rmse_high": math.nan}
    if replicates is not None and replicates.size >= MIN_GROUPS and math.isfinite(row["exact"]):
        one = np.ones(replicates.size)
        row["rmse"], mse = rmse_from_moments(replicates, 0.0 * one, one, row["exact"])
        row["rmse_low"], row["rmse_high"] = bootstrap_rmse(mse, bootstrap_seed(cell))
    return row


def histograms(store: Store, experiment: str, suite: str | None = None) -> Table:
    """Log-weight histograms, one row a bin: the cell, `left`, `right` (nats), `count`, `density` (per nat, over finite
    weights), and beside them, the same on each row of a cell, `n_neg_inf`, `exact`, `ess_fraction`, `pareto_k`,
    `pareto_note`, `chi2`."""
    table = []
    for cell in runs(store, experiment, suite):
        found = store.histogram(cell["key"])
        if found is None:
            continue
        row = _cell_row(store, cell)
        beside = {name: row[name] for name in ("exact", "ess_fraction", "pareto_k", "pareto_note", "chi2")}
        beside |= {"n_neg_inf": found["n_neg_inf"]}
        edges, total = found["edges"], max(1, sum(found["counts"]))
        for left, right, count in zip(edges[:-1], edges[1:], found["counts"], strict=True):
            bin_ = {"left": left, "right": right, "count": count, "density": count / total / (right - left)}
            table.append(_cell(cell) | bin_ | beside)
    return table


# -- the other kinds ----------------------------------------------------------------------------------------------


def scaling(store: Store, experiment: str = "scaling", suite: str | None = None) -> Table:
    """Run time and memory, one row a (n_samples, threads): `seconds` (median over `n_repeats` runs in one fresh
    process, compile time apart), `seconds_low`, `seconds_high` (least and most), `ns_per_sample`, `cpu_seconds`,
    `compile_seconds`, `peak_bytes` (of the whole process), `baseline_bytes` (the process before the run), `exact`,
    `log_marginal`, `error`, `std_error`, `z` = error / std_error."""
    table = []
    for cell in runs(store, experiment, suite):
        if cell["kind"] != "scaling":
            continue
        row, vectors = _cell_row(store, cell), store.values(cell["key"])
        times = vectors.get("seconds", np.array([row["seconds"]]))
        names = ("n_samples", "seconds", "cpu_seconds", "compile_seconds", "peak_bytes")
        more = {name: row[name] for name in (*names, "exact", "log_marginal", "error", "std_error")}
        more |= {"n_repeats": times.size, "seconds_low": float(times.min()), "seconds_high": float(times.max())}
        more["baseline_bytes"] = float(vectors.get("baseline_bytes", np.array([math.nan]))[0])
        more["ns_per_sample"] = 1e9 * row["seconds"] / cell["n_samples"]
        more["z"] = row["error"] / row["std_error"] if row["std_error"] > 0 else math.nan
        table.append(_cell(cell) | more)
    return sorted(table, key=lambda row: (row["label"], row["threads"], row["n_samples"]))


def ranking(store: Store, experiment: str = "ranking", suite: str | None = None) -> Table:
    """How often two models are ranked wrongly, one row a (cell, variant, k).

    `variant` is "independent" (each model has random numbers of its own) or "common" (both see the same). Columns: the
    cell (whose `model` is the one that explains x better, `other` the worse), `gap` = exact log p_a(x) − log p_b(x)
    (nats, > 0), `k`, `n_replicates`, `n_wrong` (replicates with log p̂_a < log p̂_b; ties count half), `wrong` (the
    share), `wrong_low`, `wrong_high` (95 %, Wilson, 1927, doi:10.1080/01621459.1927.10502953), `mean_difference`,
    `sd_difference`.
    """
    table = []
    for cell in runs(store, experiment, suite):
        if cell["kind"] != "ranking":
            continue
        vectors = store.values(cell["key"])
        for variant in ("independent", "common"):
            levels = sorted(int(name.split("/")[2]) for name in vectors if name.startswith(f"{variant}/a/"))
            for level in levels:
                a, b = (vectors[f"{variant}/{which}/{level}"] for which in "ab")
                table.append(
                    _cell(cell) | {"other": cell["model_options"]["other"]} | _ranked(cell, variant, level, a, b)
                )
    return table


def _ranked(cell: Row, variant: str, level: int, a: NDArray[np.float64], b: NDArray[np.float64]) -> Row:
    wrong = float(np.sum(a < b) + 0.5 * np.sum(a == b))
    low, high = wilson(wrong, a.size)
    finite = np.isfinite(a) & np.isfinite(b)
    difference = a[finite] - b[finite]
    return {
        "variant": variant,
        "gap": cell["exact"],
        "k": 2**level,
        "n_replicates": a.size,
        "n_wrong": wrong,
        "wrong": wrong / a.size,
        "wrong_low": low,
        "wrong_high": high,
        "mean_difference": float(difference.mean()) if finite.all() else math.nan,
        "sd_difference": float(difference.std(ddof=1)) if finite.all() and a.size > 1 else math.nan,
    }


def gallery(store: Store, experiment: str = "digits", suite: str | None = None) -> Table:
    """Images, one row each: `model` ("data", "pca", "ppca", …), `n_latents` (0 for the data), `panel`
    ("data", "reconstruction", "sample"), `index` (0, 1, …), `pixels` (64 numbers, row by row, 0 to 1 for data)."""
    table, seen = [], False
    for cell in runs(store, experiment, suite):
        if cell["kind"] != "gallery":
            continue
        where = {name: cell[name] for name in ("suite", "experiment")}
        vectors = store.values(cell["key"])
        panels = ["reconstruction", "sample"] if seen else ["data", "reconstruction", "sample"]
        seen = True
        for panel in panels:
            own = {"model": "data", "n_latents": 0} if panel == "data" else {n: cell[n] for n in ("model", "n_latents")}
            for index, image in enumerate(vectors.get(panel, np.empty(0)).reshape(-1, 64)):
                table.append(where | own | {"panel": panel, "index": index, "pixels": image.tolist()})
    return table


def provenance(store: Store, experiments: Sequence[str], suite: str | None = None) -> Table:
    """Provenance rows of the cells that the given experiments' tables read, oldest first."""
    return store.provenance({cell["provenance_id"] for name in experiments for cell in store.cells(name, suite)})


# -- writing ------------------------------------------------------------------------------------------------------


def write_csv(table: Iterable[Row], path: str | Path) -> Path:
    """Write a table as CSV: columns in the order of the first row, lists and dicts as JSON, always the same bytes."""
    path, rows = Path(path), list(table)
    text = io.StringIO()
    if rows:
        writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: _text(value) for name, value in row.items()} for row in rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text.getvalue(), encoding="utf-8", newline="\n")
    return path


def _text(value: Any) -> Any:
    if isinstance(value, dict | list | tuple):
        return json.dumps(value)
    return "" if value is None else value
