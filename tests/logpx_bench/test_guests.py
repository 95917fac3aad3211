"""A model of the user's own in a suite: its cells, its reference run, its figures beside ours. Exact, but for the
reference, which is held against the exact value within 5 of its standard errors (fixed seed: false alarm 5.7e-7)."""

import math
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from logpx_bench import cli, data, guests, model_file, page, runner, summary
from logpx_bench import suite as suites
from logpx_bench.errors import InputError
from logpx_bench.figures import error_against_k, jensen_gap
from logpx_bench.figures import series as s
from logpx_bench.page.facts import Facts
from logpx_bench.store import Store

SUITE = """
[[experiment]]
name = "error_against_k"
kind = "ladder"
model = {name = "ppca", n_latents = 2}
rows = [0, 7]
estimators = [{name = "prior"}, {name = "importance"}, {name = "uniform"}]
n_samples = "2^7"
n_replicates = 32

[[experiment]]
name = "proposal_quality"
kind = "ladder"
models = [{name = "ppca", n_latents = 2}]
estimators = [{name = "importance", widen = [1.2]}]
n_samples = "2^7"
n_replicates = 32

[[experiment]]
name = "dimension"
kind = "ladder"
model = {name = "ppca", n_latents = [1, 2]}
estimators = [{name = "prior"}]
n_samples = "2^7"
n_replicates = 32

[[experiment]]
name = "large_k"
kind = "large_k"
model = {name = "ppca", n_latents = 2, n_observed = 8}
data = "sample"
estimators = [{name = "importance"}]
n_samples = "2^20"

[[experiment]]
name = "digits"
kind = "gallery"
models = [{name = "ppca", n_latents = 2}]
rows = [0]
"""
FILE = """
import logpx

@logpx.log_joint
def log_joint(theta, dims, x, z, out):
    for i in range(z.shape[1]):
        a, b = z[0, i], x[0] - z[0, i]
        out[i] = -0.5 * a * a - 0.5 * b * b - 1.8378770664093453  # log 2 pi

prior = logpx.proposals.Gaussian([0.0], [1.0])
model = logpx.Model(log_joint, [], 1, n_observed=1, prior=prior)
known = logpx.Model(log_joint, [], 1, n_observed=1, prior=prior,
                    log_marginal=lambda x: -0.25 * float(x[0]) ** 2 - 1.2655121234846454)
proposal = lambda x: logpx.proposals.Gaussian([0.5 * x[0]], [0.8])
x = [[0.5], [2.0]]
"""
EXACT = -0.25 * 0.25 - 0.5 * math.log(4 * math.pi)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder with a suite and a user's file in it; what the file puts among the modules goes again."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli, "console", cli.Console(width=200))
    (tmp_path / "tiny.toml").write_text(SUITE)
    (tmp_path / "guest_model.py").write_text(FILE)
    yield tmp_path
    sys.modules.pop("guest_model", None)


def invited(text, only=None):
    return guests.invite(suites.load("tiny.toml").only(only), text)


def test_the_model_of_a_file_joins_where_it_can_and_says_why_where_not(folder):
    suite, absent = invited("guest_model.py")
    cells = [cell for cell in runner.expand(suite) if cell.data == data.FILE]
    assert [(cell.experiment, cell.estimator, cell.row) for cell in cells] == [
        ("error_against_k", "prior", 0),
        ("error_against_k", "importance", 0),
    ]
    assert {cell.model for cell in cells} == {"guest_model"}
    for reason in (
        "in error_against_k without uniform: log_joint has no box",
        "not in proposal_quality: importance: the default proposal of log_joint has no width",
        "not in dimension: it is about ppca in several sizes",
        "not in large_k: importance: a long stream is held against the exact log p(x)",
        "not in digits: it shows images of the digits",
    ):
        assert any(one.startswith(reason) for one in absent), reason
    assert len(absent) == 5
    known, absent = invited("guest_model.py:known")
    assert {cell.model for cell in known.guests} == {"known"}
    assert {cell.experiment for cell in known.guests} == {"error_against_k", "large_k"}


def test_an_edit_of_the_file_makes_other_cells(folder):
    def keys():
        return {runner.key_of(cell, 1) for cell in invited("guest_model.py")[0].guests}

    before = keys()
    assert keys() == before
    (folder / "guest_model.py").write_text(FILE.replace("[0.5], [2.0]", "[0.5], [2.5]"))
    edited = keys()
    assert not edited & before
    with pytest.raises(InputError, match="was edited while the suite ran"):
        data.build("guest_model", {"file": "guest_model.py", "fingerprint": "0" * 16}, data.FILE)


def test_a_file_named_as_a_model_of_ours_does_not_take_its_place(folder):
    (folder / "ppca.py").write_text(FILE)
    assert {cell.model for cell in invited("ppca.py")[0].guests} == {"ppca_file"}
    sys.modules.pop("ppca", None)


