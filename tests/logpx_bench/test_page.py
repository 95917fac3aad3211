"""The report: every number from the store, the same story twice, nothing left half-written, nothing fetched.

Exact tests, on a synthetic store (`report_store`). Where drawing is not what is tested, figures are stubs.
"""

import hashlib
import os
import re
import runpy
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import pytest

from logpx_bench import data, floors, page, summary
from logpx_bench.errors import InputError, StoreError
from logpx_bench.figures import FIGURES, words
from logpx_bench.page import findings, formula, html, markdown, story, tuning
from logpx_bench.page.blocks import Code, Equation, Grid, Heading, Listing, Paragraph, Picture, Skipped
from logpx_bench.page.facts import Facts
from logpx_bench.store import Store

made = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("report_store.py"))))
builder = sys.modules["logpx_bench.page.build"]


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """A store with every experiment."""
    return made.build(tmp_path_factory.mktemp("store") / "results.sqlite")


@pytest.fixture(scope="module")
def report(path, tmp_path_factory):
    """The report of that store."""
    return page.build(path, tmp_path_factory.mktemp("report") / "reports").parent


@pytest.fixture
def stubs(monkeypatch):
    """Figures written as empty files: for tests of the page alone."""

    def save(figure, folder, name):
        return [(folder / f"{name}.{kind}").write_text("") for kind in ("svg", "pdf", "png")]

    monkeypatch.setattr(builder, "save", save)


def digest(folder):
    """Every file under `folder` with the hash of its bytes."""
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


