"""Stages: together they are the driver's tree, and a small cell for real. Exact; of times only the sign counts."""

import dataclasses
import json
import math

import numpy as np
import pytest

from logpx import _jit, driver, tree
from logpx._jit import BLOCK
from logpx_bench import assembly, floors, runner
from logpx_bench import suite as suites
from logpx_bench.counts import CLASSES
from logpx_bench.errors import InputError, SuiteError
from logpx_bench.experiments import limits, stage_loops, stages
from logpx_bench.store import Store

pytestmark = pytest.mark.skipif(_jit.DISABLED, reason="stages are timed in compiled code")

SUITE = """
[[experiment]]
name = "limits"
kind = "limits"
repeats = 1

[[experiment]]
name = "stages"
kind = "stages"
model = {name = "ppca", n_latents = 2, n_observed = 8}
data = "sample"
estimators = [{name = "importance"}]
n_samples = "2^12"
repeats = 3
"""


@pytest.fixture
def load(tmp_path):
    def load(text):
        path = tmp_path / "tiny.toml"
        path.write_text(text, encoding="utf-8")
        return suites.load(path)

    return load


@_jit.inner
def _block_tree(logs, moments, head, s):
    tree.block_tree(logs, BLOCK, moments, head, s)


def test_the_parts_of_the_tree_are_the_tree():
    """Bit for bit, from level 1 on: a stage that left something out would leave moments of the block before."""
    logs = np.random.default_rng(1).normal(-130.0, 1.5, BLOCK)
    moments, head, s = np.zeros((4, 3, driver.MAX_LEVELS)), np.zeros(4), np.ones(tree.WORKSPACE)
    _block_tree(logs, moments, head, s)
    parts = stage_loops._tree(logs)
    found = parts[1].arguments[1]
    assert np.array_equal(found[:, :, 1:11], moments[:, :, 1:11])
    assert found[:, 0, 1:11].all(axis=1).sum() >= 3


def test_an_aligned_copy_begins_at_a_cache_line():
    for shape in ((3,), (2, 5), (4, 3, 7)):
        for dtype in (np.float64, np.float32, np.uint64):
            array = np.arange(np.prod(shape), dtype=dtype).reshape(shape)
            copy = stage_loops.aligned(array)
            assert copy.ctypes.data % 64 == 0
            assert copy.flags.c_contiguous
            assert np.array_equal(copy, array)


def test_a_cell_times_every_stage_in_a_process_of_its_own(load, tmp_path):
    with Store.open(tmp_path / "r.sqlite") as store:
        done = runner.run(load(SUITE), store, threads=1)
        assert done.n_run == 3
        table = floors.stages(store)
        cells = store.cells("stages")
        values = [store.values(cell["key"]) for cell in cells]
    assert [cell["dtype"] for cell in cells] == ["float64", "float32"]
    assert {row["stage"] for row in table} == {*floors.STAGES, "remainder", "whole"}
    for own in values:
        assert {name.partition("/")[2] for name in own if name.startswith("count/")} == set(floors.STAGES)
        for name in floors.STAGES:
            assert own[f"ns/{name}"].shape == (3,)
            assert np.all(own[f"ns/{name}"] > 0)
            assert own[f"count/{name}"].shape == (len(CLASSES),)
    if assembly.supported():
        check_counts(table)


def check_counts(table):
    """Operations that the sources have, an exponential and a pair's Δ; floors are below the times but for noise."""
    rows = {row["stage"]: row for row in table if row["dtype"] == "float64"}
    assert rows["weights"]["flops"] == 1.0
    assert rows["exponentials"]["flops"] > 20
    assert 0.8 * 896 / 1024 < rows["levels_1_3"]["flops"] / 35 < 2 * 896 / 1024
    assert rows["levels_1_3"]["flops"] / rows["levels_4_6"]["flops"] == pytest.approx(8, rel=0.25)
    for row in table:
        assert row["stage"] == "remainder" or row["ns"] > 0.7 * row["floor_ns"] > 0


def test_counts_are_kept_for_the_next_process(load, tmp_path):
    with Store.open(tmp_path / "a.sqlite") as one, Store.open(tmp_path / "b.sqlite") as other:
        counts = []
        for store in (one, other):
            runner.run(load(SUITE).only("stages"), store, threads=1)
            values = store.values(store.cells("stages")[0]["key"])
            counts.append(json.dumps({name: own.tolist() for name, own in values.items() if name.startswith("count/")}))
    assert counts[0] == counts[1]
    assert math.isfinite(float(counts[0].split("[")[1].split(",")[0])) or not assembly.supported()


def test_what_stages_cannot_be_timed_on_is_refused(load, monkeypatch):
    for n_samples in ('"2^9"', "1500", '"2^21"'):
        with pytest.raises(SuiteError, match="a multiple of 1024 up to 2"):
            load(SUITE.replace('"2^12"', n_samples))
    with pytest.raises(SuiteError, match="'dtype'"):
        load(SUITE + 'dtype = "float32"')
    cells = runner.expand(load(SUITE))
    assert [cell.dtype for cell in cells] == ["float64", "float64", "float32"]
    assert dataclasses.replace(cells[1], dtype="float32") == cells[2]
    monkeypatch.setattr(stages._jit, "DISABLED", True)
    with pytest.raises(InputError, match="NUMBA_DISABLE_JIT"):
        stages.verify(cells[1])


@pytest.mark.skipif(not assembly.supported(), reason="machine code is counted on x86-64 with AVX2 alone")
def test_a_log_sum_exp_is_counted():
    """28 operations an element: 11 multiply-adds, a product, five sums; none is summed twice."""
    counts = dict(zip(CLASSES, limits.counts(), strict=True))
    assert counts["flops"] == pytest.approx(28, rel=0.01)
    assert counts["load_bytes"] >= 8
