"""Rows of a table, sorted into series: one series is one estimator at one setting, on one model and one row of data.

A table is a list of dicts, as `summary` gives it. This file picks and groups; it computes nothing.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from logpx_bench.figures.style import Look, look
from logpx_bench.figures.words import Measured, listed, nats, power, replicates_note
from logpx_bench.summary import REFERENCE

Row = dict[str, Any]
Table = list[Row]

TITLES: Mapping[str, str] = {
    "importance": "importance",
    "ppca": "PPCA",
    "pca": "PCA",
    "factor_analysis": "factor analysis",
    "conjugate_normal": "conjugate normal",
    "gaussian_mixture": "Gaussian mixture",
    "mixture_target": "mixture target",
    "bernoulli_mixture": "Bernoulli mixture",
    "dirichlet_multinomial": "Dirichlet-multinomial",
    "beta_binomial": "beta-binomial",
    "hidden_markov": "hidden Markov",
    "rbm": "RBM",
    "linear_regression_nig": "linear regression (NIG)",
    "log_gamma": "log-gamma",
    "gaussian_shells": "Gaussian shells",
    "gaussian_box": "Gaussian box",
    "ppca_mixture": "mixture of PPCA",
    "vae": "VAE",
    "vae_gaussian": "VAE (Gaussian)",
    "vae_bernoulli": "VAE (Bernoulli)",
}
ORDER = ("uniform", "prior", "importance")
FILE = "file"  # the data of a model from a user's file: its own


class Series(NamedTuple):
    """Rows of one estimator at one setting, in order of the x axis, with the name and look it is drawn with."""

    name: str
    estimator: str
    look: Look
    rows: Table


def title(name: str) -> str:
    """The name of a model or estimator as it stands in a figure."""
    return TITLES.get(name, name.replace("_", " "))


def options(row: Mapping[str, Any], column: str = "estimator_options") -> dict[str, Any]:
    """The settings of a row, whether the table holds them as JSON or as a dict."""
    value = row.get(column) or {}
    return dict(json.loads(value) if isinstance(value, str) else value)


def finite(value: Any) -> bool:
    """Whether `value` is a number, and neither nan nor infinite."""
    return isinstance(value, (int, float)) and math.isfinite(value)


def columns(table: Iterable[Mapping[str, Any]], names: Sequence[str]) -> Table:
    """The named columns of a table, absent ones as None; settings become canonical JSON so that they fit a CSV cell.

    Those that say more than usual are kept too: on a reference run, and on data of the user's own.
    """
    result: Table = []
    rows = list(table)
    known = [name for name in REFERENCE if any(row.get(name) is not None for row in rows)]
    known += ["data"] if any(row.get("data") == FILE for row in rows) else []
    for row in rows:
        kept = {name: row.get(name) for name in (*names, *known)}
        for name, value in kept.items():
            if isinstance(value, (dict, list, tuple)):
                kept[name] = json.dumps(value, sort_keys=True)
        result.append(kept)
    return result


def lead_case(table: Table) -> Table:
    """Rows of the first model, number of latents and row of data in `table`: a figure on one image shows these."""
    if not table:
        return []
    case = ("model", "n_latents", "row")
    return [row for row in table if all(row.get(name) == table[0].get(name) for name in case)]


def _setting(row: Row, varying: Sequence[str]) -> str:
    given = options(row)
    return ", ".join(
        f"{name} {given[name]:g}" if finite(given[name]) else f"{name} {given[name]}"
        for name in varying
        if name in given
    )


def by_estimator(table: Table, x: str) -> list[Series]:
    """Series of `table`, uniform, prior and importance first; settings are named only where they tell series apart."""
    groups: dict[tuple[str, str, str], Table] = {}
    for row in table:
        key = (str(row["estimator"]), json.dumps(options(row), sort_keys=True), str(row.get("points") or ""))
        groups.setdefault(key, []).append(row)
    result: list[Series] = []
    rank = {name: position for position, name in enumerate(ORDER)}
    for estimator in sorted({key[0] for key in groups}, key=lambda name: (rank.get(name, len(rank)), name)):
        keys = [key for key in groups if key[0] == estimator]
        settings = [options(groups[key][0]) for key in keys]
        names = sorted({name for setting in settings for name in setting})
        varying = [name for name in names if len({json.dumps(s.get(name), sort_keys=True) for s in settings}) > 1]
        several_points = len({key[2] for key in keys}) > 1
        for variant, key in enumerate(keys):
            detail = [text for text in (_setting(groups[key][0], varying), key[2] if several_points else "") if text]
            name = title(estimator) + (f"\n({', '.join(detail)})" if detail else "")
            rows = sorted(groups[key], key=lambda row: float(row[x]))
            result.append(Series(name, estimator, look(estimator, variant), rows))
    return result


def one_line(series: Series) -> str:
    """The name of a series on one line."""
    return series.name.replace("\n", " ")


def rmse(row: Row) -> Measured:
    """The RMSE of a row with its bootstrap interval; the interval is the point where none was made."""
    low, high = row.get("rmse_low"), row.get("rmse_high")
    value = float(row["rmse"])
    return Measured(value, float(low or 0.0) if finite(low) else value, float(high or 0.0) if finite(high) else value)


def at_common_k(series: Sequence[Series], least_groups: int = 0) -> tuple[int, list[Row]]:
    """The largest k that every series has, and the row of each there; k is 0 where they share none.

    Of these, the largest with at least so many groups of k weights in every series, if there is one.
    """
    rows = [[row for row in each.rows if finite(row["rmse"])] for each in series]
    sets = [{int(row["k"]): int(row.get("n_groups") or 0) for row in own} for own in rows]
    shared = set.intersection(*map(set, sets)) if sets else set()
    if not shared:
        return 0, []
    known = [k for k in shared if min(groups[k] for groups in sets) >= least_groups]
    k = max(known or shared)
    return k, [next(row for row in each.rows if int(row["k"]) == k) for each in series]


def case_name(row: Row) -> str:
    """The model and image of a row, in words."""
    latents = row.get("n_latents")
    latents_text = (
        f" with {latents} latents" if latents and latents != 1 else " with one latent" if latents == 1 else ""
    )
    which = "row {} of its x" if row.get("data") == FILE else "held-out image {}"
    data = f", {which.format(row['row'])}" if row.get("row") is not None else ""
    return f"{title(str(row.get('model') or 'the model'))}{latents_text}{data}"


def column(rows: Iterable[Row], name: str) -> list[Any]:
    """One column of a table."""
    return [row[name] for row in rows]


def errors(rows: Iterable[Row]) -> tuple[list[float], list[float], list[float]]:
    """RMSE, and the ends of its interval, of each row."""
    points = [rmse(row) for row in rows]
    return [p.value for p in points], [p.low for p in points], [p.high for p in points]


def replicates(rows: Iterable[Row]) -> str:
    """How many replicates stand behind rows, and which run was taken where a case was run more than once."""
    known = list(rows)
    return replicates_note(row.get("n_replicates") for row in known) + other_runs(known) + reference_note(known)


def truth(row: Row) -> str:
    """What a row's errors are distances from, in words: `exact log p(x)`, or the estimate of a reference run."""
    return "exact log p(x)" if row.get("reference_error") is None else "reference log p̂(x)"


