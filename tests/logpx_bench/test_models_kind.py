"""The kinds "models" and "bounds": what a cell of each holds, against closed forms. Exact, except where said."""

import math

import numpy as np
import pytest

from logpx.proposals.divergences import chi2, kl
from logpx_bench import catalogue, data, guests, runner, second_routes
from logpx_bench import suite as suites
from logpx_bench.errors import InputError, LogpxError, SuiteError
from logpx_bench.estimators import make_proposal
from logpx_bench.store import Store

SUITE = """
[[experiment]]
name = "models"
kind = "models"
models = [{name = "conjugate_normal"}]
data = "sample"
n_samples = "2^8"
n_replicates = 64
repeats = 2

[[experiment]]
name = "vae"
kind = "bounds"
model = {name = "ppca", n_latents = 2}
data = "digits"
estimators = [{name = "importance", widen = 1.3}]
n_samples = "2^17"
n_images = 3
"""
MODEL, X = data.build("conjugate_normal", {"seed": 0}, "sample")[:2]


def load(tmp_path, text=SUITE):
    (tmp_path / "tiny.toml").write_text(text, encoding="utf-8")
    return suites.load(tmp_path / "tiny.toml")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Both experiments, run."""
    folder = tmp_path_factory.mktemp("kinds")
    with Store.open(folder / "r.sqlite") as opened:
        assert runner.run(load(folder), opened, threads=1).n_run == 2
        yield opened


def test_a_model_is_on_record_with_its_routes_error_time_and_latents(store):
    """RMSE over √(χ²/k) of 64 replicates: within 1 ± 6/√128, false alarm 1e-6 or less; detects a factor of 2."""
    (row,) = catalogue.models(store)
    assert (row["exact_route"], row["second_route"]) == (MODEL.exact_route, MODEL.second_route)
    assert row["max_difference"] == np.abs(MODEL.log_marginal(X) - second_routes.log_marginal(MODEL, X)).max()
    assert (row["n_latents"], row["n_discrete"], row["n_observed"], row["n_rows"]) == (1, 0, X.shape[1], len(X))
    assert (row["k"], row["n_replicates"], row["exact"]) == (256, 64, MODEL.log_marginal(X[0]))
    truth = chi2(MODEL.posterior(X[0]), MODEL.default_proposal(X[0]))
    assert (row["chi2"], row["chi2_from"], row["predicted"]) == (truth, "closed form", math.sqrt(truth / 256))
    assert abs(row["rmse"] / row["predicted"] - 1) < 6 / math.sqrt(128)
    assert row["ess_fraction"] == pytest.approx(1 / (1 + truth), rel=0.01)
    assert row["coverage"] > 0.75
    assert 0 < row["ns_low"] <= row["ns"] <= row["ns_high"]


def test_rmse_and_coverage_are_those_of_the_replicates(store):
    (cell,) = store.cells("models")
    values, (row,) = store.values(cell["key"]), catalogue.models(store)
    error = values["replicates"] - row["exact"]
    assert row["rmse"] == pytest.approx(math.sqrt(np.mean(error**2)), rel=1e-12)
    assert row["coverage"] == np.mean(np.abs(error / values["std_errors"]) <= 1.959963984540054)
    assert len(set(values["replicates"])) == 64
    assert values["ns"].size == values["ess_fraction"].size == 2


def test_a_second_route_that_differs_is_seen_and_one_that_is_missing_is_an_error(monkeypatch, tmp_path):
    def shifted(model, rows):
        return model.log_marginal(rows) + np.where(np.arange(len(rows)) == 2, 1e-3, 0.0)

    monkeypatch.setattr(second_routes, "ROUTES", {"conjugate_normal": shifted})
    suite = load(tmp_path).only("models")
    with Store.open(tmp_path / "r.sqlite") as opened:
        runner.run(suite, opened, threads=1)
        assert catalogue.models(opened)[0]["max_difference"] == pytest.approx(1e-3, rel=1e-9)
    monkeypatch.setattr(second_routes, "ROUTES", {})
    with pytest.raises(LogpxError, match="conjugate_normal has no second route"):
        runner.verify(suite)


OWN = """
import math
import logpx
from logpx.proposals import Gaussian

@logpx.per_sample
def log_joint(theta, dims, x, z):
    return -0.5 * z[0] * z[0] - 0.5 * (x[0] - z[0]) ** 2 - math.log(2 * math.pi)

def exact(x):
    return -0.25 * x[..., 0] ** 2 - 0.5 * math.log(4 * math.pi)

