"""Races: from rounds in the store to ratios, and to the words of the figure and the page. Exact tests."""

import math
import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from logpx_bench import races
from logpx_bench.figures import FIGURES
from logpx_bench.figures import peers as figure
from logpx_bench.moments import ratio
from logpx_bench.store import Store

made = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("report_store.py"))))


@pytest.fixture
def store(tmp_path):
    with Store.open(tmp_path / "results.sqlite") as opened:
        yield opened


def one(table, peer, role="best"):
    (found,) = [row for row in table if (row["peer"], row["role"]) == (peer, role)]
    return found


def write(store, values, created="2026-01-01T00:00:00Z", note="", tried=()):
    """A race of logpx and numpy with these times; its key is of its own."""
    told = {"summary": "", "versions": {}, "absent": None, "tried": list(tried)}
    told["variant"] = {"best": "soa", "library": "soa", "as written": "aos"}
    told |= {"compile_seconds": {"best": 1.5}, "note": {"best": note}}
    cell = {"key": created, "experiment": "peers", "kind": "peers", "model": "exp", "dtype": "float64", "threads": 1}
    cell |= {"created_utc": created, "suite": "s", "estimator_options": {"peers": {"logpx": told, "numpy": told}}}
    store.write_cell(cell, values={f"ns/{name}": times for name, times in values.items()})


def test_a_ratio_is_the_median_over_rounds_of_theirs_over_ours_of_the_same_round(store):
    # the machine is slow in the second round: the ratio of medians would be 4
    write(store, {"logpx/best": [1.0, 10.0, 1.0], "numpy/best": [2.0, 30.0, 4.0], "numpy/as written": [4.0, 40.0, 4.0]})
    table = races.peers(store)
    row = one(table, "numpy")
    assert (row["ratio"], row["ratio_lower"], row["ratio_upper"]) == (3.0, 2.5, 3.5)
    assert (row["ns"], row["ns_ours"], row["n_rounds"]) == (4.0, 1.0, 3)
    assert (row["ratio_low"], row["ratio_high"]) == (2.0, 4.0)
    assert (row["variant"], row["compile_seconds"]) == ("soa", 1.5)
    assert one(table, "numpy", "as written")["ratio"] == 4.0
    assert one(table, "logpx")["ratio"] == 1.0


def test_a_library_that_fell_out_in_some_round_has_no_ratio_but_a_note(store):
    write(store, {"logpx/best": [1.0, 1.0], "numpy/best": [2.0, math.nan]}, note="its process died")
    row = one(races.peers(store), "numpy")
    assert math.isnan(row["ratio"])
    assert row["note"] == "its process died"
    assert math.isnan(one(races.peers(store), "numpy", "as written")["ns"])
    assert FIGURES["peers"].data(store) == []


def test_of_a_case_run_twice_the_last_counts(store):
    write(store, {"logpx/best": [1.0], "numpy/best": [9.0]}, "2026-01-02T00:00:00Z")
    write(store, {"logpx/best": [1.0], "numpy/best": [5.0]}, "2026-01-01T00:00:00Z")
    assert one(races.peers(store), "numpy")["ratio"] == 9.0


def test_every_variant_tried_is_a_row_and_the_table_says_how_many_had_a_time(store):
    tried = [
        {"words": "soa", "library": True, "as_written": False, "ns": 2.0, "prepare_seconds": 0.1, "note": ""},
        {"words": "aos", "library": True, "as_written": True, "ns": None, "prepare_seconds": None, "note": "too late"},
    ]
    write(store, {"logpx/best": [1.0], "numpy/best": [2.0]}, tried=tried)
    row = one(races.peers(store), "numpy")
    assert (row["n_tried"], row["n_variants"]) == (1, 2)
    found = races.tried(store)
    assert [(one["peer"], one["variant"], one["ns"], one["note"]) for one in found] == [
        ("numpy", "soa", 2.0, ""),
        ("numpy", "aos", None, "too late"),
    ]
    assert (found[0]["case"], found[0]["dtype"], found[0]["threads"]) == ("exp", "float64", 1)


def test_the_interval_of_a_ratio_covers_the_median_as_often_as_it_says():
    """2000 races of 15 rounds, log-normal ratios of median 2. The share covered is above 0.90 unless a bootstrap of the
    median at n = 15 is broken: it covers about 0.94, and 0.90 is 7 standard errors (0.0054) away: 1e-12."""
    rng = np.random.default_rng(3)
    found = [ratio(2 * np.exp(0.1 * rng.standard_normal(15)), np.ones(15)) for _ in range(2000)]
    assert np.mean([one.low <= 2 <= one.high for one in found]) > 0.90
    assert all(one.low <= one.lower <= one.high or one.lower <= one.low for one in found)


def test_words_follow_the_numbers(store):
    made.add_race(store, "chain_ppca_2_8", "float64", 2, {"jax": (1.4, 2.0, 5.0), "torch": (1.9, 1.9, 9.0)})
    caption = figure.caption(FIGURES["peers"].data(store))
    assert "PPCA, 2 → 8, float64, 2 threads: JAX 1.4 (PyTorch 1.9)" in caption
    assert "None is faster than logpx" in caption
    made.add_race(store, "exp", "float64", 2, {"jax": (0.5, 0.7, 5.0)}, absent={"scipy": "scipy is not installed"})
    caption = figure.caption(FIGURES["peers"].data(store))
    assert "Faster than logpx: JAX in exp (functions, 2 threads, float64; 0.5" in caption
    assert "Absent: SciPy (scipy is not installed)." in caption


def test_marks_stand_at_the_ratios_and_the_ways_of_a_library_differ_by_their_fill(store):
    made.add_race(store, "exp", "float64", 2, {"jax": (0.5, 0.7, 5.0)})
    table = FIGURES["peers"].data(store)
    (axes,) = [each for each in figure.draw(table).axes if each.get_title("left")]
    marks = [line for line in axes.lines if line.get_marker() == "D"]
    looks = [(line.get_fillstyle(), line.get_markerfacecolor() == "white") for line in marks]
    assert [line.get_xdata()[0] for line in marks] == [row["ratio"] for row in table if row["peer"] == "jax"]
    assert looks == [("full", False), ("left", False), ("full", True)]
