"""The race: ours, every peer's best, its best of library functions alone, and every peer as first written, in rounds.

In a round each contestant takes a turn, in an order that turns from round to round; a time is compared with ours of
the same round, so that a slow minute of the machine falls on both (`moments.ratio`). A turn begins with calls that are
not timed: another process had the cores and gave back its memory, threads sleep and caches are cold, which made the
first call of a chain of 20 ms up to half as long again, and weighs most on those whose runs are short. Calls of a
quarter of a second or more have no need of it. A variant in more than one role runs once. A contestant that fails,
dies, or whose answer is off is out from there on.
"""

import math
from dataclasses import dataclass, field

from logpx_bench.peers.pool import PeerError, Remote
from logpx_bench.peers.sweep import timed

#: Seconds of a turn (one call at least), and of the calls before it.
TURN, WARM_UP = 0.05, 0.05


@dataclass
class Contestant:
    """A variant on the track, in one role or more: its worker and slot, ns an element of each round (nan: none), and
    why it is out."""

    name: str
    roles: tuple[str, ...]
    remote: Remote
    slot: str
    ns: list[float] = field(default_factory=list)
    note: str = ""

    def turn(self, seed: int, seconds: float) -> None:
        """One turn, if it is still in."""
        if self.note:
            self.ns.append(math.nan)
            return
        try:
            self.ns.append(timed(self.remote, self.slot, seed, seconds, WARM_UP))
        except PeerError as error:
            self.note = str(error)
            self.ns.append(math.nan)


def race(contestants: list[Contestant], rounds: int, seed: int = 0, seconds: float = TURN) -> None:
    """Run the rounds; each contestant's times are in its `ns`."""
    for number in range(rounds):
        first = number % len(contestants)
        for one in contestants[first:] + contestants[:first]:
            one.turn(seed + 1000 * number, seconds)
