"""The search for a peer's best variant of a case: short runs of every variant, then the best few again and longer.

Every variant stays on record: its time, or why it has none (it failed, its answer was wrong, the search ran out of
time before it). What is found stays prepared in the worker, in the slots "best" and "as written".
"""

import statistics
import time
from dataclasses import dataclass, field, replace
from typing import Any

from logpx_bench.peers.base import Variant
from logpx_bench.peers.pool import PeerError, Remote

#: Seconds of a short run, and of one of the longer ones; how many variants go on to those, and how often each runs.
SHORT, LONGER, FINALISTS, REPEATS = 0.01, 0.04, 3, 3


@dataclass(frozen=True)
class Tried:
    """A variant with its time in ns an element (None: it has none), what it took to prepare, and a note."""

    variant: Variant
    ns: float | None = None
    prepare_seconds: float | None = None
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "words": self.variant.words(),
            "as_written": self.variant.as_written,
            "ns": self.ns,
            "prepare_seconds": self.prepare_seconds,
            "note": self.note,
        }


@dataclass(frozen=True)
class Swept:
    """What was found: every variant tried; the best and the one as written, with the slots that they stand in."""

    tried: list[Tried]
    best: Tried | None = None
    as_written: Tried | None = None
    slots: dict[str, str] = field(default_factory=dict)

    @property
    def note(self) -> str:
        """Why there is no best."""
        if self.best is not None:
            return ""
        return next((one.note for one in self.tried if one.note), "it does not do this case")


def timed(remote: Remote, slot: str, seed: int, seconds: float, warm_up: bool = False) -> float:
    """ns an element of one turn: the median of its calls.

    Raises
    ------
    PeerError
        It failed, or its answer is not right.
    """
    answer = remote.ask("run", slot=slot, seed=seed, seconds=seconds, warm_up=warm_up)
    if not answer["error"] <= answer["allowed"]:
        raise PeerError(
            f"its answer {answer['value']:.6g} is off by {answer['error']:.3g}; allowed {answer['allowed']:.3g}"
        )
    return 1e9 * statistics.median(answer["seconds"]) / answer["n"]


def try_one(remote: Remote, case: str, dtype: str, variant: Variant, slot: str, seed: int) -> Tried:
    """Prepare a variant in a slot and run it for a short time. A variant without a time leaves its slot empty.

    Raises
    ------
    PeerError
        The worker died or hung: nothing more can be asked of it.
    """
    made = None
    try:
        made = remote.ask("prepare", case=case, dtype=dtype, variant=variant.to_dict(), slot=slot)["seconds"]
        return Tried(variant, timed(remote, slot, seed, SHORT), made)
    except PeerError as error:
        if not remote.alive:
            raise
        remote.ask("drop", slot=slot)
        return Tried(variant, None, made, str(error))


def sweep(remote: Remote, case: str, dtype: str, budget: float, seed: int = 1) -> Swept:
    """Try every variant within `budget` seconds (the one as written first, whatever it takes), and choose.

    Raises
    ------
    PeerError
        The worker died or hung.
    """
    start = time.perf_counter()
    told = remote.ask("variants", case=case, dtype=dtype)["variants"]
    variants = sorted((Variant.from_dict(one) for one in told), key=lambda one: not one.as_written)
    tried: list[Tried] = []
    kept: dict[Variant, str] = {}
    for number, variant in enumerate(variants):
        if time.perf_counter() - start > budget and not variant.as_written and number > 1:
            tried.append(Tried(variant, note="not tried: the time for the search was up"))
            continue
        one = try_one(remote, case, dtype, variant, f"try {number}", seed + number)
        tried.append(one)
        if one.ns is not None:
            kept[variant] = f"try {number}"
            _drop_all_but(remote, kept, tried)
    return _finals(remote, tried, kept, seed + len(variants))


def _fastest(tried: list[Tried]) -> list[Tried]:
    return sorted((one for one in tried if one.ns is not None), key=lambda one: one.ns or 0.0)


def _drop_all_but(remote: Remote, kept: dict[Variant, str], tried: list[Tried]) -> None:
    """Empty the slots of those that are neither among the fastest nor as written."""
    stay = {one.variant for one in _fastest(tried)[:FINALISTS]} | {
        one.variant for one in tried if one.variant.as_written
    }
    for variant in [one for one in kept if one not in stay]:
        remote.ask("drop", slot=kept.pop(variant))


def _finals(remote: Remote, tried: list[Tried], kept: dict[Variant, str], seed: int) -> Swept:
    """The fastest again, in turn; their times become the median of those."""
    finalists = _fastest(tried)[:FINALISTS]
    times: dict[Variant, list[float]] = {one.variant: [] for one in finalists}
    if len(finalists) > 1:
        for turn in range(REPEATS):
            for one in finalists:
                times[one.variant].append(timed(remote, kept[one.variant], seed + turn, LONGER))
    final = [replace(one, ns=statistics.median(times[one.variant])) if times.get(one.variant) else one for one in tried]
    best = next(iter(_fastest([one for one in final if one.variant in times])), None)
    written = next((one for one in final if one.variant.as_written), None)
    chosen = {one.variant for one in (best, written) if one is not None}
    for variant in [one for one in kept if one not in chosen]:
        remote.ask("drop", slot=kept.pop(variant))
    roles = {"best": best, "as written": written}
    slots = {role: kept[one.variant] for role, one in roles.items() if one is not None and one.variant in kept}
    return Swept(final, best, written, slots)
