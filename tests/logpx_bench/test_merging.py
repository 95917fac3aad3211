"""Exact tests of `logpx merge`: idempotent, conflicts named and nothing merged, and whole whatever kills it."""

import contextlib
import signal
import sqlite3
import subprocess
import sys

import pytest
from typer.testing import CliRunner

import logpx
from logpx.checkpoint import Checkpoint
from logpx_bench import cli
from logpx_bench.store import Store

CELL = {"experiment": "e", "kind": "ladder", "exact": -1.0, "log_marginal": -1.5, "n_neg_inf": 0, "seconds": 2.0}


def write(path, *keys, levels=((0, 0, 32, -1.0, 0.5),), values=None, **columns):
    """A results file with these cells."""
    with Store.open(path) as store:
        for key in keys:
            store.write_cell({"key": key} | CELL | columns, levels=levels, values=values)


def keys_in(path):
    with Store.open(path, create=False) as store:
        return sorted(store.keys())


@pytest.fixture
def merge(tmp_path, monkeypatch):
    """Run `logpx merge` in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli, "console", cli.Console(width=400))
    return lambda *words: CliRunner().invoke(cli.app, ["merge", *map(str, words)])


# -- results files ------------------------------------------------------------------------------------------------


def test_the_first_file_receives_the_others_and_twice_adds_nothing(merge):
    write("a.sqlite", "one")
    write("b.sqlite", "one", "two")
    write("c.sqlite", "three", "two")
    result = merge("a.sqlite", "b.sqlite", "c.sqlite")
    assert result.exit_code == 0, result.output
    assert "b.sqlite: 1 cell and 0 benchmarks added to a.sqlite" in result.output
    assert "c.sqlite: 1 cell" in result.output
    assert (keys_in("a.sqlite"), keys_in("b.sqlite")) == (["one", "three", "two"], ["one", "two"])
    again = merge("a.sqlite", "b.sqlite", "c.sqlite")
    assert again.output.count("0 cells and 0 benchmarks") == 2


@pytest.mark.parametrize("option", ["--into", "--store"])
def test_another_file_can_receive_all(merge, option):
    write("a.sqlite", "one")
    write("b.sqlite", "two")
    assert merge("a.sqlite", "b.sqlite", option, "new.sqlite").exit_code == 0
    assert (keys_in("new.sqlite"), keys_in("a.sqlite")) == (["one", "two"], ["one"])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"log_marginal": -1.6}, "cell two of e, log_marginal: -1.5 there, -1.6 to be merged"),
        ({"log_marginal": None}, "log_marginal: -1.5 there, None to be merged"),
        ({"n_neg_inf": 3}, "n_neg_inf: 0 there, 3 to be merged"),
        ({"levels": ((0, 0, 32, -1.25, 0.5),)}, "levels 0 0 mean: -1.0 there, -1.25 to be merged"),
        ({"values": {"replicates": [1.0, 2.5]}}, "replicates 1 value: 2.0 there, 2.5 to be merged"),
    ],
)
def test_a_contradiction_is_named_and_nothing_is_merged(merge, tmp_path, change, said):
    values = {"replicates": [1.0, 2.0]}
    write("a.sqlite", "one", values=values)
    write("b.sqlite", "two", "five", values=values)
    write("c.sqlite", "two", "four", **{"values": values} | change)
    before = keys_in("a.sqlite")
    result = merge("a.sqlite", "b.sqlite", "c.sqlite")
    assert result.exit_code == 2
    assert "c.sqlite contradicts what a.sqlite holds" in result.output
    assert said in result.output
    assert keys_in("a.sqlite") == before
    assert merge("b.sqlite", "c.sqlite", "--into", "new.sqlite").exit_code == 2
    assert not (tmp_path / "new.sqlite").exists()


def test_times_and_rounding_contradict_nothing(merge):
    write("a.sqlite", "one", values={"seconds": [1.0], "ns/exp/best": [3.0]})
    write("b.sqlite", "one", values={"seconds": [9.0], "ns/exp/best": [4.0]}, seconds=9.0, exact=-1.0 - 1e-12)
    assert "0 cells" in merge("a.sqlite", "b.sqlite").output


def test_files_that_are_not_ours_or_of_another_kind_are_refused(merge, tmp_path):
    write("a.sqlite", "one")
    model, x = logpx.models.PPCA.example()
    logpx.estimate(model, x[0], n_samples=1024, checkpoint="run.sqlite")
    (tmp_path / "notes.txt").write_text("notes")
    (tmp_path / "empty.sqlite").touch()
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    for name, said in (
        ("notes.txt", "notes.txt is not a file of logpx"),
        ("empty.sqlite", "empty.sqlite is empty or a file of another program"),
        ("run.sqlite", "run.sqlite is a checkpoint and a.sqlite a results file: merge files of one kind"),
        ("none.sqlite", "none.sqlite: there is no such file"),
    ):
        result = merge("a.sqlite", name)
        assert result.exit_code == 2
        assert said in result.output
        assert {path: path.read_bytes() for path in before} == before


#: A merge that says when it is half through its transaction, and waits there.
HALF = """
import time
from logpx_bench import cli, union

