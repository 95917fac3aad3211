"""Rows of other results files added to one, through SQLite's ATTACH, and rows that contradict each other.

A key is a hash of what determines a row, so a key that both files have stands for the same row, and the one that is
there stays. Times, memory and provenance are of the run that measured them and may differ. Results may not: where one
differs by more than rounding (10^-9, as linear algebra rounds differently from machine to machine), one is wrong.
"""

import sqlite3
from collections.abc import Iterator
from typing import NamedTuple

from logpx_bench.schema import PARTS, TABLES

#: Files that SQLite attaches at a time.
MOST = 10
#: Columns that are results, by table.
_RESULTS = {
    "cells": ("exact", "log_marginal", "std_error", "elbo", "ess", "bias_floor", "kl", "chi2", "n_neg_inf"),
    "levels": ("n_groups", "mean", "m2"),
    "values": ("value",),
}
#: Vectors that are measurements, by the beginning of their names.
_MEASURED = ("seconds", "worked_seconds", "tasks_found", "baseline_bytes", "ns/", "limit/")
_DIFFER = "a.{0} IS NOT b.{0} AND coalesce(abs(a.{0} - b.{0}) > 1e-9 * max(1, abs(a.{0}), abs(b.{0})), 1)"


class Conflict(NamedTuple):
    """A result that two files give differently: of which cell, and both values."""

    experiment: str
    key: str
    what: str
    here: object
    there: object

    def __str__(self) -> str:
        return f"cell {self.key[:12]} of {self.experiment}, {self.what}: {self.here} there, {self.there} to be merged"


def conflicts(connection: sqlite3.Connection, other: str) -> Iterator[Conflict]:
    """One conflict for each kind of result in which an attached file contradicts the main one."""
    for table, columns in _RESULTS.items():
        primary = TABLES[table][1]
        same = " AND ".join(f'a."{name}" = b."{name}"' for name in primary)
        told = " || ' ' || ".join(f'a."{name}"' for name in primary[1:]) or "''"
        kept = " AND ".join(f"a.name NOT LIKE '{name}%'" for name in _MEASURED) if table == "values" else "1"
        for column in columns:
            command = (
                f'SELECT c.experiment, a.key, {told}, a."{column}", b."{column}" FROM main."{table}" a '
                f'JOIN {other}."{table}" b ON {same} JOIN main.cells c ON c.key = a.key '
                f"WHERE {kept} AND {_DIFFER.format(column)} LIMIT 1"
            )
            for experiment, key, where, here, there in connection.execute(command):
                what = column if table == "cells" else f"{table} {where} {column}".replace("values ", "")
                yield Conflict(experiment, key, what, here, there)


def add(connection: sqlite3.Connection, other: str) -> dict[str, int]:
    """Insert what the main file lacks; rows added, by table."""
    added = {}
    for table in (*PARTS, *(name for name in TABLES if name not in PARTS)):
        columns = ", ".join(f'"{name}"' for name in TABLES[table][0])
        fresh = ' WHERE "key" NOT IN (SELECT "key" FROM main."cells")' if table in PARTS else ""
        command = f'INSERT OR IGNORE INTO main."{table}" ({columns}) SELECT {columns} FROM {other}."{table}"{fresh}'
        added[table] = connection.execute(command).rowcount
    return added
