"""Targets held against the store: what was to be reached, what was measured, and for a target that was missed how far
the instructions themselves are from it.

Targets are data (`targets.toml`, which says what its keys are). A ratio is the median over rounds with its 95 %
bootstrap interval (`moments.ratio`), against the fastest of the libraries that the target names; seconds are the median
over processes with the least and the most. A target is reached where the whole interval is on its side, missed where
the whole is on the other, else undecided.

The floor of ours is the sum of the floors of its stages (`floors`), or that of a log-sum-exp, shared among the threads;
of two threads beside one it is half the one's time. Where it lies above the time that the target asks for, no tuning of
the same instructions reaches it. A target without a floor says in words what stands between (`why`).
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from logpx_bench import floors, races
from logpx_bench.moments import ratio
from logpx_bench.options import Option, choose, fail
from logpx_bench.store import Store

FILE = Path(__file__).with_name("targets.toml")
Row = dict[str, Any]
_WAYS = ("race", "itself", "seconds")
_KEYS = ("what", "at_least", "at_most", *_WAYS, "peers", "roles", "stages", "stage", "per", "threads", "why")
_RACE, _STAGES = ("case", "dtype", "threads"), ("model", "n_latents", "n_observed", "dtype")
LOGSUMEXP = "logsumexp"


@dataclass(frozen=True)
class Target:
    """One target, as `targets.toml` has it."""

    what: str
    at_least: float | None = None
    at_most: float | None = None
    race: Mapping[str, Any] | None = None
    peers: tuple[str, ...] = ()
    roles: tuple[str, ...] = ("",)
    itself: tuple[str, ...] = ()
    seconds: str = ""
    stages: Mapping[str, Any] | None = None
    stage: str = floors.WHOLE
    per: float = 1.0
    threads: int = 1
    why: str = ""

    @property
    def wanted(self) -> float:
        """The number to reach."""
        return float(self.at_most if self.at_least is None else self.at_least)  # type: ignore[arg-type] # one is there


@dataclass(frozen=True)
class Measured:
    """What stands against a target: median and interval in the target's own terms; ns of ours, and ns of whom."""

    value: float = math.nan
    low: float = math.nan
    high: float = math.nan
    ns: float = math.nan
    ns_theirs: float = math.nan
    peer: str = ""


