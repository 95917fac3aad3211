"""What a Dask worker does before its first task: one thread for Numba, and a cache folder of its own.

Workers of one machine would write into one cache folder; each gets its own instead, in its local directory, which
Dask removes with the worker. So that no worker compiles what the sender has compiled already, tens of seconds for the
engine, its first task copies the sender's cache folder first, about a megabyte, where it can be read under the same
path: on one machine, or on a shared file system. By then the sender has compiled all that the task needs.

This file imports nothing of logpx: where the cache is must be settled before logpx is imported.
"""

import os
import shutil
import signal
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from distributed import Worker
from distributed.diagnostics.plugin import WorkerPlugin

_COPYING = threading.Lock()


class Setup(WorkerPlugin):
    """Runs on every worker of the cluster, those that join or start again later too."""

    name = "logpx-setup"

    def setup(self, worker: Worker) -> None:
        """Settle Numba's threads and the cache folder."""
        os.environ["NUMBA_NUM_THREADS"] = "1"
        os.environ["LOGPX_CACHE_DIR"] = os.path.join(worker.local_directory, "logpx-cache")


class LeaveCtrlC(WorkerPlugin):
    """On workers that are children of the sender: Ctrl-C, which a terminal sends to all of them, is for the sender."""

    name = "logpx-leave-ctrl-c"

    def setup(self, worker: Worker) -> None:
        """Ignore it."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)


class Outcome(NamedTuple):
    """What a task gave: its result, or the error that it raised, with the lines where it did."""

    result: Any = None
    error: Exception | None = None
    lines: str = ""


def run_warm(sender_cache: str, function: Callable[..., Any], /, *arguments: Any) -> Outcome:
    """function(*arguments), with the sender's compiled kernels in the worker's cache folder.

    An error of the task is an outcome like others: the worker is not at fault, and its log says nothing of it.
    """
    warm_up(Path(sender_cache), Path(os.environ["LOGPX_CACHE_DIR"]))
    try:
        return Outcome(function(*arguments))
    except Exception as error:
        return Outcome(error=error, lines="".join(traceback.format_tb(error.__traceback__)))


def warm_up(sender_cache: Path, root: Path) -> None:
    """Copy the sender's cache folder into the worker's, once."""
    done = root / f"{sender_cache.name}.copied"
    with _COPYING:
        if done.exists():
            return
        if sender_cache.is_dir():
            shutil.copytree(sender_cache, root / sender_cache.name, dirs_exist_ok=True)
        root.mkdir(parents=True, exist_ok=True)
        done.touch()
