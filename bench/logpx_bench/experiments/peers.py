"""logpx beside its peers: every case at every precision and number of threads, one race a cell (`logpx_bench.peers`).

For every peer a sweep finds its best variant, and the best of those made of its library's functions alone (the rest:
`peers.base.BY_HAND`); then ours, every peer's bests and every peer as first written take turns, round by round. A
variant in two roles runs once. A peer that is not there, that does not do the case, that died, or whose answers were
off is on record with the reason; the race goes on without it. logpx enters once, by its public names.

Stored: `model` is the case; `n_samples` the elements of one run of ours, `seconds` its median time, `n_replicates` the
rounds, `log_marginal` and `exact` the answer of a chain of ours and what is right. `values` holds, a number a round,
ns an element: "ns/logpx/best", "ns/PEER/best", "ns/PEER/library", "ns/PEER/as written" (nan from where it was out;
the same numbers where two roles are one variant). What is not a number is in `estimator_options`, under "peers" for
each of them by name:

    summary, versions        what it is
    absent                   why it is not there, else null
    variant                  in words, by role: {"best": …, "library": …, "as written": …}; null where none is right
    compile_seconds, note    by role too: of its preparation; why it does not count, "" where it does
    tried                    every variant of the sweep: words, library, as_written, ns, prepare_seconds, note
"""

import functools
import itertools
import statistics
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from logpx_bench import ledger, peers
from logpx_bench.experiments.base import Cell, Kind, Record, Resources, hash_of
from logpx_bench.options import Names, Option
from logpx_bench.peers import OURS, REGISTRY
from logpx_bench.peers.base import DTYPES
from logpx_bench.peers.cases import CASES
from logpx_bench.peers.pool import PeerError, Pool, installed, pool
from logpx_bench.peers.race import Contestant, race
from logpx_bench.peers.sweep import ROLES, Swept, sweep

if TYPE_CHECKING:
    from logpx_bench.suite import Experiment

SETTINGS: dict[str, Option | Names] = {
    "cases": Names(lambda: CASES, "case", "what is computed"),
    "dtypes": Names(lambda: DTYPES, "dtype", "precisions"),
    "peers": Names(lambda: [name for name in REGISTRY if name != OURS.name], "peer", "who takes part beside logpx"),
    "rounds": Option(int, 3, 1000, "rounds of the race", default=9),
    "sweep_seconds": Option(float, 0, 3600, "seconds after which a peer's sweep starts no further variant", default=8),
}
#: Seconds, for predictions: to start all peers; of a peer beyond its sweep (its data, the variant that the sweep's end
#: falls in, the finals); of a peer in a round (up to three turns, and as many calls to warm up), of a chain and of
#: another case; of an element in calls that are longer than a turn; and of a variant in a sweep that tries them all.
START, BEYOND, CHAIN, ROUND, ELEMENT, VARIANT = 1.0, 1.5, 0.25, 0.12, 1e-8, 1.0


def expand(suite: str, experiment: "Experiment") -> list[Cell]:
    """Threads, then cases, then precisions; without a number of threads, one."""
    settings = experiment.settings
    own = {name: value for name, value in settings.items() if name not in ("cases", "dtypes")}
    return [
        replace(
            Cell.of(
                suite,
                experiment,
                (case, {}),
                ("race", {}),
                n_samples=CASES[case].n,
                n_replicates=settings["rounds"],
                seed=seed,
                threads=threads,
            ),
            dtype=dtype,
            data="",
            settings=own,
        )
        for seed, threads, case, dtype in itertools.product(
            experiment.seeds, experiment.threads or (1,), settings["cases"], settings["dtypes"]
        )
    ]


def run(cell: Cell, resources: Resources) -> Record:
    """Sweep every peer, then race."""
    threads, case, names = resources.threads, cell.model, [OURS.name, *cell.settings["peers"]]
    workers = pool(threads)
    names_here = [name for name in names if REGISTRY[name].most_threads in (None, threads)]
    workers.start(names_here)
    told: dict[str, dict[str, Any]] = {}
    contestants: list[Contestant] = []
    for name in names:
        told[name], swept = prepare(workers, name, cell, threads)
        roles = [role for role in ROLES if role in swept.slots and (name != OURS.name or role == ROLES[0])]
        contestants += [
            Contestant(name, tuple(role for role in roles if swept.slots[role] == slot), workers[name], slot)
            for slot in dict.fromkeys(swept.slots[role] for role in roles)
        ]
    race(contestants, cell.n_replicates, seed=cell.seed)
    answer = _answer(contestants, CASES[case].kind == "chain", cell.seed)
    for one in contestants:
        told[one.name]["note"] |= dict.fromkeys(one.roles, one.note)
        if one.remote.alive:
            one.remote.ask("drop", slot=one.slot)
    return _record(cell, told, contestants, threads, answer)


