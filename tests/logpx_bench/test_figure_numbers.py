"""What figures show is what the summary says, and what is marked or left out is what should be.

Exact tests. The oracle is brute force over the log weights that the synthetic store was made from."""

import json
import math
import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from logpx_bench import summary
from logpx_bench.figures import FIGURES, words
from logpx_bench.store import Store

made = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("report_store.py"))))
EXACT, WIDTHS = made.EXACT, made.WIDTHS


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
