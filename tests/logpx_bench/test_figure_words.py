"""Captions say what the numbers call for, and other words where the numbers are others. Exact tests."""

import math
import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from logpx_bench.figures import FIGURES, words
from logpx_bench.figures import series as s
from logpx_bench.store import Store

made = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("report_store.py"))))
EXACT, WIDTHS = made.EXACT, made.WIDTHS
SWAPPED = {"uniform": WIDTHS["importance"], "prior": WIDTHS["prior"], "importance": WIDTHS["uniform"]}


@pytest.fixture(scope="module")
def swapped(tmp_path_factory):
    """The same with importance worst and uniform best, and 8 replicates in place of 32."""
    path = made.build(tmp_path_factory.mktemp("swapped") / "results.sqlite", widths=SWAPPED, n_replicates=8)
    with Store.open(path, create=False) as opened:
        yield opened


def test_captions_change_sides_when_the_numbers_do(store, swapped):
    def caption(name, of):
        return FIGURES[name].caption(FIGURES[name].data(of))

    for name, said in (
        ("error_against_k", "{} sampling has the smallest RMSE"),
        ("cost_accuracy", "of the work, mse × time, that of {} is"),
        ("dimension", "With the most latents {} sampling has the smallest error"),
        ("log_weights", "{} sampling has the largest effective sample size"),
    ):
        plain, other = caption(name, store).lower(), caption(name, swapped).lower()
        assert said.format("importance").lower() in plain, name
        assert said.format("uniform").lower() in other, name
        assert said.format("importance").lower() not in other, name


def test_the_gap_and_the_delta_method_are_compared(store):
    table = [row for row in FIGURES["jensen_gap"].data(store) if row["estimator"] == "importance" and row["k"] <= 4]
    row = max(table, key=lambda row: row["k"])
    caption = FIGURES["jensen_gap"].caption
    assert -row["bias"] > 5 * row["bias_std_error"]
    near = 1 - 3 * row["bias_std_error"] / row["bias"]  # 3 standard errors above the gap: not yet a difference
    for factor, word in ((near, "agrees, within its error, with"), (3.0, "is below"), (0.1, "is above")):
        fitted = [each | {"delta_gap": -each["bias"] * factor} for each in table]
        assert f"importance's {words.nats(-row['bias'])}" in caption(fitted)
        assert word in caption(fitted)


def test_more_threads_and_more_memory_are_judged_by_their_numbers(store):
    module, table = FIGURES["scaling"], FIGURES["scaling"].data(store)
    assert "The best speed-up at $k$ = $2^{24}$ is 1.9 (1.8 to 2.0 between runs), with 2 threads" in module.caption(
        table
    )
    assert "The peak with 4 threads is within a tenth of the peak with 1 thread" in module.caption(table)
    assert "the load of the machine was 0.10 on 2 cores." in module.caption(table)
    assert "other work shared the cores" in module.caption([row | {"load_1m": 3.0} for row in table])
    assert "within a tenth of the peak" in module.caption(table)
    slow = [row | {"seconds": row["seconds"] * row["threads"] * 2} for row in table]
    assert "More threads brought nothing" in module.caption(slow)
    grown = [row | {"peak_bytes": row["n_samples"] * 64} for row in table]
    assert "16,384 times the peak" in module.caption(grown)


def test_a_bias_within_its_error_is_a_bound_and_not_a_point(store):
    module, table = FIGURES["large_k"], FIGURES["large_k"].data(store)
    rows = module.levels(table)
    assert [row["k"] for row in rows] == [2**j for j in range(17)]
    assert {row["n_groups"] for row in rows if row["k"] == 2**16} == {32}
    (truth,) = {row["chi2"] for row in rows}
    for row in rows:
        assert (row["rmse_predicted"], row["bias_predicted"]) == (math.sqrt(truth / row["k"]), -truth / 2 / row["k"])
        assert row["rmse_low"] < row["rmse"] < row["rmse_high"]
    sure = [row for row in rows if abs(row["bias"]) > 1.96 * row["bias_std_error"]]
    assert 4 < len(sure) < len(rows)
    (hollow,) = (line for line in module.draw(table).axes[1].lines if line.get_marker() == "v")
    assert list(hollow.get_xdata()) == [row["k"] for row in rows if row not in sure]
    assert list(hollow.get_ydata()) == [
        abs(row["bias"]) + 1.96 * row["bias_std_error"] for row in rows if row not in sure
    ]
    assert f"Bias is told from zero at every $k$ up to {words.power(sure[-1]['k'])}" in module.caption(table)
    none = [row | {"bias": 0.0} if row["kind"] == "level" else row for row in table]
    assert "No bias is told from zero." in module.caption(none)


