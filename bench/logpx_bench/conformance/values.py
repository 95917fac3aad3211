"""Finite values: a log joint is a real number, or −inf where the density is zero; never nan, never +inf."""

from __future__ import annotations

import numpy as np

from logpx_bench.conformance.base import FAIL, PASS, Check, Finding, Subject, at

#: Latents a row and proposal.
DRAWS = 2**14


def finite(subject: Subject) -> Finding:
    """log p(x, z) over many draws of every proposal, at every row."""
    seen = zeros = 0
    for name, proposal in subject.proposals():
        for i, x in enumerate(subject.rows):
            z = subject.draw(proposal, x, DRAWS)
            values = subject.log_joint(x, z)
            bad = np.flatnonzero(~(values < np.inf))
            if bad.size:
                return Finding(
                    FAIL,
                    f"log p(x, z) is {values[bad[0]]} at {at(z[:, bad[0]])} for row {i} of x, and so for {bad.size} of "
                    f"{DRAWS} draws of {name}",
                    "Look for log or sqrt of a number below zero, 0 · inf, inf − inf, overflow of exp: keep to "
                    "logarithms, and return −inf where the density is zero",
                )
            seen, zeros = seen + values.size, zeros + int(np.isneginf(values).sum())
    where = f"; {zeros} are −inf: zero density" if zeros else ""
    return Finding(PASS, f"{seen} values of log p(x, z) are finite{where}")


CHECKS = (Check("finite", "no nan and no +inf over draws of the proposals", finite),)
