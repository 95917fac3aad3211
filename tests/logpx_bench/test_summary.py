"""Exact tests of the summary tables: moments by brute force, the bootstrap against SciPy's, −inf without a warning."""

import csv
import json
import math

import numpy as np
import pytest
from scipy import special, stats

from logpx_bench import moments, summary
from logpx_bench.store import Store

EXACT = -3.25
R, N = 40, 64


def log_weights(seed=0, sd=1.0):
    """Normal log weights, E[w] = exp(EXACT)."""
    return EXACT - sd**2 / 2 + sd * np.random.default_rng(seed).standard_normal((R, N))


def groups(weights, level):
    """L_k of every replicate and group, (R, N/k), from the definition."""
    k = 2**level
    return special.logsumexp(weights.reshape(R, N // k, k), axis=2) - np.log(k)


def level_rows(weights):
    rows = []
    for level in range(int(math.log2(N)) + 1):
        for replicate, own in enumerate(groups(weights, level)):
            finite = np.isfinite(own).all()
            mean = own.mean() if finite else -np.inf
            rows.append((replicate, level, own.size, mean, ((own - mean) ** 2).sum() if finite else np.nan))
    return rows


def write(store, weights, **more):
    cell = {"key": f"{len(store.keys()):x}f", "experiment": "e", "kind": "ladder", "estimator": "prior", "exact": EXACT}
    cell |= {"n_samples": N, "n_replicates": R, "n_evaluations": R * N, "seconds": 2.0, "chi2": 0.5, "kl": 0.1}
    cell |= {"ess": 10.0, "log_marginal": EXACT + 0.125, "std_error": 0.1, "suite": "s", "model": "ppca"}
    parts = {"replicates": groups(weights, 6)[:, 0]}
    histogram = {"edges": [0.0, 0.5, 2.0], "counts": [1, 3], "n_neg_inf": 2}
    store.write_cell(cell | more, levels=level_rows(weights), values=parts, histogram=histogram)


@pytest.fixture
def store(tmp_path):
    with Store.open(tmp_path / "r.sqlite") as opened:
        yield opened


def test_errors_by_k_equal_brute_force(store):
    weights = log_weights()
    write(store, weights)
    table = summary.errors_by_k(store, "e")
    assert [row["k"] for row in table] == [1, 2, 4, 8, 16, 32, 64]
    for level, row in enumerate(table):
        values = groups(weights, level)
        assert row["n_groups"] == values.size
        assert row["rmse"] == pytest.approx(np.sqrt(np.mean((values - EXACT) ** 2)), rel=1e-12)
        assert row["mean"] == pytest.approx(values.mean(), rel=1e-13)
        assert row["bias"] == pytest.approx(values.mean() - EXACT, rel=1e-9)
        assert row["bias_std_error"] == pytest.approx(values.mean(axis=1).std(ddof=1) / np.sqrt(R), rel=1e-12)
        assert row["sd"] == pytest.approx(values.std(ddof=1), rel=1e-12)
        assert row["seconds_at_k"] == pytest.approx(2.0 / (R * N) * row["k"])
        assert row["delta_gap"] == 0.5 / (2 * row["k"])
        assert row["rmse_low"] < row["rmse"] < row["rmse_high"]


def test_errors_over_rows_equal_brute_force(store):
    """Two images pooled: the RMSE over all their groups; its interval comes of replicates, not of two intervals."""
    both = [log_weights(seed=1), log_weights(seed=2, sd=1.5)]
    for row, weights in enumerate(both):
        write(store, weights, row=row)
    write(store, log_weights(seed=3), row=1, estimator="uniform")
    table = [row for row in summary.errors_over_rows(store, "e") if row["estimator"] == "prior"]
    assert [(row["k"], row["n_images"]) for row in table] == [(2**level, 2) for level in range(7)]
    for level, row in enumerate(table):
        errors = np.array([groups(weights, level) - EXACT for weights in both])
        assert row["rmse"] == pytest.approx(np.sqrt(np.mean(errors**2)), rel=1e-12)
        mse = np.mean(errors**2, axis=(0, 2))
        half = 1.96 * mse.std() / np.sqrt(R) / (2 * row["rmse"])
        assert row["rmse_high"] - row["rmse_low"] == pytest.approx(2 * half, rel=0.25)


def test_one_run_of_each_case_is_read(store):
    """The largest, and of those the first; runs of other estimators and rows are cases of their own."""
    write(store, log_weights(), n_samples=N // 2)
    write(store, log_weights(seed=1), seed=5)
    write(store, log_weights(seed=2), seed=6, model_options={"seed": 1})
    write(store, log_weights(seed=3), row=1)
    cells = summary.runs(store, "e")
    assert [(cell["seed"], cell["row"], cell["n_runs"]) for cell in cells] == [(5, None, 3), (None, 1, 1)]
    assert {row["seed"] for row in summary.errors_by_k(store, "e") if row["row"] is None} == {5}


def test_the_bootstrap_agrees_with_scipys():
    """Percentile intervals of 2000 and 50 000 resamples of the same data: the ends differ by resampling noise only.
    Each end is a 2.5 % quantile of 2000 draws of the bootstrap distribution; for a normal one of spread s that has a
    standard error of sqrt(0.025·0.975/2000)/φ(1.96) s = 0.06 s. The allowance is 6 of these: a false alarm in 10^8, and
    an interval of another level (90 %: 0.32 s off) or without the square root is caught. Fixed seeds."""
    mse = np.random.default_rng(5).gamma(2.0, size=64)
    low, high = summary.bootstrap_rmse(mse, 0x0123456789ABCDEF)
    reference = stats.bootstrap(
        (mse,),
        lambda sample, axis: np.sqrt(np.mean(sample, axis=axis)),
        n_resamples=50_000,
        method="percentile",
        vectorized=True,
        rng=np.random.default_rng(1),
    )
    allowance = 6 * 0.06 * reference.standard_error
    assert abs(low - reference.confidence_interval.low) < allowance
    assert abs(high - reference.confidence_interval.high) < allowance
    assert allowance < 0.1 * (high - low)


def test_the_bootstrap_is_seeded_by_coordinates_and_level_and_not_by_the_key(tmp_path):
    """A key holds a hash of all source: the same data have the same intervals after an edit of it."""
    tables = []
    options = {"file": "a.py", "fingerprint": "a"}
    for changed in ({}, {"key": "other", "suite": "t", "model_options": options}, {"seed": 1}, {"row": 1}):
        with Store.open(tmp_path / f"{len(tables)}.sqlite") as one:
            write(one, log_weights(), **({"key": "first", "seed": 0, "row": 0, "model_options": {}} | changed))
            found = [summary.errors_by_k(one, "e"), summary.errors_over_rows(one, "e"), summary.cells(one, "e")]
        tables.append([[(row["rmse_low"], row["rmse_high"]) for row in table] for table in found])
    first, edited, *others = tables
    assert first == edited
    for other in others:
        for ours, theirs in zip(first, other, strict=True):
            assert len(ours) > 0
            assert not set(ours) & set(theirs)
    cell = {"model": "ppca", "estimator_options": {"widen": 1.5}}
    seeds = {moments.bootstrap_seed(*given) for given in ((cell,), (cell, 0), (cell, 1), ({"model": "ppca"},))}
    assert len(seeds) == 4


def test_one_replicate_of_zero_weights_gives_infinities_and_no_warning(store):
    weights = log_weights()
    weights[3] = -np.inf
    write(store, weights, log_marginal=-math.inf)
    for row in summary.errors_by_k(store, "e"):
        assert (row["rmse"], row["bias"], row["mean"]) == (math.inf, -math.inf, -math.inf)
        assert row["rmse_high"] == math.inf
        assert not math.isnan(row["rmse_low"])
    (cell,) = summary.cells(store, "e")
    assert (cell["error"], cell["rmse"]) == (-math.inf, math.inf)


def test_levels_that_a_replicate_lacks_are_left_out(store):
    weights = log_weights()
    write(store, weights)
    store._connection.execute('DELETE FROM "levels" WHERE "replicate" = 7 AND "level" = 5')
    assert [row["k"] for row in summary.errors_by_k(store, "e")] == [1, 2, 4, 8, 16, 64]


def test_too_few_groups_are_left_out(store):
    write(store, log_weights(), n_replicates=20)
    store._connection.execute('DELETE FROM "levels" WHERE "replicate" >= 20')
    assert [row["k"] for row in summary.errors_by_k(store, "e")] == [1, 2, 4, 8, 16, 32]


def test_cells_hold_the_error_of_the_replicates(store):
    weights = log_weights()
    write(store, weights, estimator_options={"widen": 1.3}, pareto_k=None, pareto_note="why")
    (row,) = summary.cells(store, "e")
    top = groups(weights, 6)[:, 0]
    assert row["rmse"] == pytest.approx(np.sqrt(np.mean((top - EXACT) ** 2)), rel=1e-12)
    assert row["error"] == 0.125
    assert row["ess_fraction"] == 10.0 / (R * N)
    assert row["label"] == "prior (widen 1.3)"
    assert math.isnan(row["pareto_k"])
    assert row["pareto_note"] == "why"


def test_histogram_densities_add_up_to_one(store):
    write(store, log_weights())
    table = summary.histograms(store, "e")
    assert [row["count"] for row in table] == [1, 3]
    assert sum(row["density"] * (row["right"] - row["left"]) for row in table) == pytest.approx(1.0)
    assert {row["n_neg_inf"] for row in table} == {2}


def test_scaling_rows(store):
    cell = {
        "key": "1",
        "experiment": "scaling",
        "kind": "scaling",
        "estimator": "prior",
        "threads": 2,
        "n_samples": 1000,
    }
    cell |= {"seconds": 2e-3, "exact": -1.0, "log_marginal": -1.5, "std_error": 0.25, "n_evaluations": 1000}
    store.write_cell(cell, values={"seconds": [1e-3, 2e-3, 4e-3], "baseline_bytes": [5e7]})
    (row,) = summary.scaling(store)
    assert (row["ns_per_sample"], row["z"], row["n_repeats"]) == (pytest.approx(2000), -2.0, 3)
    assert (row["seconds_low"], row["seconds_high"], row["baseline_bytes"]) == (1e-3, 4e-3, 5e7)


def test_ranking_counts_ties_as_half(store):
    cell = {"key": "1", "experiment": "ranking", "kind": "ranking", "estimator": "prior", "exact": 0.5}
    a, b = [1.0, 2.0, 3.0, -math.inf], [2.0, 2.0, 1.0, 0.0]
    values = {"independent/a/0": a, "independent/b/0": b, "common/a/3": a[:3], "common/b/3": b[:3]}
    store.write_cell(cell | {"model_options": {"other": "ppca with 5 latents"}}, values=values)
    one, common = summary.ranking(store)
    assert (one["k"], one["n_wrong"], one["wrong"], one["gap"]) == (1, 2.5, 0.625, 0.5)
    assert math.isnan(one["sd_difference"])
    assert (common["variant"], common["k"], common["wrong"]) == ("common", 8, 0.5)
    assert common["mean_difference"] == pytest.approx(1 / 3)
    assert common["other"] == "ppca with 5 latents"


@pytest.mark.parametrize(("count", "n"), [(0, 10), (3, 10), (10, 10), (57, 1000)])
def test_wilson_agrees_with_scipy(count, n):
    expected = stats.binomtest(count, n).proportion_ci(method="wilson")
    np.testing.assert_allclose(summary.wilson(count, n), expected, atol=1e-12)


def test_gallery_tables(store):
    cell = {"experiment": "digits", "kind": "gallery", "n_observed": 61, "data": "digits"}
    common = {"n_images": [3], "reconstruction_rmse": [0.25], "data": np.zeros(128), "reconstruction": np.ones(128)}
    pca = cell | {"key": "1", "model": "pca", "n_latents": 2}
    ppca = cell | {"key": "2", "model": "ppca", "n_latents": 2}
    store.write_cell(pca, values=common)
    log_p = {"log_p": [1.0, 2.0, 6.0], "sample": np.full(192, 0.5)}
    store.write_cell(ppca, values=common | log_p)
    panels = [(row["model"], row["panel"], row["index"]) for row in summary.gallery(store)]
    assert panels.count(("data", "data", 0)) == 1
    assert [panel for panel in panels if panel[1] == "sample"] == [("ppca", "sample", i) for i in range(3)]
    assert all(len(row["pixels"]) == 64 for row in summary.gallery(store))


def test_an_empty_store_gives_empty_tables(store):
    tables = (summary.errors_by_k, summary.cells, summary.histograms, summary.scaling, summary.ranking)
    assert [table(store, "e") for table in (*tables, summary.gallery)] == [[]] * 6


def test_csv_is_the_same_each_time_and_reads_back(tmp_path):
    table = [{"a": 0.1, "b": {"x": 1}, "c": None, "d": math.inf}, {"a": -1.5, "b": [1, 2], "c": "text, more", "d": 1}]
    path = summary.write_csv(table, tmp_path / "folder" / "t.csv")
    first = path.read_bytes()
    assert summary.write_csv(table, path).read_bytes() == first
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert float(rows[0]["a"]) == 0.1
    assert json.loads(rows[0]["b"]) == {"x": 1}
    assert (rows[0]["c"], rows[0]["d"], rows[1]["c"]) == ("", "inf", "text, more")
    assert summary.write_csv([], tmp_path / "empty.csv").read_bytes() == b""
