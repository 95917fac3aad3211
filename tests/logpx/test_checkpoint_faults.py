"""Faults, each really done to a run in a process of its own: kill -9, Ctrl-C, a full disk, two at once, an edited file.

After each the same call goes on, and the result must have the bits of a run that was never broken off.
"""

import contextlib
import itertools
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import logpx
from logpx import Checkpoint, checkpoint, engine, interrupt, storefile
from logpx.errors import StoreError

PPCA, X = logpx.models.PPCA.example()
PROGRAM = Path(__file__).with_name("forked_runs.py")
#: A run of some 35 tasks of milliseconds, and one of three streams with open groups.
SMALL = {"CHUNK": 1 << 17, "SMALLEST": 1 << 17, "TASK_SECONDS": 0.0, "COMMIT_SECONDS": 0.0}
MANY = {"engine": SMALL, "options": {"n_samples": (1 << 22) + 1234, "threads": 2}}
GROUPS = {
    "engine": {"COMMIT_SECONDS": 0.0},
    "rows": 3,
    "options": {"n_samples": (3 << 20) + 777, "groups": [50, 5000], "threads": 2},
}
#: One that would take minutes.
ENDLESS = {"engine": SMALL, "options": {"n_samples": 1 << 34, "threads": 2}}


class Forks:
    """Forked runs (see forked_runs.py), one at a time."""

    def __init__(self, folder):
        self.folder, self.number = folder, 0
        command = [sys.executable, str(PROGRAM)]
        self.program = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.program.stdout.readline() == "ready\n"

    def start(self, request, path=None):
        """Begin a run; its process."""
        self.number += 1
        self.events, self.result = (self.folder / f"{kind}{self.number}" for kind in ("events", "result"))
        self.events.touch()
        options = request["options"] | ({"checkpoint": str(path)} if path else {})
        files = {"events": str(self.events), "result": str(self.result)}
        print(json.dumps(request | {"options": options} | files), file=self.program.stdin, flush=True)
        return int(self.program.stdout.readline())

    def wait_for(self, n):
        """Until there were n events (one before and one after every commit), or the run is over."""
        while self.events.stat().st_size < n and not self.result.exists():
            time.sleep(0.0005)

    def end(self):
        """How it ended, and the answer if there is one."""
        status = int(self.program.stdout.readline())
        return status, json.loads(self.result.read_text()) if self.result.exists() else None

    def run(self, request, path=None):
        self.start(request, path)
        status, answer = self.end()
        assert status == 0
        return answer


@pytest.fixture(scope="module")
def forks(tmp_path_factory):
    made = Forks(tmp_path_factory.mktemp("forks"))
    yield made
    made.program.stdin.close()
    assert made.program.wait(timeout=30) == 0
    made.program.stdout.close()


@pytest.fixture(scope="module")
def unbroken(forks):
    """What the two runs give."""
    return {"many": forks.run(MANY), "groups": forks.run(GROUPS)}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run.sqlite"


def stored(path):
    with Checkpoint.open(path) as file:
        return len(file.rows())


# --- kill -9 -----------------------------------------------------------------------------------------------


def test_kill_9_at_twenty_moments(forks, unbroken, tmp_path):
    """Before, in and after a commit, at the first and at the last, three times in the same run."""
    rng, midway = np.random.default_rng(1), 0
    for trial in range(20):
        name, request, n_events = ("groups", GROUPS, 18) if trial % 4 == 3 else ("many", MANY, 68)
        path = tmp_path / f"{trial}.sqlite"
        for _ in range(3 if trial % 5 == 0 else 1):
            process = forks.start(request, path)
            forks.wait_for(rng.integers(0, n_events))
            time.sleep(rng.uniform(0.0, 0.004))
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
            status, _ = forks.end()
            if status == -signal.SIGKILL and path.exists():
                midway += 0 < stored(path) < n_events // 2
        resumed = forks.run(request, path)
        assert resumed == unbroken[name], f"trial {trial}"
    assert midway >= 10, "most of them must have been killed in the midst of it"


# --- Ctrl-C ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_events", [1, 9, 40])
def test_ctrl_c_gives_the_estimate_so_far_and_the_same_call_goes_on(n_events, forks, path):
    longer = MANY | {"options": {"n_samples": (1 << 24) + 1234, "threads": 2}}
    process = forks.start(longer, path)
    forks.wait_for(n_events)
    os.kill(process, signal.SIGINT)
    _, answer = forks.end()
    assert answer["error"] == "Interrupted"
    assert f"The same call goes on from there: finished tasks are in {path}" in answer["says"]
    so_far = answer["so_far"]
    assert so_far["n"] > 0
    assert f"stopped after {so_far['n']:,} of 16,778,450 samples: log p̂ = -8.09" in answer["says"]
    assert " ± " in answer["says"]
    assert forks.run({"options": {"n_samples": so_far["n"]}}) == so_far
    assert forks.run(longer, path) == forks.run(longer)


