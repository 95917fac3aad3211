"""Exact tests of suite files: what is read, and the error for everything that must not be there."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from logpx.models import REGISTRY
from logpx_bench import runner
from logpx_bench import suite as suites
from logpx_bench.data import MODELS
from logpx_bench.errors import SuiteError
from logpx_bench.experiments import KINDS

GOOD = """
title = "a test"
[[experiment]]
name = "error_against_k"
kind = "ladder"
model = {name = "ppca", n_latents = [2, 3]}
data = "digits"
rows = [0, 4]
estimators = [{name = "prior"}, {name = "importance", widen = [1.0, 1.3]}]
n_samples = "2^10"
n_replicates = 32
seeds = [0, 1]
"""


@pytest.fixture
def write(tmp_path):
    def write(text):
        path = tmp_path / "mine.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_a_good_suite_is_read(write):
    suite = suites.load(write(GOOD))
    (one,) = suite.experiments
    assert (suite.name, suite.title) == ("mine", "a test")
    assert [model.options["n_latents"] for model in one.models] == [2, 3]
    assert [(e.name, dict(e.options)) for e in one.estimators] == [
        ("prior", {}),
        ("importance", {"widen": 1.0}),
        ("importance", {"widen": 1.3}),
    ]
    assert (one.n_samples, one.n_replicates, one.rows, one.seeds) == ((1024,), 32, (0, 4), (0, 1))
    assert len(runner.expand(suite)) == 2 * 2 * 2 * 3


def test_estimators_take_turns(write):
    cells = runner.expand(suites.load(write(GOOD)))
    assert [cell.estimator for cell in cells[:6]] == ["prior", "importance", "importance"] * 2


@pytest.mark.parametrize("name", [path.stem for path in suites.available()])
def test_suites_that_come_along_are_good(name):
    suite = suites.load(suites.find(name))
    names = {"error_against_k", "dimension", "proposal_quality", "scaling", "large_k", "digits", "ranking", "stages"}
    names |= {"models", "vae"}
    races = {
        "peers",
        "peers_chains",
        "peers_autoencoders",
        "peers_one_core",
        "peers_kernels",
        "peers_reductions",
        "peers_memory",
        "itself",
    }
    others = {"peers": races, "large_k": {"large_k"}, "article": names | {"limits", "vae_ladder"}}
    assert {one.name for one in suite.experiments} == others.get(name, names | {"limits"})
    assert suite.title
    assert all(cell.n_replicates >= 32 for cell in runner.expand(suite) if cell.kind in ("ladder", "ranking"))


def test_all_models_are_those_that_go_with_the_data(write):
    text = GOOD.replace('model = {name = "ppca", n_latents = [2, 3]}', 'models = "all"')
    (one,) = suites.load(write(text)).experiments
    assert [model.name for model in one.models] == [name for name, entry in MODELS.items() if "digits" in entry.data]
    (one,) = suites.load(write(text.replace('"digits"', '"sample"'))).experiments
    assert [model.name for model in one.models] == [name for name, entry in MODELS.items() if "sample" in entry.data]
    assert set(REGISTRY) <= {model.name for model in one.models}
    with pytest.raises(SuiteError, match=r"models is 'every'; allowed is a list of tables"):
        suites.load(write(text.replace('"all"', '"every"')))


def test_quick_article_and_peers_come_along():
    assert {path.stem for path in suites.available()} >= {"quick", "article", "peers"}


REPLACED = [
    ("rows = [0, 4]", "rowz = [0, 4]", ["mine.toml", "'error_against_k'", "'rowz'", 'Did you mean "rows"']),
    ('kind = "ladder"', 'kind = "lader"', ["kind 'lader'", *KINDS, 'Did you mean "ladder"']),
    ('name = "ppca"', 'name = "pca"', ["model 'pca'", 'Did you mean "ppca"', "factor_analysis"]),
    ("n_latents", "n_latent", ["model 'ppca'", "'n_latent'", 'Did you mean "n_latents"']),
    ("[2, 3]", "0", ["n_latents", "is 0", "an integer from 1 to 64"]),
    ("[2, 3]", '"two"', ["n_latents", "is 'two'", "an integer from 1 to 64"]),
    ("[2, 3]", "[]", ["n_latents", "empty list"]),
    ("[2, 3]", "inf", ["n_latents", "is inf", "an integer from 1 to 64"]),
    ("[2, 3]", "nan", ["n_latents", "is nan", "an integer from 1 to 64"]),
    ("[2, 3]", "[2, 2.0]", ["n_latents", "2 twice"]),
    ("rows = [0, 4]", "rows = []", ["rows", "empty list"]),
    ("rows = [0, 4]", "rows = [0, 0]", ["rows", "0 twice"]),
    ('model = {name = "ppca", n_latents = [2, 3]}', "models = []", ["models", "empty list"]),
    ('model = {name = "ppca", n_latents = [2, 3]}', 'models = [{name = "ppca"}, {name = "ppca"}]', ["models", "twice"]),
    ('[{name = "prior"}, {name = "importance", widen = [1.0, 1.3]}]', "[]", ["estimators", "empty list"]),
    ('"2^10"', "[]", ["n_samples", "empty list"]),
    ("n_replicates = 32", "n_replicates = []", ["n_replicates", "is []", "an integer from 1"]),
    ("n_replicates = 32", "n_replicates = [32, 64]", ["n_replicates", "is [32, 64]", "an integer from 1"]),
    ("seeds = [0, 1]", "seeds = []", ["seeds", "empty list"]),
    ("[2, 3]", "true", ["n_latents", "is True"]),
    ('"digits"', '"digit"', ["data", "'digit'", 'Did you mean "digits"']),
    ('"prior"', '"priot"', ["estimator 'priot'", 'Did you mean "prior"', "importance"]),
    ("widen = [1.0, 1.3]", "wide = 1.0", ["estimator 'importance'", "'wide'", 'Did you mean "widen"']),
    ("[1.0, 1.3]", "-1", ["widen", "is -1", "a number from 0.01 to 100"]),
    ('{name = "prior"}', '"prior"', ["estimators", "a table with a name"]),
    ('"2^10"', '"2^63"', ["n_samples", "'2^63'", "1 to 2^62"]),
    ('"2^10"', "0", ["n_samples", "is 0"]),
    ('"2^10"', '"many"', ["n_samples", "'many'"]),
    ("n_replicates = 32", "n_replicates = 31", ["n_replicates", "is 31", "32 or more"]),
    ("n_replicates = 32", "", ["n_replicates", "is missing"]),
    ("seeds = [0, 1]", "seeds = [-1]", ["seeds", "-1", "from 0"]),
    ("seeds = [0, 1]", "threads = 2", ["'threads'", "kind 'ladder'"]),
    ("seeds = [0, 1]", 'dtype = "float16"', ["dtype", "'float16'", "float64, float32"]),
    ("seeds = [0, 1]", 'points = "sobols"', ["point set 'sobols'", "independent"]),
    ("seeds = [0, 1]", 'points = "sobol"', ["points", "'sobol'", "not independent", "Allowed: independent"]),
    ("seeds = [0, 1]", 'models = [{name = "ppca"}]', ["model", "give one of them"]),
    ('name = "error_against_k"', 'name = "Error"', ["name", "'Error'", "lower-case"]),
    ('title = "a test"', 'titel = "a test"', ["mine.toml", "'titel'", 'Did you mean "title"']),
    ("[[experiment]]", "[experiment]", ["no experiment"]),
    ("[[experiment]]", "[[experiment", ["not valid TOML"]),
    ('name = "ppca", n_latents = [2, 3]', 'name = "gaussian_mixture"', ["does not go with data 'digits'", "sample"]),
]


@pytest.mark.parametrize(("before", "after", "said"), REPLACED, ids=[after or before for before, after, _ in REPLACED])
def test_a_bad_suite_says_what_and_where(write, before, after, said):
    assert before in GOOD
    with pytest.raises(SuiteError) as caught:
        suites.load(write(GOOD.replace(before, after, 1)))
    for words in ["mine.toml", *said]:
        assert words in str(caught.value)


def test_names_of_experiments_differ(write):
    with pytest.raises(SuiteError, match="there twice"):
        suites.load(write(GOOD + GOOD.partition("\n")[2].partition("\n")[2]))


def test_ranking_is_of_two_models_and_one_power_of_two(write):
    text = GOOD.replace('"ladder"', '"ranking"').replace("rows = [0, 4]\n", "")
    assert suites.load(write(text)).experiments[0].settings == {"gap": 0.5}
    with pytest.raises(SuiteError, match="exactly 2"):
        suites.load(write(text.replace("[2, 3]", "[2, 3, 4]")))
    with pytest.raises(SuiteError, match="one power of two"):
        suites.load(write(text.replace('"2^10"', "1000")))


def test_a_ranking_is_on_data_that_both_models_share(write):
    text = GOOD.replace('"ladder"', '"ranking"').replace("rows = [0, 4]\n", "").replace('"digits"', '"sample"')
    with pytest.raises(SuiteError, match="data is 'sample', of which each model draws its own; a ranking needs digits"):
        suites.load(write(text))


@pytest.mark.parametrize(("gap", "said"), [("[0.5, 1.0]", r"is \[0.5, 1.0\]"), ("1.5", "is 1.5"), ("nan", "is nan")])
def test_a_setting_is_one_number_in_its_range(write, gap, said):
    text = GOOD.replace('"ladder"', '"ranking"').replace("rows = [0, 4]\n", f"gap = {gap}\n")
    with pytest.raises(SuiteError, match=f"gap {said}; allowed is a number from 0 to 1"):
        suites.load(write(text))


def test_a_gallery_asks_for_samples_where_log_p_is_estimated(write):
    model = 'model = {name = "vae_gaussian", n_latents = 10}'
    text = f'[[experiment]]\nname = "digits"\nkind = "gallery"\n{model}\nrows = [0]\n'
    said = "n_samples is 1; log p(x) of vae_gaussian with 10 latents is estimated, from 256"
    with pytest.raises(SuiteError, match=re.escape(said)):
        suites.load(write(text))
    (one,) = suites.load(write(text + "n_samples = 256\n")).experiments
    assert one.n_samples == (256,)


@pytest.mark.parametrize(("seeds", "said"), [("[0, 1]", "one seed"), ("[]", "empty list")])
def test_a_gallery_has_one_seed(write, seeds, said):
    text = '[[experiment]]\nname = "digits"\nkind = "gallery"\nmodel = {name = "ppca"}\nrows = [0]\n'
    cells = runner.expand(suites.load(write(text + "seeds = [3]")))
    assert [cell.model for cell in cells] == ["pca", "autoencoder", "ppca"]
    with pytest.raises(SuiteError, match=said):
        suites.load(write(text + f"seeds = {seeds}"))


def test_an_installation_holds_the_suites(tmp_path):
    """As pyproject.toml lays the folders of a wheel out, in a process that has nothing else of ours on its path."""
    root = Path(__file__).resolve().parents[2]
    wheel = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["hatch"]["build"]["targets"]
    places = wheel["wheel"]["sources"]
    assert sorted(places) == sorted(wheel["wheel"]["only-include"])
    for source, place in places.items():
        shutil.copytree(
            root / source, tmp_path / place, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True
        )
    code = "from logpx_bench import suite; print(suite.__file__, *(suite.load(p).name for p in suite.available()))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == [str(tmp_path / "logpx_bench" / "suite.py"), "article", "large_k", "peers", "quick"]


def test_unknown_suites_get_the_nearest_name(tmp_path):
    with pytest.raises(SuiteError, match='Did you mean "quick"'):
        suites.find("quik")
    with pytest.raises(SuiteError, match="no such suite file"):
        suites.find(str(tmp_path / "none.toml"))
    with pytest.raises(SuiteError, match='Did you mean "digits"'):
        suites.load(suites.find("quick")).only("digit")


def test_an_unreadable_suite_is_an_error(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(SuiteError, match="cannot be read"):
        suites.load(path)
