"""Indices: does the kernel stay inside its arrays? Every index is looked at, in a process of its own.

Compiled kernels run without bounds checks: one index too many reads or writes whatever lies there, and the answer may
even look right. Where one is, the kernel runs once more as plain Python, which says of which array and where. Cost:
compiling the kernel once more, a few seconds.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from logpx_bench.conformance import fresh
from logpx_bench.conformance.base import FAIL, PASS, Check, Finding, Floats, Subject
from logpx_bench.errors import LogpxError
from logpx_bench.plurals import counted

_TODO = (
    "Compare the loops with the lengths: x has n_observed entries, z has n_latents (a block's z is (n_latents, B)), "
    "out has B, theta what the model was given; sizes belong in dims"
)
_RAISED = "A log joint returns −inf where the density is zero, and raises nothing"
#: Latents a row, half of them from where the proposals hardly ever draw: an index may depend on z.
DRAWS = 512


def indices(subject: Subject) -> Finding:
    """The kernel with bounds checks, on a block of latents for each row and proposal."""
    pairs = [(x, _latents(subject, proposal, x)) for _, proposal in subject.proposals() for x in subject.rows]
    try:
        found = fresh.ask("checked", subject.text, pairs)
    except fresh.UnendingError:
        raise
    except LogpxError as error:
        return Finding(FAIL, str(error), _TODO)
    if "error" not in found:
        n, rows = sum(z.shape[1] for _, z in pairs), len(subject.rows)
        over = counted(rows, "row")
        return Finding(PASS, f"every index is in range, on {n} samples over {over} of x, half of them from far out")
    where = next((line for line in found["said"] if "out of bounds" in line), "")
    if not where:
        return Finding(FAIL, f"the kernel raised {found['error']}", _RAISED)
    index = re.sub(r"^.*?(index )", r"an \1", where)
    return Finding(FAIL, _place(subject, pairs) or index, _TODO)


def _latents(subject: Subject, proposal: Any, x: Floats) -> Floats:
    return np.hstack([subject.draw(proposal, x, DRAWS // 2, far=far) for far in (False, True)])


def _place(subject: Subject, pairs: list[tuple[Floats, Floats]]) -> str:
    """Which array, and in which line of the file, by plain Python; nothing where that does not find it."""
    try:
        found = fresh.ask("named", subject.text, pairs)
    except LogpxError:
        return ""
    if "out of bounds" not in found.get("error", ""):
        return ""
    line = f" ({subject.text.partition(':')[0]}{found['line']})" if found["line"] else ""
    return f"{found['error']}{line}"


CHECKS = (Check("indices", "no index leaves its array (bounds checked, in a process of its own)", indices, vital=True),)