def test_a_path_outside_its_band_and_a_run_that_grows_are_said(store):
    module, table = FIGURES["large_k"], FIGURES["large_k"].data(store)
    own = module.path(table)
    assert [row["k"] for row in own] == [2**j for j in range(10, 22)]
    assert [row["z"] for row in own] == [(row["log_marginal"] - EXACT) / row["std_error"] for row in own]
    inside = sum(abs(row["z"]) <= 1.96 for row in own)
    assert f"{inside} of 12 points lie in the band" in module.caption(table)
    far = [row | {"z": 9.0} if row["k"] == 2**12 else row for row in table]
    assert f"{inside - (abs(own[2]['z']) <= 1.96)} of 12 points lie in the band, the farthest at 9.0" in module.caption(
        far
    )
    longer = [
        row | {"k": row["k"] * 2**6, "n_run": row["n_run"] * 2**6} if row["kind"] == "path" else row for row in table
    ]
    assert "10.0 ns a sample by the clock at $2^{24}$ and 10.0 at $2^{27}$, of which the work" in module.caption(longer)
    assert "the work in the chunks is 9.00 and 9.00;" in module.caption(longer)
    assert "peak memory 165 MB, as at $2^{24}$" in module.caption(longer)
    assert "included: 5.00 MB more than before the last step began." in module.caption(longer)
    grown = [row | {"peak_bytes": 3.3e8} if row["k"] == 2**27 else row for row in longer]
    assert "peak memory 330 MB, 100% more than at $2^{24}$" in module.caption(grown)
    parts = [row | {"provenance_id": str(row["k"] > 2**15)} for row in table]
    assert "in 2 sittings" in module.caption(parts)
    assert "sittings" not in module.caption(table)


def test_a_step_that_was_stopped_has_no_time_by_the_clock(store):
    module, table = FIGURES["large_k"], FIGURES["large_k"].data(store)
    table = [
        row | {"k": row["k"] * 2**6, "n_run": row["n_run"] * 2**6} if row["kind"] == "path" else row for row in table
    ]
    broken = [row | {"ns_per_sample": math.nan} if row["k"] == 2**27 else row for row in table]
    said = module.caption(broken)
    assert "(for one step that was stopped, which no clock ran through, the work in the chunks is counted)" in said
    assert "by the clock at $2^{24}$ and 10.0 at $2^{26}$" in said
    assert "was stopped" not in module.caption(table)
    crosses, all_crosses = (
        next(line for line in module.draw(rows).axes[4].lines if line.get_marker() == "x") for rows in (broken, table)
    )
    assert list(crosses.get_xdata()) == list(all_crosses.get_xdata())[:-1]


def test_common_streams_are_said_to_help_only_where_they_do(store):
    module, table = FIGURES["ranking"], FIGURES["ranking"].data(store)
    assert "errs less often at" in module.caption(table)
    other = {"common": "independent", "independent": "common"}
    turned = [row | {"variant": other[row["variant"]]} for row in table]
    assert "errs more often at" in module.caption(turned)
    assert "less often" not in module.caption(turned)


@pytest.mark.parametrize(
    "name", ["error_against_k", "jensen_gap", "cost_accuracy", "dimension", "proposal_quality", "log_weights"]
)
def test_fewer_than_32_replicates_are_said(name, store, swapped):
    assert "**Only 8 replicates**" in FIGURES[name].caption(FIGURES[name].data(swapped))
    assert "**Only" not in FIGURES[name].caption(FIGURES[name].data(store))