def load(path: Path = FILE) -> list[Target]:
    """Read and check the file.

    Raises
    ------
    SuiteError
        Not readable, not TOML, an unknown key, or a target without words, a number or a way to measure it.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        fail(path.name, f"cannot be read as TOML ({error})")
    for key in table:
        choose(key, ("target",), path.name, "key")
    return [_target(one, f"{path.name}, target {i + 1}") for i, one in enumerate(table.get("target", []))]


def _target(table: dict[str, Any], where: str) -> Target:
    for key in table:
        choose(key, _KEYS, where, "key")
    if not str(table.get("what", "")).strip():
        fail(f"{where}: what", "is missing; it needs some words")
    if ("at_least" in table) == ("at_most" in table):
        fail(where, "needs a number to reach: one of at_least and at_most")
    wanted = table.get("at_least", table.get("at_most"))
    if not isinstance(wanted, int | float) or isinstance(wanted, bool) or not 0 < wanted < math.inf:
        fail(where, f"is to reach {wanted!r}; allowed is a number above 0")
    if sum(way in table for way in _WAYS) != 1:
        fail(where, f"needs one way to be measured: {', '.join(_WAYS)}")
    for role in table.get("roles", ()):
        choose(role, races.ROLES, f"{where}: roles", "role")
    if "race" in table and not (table.get("peers") and table.get("roles")):
        fail(where, "is a race; it needs peers and roles")
    for name, allowed in (("race", _RACE), ("stages", _STAGES)):
        for key in table.get(name, {}):
            choose(key, allowed, f"{where}: {name}", "key")
    choose(table.get("stage", floors.WHOLE), (floors.WHOLE, *floors.STAGES, LOGSUMEXP), f"{where}: stage", "stage")
    for name in ("per", "threads"):
        Option(int, 1, 1 << 16, "a share").read(table.get(name, 1), f"{where}: {name}")
    read: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in table.items()}
    return Target(**read)


def table(store: Store, targets: Sequence[Target] | None = None) -> list[Row]:
    """One row a target and role.

    Columns: `what`, `role` ("" where it is no race), `peers`, `peer` (the fastest of them), `unit` ("theirs / ours",
    "ours / theirs", "seconds" or ""), `at_least`, `at_most`, `measured`, `low`, `high`, `reached` ("yes", "no",
    "undecided", "not measured"), `ns` of ours and `needed_ns`, `floor_ns` (of ours, shared among the threads), `stage`,
    `above_ns`: the stage that takes most above its floor, and by how much (of one thread); `why`, the target's own
    words. nan where not known.
    """
    raced, stages, own = races.peers(store), floors.stages(store), itself(store)
    stages = [*stages, {"stage": LOGSUMEXP, "floor_ns": floors.logsumexp(store)}]
    targets = load() if targets is None else targets
    return [_row(one, role, raced, stages, own) for one in targets for role in one.roles]


def itself(store: Store) -> Mapping[str, np.ndarray]:
    """Values of the last cell of the kind "itself"; empty where there is none."""
    cells = [cell for name in store.experiments() for cell in store.cells(name) if cell["kind"] == "itself"]
    last = max(cells, key=lambda cell: str(cell["created_utc"]), default=None)
    return {} if last is None else store.values(last["key"])


def precision(store: Store) -> dict[str, tuple[float, int]]:
    """The largest error of our chains against the exact answer, in Monte Carlo standard errors, and of how many, by
    precision; empty where the store has none."""
    errors = {name: own for name, own in itself(store).items() if name.startswith("errors/") and name.endswith("/1")}
    return {name.split("/")[1]: (float(own.max()), int(own.size)) for name, own in errors.items()}


def _row(target: Target, role: str, raced: list[Row], stages: list[Row], own: Mapping[str, np.ndarray]) -> Row:
    if target.race is not None:
        found = _raced(target, role, raced)
        unit = "theirs / ours" if target.at_least is not None else "ours / theirs"
    elif target.itself:
        found, unit = _compared(target.itself, own), ""
    else:
        found, unit = _waited(own.get(target.seconds, np.array([]))), "seconds"
    needed = found.ns_theirs / target.wanted if target.at_least is not None else found.ns_theirs * target.wanted
    head = {"what": target.what, "role": role, "peers": list(target.peers), "peer": found.peer, "unit": unit}
    measured = {"measured": found.value, "low": found.low, "high": found.high, "reached": reached(target, found)}
    bounds = {"at_least": target.at_least, "at_most": target.at_most}
    return (
        head
        | bounds
        | measured
        | {"ns": found.ns, "needed_ns": needed}
        | _floor(target, found, stages)
        | {"why": target.why}
    )


def reached(target: Target, found: Measured) -> str:
    """In a word.

    Examples
    --------
    >>> four = Target("", at_least=4.0)
    >>> [reached(four, Measured(x, x - 0.5, x + 0.5)) for x in (5.0, 4.2, 3.0, math.nan)]
    ['yes', 'undecided', 'no', 'not measured']
    """
    if math.isnan(found.value):
        return "not measured"
    ends = (found.low, found.high)
    sides = [end >= target.wanted if target.at_least is not None else end <= target.wanted for end in ends]
    return "yes" if all(sides) else "undecided" if any(sides) else "no"


def _raced(target: Target, role: str, raced: list[Row]) -> Measured:
    """Against the fastest of the target's peers in this role."""
    race = target.race or {}
    own = [row for row in raced if row["role"] == role and row["peer"] in target.peers and math.isfinite(row["ratio"])]
    own = [row for row in own if all(row[name] == value for name, value in race.items())]
    if not own:
        return Measured()
    row = min(own, key=lambda row: float(row["ratio"]))
    value, low, high = row["ratio"], row["ratio_low"], row["ratio_high"]
    if target.at_most is not None:
        value, low, high = 1 / value, 1 / high, 1 / low
    return Measured(value, low, high, row["ns_ours"], row["ns"], row["peer"])


def _compared(names: Sequence[str], own: Mapping[str, np.ndarray]) -> Measured:
    """The first time over the second, round by round."""
    if not all(name in own for name in names):
        return Measured()
    first, second = (own[name] for name in names)
    found = ratio(first, second)
    return Measured(found.median, found.low, found.high, float(np.median(second)), float(np.median(first)))


def _waited(seconds: np.ndarray) -> Measured:
    if not seconds.size:
        return Measured()
    return Measured(float(np.median(seconds)), float(seconds.min()), float(seconds.max()))


def _floor(target: Target, found: Measured, stages: list[Row]) -> Row:
    """The floor of ours, and the stage that takes most above its own."""
    unknown = {"floor_ns": math.nan, "stage": "", "above_ns": math.nan}
    if target.itself and target.stages is None:
        return unknown | {"floor_ns": found.ns_theirs / target.threads}
    if target.stage == LOGSUMEXP:
        return unknown | {"floor_ns": next(row["floor_ns"] for row in stages if row["stage"] == LOGSUMEXP)}
    if target.stages is None:
        return unknown
    own = {row["stage"]: row for row in stages if all(row.get(name) == one for name, one in target.stages.items())}
    names = [name for name in floors.STAGES if name in own and target.stage in (floors.WHOLE, name)]
    above = {name: (own[name]["ns"] - own[name]["floor_ns"]) / target.per for name in names}
    floor = own[target.stage]["floor_ns"] / target.per / target.threads if target.stage in own else math.nan
    if not math.isfinite(floor):
        return unknown
    most = max(above, key=lambda name: above[name])
    return {"floor_ns": floor, "stage": most, "above_ns": above[most]}
