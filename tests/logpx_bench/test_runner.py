"""Exact tests of the runner: what it skips, what it keeps when it is stopped; one small cell of every kind for real."""

import dataclasses
import math
import re

import numpy as np
import pytest

import logpx
from logpx.errors import Interrupted
from logpx_bench import data, runner, summary
from logpx_bench import suite as suites
from logpx_bench.errors import InputError, LogpxError
from logpx_bench.experiments import KINDS, Record, ladder, ranking
from logpx_bench.experiments import base as kinds_base
from logpx_bench.experiments.base import stream_seed
from logpx_bench.experiments.ladder import histogram
from logpx_bench.experiments.ranking import choose_pair
from logpx_bench.store import Store

LADDER = """
[[experiment]]
name = "error_against_k"
kind = "ladder"
model = {name = "ppca", n_latents = 2}
estimators = [{name = "uniform"}, {name = "prior"}, {name = "importance"}]
n_samples = "2^8"
n_replicates = 32
"""
RANKING = """
[[experiment]]
name = "ranking"
kind = "ranking"
model = {name = "ppca", n_latents = [2, 3]}
estimators = [{name = "importance"}]
n_samples = 8
n_replicates = 100
"""
GALLERY = """
[[experiment]]
name = "digits"
kind = "gallery"
models = [{name = "ppca", n_latents = 10}, {name = "vae_bernoulli", n_latents = 10}]
rows = [5, 1]
n_shown = 4
n_scored = 20
n_samples = "2^10"
"""
SCALING = """
[[experiment]]
name = "scaling"
kind = "scaling"
model = {name = "ppca", n_latents = 2, n_observed = 8}
data = "sample"
estimators = [{name = "importance"}]
n_samples = "2^12"
threads = [1]
repeats = 3
"""


@pytest.fixture
def load(tmp_path):
    def load(text):
        path = tmp_path / "tiny.toml"
        path.write_text(text, encoding="utf-8")
        return suites.load(path)

    return load


@pytest.fixture
def store(tmp_path):
    with Store.open(tmp_path / "r.sqlite") as opened:
        yield opened


@pytest.fixture
def pretend(monkeypatch):
    """Ladder cells that run nothing; the list of those that were run."""
    ran = []

    def run(cell, resources):
        ran.append(cell)
        return Record(columns={"exact": -1.0, "threads": resources.threads}, levels=[(0, 0, 1, -1.0, 0.0)])

    monkeypatch.setitem(KINDS, "ladder", dataclasses.replace(KINDS["ladder"], run=run))
    return ran


def test_what_is_in_the_store_is_skipped(load, store, pretend):
    suite = load(LADDER)
    first = runner.run(suite, store, threads=1)
    assert (first.n_run, first.n_skipped) == (3, 0)
    second = runner.run(suite, store, threads=2)  # threads change no result of this kind
    assert (second.n_run, second.n_skipped) == (0, 3)
    assert len(pretend) == 3
    assert [row["estimator"] for row in store.cells("error_against_k")] == ["uniform", "prior", "importance"]
    assert store.count("provenance") == 2


def test_a_changed_suite_runs_what_changed_and_shows_only_that(load, store, pretend):
    runner.run(load(LADDER), store, threads=1)
    changed = runner.run(load(LADDER.replace('{name = "uniform"}, ', "").replace('"2^8"', '"2^9"')), store, threads=1)
    assert (changed.n_run, changed.n_skipped) == (2, 0)
    assert store.count("cells") == 5
    assert [row["n_samples"] for row in store.cells("error_against_k")] == [512, 512]


def test_a_run_that_is_stopped_keeps_its_cells_and_goes_on(load, store, pretend):
    def stop(cell):
        if cell.estimator == "prior":
            raise KeyboardInterrupt

    suite = load(LADDER)
    with pytest.raises(KeyboardInterrupt):
        runner.run(suite, store, threads=1, after_cell=stop)
    assert store.count("cells") == 2
    rest = runner.run(suite, store, threads=1)
    assert (rest.n_run, rest.n_skipped) == (1, 2)
    assert [cell.estimator for cell in pretend] == ["uniform", "prior", "importance"]


