"""Peers that sleep for a known time and give the right answer, a wrong one, or none; imported by worker processes."""

import os
import sys
import time

from logpx_bench.peers.base import Peer, Run, Variant


def variants(case, dtype):
    """A slow way (as written), a faster one that is not the library's, a fast one, one that is wrong, and one that
    cannot be built."""
    if case.kind != "chain":
        return []
    ways = [Variant.of(way == "slow", way=way) for way in ("slow", "fast", "wrong", "broken")]
    return [ways[0], Variant.of(way="sly", form="reduced"), *ways[1:]]


SECONDS = {
    "slow": 0.012,
    "sly": 0.0015,
    "fast": 0.003,
    "wrong": 0.001,
    "fading": 0.011,
    "breaking": 0.011,
    "steady": 0.02,
}


def build(case, dtype, threads, variant):
    way = variant["way"]
    print("libraries talk while they are built")
    if way == "broken":
        raise RuntimeError("no such instruction\nand more")

    def call(seed):
        time.sleep(SECONDS[way])
        return case.data["exact"][case.row(seed)] + (1.0 if way == "wrong" else 0.0)

    return Run(call, case.n)


def only(way):
    return lambda case, dtype: [Variant.of(True, way=way)]


def build_fading(case, dtype, threads, variant):
    """Of the one way, right twice (when it is prepared, and in a short run, which its one call fills) and wrong, or
    broken, from then on."""
    way, calls = variant["way"], []

    def call(seed):
        calls.append(seed)
        time.sleep(SECONDS[way])
        if way == "breaking" and len(calls) > 2:
            raise RuntimeError("worn out")
        return case.data["exact"][case.row(seed)] + (1.0 if way == "fading" and len(calls) > 2 else 0.0)

    return Run(call, case.n)


def build_dying(case, dtype, threads, variant):
    def call(seed):
        if seed >= 1000:
            print("a line before", file=sys.stderr)
            print("out of luck", file=sys.stderr, flush=True)
            os._exit(3)
        time.sleep(0.002)
        return case.data["exact"][case.row(seed)]

    return Run(call, case.n)


def build_hanging(case, dtype, threads, variant):
    return Run(lambda seed: time.sleep(60), case.n)


FAKE = Peer("fake", "sleeps", (), variants, build)
FADING = Peer(
    "fading",
    "is right once",
    (),
    lambda case, dtype: [Variant.of(way == "steady", way=way) for way in ("steady", "fading", "breaking")],
    build_fading,
)
DYING = Peer("dying", "dies in its second round", (), only("dying"), build_dying)
HANGING = Peer("hanging", "never answers", (), only("hanging"), build_hanging)
NOT_INSTALLED = Peer("ghost", "is not there", ("no-such-distribution",), variants, build)
UNABLE = Peer("unable", "cannot run here", (), variants, build, missing=lambda: "the moon is not full")
