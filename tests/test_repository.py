"""What is in the repository: nothing large, nothing private, and every registered thing has its row. Exact."""

import importlib
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LIMIT = 1_000_000
OURS = ("kernels", "bench", "tests", "reports", ".ci")

#: Traces of one person's or one company's machine: home folders, working folders, private hosts and networks.
#: Written in pieces, so that this file does not match itself.
PRIVATE = re.compile(
    "|".join(
        (
            r"/(?:home|Users)/[A-Za-z][\w.-]*/",
            r"(?<![\w.])/(?:ro" + r"ot|wo" + r"rk|scratch|mnt)/\w",
            r"[A-Z]:\\Us" + r"ers\\",
            r"/tm" + r"p/(?!logpx)\w+/",
            r"(?:https?|ssh|git)://[^\s/\"']*\.(?:internal|intranet|corp|lan|local)\b",
            r"\b(?:192\.168|10\.\d{1,3})\.\d{1,3}\.\d{1,3}\b(?!\.)",
            r"-----BEGIN [A-Z ]*PRIVATE " + r"KEY",
        )
    ).encode()
)


def tracked():
    """Files that belong to the repository: by git, or all of our folders where this is no git checkout."""
    if (ROOT / ".git").exists() and shutil.which("git"):
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
        names = [name for name in listed.decode().split("\0") if name]
    else:
        names = [str(path.relative_to(ROOT)) for top in OURS for path in (ROOT / top).rglob("*")]
        names += [path.name for path in ROOT.iterdir()]
    return [ROOT / name for name in names if (ROOT / name).is_file() and "__pycache__" not in name]


def private_traces(data):
    return [found.group().decode(errors="replace") for found in PRIVATE.finditer(data)]


def test_no_file_is_larger_than_a_megabyte():
    files = tracked()
    assert len(files) >= 20
    assert {path.name: size for path in files if (size := path.stat().st_size) > LIMIT} == {}


def test_nothing_points_at_a_private_place():
    found = {str(path.relative_to(ROOT)): traces for path in tracked() if (traces := private_traces(path.read_bytes()))}
    assert found == {}


@pytest.mark.parametrize(
    "trace",
    [
        "/ho" + "me/ann/logpx",
        "see /wo" + "rk/main",
        "http://build" + ".internal/x",
        "10.2" + ".3.4",
        "/ro" + "ot/x",
    ],
)
def test_a_planted_trace_is_found(trace):
    assert private_traces(trace.encode())


@pytest.mark.parametrize(
    "harmless", ["/home", "10.25 3.4", "https://example.org/work/x", "framework/root/x", "~/.cache"]
)
def test_what_is_harmless_is_left_alone(harmless):
    assert private_traces(harmless.encode()) == []


# -- registries: every file of such a folder is a row of its registry, or a helper named here ---------------------

FIGURE_NAMES = [
    "error_against_k",
    "jensen_gap",
    "cost_accuracy",
    "dimension",
    "proposal_quality",
    "log_weights",
    "scaling",
    "large_k",
    "stages",
    "digits",
    "models",
    "vae",
    "ranking",
    "peers",
]
HELPERS = {
    "logpx.models": {
        *("base", "parameters", "user", "linear_gaussian", "finite_mixture", "stick_breaking", "binary_states"),
        *("target", "mlp", "vae_kernel", "vae_file", "vae_modes"),
    },
    "logpx.proposals": {"base", "divergences"},
    "logpx.points": {"base", "words"},
}


@pytest.mark.parametrize("package", HELPERS)
def test_every_file_of_a_registry_has_its_row(package):
    folder = importlib.import_module(package)
    files = {path.stem for path in Path(folder.__file__).parent.glob("*.py")} - {"__init__"} - HELPERS[package]
    rows = {file_of(entry) for entry in folder.REGISTRY.values()}
    assert rows == files


def file_of(entry):
    """The file, within its folder, that a registered class or the kernels of a registered point set come from."""
    home = entry.__module__ if isinstance(entry, type) else next(iter(entry.kernels.values())).__module__
    return home.rpartition(".")[2]


def test_every_model_has_an_example_and_a_line_about_it():
    from logpx.models import REGISTRY

    for name, model in REGISTRY.items():
        built, X = model.example(seed=0)
        assert built.name == name
        assert X.ndim == 2
        assert model.summary
        assert "\n" not in model.summary


def test_the_figures_are_in_order_each_with_its_file():
    from logpx_bench import figures

    assert list(figures.FIGURES) == FIGURE_NAMES
    for name, figure in figures.FIGURES.items():
        assert Path(figure.__file__).stem == name
        assert all(callable(getattr(figure, part)) for part in ("data", "draw", "caption"))
