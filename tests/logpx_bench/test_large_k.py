"""One long stream: its units are its groups, its points are those of estimates alone, and no stop changes a bit.

Exact tests, but for the coverage of the interval. Signals are real: each is sent to a process of its own in the middle
of a cell, and the same command then goes on.
"""

import math
import signal
import subprocess
import sys

import numpy as np
import pytest
from typer.testing import CliRunner

import logpx
from logpx.checkpoint import Checkpoint
from logpx.tasks import Done
from logpx_bench import cli, data, long_runs, runner
from logpx_bench import suite as suites
from logpx_bench.errors import SuiteError
from logpx_bench.estimators import make_proposal
from logpx_bench.experiments import finished
from logpx_bench.experiments.base import stream_seed
from logpx_bench.experiments.large_k import UNITS
from logpx_bench.moments import bootstrap_rmse, rmse_from_moments
from logpx_bench.store import Store

SUITE = """
[[experiment]]
name = "large_k"
kind = "large_k"
model = {name = "ppca", n_latents = 2, n_observed = 8}
data = "sample"
estimators = [{name = "importance"}]
n_samples = "2^21"
"""
#: Columns that no stop may change.
RESULTS = ("n_samples", "log_marginal", "std_error", "elbo", "ess", "pareto_k", "exact", "chi2", "n_evaluations")


def results(path):
    """Every result of the stream in a store."""
    with Store.open(path, create=False) as store:
        cells = store.cells("large_k")
        return [[cell[name] for name in RESULTS] for cell in cells], [store.levels(cell["key"]) for cell in cells]


def load(folder, text=SUITE):
    """The suite of this text, written to a folder."""
    path = folder / "large_k.toml"
    path.write_text(text)
    return suites.load(path)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    """A store with the whole stream, run in one go."""
    folder = tmp_path_factory.mktemp("unbroken")
    with Store.open(folder / "r.sqlite") as store:
        done = runner.run(load(folder), store, threads=2)
        assert (done.n_run, done.checkpoints) == (12, folder / "r.sqlite.checkpoints")
    return folder / "r.sqlite"


@pytest.fixture(scope="module")
def stream(tmp_path_factory):
    """Model, x, proposal and seed of the stream."""
    (cell, *_) = runner.expand(load(tmp_path_factory.mktemp("stream")))
    subject = data.build(cell.model, cell.model_options, cell.data)
    x = data.take(subject, 0)
    proposal = make_proposal(cell.estimator, cell.estimator_options, subject.model, x)
    return subject.model, x, proposal, stream_seed("large_k", cell.seed, cell.row)


# -- what is measured ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", [0, 10, 13, 15, 16])
def test_units_hold_the_moments_of_their_groups(unbroken, stream, level):
    """Oracle: the log weights replayed one by one. Level 16 is that of two units joined."""
    model, x, proposal, seed = stream
    weights = logpx.samples(model, x, proposal, 0, 2**21, seed=seed).log_weights
    n_units = UNITS if level < 16 else UNITS // 2
    groups = weights.reshape(n_units, -1, 2**level)
    bounds = np.logaddexp.reduce(groups, axis=2) - level * np.log(2)
    with Store.open(unbroken, create=False) as store:
        cell = store.cells("large_k")[-1]
        rows = [row for row in store.levels(cell["key"]) if row["level"] == level]
        table = long_runs.large_k(store)
    assert [row["replicate"] for row in rows] == list(range(n_units))
    assert {row["n_groups"] for row in rows} == {bounds.shape[1]}
    assert [row["mean"] for row in rows] == pytest.approx(list(bounds.mean(axis=1)), rel=1e-11)
    assert [row["m2"] for row in rows] == pytest.approx(
        list(((bounds - bounds.mean(axis=1, keepdims=True)) ** 2).sum(axis=1)), rel=1e-9, abs=1e-20
    )
    (row,) = (row for row in table if row["kind"] == "level" and row["k"] == 2**level)
    assert row["rmse"] == pytest.approx(np.sqrt(np.mean((bounds - model.log_marginal(x)) ** 2)), rel=1e-9)


def test_points_of_the_path_are_estimates_of_their_own(unbroken, stream):
    model, x, proposal, seed = stream
    with Store.open(unbroken, create=False) as store:
        path = [row for row in long_runs.large_k(store) if row["kind"] == "path"]
    assert [row["k"] for row in path] == [2**j for j in range(10, 22)]
    for row in (path[0], path[5], path[11]):
        alone = logpx.estimate(model, x, proposal=proposal, n_samples=row["k"], seed=seed, threads=1)
        assert (row["log_marginal"], row["std_error"]) == (alone.log_marginal, alone.std_error)
        assert row["z"] == (alone.log_marginal - model.log_marginal(x)) / alone.std_error
    assert [row["n_run"] for row in path] == [2**10, *(2**j for j in range(10, 21))]
    assert all(row["seconds"] > 0 and row["peak_bytes"] >= row["baseline_bytes"] > 1e7 for row in path)
    assert all(row["ns_per_sample"] == 1e9 * row["seconds"] / row["n_run"] for row in path)