@pytest.mark.parametrize(("kind", "text"), [("ladder", LADDER), ("ranking", RANKING)])
def test_an_estimate_so_far_is_told_only_of_a_cell_that_is_a_single_one(load, store, monkeypatch, kind, text):
    model, x = logpx.models.PPCA.example()
    so_far = logpx.estimate(model, x[0], n_samples=1000)

    def stop(cell, resources):
        raise Interrupted("stopped", so_far)

    monkeypatch.setitem(KINDS, kind, dataclasses.replace(KINDS[kind], run=stop))
    with pytest.raises(Interrupted) as stopped:
        runner.run(load(text), store, threads=1)
    told = f"stopped after 1,000 samples, log p̂(x) = {so_far.log_marginal:.9g}" in str(stopped.value)
    assert told == (kind == "ladder")
    assert (stopped.value.estimate is so_far) == told


def test_a_warm_up_that_is_stopped_has_no_estimate_of_the_cell(load, store, monkeypatch):
    def stop(*given):
        raise Interrupted("stopped", "that of the warm-up")

    monkeypatch.setattr(ladder, "call", stop)
    with pytest.raises(Interrupted, match=r"uniform row=0 k=2\^8 ×32: stopped\. Finished cells") as stopped:
        runner.run(load(LADDER), store, threads=1)
    assert stopped.value.estimate is None


def test_a_cell_that_fails_is_named_and_leaves_nothing(load, store, monkeypatch):
    def fail(cell, resources):
        if cell.estimator == "prior":
            raise InputError("no such luck")
        return Record(columns={})

    monkeypatch.setitem(KINDS, "ladder", dataclasses.replace(KINDS["ladder"], run=fail))
    with pytest.raises(LogpxError, match=r"'error_against_k', cell ppca n_latents=2 prior .*no such luck"):
        runner.run(load(LADDER), store, threads=1)
    assert [row["estimator"] for row in store.rows('SELECT "estimator" FROM "cells"')] == ["uniform"]


def test_keys_hold_what_determines_a_cell(load, monkeypatch):
    cell = runner.expand(load(LADDER))[0]
    key = runner.key_of(cell, 1)
    assert runner.key_of(cell, 2) == key
    for change in ({"seed": 1}, {"row": 1}, {"n_samples": 2}, {"suite": "x"}, {"estimator_options": {"widen": 1.0}}):
        assert runner.key_of(dataclasses.replace(cell, **change), 1) != key
    monkeypatch.setattr(kinds_base._jit, "source_hash", lambda: "another")
    assert runner.key_of(cell, 1) != key


def test_only_timed_kinds_depend_on_the_machine(load, monkeypatch):
    ladder, scaling = (runner.expand(load(text))[0] for text in (LADDER, SCALING))
    before = [runner.key_of(cell, 1) for cell in (ladder, scaling)]
    monkeypatch.setattr(kinds_base.machine, "cpu_model", lambda: "another CPU")
    after = [runner.key_of(cell, 1) for cell in (ladder, scaling)]
    assert before[0] == after[0]
    assert before[1] != after[1]


def test_a_plan_predicts_and_writes_nothing(load, store, pretend):
    planned = runner.plan(load(LADDER + RANKING + GALLERY + SCALING), store, threads=1)
    assert len(planned) == 3 + 1 + 4 + 1, "PCA and an autoencoder join a gallery"
    assert not any(one.stored or one.measured for one in planned)
    assert store.count("cells") == store.count("plans") == 0
    assert pretend == []
    uniform, prior, importance = (one.error for one in planned[:3])
    assert uniform > prior > importance > 0
    assert math.isnan(planned[3].error)
    assert all(0 < one.seconds < 60 for one in planned)


def test_predictions_rest_on_measured_times_where_there_are_any(load, store):
    suite = load(LADDER)
    timed = {"key": "old", "experiment": "x", "kind": "ladder", "model": "ppca", "estimator": "prior", "threads": 2}
    store.write_cell(timed | {"n_latents": 2, "n_observed": 61, "n_evaluations": 10**6, "seconds": 50.0})
    planned = runner.plan(suite, store, threads=1)
    assert [one.measured for one in planned] == [False, True, False]
    evaluations = KINDS["ladder"].evaluations(planned[1].cell)
    assert planned[1].seconds == pytest.approx(KINDS["ladder"].overhead + 1e-4 * evaluations)


