"""Exact tests of checkpoints that are refused: what each is said to be, and that it is left as it is."""

import sqlite3

import numpy as np
import pytest

import logpx
from logpx import Checkpoint, _jit, storefile, tasks
from logpx.errors import InputError, StoreError
from logpx.proposals import Gaussian, Prior

PPCA, X = logpx.models.PPCA.example()


def refused(path, says, error=StoreError, **changes):
    before = {file: file.read_bytes() for file in path.parent.iterdir()}
    with pytest.raises(error, match=says):
        logpx.estimate(**{"model": PPCA, "x": X[0], "n_samples": 5000, "checkpoint": path} | changes)
    assert {file: file.read_bytes() for file in path.parent.iterdir()} == before


FACTORS = logpx.models.FactorAnalysis(PPCA.weights, PPCA.mean, np.full(8, PPCA.noise_variance))
OTHER = logpx.models.PPCA(0.5 * PPCA.weights, PPCA.mean, PPCA.noise_variance)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"seed": 1}, r"What differs: seed \(0 there, 1 here\)\. Make the call"),
        ({"x": X[1]}, r"; x \(sha256:\w+… there, sha256:\w+… here\)"),
        ({"x": X}, "streams"),
        ({"model": OTHER}, "theta"),
        ({"model": FACTORS}, "model.*'ppca' there, 'factor_analysis' here"),
        ({"proposal": Gaussian([0.0, 0.0], [1.0, 1.0])}, "proposal_numbers"),
        ({"proposal": Prior()}, "proposal"),
        ({"points": "sobol"}, "points.*'independent' there, 'sobol' here"),
        ({"n_replicates": 2}, "n_replicates"),
        ({"dtype": "float32"}, "dtype"),
        ({"groups": (50,)}, r"groups \(\[\] there, \[50\] here\)"),
        ({"common": True}, "common"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_the_checkpoint_of_another_run(changes, says, path):
    logpx.estimate(PPCA, X[0], n_samples=5000, checkpoint=path)
    refused(path, f"the checkpoint of another run.*{says}", **changes)


@pytest.mark.parametrize(
    ("function", "says"), [("source_hash", "the code of logpx"), ("target", "the CPU target, for which alone the same")]
)
def test_the_checkpoint_of_another_code_or_cpu(function, says, path, monkeypatch):
    logpx.estimate(PPCA, X[0], n_samples=5000, checkpoint=path)
    monkeypatch.setattr(_jit, function, lambda: "another")
    refused(path, f"{says}.*'another' here")


def foreign(path):
    with sqlite3.connect(path) as file:
        file.execute("PRAGMA journal_mode = WAL")
        file.execute("CREATE TABLE a (b)")
    file.close()


def results_store(path):
    from logpx_bench.store import Store

    Store.open(path).close()


def newer(path):
    Checkpoint.open(path, create=True).close()
    with sqlite3.connect(path) as file:
        file.execute("PRAGMA user_version = 99")
    file.close()


def lacking(path):
    Checkpoint.open(path, create=True).close()
    with sqlite3.connect(path) as file:
        file.execute("DROP TABLE tasks")
    file.close()


def cut(length):
    def make(path):
        logpx.estimate(PPCA, X[0], n_samples=1 << 16, checkpoint=path)
        data = path.read_bytes()
        path.write_bytes(data[: length if length > 0 else length + len(data)])

    return make


def with_one_bit_turned(column):
    def make(path):
        logpx.estimate(PPCA, X[0], n_samples=5000, checkpoint=path)
        with sqlite3.connect(path) as file:
            ((data,),) = file.execute(f"SELECT {column} FROM tasks WHERE start = 0")
            data = data or b"\0" * 72
            file.execute(f"UPDATE tasks SET {column} = ?", [data[:70] + bytes([data[70] ^ 1]) + data[71:]])
        file.close()

    return make


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda path: path.write_bytes(b"\x89PNG and so on"), "no checkpoint of logpx, nor any SQLite file"),
        (foreign, "another kind of SQLite file"),
        (results_store, "another kind of SQLite file"),
        (newer, "newer than this logpx reads"),
        (lacking, "is damaged: it lacks tables"),
        (cut(50), "is damaged|cut short|another kind"),
        (cut(storefile.PAGE), "is damaged or cut short"),
        (cut(-storefile.PAGE), "is damaged or cut short"),
        (cut(-1), "is damaged or cut short"),
        (with_one_bit_turned("ladder"), "is damaged .*not a ladder"),
        (lambda path: path.mkdir(), "is a folder"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.__qualname__.partition(".")[0],
)
def test_a_file_that_is_no_checkpoint(make, says, path):
    make(path)
    if path.is_dir():
        with pytest.raises(StoreError, match=says):
            logpx.estimate(PPCA, X[0], n_samples=10, checkpoint=path)
        return
    refused(path, says)
    with pytest.raises(StoreError, match=says), Checkpoint.open(path) as file:
        list(file.ladders())


def test_groups_that_were_altered_are_refused(path):
    options = {"x": X[0], "groups": (50,), "n_samples": tasks.CHUNK, "checkpoint": path}
    logpx.estimate(PPCA, **options)
    with sqlite3.connect(path) as file:
        file.execute("UPDATE tasks SET groups = zeroblob(length(groups))")
    file.close()
    refused(path, "is damaged: the groups of samples 0", **options)


@pytest.mark.parametrize("given", [5, True, b"a", object()])
def test_what_is_no_path_is_refused(given):
    with pytest.raises(InputError, match=r"checkpoint=.*the path of a file"):
        logpx.estimate(PPCA, X[0], n_samples=10, checkpoint=given)
    with pytest.raises(InputError, match=r"checkpoint=.*the path of a file"):
        Checkpoint.open(given)


def test_places_where_no_file_can_be(tmp_path):
    with pytest.raises(StoreError, match="its folder does not exist"):
        logpx.estimate(PPCA, X[0], n_samples=10, checkpoint=tmp_path / "no" / "run.sqlite")
    with pytest.raises(StoreError, match=r"there is no checkpoint here.*estimate\(…, checkpoint="):
        Checkpoint.open(tmp_path / "run.sqlite")
    assert list(tmp_path.iterdir()) == []


def test_an_empty_file_becomes_a_checkpoint(path):
    path.touch()
    logpx.estimate(PPCA, X[0], n_samples=2048, checkpoint=path)
    with Checkpoint.open(path) as file:
        assert file.n_samples == 2048
    assert [file.name for file in path.parent.iterdir()] == ["run.sqlite"], "nothing is left beside"
