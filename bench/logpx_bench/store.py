"""Results on disk: one SQLite file, append-only, keyed by content.

A cell and all that belongs to it (level moments, histogram, vectors) go in within one transaction: a run that is
killed leaves whole cells and nothing else. Running again skips the keys that are there; merging a file twice adds
nothing the second time. A file that is not ours is never written to.

SQLite keeps nan as NULL; it comes back as None in a row and as nan in an array.
"""

import contextlib
import copy
import csv
import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from logpx_bench import union
from logpx_bench.errors import StoreError
from logpx_bench.schema import APPLICATION_ID, TABLES, VERSION, content_key, statements, upgrades

__all__ = ["Store", "content_key"]

Row = dict[str, Any]


class Store:
    """A results file. Make one with `Store.open`; use it in a `with` block.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> with tempfile.TemporaryDirectory() as folder, Store.open(pathlib.Path(folder) / "r.sqlite") as store:
    ...     store.write_cell({"key": "k1", "experiment": "demo", "exact": -1.5}, values={"replicates": [-1.4, -1.6]})
    ...     store.write_cell({"key": "k1", "experiment": "demo", "exact": 99.0})      # there already: ignored
    ...     store.cells("demo")[0]["exact"], store.values("k1")["replicates"].tolist()
    True
    False
    (-1.5, [-1.4, -1.6])
    """

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path, self._connection = path, connection
        self._model: str | None = None

    # -- opening ---------------------------------------------------------------------------------------------

    @classmethod
    def open(cls, path: str | Path, *, create: bool = True) -> "Store":
        """Open a results file; make it where there is none, or an empty file, and `create` is true. One of an earlier
        version is given the columns it lacks.

        Raises
        ------
        StoreError
            Nothing there, or an empty file (with `create=False`); a file that is not ours; one of a newer version; a
            damaged one.
        """
        path = Path(path)
        _check_file(path, create)
        connection = None
        try:
            connection = sqlite3.connect(path, timeout=30.0, isolation_level=None)
            connection.row_factory = sqlite3.Row
            _check_contents(path, connection, create)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            store = cls(path, connection)
            store._make_tables()
        except sqlite3.Error as error:
            if connection is not None:
                connection.close()
            raise StoreError(
                f"{path}: cannot be read as a results file ({error}). Move it away or name another."
            ) from error
        except StoreError:
            if connection is not None:
                connection.close()
            raise
        return store

    def _make_tables(self) -> None:
        ours = self._connection.execute("PRAGMA application_id").fetchone()[0] == APPLICATION_ID
        version = self._connection.execute("PRAGMA user_version").fetchone()[0]
        if ours and version == VERSION:
            return
        with self._transaction():
            for statement in upgrades(version) if ours else statements():
                self._connection.execute(statement)
            self._connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            self._connection.execute(f"PRAGMA user_version = {VERSION}")

    def close(self) -> None:
        """Close the file. Rows are on disk when the call that wrote them returned."""
        self._connection.close()

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        """All or nothing; SQLite's errors become ours."""
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            raise StoreError(f"{self.path}: cannot be written ({error}).") from error

    # -- writing ---------------------------------------------------------------------------------------------

    def write_provenance(self, row: Mapping[str, Any]) -> bool:
        """Record where a run happened, once per `row["id"]`. True if it was new."""
        with self._transaction():
            return self._insert("provenance", row)

    def write_plan(self, row: Mapping[str, Any]) -> bool:
        """Record which cells a run of an experiment consists of: `row["keys"]`, a list. True if it was new."""
        with self._transaction():
            return self._insert("plans", row)

    def write_benchmark(self, row: Mapping[str, Any]) -> bool:
        """Record one pytest-benchmark case. True if it was new."""
        with self._transaction():
            return self._insert("benchmarks", row)

    def write_cell(
        self,
        cell: Mapping[str, Any],
        *,
        levels: Iterable[tuple[int, int, int, float, float]] = (),
        histogram: Mapping[str, Any] | None = None,
        values: Mapping[str, ArrayLike] | None = None,
    ) -> bool:
        """Record a cell with all that belongs to it, in one transaction. True if it was new.

        Parameters
        ----------
        cell : mapping
            Columns of the table `cells`; `key` is needed, dicts and lists become JSON.
        levels : iterable of (replicate, level, n_groups, mean, m2)
            Moments of L_k of each replicate, k = 2^level; m2 is the centred sum of squares (nats²).
        histogram : mapping, optional
            `edges`, `counts`, `n_neg_inf` of log weights.
        values : mapping of name to 1-D array, optional
            Further vectors.

        Raises
        ------
        StoreError
            A column that the table does not have, or a file that cannot be written; nothing is left behind.
        """
        key = cell["key"]
        with self._transaction():
            if not self._insert("cells", cell):
                return False
            self._insert_many("levels", [(key, *(_plain(part) for part in row)) for row in levels])
            if histogram is not None:
                self._insert("histograms", {"key": key, **histogram})
            for name, array in (values or {}).items():
                rows = [(key, name, i, v) for i, v in enumerate(np.asarray(array, dtype=float).ravel().tolist())]
                self._insert_many("values", rows)
        return True

    def _insert(self, table: str, row: Mapping[str, Any]) -> bool:
        columns = TABLES[table][0]
        unknown = sorted(set(row) - set(columns))
        if unknown:
            raise StoreError(
                f"{self.path}: table {table} has no column {', '.join(unknown)}; it has {', '.join(columns)}."
            )
        names, marks = ", ".join(f'"{name}"' for name in row), ", ".join("?" * len(row))
        command = f'INSERT OR IGNORE INTO "{table}" ({names}) VALUES ({marks})'
        return self._connection.execute(command, [_plain(value) for value in row.values()]).rowcount > 0

    def _insert_many(self, table: str, rows: list[tuple[Any, ...]]) -> None:
        marks = ", ".join("?" * len(TABLES[table][0]))
        self._connection.executemany(f'INSERT OR IGNORE INTO "{table}" VALUES ({marks})', rows)

    # -- reading ---------------------------------------------------------------------------------------------

    def rows(self, command: str, parameters: Iterable[Any] = ()) -> list[Row]:
        """Rows of a SELECT, as dicts; JSON columns as text."""
        try:
            return [dict(row) for row in self._connection.execute(command, tuple(parameters))]
        except sqlite3.Error as error:
            raise StoreError(f"{self.path}: cannot be read ({error}).") from error

    def __contains__(self, key: object) -> bool:
        return bool(self.rows('SELECT 1 FROM "cells" WHERE "key" = ?', [key]))

    def keys(self) -> set[str]:
        """Keys of all cells."""
        return {row["key"] for row in self.rows('SELECT "key" FROM "cells"')}

    def count(self, table: str) -> int:
        """Rows in a table."""
        return int(self.rows(f'SELECT COUNT(*) AS n FROM "{table}"')[0]["n"])

    def experiments(self) -> list[str]:
        """Names of the experiments that have cells, sorted."""
        return [row["experiment"] for row in self.rows('SELECT DISTINCT "experiment" FROM "cells" ORDER BY 1')]

    def provenance(self, ids: Iterable[str] | None = None) -> list[Row]:
        """Provenance rows, oldest first; all, or those of the given ids."""
        found = self.rows('SELECT * FROM "provenance" ORDER BY "created_utc", "id"')
        wanted = None if ids is None else set(ids)
        return [row for row in found if wanted is None or row["id"] in wanted]

    def plan(self, experiment: str, suite: str | None = None) -> Row | None:
        """The run that a summary of `experiment` reads: its newest plan of which every cell is there; where no plan
        is complete, the newest; None where there is no plan. `keys` is a list."""
        where, parameters = '"experiment" = ?', [experiment]
        if suite is not None:
            where, parameters = where + ' AND "suite" = ?', [experiment, suite]
        command = f'SELECT * FROM "plans" WHERE {where} ORDER BY "created_utc" DESC, "id"'
        plans = [{**row, "keys": json.loads(row["keys"])} for row in self.rows(command, parameters)]
        there = self.keys()
        complete = [plan for plan in plans if there.issuperset(plan["keys"])]
        return next(iter(complete or plans), None)

    def cells(self, experiment: str, suite: str | None = None) -> list[Row]:
        """Cells of an experiment, in the order of its plan (see `plan`); without a plan, all of them by key.

        `model_options`, `estimator_options` and `warnings` come decoded.
        """
        where, parameters = '"experiment" = ?', [experiment]
        if suite is not None:
            where, parameters = where + ' AND "suite" = ?', [experiment, suite]
        found = self.rows(f'SELECT * FROM "cells" WHERE {where} ORDER BY "key"', parameters)
        for row in found:
            for name, empty in (("model_options", {}), ("estimator_options", {}), ("warnings", [])):
                row[name] = json.loads(row[name]) if row[name] else empty
        if self._model is not None:
            found = [row for row in found if row["model"] == self._model]
        plan = self.plan(experiment, suite)
        if plan is None:
            return found
        by_key = {row["key"]: row for row in found}
        return [by_key[key] for key in plan["keys"] if key in by_key]

    def of_model(self, model: str) -> "Store":
        """The same open file, of whose cells (`cells`) only those of one model are seen."""
        view = copy.copy(self)
        view._model = model
        return view

    def levels(self, key: str) -> list[Row]:
        """Level moments of a cell, by level then replicate."""
        return self.rows('SELECT * FROM "levels" WHERE "key" = ? ORDER BY "level", "replicate"', [key])

    def histogram(self, key: str) -> Row | None:
        """Histogram of a cell: edges, counts (lists), n_neg_inf; None if it has none."""
        found = self.rows('SELECT * FROM "histograms" WHERE "key" = ?', [key])
        if not found:
            return None
        return {**found[0], "edges": json.loads(found[0]["edges"]), "counts": json.loads(found[0]["counts"])}

    def values(self, key: str) -> dict[str, NDArray[np.float64]]:
        """Vectors of a cell by name; NULL comes back as nan."""
        found: dict[str, list[float]] = {}
        command = 'SELECT "name", "value" FROM "values" WHERE "key" = ? ORDER BY "name", "position"'
        for row in self.rows(command, [key]):
            found.setdefault(row["name"], []).append(np.nan if row["value"] is None else row["value"])
        return {name: np.array(column) for name, column in found.items()}

    # -- moving ----------------------------------------------------------------------------------------------

    def merge(self, *others: str | Path) -> dict[Path, dict[str, int]]:
        """Add what other results files hold and this one lacks, in one transaction; for each of them, rows added by
        table. Twice adds nothing; the file itself, and one that is named twice, is left out.

        Raises
        ------
        StoreError
            One of them is not a results file of ours, or contradicts another: the message names what, and nothing is
            merged.
        """
        once = {Path(other).resolve(): Path(other) for other in others}
        once.pop(self.path.resolve(), None)
        if len(once) > union.MOST:
            raise StoreError(f"{len(once)} files are too many to merge at once; give up to {union.MOST}.")
        for other in once.values():
            Store.open(other, create=False).close()
        attached: dict[str, Path] = {}
        try:
            for other in once.values():
                self._connection.execute(f"ATTACH DATABASE ? AS other{len(attached)}", [str(other)])
                attached[f"other{len(attached)}"] = other
            with self._transaction():
                return {other: self._add(name, other) for name, other in attached.items()}
        except sqlite3.Error as error:
            raise StoreError(f"{self.path}: cannot merge ({error}).") from error
        finally:
            for name in attached:
                self._connection.execute(f"DETACH DATABASE {name}")

    def _add(self, name: str, other: Path) -> dict[str, int]:
        if found := list(union.conflicts(self._connection, name)):
            raise StoreError(
                f"{other} contradicts what {self.path} holds or has just been given: {'; '.join(map(str, found))}. "
                "Nothing was merged. One of the two computed wrongly, or by other libraries: run the cell anew on both."
            )
        return union.add(self._connection, name)

    def export(self, folder: str | Path) -> list[Path]:
        """Write every table to `folder` as CSV, rows in key order; paths written."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        paths = []
        for table, (columns, primary) in TABLES.items():
            order = ", ".join(f'"{name}"' for name in primary)
            path = folder / f"{table}.csv"
            with path.open("w", newline="", encoding="utf-8") as file:
                writer = csv.writer(file, lineterminator="\n")
                writer.writerow(columns)
                writer.writerows(row.values() for row in self.rows(f'SELECT * FROM "{table}" ORDER BY {order}'))
            paths.append(path)
        return paths


def _plain(value: Any) -> Any:
    """What SQLite takes: JSON for dicts and lists, Python numbers for NumPy's."""
    if isinstance(value, dict | list | tuple):
        return json.dumps(value, sort_keys=isinstance(value, dict))
    if isinstance(value, np.generic):
        return value.item()
    return value