def test_quadratures_are_predicted_too(load, store):
    """Of two latents, not of ten, where log p(x) is estimated, nor of models with a closed form."""
    text = GALLERY.replace("n_latents = 10", "n_latents = [2, 10]").replace("n_scored = 20", "n_scored = 500")
    planned = {(one.cell.model, one.cell.model_options["n_latents"]): one for one in runner.plan(load(text), store, 1)}
    assert 5 < planned["vae_bernoulli", 2].seconds < 50
    assert all(planned[model, 2].seconds < 1 for model in ("pca", "ppca"))
    assert planned["vae_bernoulli", 10].seconds < 5


def test_a_row_that_is_not_there_is_found_before_anything_runs(load, store, pretend):
    suite = load(LADDER.replace("n_samples", "rows = [500]\nn_samples"))
    for attempt in (runner.plan, runner.run):
        with pytest.raises(LogpxError, match=r"row=500 .*rows 0 to 499"):
            attempt(suite, store, threads=1)
    with pytest.raises(LogpxError, match=r"rows 0 to 499"):
        runner.verify(load(GALLERY.replace("[5, 1]", "[5, 500]")))
    assert [store.count(table) for table in ("plans", "provenance", "cells")] == [0, 0, 0]
    assert pretend == []


def test_an_estimator_that_the_model_cannot_have_is_found_before_anything_runs(load):
    text = LADDER.replace('{name = "ppca", n_latents = 2}', '{name = "gaussian_mixture"}\ndata = "sample"')
    runner.verify(load(text))
    with pytest.raises(LogpxError, match=r"gaussian_mixture.*needs a model whose posterior is Gaussian"):
        runner.verify(load(text.replace('"importance"', '"gaussian"')))


def test_a_ranking_of_models_that_are_too_far_apart_or_the_same_is_refused(load, monkeypatch):
    runner.verify(load(RANKING))
    with pytest.raises(LogpxError, match="not the same"):  # rotated loadings: the same density
        runner.verify(load(RANKING.replace("n_latents = [2, 3]", "n_latents = 2, seed = [0, 1]")))
    monkeypatch.setattr(ranking, "MAX_GAP", 0.01)
    with pytest.raises(LogpxError, match=r"differ by 0\.\d+ nats on row \d+.* of 0.01 nat at most"):
        runner.verify(load(RANKING))


def test_no_two_runs_of_rankings_share_their_seeds():
    made = [stream_seed("ranking", seed, level, side) for seed in range(8) for level in range(13) for side in "ab"]
    assert len(set(made)) == len(made)
    assert all(0 <= one < 2**60 for one in made)


# -- for real -----------------------------------------------------------------------------------------------------


def test_a_ladder_cell_measures_the_error(load, store):
    """Statistical, fixed seed: log p̂ of 32 × 256 samples within 6 of its standard errors of exact (false alarm 2e-9
    a cell), the spread of replicates within a factor 2 of the delta method's for importance sampling."""
    runner.run(load(LADDER), store, threads=1)
    table = summary.errors_by_k(store, "error_against_k")
    assert {row["k"] for row in table} == {2**j for j in range(9)}
    for cell in summary.cells(store, "error_against_k"):
        assert abs(cell["error"]) < 6 * cell["std_error"]
        assert cell["n_evaluations"] == 32 * 256
        assert cell["kl"] > 0
        assert min(cell["seconds"], cell["compile_seconds"], cell["fit_seconds"], cell["peak_bytes"]) > 0
    top = next(row for row in table if row["k"] == 256 and row["estimator"] == "importance")
    assert 0.5 < top["rmse"] / math.sqrt(top["chi2"] / 256) < 2.0
    assert all(len(store.values(row["key"])["replicates"]) == 32 for row in store.cells("error_against_k"))
    counts = [sum(store.histogram(row["key"])["counts"]) for row in store.cells("error_against_k")]
    assert counts == [2**14] * 3