def test_two_numbers_are_told_apart_only_where_intervals_do_not_overlap():
    low, high = words.Measured(1.0, 0.9, 1.1), words.Measured(45.0, 40.0, 50.0)
    assert words.against(low, high, of="that") == "45 times below that"
    assert words.against(high, low, of="that") == "45 times above that"
    assert words.against(low, words.Measured(1.3, 1.05, 1.5), of="that").startswith("not to be told apart from that")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (None, "unknown"),
        (math.nan, "unknown"),
        (math.inf, "∞"),
        (-math.inf, "−∞"),
        (12345.678, "12,346"),
        (0.00021449, "0.000214"),
        (9.999, "10.0"),
        (-0.5, "−0.500"),
        (1.5e-7, "$1.5\\times 10^{-7}$"),
        (2e9, "$2\\times 10^{9}$"),
    ],
)
def test_numbers_in_words(value, text):
    assert words.number(value) == text


def test_shares_are_never_rounded_to_nothing_or_to_all():
    assert words.percent(0.0) == "0%"
    assert words.percent(1e-9) == "under 0.01%"
    assert words.percent(1 - 1e-9) == "over 99.99%"
    assert words.percent(1.0) == "100%"


def test_works_are_ranked_only_where_their_intervals_are_apart(store):
    module = FIGURES["cost_accuracy"]
    table = module.data(store)
    assert "At $k$ = $2^{5}$ ($2^{10}$ groups of weights or more), with 2 threads" in module.caption(table)
    rows = [row for row in table if row["k"] == 2**5]
    works = {row["estimator"]: row["rmse"] ** 2 * row["seconds_at_k"] for row in rows}
    assert f"{words.ratio(works['prior'] / works['importance'])} below that of prior" in module.caption(table)
    same = {"prior": 1.0, "importance": 1.05}
    close = [
        row | {"rmse": same[row["estimator"]], "rmse_low": 0.9, "rmse_high": 1.2, "seconds_at_k": row["k"] * 1e-8}
        for row in table
        if row["estimator"] in same
    ]
    assert "that of prior is not to be told apart from that of importance" in module.caption(close)


def test_the_areas_of_a_histogram_are_shares_wherever_its_bins_lie():
    """Counts are kept, a cut bin is shared out by length, and the median is that of the bins as stored."""
    module = FIGURES["log_weights"]
    rows = [
        {"left": a, "right": b, "count": n, "n_neg_inf": 4}
        for a, b, n in ((-100.0, -50.0, 10), (-50.0, 0.0, 4), (0.0, 50.0, 2))
    ]
    new = module.rebinned(rows, [-100.0, -60.0, -25.0, 50.0])
    assert [row["share"] * 20 for row in new] == pytest.approx([8, 4, 4])
    assert {row["n_weights"] for row in new} == {20}
    assert new[0]["median"] == pytest.approx(-60.0)


def test_bins_drawn_are_equally_wide_on_the_axis(store):
    module = FIGURES["log_weights"]
    axes = module.draw(module.data(store)).axes[0]
    rows = [row for row in module.data(store) if row["estimator"] == "uniform"]
    edges = [row["low"] for row in rows] + [rows[-1]["high"]]
    widths = np.diff(axes.transData.transform([(edge, 0.0) for edge in edges])[:, 0])
    assert widths == pytest.approx(widths[0], rel=1e-6)
    assert sum(row["share"] for row in rows) == pytest.approx(1.0)


def test_models_whose_intervals_fail_or_whose_error_is_not_the_predicted_are_named(store, tmp_path):
    module, table = FIGURES["models"], FIGURES["models"].data(store)
    assert {row["model"] for row in table} == set(made.MODELS)
    text = module.caption(table)
    far = max(row["max_difference"] for row in table)
    assert f"at most {words.nats(far, 2)} apart (mixture of PPCA)" in text
    assert "No 95% interval holds the exact answer detectably less often than it says" in text
    assert "12 ns (Gaussian mixture) to 250 ns (eggbox)" in text
    off = [row | {"predicted": 2 * row["predicted"]} if row["model"] == "ppca" else row for row in table]
    assert "for 3 of them (not for PPCA)" in module.caption(off)
    with Store.open(tmp_path / "narrow.sqlite") as narrow:
        made.add_models(narrow, narrow=0.5)
        low = module.data(narrow)
    assert all(row["coverage"] < 0.85 for row in low)
    assert len(low) == 4
    assert module.caption(low).count("%") == 1 + 4


