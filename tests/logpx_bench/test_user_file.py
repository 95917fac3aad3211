"""MODEL on the command line: names with options, and files of a user's with everything that can be wrong. Exact."""

import sys

import numpy as np
import pytest

import logpx
from logpx_bench import model_file, user_file
from logpx_bench.errors import InputError, SuiteError

GOOD = """
import logpx
from beside import SHIFT

@logpx.per_sample
def log_joint(theta, dims, x, z):
    return -0.5 * z[0] * z[0] - 0.5 * theta[0] * (x[0] - z[0]) ** 2

model = logpx.Model(log_joint, [4.0], 1, n_observed=1, prior=logpx.proposals.Gaussian([0.0], [1.0]))
x = [[SHIFT], [0.5]]
"""


@pytest.fixture
def written(tmp_path, monkeypatch):
    """Writes a file and gives its path; what it puts on the path and among the modules goes again."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "beside.py").write_text("SHIFT = 0.25\n")

    def write(text, name="mine.py"):
        (tmp_path / name).write_text(text)
        return tmp_path / name

    yield write
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]


def test_a_file_gives_its_model_and_x_and_imports_what_lies_beside_it(written):
    given = user_file.resolve(str(written(GOOD)))
    assert given.x == [[0.25], [0.5]]
    assert given.proposal is None
    assert logpx.estimate(given.model, given.x, n_samples=100).log_marginal.shape == (2,)
    assert sys.modules["mine"].model is given.model


def test_a_file_may_bring_a_proposal(written):
    given = model_file.load(written(GOOD + "proposal = lambda x: logpx.proposals.Gaussian(x, [1.0])\n"))
    assert given.proposal([1.0]).mean == [1.0]
    assert model_file.load(written(GOOD + "proposal = logpx.proposals.Prior()\n")).proposal.name == "prior"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = [1.0]\n", "it must define model; "),
        ("", "it must define model and x; "),
        ("x = 1\nmodel = (\n", r"line 2: SyntaxError: '\(' was never closed"),
        ("import math\n\nmath.sqrt(-1)\n", "line 3: ValueError: math domain error"),
        ("def f():\n    raise KeyError('k')\n\nf()\n", "line 2: KeyError: 'k'"),
        ("import numpy as np\n\nnp.zeros(-1)\n", "line 3: ValueError: negative dimensions"),
        ("import no_such_module\n", "line 1: ModuleNotFoundError: No module named 'no_such_module'"),
        ("raise SystemExit(3)\n", "line 1: SystemExit: 3"),
        (GOOD + "x = [[1.0, 2.0]]\n", r"x has shape \(1, 2\)"),
        (GOOD + "x = ['a']\n", "x has dtype"),
        (GOOD + "model = 3\n", "3 is not a model"),
        (GOOD + "model = log_joint\n", r"log_joint is a kernel; put it into logpx.Model: logpx.Model\(log_joint, "),
        (GOOD + "proposal = 'prior'\n", "proposal is 'prior'; give a logpx proposal"),
        (GOOD + "proposal = logpx.proposals.Prior\n", "proposal is <class"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_with_its_line(written, text, said):
    path = written(text)
    with pytest.raises(InputError, match=said) as caught:
        model_file.load(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_a_module_of_the_same_name_is_left_as_it_was(written):
    import json

    with pytest.raises(InputError):
        model_file.load(written("1 / 0\n", "json.py"))
    assert sys.modules["json"] is json


def test_a_name_is_an_example_or_a_model_with_options():
    assert user_file.resolve("mixture_target").model.name == "mixture_target"
    example, x = logpx.models.PPCA.example()
    given = user_file.resolve("ppca")
    np.testing.assert_array_equal(given.x, x)
    np.testing.assert_array_equal(given.model.theta, example.theta)
    assert user_file.resolve("ppca", "sample", ["n_latents=5", "n_observed=9"]).x.shape == (16, 9)
    assert user_file.resolve("ppca", "digits").x.shape == (500, 61)


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        (("ppcaa",), SuiteError, 'no model .ppcaa.*Did you mean "ppca"'),
        (("ppcaa", "sample"), SuiteError, "no model with data or options"),
        (("ppca", "digit"), SuiteError, 'Did you mean "digits"'),
        (("conjugate_normal", "digits"), SuiteError, "does not go with data"),
        (("ppca", None, ["n_latent=2"]), SuiteError, 'Did you mean "n_latents"'),
        (("ppca", None, ["n_latents=two"]), InputError, "--option n_latents=two: give NAME=NUMBER"),
        (("ppca", None, ["n_latents"]), InputError, "--option n_latents: give NAME=NUMBER"),
        (("ppca", None, ["n_latents=1.5"]), SuiteError, "allowed is an integer from 1 to 64"),
        (("nowhere/mine.py",), InputError, "nowhere/mine.py: there is no such file"),
        (("mine.py", "digits"), InputError, "takes neither --data nor --option"),
    ],
)
def test_what_names_nothing_is_refused(arguments, error, said):
    with pytest.raises(error, match=said):
        user_file.resolve(*arguments)