@pytest.mark.parametrize(("n_units", "n_groups", "least"), [(64, 64, 0.89), (64, 1, 0.865), (32, 1, 0.825)])
def test_the_interval_of_rmse_covers_the_truth(n_units, n_groups, least):
    """Statistical, fixed seed: L_k is normal where k is large, and RMSE² = bias² + sd² is known. A percentile bootstrap
    of 32 squares covers less than its 95 %. Of 1000 intervals at least so many must hold the truth, and not all: 6
    standard deviations of a binomial below what it has (0.94, 0.92 and 0.89), a false alarm of 1e-9."""
    rng, bias, sd, n_trials = np.random.default_rng(3), -0.3, 1.0, 1000
    held = 0
    for trial in range(n_trials):
        bounds = bias + sd * rng.standard_normal((n_units, n_groups))
        m2 = ((bounds - bounds.mean(axis=1, keepdims=True)) ** 2).sum(axis=1)
        _, mse = rmse_from_moments(bounds.mean(axis=1), m2, np.full(n_units, n_groups), 0.0)
        low, high = bootstrap_rmse(mse, trial, resamples=400)
        held += low <= np.hypot(bias, sd) <= high
    assert least <= held / n_trials < 0.99


def test_work_that_overlaps_is_billed_once(tmp_path):
    """As in a checkpoint merged from two machines; and where all tasks reach beyond the end there are no spans."""
    model, x = logpx.models.PPCA.example()
    path = tmp_path / "run.sqlite"
    with Checkpoint.open(path, create=True) as file:
        file.claim({"streams": 1})
        for n_samples, seconds in ((2**10, 1.0), (2**12, 4.0)):
            ladder = logpx.estimate(model, x[0], n_samples=n_samples).ladder
            file.add((range(1), Done(ladder, {}, seconds, "here")))
    assert finished.Span(path, 0, 2**12).worked() == 4.0
    assert finished.Span(path, 0, 2**11).worked() == 1.0
    assert [ladder.n_samples for ladder in finished.spans(path, 2**12, 64)] == [2**12]
    assert finished.spans(path, 2**9, 64) == []


# -- stops --------------------------------------------------------------------------------------------------------

#: A process that sends itself a signal when so many chunks are on disk.
STOPPED = """
import os, signal, sys
from logpx import engine
from logpx.checkpoint import Checkpoint
from logpx_bench import cli

signal.signal(signal.SIGINT, signal.default_int_handler)  # as in a terminal, wherever the tests run
engine.COMMIT_SECONDS = 0.0
number, after, add = int(sys.argv.pop(1)), int(sys.argv.pop(1)), Checkpoint.add

def counted(self, *finished):
    global after
    new, before = add(self, *finished), after
    after -= new
    if before > 0 >= after:
        os.kill(os.getpid(), number)
    return new

Checkpoint.add = counted
cli.main()
"""


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 130), (signal.SIGTERM, 143)]
)
def test_a_stream_that_is_stopped_goes_on_with_the_same_bits(tmp_path, unbroken, number, code, monkeypatch):
    monkeypatch.chdir(tmp_path)
    load(tmp_path)
    arguments = ["run", "large_k.toml", "--store", "r.sqlite"]
    command = [sys.executable, "-c", STOPPED, str(int(number)), "60", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    if code > 0:
        said = " ".join(done.stderr.split())
        assert "experiment 'large_k', cell ppca n_latents=2 n_observed=8 importance row=0 k=2^21 ×1: stopped" in said
        assert "samples, log p̂(x) = -5.41" in said
        assert " ± 0.000" in said
        assert "Go on from there: logpx run large_k.toml --store r.sqlite" in said
        assert "Traceback" not in said
    with Store.open("r.sqlite", create=False) as store:
        assert 5 < store.count("cells") < 12
    again = CliRunner().invoke(cli.app, [*arguments, "--threads", "1"])
    assert again.exit_code == 0, again.output
    assert "goes on from a checkpoint: " in again.output
    assert "chunks there" in again.output
    assert results("r.sqlite") == results(unbroken)
    with Store.open("r.sqlite", create=False) as store:
        path = [row for row in long_runs.large_k(store) if row["kind"] == "path"]
    broken = [row["k"] for row in path if math.isnan(row["ns_per_sample"])]
    assert broken == [2**21], "no clock ran through the cell that was stopped"
    assert all(row["seconds"] > 0 and row["ns_in_chunks"] > 0 for row in path)


def test_a_larger_n_goes_on_from_the_smaller(tmp_path, unbroken):
    small = SUITE.replace("2^21", "2^20")
    with Store.open(tmp_path / "r.sqlite") as store:
        assert runner.run(load(tmp_path, small), store, threads=1).n_run == 11
        done = runner.run(load(tmp_path), store, threads=1)
    assert (done.n_run, done.n_skipped) == (1, 11)
    assert results(tmp_path / "r.sqlite") == results(unbroken)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (('"2^21"', "1000000"), "is 1000000; allowed is a power of two from 2\\^20 on"),
        (('"2^21"', '"2^19"'), "allowed is a power of two from 2\\^20 on"),
        (('"2^21"', '["2^20", "2^21"]'), "is a list; allowed is one number"),
        (('"2^21"', '"2^21"\nn_replicates = 2'), "is 2; a large_k experiment is one stream: 1"),
    ],
)
def test_what_is_not_one_stream_is_refused(tmp_path, change, said):
    with pytest.raises(SuiteError, match=said):
        load(tmp_path, SUITE.replace(*change))
