"""The search for a peer's best variants of a case: short runs of every variant, then the best few again and longer.

Two bests are looked for: of all variants, and of those made of the library's functions alone (`base.BY_HAND`); often
they are one. Variants of either kind take turns, so that a search that ends early has seen both. Every variant stays on
record: its time, or why it has none (it failed, its answer was wrong, the search ran out of time before it). What is
found stays prepared in the worker.
"""

import itertools
import statistics
import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from logpx_bench.peers.base import Variant
from logpx_bench.peers.pool import PeerError, Remote

#: Seconds of a short run, and of one of the longer ones; how many variants of either kind go on to those, and how often
#: each runs. A call that takes longer than all of that has been timed long enough.
SHORT, LONGER, FINALISTS, REPEATS = 0.01, 0.04, 3, 3
#: What a peer's variant can be in a race: its best, its best of library functions alone, as a user would write it.
ROLES = ("best", "library", "as written")


@dataclass(frozen=True)
class Tried:
    """A variant with its time in ns an element (None: it has none), what it took to prepare, and a note; `seconds` is
    what its call took."""

    variant: Variant
    ns: float | None = None
    prepare_seconds: float | None = None
    note: str = ""
    seconds: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "words": self.variant.words(),
            "library": self.variant.library,
            "as_written": self.variant.as_written,
            "ns": self.ns,
            "prepare_seconds": self.prepare_seconds,
            "note": self.note,
        }


@dataclass(frozen=True)
class Swept:
    """What was found: every variant tried, and the one in each role (`ROLES`) with the slot that it stands in.

    A role is not there where the peer has no variant for it; its slot is not, where that variant has no time.
    """

    tried: list[Tried]
    roles: dict[str, Tried] = field(default_factory=dict)
    slots: dict[str, str] = field(default_factory=dict)

    def note(self, role: str) -> str:
        """Why there is nothing in a role, or "" where there is."""
        if role in self.slots:
            return ""
        if role in self.roles:
            return self.roles[role].note
        if not self.tried:
            return "it does not do this case"
        own = [one for one in self.tried if one.variant.library or role != "library"]
        return next((one.note for one in own if one.note), "it is written by hand throughout")


def timed(remote: Remote, slot: str, seed: int, seconds: float, warm_up: float = 0.0) -> float:
    """ns an element of one turn: the median of its calls, after `warm_up` seconds of calls that are not timed.

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
        made = remote.ask("prepare", case=case, dtype=dtype, variant=variant.to_dict(), slot=slot)
        ns = timed(remote, slot, seed, SHORT)
        return Tried(variant, ns, made["seconds"], seconds=1e-9 * ns * made["n"])
    except PeerError as error:
        if not remote.alive:
            raise
        remote.ask("drop", slot=slot)
        return Tried(variant, None, None if made is None else made["seconds"], str(error))


def in_turns(variants: Iterable[Variant]) -> list[Variant]:
    """The one as written, then those of library functions alone and the others by turns, each in their order."""
    variants = list(variants)
    written = [one for one in variants if one.as_written]
    library = [one for one in variants if not one.as_written and one.library]
    others = [one for one in variants if not one.as_written and not one.library]
    pairs = itertools.zip_longest(library, others)
    return written + [one for pair in pairs for one in pair if one is not None]


def sweep(remote: Remote, case: str, dtype: str, budget: float, seed: int = 1) -> Swept:
    """Try the variant as written, then the others within `budget` seconds, the first of either kind whatever it takes.

    Raises
    ------
    PeerError
        The worker died or hung.
    """
    told = remote.ask("variants", case=case, dtype=dtype)["variants"]
    variants = in_turns(Variant.from_dict(one) for one in told)
    tried: list[Tried] = []
    kept: dict[Variant, str] = {}
    start = time.perf_counter()
    for number, variant in enumerate(variants):
        known = {one.variant.library for one in tried if not one.variant.as_written}
        if time.perf_counter() - start > budget and not variant.as_written and variant.library in known:
            tried.append(Tried(variant, note="not tried: the time for the search was up"))
            continue
        one = try_one(remote, case, dtype, variant, f"try {number}", seed + number)
        tried.append(one)
        start = time.perf_counter() if variant.as_written else start
        if one.ns is not None:
            kept[variant] = f"try {number}"
            _drop_all_but(remote, kept, _finalists(tried) | {one.variant for one in tried if one.variant.as_written})
    return _finals(remote, tried, kept, seed + len(variants))


def _fastest(tried: Iterable[Tried]) -> list[Tried]:
    return sorted((one for one in tried if one.ns is not None), key=lambda one: one.ns or 0.0)


def _finalists(tried: list[Tried]) -> set[Variant]:
    """The fastest of all, and the fastest of those of library functions alone."""
    fastest = _fastest(tried)
    library = [one for one in fastest if one.variant.library]
    return {one.variant for one in (*fastest[:FINALISTS], *library[:FINALISTS])}


def _drop_all_but(remote: Remote, kept: dict[Variant, str], stay: set[Variant]) -> None:
    """Empty the slots of all others."""
    for variant in [one for one in kept if one not in stay]:
        remote.ask("drop", slot=kept.pop(variant))


def _finals(remote: Remote, tried: list[Tried], kept: dict[Variant, str], seed: int) -> Swept:
    """The fastest again, in turn; their times become the median of those. Long calls keep the time that they have. One
    that now fails, or is wrong, loses its time and its slot."""
    names = _finalists(tried)
    again = [one for one in _fastest(tried) if one.variant in names and one.seconds < REPEATS * LONGER]
    times: dict[Variant, list[float]] = {one.variant: [] for one in again}
    out: dict[Variant, Tried] = {}
    for turn, one in itertools.product(range(REPEATS if len(names) > 1 else 0), again):
        if one.variant in out:
            continue
        try:
            times[one.variant].append(timed(remote, kept[one.variant], seed + turn, LONGER))
        except PeerError as error:
            if not remote.alive:
                raise
            remote.ask("drop", slot=kept.pop(one.variant))
            out[one.variant] = replace(one, ns=None, note=str(error))
    final = [out.get(one.variant) or _of_all(one, times.get(one.variant)) for one in tried]
    best = _fastest(one for one in final if one.variant in names)
    found = {
        "best": best,
        "library": [one for one in best if one.variant.library],
        "as written": [one for one in final if one.variant.as_written],
    }
    roles = {role: own[0] for role, own in found.items() if own}
    _drop_all_but(remote, kept, {one.variant for one in roles.values()})
    return Swept(final, roles, {role: kept[one.variant] for role, one in roles.items() if one.variant in kept})


def _of_all(one: Tried, times: list[float] | None) -> Tried:
    """With the median of the finals for its time, where it was in them."""
    return replace(one, ns=statistics.median(times)) if times else one
