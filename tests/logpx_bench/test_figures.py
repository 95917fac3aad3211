"""Every figure: the same bytes each time, nothing outside the frame, its table beside it; and how figures look.

Exact tests. The oracle of the label placement is a constrained least-squares solver."""

import csv
import hashlib
import itertools
import re

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
