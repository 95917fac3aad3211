"""Executors by name, and a Dask cluster that loses workers: the same bits, or an error that says what to do. Exact.

One cluster of two workers serves all tests; those that kill workers wait until it is whole again. Where Dask is not
installed the file is listed as not run, with that reason.
"""

import importlib
import math
import os
import signal
import sys
import threading
import time

import pytest

import logpx
from logpx import _jit, engine, shipping
from logpx.errors import KernelError, NonFiniteWeightError
from logpx_bench import cluster
from logpx_bench.errors import InputError, NotAvailableError, WorkerError

distributed = pytest.importorskip("distributed", reason="Dask is not installed (pip install 'logpx[cluster]')")

PPCA, X = logpx.models.PPCA.example()
NORMAL = logpx.proposals.Gaussian([0.0], [1.0])
#: Enough for a second or so on two workers, in tasks of tens of milliseconds.
LONG = 48 << 20

FILE = """
import logpx

@logpx.per_sample
def mine(theta, dims, x, z):
    return {scale} * z[0] * z[0]
"""


def bits(estimate):
    return estimate.ladder.to_bytes()


@pytest.fixture
def small_tasks(monkeypatch):
    """Tasks stay chunks, so that there are enough to kill workers between them."""
    monkeypatch.setattr(engine, "TASK_SECONDS", 0.0)
    monkeypatch.setattr(engine, "SMALLEST", engine.CHUNK)


@pytest.fixture(scope="module")
def long_bits():
    return bits(logpx.estimate(PPCA, X[0], n_samples=LONG))


def n_stored(path):
    with logpx.Checkpoint.open(path) as file:
        return len(file.rows())


def kill(executor, n):
    """Kill so many of the cluster's workers, as a machine that is switched off does."""
    for pid in list(executor._client.run(os.getpid).values())[:n]:
        os.kill(pid, signal.SIGKILL)


def kill_after(executor, n, n_tasks):
    """The same from a thread, once so many more tasks are done; its `left`: tasks that were not done by then."""
    target = executor._n_finished + n_tasks

    def wait_and_kill():
        while executor._n_finished < target:
            time.sleep(0.002)
        kill(executor, n)
        thread.left = len(executor._waiting)

    thread = threading.Thread(target=wait_and_kill)
    thread.start()
    return thread


# -- what a cluster computes --------------------------------------------------------------------------------------


def test_a_cluster_gives_the_same_bits(executor):
    options = {"n_samples": 100_000, "n_replicates": 2}
    assert bits(logpx.estimate(PPCA, X[:3], executor=executor, **options)) == bits(
        logpx.estimate(PPCA, X[:3], **options)
    )
    there = logpx.estimate(PPCA, X[0], n_samples=3 << 20, groups=(50,), executor=executor)
    here = logpx.estimate(PPCA, X[0], n_samples=3 << 20, groups=(50,))
    assert there.bound(50) == here.bound(50)
    assert executor.words().startswith("2 workers, ")


def test_workers_compute_on_one_thread_and_compile_nothing_that_the_sender_has(executor):
    """Each has a cache folder of its own, filled with the sender's kernels and with no others."""
    logpx.estimate(PPCA, X[:8], n_samples=1 << 17, executor=executor)
    handlers = executor._client.run(lambda: signal.getsignal(signal.SIGINT))
    assert set(handlers.values()) == {signal.SIG_IGN}, "Ctrl-C is for the sender"
    environments = executor._client.run(lambda: dict(os.environ))
    names = ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    assert {environment[name] for environment in environments.values() for name in names} == {"1"}
    roots = {environment["LOGPX_CACHE_DIR"] for environment in environments.values()}
    assert len(roots) == 2
    folder = _jit.cache_folder()
    compiled = {str(path.relative_to(folder)) for path in folder.rglob("*.nbc")}
    for root in roots:
        own = os.path.join(root, folder.name)
        there = {os.path.relpath(os.path.join(at, name), own) for at, _, names in os.walk(own) for name in names}
        assert compiled
        assert {name for name in there if name.endswith(".nbc")} == compiled