model = logpx.Model(log_joint, [], 1, prior=Gaussian([0.0], [1.0]), n_observed=1, name="ppca", log_marginal=exact)
x, proposal = [[0.3], [1.0]], Gaussian([0.3], [1.0])
"""


def test_a_model_of_the_users_own_joins_without_a_second_route(monkeypatch, tmp_path):
    """Even where it has the name of one that comes along; without an exact answer it does not, and is told why."""
    monkeypatch.setattr("logpx_bench.experiments.models.N_TIMED", 2**10)
    file = tmp_path / "mine.py"
    file.write_text(OWN, encoding="utf-8")
    suite, absent = guests.invite(load(tmp_path).only("models"), str(file))
    assert absent == []
    with Store.open(tmp_path / "r.sqlite") as opened:
        runner.run(suite, opened, 1)
        first, row = catalogue.models(opened)
    assert (first["model"], row["model"], row["n_rows"]) == ("conjugate_normal", "mine", 2)
    assert (row["exact_route"], row["second_route"], row["max_difference"]) == (None, None, None)
    assert row["exact"] == pytest.approx(-0.25 * 0.3**2 - 0.5 * math.log(4 * math.pi), rel=1e-12)
    file.write_text(OWN.replace(", log_marginal=exact", ""), encoding="utf-8")
    with pytest.raises(InputError, match="which ppca does not know"):
        guests.invite(load(tmp_path).only("models"), str(file))


def test_discrete_latents_are_counted(monkeypatch, tmp_path):
    monkeypatch.setattr("logpx_bench.experiments.models.N_TIMED", 2**10)
    with Store.open(tmp_path / "r.sqlite") as opened:
        runner.run(load(tmp_path, SUITE.replace("conjugate_normal", "gaussian_mixture")).only("models"), opened, 1)
        (row,) = catalogue.models(opened)
    assert (row["n_latents"], row["n_discrete"]) == (1, 1)


def test_bounds_are_on_record_beside_exact(store):
    """|z| ≤ 6 for 9 of them: false alarm 2e-8. The ELBO's gap is KL(q‖posterior), that of k = 4096 is χ²/2k."""
    table = catalogue.bounds(store)
    subject = data.build("ppca", {"n_latents": 2, "seed": 0}, "digits")
    assert [(row["k"], row["index"]) for row in table] == [(k, i) for k in (1, 64, 4096) for i in range(3)]
    for row in table:
        x = subject.X[row["index"]]
        posterior, q = subject.model.posterior(x), make_proposal("importance", {"widen": 1.3}, subject.model, x)
        gap = kl(q, posterior) if row["k"] == 1 else chi2(posterior, q) / (2 * row["k"])
        assert row["exact"] == pytest.approx(subject.model.log_marginal(x), rel=1e-12)
        assert abs(row["gap"] - gap) < 6 * row["std_error"] + 2 * (gap / row["k"] if row["k"] > 1 else 0)
        assert row["gap"] == row["exact"] - row["bound"]
        assert row["std_error"] < 0.02
        assert math.isnan(row["exact_error"])
    exact = [row["exact"] for row in table[:3]]
    assert [row["rank"] for row in table[:3]] == np.argsort(np.argsort(exact)).tolist()


def test_a_trained_autoencoder_shows_the_published_pattern(tmp_path):
    """ELBO < IWAE 64 < IWAE 4096 < exact, each gap a fraction of the one before, for two held-out digits.

    Exact is certified to 1e-6 nats, and a second route agrees to that. Bounds of one stream cannot but rise; that the
    last is not above exact (|z| ≤ 5, false alarm 3e-7 each) and that the first is far below it are what is tested.
    """
    text = SUITE.replace('"ppca"', '"vae_bernoulli"').replace(
        '{name = "importance", widen = 1.3}', '{name = "encoder"}'
    )
    with Store.open(tmp_path / "r.sqlite") as opened:
        runner.run(load(tmp_path, text.replace("n_images = 3", "n_images = 2")).only("vae"), opened, threads=1)
        table = catalogue.bounds(opened)
    model, X, _ = data.build("vae_bernoulli", {"n_latents": 2}, "digits")
    np.testing.assert_allclose([row["exact"] for row in table[:2]], second_routes.log_marginal(model, X[:2]), atol=1e-6)
    for elbo, low, high in zip(table[:2], table[2:4], table[4:], strict=True):
        assert (elbo["likelihood"], elbo["k"], low["k"], high["k"]) == ("bernoulli", 1, 64, 4096)
        assert elbo["exact_error"] < 1e-6
        assert elbo["bound"] < low["bound"] < high["bound"] < elbo["exact"] + 5 * high["std_error"]
        assert low["gap"] < 0.5 * elbo["gap"]
        assert elbo["gap"] > 50 * elbo["std_error"] > 0


def test_a_certified_answer_keeps_its_error(monkeypatch):
    from logpx.quadrature import Certified
    from logpx_bench.experiments.bounds import exactly

    def certified(self, X, error=1e-8):
        return Certified(X[:, 0], np.full(len(X), error), 1e-6, 1, ("one rule", "another"))

    monkeypatch.setattr(type(MODEL), "quadrature", certified, raising=False)
    value, error = exactly(MODEL, X)
    assert (value.tolist(), error.tolist()) == (X[:, 0].tolist(), [1e-8] * len(X))
    monkeypatch.setattr(type(MODEL), "quadrature", lambda self, X: certified(self, X, 1e-5))
    with pytest.raises(LogpxError, match="one rule and another do not settle on it"):
        exactly(MODEL, X)


def test_what_cannot_be_is_said_before_anything_runs(tmp_path):
    with pytest.raises(SuiteError, match="n_samples is 65536; bounds up to k = 4096 need 131072 or more"):
        load(tmp_path, SUITE.replace("2^17", "2^16"))
    with pytest.raises(SuiteError, match="n_replicates is 8; an error with an interval needs 32"):
        load(tmp_path, SUITE.replace("n_replicates = 64", "n_replicates = 8"))
    with pytest.raises(LogpxError, match="n_images is 501; the data has 500 rows"):
        runner.verify(load(tmp_path, SUITE.replace("n_images = 3", "n_images = 501")).only("vae"))
    encoder = SUITE.replace('{name = "importance", widen = 1.3}', '{name = "encoder"}')
    with pytest.raises(LogpxError, match="the estimator 'encoder' needs a model with an encoder; ppca has none"):
        runner.verify(load(tmp_path, encoder).only("vae"))
