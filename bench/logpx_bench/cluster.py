"""Where tasks run: threads, processes, a Dask cluster of this machine, or one that is there already.

    threads             the engine's own pool
    processes           as many processes, by the standard library
    dask                as many single-threaded Dask workers on this machine, each with a nanny that starts it anew
    tcp://host:port     the workers of a running Dask cluster (tls:// and others likewise)

All give the same bits. `ClusterExecutor` is what Dask's `client.get_executor()` is, with what a long run needs beside
it: the workers are prepared (`dask_worker`) and receive the user's files, it says how many they are at the moment, and
a run without any ends with an error after a stated time instead of waiting for ever. Dask gives the tasks of a dead
worker to another. A task is a pure function of what it was sent, so that it may run twice; its result is used once.
Cost: a few milliseconds a task of about a second.
"""

import concurrent.futures
import contextlib
import functools
import multiprocessing
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from logpx import _jit
from logpx_bench.errors import InputError, LogpxError, NotAvailableError, WorkerError
from logpx_bench.plurals import counted

#: Seconds without any worker after which a run ends.
PATIENCE = 120.0
#: Of a cluster that is started here: how many deaths of workers a task survives, and how long a worker that starts anew
#: may take. Dask's own 15 s are counted from a death on and end a worker that happens to be down again by then.
_SURVIVING = {"distributed.scheduler.allowed-failures": 10, "distributed.deploy.lost-worker-timeout": "1 day"}
#: Seconds between two looks at how many workers there are.
_LOOK = 0.5
#: What to do when a run has ended early.
_THEN = "The same run again goes on from its checkpoint, if it has one"


@contextlib.contextmanager
def executor_for(
    where: str, threads: int, upload: Iterable[str | Path] = (), patience: float = PATIENCE
) -> Iterator[concurrent.futures.Executor | None]:
    """An executor by name, for `logpx.estimate(..., executor=…)`.

    Parameters
    ----------
    where : str
        "threads", "processes", "dask", or the address of a Dask scheduler, such as "tcp://scheduler:8786".
    threads : int
        Processes or workers to start. A running cluster has those it has.
    upload : paths
        Files that the user's kernels are in, for the workers of a Dask cluster.
    patience : float
        Seconds that a Dask cluster may be without any worker.

    Yields
    ------
    Executor, or None for threads, which are the engine's own.

    Raises
    ------
    InputError
        No such executor.
    NotAvailableError
        Dask is not installed.
    WorkerError
        The cluster cannot be reached or prepared; later, a task that no worker could finish.

    Examples
    --------
    >>> import logpx
    >>> model, x = logpx.models.PPCA.example()
    >>> with executor_for("threads", threads=2) as executor:
    ...     est = logpx.estimate(model, x[0], n_samples=1000, threads=2, executor=executor)
    >>> est.n_samples
    1000
    """
    if where == "threads":
        yield None
    elif where == "processes":
        with _processes(threads) as pool:
            yield pool
    elif where == "dask":
        with _local_client(threads) as client, on_client(client, upload, patience) as executor:
            yield executor
    elif "://" in where:
        with _joined_client(where, patience) as client, on_client(client, upload, patience) as executor:
            yield executor
    else:
        raise InputError(
            f"executor {where!r}: one of threads, processes, dask, or the address of a Dask scheduler, tcp://host:port"
        )


@contextlib.contextmanager
def _processes(n: int) -> Iterator[concurrent.futures.Executor]:
    """A pool of processes that leave Ctrl-C to this one; spawned, because a fork copies threads' locks as they are."""
    ignore = functools.partial(signal.signal, signal.SIGINT, signal.SIG_IGN)
    context = multiprocessing.get_context("spawn")
    try:
        with concurrent.futures.ProcessPoolExecutor(n, mp_context=context, initializer=ignore) as pool:
            yield pool
    except BrokenProcessPool as error:
        raise WorkerError(
            "a process of the pool died: killed, out of memory, or by a kernel that writes past its arrays, which "
            f"NUMBA_BOUNDSCHECK=1 finds. {_THEN}"
        ) from error


