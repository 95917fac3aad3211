"""A peer's own process: `python -m logpx_bench.peers.worker PEER --threads T`. JSON lines in, JSON lines out.

    {"do": "describe"}                                   → {"versions": {…}} or {"absent": reason}
    {"do": "variants", "case", "dtype"}                  → {"variants": [{"options", "as_written"}, …]}
    {"do": "prepare", "case", "dtype", "variant", "slot"} → {"seconds": compile and warm-up, "n": elements a run}
    {"do": "run", "slot", "seed", "seconds", "warm_up"}   → {"seconds": [each call], "n", "value", "error", "allowed"}
    {"do": "drop", "slot"}                                → {}
    {"do": "close"}                                       → the process ends

Several variants may be prepared at a time, each in a slot of its own. A run calls the variant with the seeds seed,
seed + 1, … until the budget of seconds is spent, once at least; the clock is around the call alone, and the last
result is held against the right answer outside of it. To warm up, calls that are not timed go before, until `warm_up`
seconds are spent, unless the last timed call took more than LONG times as much: what is cold at its start then weighs
little. What goes wrong comes back as {"failed": message} and the process goes on.

A process of its own keeps thread pools apart. It may use T cores: it is pinned to T of those that it was given, and
told so by every library's own variable (set by the parent, see `environment`). Pools sleep and do not spin between
runs: an idle worker leaves the cores to the one that is timed. PEER is a name of `REGISTRY`, or module:attribute.
"""

import argparse
import contextlib
import importlib
import json
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from logpx_bench.peers import REGISTRY
from logpx_bench.peers.base import Peer, Run, Variant
from logpx_bench.peers.cases import CASES, Case

#: Variables that tell a library how many threads it may use.
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)


def environment(threads: int, base: Mapping[str, str]) -> dict[str, str]:
    """The environment of a worker: so many threads in every library, and pools that sleep while they wait."""
    sleeping = {"OMP_WAIT_POLICY": "passive", "KMP_BLOCKTIME": "0", "GOMP_SPINCOUNT": "0"}
    return {**base, **dict.fromkeys(THREAD_VARIABLES, str(threads)), **sleeping, "PYTHONUNBUFFERED": "1"}


def pin(threads: int) -> None:
    """Keep this process, every thread that it has by now, to the first `threads` of its cores, where the system can."""
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))[:threads]
        for task in Path("/proc/self/task").iterdir():
            os.sched_setaffinity(int(task.name), cores)


def find(name: str) -> Peer:
    """A peer by its registry name, or one of your own as module:attribute."""
    if ":" not in name:
        return REGISTRY[name]
    module, _, attribute = name.partition(":")
    peer: Peer = getattr(importlib.import_module(module), attribute)
    return peer


#: A call this many times as long as the warm-up needs none.
LONG = 5.0


@dataclass
class Slot:
    """A prepared variant, and the seconds that its last timed call took."""

    case: Case
    dtype: str
    run: Run
    took: float = 0.0


class Worker:
    """Answers requests for one peer."""

    def __init__(self, name: str, threads: int) -> None:
        self.peer, self.threads = find(name), threads
        self.slots: dict[str, Slot] = {}

    def describe(self) -> dict[str, Any]:
        """Versions, or why it is absent."""
        reason = self.peer.available()
        return {"versions": self.peer.versions()} if reason is None else {"absent": reason}

    def variants(self, case: str, dtype: str) -> dict[str, Any]:
        """What it can do of a case."""
        return {"variants": [one.to_dict() for one in self.peer.variants(CASES[case], dtype)]}

    def prepare(self, case: str, dtype: str, variant: Mapping[str, Any], slot: str) -> dict[str, Any]:
        """Build a variant, call it once, and keep it in a slot."""
        start = time.perf_counter()
        run = self.peer.build(CASES[case], dtype, self.threads, Variant.from_dict(variant))
        run.call(0)
        self.slots[slot] = Slot(CASES[case], dtype, run)
        return {"seconds": time.perf_counter() - start, "n": run.n}

    def run(self, slot: str, seed: int, seconds: float, warm_up: float = 0.0) -> dict[str, Any]:
        """Time it, then hold its last result against the right answer."""
        prepared = self.slots[slot]
        case, run = prepared.case, prepared.run
        begin = time.perf_counter()
        while prepared.took <= LONG * warm_up and time.perf_counter() - begin < warm_up:
            run.call(seed)
        spent: list[float] = []
        while not spent or sum(spent) < seconds:
            start = time.perf_counter()
            result = run.call(seed)
            spent.append(time.perf_counter() - start)
            seed += 1
        prepared.took = spent[-1]
        verdict = case.check(result, seed - 1, run.n, prepared.dtype)
        return {"seconds": spent, "n": run.n, **verdict._asdict()}

    def drop(self, slot: str) -> dict[str, Any]:
        """Empty a slot; the case's data go with its last one."""
        dropped = self.slots.pop(slot, None)
        if dropped is not None and all(one.case is not dropped.case for one in self.slots.values()):
            dropped.case.forget()
        return {}


def serve(name: str, threads: int) -> None:
    """Answer until told to close or the input ends. Whatever libraries print goes to standard error."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    worker = Worker(name, threads)
    for line in sys.stdin:
        request = json.loads(line)
        action = request.pop("do")
        if action == "close":
            return
        try:
            answer = getattr(worker, action)(**request)
        except Exception as error:  # whatever a library raises becomes an answer
            answer = {"failed": f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0]}"}
        with contextlib.suppress(BrokenPipeError):
            answers.write(json.dumps(answer) + "\n")


def main() -> None:
    """Read the command line, pin, serve."""
    parser = argparse.ArgumentParser(description="a peer's process")
    parser.add_argument("peer")
    parser.add_argument("--threads", type=int, required=True)
    given = parser.parse_args()
    pin(given.threads)
    serve(given.peer, given.threads)


if __name__ == "__main__":
    main()
