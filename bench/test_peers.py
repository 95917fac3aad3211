"""logpx beside its peers, in small: each one's likeliest variant against ours, in its own process; and the guard.

The whole race, every variant swept, is `logpx run peers`. Here each case has ours and one variant a peer, and the
chain of two latents NumPy's as its user would first write it too; float64, one thread, five rounds in turn.
`extra_info` carries nanoseconds an element by the worker's own clock, and the ratio to ours with its quartiles and its
95 % interval (wide: five rounds). (The table's times are those of a request, and hold its tenth of a millisecond on the
way there and back.) An answer must be right before its time counts (see `logpx_bench.peers.cases`). The peers run on
the Python of `make peers` where it is there, otherwise on this one; what is not installed is skipped with the reason.

The guard is a test of this process alone: ours against plain Numba, as a user would write it, at a bound of about half
the ratio that was measured. Ratios of nine rounds in turn, the median of them, the best of three attempts: other
processes slow both sides alike. It runs in plain `pytest` too.
"""

import itertools
import statistics
import time

import pytest

from logpx_bench.moments import ratio
from logpx_bench.peers import OURS, REGISTRY
from logpx_bench.peers.cases import CASES
from logpx_bench.peers.numba_ import NUMBA
from logpx_bench.peers.pool import Pool
from logpx_bench.peers.race import Contestant, race
from logpx_bench.peers.sweep import timed

SHARE = "share of the error that is allowed"
LIKELIEST, WRITTEN = "likeliest", "as written"
RACES = [
    (case, peer, LIKELIEST)
    for case, peer in itertools.product(CASES, REGISTRY)
    if case != "logsumexp_memory" and REGISTRY[peer].variants(CASES[case], "float64")
]
RACES.append(("chain_ppca_2_8", "numpy", WRITTEN))


@pytest.fixture(scope="module")
def workers():
    with Pool(threads=1) as pool:
        yield pool


def prepared(workers, name, case, role=LIKELIEST):
    """The peer's worker and the slot of its variant in a role; a skip, with the reason, where there is none."""
    answer = workers[name].ask("describe")
    if "absent" in answer:
        pytest.skip(f"{name}: {answer['absent']}")
    variants = workers[name].ask("variants", case=case, dtype="float64")["variants"]
    if not variants:
        pytest.skip(f"{name} does not do {case}")
    slot, likeliest = f"{case} {role}", variants[min(1, len(variants) - 1)]
    variant = next(one for one in variants if one["as_written"]) if role == WRITTEN else likeliest
    workers[name].ask("prepare", case=case, dtype="float64", variant=variant, slot=slot)
    return workers[name], slot


@pytest.mark.parametrize(("case", "peer", "role"), RACES, ids=["-".join(one) for one in RACES])
def test_peer(benchmark, workers, case, peer, role):
    if benchmark.disabled:
        pytest.skip("races are run when they are timed: pytest --benchmark-only")
    remote, slot = prepared(workers, peer, case, role)
    ours, our_slot = prepared(workers, OURS.name, case)
    sides = [Contestant(OURS.name, ("best",), ours, our_slot), Contestant(peer, (role,), remote, slot)]
    race(sides, rounds=5, seconds=0.005)
    assert not any(one.note for one in sides), [one.note for one in sides]
    seeds = itertools.count(1)
    answer = remote.ask("run", slot=slot, seed=0, seconds=0.0)
    found = ratio(sides[1].ns, sides[0].ns)
    benchmark.group = f"peers, {CASES[case].summary}"
    benchmark.extra_info.update(
        n=answer["n"],
        error=answer["error"] / answer["allowed"],
        error_is=SHARE,
        ns_per_element=statistics.median(sides[1].ns),
        ratio_to_ours=found.median,
        ratio_quartiles=[found.lower, found.upper],
        ratio_interval=[found.low, found.high],
    )
    benchmark(lambda: timed(remote, slot, next(seeds), 0.0))
    for one, where in ((remote, slot), (ours, our_slot)):
        one.ask("drop", slot=where)


# -- the guard -------------------------------------------------------------------------------------------------

#: The least ratio of plain Numba's time to ours.
GUARD = {"normals": 10.0, "exp": 3.0, "logsumexp_cache": 4.0, "chain_ppca_2_8": 2.5}


def ratio_of(theirs, ours, rounds=9):
    """The median of the ratios, each of two calls in turn."""
    ratios = []
    for seed in range(rounds):
        times = []
        for run in (ours, theirs):
            start = time.perf_counter()
            run.call(seed)
            times.append((time.perf_counter() - start) / run.n)
        ratios.append(times[1] / times[0])
    return statistics.median(ratios)


@pytest.mark.parametrize("case", GUARD)
def test_ours_is_faster_than_plain_numba(benchmark, case):
    sides = {}
    for peer in (NUMBA, OURS):
        sides[peer.name] = peer.build(CASES[case], "float64", 1, peer.variants(CASES[case], "float64")[0])
        verdict = CASES[case].check(sides[peer.name].call(1), 1, sides[peer.name].n, "float64")
        assert verdict.right, (peer.name, verdict)
    found = []
    while len(found) < 3 and max(found, default=0.0) < GUARD[case]:
        found.append(ratio_of(sides[NUMBA.name], sides[OURS.name]))
    assert max(found) >= GUARD[case], f"plain Numba takes {found} times as long as ours; {GUARD[case]} is the least"
    ours = sides[OURS.name]
    benchmark.group = "guard: ours, beside plain Numba"
    benchmark.extra_info.update(
        n=ours.n, error=verdict.error / verdict.allowed, error_is=SHARE, ratio_to_plain_numba=max(found)
    )
    seeds = itertools.count(2)
    benchmark(lambda: ours.call(next(seeds)))