def reference_note(rows: Iterable[Row]) -> str:
    """A sentence on the run that stands in for an exact value that is not known, or nothing; it begins with a space."""
    found = [row for row in rows if row.get("reference_error") is not None]
    if not found:
        return ""
    row = max(found, key=lambda one: float(one["reference_error"]))
    source = "its prior" if row["reference_from"] == "prior" else "the model's own proposal"
    return (
        " No exact $\\log p(x)$ is known here: errors are against a reference run of "
        f"{power(row['reference_samples'])} samples from {source}, with a standard error of "
        f"{nats(row['reference_error'], 2)}; smaller errors than that are not resolved."
    )


def other_runs(rows: Iterable[Row]) -> str:
    """A sentence on runs of the same cases that are not shown, or nothing; it begins with a space."""
    most = max((int(row.get("n_runs") or 1) for row in rows), default=1)
    if most == 1:
        return ""
    return (
        f" A case was run up to {most} times, with other sizes, seeds or settings of the model: shown is the largest "
        "run, and of those the first."
    )


def all_zero(table: Table) -> str:
    """A sentence on estimates of minus infinity, which no axis can show, or nothing; it ends with a space."""
    found: dict[str, float] = {}
    for row in table:
        if any(isinstance(row.get(name), float) and math.isinf(row[name]) for name in ("rmse", "bias")):
            name = title(str(row["estimator"]))
            found[name] = max(found.get(name, 0.0), float(row["k"]))
    parts = [f"{name} up to $k$ = {power(top)}" for name, top in found.items()]
    return f"Not drawn: {listed(parts)}, where some estimate is of weights that are all zero. " if parts else ""


def if_any(table: Table, name: str) -> Table:
    """The table if some row has a finite number in this column, else none: there is nothing to draw."""
    return table if any(finite(row.get(name)) for row in table) else []


ROUNDING = 1e-9  # nats: an RMSE below this is rounding, not Monte Carlo


def inexact(table: Table) -> Table:
    """Rows of cells that have a Monte Carlo error: those with the exact posterior as proposal are left out."""
    exact = {_cell_of(row) for row in table if row.get("k") == 1 and finite(row.get("rmse")) and row["rmse"] < ROUNDING}
    return [row for row in table if _cell_of(row) not in exact]


def _cell_of(row: Row) -> tuple[str, ...]:
    case = tuple(str(row.get(name)) for name in ("model", "n_latents", "row", "estimator", "points"))
    return (*case, json.dumps(options(row), sort_keys=True))
