"""What the machine can do: one cell, measured by `logpx_bench.roofline`, beside which the stages' times are read.

The cell has no model and estimates nothing; its values are the limits, `limit/<name>`, one number each, and
`count/logsumexp`: the instructions of every class (`counts.CLASSES`) that `logpx.logsumexp` executes for an element of
2^14, where they can be counted. It belongs to no stage, and the floor of a target is made of it.
"""

from typing import TYPE_CHECKING

import numpy as np
from numba import types

from logpx import _jit, reduce
from logpx_bench import assembly, ledger, roofline
from logpx_bench.counts import CLASSES
from logpx_bench.errors import InputError
from logpx_bench.experiments.base import Cell, Kind, Record, Resources
from logpx_bench.options import Option

if TYPE_CHECKING:
    from logpx_bench.suite import Experiment

SETTINGS = {"repeats": Option(int, 1, 1000, "interleaved repetitions, of which the best counts", default=9)}


def expand(suite: str, experiment: "Experiment") -> list[Cell]:
    """The one cell."""
    return [Cell.of(suite, experiment, ("machine", {}), ("limits", {}), n_samples=0, n_replicates=0, seed=0, threads=1)]


def check(experiment: "Experiment", where: str) -> None:
    """Nothing can be wrong."""


def verify(cell: Cell) -> None:
    """Limits are those of compiled code."""
    if _jit.DISABLED:
        raise InputError("limits are measured by compiled code, and NUMBA_DISABLE_JIT is set; run without it")


def run(cell: Cell, resources: Resources) -> Record:
    """Measure, in this process."""
    clock = ledger.Clock()
    found = roofline.measure(cell.settings["repeats"])
    columns = {"n_evaluations": 0, "n_gradients": 0, "seconds": clock.wall(), "cpu_seconds": clock.cpu()}
    values = {f"limit/{name}": [value] for name, value in found.items()}
    return Record(columns=columns, values=values | ({"count/logsumexp": counts()} if assembly.supported() else {}))


def counts(n: int = 2**14) -> list[float]:
    """Instructions of every class that a log-sum-exp of n numbers executes, an element; compiled anew for it."""
    function = _jit.uncached(reduce._logsumexp.dispatcher.py_func)
    function.compile((types.float64[::1],))
    total = assembly.executed(function, (np.random.default_rng(23).normal(-100.0, 3.0, size=n),))
    return [total[name] / n for name in CLASSES]


LIMITS = Kind(
    name="limits",
    summary="what the machine can do: clock, peak arithmetic, bandwidths, rates of instructions",
    keys=tuple(SETTINGS),
    required=(),
    expand=expand,
    run=run,
    evaluations=lambda cell: 0,
    check=check,
    verify=verify,
    settings=SETTINGS,
    timed=True,
    overhead=1.5,
)
