"""Floors and the table of stages, by hand. Exact."""

import math
import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest

from logpx_bench import floors
from logpx_bench.counts import SLOTS, slot
from logpx_bench.figures import FIGURES
from logpx_bench.store import Store

made = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("report_store.py"))))
RATES = {"issue": 6.0, **dict.fromkeys(SLOTS, 2.0)}


@pytest.fixture
def store(tmp_path):
    with Store.open(tmp_path / "r.sqlite") as opened:
        yield opened


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ({"instructions": 12.0}, (2.0, "instructions")),
        ({"instructions": 6.0, "multiply512": 4.0, "add512": 3.0}, (3.5, "vector operations")),
        ({"instructions": 6.0, "multiply512": 4.0}, (2.0, "multiplications")),
        ({"instructions": 6.0, "divide64_512": 3.0, "root32_128": 2.0}, (2.5, "divisions and roots")),
        ({"instructions": 6.0, "load512": 3.0, "load128": 1.0, "store256": 5.0}, (2.5, "stores")),
    ],
)
def test_the_floor_is_the_busiest_part(counts, expected):
    assert floors.floor(counts, RATES) == expected


def test_an_unknown_rate_gives_no_floor():
    rates = {name: rate for name, rate in RATES.items() if name != slot("multiply", 512)}
    low, bound = floors.floor({"instructions": 1.0, "multiply512": 1.0}, rates)
    assert math.isnan(low)
    assert bound == ""
    assert math.isnan(floors.floor({"instructions": 1.0}, {})[0])


def test_the_table_adds_up(store):
    made.add_stages(store)
    table = floors.stages(store)
    assert len(table) == 4 * (len(floors.STAGES) + 2)
    own = {row["stage"]: row for row in table[: len(floors.STAGES) + 2]}
    assert [own[name]["ns"] for name in made.STAGE_NS] == list(made.STAGE_NS.values())
    assert own["remainder"]["ns"] == pytest.approx(9.0 - sum(made.STAGE_NS.values()))
    assert own["remainder"]["ns_median"] == pytest.approx(9.0 * 1.1 - 1.05 * sum(made.STAGE_NS.values()))
    assert own["points"]["floor_ns"] == 0.25  # 6 of 24 instructions, 1 of 4 multiplications
    assert own["points"]["ratio"] == 12.0
    assert (own["points"]["intensity"], own["points"]["gflops"]) == (0.5, 16.0 / 3.0)
    assert own["whole"]["floor_ns"] == pytest.approx(0.25 * len(floors.STAGES))
    assert own["whole"]["flops"] == 160.0
    assert own["whole"]["n_repeats"] == 2


def test_stages_without_limits_have_times_and_no_floors(store):
    made.add_stages(store, limits={})
    assert floors.limits(store) == {}
    assert all(math.isnan(row["floor_ns"]) for row in floors.stages(store))
    figure = FIGURES["stages"]
    table = figure.data(store)
    figure.draw(table)
    assert "Floors are not known" in figure.caption(table)


def test_a_negative_remainder_is_said_and_not_drawn(store):
    made.add_stages(store, whole=8.0)
    figure = FIGURES["stages"]
    table = figure.data(store)
    assert "the stages alone take 0.70 ns more than the whole, which is not drawn" in figure.caption(table)
    hatched = [patch for axes in figure.draw(table).axes for patch in axes.patches if patch.get_hatch()]
    assert len(hatched) == 1  # that of the legend


def test_bars_are_the_table(store):
    made.add_stages(store)
    figure = FIGURES["stages"]
    table = figure.data(store)
    assert "0.30 ns are in no stage" in figure.caption(table)
    assert "34%" not in figure.caption(table)
    assert "33% of it in points, 12 times its floor" in figure.caption(table)
    bars = figure.draw(table).axes[0]
    pale = [patch for patch in bars.patches if patch.get_alpha() == 0.62 and patch.get_y() < 0]
    assert [patch.get_width() for patch in pale] == pytest.approx(list(made.STAGE_NS.values()))
    solid = [patch for patch in bars.patches if patch.get_alpha() is None and patch.get_y() < 0]
    assert [patch.get_width() for patch in solid] == [min(0.25, ns) for ns in made.STAGE_NS.values()]


def test_a_roofline_shows_the_kernels_of_every_model_and_the_tree_once(store):
    made.add_stages(store)
    figure = FIGURES["stages"]
    models = figure.cases(figure.data(store))
    assert len(models) == 2
    shown = figure.shown(models, "float64")
    assert [stage for stage, number, *_ in shown if number == 0] == list(floors.STAGES)
    assert [stage for stage, number, *_ in shown if number == 1] == list(figure.KERNELS)
    assert len(figure.shown(models, "float32")) == 6
    limits = figure.limits(figure.data(store))
    assert [name for name, _ in figure.peaks("float64", limits)] == ["FMA", "AVX2 FMA", "scalar FMA"]
    near = {**limits, "rate_multiply256": 8.05}
    assert [name for name, _ in figure.peaks("float64", near)] == ["FMA", "scalar FMA"]
