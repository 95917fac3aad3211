"""The kind "itself": turns and new processes for real, compilation aside. Exact; of times only the sign and order."""

from types import SimpleNamespace

import pytest

from logpx import _jit
from logpx_bench import machine, runner
from logpx_bench import suite as suites
from logpx_bench.errors import InputError, LogpxError
from logpx_bench.experiments import itself
from logpx_bench.peers.base import Run
from logpx_bench.store import Store

pytestmark = pytest.mark.skipif(_jit.DISABLED, reason="logpx is timed in compiled code")
SUITE = '[[experiment]]\nname = "itself"\nkind = "itself"\nrounds = 3\nprocesses = 2\n'


def test_a_cell_holds_turns_and_waits(tmp_path, monkeypatch):
    """The empty cache is a stand-in's: to fill it takes as long as the kernels take to compile."""
    real, caches = itself.new_process, []

    def new_process(cache=None):
        caches.append(cache)
        return real() if cache is None and len(caches) < 2 else (0.5, 3.0 if cache else 0.2)

    monkeypatch.setattr(itself, "new_process", new_process)
    path = tmp_path / "mine.toml"
    path.write_text(SUITE, encoding="utf-8")
    with Store.open(tmp_path / "r.sqlite") as store:
        assert runner.run(suites.load(path), store, threads=1).n_run == 1
        values = store.values(store.cells("itself")[0]["key"])
    names = {f"ns/{dtype}/{n}" for dtype, n in itself.TURNS if n <= machine.n_cores()}
    errors = {name.replace("ns", "errors") for name in names}
    assert set(values) == names | errors | {"seconds/import", "seconds/first", "seconds/cold"}
    assert all(values[name].size == 3 and values[name].min() > 0 for name in names)
    assert all(values[name].size == 3 and 0 < values[name].max() < 5 for name in errors)  # each within its 5 allowed
    assert [one is None for one in caches] == [True, True, True, False, False, False]
    assert len(set(caches)) == 1 + itself.COLD
    assert (values["seconds/import"].tolist(), values["seconds/cold"].tolist()) == ([0.5, 0.5], [3.0] * 3)


def test_a_wrong_answer_stops_it(monkeypatch):
    wrong = itself.CASE.check(0.0, 0, 2**20, "float64")
    assert not wrong.right
    monkeypatch.setattr(type(itself.CASE), "check", lambda *_: wrong)
    with pytest.raises(LogpxError, match=r"ns/float64/1, seed 0: the answer .* is not right"):
        itself.turns(1)


def test_a_process_that_fails_says_why(monkeypatch):
    monkeypatch.setattr(itself, "PROGRAM", "raise SystemExit('the cache is full')")
    with pytest.raises(LogpxError, match="status 1: the cache is full"):
        itself.new_process()


def test_code_that_is_not_compiled_is_refused(monkeypatch, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(SUITE, encoding="utf-8")
    (cell,) = runner.expand(suites.load(path))
    monkeypatch.setattr(itself._jit, "DISABLED", True)
    with pytest.raises(InputError, match="NUMBA_DISABLE_JIT"):
        itself.verify(cell)


def test_turns_are_in_an_order_that_turns(monkeypatch):
    asked = []

    def build(case, dtype, threads, variant):
        return Run(lambda seed: asked.append((dtype, threads)) or case.data["exact"][case.row(seed)], case.n)

    monkeypatch.setattr(itself, "OURS", SimpleNamespace(build=build, variants=lambda *_: [None]))
    monkeypatch.setattr(itself.machine, "n_cores", lambda: 2)
    itself.turns(4)
    assert [asked[i] for i in range(0, len(asked), 6)] == [*itself.TURNS, itself.TURNS[0]]


def test_it_depends_on_the_source_of_its_case(monkeypatch, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(SUITE, encoding="utf-8")
    (cell,) = runner.expand(suites.load(path))
    first = runner.key_of(cell, 1)
    monkeypatch.setattr(itself, "peers_hash", lambda: "another")
    assert runner.key_of(cell, 1) != first