class Links(HTMLParser):
    """Collects what a page refers to and the tags it uses."""

    def __init__(self):
        super().__init__()
        self.addresses, self.tags, self.open = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [value for name, value in attrs if name in ("src", "href", "data", "srcset", "action")]
        if tag not in ("meta", "img", "path", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag != "path":
            assert self.open.pop() == tag


def read(folder):
    parser = Links()
    parser.feed((folder / "index.html").read_text(encoding="utf-8"))
    assert parser.open == []
    return parser


# -- what is there ------------------------------------------------------------------------------------------------


def test_every_figure_comes_in_three_formats_with_its_data_and_within_the_size_allowed(report):
    expected = {f"figures/{name}.{kind}" for name in FIGURES for kind in ("svg", "pdf", "png")}
    expected |= {f"data/{name}.csv" for name in FIGURES} | {
        "data/results.csv",
        "data/sweep.csv",
        "data/targets.csv",
        "README.md",
        "where-time-goes.md",
        "index.html",
    }
    assert set(digest(report)) == expected
    sizes = [file.stat().st_size for file in report.rglob("*") if file.is_file()]
    assert max(sizes) < 1e6
    assert sum(sizes) < 10e6


def test_another_process_writes_the_same_bytes(report, path, tmp_path):
    command = "import sys; from logpx_bench import page; page.build(sys.argv[1], sys.argv[2])"
    environment = os.environ | {"PYTHONHASHSEED": "7", "TZ": "Pacific/Auckland", "LC_ALL": "C"}
    again = tmp_path / "elsewhere" / "out"
    subprocess.run([sys.executable, "-W", "error", "-c", command, str(path), str(again)], check=True, env=environment)
    assert digest(again) == digest(report)


def test_the_page_needs_no_network_and_no_scripts(report):
    parser = read(report)
    assert "script" not in parser.tags
    assert "link" not in parser.tags
    assert "iframe" not in parser.tags
    text = (report / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"@import|url\(|https?://", text)
    for address in parser.addresses:
        assert (report / address).is_file(), address


def test_every_file_that_the_readme_names_is_there(report):
    text = (report / "README.md").read_text(encoding="utf-8")
    addresses = re.findall(r"\]\(([^)]+)\)", text)
    assert len(addresses) >= 4 * len(FIGURES)
    for address in addresses:
        assert (report / address).is_file(), address


def test_both_pages_tell_the_same_story(report, path):
    with Store.open(path, create=False) as store:
        blocks = story.blocks(Facts.of(store))
    readme, index = ((report / name).read_text(encoding="utf-8") for name in ("README.md", "index.html"))
    assert readme == markdown.render(blocks)
    assert index == html.render(blocks)
    heads = [block.text for block in blocks if isinstance(block, Heading)]
    assert re.findall(r"^#+ (.*)$", readme, re.M) == heads
    assert [re.sub("<[^>]*>", "", head) for head in re.findall(r"<h[12]>(.*)</h[12]>", index)] == heads
    pictures = [block for block in blocks if isinstance(block, Picture)]
    assert [block.number for block in pictures] == list(range(1, len(FIGURES) + 1))
    assert {block.name for block in pictures} == set(FIGURES)
    assert not [block for block in blocks if isinstance(block, Skipped)]


def test_github_sees_no_broken_mathematics(report):
    text = (report / "README.md").read_text(encoding="utf-8")
    outside = re.sub(r"\$\$\n.*?\n\$\$|```.*?```", "", text, flags=re.S)
    for line in outside.splitlines():
        assert line.count("$") % 2 == 0, line
        assert line.count("**") % 2 == 0, line
    for table in re.findall(r"(?:^\|.*\n)+", outside, flags=re.M):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1, table
    words_only = re.sub(r"\$[^$]*\$", "", outside)
    assert not re.search(r"\bnan\b|\bNone\b|[{}]", words_only)


# -- numbers come from the store ----------------------------------------------------------------------------------


def test_the_table_of_results_is_the_summary(path):
    with Store.open(path, create=False) as store:
        facts = Facts.of(store)
        errors = summary.errors_by_k(store, "error_against_k")
    grids = [block for block in story.blocks(facts) if isinstance(block, Grid)]
    results = next(grid for grid in grids if "RMSE" in grid.header)
    assert len(results.rows) == 3 * 4  # three estimators at k = 1, 16, 256 and 1024
    for row in errors:
        found = [line for line in results.rows if line[0] == row["estimator"] and line[1] == words.power(row["k"])]
        shown = row["k"] in (1, 16, 256, 1024)
        assert len(found) == shown
        if shown:
            assert found[0][4] == words.number(row["rmse"])
            assert found[0][5] == f"{words.number(row['rmse_low'])} to {words.number(row['rmse_high'])}"
            assert found[0][8] == words.seconds(row["seconds_at_k"])


def test_a_trained_network_has_its_table_and_leads_nothing(tmp_path):
    """The lead, its gaps on one image (binary pixels are another) and its pixels stay those of the main experiment."""
    with Store.open(tmp_path / "trained.sqlite") as store:
        for estimator, s in (("encoder", 0.5), ("importance", 0.3)):
            made.add_ladder(store, "vae_ladder", estimator, s, model="vae_bernoulli", n_observed=64)
        for model, s in (("ppca", 0.4), ("factor_analysis", 0.9)):
            made.add_ladder(store, "error_against_k", "importance", s, model=model)
        made.add_ladder(store, "vae_ladder", "importance", 0.7, model="mine", data="file")
        facts = Facts.of(store)
    text = markdown.render(story.blocks(facts))
    (grid,) = (
        one for one in story.blocks(facts) if isinstance(one, Grid) and one.caption.startswith("VAE (Bernoulli)")
    )
    assert [row[0] for row in grid.rows] == ["importance"] * 4 + ["encoder"] * 4
    assert {each.rows[0]["model"] for each in facts.lead()} == {"ppca"}
    assert "nats for VAE (Bernoulli) with" not in text
    assert "Models of grey pixels see 61 of the 64: the 3 that never vary" in text
    assert "VAE (Bernoulli) sees whole images as ink or none, and its $p(x)$ is a probability." in text
    assert "All models here" not in text
    assert "mine" not in {row["model"] for row in facts.errors}


def test_what_is_estimated_and_what_stands_on_a_floor_is_said_of_every_model(path):
    with Store.open(path, create=False) as store:
        text = markdown.render(story.blocks(Facts.of(store)))
    assert "for VAE (Gaussian) with 8 latents and VAE (Bernoulli) with 8 latents, an estimate is shown" in text
    assert "under factor analysis and VAE (Gaussian) $\\log p(x)$ holds for this floor" in text


def test_the_table_of_models_says_both_routes_and_how_far_they_are_apart(path):
    with Store.open(path, create=False) as store:
        blocks = story.blocks(Facts.of(store))
    (grid,) = (block for block in blocks if isinstance(block, Grid) and "second route" in block.header)
    assert sorted(line[:4] for line in grid.rows) == [
        ("Gaussian mixture", "1 discrete", "sum of gaussian_mixture", "grid of gaussian_mixture"),
        ("PPCA", "2 continuous", "sum of ppca", "grid of ppca"),
        ("eggbox", "2 continuous", "sum of eggbox", "grid of eggbox"),
        ("mixture of PPCA", "1 discrete and 2 continuous", "sum of ppca_mixture", "grid of ppca_mixture"),
    ]
    apart = [abs((made.EXACT - 1 + one[3]) - (made.EXACT - 1)) for one in made.MODELS.values()]
    assert {line[4] for line in grid.rows} == {words.number(one, 2) for one in apart}
    assert {line[5] for line in grid.rows} == {words.number(one[4], 2) for one in made.MODELS.values()}


def test_other_numbers_give_another_story(path, tmp_path, stubs):
    swapped = {"uniform": 0.5, "prior": 1.7, "importance": 2.6}
    other = made.build(tmp_path / "other.sqlite", widths=swapped, n_replicates=8)
    texts = []
    for number, source in enumerate((path, other)):
        texts.append((page.build(source, tmp_path / str(number)).parent / "README.md").read_text(encoding="utf-8"))
    assert "With importance sampling the ELBO lies" in texts[0]
    assert "With uniform sampling the ELBO lies" in texts[1]
    assert "importance sampling has the smallest RMSE" in texts[0]
    assert "uniform sampling has the smallest RMSE" in texts[1]
    assert "**Only 8 replicates**" in texts[1]
    assert "**Only" not in texts[0]


def test_gaps_of_two_models_on_one_image_are_compared_where_there_are_two(tmp_path):
    with Store.open(tmp_path / "two.sqlite") as store:
        for model, s in (("ppca", 0.4), ("factor_analysis", 0.9)):
            made.add_ladder(store, "error_against_k", "importance", s, model=model)
        text = markdown.render(story.blocks(Facts.of(store)))
        gaps = {row["model"]: -row["bias"] for row in summary.errors_by_k(store, "error_against_k") if row["k"] == 1}
    assert f"{words.nats(gaps['ppca'])} for PPCA with 2 latents" in text
    assert f"{words.nats(gaps['factor_analysis'])} for factor analysis with 2 latents" in text


def test_provenance_is_shown_and_nothing_in_it_becomes_markup(path, tmp_path, stubs):
    with Store.open(tmp_path / "odd.sqlite") as store:
        made.add_provenance(store, cpu_model='<img src="x"> | A&B *')
        made.add_ladder(store, "error_against_k", "prior", 0.5)
        folder = page.build(store, tmp_path / "odd").parent
    assert "&lt;img src=" in (folder / "index.html").read_text(encoding="utf-8")
    assert "x" not in read(folder).addresses
    readme = (folder / "README.md").read_text(encoding="utf-8")
    assert "\\| A&B" in readme
    assert "`0123456789ab`" in readme
    assert "logpx run synthetic" in readme


def test_mathematics_has_no_escape_that_github_takes_away(report):
    """GitHub reads a backslash before punctuation as an escape of Markdown, in formulas too: `\\,` becomes a comma."""
    text = (report / "README.md").read_text(encoding="utf-8")
    formulas = re.findall(r"\$\$(.+?)\$\$|\$([^$]+)\$", text, re.S)
    assert len(formulas) > 50
    assert not [one for pair in formulas for one in pair if re.search(r"\\[^A-Za-z\s]", one)]


def test_the_noise_floor_that_is_told_is_the_one_that_was_used():
    assert findings.FLOOR == data.NOISE_FLOOR


def test_the_page_of_stages_is_the_table_of_floors(report, path):
    """Every number of its tables is that of the table, its files are there, and its markup is sound."""
    text = (report / "where-time-goes.md").read_text(encoding="utf-8")
    with Store.open(path, create=False) as store:
        rows = floors.stages(store)
    for row in rows:
        name = floors.STAGES.get(row["stage"], f"**{row['stage']}**" if row["stage"] == "whole" else row["stage"])
        ns = (words.number(row["ns"]), words.number(row["ns_median"]))
        assert f"| {name} | {row['bound'] or '–'} | {ns[0]} | {ns[1]} |" in text
    for address in re.findall(r"\]\(([^)]+)\)", text):
        assert (report / address).is_file(), address
    for change in tuning.load():
        assert change.change in text
    assert not re.search(r"\bnan\b|\bNone\b|unknown", text)
    assert text.count("$") % 2 == 0


def test_without_limits_there_are_no_floors_and_no_nan(tmp_path, stubs):
    with Store.open(tmp_path / "bare.sqlite") as store:
        made.add_stages(store, limits={}, counts={kind: float("nan") for kind in made.CLASSES})
        folder = page.build(store, tmp_path / "out").parent
    text = (folder / "where-time-goes.md").read_text(encoding="utf-8")
    assert "no experiment named `limits`" in text
    assert "Floors are not known" in text
    assert not re.search(r"\bnan\b|\bNone\b|unknown", text)


# -- what is not there, and what goes wrong -----------------------------------------------------------------------


def test_an_absent_experiment_is_said_and_its_old_files_go(path, tmp_path, stubs):
    out = tmp_path / "reports"
    page.build(path, out)
    (out / "figures" / "mine.png").write_text("kept")
    with Store.open(tmp_path / "part.sqlite") as store:
        made.add_ladder(store, "error_against_k", "prior", 0.5)
        page.build(store, out)
    names = {file.stem for file in (out / "figures").iterdir()}
    assert names == {"error_against_k", "jensen_gap", "cost_accuracy", "log_weights", "mine"}
    assert not (out / "data" / "ranking.csv").exists()
    for name in ("README.md", "index.html"):
        text = (out / name).read_text(encoding="utf-8")
        assert text.count("not drawn") == 10
        absent = ("dimension", "proposal_quality", "scaling", "large_k", "stages", "digits", "ranking", "peers")
        for experiment in (*absent, "models", "vae"):
            assert re.search(f"no experiment named (`|<code>){experiment}(`|</code>)", text)


def test_an_experiment_with_nothing_finite_is_said(tmp_path, stubs):
    with Store.open(tmp_path / "void.sqlite") as store:
        made.add_ladder(store, "dimension", "prior", 0.5, exact=None)
        text = markdown.render(story.blocks(Facts.of(store)))
    assert "The experiment `dimension` is in this store, but has nothing finite to draw." in text


def test_an_empty_store_gives_a_page_without_figures(tmp_path):
    with Store.open(tmp_path / "empty.sqlite") as store:
        folder = page.build(store, tmp_path / "out").parent
    assert (folder / "README.md").read_text(encoding="utf-8").count("not drawn") == len(FIGURES)
    read(folder)


def test_a_failure_leaves_the_old_report_and_no_litter(path, tmp_path, stubs, monkeypatch):
    out = tmp_path / "reports"
    page.build(path, out)
    before = digest(tmp_path)

    def fail(blocks):
        raise RuntimeError("half way")

    monkeypatch.setattr(builder.html, "render", fail)
    with pytest.raises(RuntimeError, match="half way"):
        page.build(path, out)
    assert digest(tmp_path) == before
    assert [file.name for file in tmp_path.iterdir()] == ["reports"]


def test_a_report_cannot_replace_a_file_or_come_from_no_store(path, tmp_path):
    (tmp_path / "taken").write_text("mine")
    with pytest.raises(InputError, match="taken, which is a file"):
        page.build(path, tmp_path / "taken")
    assert (tmp_path / "taken").read_text() == "mine"
    with pytest.raises(StoreError):
        page.build(tmp_path / "nowhere.sqlite", tmp_path / "out")
    assert not (tmp_path / "out").exists()


# -- renderers ----------------------------------------------------------------------------------------------------


def test_markdown_of_each_block():
    blocks = [
        Heading(2, "A"),
        Paragraph("b $k$"),
        Listing(("c", "d")),
        Equation("x^2"),
        Grid("", ("h", "i"), (("1|2", "3"),)),
        Code("ls"),
    ]
    expected = "## A\n\nb $k$\n\n- c\n- d\n\n$$\nx^2\n$$\n\n| h | i |\n| :-- | --: |\n| 1\\|2 | 3 |\n\n```sh\nls\n```\n"
    assert markdown.render(blocks) == expected


def test_html_of_markup():
    assert (
        html.inline("a **b** *c* `d<e` [f](g)")
        == 'a <strong>b</strong> <em>c</em> <code>d&lt;e</code> <a href="g">f</a>'
    )
    assert html.inline("1 < 2 & 3") == "1 &lt; 2 &amp; 3"
    assert html.inline("**a `b` c**") == "<strong>a <code>b</code> c</strong>"
    assert html.inline("$k$").startswith('<svg class="math"')


def test_a_formula_is_an_outline_as_wide_as_its_text():
    def width(latex):
        return float(re.search(r"width:([\d.]+)em", formula.svg(latex)).group(1))

    assert '<path d="M' in formula.svg("x")
    assert width("xxxx") > 3 * width("x") - 0.1 > 0.9
    assert 'aria-label="p(x|z) &lt; 1"' in formula.svg("p(x|z) < 1")
    descends = float(re.search(r"vertical-align:(-[\d.]+)em", formula.svg("p")).group(1))
    assert descends < -0.15
    with pytest.raises(ValueError, match="frac"):
        formula.svg(r"\frac{1")
