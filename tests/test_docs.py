"""The pages on a model and a VAE of one's own say what their code prints, and show what it draws. Exact.

Each is rendered anew (`bench/docs/render.py`) and compared. Words must be the same; numbers too, within 1e-3, but
for times, what is rounding (below 1e-9), and the line on speed, which is another on every machine. The figure's parts
must lie where they lay within 0.01 points.
"""

import re
import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
render = SimpleNamespace(**runpy.run_path(str(ROOT / "bench" / "docs" / "render.py")))
TEXT = render.PAGE.read_text(encoding="utf-8")
NUMBER = re.compile(r"(?<![\w.])[-−]?\d+(?:\.\d+)?(?:e[-+]\d+)?(?! ns| s\b)")
#: Where a figure's parts lie, in points: the attributes that say so, and the numbers in them.
PLACED, PLACE = re.compile(r'\b(?:d|x|y|transform)="([^"]*)"'), re.compile(r"-?\d+(?:\.\d+)?(?:e-?\d+)?")


def without(text):
    """The page without times and speed."""
    return re.sub(r"[\d.]+ (?:ns|s)\b", "t", re.sub(r"^pass  speed .*\n", "", text, flags=re.MULTILINE))


@pytest.fixture(scope="module")
def again(tmp_path_factory):
    """The page rendered in a new folder, and the folder."""
    folder = tmp_path_factory.mktemp("page")
    return render.rendered(TEXT, folder), folder


def test_the_page_says_what_its_code_prints(again):
    same(again[0], TEXT, at_least=50)
    assert "0 failed" in TEXT


def test_the_page_on_a_vae_says_what_its_code_prints(tmp_path):
    text = render.VAE_PAGE.read_text(encoding="utf-8")
    same(render.rendered(text, tmp_path), text, at_least=12)


def same(again, text, at_least):
    """Asserts that a page is what it is when rendered again, and holds so many numbers or more."""
    new, old = without(again), without(text)
    assert NUMBER.sub("#", new) == NUMBER.sub("#", old)
    values = [np.array([float(one.replace("−", "-")) for one in NUMBER.findall(text)]) for text in (new, old)]
    np.testing.assert_allclose(*values, rtol=1e-3, atol=1e-9)
    assert len(values[0]) >= at_least


def test_the_figure_is_the_one_that_its_commands_draw(again):
    drawn = (again[1] / render.DRAWN).read_text(encoding="utf-8")
    parts = [re.findall(r'<path|<use|<g id="[^"]+"', text) for text in (drawn, kept())]
    assert parts[0] == parts[1]
    where = [np.array(PLACE.findall(" ".join(PLACED.findall(text))), dtype=float) for text in (drawn, kept())]
    np.testing.assert_allclose(*where, rtol=0, atol=0.01)
    assert len(where[0]) > 500
    words = [re.findall(r"<!-- (.*?) -->", text) for text in (drawn, kept())]
    assert words[0] == words[1]
    assert len(words[0]) > 5


def kept():
    return render.FIGURE.read_text(encoding="utf-8")


def test_the_model_has_fifteen_lines_at_most():
    source = re.search(r"^```python\n# my_model.py\n(.*?)^```", TEXT, flags=re.DOTALL | re.MULTILINE)[1]
    assert len([line for line in source.splitlines() if line.strip()]) <= 15
