"""From the store to the table of races: every library beside logpx, case by case.

A cell of kind "peers" holds the nanoseconds an element of every round, for logpx and for each library's three ways: its
best variant, the best of those made of its own functions alone, and the way its user would first write it. Here they
become ratios, theirs over ours of the same round, with the median, its quartiles and a bootstrap interval
(`moments.ratio`). A case run more than once counts as it was last.
"""

import math
from typing import Any

import numpy as np

from logpx_bench.moments import ratio
from logpx_bench.store import Store

Row = dict[str, Any]

OURS, ROLES = "logpx", ("best", "library", "as written")


def peers(store: Store, suite: str | None = None) -> list[Row]:
    """One row a case, precision, number of threads, library and role; libraries without a time have a reason.

    Columns: `suite`, `experiment`, `case`, `dtype`, `threads`, `peer`, `versions` (dict), `role` ("best", "library",
    "as written"), `variant` (in words), `ns` (an element; median over rounds), `ns_ours`, `ratio` (median) with
    `ratio_lower`, `ratio_upper` (quartiles) and `ratio_low`, `ratio_high` (95 %), `n_rounds`, `n_tried` (variants that
    the search gave a time) of `n_variants`, `compile_seconds` (of the variant; compilation and its first run),
    `note` (why there is no time, else ""). logpx itself has the role "best" and the ratio 1. nan where there is no
    time.
    """
    return [row for cell in _last(store, suite) for row in _rows(store, cell)]


def tried(store: Store) -> list[Row]:
    """One row a variant of every library's search, in its order.

    Columns: `case`, `dtype`, `threads`, `peer`; `variant` (in words), `library` (of its functions alone), `as_written`,
    `ns` (an element; None where it has no time), `prepare_seconds`, `note` (why it has none).
    """
    return [
        {"case": cell["model"], "dtype": cell["dtype"], "threads": cell["threads"], "peer": peer}
        | {"variant": one["words"]}
        | {name: one.get(name) for name in ("library", "as_written", "ns", "prepare_seconds", "note")}
        for cell in _last(store)
        for peer, told in cell["estimator_options"]["peers"].items()
        for one in told["tried"]
        if peer != OURS
    ]


def _last(store: Store, suite: str | None = None) -> list[Row]:
    """The last race of every case, precision and number of threads."""
    last: dict[tuple[Any, ...], Row] = {}
    for experiment in store.experiments():
        for cell in store.cells(experiment, suite):
            if cell["kind"] == "peers":
                key = cell["model"], cell["dtype"], cell["threads"]
                if key not in last or cell["created_utc"] >= last[key]["created_utc"]:
                    last[key] = cell
    return list(last.values())


def _rows(store: Store, cell: Row) -> list[Row]:
    vectors = store.values(cell["key"])
    where = {name: cell[name] for name in ("suite", "experiment", "dtype", "threads")} | {"case": cell["model"]}
    return [
        where | {"peer": peer, "role": role} | _told(told, role) | _times(vectors, peer, role)
        for peer, told in cell["estimator_options"]["peers"].items()
        for role in (ROLES[:1] if peer == OURS else ROLES)
    ]


def _told(told: Row, role: str) -> Row:
    counts = told["compile_seconds"].get(role)
    return {
        "versions": told["versions"],
        "variant": told["variant"][role],
        "n_tried": sum(one["ns"] is not None for one in told["tried"]),
        "n_variants": len(told["tried"]),
        "compile_seconds": math.nan if counts is None else counts,
        "note": told["absent"] or told["note"].get(role) or "",
    }


def _times(vectors: dict[str, Any], peer: str, role: str) -> Row:
    ours, theirs = (vectors.get(f"ns/{name}/{way}", np.array([])) for name, way in ((OURS, ROLES[0]), (peer, role)))
    found = ratio(theirs, ours) if theirs.size == ours.size else ratio([], [])
    return {
        "ns": float(np.median(theirs)) if theirs.size else math.nan,
        "ns_ours": float(np.median(ours)) if ours.size else math.nan,
        "n_rounds": ours.size,
        "ratio": found.median,
        "ratio_lower": found.lower,
        "ratio_upper": found.upper,
        "ratio_low": found.low,
        "ratio_high": found.high,
    }