add = union.add

def half(connection, name):
    added = add(connection, name)
    if name == "other1":
        print("half", flush=True)
        time.sleep(60)
    return added

union.add = half
cli.main()
"""


def test_sigterm_in_the_middle_leaves_the_target_whole(merge):
    write("a.sqlite", "one")
    write("b.sqlite", "two")
    write("c.sqlite", "three")
    command = [sys.executable, "-c", HALF, "merge", "a.sqlite", "b.sqlite", "c.sqlite"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "half\n"
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=30)
    assert process.returncode == 143
    assert "Go on from there: logpx merge a.sqlite b.sqlite c.sqlite" in said
    assert keys_in("a.sqlite") == ["one"]
    with contextlib.closing(sqlite3.connect("a.sqlite")) as file:
        assert file.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert merge("a.sqlite", "b.sqlite", "c.sqlite").exit_code == 0
    assert keys_in("a.sqlite") == ["one", "three", "two"]


# -- checkpoints --------------------------------------------------------------------------------------------------


def run(path, n_samples, seed=0):
    model, x = logpx.models.PPCA.example()
    return logpx.estimate(model, x[0], n_samples=n_samples, seed=seed, threads=1, checkpoint=path)


def test_checkpoints_of_one_run_become_one(merge):
    run("a.sqlite", 2**15)
    whole = run("b.sqlite", 2**17)
    result = merge("a.sqlite", "b.sqlite")
    assert result.exit_code == 0, result.output
    with Checkpoint.open("b.sqlite") as file:
        assert f"b.sqlite: {len(file.rows()) - 1} chunks added to a.sqlite" in result.output  # the first was there
    assert "b.sqlite: 0 chunks added" in merge("a.sqlite", "b.sqlite").output
    assert merge("a.sqlite", "b.sqlite", "--into", "c.sqlite").exit_code == 0
    for path in ("a.sqlite", "c.sqlite"):
        with Checkpoint.open(path) as file:
            assert file.n_samples == 2**17
        assert run(path, 2**17).log_marginal == whole.log_marginal


def test_checkpoints_of_two_runs_stay_apart(merge, tmp_path):
    run("a.sqlite", 2**15)
    run("b.sqlite", 2**16)
    run("c.sqlite", 2**15, seed=1)
    for words in (("a.sqlite", "b.sqlite", "c.sqlite"), ("b.sqlite", "c.sqlite", "--into", "new.sqlite")):
        result = merge(*words)
        assert result.exit_code == 2
        assert "c.sqlite (here) are checkpoints of two runs, and nothing was merged" in result.output
        assert "What differs: seed (0 there, 1 here)." in result.output
    assert not (tmp_path / "new.sqlite").exists()
    with Checkpoint.open("a.sqlite") as file:
        assert file.n_samples == 2**15
    assert "name the one that receives it first: logpx merge A B" in merge("a.sqlite").output


#: A merge that says when all chunks are in and none is committed, and waits there.
WITHIN = """
import contextlib, time
from logpx import storefile
from logpx_bench import cli

transaction = storefile.transaction

@contextlib.contextmanager
def slow(path, connection):
    with transaction(path, connection):
        yield
        print("within", flush=True)
        time.sleep(60)

storefile.transaction = slow
cli.main()
"""


def test_sigterm_within_a_merge_of_checkpoints_leaves_the_target_whole(merge):
    run("a.sqlite", 2**15)
    whole = run("b.sqlite", 2**17)
    command = [sys.executable, "-c", WITHIN, "merge", "a.sqlite", "b.sqlite"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "within\n"
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=30)
    assert process.returncode == 143
    assert "Go on from there: logpx merge a.sqlite b.sqlite" in said
    with Checkpoint.open("a.sqlite") as file:
        assert file.n_samples == 2**15
    with contextlib.closing(sqlite3.connect("a.sqlite")) as file:
        assert file.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert merge("a.sqlite", "b.sqlite").exit_code == 0
    assert run("a.sqlite", 2**17).log_marginal == whole.log_marginal


def test_a_chunk_with_other_bits_is_named(merge):
    run("a.sqlite", 2**15)
    run("b.sqlite", 2**15)
    other = run("c.sqlite", 2**15, seed=1)
    with contextlib.closing(sqlite3.connect("c.sqlite")) as file:
        (ladder,) = file.execute("SELECT ladder FROM tasks WHERE start = 0").fetchone()
    with contextlib.closing(sqlite3.connect("b.sqlite", isolation_level=None)) as file:
        file.execute("UPDATE tasks SET ladder = ? WHERE start = 0", [ladder])
    result = merge("a.sqlite", "b.sqlite")
    assert result.exit_code == 2
    assert "b.sqlite was not merged" in result.output
    assert "samples 0 … 32767 of streams 0 … 0 are there with other bits" in result.output
    assert run("a.sqlite", 2**15).log_marginal != other.log_marginal
