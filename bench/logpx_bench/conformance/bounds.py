"""Indices: does the kernel stay inside its arrays? Every index is looked at, in a process of its own.

Compiled kernels run without bounds checks: one index too many reads or writes whatever lies there, and the answer may
even look right. Cost: compiling the kernel once more, a few seconds.
"""

from __future__ import annotations

import re

from logpx_bench.conformance import fresh
from logpx_bench.conformance.base import FAIL, PASS, Check, Finding, Subject
from logpx_bench.errors import LogpxError

_TODO = (
    "Compare the loops with the lengths: x has n_observed entries, z has n_latents (a block's z is (n_latents, B)), "
    "out has B, theta what the model was given; sizes belong in dims"
)
_RAISED = "A log joint returns −inf where the density is zero, and raises nothing"


def indices(subject: Subject) -> Finding:
    """The kernel with bounds checks, on a block of latents for each row."""
    (_, proposal), *_ = subject.proposals()
    pairs = [(x, subject.draw(proposal, x, 64)) for x in subject.rows]
    try:
        found = fresh.ask("checked", subject.text, pairs)
    except LogpxError as error:
        return Finding(FAIL, str(error), _TODO)
    if "error" not in found:
        return Finding(PASS, f"every index is in range, on {len(pairs)} rows of x")
    where = next((line for line in found["said"] if "out of bounds" in line), "")
    index = re.sub(r"^.*?(index )", r"\1", where)
    said = f"an {index}" if index else f"the kernel raised {found['error']}"
    return Finding(
        FAIL, said, _TODO if index else "A log joint returns −inf where the density is zero, and raises nothing"
    )


CHECKS = (Check("indices", "no index leaves its array (bounds checked, in a process of its own)", indices, vital=True),)
