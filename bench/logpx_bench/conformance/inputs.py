"""Shapes and side effects: what the kernel writes, what it leaves alone, and what the model's functions return."""

from __future__ import annotations

from typing import Any

import numpy as np

from logpx.prepare import pack_proposal
from logpx_bench.conformance.base import FAIL, PASS, Check, Finding, Floats, Subject
from logpx_bench.errors import NotAvailableError

_MARGINAL = "log_marginal takes one row x (p,) and gives a float, and rows (n, p) and gives an array (n,)"


def shapes(subject: Subject) -> Finding:
    """Every entry of out is written and not read; log_marginal and the proposals have the shapes they must have."""
    model, x = subject.model, subject.rows[0]
    for _, proposal in subject.proposals():
        for row in subject.rows:
            pack_proposal(model, row, proposal)
    (_, proposal), *_ = subject.proposals()
    z = subject.draw(proposal, x, 300)
    first, second = subject.log_joint(x, z, fill=-1.0), subject.log_joint(x, z, fill=-2.0)
    stale = np.flatnonzero((first != second) & ~(np.isnan(first) & np.isnan(second)))
    if stale.size:
        return Finding(
            FAIL,
            f"out[{stale[0]}] depends on what was in out before ({stale.size} of {first.size} entries do)",
            "Write every out[i], i < z.shape[1], with = before any +=; in a per_sample function, return on every path",
        )
    return _misshapen(model, subject.rows) or Finding(
        PASS, f"x ({x.size},), z ({model.n_latents}, B), out (B,) written in full, for any B; kernel {model.name}"
    )


def _misshapen(model: Any, rows: Floats) -> Finding | None:
    """A log_marginal whose shape is not what it must be; one that refuses has none."""
    known = getattr(model, "log_marginal", None)
    if known is None:
        return None
    for given, wanted in ((rows[0], ()), (rows, (len(rows),))):
        try:
            found = np.shape(known(given))
        except NotAvailableError:
            return None
        except Exception as error:  # of the user's own function
            said = f"log_marginal, called with x of shape {given.shape}, raised {type(error).__name__}: {error}"
            return Finding(FAIL, said, _MARGINAL)
        if found != wanted:
            return Finding(
                FAIL,
                f"log_marginal(x) of x {given.shape} has shape {found}; it must be {wanted or 'a float'}",
                _MARGINAL,
            )
    return None


def side_effects(subject: Subject) -> Finding:
    """theta, dims, x and z are as they were."""
    (_, proposal), *_ = subject.proposals()
    x = subject.rows[0]
    z = subject.draw(proposal, x, 64)
    before = {"theta": np.array(subject.model.theta), "dims": subject.sizes, "x": x.copy(), "z": z}
    after = {name: array.copy() for name, array in before.items()}
    assert subject.compile_seconds >= 0
    subject.model.log_joint(*after.values(), np.full(64, np.nan))
    changed = [name for name in before if not np.array_equal(before[name], after[name], equal_nan=True)]
    if changed:
        return Finding(
            FAIL,
            f"the kernel writes to {' and '.join(changed)}",
            "Work on local variables or a copy: the engine hands the same arrays to every call, so that what one call "
            "leaves there changes the next",
        )
    return Finding(PASS, "theta, dims, x and z are left as they are")


CHECKS = (
    Check("shapes", "out is written in full; log_marginal and proposals have their shapes", shapes),
    Check("side effects", "the kernel writes to out alone", side_effects),
)