def prepare(workers: Pool, name: str, cell: Cell, threads: int) -> tuple[dict[str, Any], Swept]:
    """What there is to say of a peer, and what its sweep found (nothing, where it takes no part)."""
    peer, swept = REGISTRY[name], Swept([])
    said: dict[str, Any] = {"summary": peer.summary, "versions": {}, "absent": None}
    if peer.most_threads is not None and threads > peer.most_threads:
        said["absent"] = f"it runs on {peer.most_threads} thread at most"
    else:
        try:
            answer = workers[name].ask("describe")
            said |= {"versions": answer.get("versions", {}), "absent": answer.get("absent")}
            if said["absent"] is None:
                swept = sweep(workers[name], cell.model, cell.dtype, cell.settings["sweep_seconds"], seed=cell.seed)
                said["absent"] = None if swept.tried else "it does not do this case"
        except PeerError as error:
            said["absent"] = str(error)
    counts = {role: swept.roles[role] if role in swept.slots else None for role in ROLES}
    said |= {
        "variant": {role: one and one.variant.words() for role, one in counts.items()},
        "compile_seconds": {role: one and one.prepare_seconds for role, one in counts.items()},
        "note": {role: swept.note(role) for role in ROLES},
        "tried": [one.to_dict() for one in swept.tried],
    }
    return said, swept


def _answer(contestants: list[Contestant], is_chain: bool, seed: int) -> dict[str, float]:
    """One more run of ours: its answer, and how much it took."""
    ours = next((one for one in contestants if one.name == OURS.name and not one.note), None)
    if ours is None:
        return {}
    answer = ours.remote.ask("run", slot=ours.slot, seed=seed, seconds=0.0)
    found = {"n": answer["n"]}
    return found | ({"value": answer["value"]} if is_chain else {})


def _record(
    cell: Cell, told: dict[str, Any], contestants: list[Contestant], threads: int, answer: dict[str, float]
) -> Record:
    n = answer.get("n", cell.n_samples)
    ours = next((one.ns for one in contestants if one.name == OURS.name), [])
    columns: dict[str, Any] = {
        "estimator_options": {"peers": told},
        "threads": threads,
        "n_samples": int(n),
        "n_evaluations": 0,
        "seconds": 1e-9 * statistics.median(ours) * n if ours else None,
        "compile_seconds": told[OURS.name]["compile_seconds"]["best"],
        "peak_bytes": ledger.peak_bytes(),
    }
    if "value" in answer:
        case = CASES[cell.model]
        columns |= {"log_marginal": answer["value"], "exact": float(case.data["exact"][case.row(cell.seed)])}
    return Record(
        columns=columns, values={f"ns/{one.name}/{role}": one.ns for one in contestants for role in one.roles}
    )


def duration(cell: Cell) -> float:
    """Seconds that a race takes, about: of every peer that is there and does the case, its sweep and its turns."""
    case, seconds = CASES[cell.model], START
    turns = (CHAIN if case.kind == "chain" else ROUND) + ELEMENT * case.n
    for name in (OURS.name, *cell.settings["peers"]):
        peer = REGISTRY[name]
        there = len(installed(name)) == len(peer.packages) and peer.most_threads in (None, cell.threads)
        n_variants = len(peer.variants(case, cell.dtype)) if there else 0
        if n_variants:
            seconds += BEYOND + turns * cell.n_replicates + min(cell.settings["sweep_seconds"], VARIANT * n_variants)
    return seconds


def facts(cell: Cell) -> dict[str, Any]:
    """The peers' source, and the versions of their packages: a race without a peer is not the race with it."""
    return {"source": peers_hash(), "versions": {name: installed(name) for name in cell.settings["peers"]}}


@functools.cache
def peers_hash() -> str:
    """Sixteen hex digits over the source of the peers."""
    folder = Path(peers.__file__).parent
    return hash_of(sorted((*folder.glob("*.py"), *folder.glob("*.c"))))


PEERS = Kind(
    name="peers",
    summary="logpx beside other libraries, each at its best and as first written, in rounds",
    keys=("threads", "seeds", *SETTINGS),
    required=("cases",),
    expand=expand,
    run=run,
    evaluations=lambda cell: 0,
    check=lambda experiment, where: None,
    verify=lambda cell: None,
    settings=SETTINGS,
    facts=facts,
    timed=True,
    duration=duration,
)
