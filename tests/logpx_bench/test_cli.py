"""Exact tests of the `logpx` command: what it says, its exit codes, and that a foreseen error shows no traceback."""

import dataclasses
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from logpx_bench import cli, doctor, exits
from logpx_bench.experiments import KINDS, Record
from logpx_bench.store import Store

TINY = """
title = "tiny"
[[experiment]]
name = "error_against_k"
kind = "ladder"
model = {name = "ppca", n_latents = 2}
estimators = [{name = "prior"}]
n_samples = "2^7"
n_replicates = 32
"""


@pytest.fixture
def invoke(tmp_path, monkeypatch):
    """Run the command in an empty folder, on a wide terminal."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli, "console", cli.Console(width=200))
    (tmp_path / "tiny.toml").write_text(TINY)

    def invoke(*arguments):
        given = [str(one) for one in arguments]
        monkeypatch.setattr(sys, "argv", ["logpx", *given])
        return CliRunner().invoke(cli.app, given)

    return invoke


@pytest.fixture
def pretend(monkeypatch):
    run = lambda cell, resources: Record(columns={"exact": -1.0})  # noqa: E731
    monkeypatch.setitem(KINDS, "ladder", dataclasses.replace(KINDS["ladder"], run=run))


def test_run_then_run_again(invoke, pretend, tmp_path):
    first = invoke("run", "tiny.toml")
    assert first.exit_code == 0
    assert "1 cell run" in first.output
    again = invoke("run", "tiny.toml")
    assert "0 cells run" in again.output
    assert "1 were there already" in again.output
    with Store.open(tmp_path / "results" / "results.sqlite", create=False) as store:
        assert store.experiments() == ["error_against_k"]


def test_a_dry_run_makes_no_file(invoke, tmp_path):
    result = invoke("run", "tiny.toml", "--dry-run", "--store", "none.sqlite")
    assert result.exit_code == 0
    assert "ppca n_latents=2 prior row=0 k=2^7 ×32" in result.output
    assert "1 cell, 1 to run" in result.output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tiny.toml"]


def test_a_dry_run_shows_what_is_stored(invoke, pretend):
    invoke("run", "tiny.toml")
    assert "1 cell, 0 to run" in invoke("run", "tiny.toml", "--dry-run").output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("run", "quik"), 'Did you mean "quick"'),
        (("run", "none.toml"), "no such suite file"),
        (("run", "tiny.toml", "--only", "dimensions"), "Known: error_against_k"),
        (("run", "tiny.toml", "--store", "nowhere/r.sqlite"), "folder does not exist"),
        (("run", "tiny.toml", "--store", "theirs.sqlite"), "another program"),
        (("report", "--store", "none.sqlite"), "no such results file"),
        (("report", "--store", "empty.sqlite"), "is empty. Fill it"),
        (("report", "--store", "bare.sqlite"), "there is nothing in it to report. Fill it: logpx run quick"),
        (("report", "--store", "one.sqlite", "--out", "tiny.toml/sub"), "tiny.toml"),
        (("merge", "none.sqlite"), "no such file"),
        (("merge", "theirs.sqlite", "--store", "new.sqlite"), "another program"),
        (("export", "tiny.toml", "--store", "one.sqlite"), "tiny.toml: File exists. Name another place"),
        (("run", "far.toml", "--store", "new.sqlite"), "rows 0 to 499"),
        (("run", "far.toml"), "rows 0 to 499"),
        (("export", "out", "--store", "theirs.sqlite"), "another program"),
    ],
)
def test_a_foreseen_error_is_one_message(invoke, tmp_path, arguments, said):
    with sqlite3.connect(tmp_path / "theirs.sqlite") as theirs:
        theirs.execute("CREATE TABLE t (a)")
    theirs.close()
    (tmp_path / "empty.sqlite").touch()
    Store.open(tmp_path / "bare.sqlite").close()
    with Store.open(tmp_path / "one.sqlite") as one:
        one.write_cell({"key": "k", "experiment": "e"})
    (tmp_path / "far.toml").write_text(TINY + "rows = [9999]\n")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    result = invoke(*arguments)
    assert result.exit_code == 2, result.output
    assert said in result.output
    assert "Traceback" not in result.output
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_ctrl_c_says_how_to_go_on(invoke, monkeypatch):
    def stop(cell, resources):
        raise KeyboardInterrupt

    monkeypatch.setitem(KINDS, "ladder", dataclasses.replace(KINDS["ladder"], run=stop))
    result = invoke("run", "tiny.toml")
    assert result.exit_code == 130
    assert "what is finished is kept\nGo on from there: logpx run tiny.toml\n" in result.output


def wait_for_sigterm():
    with exits.readable():
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(10)


@pytest.mark.parametrize("ctrl_c", [signal.default_int_handler, signal.SIG_IGN])
def test_sigterm_stops_like_ctrl_c_and_where_that_is_ignored(ctrl_c, capsys):
    before, ours = signal.signal(signal.SIGINT, ctrl_c), signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(typer.Exit) as stop:
            wait_for_sigterm()
    finally:
        signal.signal(signal.SIGINT, before)
    assert stop.value.exit_code == 143
    assert "what is finished is kept" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGTERM) is ours


def test_the_command_that_goes_on_does_not_begin_anew(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/bin/logpx", "run", "my suite.toml", "--fresh", "--resume"])
    assert exits.again() == "logpx run 'my suite.toml' --resume"


def test_the_help_has_the_exit_codes(invoke):
    words = " ".join(invoke("--help").output.split())
    for code in ("0 done", "1 the doctor or a check found", "2 a foreseen error", "130 Ctrl-C", "143 SIGTERM"):
        assert code in words


def test_list_names_everything(invoke):
    result = invoke("list")
    assert result.exit_code == 0
    for words in (
        "ppca",
        "gaussian_mixture",
        "importance",
        "widen",
        "independent",
        "quick",
        "article",
        "ladder",
        "scaling",
    ):
        assert words in result.output
    assert "error_against_k" in result.output


def test_merge_and_export(invoke, pretend, tmp_path):
    invoke("run", "tiny.toml", "--store", "a.sqlite")
    assert "1 cell" in invoke("merge", "a.sqlite").output
    assert "0 cells" in invoke("merge", "a.sqlite").output
    assert invoke("export", "out").exit_code == 0
    assert (tmp_path / "out" / "cells.csv").read_text().count("\n") == 2


def test_doctor_finds_nothing_wrong_here(invoke, pretend):
    invoke("run", "tiny.toml")
    result = invoke("doctor")
    assert result.exit_code == 0, result.output
    for words in ("python", "numba", "CPU", "cores", "kernel cache", "MB", "1 cell", "all is well"):
        assert words in result.output


def test_doctor_fails_on_a_foreign_store(invoke, tmp_path):
    (tmp_path / "theirs.sqlite").write_text("notes, by no means a database")
    result = invoke("doctor", "--store", "theirs.sqlite")
    assert result.exit_code == 1
    assert "not a results file" in result.output


def test_doctor_fails_when_an_estimate_is_wrong(invoke, monkeypatch):
    right = doctor.ConjugateNormal.log_marginal
    monkeypatch.setattr(doctor.ConjugateNormal, "log_marginal", lambda model, x: right(model, x) + 1.0)
    result = invoke("doctor")
    assert result.exit_code == 1
    assert "off by" in result.output


def test_doctor_fails_without_jit_and_on_a_temporary_cache(monkeypatch, tmp_path):
    monkeypatch.setattr(doctor._jit, "DISABLED", True)
    assert not doctor._jit_state().good
    assert doctor._cache().good
    monkeypatch.setattr(doctor._jit, "cache_folder", lambda: tmp_path)
    assert not doctor._cache().good


def test_tables_in_a_pipe_keep_one_line_a_row_and_cut_nothing(tmp_path):
    cache = tmp_path / ("a-long-name-" * 12)
    environment = os.environ | {"LOGPX_CACHE_DIR": str(cache)}
    environment.pop("COLUMNS", None)
    command = [sys.executable, "-m", "logpx_bench.cli"]
    said = [
        subprocess.run([*command, *words], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
        for words in (["doctor"], ["list"])
    ]
    assert "…" not in said[0].stdout.partition("trial estimate")[0]
    assert str(cache) in said[0].stdout
    assert any(line.split()[:1] == ["threads"] for line in said[0].stdout.splitlines())
    (importance,) = (line for line in said[1].stdout.splitlines() if line.split()[:1] == ["importance"])
    assert importance.rstrip().endswith("[widen]")


def test_a_report_says_where_it_is_in_full(invoke, pretend, tmp_path, monkeypatch):
    monkeypatch.setattr("logpx_bench.page.build", lambda store, out: Path(out) / "index.html")
    invoke("run", "tiny.toml")
    assert f"The report is at {tmp_path / 'results' / 'report' / 'index.html'}\n" in invoke("report").output


def test_the_list_says_which_points_are_not_for_suites(invoke):
    (sobol,) = (line for line in invoke("list").output.splitlines() if line.split()[:1] == ["sobol"])
    assert "not for suites" in sobol


def test_without_arguments_there_is_help(invoke):
    result = invoke()
    assert "run" in result.output
    assert "doctor" in result.output