def test_ctrl_c_without_a_checkpoint_says_what_would_have_helped(forks):
    process = forks.start(ENDLESS)
    time.sleep(0.3)
    os.kill(process, signal.SIGINT)
    _, answer = forks.end()
    assert "Give checkpoint='run.sqlite' to be able to go on" in answer["says"]
    assert forks.run({"options": {"n_samples": answer["so_far"]["n"]}}) == answer["so_far"]


def test_a_second_ctrl_c_stops_at_once(forks, path):
    """Tasks of about half a second: the second comes while the first still waits for them."""
    long = {"engine": {"CHUNK": 1 << 25, "SMALLEST": 1 << 25}, "options": {"n_samples": 1 << 34, "threads": 2}}
    process = forks.start(long, path)
    time.sleep(0.2)
    os.kill(process, signal.SIGINT)
    time.sleep(0.05)
    os.kill(process, signal.SIGINT)
    _, answer = forks.end()
    assert (answer["error"], answer["so_far"]) == ("KeyboardInterrupt", None)
    assert not path.with_name("run.sqlite-lock").exists()


SCRIPT = """
import logpx, pathlib, sys
model, x = logpx.models.PPCA.example()
logpx.estimate(model, x[0], n_samples=2048)
print("begins", flush=True)
logpx.estimate(model, x[0], n_samples=1 << 36, checkpoint=sys.argv[1])
"""