# -- Dask ---------------------------------------------------------------------------------------------------------


def _distributed() -> Any:
    """The package, or an error that says how to get it."""
    try:
        import distributed
    except ImportError as error:
        raise NotAvailableError(
            "the executors dask and tcp://… need Dask, which is not installed. Install it: pip install 'logpx[cluster]'"
        ) from error
    return distributed


@contextlib.contextmanager
def _local_client(n_workers: int) -> Iterator[Any]:
    """Single-threaded worker processes on this machine, and a client of theirs."""
    package = _distributed()
    import dask

    one = dict.fromkeys(("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    options = {"n_workers": n_workers, "threads_per_worker": 1, "memory_limit": None}
    port = "127.0.0.1:0"  # for the dashboard any that is free: with None it is 8787, which another may have
    with (
        dask.config.set(_SURVIVING),
        package.LocalCluster(processes=True, env=one, dashboard_address=port, **options) as cluster,
        package.Client(cluster) as client,
    ):
        from logpx_bench.dask_worker import LeaveCtrlC

        client.register_plugin(LeaveCtrlC(), name=LeaveCtrlC.name)
        yield client


@contextlib.contextmanager
def _joined_client(address: str, patience: float) -> Iterator[Any]:
    """A client of the scheduler at this address, once it has a worker."""
    package = _distributed()
    try:
        client = package.Client(address)
    except (OSError, ValueError) as error:  # of which Dask's timeouts are some
        raise WorkerError(
            f"no Dask scheduler answers at {address}: {error}. Is it running, and reachable from here?"
        ) from error
    with client:
        try:
            client.wait_for_workers(1, timeout=patience)
        except OSError as error:
            raise WorkerError(
                f"the Dask scheduler at {address} had no worker for {patience:g} s. Start some: dask worker {address}"
            ) from error
        yield client


def on_client(client: Any, upload: Iterable[str | Path] = (), patience: float = PATIENCE) -> "ClusterExecutor":
    """An executor on the workers of a Dask client of your own, prepared for logpx.

    Parameters
    ----------
    client : distributed.Client
        Of any cluster: dask-jobqueue's, Kubernetes', …
    upload : paths
        Files that the user's kernels are in: each becomes importable on all workers, under its own name.
    patience : float
        Seconds without any worker after which the run ends with a WorkerError.

    Returns
    -------
    ClusterExecutor
        To be used in a `with` statement. At its end workers that join later get the files no longer.
    """
    from distributed.diagnostics.plugin import UploadFile

    from logpx_bench.dask_worker import Setup

    plugins: list[tuple[Any, str]] = [(Setup(), Setup.name)]
    for path in map(Path, upload):
        if not path.is_file():
            raise InputError(f"upload {str(path)!r}: there is no such file; name a Python file (.py, .zip or .egg)")
        plugins.append((UploadFile(str(path)), f"logpx-upload-{path.name}"))
    uploads = [name for _, name in plugins[1:]]
    for plugin, name in plugins:
        try:
            client.register_plugin(plugin, name=name)
        except Exception as error:
            _forget(client, uploads)
            raise WorkerError(
                f"the workers at {client.scheduler.address} could not be prepared ({name}): {type(error).__name__}: "
                f"{error}. Every worker needs the packages that are here, logpx among them, and every uploaded file "
                "must import there"
            ) from error
    return ClusterExecutor(client, patience, uploads)


def _forget(client: Any, plugins: Iterable[str]) -> None:
    """Take plugins from a cluster that outlives the run; those that are not there, and a scheduler that is gone, do not
    matter."""
    for name in plugins:
        with contextlib.suppress(Exception):
            client.unregister_worker_plugin(name)


class ClusterExecutor(concurrent.futures.Executor):
    """The workers of a Dask client; see `on_client`."""

    def __init__(self, client: Any, patience: float, uploads: Iterable[str] = ()):
        self._uploads = list(uploads)
        self._client, self._address, self._patience = client, client.scheduler.address, patience
        self._cache, self._waiting = str(_jit.cache_folder()), dict[concurrent.futures.Future[Any], Any]()
        self._n_finished, self._n_threads = 0, self._count()
        self._closed = threading.Event()
        threading.Thread(target=self._watch, name="logpx-workers", daemon=True).start()

    @property
    def _max_workers(self) -> int:
        """Threads of all workers, as last seen: the engine keeps a multiple of it in flight."""
        return max(1, self._n_threads)

    def words(self) -> str:
        """How far it is, in a few words, for a progress bar."""
        return f"{counted(self._n_threads, 'worker')}, {counted(self._n_finished, 'task')} done"

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> concurrent.futures.Future[Any]:
        """Run fn(*args) on a worker; Dask runs it again elsewhere if the worker dies."""
        from logpx_bench.dask_worker import run_warm

        if self._closed.is_set():
            raise RuntimeError("this executor was shut down")
        call = functools.partial(fn, **kwargs) if kwargs else fn
        promised: concurrent.futures.Future[Any] = concurrent.futures.Future()
        self._waiting[promised] = remote = self._client.submit(run_warm, self._cache, call, *args, pure=False)
        promised.add_done_callback(self._release)
        remote.add_done_callback(functools.partial(self._deliver, promised))
        return promised

    def _release(self, promised: concurrent.futures.Future[Any]) -> None:
        """Let the task go: its result may leave the worker, and nothing here waits for it any longer."""
        remote = self._waiting.pop(promised)
        if not remote.done():
            remote.cancel()

    def _deliver(self, promised: concurrent.futures.Future[Any], remote: Any) -> None:
        """Keep a promise, once: an error of the task as it is, one of Dask's as a WorkerError."""
        with contextlib.suppress(concurrent.futures.InvalidStateError):  # it was cancelled, or given up
            try:
                outcome = remote.result()
            except (Exception, concurrent.futures.CancelledError) as error:
                gone = "the scheduler is gone" if remote.cancelled() else error
                told = WorkerError(f"the Dask cluster at {self._address} gave a task up: {gone}. {_THEN}")
                told.__cause__ = error
                promised.set_exception(told)
                return
            if outcome.error is None:
                promised.set_result(outcome.result)
                self._n_finished += 1
                return
            if not isinstance(outcome.error, LogpxError):
                outcome.error.add_note(f"raised on a worker, at\n{outcome.lines}")
            promised.set_exception(outcome.error)

    def _count(self) -> int:
        try:
            return sum(self._client.nthreads().values())
        except Exception:  # the scheduler does not answer: none that we could use
            return 0

    def _watch(self) -> None:
        """Count the workers; where there were none for too long, end what waits for them."""
        last_seen = time.monotonic()
        while not self._closed.wait(min(_LOOK, self._patience / 4)):
            self._n_threads = self._count()
            if self._n_threads or not self._waiting:
                last_seen = time.monotonic()
            elif time.monotonic() - last_seen > self._patience:
                for promised in list(self._waiting):
                    with contextlib.suppress(concurrent.futures.InvalidStateError):
                        promised.set_exception(
                            WorkerError(
                                f"the Dask cluster at {self._address} had no worker for {self._patience:g} s. {_THEN}"
                            )
                        )

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the watch, after the tasks if `wait`, and take the uploads back; the client and its cluster stay."""
        waiting = list(self._waiting)
        if cancel_futures:
            for promised in waiting:
                promised.cancel()
        elif wait:
            concurrent.futures.wait(waiting)
        if not self._closed.is_set():
            _forget(self._client, self._uploads)
        self._closed.set()
