"""The race: ours, every peer's best, and every peer as first written, in rounds.

In a round each contestant takes a turn, in an order that turns from round to round; a time is compared with ours of
the same round, so that a slow minute of the machine falls on both. What counts is the median of these ratios, with
their quartiles and a bootstrap interval. A contestant that fails, dies, or whose answer is off is out from there on.
"""

import math
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from logpx_bench.peers.pool import PeerError, Remote
from logpx_bench.peers.sweep import timed

#: Seconds of a turn (one call at least), and resamples of the bootstrap.
TURN, RESAMPLES = 0.02, 2000


@dataclass
class Contestant:
    """A variant on the track: its worker and slot, ns an element of each round (nan: none), and why it is out."""

    name: str
    role: str
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
            self.ns.append(timed(self.remote, self.slot, seed, seconds))
        except PeerError as error:
            self.note = str(error)
            self.ns.append(math.nan)


def race(contestants: list[Contestant], rounds: int, seed: int = 0, seconds: float = TURN) -> None:
    """Run the rounds; each contestant's times are in its `ns`."""
    for number in range(rounds):
        first = number % len(contestants)
        for one in contestants[first:] + contestants[:first]:
            one.turn(seed + 1000 * number, seconds)


class Ratio(NamedTuple):
    """The median of ratios pair by pair, their quartiles, and a 95 % bootstrap interval of the median."""

    median: float
    lower: float
    upper: float
    low: float
    high: float


def ratio(theirs: ArrayLike, ours: ArrayLike) -> Ratio:
    """Theirs over ours, round by round; all nan where any round has none.

    Examples
    --------
    >>> ratio([2.0, 4.0, 6.0], [1.0, 2.0, 3.0]).median
    2.0
    """
    pairs = np.asarray(theirs, dtype=np.float64) / np.asarray(ours, dtype=np.float64)
    if pairs.size == 0 or not np.all(np.isfinite(pairs)):
        return Ratio(*[math.nan] * 5)
    rng = np.random.default_rng(0)
    medians = np.median(rng.choice(pairs, size=(RESAMPLES, pairs.size)), axis=1)
    quarters = np.quantile(pairs, [0.25, 0.75])
    low, high = np.quantile(medians, [0.025, 0.975])
    return Ratio(float(np.median(pairs)), float(quarters[0]), float(quarters[1]), float(low), float(high))
