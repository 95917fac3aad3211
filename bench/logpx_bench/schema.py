"""The tables of a results file: their columns and what a row of each is keyed by.

Append-only: a row is written once, `INSERT OR IGNORE` on its key, and never changed. A key is a SHA-256 over the
canonical JSON of everything that determines the row, so that running again, or merging two files, adds nothing twice.
"""

import hashlib
import json
from collections.abc import Iterator
from typing import Any

#: "LPX1", in the header of every file of ours (SQLite's application_id).
APPLICATION_ID = 0x4C505831
#: Version of the tables below (SQLite's user_version).
VERSION = 2
#: Columns that came with a version: what a file of an earlier one is given, empty, when it is opened.
ADDED = {2: (("provenance", "scikit_learn"), ("provenance", "matplotlib"))}

_TEXT, _INT, _REAL = "TEXT", "INTEGER", "REAL"

#: table → (columns with their types, primary key)
TABLES = {
    "provenance": (
        {
            "id": _TEXT,
            "created_utc": _TEXT,
            "cpu_model": _TEXT,
            "n_cores": _INT,
            "threads": _INT,
            "load_1m": _REAL,
            "python": _TEXT,
            "numba": _TEXT,
            "llvmlite": _TEXT,
            "numpy": _TEXT,
            "scipy": _TEXT,
            "scikit_learn": _TEXT,
            "matplotlib": _TEXT,
            "logpx": _TEXT,
            "commit_hash": _TEXT,
            "dirty": _INT,
            "cpu_target": _TEXT,
            "source_hash": _TEXT,
        },
        ("id",),
    ),
    "plans": (
        {
            "id": _TEXT,
            "provenance_id": _TEXT,
            "suite": _TEXT,
            "experiment": _TEXT,
            "kind": _TEXT,
            "keys": _TEXT,
            "created_utc": _TEXT,
        },
        ("id",),
    ),
    "cells": (
        {
            "key": _TEXT,
            "provenance_id": _TEXT,
            "suite": _TEXT,
            "experiment": _TEXT,
            "kind": _TEXT,
            "model": _TEXT,
            "model_options": _TEXT,
            "n_latents": _INT,
            "n_observed": _INT,
            "data": _TEXT,
            "row": _INT,
            "estimator": _TEXT,
            "estimator_options": _TEXT,
            "points": _TEXT,
            "dtype": _TEXT,
            "threads": _INT,
            "n_samples": _INT,
            "n_replicates": _INT,
            "seed": _INT,
            "exact": _REAL,
            "log_marginal": _REAL,
            "std_error": _REAL,
            "elbo": _REAL,
            "ess": _REAL,
            "pareto_k": _REAL,
            "pareto_note": _TEXT,
            "n_neg_inf": _INT,
            "bias_floor": _REAL,
            "kl": _REAL,
            "chi2": _REAL,
            "n_evaluations": _INT,
            "n_gradients": _INT,
            "seconds": _REAL,
            "cpu_seconds": _REAL,
            "compile_seconds": _REAL,
            "fit_seconds": _REAL,
            "peak_bytes": _INT,
            "warnings": _TEXT,
            "created_utc": _TEXT,
        },
        ("key",),
    ),
    "levels": (
        {"key": _TEXT, "replicate": _INT, "level": _INT, "n_groups": _INT, "mean": _REAL, "m2": _REAL},
        ("key", "replicate", "level"),
    ),
    "histograms": ({"key": _TEXT, "edges": _TEXT, "counts": _TEXT, "n_neg_inf": _INT}, ("key",)),
    "values": ({"key": _TEXT, "name": _TEXT, "position": _INT, "value": _REAL}, ("key", "name", "position")),
    "benchmarks": (
        {
            "key": _TEXT,
            "provenance_id": _TEXT,
            "name": _TEXT,
            "grp": _TEXT,
            "case_name": _TEXT,
            "n": _INT,
            "rounds": _INT,
            "median_seconds": _REAL,
            "min_seconds": _REAL,
            "iqr_seconds": _REAL,
            "error": _REAL,
            "exact": _REAL,
            "extra": _TEXT,
            "created_utc": _TEXT,
        },
        ("key",),
    ),
}

#: Tables whose rows belong to a cell and are written with it.
PARTS = ("levels", "histograms", "values")


def statements() -> Iterator[str]:
    """The SQL that makes the tables."""
    for table, (columns, primary) in TABLES.items():
        body = ", ".join(f'"{name}" {kind}' for name, kind in columns.items())
        names = ", ".join(f'"{name}"' for name in primary)
        yield f'CREATE TABLE IF NOT EXISTS "{table}" ({body}, PRIMARY KEY ({names})) WITHOUT ROWID'
    yield 'CREATE INDEX IF NOT EXISTS "cells_by_experiment" ON "cells" ("experiment", "suite")'


def upgrades(version: int) -> Iterator[str]:
    """The SQL that brings a file of this version to the present one."""
    for later in range(version + 1, VERSION + 1):
        for table, column in ADDED[later]:
            yield f'ALTER TABLE "{table}" ADD COLUMN "{column}" {TABLES[table][0][column]}'


def canonical(value: Any) -> str:
    """Canonical JSON: sorted keys, no spaces, floats by their shortest exact form."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def content_key(value: Any) -> str:
    """SHA-256 over the canonical JSON of `value`, as 64 hex digits.

    >>> content_key({"a": 1, "b": 2}) == content_key({"b": 2, "a": 1})
    True
    """
    return hashlib.sha256(canonical(value).encode()).hexdigest()
