"""Suites, the command line and the page on clusters give their long cells to a Dask cluster: the same bits. Exact.

One cluster of two workers serves all tests. Where Dask is not installed the file is listed as not run, with that
reason.
"""

import concurrent.futures
import re
import subprocess
import sys
import types
from pathlib import Path

import pytest
from typer.testing import CliRunner

import logpx
from logpx_bench import cli, cluster, runner, suite
from logpx_bench.experiments.ladder import WARM_UP
from logpx_bench.store import Store

distributed = pytest.importorskip("distributed", reason="Dask is not installed (pip install 'logpx[cluster]')")

PPCA, X = logpx.models.PPCA.example()


def bits(estimate):
    return estimate.ladder.to_bytes()


# -- through the runner -------------------------------------------------------------------------------------------

SUITE = """
[[experiment]]
name = "one"
kind = "ladder"
model = {name = "ppca", n_latents = 2}
estimators = [{name = "prior"}]
n_samples = "2^8"
n_replicates = 32
"""


class Counting(concurrent.futures.ThreadPoolExecutor):
    """Threads that know how many samples, of all streams, they were given."""

    n_samples = 0

    def submit(self, fn, /, part, start, count, *rest):
        self.n_samples += len(part.states) * count
        return super().submit(fn, part, start, count, *rest)


def test_a_suite_gives_its_long_cells_to_the_executor(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(SUITE, encoding="utf-8")
    rows, counting = [], Counting(3)
    for name, pool in (("here", None), ("there", counting)):
        with Store.open(tmp_path / f"{name}.sqlite") as store:
            runner.run(suite.load(path), store, threads=1, executor=pool)
            rows += store.rows('SELECT "log_marginal", "threads", "key" FROM "cells"')
    assert counting.n_samples == WARM_UP + 32 * 2**8, "every task went there"
    assert rows[0]["log_marginal"] == rows[1]["log_marginal"]
    assert rows[0]["key"] == rows[1]["key"]
    assert [row["threads"] for row in rows] == [1, 3]


def test_the_executor_of_the_command_line(tmp_path, address, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mine.toml").write_text(SUITE, encoding="utf-8")
    given, submit = [], cluster.ClusterExecutor.submit
    monkeypatch.setattr(cluster.ClusterExecutor, "submit", lambda *given_: given.append(1) or submit(*given_))
    rows = []
    for where in ("threads", address):
        arguments = ["run", "mine.toml", "--threads", "1", "--store", f"{len(rows)}.sqlite", "--executor", where]
        done = CliRunner().invoke(cli.app, arguments)
        assert done.exit_code == 0, done.output
        assert bool(given) == (where == address)
        with Store.open(arguments[5], create=False) as store:
            rows += store.rows('SELECT "log_marginal", "threads" FROM "cells"')
    assert rows[0]["log_marginal"] == rows[1]["log_marginal"]
    assert [row["threads"] for row in rows] == [1, 2]
    refused = CliRunner().invoke(cli.app, [*arguments[:-1], "cloud"])
    assert refused.exit_code == 2
    assert "one of threads, processes, dask" in refused.output


# -- bench/docs/clusters.md ---------------------------------------------------------------------------------------

PAGE = Path(__file__).parents[2] / "bench" / "docs" / "clusters.md"
LOCAL, SLURM, KUBERNETES = re.findall(r"^```python\n(.*?)^```", PAGE.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
MINE = """
import logpx

@logpx.per_sample
def mine(theta, dims, x, z):
    return -0.5 * z[0] * z[0]

model = logpx.Model(mine, [], 1, prior=logpx.proposals.Gaussian([0.0], [1.0]))
x = [0.0]
"""


def test_the_page_s_local_example_gives_the_same_bits_twice(tmp_path):
    script = tmp_path / "local.py"
    script.write_text(LOCAL, encoding="utf-8")
    said = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True, timeout=300).stdout
    (threads, here), (dask, there) = (line.split() for line in said.splitlines())
    assert (threads, dask) == ("threads", "dask")
    assert here == there


class Made(str):
    """The address of the cluster of this file, in place of one that a batch system makes."""

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def scale(self, jobs):
        assert jobs > 0


@pytest.mark.parametrize(
    ("recipe", "module", "name"),
    [(SLURM, "dask_jobqueue", "SLURMCluster"), (KUBERNETES, "dask_kubernetes.operator", "KubeCluster")],
)
def test_the_page_s_recipes_run_on_the_cluster_that_they_make(address, tmp_path, monkeypatch, recipe, module, name):
    """As printed, but for the cluster, as no batch system is here, and for the number of samples."""
    fake = types.ModuleType(module)
    setattr(fake, name, lambda **options: Made(address))
    monkeypatch.setitem(sys.modules, module.partition(".")[0], fake)
    monkeypatch.setitem(sys.modules, module, fake)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "mine.py").write_text(MINE, encoding="utf-8")
    sys.modules.pop("mine", None)
    names = {"__name__": "recipe"}
    exec(compile(recipe.replace("2**36", "2**17"), PAGE.name, "exec"), names)
    assert bits(names["est"]) == bits(logpx.estimate(names["mine"].model, [0.0], n_samples=2**17))
    assert (tmp_path / "mine.sqlite").exists()
    sys.modules.pop("mine")
