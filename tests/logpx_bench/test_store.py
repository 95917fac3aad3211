"""Exact tests of the results store: what is written comes back, once, whole, and into no file but ours."""

import json
import os
import sqlite3
import subprocess
import sys
import threading

import numpy as np
import pytest

from logpx_bench.errors import StoreError
from logpx_bench.schema import APPLICATION_ID, TABLES, VERSION, content_key
from logpx_bench.store import Store

CELL = {"suite": "s", "experiment": "e", "kind": "ladder", "model_options": {"n_latents": 2}, "warnings": ["one"]}
LEVELS = [(0, 0, 4, -1.5, 0.25), (1, 0, 4, float("-inf"), float("nan")), (0, 1, 2, -1.25, 0.125)]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "results.sqlite"


def fill(store, *keys, experiment="e", exact=-1.0):
    for key in keys:
        store.write_cell(
            CELL | {"key": key, "experiment": experiment, "exact": exact},
            levels=LEVELS,
            histogram={"edges": [0.0, 1.0, 2.0], "counts": [3, 1], "n_neg_inf": 2},
            values={"replicates": [1.5, float("nan"), float("-inf")]},
        )


def contents(path):
    with Store.open(path, create=False) as store:
        return {table: store.rows(f'SELECT * FROM "{table}" ORDER BY 1, 2, 3') for table in TABLES}


#: A program that has a file locked until it is told to let it go.
HOLDER = """
import sqlite3, sys
file = sqlite3.connect(sys.argv[1], isolation_level=None)
file.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.readline()
file.execute("ROLLBACK")
"""


def test_another_process_that_holds_the_file(path):
    with Store.open(path) as store:
        fill(store, "k1")
        command = [sys.executable, "-c", HOLDER, str(path)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
            assert other.stdout.readline() == "held\n"
            store._connection.execute("PRAGMA busy_timeout = 100")
            with pytest.raises(StoreError, match=r"results\.sqlite: cannot be written \(database is locked\)"):
                fill(store, "k2")
            store._connection.execute("PRAGMA busy_timeout = 30000")
            threading.Timer(0.2, lambda: print(file=other.stdin, flush=True)).start()
            fill(store, "k2")
        assert store.keys() == {"k1", "k2"}


def test_everything_written_comes_back(path):
    with Store.open(path) as store:
        fill(store, "k1")
    with Store.open(path, create=False) as store:
        (cell,) = store.cells("e")
        assert cell["model_options"] == {"n_latents": 2}
        assert cell["warnings"] == ["one"]
        assert cell["estimator_options"] == {}
        assert "k1" in store
        assert "k2" not in store
        rows = [(row["replicate"], row["level"], row["n_groups"], row["mean"], row["m2"]) for row in store.levels("k1")]
        assert rows == [(0, 0, 4, -1.5, 0.25), (1, 0, 4, float("-inf"), None), (0, 1, 2, -1.25, 0.125)]
        assert store.histogram("k1")["counts"] == [3, 1]
        assert store.histogram("k2") is None
        np.testing.assert_array_equal(store.values("k1")["replicates"], [1.5, np.nan, -np.inf])


def test_numpy_numbers_are_stored_as_numbers(path):
    with Store.open(path) as store:
        store.write_cell(CELL | {"key": "k", "ess": np.float64(2.5), "n_samples": np.int64(2**40)})
        assert (store.cells("e")[0]["ess"], store.cells("e")[0]["n_samples"]) == (2.5, 2**40)


def test_the_header_says_whose_file_it_is(path):
    Store.open(path).close()
    head = path.read_bytes()
    assert int.from_bytes(head[68:72], "big") == APPLICATION_ID == int.from_bytes(b"LPX1", "big")
    assert int.from_bytes(head[60:64], "big") == VERSION


def test_a_row_is_written_once_and_never_changed(path):
    with Store.open(path) as store:
        assert store.write_cell(CELL | {"key": "k", "exact": 1.0})
        assert not store.write_cell(CELL | {"key": "k", "exact": 2.0}, levels=LEVELS)
        assert store.cells("e")[0]["exact"] == 1.0
        assert store.count("levels") == 0


@pytest.mark.parametrize(
    "parts",
    [
        {"levels": [(0, 0, 1, 0.0, 0.0), (0, 0)]},
        {"values": {"good": [1.0], "bad": object()}},
        {"histogram": {"edges": [], "no_such_column": 1}},
        {"levels": iter([(0, 0, 1, 0.0, 0.0)]), "values": {"bad": ["text"]}},
    ],
    ids=["short level", "bad vector", "bad histogram", "text vector"],
)
def test_a_cell_whose_write_fails_leaves_nothing(path, parts):
    with Store.open(path) as store:
        with pytest.raises((StoreError, TypeError, ValueError)):
            store.write_cell(CELL | {"key": "k"}, **parts)
        assert [store.count(table) for table in ("cells", "levels", "values", "histograms")] == [0, 0, 0, 0]
        fill(store, "k")
        assert store.count("levels") == len(LEVELS)


def test_an_unknown_column_is_named(path):
    with Store.open(path) as store, pytest.raises(StoreError, match="no column exakt"):
        store.write_cell(CELL | {"key": "k", "exakt": 1.0})


def test_a_foreign_database_is_left_as_it_is(path):
    with sqlite3.connect(path) as foreign:
        foreign.execute("CREATE TABLE theirs (a)")
    foreign.close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match="another program"):
        Store.open(path)
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]


