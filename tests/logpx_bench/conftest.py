"""What tests of the report and of clusters share: a synthetic store, and a cluster of two workers."""

import runpy
from pathlib import Path

import pytest

from logpx_bench import cluster
from logpx_bench.store import Store


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A store with every experiment (`report_store`), where a file has none of its own; uniform is worst and importance
    best."""
    build = runpy.run_path(str(Path(__file__).with_name("report_store.py")))["build"]
    with Store.open(build(tmp_path_factory.mktemp("report") / "results.sqlite"), create=False) as opened:
        yield opened


@pytest.fixture(scope="module")
def whole():
    """A cluster of two workers, and an executor on it."""
    with cluster.executor_for("dask", 2) as executor:
        yield executor


@pytest.fixture
def executor(whole):
    """The executor, once both workers are there."""
    whole._client.wait_for_workers(2, timeout=60)
    return whole


@pytest.fixture
def address(executor):
    """Where the cluster is joined."""
    return executor._client.scheduler.address