def _check_file(path: Path, create: bool) -> None:
    """Refuse, before SQLite touches it, a path that cannot be a results file."""
    if path.is_dir():
        raise StoreError(f"{path} is a folder; name a results file, such as {path / 'results.sqlite'}.")
    if not path.exists():
        if not create:
            raise StoreError(f"{path}: there is no such results file. Make one with `logpx run quick --store {path}`.")
        if not path.absolute().parent.is_dir():
            raise StoreError(f"{path}: its folder does not exist. Make the folder, or name another place.")
        return
    try:
        with path.open("rb") as file:
            head = file.read(16)
    except OSError as error:
        raise StoreError(f"{path}: cannot be read ({error.strerror}).") from error
    if head and head != b"SQLite format 3\0":
        raise StoreError(
            f"{path} is not a results file of logpx (nor any SQLite file); it is left as it is. Name another."
        )


def _check_contents(path: Path, connection: sqlite3.Connection, create: bool) -> None:
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    tables = {row["name"] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if application == 0 and version == 0 and not tables:
        if not create:
            raise StoreError(f"{path} is empty. Fill it with `logpx run quick --store {path}`, or name another.")
        return
    if application != APPLICATION_ID:
        raise StoreError(
            f"{path} is an SQLite file of another program (application_id {application:#x}, ours is "
            f"{APPLICATION_ID:#x}); it is left as it is. Name another."
        )
    if version > VERSION:
        raise StoreError(f"{path} is of version {version}, newer than this logpx reads ({VERSION}). Upgrade logpx.")
    if not tables.issuperset(TABLES):
        missing = ", ".join(sorted(set(TABLES) - tables))
        raise StoreError(f"{path} lacks the tables {missing}: it is damaged. Move it away and run again.")
