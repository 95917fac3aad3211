"""Speed: what a sample takes, whether the arithmetic is done in packed registers, and if not, why not.

Measured in a process of its own: seconds to compile, the fastest of several rounds over one block of 1024 samples in
cache, and the instructions that block executes (`logpx_bench.assembly`). Never a failure: a slow model is right.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from logpx._jit import BLOCK
from logpx_bench.conformance import fresh
from logpx_bench.conformance.base import PASS, SKIP, Check, Finding, Subject
from logpx_bench.counts import WIDTHS, slot
from logpx_bench.errors import LogpxError

#: Functions of libm, which compiled code calls one number at a time.
LIBM = {
    *("exp", "exp2", "expm1", "log", "log1p", "log2", "log10", "pow", "sin", "cos", "tan", "sinh", "cosh", "tanh"),
    *("asin", "acos", "atan", "atan2", "lgamma", "gamma", "tgamma", "erf", "erfc", "hypot", "cbrt", "fmod"),
}
#: Share of the arithmetic in packed registers from which a kernel is called packed.
MOSTLY = 0.5
_ARITHMETIC = ("multiply", "add", "divide64", "root64")


def speed(subject: Subject) -> Finding:
    """Nanoseconds a sample, and what becomes of them."""
    (_, proposal), *_ = subject.proposals()
    x = subject.rows[0]
    try:
        found = fresh.ask("counted", subject.text, [(x, subject.draw(proposal, x, BLOCK))])
    except LogpxError as error:
        return Finding(SKIP, f"not measured: {error}")
    if "error" in found:
        return Finding(SKIP, f"not measured: the kernel raised {found['error']}")
    said = f"{found['ns']:.3g} ns a sample, compiled in {found['compile_seconds']:.2g} s; {_packed(subject, found)}"
    return Finding(PASS, said)


def _packed(subject: Subject, found: Mapping[str, Any]) -> str:
    if "counts" not in found:
        return "instructions are not counted on this machine"
    share = packed_share(found["counts"])
    if share is None:
        return "no floating-point arithmetic of its own"
    words = f"{100 * share:.0f} % of the arithmetic is packed"
    return words if share >= MOSTLY else f"{words}: {_why(subject, found)}"


def packed_share(counts: Mapping[str, float]) -> float | None:
    """The share of arithmetic instructions in registers wider than a scalar's slot; None where there are none."""
    narrow, *wide = (sum(counts.get(slot(unit, width), 0.0) for unit in _ARITHMETIC) for width in WIDTHS)
    return sum(wide) / (sum(wide) + narrow) if narrow or any(wide) else None


def _why(subject: Subject, found: Mapping[str, Any]) -> str:
    kernel = subject.model.log_joint
    called = sorted(LIBM & set(found["called"]))
    reasons = []
    if hasattr(getattr(kernel, "fields_of", kernel), "scalar"):
        reasons.append("a per_sample function takes one sample at a time; @logpx.log_joint takes a block")
    else:
        reasons.append("the innermost loop should run over the samples i of z[k, i] and out[i], without branches")
    if called:
        reasons.append(f"{', '.join(called)} of libm take one number at a time")
    return "; ".join(reasons)


CHECKS = (Check("speed", "time a sample, and whether it is packed", speed),)