def test_ctrl_c_in_a_script_says_so(path):
    command = [sys.executable, "-c", SCRIPT, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as script:
        assert script.stdout.readline() == "begins\n"
        while not path.exists() or not stored(path):
            time.sleep(0.01)
        script.send_signal(signal.SIGINT)
        try:
            said = script.communicate(timeout=60)[1]
        finally:
            script.kill()
    assert script.returncode == 1
    assert said.strip().splitlines()[-1].startswith("logpx.errors.Interrupted: stopped after ")


def test_a_handler_of_the_program_is_left_alone():
    seen = []
    before = signal.signal(signal.SIGINT, lambda *_: seen.append(1))
    try:
        with interrupt.watched() as stopped:
            os.kill(os.getpid(), signal.SIGINT)
            assert not stopped
    finally:
        signal.signal(signal.SIGINT, before)
    assert seen == [1]
    with interrupt.watched() as stopped:
        os.kill(os.getpid(), signal.SIGINT)
        assert stopped
    assert signal.getsignal(signal.SIGINT) is before


# --- the disk ----------------------------------------------------------------------------------------------


@contextlib.contextmanager
def small_disk(folder, size):
    """A tmpfs of so many bytes; None where it may not be mounted."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode:
        yield None
        return
    try:
        yield lambda larger: subprocess.run(["mount", "-o", f"remount,size={larger}", str(folder)], check=True)
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk(forks, unbroken, tmp_path):
    """A disk of 800 kB takes some ten tasks."""
    with small_disk(tmp_path / "disk", 800_000) as grow:
        path = tmp_path / "disk" / "run.sqlite"
        if grow is None:
            pytest.skip("no tmpfs may be mounted here; test_a_file_that_may_not_grow stands for it")
        answer = forks.run(MANY, path)
        assert answer["error"] == "DiskError"
        n = stored(path)
        assert 3 < n < 30
        with Checkpoint.open(path) as file:
            safe = file.n_samples
        assert f"{path}: the disk is full" in answer["says"]
        assert f"the first {safe:,} samples of every stream are there, and the same call goes on" in answer["says"]
        assert forks.run(MANY, path)["error"] == "DiskError", "again, as long as there is no room"
        assert stored(path) >= n
        grow(40_000_000)
        assert forks.run(MANY, path) == unbroken["many"]


def test_a_file_that_may_not_grow(forks, unbroken, path):
    answer = forks.run(MANY | {"largest_file": 500_000}, path)
    assert answer["error"] == "DiskError"
    assert "the disk is full, or fails" in answer["says"]
    assert stored(path) > 3
    assert forks.run(MANY, path) == unbroken["many"]


def test_no_room_even_to_begin(forks, tmp_path, unbroken):
    for limit in (0, 5000, 12_000, 20_000, 40_000):
        path = tmp_path / f"{limit}.sqlite"
        answer = forks.run(MANY | {"largest_file": limit}, path)
        assert "the disk is full, or fails" in answer.get("says", ""), answer
        assert forks.run(MANY, path) == unbroken["many"]
        assert sorted(tmp_path.iterdir()) == [path]
        path.unlink()


# --- others at the same file -------------------------------------------------------------------------------


def test_two_runs_at_once(forks, path):
    process = forks.start(ENDLESS, path)
    forks.wait_for(10)
    with pytest.raises(StoreError, match=f"is being written by process {process} on .*one process writes at a time"):
        logpx.estimate(PPCA, X[0], n_samples=5000, checkpoint=path)
    with Checkpoint.open(path) as file:
        assert file.n_samples > 0, "reading is allowed meanwhile"
        before = file.n_samples
    forks.wait_for(forks.events.stat().st_size + 64)  # enough that a chunk which others overtook is there
    os.kill(process, signal.SIGKILL)
    forks.end()
    with Checkpoint.open(path) as file:
        assert file.n_samples > before
    made = logpx.estimate(PPCA, X[0], n_samples=5000, checkpoint=path)
    assert made.ladder == logpx.estimate(PPCA, X[0], n_samples=5000).ladder
    assert sorted(path.parent.iterdir()) == [path]


#: A program that has a file locked until it is told to let it go.
HOLDER = """
import sqlite3, sys
file = sqlite3.connect(sys.argv[1], isolation_level=None)
file.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.readline()
file.execute("ROLLBACK")
"""


def test_another_process_that_holds_the_file(path, monkeypatch):
    made = logpx.estimate(PPCA, X[0], n_samples=4096, checkpoint=path)
    command = [sys.executable, "-c", HOLDER, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "held\n"
        monkeypatch.setattr(storefile, "PATIENCE", 0.2)
        with pytest.raises(StoreError, match=r"another program has it locked, and did for 0.2 s"):
            logpx.estimate(PPCA, X[0], n_samples=1 << 14, checkpoint=path)
        assert logpx.estimate(PPCA, X[0], n_samples=4096, checkpoint=path).ladder == made.ladder, "nothing to write"
        monkeypatch.setattr(storefile, "PATIENCE", 30.0)
        threading.Timer(0.3, lambda: print(file=other.stdin, flush=True)).start()
        more = logpx.estimate(PPCA, X[0], n_samples=1 << 14, checkpoint=path)
    assert more.ladder == logpx.estimate(PPCA, X[0], n_samples=1 << 14).ladder


def test_a_clock_that_jumps_back(path, monkeypatch):
    """An hour at every look: durations stay positive, and tasks are committed as they end, not all at last."""
    logpx.estimate(PPCA, X[0], n_samples=1 << 16, checkpoint=path)
    hours, commits, add = itertools.count(), [], Checkpoint.add
    monkeypatch.setattr(time, "time", lambda: 1.7e9 - 3600.0 * next(hours))
    monkeypatch.setattr(checkpoint, "_now", lambda: f"{1999 - next(hours)}-01-01T00:00:00+00:00")
    monkeypatch.setattr(engine, "COMMIT_SECONDS", 1e-6)
    monkeypatch.setattr(Checkpoint, "add", lambda *given: commits.append(len(given) - 1) or add(*given))
    made = logpx.estimate(PPCA, X[0], n_samples=1 << 18, threads=1, checkpoint=path)
    monkeypatch.undo()
    assert 0 < made.seconds < 60
    assert len(commits) == sum(commits) > 1, "a commit a task"
    assert made.ladder == logpx.estimate(PPCA, X[0], n_samples=1 << 18).ladder
    with contextlib.closing(sqlite3.connect(path)) as file:
        assert all(0 < seconds < 60 for (seconds,) in file.execute("SELECT seconds FROM tasks"))


# --- a user's kernel ---------------------------------------------------------------------------------------

KERNEL = """
import numpy as np
import a_helper
import logpx
from logpx.proposals import Gaussian

@logpx.per_sample
def shift(theta, dims, x, z):
    return -0.5 * z[0] * z[0] + a_helper.likelihood(x[0] - z[0])

model = logpx.Model(shift, [1.0], 1, prior=Gaussian([0.0], [1.0]))
x = np.array([0.4])
"""
HELPER = "import numba\n@numba.njit\ndef likelihood(t):\n    return {} * t * t\n"


def test_a_kernel_whose_imported_helper_was_edited_does_not_run_stale(forks, tmp_path):
    """In processes of their own: the new answer, and no going on from the old one."""
    (tmp_path / "kernel.py").write_text(KERNEL)
    path, request = tmp_path / "run.sqlite", {"file": str(tmp_path / "kernel.py"), "options": {"n_samples": 1 << 15}}
    (tmp_path / "a_helper.py").write_text(HELPER.format("-0.5"))
    old = forks.run(request, path)
    assert forks.run(request, path) == old
    (tmp_path / "a_helper.py").write_text(HELPER.format("-2.50"))
    new = forks.run(request)
    assert new["numbers"] != old["numbers"]
    refusal = forks.run(request, path)["says"]
    assert "log_joint: another kernel, or one whose code, or that of something it calls, was edited" in refusal
    assert "a_users_file.shift" in refusal
