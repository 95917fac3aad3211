"""Exact tests of what a run keeps within its cells: which file, what is said of it, and that none is overwritten."""

import dataclasses
import re
import shutil
import sqlite3

import pytest
from typer.testing import CliRunner

import logpx
from logpx.checkpoint import Checkpoint
from logpx.tasks import Done
from logpx_bench import cli, resume, runner
from logpx_bench import suite as suites
from logpx_bench.errors import StoreError
from logpx_bench.store import Store

SUITE = """
[[experiment]]
name = "error_against_k"
kind = "ladder"
model = {name = "ppca", n_latents = 2, n_observed = 8}
data = "sample"
estimators = [{name = "importance"}]
n_samples = "2^15"
n_replicates = 32
"""


@pytest.fixture
def invoke(tmp_path, monkeypatch):
    """`logpx run` of the suite in an empty folder, all of its cells being long ones."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli, "console", cli.Console(width=400))
    monkeypatch.setattr(resume, "LONG", 0.0)
    (tmp_path / "tiny.toml").write_text(SUITE)

    def invoke(*options, store="r.sqlite"):
        return CliRunner().invoke(cli.app, ["run", "tiny.toml", "--threads", "2", "--store", store, *options])

    return invoke


def cell_of(path):
    with Store.open(path, create=False) as store:
        (cell,) = store.cells("error_against_k")
        return cell, store.levels(cell["key"]), store.values(cell["key"])["replicates"].tolist()


def checkpoint_in(folder):
    (path,) = folder.glob("*.checkpoints/ladder-ppca-importance-????????????.sqlite")
    return path


def test_a_cell_keeps_its_chunks_where_it_is_asked_to(invoke, tmp_path):
    assert invoke(store="plain.sqlite").exit_code == 0
    assert not (tmp_path / "plain.sqlite.checkpoints").exists()
    result = invoke("--resume")
    assert "Finished chunks stay in r.sqlite.checkpoints: a run of more samples goes on from them." in result.output
    (tmp_path / "r.sqlite").unlink()
    again = invoke("--resume")
    said = r"importance row=0 k=2\^15 ×32 goes on from a checkpoint: \d+ chunks there, 32,768 samples without a gap"
    assert re.search(said, again.output)
    (plain, *rest), (resumed, *same) = cell_of("plain.sqlite"), cell_of("r.sqlite")
    assert same == rest
    assert [plain[name] for name in ("log_marginal", "ess")] == [resumed[name] for name in ("log_marginal", "ess")]
    with Checkpoint.open(checkpoint_in(tmp_path)) as file:
        worked = file.seconds(file.rows())
    assert resumed["seconds"] == pytest.approx(worked / 2)  # all of the work, though none of it was done again
    assert resumed["n_evaluations"] == 32 * 2**15


def test_short_cells_keep_nothing(invoke, tmp_path, monkeypatch):
    monkeypatch.setattr(resume, "LONG", 1e6)
    assert invoke("--resume").exit_code == 0
    assert not (tmp_path / "r.sqlite.checkpoints").exists()


@pytest.mark.parametrize(
    ("fact", "said"), [("source", "the code of logpx"), ("cpu_target", "the CPU target, for which alone the same bits")]
)
def test_a_checkpoint_of_other_code_is_refused_and_moved_aside_only_when_told(invoke, tmp_path, fact, said):
    invoke("--resume")
    path = checkpoint_in(tmp_path)
    with sqlite3.connect(path) as file:
        file.execute(f"UPDATE run SET facts = json_set(facts, '$.{fact}', 'older')")
    file.close()
    before = path.read_bytes()
    (tmp_path / "r.sqlite").unlink()
    refused = invoke("--resume")
    assert refused.exit_code == 2
    assert "is of another build, and is left as it is" in refused.output
    assert f"What differs: {said}" in refused.output
    assert "('older' there, " in refused.output
    assert "run again with --fresh, which moves the file aside" in refused.output
    assert path.read_bytes() == before
    fresh = invoke("--resume", "--fresh")
    assert fresh.exit_code == 0, fresh.output
    aside = path.with_name(f"{path.stem}.old-1.sqlite")
    assert f"{path.name} was moved aside, to {aside.name}" in fresh.output
    assert aside.read_bytes() == before
    assert invoke("--resume", "--fresh").output.count("moved aside") == 0  # the cell is in the store: nothing to do


def test_a_file_that_is_no_checkpoint_is_left_as_it_is(invoke, tmp_path):
    invoke("--resume")
    path = checkpoint_in(tmp_path)
    path.write_text("notes, by no means a database")
    (tmp_path / "r.sqlite").unlink()
    result = invoke("--resume")
    assert result.exit_code == 2
    assert "experiment 'error_against_k'" in result.output
    assert "no checkpoint of logpx" in result.output
    assert path.read_text() == "notes, by no means a database"


def test_cells_share_a_file_only_where_their_streams_are_the_same(tmp_path):
    (tmp_path / "tiny.toml").write_text(SUITE)
    (cell,) = runner.expand(suites.load(tmp_path / "tiny.toml"))
    name = resume.name_of(cell)
    for same in ({"n_samples": 2**20}, {"suite": "other"}, {"experiment": "other"}, {"threads": 3}):
        assert resume.name_of(dataclasses.replace(cell, **same)) == name
    for other in ({"seed": 1}, {"row": 1}, {"n_replicates": 64}, {"dtype": "float32"}, {"data": "digits"}):
        assert resume.name_of(dataclasses.replace(cell, **other)) != name


@pytest.fixture
def live(tmp_path):
    """A checkpoint that is being written; what is committed lies in SQLite's log."""
    model, x = logpx.models.PPCA.example()
    ladder = logpx.estimate(model, x[0], n_samples=1024).ladder
    with Checkpoint.open(tmp_path / "a.sqlite", create=True) as file:
        file.claim({"streams": 1})
        file.add((range(1), Done(ladder, {}, 0.5, "here")))
        yield tmp_path / "a.sqlite"


def test_a_checkpoint_that_is_being_written_is_not_moved(live):
    before = sorted(live.parent.iterdir())
    with pytest.raises(StoreError, match=r"a\.sqlite is being written by process \d+"):
        resume.set_aside(live)
    assert sorted(live.parent.iterdir()) == before


def test_a_checkpoint_that_a_killed_run_left_is_moved_in_one_file(live, tmp_path):
    killed = tmp_path / "killed"
    killed.mkdir()
    for end in ("", "-wal"):
        shutil.copy(f"{live}{end}", killed)
    aside = resume.set_aside(killed / live.name)
    assert [path.name for path in killed.iterdir()] == ["a.old-1.sqlite"]
    with Checkpoint.open(aside) as file:
        assert file.n_samples == 1024


def test_a_file_moved_aside_never_takes_a_name_that_is_taken(tmp_path):
    for name in ("a.sqlite", "a.old-1.sqlite"):
        (tmp_path / name).write_text(name)
    assert resume.set_aside(tmp_path / "a.sqlite").name == "a.old-2.sqlite"
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "a.old-1.sqlite": "a.old-1.sqlite",
        "a.old-2.sqlite": "a.sqlite",
    }