def test_a_run_puts_it_beside_ours_and_the_report_draws_it(folder, monkeypatch):
    """Without an exact log p(x): a reference run stands in, its error is in the tables, and every caption says so."""
    arguments = ["run", "tiny.toml", "--only", "error_against_k", "--model", "guest_model.py", "--store", "r.sqlite"]
    first = CliRunner().invoke(cli.app, arguments)
    assert first.exit_code == 0, first.output
    assert "guest_model.py is in error_against_k without uniform: " in first.output
    assert "8 cells run" in first.output
    assert "guest_model.py: compiled in " in first.output
    assert "0 cells run" in CliRunner().invoke(cli.app, arguments).output
    with Store.open("r.sqlite", create=False) as store:
        rows = summary.errors_by_k(store, "error_against_k")
        assert {row["model"] for row in rows} == {"ppca", "guest_model"}
        own = [row for row in rows if row["model"] == "guest_model"]
        for row in own:
            assert 0 < row["reference_error"] < 0.01
            assert row["reference_samples"] == 2**15
            assert abs(row["exact"] - EXACT) <= 5 * row["reference_error"]
            assert row["bias_std_error"] >= row["reference_error"]
        assert all(row["reference_error"] is None for row in rows if row["model"] == "ppca")
        stored = [cell for cell in store.cells("error_against_k") if cell["model"] == "guest_model"]
        assert {cell["exact"] for cell in stored} == {None}, "what is not exact is not stored as exact"
        facts = Facts.of(store)
        assert list(facts.guests) == ["guest_model"]
        tables = facts.guests["guest_model"]
        assert list(tables) == ["error_against_k", "jensen_gap", "cost_accuracy", "log_weights"]
        assert {row["model"] for table in tables.values() for row in table} == {"guest_model"}
        assert "row 0 of its x" in s.case_name(tables["jensen_gap"][0])
        assert "a reference run of $2^{15}$ samples from the model's own proposal" in jensen_gap.caption(
            tables["jensen_gap"]
        )
        from_prior = [row | {"reference_from": "prior"} for row in tables["jensen_gap"]]
        assert "samples from its prior" in jensen_gap.caption(from_prior)
        assert "reference run" not in jensen_gap.caption(facts.tables["jensen_gap"])
        (folder / "report" / "figures").mkdir(parents=True)
        for name in ("jensen_gap--gone.svg", "my--own.svg"):
            (folder / "report" / "figures" / name).write_text("")
        drawn = {}

        def save(figure, to, name):
            drawn[name] = figure
            (to / f"{name}.svg").write_text("")

        monkeypatch.setattr(sys.modules["logpx_bench.page.build"], "save", save)
        text = page.build(store, Path("report")).with_name("README.md").read_text()
    assert "## A model of one's own: guest model" in text
    assert "logpx run tiny --only error_against_k --model guest_model.py\nlogpx report" in text
    assert "Importance sampling here draws from the proposal that the file gives." in text
    assert drawn["jensen_gap--guest_model"].texts[-1].get_text() == "guest model"
    assert "guest model" not in [one.get_text() for one in drawn["jensen_gap"].texts]
    titles = [axes.get_title(loc="left") for axes in drawn["jensen_gap--guest_model"].axes]
    assert "the gap (hollow: at most)" in titles, "no χ² is known: nothing is dotted"
    one = [row for row in tables["error_against_k"] if row["estimator"] == "prior"]
    assert "prior sampling has an RMSE of" in error_against_k.caption(one)
    assert "has the smallest RMSE, " in error_against_k.caption(tables["error_against_k"])
    assert "figures/log_weights--guest_model.svg" in text
    assert "reference log p̂(x) = −1.3" in text
    figures = {path.name for path in (folder / "report" / "figures").glob("*--*.svg")}
    assert figures == {f"{name}--guest_model.svg" for name in tables} | {"my--own.svg"}


def test_a_run_without_a_part_for_it_is_refused_and_two_models_go_together(folder):
    done = CliRunner().invoke(cli.app, ["run", "tiny.toml", "--only", "dimension", "--model", "guest_model.py"])
    assert done.exit_code == 2, done.output
    assert "it is not in dimension: it is about ppca in several sizes" in done.output
    assert not Path("results").exists()
    first, _ = invited("guest_model.py", only="error_against_k")
    both, _ = guests.invite(first, "guest_model.py:known")
    assert [cell.model for cell in both.guests] == ["guest_model"] * 2 + ["known"] * 2
    with pytest.raises(InputError, match="another model is called guest_model"):
        guests.invite(both, "guest_model.py")


def test_a_file_that_cannot_be_loaded_is_exit_code_two(folder):
    done = CliRunner().invoke(cli.app, ["run", "tiny.toml", "--model", "nowhere.py"])
    assert done.exit_code == 2
    assert not Path("results").exists()


def test_a_file_is_run_once_a_process_and_again_after_an_edit(folder):
    first = model_file.load("guest_model.py")
    assert model_file.load("guest_model.py").model is first.model
    (folder / "guest_model.py").write_text(FILE + "\n# a comment\n")
    again = model_file.load("guest_model.py")
    assert again.model is not first.model
    assert again.fingerprint != first.fingerprint


def test_a_log_marginal_that_contradicts_the_log_joint_is_said_by_run_and_report(folder, monkeypatch):
    """2 nats off: exit code 1, the cells stay, and no caption calls a negative gap small. 6 standard errors: a false
    alarm has 2e-9; the right one is silent on the same seed."""
    arguments = ["run", "tiny.toml", "--only", "error_against_k", "--store", "r.sqlite", "--model"]
    assert CliRunner().invoke(cli.app, [*arguments, "guest_model.py:known"]).exit_code == 0
    (folder / "guest_model.py").write_text(FILE.replace("1.2655121234846454)", "3.2655121234846454)"))
    done = CliRunner().invoke(cli.app, [*arguments, "guest_model.py:known"])
    assert done.exit_code == 1, done.output
    assert done.output.count("wrong log_marginal contradicts the log joint: known, row 0 of x, by ") == 2
    assert "2 nats, " in done.output
    assert "logpx check" in done.output
    with Store.open("r.sqlite", create=False) as store:
        facts = Facts.of(store)
    assert len(facts.contradicted["known"]) == 2
    chapter = page.story.guest(facts, "known")
    assert chapter[1].text.startswith("**log_marginal contradicts")
    caption = jensen_gap.caption(facts.guests["known"]["jensen_gap"])
    assert "under 0.1 nats" not in caption
    assert "contradict each other" in caption