def test_models_are_drawn_in_order_of_their_error(store):
    module, table = FIGURES["models"], FIGURES["models"].data(store)
    error, coverage, time = module.draw(table).axes
    order = sorted(table, key=lambda row: -row["rmse"])
    assert [label.get_text() for label in error.get_yticklabels()] == [s.title(row["model"]) for row in order]
    for axes, name in ((error, "rmse"), (coverage, "coverage"), (time, "ns")):
        (dots,) = (line for line in axes.lines if line.get_marker() == "o")
        assert list(dots.get_xdata()) == [row[name] for row in order]


def test_gaps_of_images_are_drawn_and_those_within_their_error_are_bounds(store):
    module, table = FIGURES["vae"], FIGURES["vae"].data(store)
    axes = module.draw(table).axes[2]
    for marker, k in (("s", 1), ("^", 64), ("o", 4096)):
        own = sorted(
            (row for row in table if (row["likelihood"], row["k"]) == ("bernoulli", k)), key=lambda r: r["rank"]
        )
        solid, hollow = (line for line in axes.lines if line.get_marker() == marker)
        sure = [row["gap"] > 1.96 * row["std_error"] for row in own]
        assert list(solid.get_ydata()) == [row["gap"] for row, known in zip(own, sure, strict=True) if known]
        rest = [row["gap"] + 1.96 * row["std_error"] for row, known in zip(own, sure, strict=True) if not known]
        assert list(hollow.get_ydata()) == rest
        assert k < 4096 or len(rest) > 0


def test_bounds_that_do_not_rise_or_lie_above_exact_are_counted(store):
    module, table = FIGURES["vae"], FIGURES["vae"].data(store)
    text = module.caption(table)
    assert "Bernoulli likelihood, 2 latents, 20 held-out images" in text
    assert "They rise with $k$ for 20 of 20, as bounds read from one stream must; none lies above exact." in text
    assert "certified error of at most $3\\times 10^{-8}$ nats" in text
    above = [row | {"gap": -0.5, "bound": row["exact"] + 0.5} if row["rank"] == 3 else row for row in table]
    assert "for 1 one lies above exact." in module.caption(above)


@pytest.mark.parametrize(("k", "within", "beyond"), [(1, -5.4, -6.1), (4096, -6.3, -8.0)])
def test_a_bound_is_above_exact_only_beyond_its_errors_students_t(k, within, beyond, store):
    """One of 60 at 1e-6 in all: 5.5 errors where the error is as good as known, 7.3 where it comes from 32 groups."""
    module, table = FIGURES["vae"], FIGURES["vae"].data(store)

    def counted(errors):
        moved = [
            row | {"gap": errors * row["std_error"] - row["exact_error"]}
            if (row["k"], row["rank"], row["likelihood"]) == (k, 3, "bernoulli")
            else row
            for row in table
        ]
        return "for 1 one lies above exact" in module.caption(moved)

    assert (counted(within), counted(beyond)) == (False, True)


def test_a_median_gap_that_is_not_told_from_zero_is_said_to_be_so(store):
    """10 of 20 signs might be chance; 15 (p = 0.021) are not, 14 (0.058) are."""
    module, table = FIGURES["vae"], FIGURES["vae"].data(store)

    def said(positive):
        sized = [row | {"gap": 0.01 if row["rank"] < positive else -1e-5} if row["k"] == 4096 else row for row in table]
        return module.caption(sized).count("(IWAE 4096; at most 0.0100; not told from zero)")

    assert (said(15), said(14), said(10)) == (0, 2, 2)
    assert "ELBO; at most" in module.caption(table)
    assert "zero)" not in module.caption(table).partition("IWAE 4096")[0]
