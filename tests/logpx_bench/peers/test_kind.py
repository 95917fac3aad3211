"""The kind of experiment "peers": what a suite may say, and what a cell leaves. Exact."""

import sys
from dataclasses import replace

import numpy as np
import pytest

from logpx_bench import runner
from logpx_bench import suite as suites
from logpx_bench.errors import SuiteError
from logpx_bench.experiments.peers import PEERS
from logpx_bench.peers import REGISTRY
from logpx_bench.peers.pool import PeerError, pool
from logpx_bench.store import Store

GOOD = """
[[experiment]]
name = "peers"
kind = "peers"
cases = ["uniforms"]
dtypes = "float64"
peers = ["numpy", "c-avx2"]
threads = 2
rounds = 3
sweep_seconds = 0
"""


@pytest.fixture
def load(tmp_path):
    def load(text):
        path = tmp_path / "mine.toml"
        path.write_text(text, encoding="utf-8")
        return suites.load(path)

    return load


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ('"uniforms"', '"uniform"', ["cases", "no case 'uniform'", 'Did you mean "uniforms"']),
        ('"numpy"', '"nunpy"', ["peers", "no peer 'nunpy'", 'Did you mean "numpy"']),
        ('"numpy"', '"logpx"', ["no peer 'logpx'"]),
        ('"float64"', '"float46"', ["dtypes", "no dtype 'float46'", 'Did you mean "float64"']),
        ('"float64"', "64", ["no dtype 64"]),
        ('["uniforms"]', "[]", ["cases", "empty list"]),
        ('["uniforms"]', '["uniforms", "uniforms"]', ["twice"]),
        ("rounds = 3", "rounds = 2", ["rounds", "is 2; allowed is an integer from 3 to 1000"]),
        ("rounds = 3", "model = 3", ["no key (of the kind 'peers') 'model'"]),
        ('cases = ["uniforms"]', "", ["cases", "is missing"]),
    ],
)
def test_a_bad_suite_says_what_and_where(load, before, after, said):
    assert before in GOOD
    with pytest.raises(SuiteError) as caught:
        load(GOOD.replace(before, after, 1))
    for words in ["mine.toml", *said]:
        assert words in str(caught.value)


def test_names_default_to_all(load):
    text = GOOD.replace('dtypes = "float64"', "").replace('peers = ["numpy", "c-avx2"]', "")
    cells = runner.expand(load(text))
    assert [cell.dtype for cell in cells] == ["float64", "float32"]
    assert {cell.model for cell in cells} == {"uniforms"}
    assert ["logpx", *cells[0].settings["peers"]] == list(REGISTRY)


def test_a_race_depends_on_its_peers_and_their_versions(load, monkeypatch):
    cell = runner.expand(load(GOOD))[0]
    first = runner.key_of(cell, 1)
    assert set(PEERS.facts(cell)["versions"]) == {"numpy", "c-avx2"}
    monkeypatch.setattr("logpx_bench.experiments.peers.installed", lambda name: {"numpy": "0.1"})
    assert runner.key_of(cell, 1) != first


def test_a_race_is_predicted_by_its_peers_and_their_turns(load, monkeypatch):
    """What is absent, or does not do the case, takes no time; a longer sweep and more rounds take more."""
    monkeypatch.setattr("logpx_bench.experiments.peers.installed", lambda name: dict.fromkeys(REGISTRY[name].packages))
    good = GOOD.replace("sweep_seconds = 0", "sweep_seconds = 6")
    cell = runner.expand(load(good))[0]
    seconds, measured = runner.predict(cell, None, 2)
    assert not measured
    assert PEERS.duration(replace(cell, settings=cell.settings | {"peers": ("numpy",)})) == seconds
    assert PEERS.duration(replace(cell, n_replicates=9)) > seconds
    assert seconds - PEERS.duration(runner.expand(load(GOOD))[0]) == pytest.approx(
        6 + 1
    )  # NumPy's, and our one variant
    monkeypatch.setattr(
        "logpx_bench.experiments.peers.installed", lambda name: {"logpx": ""} if name == "logpx" else {}
    )
    assert seconds - PEERS.duration(cell) > 6


def test_the_suite_that_comes_along_is_right():
    cells = runner.expand(suites.load(suites.find("peers")))
    assert {cell.threads for cell in cells} == {1, 2}
    assert {"chain_ppca_2_8", "chain_ppca_16_64", "chain_mixture_64"} <= {cell.model for cell in cells}


def test_a_cell_leaves_times_variants_and_reasons(load, tmp_path, monkeypatch):
    monkeypatch.setenv("LOGPX_PEERS_PYTHON", sys.executable)
    with Store.open(tmp_path / "r.sqlite") as store:
        assert runner.run(load(GOOD), store, threads=1).n_run == 1
        (cell,) = store.cells("peers")
        values = store.values(cell["key"])
        assert runner.run(load(GOOD), store, threads=1).n_skipped == 1
    pool(2).close()
    assert (cell["model"], cell["dtype"], cell["threads"], cell["n_replicates"]) == ("uniforms", "float64", 2, 3)
    assert set(values) == {"ns/logpx/best", "ns/numpy/best", "ns/numpy/library", "ns/numpy/as written"}
    assert np.array_equal(values["ns/numpy/best"], values["ns/numpy/library"])  # one variant, raced once
    assert all(np.all(one > 0) and one.size == 3 for one in values.values())
    told = cell["estimator_options"]["peers"]
    assert told["c-avx2"]["absent"] == "it runs on 1 thread at most"
    assert told["numpy"]["absent"] is None
    assert told["numpy"]["versions"] == {"numpy": np.__version__}
    assert told["numpy"]["note"] == {"best": "", "library": "", "as written": ""}
    tried = told["numpy"]["tried"]
    assert [one["ns"] is not None for one in tried[:2]] == [True, True]
    assert {one["note"] for one in tried[2:]} == {"not tried: the time for the search was up"}
    assert told["numpy"]["variant"]["best"] in [one["words"] for one in tried[:2]]
    assert told["numpy"]["variant"]["library"] == told["numpy"]["variant"]["best"]
    assert told["numpy"]["variant"]["as written"] == tried[0]["words"]


def test_a_peers_python_that_is_not_there_stops_the_run(load, tmp_path, monkeypatch):
    monkeypatch.setenv("LOGPX_PEERS_PYTHON", str(tmp_path / "none"))
    monkeypatch.setattr("logpx_bench.experiments.peers.installed", lambda name: {})
    with Store.open(tmp_path / "r.sqlite") as store, pytest.raises(Exception, match="which is no file") as caught:
        runner.run(load(GOOD), store, threads=1)
    assert isinstance(caught.value, PeerError | runner.LogpxError)