def test_results_are_let_go(executor, small_tasks):
    """Ten thousand chunks of a long run must not pile up on the workers."""
    logpx.estimate(PPCA, X[0], n_samples=16 << 20, executor=executor)
    deadline = time.monotonic() + 10
    while any(executor._client.has_what().values()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(executor._client.has_what().values())
    assert not executor._waiting


def test_a_running_cluster_is_joined(executor, address):
    with cluster.executor_for(address, threads=1) as joined:
        there = logpx.estimate(PPCA, X[0], n_samples=100_000, executor=joined)
        assert joined._max_workers == 2
    assert bits(there) == bits(logpx.estimate(PPCA, X[0], n_samples=100_000))


def test_dask_s_own_executor_serves_as_well(executor):
    with executor._client.get_executor() as plain:
        there = logpx.estimate(PPCA, X[0], n_samples=3 << 20, groups=(50,), executor=plain)
    here = logpx.estimate(PPCA, X[0], n_samples=3 << 20, groups=(50,))
    assert bits(there) == bits(here)
    assert there.bound(50) == here.bound(50)


def test_processes_are_an_executor_too_and_one_that_dies_ends_the_run_with_words():
    def run():
        with cluster.executor_for("processes", 1) as executor:
            there = logpx.estimate(PPCA, X[0], n_samples=100_000, executor=executor)
            assert bits(there) == bits(logpx.estimate(PPCA, X[0], n_samples=100_000))
            executor.submit(os._exit, 1).result()

    with pytest.raises(WorkerError, match=r"a process of the pool died.*goes on from its checkpoint"):
        run()


def test_errors_of_tasks_come_back_as_they_were(executor):
    @logpx.per_sample
    def bad(theta, dims, x, z):
        if z[0] > 3.5 and theta[0] > 0.0:
            raise ValueError("too far out")
        return math.nan if z[0] > 3.5 else -0.5 * z[0] * z[0]

    raising, nan = (logpx.Model(bad, [flag], 1, prior=NORMAL) for flag in (1.0, 0.0))
    told = []
    for where in (None, executor):
        with pytest.raises(KernelError, match="too far out") as raised:
            logpx.estimate(raising, [0.0], n_samples=100_000, executor=where)
        told.append(str(raised.value))
    assert told[0] == told[1]
    with pytest.raises(ValueError, match="'seven'") as foreign:
        executor.submit(int, "seven").result()
    assert "raised on a worker" in foreign.value.__notes__[0]
    told = []
    for where in (None, executor):
        with pytest.raises(NonFiniteWeightError) as error:
            logpx.estimate(nan, [0.0], n_samples=100_000, executor=where)
        told.append((str(error.value), error.value.index, error.value.z[0]))
    assert told[0] == told[1]


# -- workers that die ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2])
def test_killed_workers_cost_time_and_nothing_else(executor, small_tasks, long_bits, n):
    thread = kill_after(executor, n, n_tasks=6)
    there = logpx.estimate(PPCA, X[0], n_samples=LONG, executor=executor)
    thread.join()
    assert thread.left > 0, "they must be killed in the midst of it"
    assert bits(there) == long_bits


def test_without_any_worker_a_run_ends_and_its_checkpoint_goes_on(executor, small_tasks, long_bits, tmp_path):
    """Its patience is shorter than a worker takes to start anew."""
    path = tmp_path / "run.sqlite"
    with cluster.on_client(executor._client, patience=0.1) as impatient:
        thread = kill_after(impatient, 2, n_tasks=6)
        with pytest.raises(WorkerError, match=r"had no worker for 0\.1 s.*goes on from its checkpoint"):
            logpx.estimate(PPCA, X[0], n_samples=LONG, executor=impatient, checkpoint=path)
        thread.join()
        assert thread.left > 0
    executor._client.wait_for_workers(2, timeout=60)
    stored, before = n_stored(path), executor._n_finished
    there = logpx.estimate(PPCA, X[0], n_samples=LONG, executor=executor, checkpoint=path)
    assert bits(there) == long_bits
    assert stored >= 6
    assert executor._n_finished - before == n_stored(path) - stored, "what was finished is not run again"


def test_a_task_that_kills_its_workers_is_given_up(executor, monkeypatch):
    """After as many deaths as the scheduler allows a task: told as an error, and not tried for ever."""
    monkeypatch.setattr(executor._client.cluster.scheduler, "allowed_failures", 0)
    with pytest.raises(WorkerError, match=r"gave a task up.*workers died while running it.*checkpoint"):
        executor.submit(os._exit, 1).result()


# -- the user's files, and what does not fit ----------------------------------------------------------------------


def uploads(client):
    """Names of the files that workers of the cluster get."""
    return [name for name in client.cluster.scheduler.worker_plugins if name.startswith("logpx-upload-")]


@pytest.fixture
def own_file(tmp_path, monkeypatch):
    """A file of the user's that is importable here, as workers that were started before do not have it."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    path = tmp_path / f"own_{tmp_path.name.replace('-', '_')}.py"
    path.write_text(FILE.format(scale=-0.5), encoding="utf-8")
    importlib.invalidate_caches()
    yield path
    sys.modules.pop(path.stem, None)


def test_a_users_file_is_uploaded(executor, own_file):
    model = logpx.Model(importlib.import_module(own_file.stem).mine, [], 1, prior=NORMAL)
    with pytest.raises(WorkerError, match=f"cannot import mine of the module {own_file.stem}.*Upload"):
        logpx.estimate(model, [0.0], n_samples=100_000, executor=executor)
    client = executor._client
    with cluster.on_client(client, upload=[own_file]) as prepared:
        there = logpx.estimate(model, [0.0], n_samples=100_000, executor=prepared)
        assert uploads(client) == [f"logpx-upload-{own_file.name}"]
    assert uploads(client) == [], "the cluster is as it was"
    assert bits(there) == bits(logpx.estimate(model, [0.0], n_samples=100_000))

    changed = own_file.with_name("changed")
    changed.mkdir()
    (changed / own_file.name).write_text(FILE.format(scale=-0.25), encoding="utf-8")
    with (
        cluster.on_client(client, upload=[changed / own_file.name]) as prepared,
        pytest.raises(WorkerError, match="the file on the worker is of another version"),
    ):
        logpx.estimate(model, [0.0], n_samples=100_000, executor=prepared)


def test_a_file_that_cannot_be_imported_or_found_is_named(executor, tmp_path):
    broken = tmp_path / "broken_model.py"
    broken.write_text("import no_such_package\n", encoding="utf-8")
    with pytest.raises(WorkerError, match=r"logpx-upload-broken_model\.py.*No module named 'no_such_package'"):
        cluster.on_client(executor._client, upload=[broken])
    assert uploads(executor._client) == []
    with pytest.raises(InputError, match="there is no such file"):
        cluster.on_client(executor._client, upload=[tmp_path / "nowhere.py"])


def test_workers_of_another_version_are_refused(executor, monkeypatch):
    here = shipping.build()
    monkeypatch.setattr(shipping, "build", lambda: here._replace(source="0123456789abcdef"))
    with pytest.raises(WorkerError, match=f"has source {here.source} and not 0123456789abcdef as the sender"):
        logpx.estimate(PPCA, X[0], n_samples=100_000, executor=executor)


def test_an_executor_that_is_not_there_is_told(monkeypatch):
    import dask

    with pytest.raises(InputError, match="one of threads, processes, dask"), cluster.executor_for("cloud", 1):
        pass
    with (
        dask.config.set({"distributed.comm.timeouts.connect": "0.3s"}),
        pytest.raises(WorkerError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:9"),
        cluster.executor_for("tcp://127.0.0.1:9", 1),
    ):
        pass
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(NotAvailableError, match=r"pip install 'logpx\[cluster\]'"), cluster.executor_for("dask", 1):
        pass
