"""Workers, sweeps and races, on peers that sleep for a known time (`fake_peers`).

Exact, but for sleeping times, which are at least what was asked for and hold within a factor of two.
"""

import math
import os
import runpy
import statistics
import sys
import time
from pathlib import Path

import pytest

from logpx_bench.peers import sweep as sweeping
from logpx_bench.peers.base import Run, Variant
from logpx_bench.peers.cases import CASES
from logpx_bench.peers.pool import PeerError, Pool, Remote, interpreter
from logpx_bench.peers.race import Contestant, race
from logpx_bench.peers.sweep import ROLES, in_turns, sweep, timed
from logpx_bench.peers.worker import LONG, THREAD_VARIABLES, Slot, Worker, environment

CASE = "chain_ppca_2_8"
#: Seconds that a call of each way of the fake peer sleeps, and so takes at least.
SECONDS = runpy.run_path(str(Path(__file__).with_name("fake_peers.py")))["SECONDS"]


@pytest.fixture(scope="module")
def start():
    """Starts workers of fake peers on this Python; they are closed at the end."""
    paths = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    started = []

    def start(name):
        started.append(Remote(f"fake_peers:{name}", threads=1, python=sys.executable))
        return started[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
        yield start
    for one in started:
        one.close()
        assert not one.alive


@pytest.fixture(scope="module")
def fake(start):
    """The worker of the fake peer that lives."""
    return start("FAKE")


def prepare(remote, way="fast", slot="s"):
    variant = Variant.of(way == "slow", way=way).to_dict()
    return remote.ask("prepare", case=CASE, dtype="float64", variant=variant, slot=slot)


def test_a_worker_answers_whatever_its_library_prints(fake):
    assert fake.ask("describe") == {"versions": {}}
    told = fake.ask("variants", case=CASE, dtype="float64")["variants"]
    assert [Variant.from_dict(one)["way"] for one in told] == ["slow", "sly", "fast", "wrong", "broken"]
    made = prepare(fake)
    assert made["n"] == CASES[CASE].n
    assert made["seconds"] > 0.003
    answer = fake.ask("run", slot="s", seed=5, seconds=0.02)
    assert answer["error"] == 0.0 < answer["allowed"]
    assert answer["value"] in CASES[CASE].data["exact"]
    assert 2 <= len(answer["seconds"]) <= 7
    assert all(0.003 <= one < 0.1 for one in answer["seconds"])


def test_what_fails_is_said_and_the_worker_goes_on(fake):
    with pytest.raises(PeerError, match=r"failed at 'prepare': RuntimeError: no such instruction$"):
        prepare(fake, "broken")
    with pytest.raises(PeerError, match="failed at 'run': KeyError"):
        fake.ask("run", slot="never", seed=0, seconds=0.0)
    assert prepare(fake)["n"]


def test_a_worker_that_dies_leaves_its_last_words(start):
    remote = start("DYING")
    prepare(remote)
    with pytest.raises(PeerError, match=r"DYING's process died with status 3: out of luck$"):
        remote.ask("run", slot="s", seed=1000, seconds=0.0)
    with pytest.raises(PeerError, match="out of luck"):
        remote.ask("describe")


def test_a_worker_that_hangs_is_stopped(start):
    remote = start("HANGING")
    remote.ask("describe")
    begin = time.perf_counter()
    with pytest.raises(PeerError, match=r"no answer to 'prepare' within 0\.3 s and was stopped"):
        remote.ask("prepare", patience=0.3, case=CASE, dtype="float64", variant=Variant.of(way="x").to_dict(), slot="s")
    assert not remote.alive
    assert time.perf_counter() - begin < 10


@pytest.mark.parametrize(
    ("name", "reason"), [("NOT_INSTALLED", "no-such-distribution is not installed"), ("UNABLE", "the moon is not full")]
)
def test_a_peer_that_is_absent_says_why(start, name, reason):
    assert reason in start(name).ask("describe")["absent"]


def test_a_sweep_finds_the_best_and_keeps_everything_on_record(fake):
    found = sweep(fake, CASE, "float64", budget=60.0)
    assert {role: one.variant["way"] for role, one in found.roles.items()} == {
        "best": "sly",
        "library": "fast",
        "as written": "slow",
    }
    assert set(found.slots) == set(ROLES)
    by_way = {one.variant["way"]: one for one in found.tried}
    assert by_way["sly"].ns < by_way["fast"].ns < by_way["slow"].ns
    assert by_way["wrong"].ns is None
    assert "off by 1" in by_way["wrong"].note
    assert "no such instruction" in by_way["broken"].note
    for role, way in (("best", "sly"), ("library", "fast"), ("as written", "slow")):
        seconds = 1e-9 * CASES[CASE].n * min(timed(fake, found.slots[role], 0, 0.0) for _ in range(5))
        assert SECONDS[way] <= seconds < 1.9 * SECONDS[way]
    with pytest.raises(PeerError, match="KeyError"):  # the wrong one's slot is empty
        timed(fake, "try 3", 0, 0.0)


def test_one_that_is_wrong_in_the_finals_does_not_take_the_others_along(start):
    remote = start("FADING")
    found = sweep(remote, CASE, "float64", budget=60.0)
    assert {role: one.variant["way"] for role, one in found.roles.items()} == dict.fromkeys(ROLES, "steady")
    by_way = {one.variant["way"]: one for one in found.tried}
    assert (by_way["fading"].ns, by_way["breaking"].ns) == (None, None)
    assert "off by 1" in by_way["fading"].note
    assert "worn out" in by_way["breaking"].note
    assert timed(remote, found.slots["best"], 0, 0.0) > 0
    with pytest.raises(PeerError, match="KeyError"):  # its slot is empty
        timed(remote, "try 1", 0, 0.0)


def test_a_sweep_without_time_tries_the_first_of_either_kind_and_says_so_of_the_rest(fake):
    found = sweep(fake, CASE, "float64", budget=0.0)
    assert [one.variant["way"] for one in found.tried if one.ns is not None] == ["slow", "fast", "sly"]
    assert {one.note for one in found.tried[3:]} == {"not tried: the time for the search was up"}


def test_long_calls_keep_the_time_that_they_have(fake, monkeypatch):
    """The fast one's call is longer than what the finals would give it: it is not run again, the faster one is."""
    asked = []
    monkeypatch.setattr(sweeping, "timed", lambda remote, slot, *rest: asked.append(slot) or timed(remote, slot, *rest))
    monkeypatch.setattr(sweeping, "LONGER", 0.0029 / sweeping.REPEATS)
    sweep(fake, CASE, "float64", budget=60.0)
    slots = ["try 0", "try 1", "try 2", "try 3", *["try 2"] * sweeping.REPEATS]
    assert sorted(asked) == sorted(slots)


def test_variants_take_turns_by_kind():
    ways = [Variant.of(n == 3, n=n, form="reduced" if n < 3 else "direct") for n in range(8)]
    assert [one["n"] for one in in_turns(ways)] == [3, 4, 0, 5, 1, 6, 2, 7]


@pytest.fixture
def slow_slot(monkeypatch):
    """A worker with one slot, whose call takes 4 ms by its clock, and the seeds that it was called with."""
    worker, calls = Worker("numpy", threads=1), []
    exact = CASES[CASE].data["exact"]

    clock = [0.0]
    monkeypatch.setattr("logpx_bench.peers.worker.time.perf_counter", lambda: clock[0])

    def call(seed):
        calls.append(seed)
        clock[0] += 0.004
        return exact[CASES[CASE].row(seed)]

    worker.slots["s"] = Slot(CASES[CASE], "float64", Run(call, 1))
    return worker, calls


def test_calls_that_are_not_timed_go_on_for_the_time_of_the_warm_up(slow_slot):
    worker, calls = slow_slot
    timed = worker.run("s", seed=3, seconds=0.0, warm_up=0.01)["seconds"]
    assert timed == [pytest.approx(0.004)]
    assert len(calls) - len(timed) == 3
    assert worker.slots["s"].took == timed[0]


def test_a_long_call_is_not_warmed_up_for(slow_slot):
    worker, calls = slow_slot
    worker.slots["s"].took = 1.01 * LONG * 0.01
    worker.run("s", seed=3, seconds=0.0, warm_up=0.01)
    assert calls == [3]


def test_a_sweep_of_a_case_that_a_peer_does_not_do(fake):
    found = sweep(fake, "exp", "float64", budget=1.0)
    assert (found.tried, found.roles, found.slots) == ([], {}, {})
    assert {found.note(role) for role in ROLES} == {"it does not do this case"}


def test_a_race_is_in_turns_and_goes_on_without_those_that_drop_out(fake, start):
    good, dying = fake, start("DYING")
    prepare(good, "fast", "a")
    prepare(good, "slow", "b")
    prepare(good, "wrong", "c")
    prepare(dying, "dying", "d")
    sides = [Contestant("fake", ("x",), good, slot) for slot in "abc"] + [Contestant("dying", ("x",), dying, "d")]
    race(sides, rounds=4, seconds=0.0)
    fast, slow, wrong, died = sides
    assert 2.0 < statistics.median(slow.ns) / statistics.median(fast.ns) < 8.0
    assert all(map(math.isnan, wrong.ns))
    assert "off by 1" in wrong.note
    assert [math.isnan(one) for one in died.ns] == [False, True, True, True]
    assert "out of luck" in died.note


def test_everyone_is_first_in_turn():
    order = []

    class Runner(Contestant):
        def turn(self, seed, seconds):
            order.append((self.name, seed))

    race([Runner(name, ("best",), None, "") for name in "abc"], rounds=4, seed=7)
    assert "".join(name for name, _ in order) == "abc" + "bca" + "cab" + "abc"
    assert [seed for _, seed in order[::3]] == [7, 1007, 2007, 3007]


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="there is no /proc here")
def test_an_idle_worker_leaves_the_cores_alone(fake):
    prepare(fake)

    def ticks():
        fields = Path(f"/proc/{fake.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])

    before = ticks()
    time.sleep(0.5)
    assert ticks() - before <= 0.02 * os.sysconf("SC_CLK_TCK")


def test_a_worker_is_told_its_threads_and_keeps_to_its_cores(fake):
    told = environment(3, {"PATH": "x", "OMP_NUM_THREADS": "64"})
    assert {told[name] for name in THREAD_VARIABLES} == {"3"}
    assert (told["PATH"], told["OMP_WAIT_POLICY"]) == ("x", "passive")
    if hasattr(os, "sched_getaffinity"):
        fake.ask("describe")
        assert len(os.sched_getaffinity(fake.pid)) == 1


def test_the_peers_python_is_the_one_that_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("LOGPX_PEERS_PYTHON", str(tmp_path / "python"))
    with pytest.raises(PeerError, match=r"LOGPX_PEERS_PYTHON is .* which is no file"):
        interpreter("numpy")
    (tmp_path / "python").touch()
    assert interpreter("numpy") == str(tmp_path / "python")
    assert interpreter("logpx") != str(tmp_path / "python")


def test_a_pool_starts_a_worker_again_where_one_died():
    with Pool(threads=1) as pool:
        first = pool["numpy"]
        assert pool["numpy"] is first
        first.close()
        assert pool["numpy"] is not first
        assert "numpy" in pool["numpy"].ask("describe")["versions"]
