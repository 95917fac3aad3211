"""Workers seen from the parent: started, asked, timed out, and closed. A worker that dies or hangs becomes an error
that says what it last said; the others go on.

Peers run on the Python of `.venv-peers` (`make peers`), or on the one that LOGPX_PEERS_PYTHON names, or where there is
neither on this one; logpx runs on this one.
"""

import atexit
import contextlib
import functools
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

from logpx_bench.errors import LogpxError
from logpx_bench.peers import OURS, REGISTRY
from logpx_bench.peers.worker import environment

#: Seconds that a worker may take to answer, where nothing else is said: a compilation fits in.
PATIENCE = 120.0


class PeerError(LogpxError):
    """A peer failed, hung, or died; the others are not touched."""


def interpreter(name: str) -> str:
    """The Python that a peer's worker runs on."""
    given = os.environ.get("LOGPX_PEERS_PYTHON")
    if name == OURS.name:
        return sys.executable
    if given:
        if not Path(given).is_file():
            raise PeerError(f"LOGPX_PEERS_PYTHON is {given!r}, which is no file; name a Python, or unset it")
        return given
    root = Path(__file__).resolve().parents[3]
    places = (root / ".venv-peers", Path.cwd() / ".venv-peers")
    found = (one for place in places for one in (place / "bin" / "python", place / "Scripts" / "python.exe"))
    return next((str(one) for one in found if one.exists()), sys.executable)


class Remote:
    """A worker process."""

    def __init__(self, name: str, threads: int, python: str | None = None) -> None:
        self.name, self.threads = name, threads
        python = python or interpreter(name)
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 # lives as long as the process
        self._process = subprocess.Popen(
            [python, "-m", "logpx_bench.peers.worker", name, "--threads", str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            text=True,
            bufsize=1,
            env=environment(threads, os.environ),
        )
        self._answers: queue.Queue[str | None] = queue.Queue()
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._answers.put(line)
        self._answers.put(None)

    @property
    def alive(self) -> bool:
        """Whether the process is there."""
        return self._process.poll() is None

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def ask(self, do: str, patience: float = PATIENCE, **request: Any) -> dict[str, Any]:
        """One request, and its answer.

        Raises
        ------
        PeerError
            The request failed there; or no answer came within `patience` seconds (the worker is ended), or the worker
            died: the message has the last line of what it said.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"do": do, **request}) + "\n")
            line = self._answers.get(timeout=patience)
        except (OSError, ValueError):
            line = None
        except queue.Empty:
            self.close()
            raise PeerError(f"{self.name} gave no answer to {do!r} within {patience:g} s and was stopped") from None
        if line is None:
            raise PeerError(f"{self.name}'s process died{self._ending()}: {self.last_words()}")
        answer: dict[str, Any] = json.loads(line)
        if "failed" in answer:
            raise PeerError(f"{self.name} failed at {do!r}: {answer['failed']}")
        return answer

    def _ending(self) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return f" with status {self._process.wait(timeout=5)}"
        return ""

    def last_words(self) -> str:
        """The last line that it wrote to standard error."""
        if self._said.closed:
            return "it had been stopped"
        self._said.seek(0)
        lines = self._said.read().decode(errors="replace").strip().splitlines()
        return lines[-1].strip() if lines else "nothing was said"

    def close(self) -> None:
        """End the process; a second time does nothing."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._listener.join(timeout=5)
        self._process.stdout.close()
        self._said.close()


class Pool:
    """The workers of all peers at a number of threads, kept from case to case. Use it in a `with` block or close it."""

    def __init__(self, threads: int) -> None:
        self.threads, self._remotes = threads, dict[str, Remote]()

    def start(self, names: list[str]) -> None:
        """Start those that do not run, all at once: they import their libraries beside one another."""
        for name in names:
            if name in self._remotes and not self._remotes[name].alive:
                self._remotes.pop(name).close()
            if name not in self._remotes:
                self._remotes[name] = Remote(name, self.threads)

    def __getitem__(self, name: str) -> Remote:
        self.start([name])
        return self._remotes[name]

    def close(self) -> None:
        """End them all."""
        for remote in self._remotes.values():
            remote.close()
        self._remotes.clear()

    def __enter__(self) -> "Pool":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


_POOLS: dict[int, Pool] = {}


def pool(threads: int) -> Pool:
    """This process's pool of so many threads; the others are closed, and all at exit."""
    for other in [t for t in _POOLS if t != threads]:
        _POOLS.pop(other).close()
    if threads not in _POOLS:
        if not _POOLS:
            atexit.register(_close_all)
        _POOLS[threads] = Pool(threads)
    return _POOLS[threads]


def _close_all() -> None:
    for one in _POOLS.values():
        one.close()


@functools.cache
def installed(name: str, python: str | None = None) -> dict[str, str]:
    """Versions of a peer's packages in the Python that it would run on; a package that is not there is left out."""
    program = (
        "import importlib.metadata as m, json, sys\n"
        "found = {d.metadata['Name'].lower(): d.version for d in m.distributions() if d.metadata['Name']}\n"
        "print(json.dumps({p: found[p] for p in sys.argv[1:] if p in found}))"
    )
    packages = REGISTRY[name].packages
    if not packages:
        return {}
    command = [python or interpreter(name), "-c", program, *packages]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    versions: dict[str, str] = json.loads(done.stdout) if done.returncode == 0 else {}
    return versions
