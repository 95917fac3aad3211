"""The fresh process of a scaling cell: JSON in (its coordinates), JSON out (columns and values).

Run as `python -m logpx_bench.experiments.fresh`; see `logpx_bench.experiments.scaling` for what is measured.
"""

import json
import statistics
import sys
from typing import Any

from logpx_bench import data, ledger
from logpx_bench.estimators import divergence, make_proposal
from logpx_bench.experiments.base import Cell
from logpx_bench.experiments.ladder import call, describe, sizes, warm_up


def measure(cell: Cell) -> dict[str, Any]:
    """Warm up, then run until the budget or the repeats are spent."""
    subject = data.build(cell.model, cell.model_options, cell.data)
    x = data.take(subject, cell.row or 0)
    clock = ledger.Clock()
    proposal = make_proposal(cell.estimator, cell.estimator_options, subject.model, x)
    fit_seconds = clock.wall()

    compile_seconds = warm_up(cell, subject.model, x, proposal, cell.threads)
    baseline = ledger.peak_bytes()
    walls: list[float] = []
    processors: list[float] = []
    whole, first = ledger.Clock(), None
    while len(walls) < cell.settings["repeats"] and (not walls or whole.wall() < cell.settings["budget"]):
        clock = ledger.Clock()
        one = call(cell, subject.model, x, proposal, cell.n_samples, 1, cell.seed + len(walls), cell.threads)
        processors.append(clock.cpu())
        walls.append(one.seconds)
        first = first or one
    bill = ledger.bill([first], fit_seconds, 0.0, compile_seconds).columns()
    bill |= {"seconds": statistics.median(walls), "cpu_seconds": statistics.median(processors)}
    kl, chi2 = divergence(subject.model, x, proposal)
    columns = describe(first) | bill | sizes(subject.model, x) | {"kl": kl, "chi2": chi2, "threads": cell.threads}
    columns["exact"] = data.exact(subject.model, x)
    return {"columns": columns, "values": {"seconds": walls, "baseline_bytes": [baseline]}}


def main() -> None:
    """Read a cell, measure it, write the answer."""
    cell = Cell(**json.load(sys.stdin))
    json.dump(measure(cell), sys.stdout)


if __name__ == "__main__":
    main()
