"""Models with a log_marginal that refuses: a check and a suite go on without it, and say why.

Exact, but for the normalisation, which states its false-alarm rate, 1e-6, and for the reference run.
"""

import sys

import numpy as np
import pytest
from typer.testing import CliRunner

import logpx
from logpx import quadrature
from logpx.errors import NotAvailableError
from logpx.models import VAE, Network
from logpx_bench import cli, conformance, data, guests
from logpx_bench import suite as suites
from logpx_bench.conformance import PASS, SKIP, Subject
from logpx_bench.model_file import Given
from logpx_bench.store import Store

CHECKS = {check.name: check for check in conformance.CHECKS}
SUITE = """
[[experiment]]
name = "error_against_k"
kind = "ladder"
model = {name = "ppca", n_latents = 2}
estimators = [{name = "importance"}]
n_samples = "2^7"
n_replicates = 32

[[experiment]]
name = "models"
kind = "models"
models = [{name = "ppca", n_latents = 2}]
n_samples = "2^8"
n_replicates = 64

[[experiment]]
name = "vae"
kind = "bounds"
model = {name = "ppca", n_latents = 2}
estimators = [{name = "importance"}]
n_images = 2
n_samples = "2^17"
"""
FILE = """
from logpx_bench import data
model, x, _ = data.build("vae_bernoulli", {"n_latents": 10}, "digits")
x = x[:2]
"""


def ten():
    model, X, _ = data.build("vae_bernoulli", {"n_latents": 10}, "digits")
    return model, X[:2]


def kinks():
    rng = np.random.default_rng(0)
    weights = [2 * rng.normal(size=(8, 2)), rng.normal(size=(3, 8))]
    model = VAE(Network(weights, [rng.normal(size=8), rng.normal(size=3)], ["relu", "identity"]))
    return model, model.sample(2, 1)


@pytest.mark.parametrize(("make", "why"), [(ten, "has 10 latents"), (kinks, "is certain to")])
def test_a_check_goes_on_without_an_exact_answer(make, why, monkeypatch):
    """The normalisation of the small one, over 8 states, is of estimates."""
    monkeypatch.setattr(quadrature, "MOST_NODES", 2**12)
    model, X = make()
    with pytest.raises(NotAvailableError):
        model.log_marginal(X)
    assert data.exact(model, X[0]) is None
    found = {
        name: CHECKS[name].run(Subject("mine.py", Given(model, X, None, None, None)))
        for name in CHECKS
        if name in ("shapes", "mean weight", "normalisation")
    }
    assert found["shapes"].verdict == PASS
    assert found["mean weight"].verdict == SKIP
    assert why in found["mean weight"].said
    assert found["normalisation"].verdict == (PASS if make is kinks else SKIP)
    assert ("8 states of x is" in found["normalisation"].said) == (make is kinks)


def test_a_run_holds_it_against_a_reference(tmp_path, monkeypatch):
    """Which another long run is within 5 standard errors of: false alarm 5.7e-7; 10 of them, 0.3 nats, are found."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.toml").write_text(SUITE)
    (tmp_path / "ten_latents.py").write_text(FILE)
    _, absent = guests.invite(suites.load("tiny.toml"), "ten_latents.py")
    assert len(absent) == 2
    for name, one in zip(("models", "vae"), absent, strict=True):
        assert name in one
        assert "this VAE has 10 latents" in one
    arguments = ["run", "tiny.toml", "--only", "error_against_k", "--store", "r.sqlite", "--model", "ten_latents.py"]
    done = CliRunner().invoke(cli.app, arguments)
    assert done.exit_code == 0, done.output
    with Store.open("r.sqlite", create=False) as store:
        (row,) = store.of_model("ten_latents").cells("error_against_k")
        values = store.values(row["key"])
    assert row["exact"] is None
    model, X = ten()
    other = logpx.estimate(model, X[0], n_samples=2**17, seed=5)
    reference, std_error = values["reference"][:2]
    assert abs(reference - other.log_marginal) < 5 * np.hypot(std_error, other.std_error) < 0.15
    sys.modules.pop("ten_latents", None)
