"""Figures: what they show is what the summary says, in the words that the numbers call for, and the same bytes each
time.

Exact tests. The oracle of the numbers is brute force over the log weights that the synthetic store was made from;
that of the label placement is a constrained least-squares solver."""

import csv
import hashlib
import itertools
import json
import math
import re
import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.text import Text
from scipy import optimize

from logpx_bench import summary
from logpx_bench.figures import FIGURES, save, style, words
from logpx_bench.figures import series as s
from logpx_bench.figures.labels import spread
from logpx_bench.store import Store

made = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("report_store.py"))))
EXACT, WIDTHS = made.EXACT, made.WIDTHS
SWAPPED = {"uniform": WIDTHS["importance"], "prior": WIDTHS["prior"], "importance": WIDTHS["uniform"]}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A store with every experiment; uniform is worst and importance best."""
    path = made.build(tmp_path_factory.mktemp("figures") / "results.sqlite")
    with Store.open(path, create=False) as opened:
        yield opened


@pytest.fixture(scope="module")
def swapped(tmp_path_factory):
    """The same with importance worst and uniform best, and 8 replicates in place of 32."""
    path = made.build(tmp_path_factory.mktemp("swapped") / "results.sqlite", widths=SWAPPED, n_replicates=8)
    with Store.open(path, create=False) as opened:
        yield opened


# -- every figure -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FIGURES)
def test_the_same_table_gives_the_same_bytes(name, store, tmp_path):
    table = FIGURES[name].data(store)
    assert table
    digests = []
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        paths = save(FIGURES[name].draw(table), tmp_path / folder, name)
        digests.append([hashlib.sha256(path.read_bytes()).hexdigest() for path in paths])
        assert [path.suffix for path in paths] == [".svg", ".pdf", ".png"]
        assert all(1000 < path.stat().st_size < 1e6 for path in paths)
    assert digests[0] == digests[1]


@pytest.mark.parametrize("name", FIGURES)
def test_files_carry_no_date_and_no_software(name, store, tmp_path):
    for path in save(FIGURES[name].draw(FIGURES[name].data(store)), tmp_path, name):
        raw = path.read_bytes().lower()
        for word in (b"creationdate", b"<dc:date", b"matplotlib version", b"software"):
            assert word not in raw, (path.name, word)


@pytest.mark.parametrize("name", FIGURES)
def test_all_text_lies_inside_the_figure_and_labels_do_not_overlap(name, store):
    figure = FIGURES[name].draw(FIGURES[name].data(store))
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    page = figure.bbox
    texts = [text for text in figure.findobj(Text) if text.get_text().strip() and text.get_visible()]
    assert texts
    outside = []
    for text in texts:
        box = Text.get_window_extent(text, canvas.get_renderer())
        if min(box.x0, box.y0) < -1 or box.x1 > page.x1 + 1 or box.y1 > page.y1 + 1:
            outside.append(text.get_text())
    ticks = {
        tick for axes in figure.axes for axis in (axes.xaxis, axes.yaxis) for tick in axis.get_ticklabels(which="both")
    }
    drawn = [text for text in outside if text not in {tick.get_text() for tick in ticks}]
    assert not drawn
    for axes in figure.axes:
        names = [text for text in axes.texts if text.get_fontsize() >= 9]
        boxes = [Text.get_window_extent(text, canvas.get_renderer()) for text in names]
        for (a, one), (b, other) in itertools.combinations(zip(names, boxes, strict=True), 2):
            overlap = (
                min(one.x1, other.x1) - max(one.x0, other.x0) > 1 and min(one.y1, other.y1) - max(one.y0, other.y0) > 1
            )
            assert not overlap, (a.get_text(), b.get_text())


@pytest.mark.parametrize("name", FIGURES)
def test_the_csv_beside_a_figure_is_its_table(name, store, tmp_path):
    table = FIGURES[name].data(store)
    path = summary.write_csv(table, tmp_path / f"{name}.csv")
    with path.open(encoding="utf-8", newline="") as lines:
        read = list(csv.DictReader(lines))
    assert read == [{key: "" if value is None else str(value) for key, value in row.items()} for row in table]


@pytest.mark.parametrize("name", FIGURES)
def test_a_store_without_the_experiment_gives_an_empty_table(name, tmp_path):
    with Store.open(tmp_path / "empty.sqlite") as empty:
        assert FIGURES[name].data(empty) == []


@pytest.mark.parametrize("name", FIGURES)
def test_a_caption_is_words_with_balanced_markup_and_no_nan(name, store):
    caption = FIGURES[name].caption(FIGURES[name].data(store))
    assert caption.endswith(".")
    assert caption[0].isupper()
    assert caption.count("$") % 2 == 0
    assert caption.count("**") % 2 == 0
    assert not re.search(r"\bnan\b|None|\binf\b|unknown", caption)
    assert not re.search(r"[$`*\\{}]", words.plain(caption))


# -- numbers ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("estimator", WIDTHS)
@pytest.mark.parametrize("level", [0, 3, 10])
def test_the_rmse_drawn_is_that_of_the_weights_by_brute_force(estimator, level, store):
    weights = made.log_weights(WIDTHS[estimator], 32, 2**10, seed=int(1000 * WIDTHS[estimator]))
    groups = weights.reshape(32, -1, 2**level)
    bounds = np.log(np.mean(np.exp(groups - EXACT), axis=2))
    rows = FIGURES["error_against_k"].data(store)
    bold = [row for row in rows if (row["kind"], row["estimator"], row["k"]) == ("rmse", estimator, 2**level)]
    thin = [row for row in rows if (row["kind"], row["estimator"], row["k"]) == ("path", estimator, 2**level)]
    assert bold[0]["rmse"] == pytest.approx(np.sqrt(np.mean(bounds**2)), rel=1e-9)
    assert [row["rmse"] for row in sorted(thin, key=lambda row: row["replicate"])] == pytest.approx(
        list(np.sqrt(np.mean(bounds[:8] ** 2, axis=1))), rel=1e-9
    )
    gap = next(
        row for row in FIGURES["jensen_gap"].data(store) if (row["estimator"], row["k"]) == (estimator, 2**level)
    )
    assert gap["bias"] == pytest.approx(bounds.mean(), rel=1e-9, abs=1e-12)
    assert gap["delta_gap"] == pytest.approx(math.expm1(WIDTHS[estimator] ** 2) / 2 ** (level + 1))


def test_lines_drawn_are_the_columns_of_the_table(store):
    table = FIGURES["error_against_k"].data(store)
    axes = FIGURES["error_against_k"].draw(table).axes[0]
    drawn = {tuple(line.get_ydata()) for line in axes.lines}
    for estimator in WIDTHS:
        rows = [row for row in table if row["kind"] == "rmse" and row["estimator"] == estimator]
        assert tuple(row["rmse"] for row in sorted(rows, key=lambda row: row["k"])) in drawn


def test_images_pooled_in_the_dimension_figure_add_by_mean_square(tmp_path):
    with Store.open(tmp_path / "two.sqlite") as two:
        for row, spread_ in ((0, 0.4), (1, 1.1)):
            made.add_ladder(two, "dimension", "prior", spread_, n_samples=2**6, n_latents=3, row=row)
        table = FIGURES["dimension"].data(two)
        rows = [row for row in summary.errors_by_k(two, "dimension") if row["k"] == 2**6]
        assert [row["rmse"] for row in table] == pytest.approx(
            [math.hypot(*(row["rmse"] for row in rows)) / math.sqrt(2)]
        )
        assert table[0]["rmse_low"] < table[0]["rmse"] < table[0]["rmse_high"]
        assert "2 held-out images pooled" in FIGURES["dimension"].caption(table)


def test_an_exact_proposal_is_named_and_not_drawn(tmp_path):
    with Store.open(tmp_path / "exact.sqlite") as exact:
        for n_latents, spread_ in ((1, 0.0), (2, 0.3)):
            made.add_ladder(exact, "dimension", "importance", spread_, n_samples=2**6, n_latents=n_latents)
        table = FIGURES["dimension"].data(exact)
        assert "Not drawn: importance at 1 latent" in FIGURES["dimension"].caption(table)
        assert [row["n_latents"] for row in FIGURES["dimension"].against_latents(table)[0].rows] == [2]


def test_infinite_variance_is_marked_and_counted(store):
    table = FIGURES["proposal_quality"].data(store)
    infinite = [row for row in table if FIGURES["proposal_quality"].infinite(row)]
    assert len(infinite) == 3
    figure = FIGURES["proposal_quality"].draw(table)
    crosses = [line for line in figure.axes[3].lines if line.get_marker() == "X"]
    assert len(crosses) == len(infinite)
    assert "3 of the proposals give weights of infinite variance" in FIGURES["proposal_quality"].caption(table)
    blind = [row | {"pareto_k": 0.3} if FIGURES["proposal_quality"].infinite(row) else row for row in table]
    said = FIGURES["proposal_quality"].caption
    assert "for 3 of 3 of these and for 0 of 7 with finite χ²." in said(table)
    assert "for 0 of 3 of these and for 0 of 7 with finite χ²: at this $k$ it does not tell" in said(blind)
    false = [row | {"pareto_k": 0.6} if row["chi2"] == table[3]["chi2"] else row for row in table]
    assert "for 3 of 3 of these and for 1 of 7 with finite χ²: at this $k$ it does not tell" in said(false)


def test_an_ess_that_is_off_is_pointed_out(store):
    module = FIGURES["proposal_quality"]
    rows = [row for row in module.data(store) if not module.infinite(row)]
    right = [row | {"ess_fraction": module.exact_ess(row)} for row in rows]
    assert "within a factor 1.2 of" in module.caption(right)
    off = [right[0] | {"ess_fraction": 1.5 * module.exact_ess(right[0])}, *right[1:]]
    number = words.number(150 * module.exact_ess(rows[0]), 2)
    assert f"at 4 latents and width {rows[0]['width']:g} it reads {number}%" in module.caption(off)


def test_the_digits_figure_says_what_has_no_density(store):
    table = FIGURES["digits"].data(store)
    texts = [text.get_text() for text in FIGURES["digits"].draw(table).findobj(Text)]
    for name in ("PCA", "autoencoder"):
        assert f"{name}: no p(x), so it cannot sample" in texts
    assert "grey pixels, a density (PCA and autoencoder: no p(x))" in texts
    assert "PCA and autoencoder can reconstruct but have no density, and can neither sample nor give a log p(x)" in (
        FIGURES["digits"].caption(table)
    )
    assert {row["model"] for row in table if row["log_p_is"] == "no p(x)"} == {"pca", "autoencoder"}
    assert all(row["log_p"] is None for row in table if row["log_p_is"] == "no p(x)")
    strip = FIGURES["digits"].strip(table, "reconstruction", "ppca", 8)
    pixels = json.loads(
        next(row for row in table if (row["panel"], row["model"], row["n_latents"]) == ("reconstruction", "ppca", 8))[
            "pixels"
        ]
    )
    assert strip[:, :8].tolist() == np.reshape(pixels, (8, 8)).tolist()


def test_the_digits_figure_names_every_model_that_stands_on_the_noise_floor(store):
    figure = FIGURES["digits"]
    table = [row for row in figure.data(store) if row["panel"] == "log_p"]
    unsaid = figure.caption([row | {"n_at_floor": None} for row in table])
    assert "step of 1/16. Values under factor analysis and VAE (Gaussian) depend on it" in unsaid
    few = {"factor_analysis": 7.0, "vae_gaussian": 3.0}
    counted = [row | {"n_at_floor": few.get(row["model"]), "n_observed": 61} for row in table]
    said = "under factor analysis 7 of 61 with 2 latents and 7 of 61 with 8 latents; under VAE (Gaussian) 3 of 61 with"
    assert said in figure.caption(counted)
    none = [row | {"n_at_floor": 0.0} if row["model"] == "vae_gaussian" else row for row in counted]
    assert "under VAE (Gaussian) none. Values under factor analysis depend on it." in figure.caption(none)


def test_the_digits_figure_tells_estimates_from_exact_values(store):
    table = FIGURES["digits"].data(store)
    texts = [text.get_text() for text in FIGURES["digits"].draw(table).findobj(Text)]
    assert texts.count("estimate") == 2
    caption = FIGURES["digits"].caption(table)
    assert (
        "$2^{12}$ samples an image, no replicates; the standard error of an image is 0.030 nats in the median"
        in caption
    )
    assert "for 6 of 80 Pareto $\\hat k$ says that neither estimate nor error is to be trusted" in caption
    assert "VAE (Gaussian) ≈ " in caption.partition("8 latents")[2]
    assert "≈" not in caption.partition("8 latents")[0]
    rows = [row for row in table if row["panel"] == "log_p" and row["log_p_is"] != "no p(x)"]
    assert {(row["model"], row["n_latents"]) for row in rows if row["log_p_is"] == "estimate"} == {
        ("vae_gaussian", 8),
        ("vae_bernoulli", 8),
    }
    exact = [row | {"log_p_is": "exact"} if row["log_p_is"] == "estimate" else row for row in table]
    assert FIGURES["digits"].caption(exact).endswith("Exact values: no Monte Carlo, no replicates.")


def test_probabilities_are_not_ranked_with_densities(store):
    """Those of binary pixels are the highest numbers of the store."""
    caption = FIGURES["digits"].caption(FIGURES["digits"].data(store))
    assert "The highest is that of VAE (Gaussian) with 8 latents" in caption
    assert "Of binary pixels, ink or none: VAE (Bernoulli) with 2 latents" in caption


# -- words follow numbers -----------------------------------------------------------------------------------------


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


# -- suites that run a case more than once ------------------------------------------------------------------------


def test_runs_of_other_seeds_and_sizes_are_not_mixed(tmp_path):
    """As from seeds = [0, 1] or n_samples = ["2^8", "2^10"]: the largest and first run is shown, and it is said."""
    with Store.open(tmp_path / "several.sqlite") as several:
        made.add_ladder(several, "error_against_k", "prior", 0.9, n_samples=2**8)
        made.add_ladder(several, "error_against_k", "prior", 0.5)
        made.add_ladder(several, "error_against_k", "prior", 0.6, seed=1)
        made.add_ladder(several, "error_against_k", "prior", 0.7, model_options={"seed": 3})
        for name in ("error_against_k", "jensen_gap", "cost_accuracy", "log_weights"):
            table = FIGURES[name].data(several)
            FIGURES[name].draw(table)
            assert "A case was run up to 4 times" in FIGURES[name].caption(table), name
        ks = [row["k"] for row in FIGURES["jensen_gap"].data(several)]
        assert ks == [2**level for level in range(11)]


def test_a_table_of_infinite_variance_alone_is_drawn_without_a_warning(store):
    module = FIGURES["proposal_quality"]
    rows = [row for row in module.data(store) if module.infinite(row)]
    FigureCanvasAgg(module.draw(rows)).draw()
    assert "for 3 of 3 of these." in module.caption(rows)


def test_estimates_of_minus_infinity_are_said_and_not_drawn(store):
    table = FIGURES["error_against_k"].data(store)
    lost = {"rmse": math.inf, "rmse_high": math.inf, "bias": -math.inf}
    zero = [row | lost if row["estimator"] == "uniform" and row["k"] <= 4 else row for row in table]
    FIGURES["error_against_k"].draw(zero)
    assert "Not drawn: uniform up to $k$ = 4, where some estimate" in FIGURES["error_against_k"].caption(zero)
    assert "Not drawn" not in FIGURES["error_against_k"].caption(table)


# -- looks --------------------------------------------------------------------------------------------------------


def test_every_estimator_differs_in_colour_in_line_and_in_marker():
    looks = [style.look(name) for name in ("uniform", "prior", "importance")]
    looks += [style.look("importance", 1), style.look("importance", 2)]
    assert len({(look.line, look.marker) for look in looks}) == len(looks)
    assert len({look.color for look in looks[:3]}) == 3


def test_text_has_the_contrast_that_small_print_needs():
    """WCAG 2.1 asks for a contrast of 4.5 against the page; relative luminance as defined there."""
    for look in [*style.LOOKS.values(), *style.SPARE]:
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(look.ink)]
        luminance = float(np.dot([0.2126, 0.7152, 0.0722], linear))
        assert 1.05 / (luminance + 0.05) >= 4.5, look


@pytest.mark.parametrize("seed", range(20))
def test_labels_are_placed_as_a_least_squares_solver_places_them(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 7))
    wanted, sizes, low, high = np.sort(rng.uniform(0, 10, n)), rng.uniform(0.5, 2.0, n), -2.0, 14.0
    centres = np.array(spread(list(wanted), list(sizes), low, high))
    gaps = (sizes[:-1] + sizes[1:]) / 2
    assert np.all(np.diff(centres) >= gaps - 1e-9)
    assert centres[0] - sizes[0] / 2 >= low - 1e-9
    assert centres[-1] + sizes[-1] / 2 <= high + 1e-9
    limits = [{"type": "ineq", "fun": lambda c: np.diff(c) - gaps}] if n > 1 else []
    limits += [{"type": "ineq", "fun": lambda c: [c[0] - sizes[0] / 2 - low, high - c[-1] - sizes[-1] / 2]}]
    found = optimize.minimize(
        lambda c: np.sum((c - wanted) ** 2),
        low + np.cumsum(sizes),
        constraints=limits,
        method="SLSQP",
        options={"ftol": 1e-14},
    )
    assert np.sum((centres - wanted) ** 2) <= found.fun + 1e-6


def test_series_are_named_by_the_settings_that_tell_them_apart():
    rows = [
        {"estimator": "importance", "estimator_options": {"widen": widen, "scale": 1.0}, "k": 1} for widen in (1.3, 2.0)
    ]
    assert [one.name for one in s.by_estimator(rows, "k")] == ["importance\n(widen 1.3)", "importance\n(widen 2)"]
    assert [one.name for one in s.by_estimator(rows[:1], "k")] == ["importance"]


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