def test_a_file_that_is_no_database_is_left_as_it_is(path):
    path.write_text("notes of mine, by no means a database")
    with pytest.raises(StoreError, match="not a results file"):
        Store.open(path)
    assert path.read_text() == "notes of mine, by no means a database"


def test_a_damaged_file_is_refused(path):
    with Store.open(path) as store:
        fill(store, *(f"k{i}" for i in range(50)))
    whole = path.read_bytes()
    path.write_bytes(whole[:200] + b"\xff" * (len(whole) // 2))
    with pytest.raises(StoreError, match="cannot be read"):
        Store.open(path)


def test_a_store_without_its_tables_is_refused(path):
    Store.open(path).close()
    with sqlite3.connect(path) as ours:
        ours.execute("DROP TABLE levels")
    ours.close()
    with pytest.raises(StoreError, match="lacks the tables levels"):
        Store.open(path)


def test_a_newer_version_is_refused(path):
    Store.open(path).close()
    with sqlite3.connect(path) as ours:
        ours.execute(f"PRAGMA user_version = {VERSION + 1}")
    ours.close()
    with pytest.raises(StoreError, match="newer"):
        Store.open(path)


def test_a_file_of_the_first_version_is_given_what_it_lacks(path, tmp_path):
    first = sqlite3.connect(path)
    Store.open(path).close()
    for column in ("scikit_learn", "matplotlib"):
        first.execute(f"ALTER TABLE provenance DROP COLUMN {column}")
    first.execute("INSERT INTO provenance (id, cpu_model) VALUES ('old', 'x')")
    first.execute("PRAGMA user_version = 1")
    first.commit()
    first.close()
    with Store.open(tmp_path / "new.sqlite") as new:
        assert new.merge(path)[path]["provenance"] == 1
    with Store.open(path) as store:
        assert store.write_provenance({"id": "new", "matplotlib": "3.9"})
        assert [(row["id"], row["cpu_model"], row["matplotlib"]) for row in store.provenance()] == [
            ("new", None, "3.9"),
            ("old", "x", None),
        ]
        assert store.rows("PRAGMA user_version") == [{"user_version": VERSION}]


@pytest.mark.parametrize("kind", ["no bytes", "no tables"])
def test_an_empty_file_is_no_store_to_read(path, kind):
    path.touch()
    if kind == "no tables":
        empty = sqlite3.connect(path)
        empty.execute("VACUUM")
        empty.close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match=r"is empty\. Fill it with `logpx run quick"):
        Store.open(path, create=False)
    assert path.read_bytes() == before
    Store.open(path).close()
    Store.open(path, create=False).close()


def test_places_that_cannot_be_a_store(tmp_path):
    with pytest.raises(StoreError, match="is a folder"):
        Store.open(tmp_path)
    with pytest.raises(StoreError, match="no such results file"):
        Store.open(tmp_path / "none.sqlite", create=False)
    with pytest.raises(StoreError, match="folder does not exist"):
        Store.open(tmp_path / "nowhere" / "r.sqlite")
    assert os.listdir(tmp_path) == []


def test_merging_twice_adds_nothing(path, tmp_path):
    other = tmp_path / "other.sqlite"
    with Store.open(path) as store:
        fill(store, "a", "b")
    with Store.open(other) as store:
        fill(store, "b")
        fill(store, "c", exact=-2.0)
        store.write_provenance({"id": "p", "cpu_model": "x"})
        store.write_plan({"id": "plan", "suite": "s", "experiment": "e", "keys": ["b", "c"]})
    with Store.open(path) as store:
        added = store.merge(other)[other]
        assert (added["cells"], added["levels"], added["provenance"]) == (1, len(LEVELS), 1)
        assert sorted(row["exact"] for row in store.rows('SELECT "exact" FROM "cells"')) == [-2.0, -1.0, -1.0]
        assert store.count("levels") == 3 * len(LEVELS)
        again = store.merge(other, path, other)
        assert list(again) == [other]
        assert not any(again[other].values())
    once = contents(path)
    with Store.open(path) as store:
        store.merge(other)
    assert contents(path) == once


def test_merging_a_foreign_file_is_refused(path, tmp_path):
    (tmp_path / "notes.txt").write_text("not a database, nor ours")
    with Store.open(path) as store, pytest.raises(StoreError, match="not a results file"):
        store.merge(tmp_path / "notes.txt")


def test_cells_are_those_of_the_newest_complete_plan_in_its_order(path):
    plan = {"suite": "s", "experiment": "e"}
    with Store.open(path) as store:
        fill(store, "a", "b", "c")
        assert [row["key"] for row in store.cells("e")] == ["a", "b", "c"]
        store.write_plan(plan | {"id": "1", "keys": ["c", "b"], "created_utc": "2026-01-01"})
        assert [row["key"] for row in store.cells("e")] == ["c", "b"]
        store.write_plan(plan | {"id": "2", "keys": ["a", "missing"], "created_utc": "2026-01-02"})
        assert [row["key"] for row in store.cells("e")] == ["c", "b"]
        store.write_plan(plan | {"id": "3", "keys": ["b", "a"], "created_utc": "2026-01-03"})
        assert [row["key"] for row in store.cells("e")] == ["b", "a"]
        assert store.cells("e", "another suite") == []


def test_an_unfinished_first_run_shows_what_it_has(path):
    with Store.open(path) as store:
        fill(store, "a")
        store.write_plan({"id": "1", "suite": "s", "experiment": "e", "keys": ["missing", "a"]})
        assert [row["key"] for row in store.cells("e")] == ["a"]


def test_two_connections_see_each_other(path):
    with Store.open(path) as one, Store.open(path) as two:
        fill(one, "a")
        assert "a" in two
        fill(two, "b")
        assert one.keys() == {"a", "b"}


def test_export_writes_every_table_the_same_each_time(path, tmp_path):
    with Store.open(path) as store:
        fill(store, "b", "a")
        first = {p.name: p.read_bytes() for p in store.export(tmp_path / "out")}
        second = {p.name: p.read_bytes() for p in store.export(tmp_path / "out")}
    assert first == second
    assert set(first) == {f"{table}.csv" for table in TABLES}
    lines = first["cells.csv"].decode().splitlines()
    assert lines[0].split(",")[0] == "key"
    assert [line.split(",")[0] for line in lines[1:]] == ["a", "b"]


def test_a_content_key_depends_on_content_alone():
    assert content_key({"a": 1, "b": [1.5]}) == content_key(json.loads('{"b": [1.5], "a": 1}'))
    assert content_key({"a": 1}) != content_key({"a": 1.0000000000000002})