def test_a_ranking_is_of_the_image_with_the_wanted_gap(load, store):
    suite = load(RANKING)
    pair = choose_pair(runner.expand(suite)[0])
    totals = [np.asarray(subject.model.log_marginal(subject.X)) for _, _, subject in (pair.better, pair.worse)]
    gaps = np.abs(totals[0] - totals[1])
    assert abs(gaps[pair.row] - 0.5) == np.min(np.abs(gaps - 0.5))
    assert pair.exact[0] > pair.exact[1]
    runner.run(suite, store, threads=1)
    table = summary.ranking(store)
    assert [(row["variant"], row["k"]) for row in table] == [
        (v, k) for v in ("independent", "common") for k in (1, 2, 4, 8)
    ]
    assert {row["gap"] for row in table} == {pair.exact[0] - pair.exact[1]}
    vectors = store.values(store.cells("ranking")[0]["key"])
    assert np.array_equal(vectors["independent/a/2"], vectors["common/a/2"])
    assert not np.any(vectors["independent/b/2"] == vectors["common/b/2"])


def test_a_gallery_shows_and_scores(load, store):
    runner.run(load(GALLERY), store, threads=1)
    panels = [(row["model"], row["panel"]) for row in summary.gallery(store)]
    assert panels.count(("data", "data")) == 2
    for name, n_samples in (("pca", 0), ("autoencoder", 0), ("ppca", 4), ("vae_bernoulli", 4)):
        assert [panels.count((name, panel)) for panel in ("reconstruction", "sample")] == [2, n_samples]
    cells = store.cells("digits")
    values = {cell["model"]: store.values(cell["key"]) for cell in cells}
    assert all("log_p" not in values[name] and "sample" not in values[name] for name in ("pca", "autoencoder"))
    assert values["ppca"]["log_p"].shape == values["vae_bernoulli"]["std_error"].shape == (20,)
    rmse = {name: one["reconstruction_rmse"][0] for name, one in values.items()}
    assert rmse["autoencoder"] < rmse["pca"] < rmse["ppca"]  # projection is the best linear one
    assert set(values["vae_bernoulli"]["data"]) == {0.0, 1.0}
    columns = [(cell["n_observed"], cell["n_samples"], cell["exact"] is None) for cell in cells]
    assert columns == [(61, 0, True), (61, 0, True), (61, 0, False), (64, 1024, True)]


def test_the_pixels_on_the_noise_floor_are_counted(load, store):
    """A deviation on the floor is 1 in units of it, to half a per cent: steps of 1/16 over √12."""
    models = "models = [" + ", ".join(f'{{name = "{name}", n_latents = 2}}' for name in FLOORED) + "]"
    text = re.sub(r"models = .*", models, GALLERY).replace("n_scored = 20", "n_scored = 1")
    runner.run(load(text), store, threads=1)
    for cell in store.cells("digits"):
        if cell["model"] in FLOORED:
            fitted = data.build(cell["model"], cell["model_options"], "digits").model
            deviations = 16 * math.sqrt(12) * FLOORED[cell["model"]](fitted)
            count = store.values(cell["key"])["n_at_floor"][0]
            assert count == np.sum(deviations < 1.005)
            assert 0 < count < 20


FLOORED = {"factor_analysis": lambda model: np.sqrt(model.noise_variances), "vae_gaussian": lambda model: model.scale}


def test_a_scaling_cell_has_a_process_of_its_own(load, store):
    """Statistical, fixed seed: within 6 standard errors of exact (false alarm 2e-9)."""
    runner.run(load(SCALING), store, threads=1)
    (row,) = summary.scaling(store)
    assert row["n_repeats"] == 3
    assert abs(row["z"]) < 6
    assert 0 < row["baseline_bytes"] <= row["peak_bytes"] < 2**29


def test_a_histogram_of_odd_weights():
    assert histogram(np.full(4, -np.inf)) is None
    flat = histogram(np.array([-5.0, -5.0, -np.inf]))
    assert (flat["counts"], flat["n_neg_inf"]) == ([2], 1)
    assert flat["edges"][0] < -5.0 < flat["edges"][1]
    spread = histogram(np.array([0.0, 1.0, 4.0]), n_bins=4)
    assert (spread["counts"], spread["edges"]) == ([1, 1, 0, 1], [0.0, 1.0, 2.0, 3.0, 4.0])
