"""One log joint, written or run in two ways: the scalar form against the block, plain Python against machine code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from logpx_bench.conformance import fresh
from logpx_bench.conformance.base import FAIL, PASS, SKIP, Check, Finding, Floats, Subject, apart, at
from logpx_bench.errors import LogpxError

#: Relative difference (absolute below 1) that rounding may make: the order of a sum, fused multiply-adds.
TOLERANCE, DRAWS = 1e-10, 64


def _scalar(subject: Subject) -> tuple[str, Callable[..., float]] | None:
    """The scalar form, and where it comes from: it takes theta as the kernel does."""
    kernel = subject.model.log_joint
    behind = getattr(kernel, "fields_of", kernel)
    if subject.given.scalar is not None:
        return "scalar of the file", subject.given.scalar
    if hasattr(subject.model, "log_joint_scalar"):
        return "log_joint_scalar", subject.model.log_joint_scalar
    if hasattr(behind, "scalar"):
        return f"the function {behind.scalar.__name__} itself", behind.scalar
    return None


def scalar(subject: Subject) -> Finding:
    """The scalar form, called sample by sample in Python, against the compiled block."""
    found = _scalar(subject)
    if found is None:
        return Finding(SKIP, "there is one form alone; define scalar(theta, dims, x, z) in the file to compare with")
    name, function = found
    layout = getattr(subject.model.log_joint, "layout", None)
    theta = subject.model.theta if layout is None else layout.unpack(subject.model.theta)
    todo = (
        "One of the two is wrong: put in the z above by hand. In a block kernel look at what is carried from one i to "
        "the next"
    )

    def one_by_one(x: Floats, z: Floats) -> Floats:
        with np.errstate(all="ignore"):
            return np.array([function(theta, subject.sizes, x, one) for one in z.T])

    return _compared(subject, one_by_one, name, "the compiled block", todo)


def python(subject: Subject) -> Finding:
    """The kernel and all it calls as Python, in a process without a compiler, against machine code."""

    def plain(x: Floats, z: Floats) -> Floats:
        found = fresh.ask("plain", subject.text, [(x, z)])
        if "error" in found:
            raise LogpxError(f"in plain Python the kernel raised {found['error']}")
        return np.array(found["values"][0], dtype=np.float64)

    todo = (
        "Compiled code sees globals as they were when it was compiled, integers of 64 bits that wrap around, and no "
        "negative index past the start; Python differs there. Pass what changes in theta, and make the types plain"
    )
    try:
        return _compared(subject, plain, "plain Python", "compiled code", todo, rows=1)
    except fresh.UnendingError as error:  # compiled code did end, or this check would not have been reached
        return Finding(SKIP, f"not compared: {error}")
    except LogpxError as error:
        return Finding(FAIL, str(error), todo)


def _compared(subject: Subject, other: Any, name: str, ours: str, todo: str, rows: int | None = None) -> Finding:
    worst = 0.0
    (_, proposal), *_ = subject.proposals()
    for i, x in enumerate(subject.rows[:rows]):
        z = subject.draw(proposal, x, DRAWS)
        a, b = other(x.copy(), z.copy()), subject.log_joint(x, z)
        difference = apart(a, b)
        k = int(np.argmax(difference))
        worst = max(worst, float(difference[k]))
        if worst > TOLERANCE:
            said = f"{name} gives {a[k]:.12g} and {ours} {b[k]:.12g} at {at(z[:, k])}, row {i} of x"
            return Finding(FAIL, said, todo)
    return Finding(PASS, f"{name} agrees with {ours} within {worst:.1e}, relative")


CHECKS = (
    Check("scalar", "the scalar form agrees with the block", scalar),
    Check("python", "plain Python agrees with compiled code (in a process of its own)", python),
)
