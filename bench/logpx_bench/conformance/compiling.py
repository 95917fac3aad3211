"""Whether the kernel compiles, and if not, what the compiler says of it."""

from __future__ import annotations

from logpx.errors import InputError
from logpx_bench.conformance.base import FAIL, PASS, Check, Finding, Subject

_TODO = (
    "Compiled code knows numbers, tuples, arrays, math and NumPy's functions of them; no other module, no dict, no "
    "string. A per_sample function returns one float on every path; a name after theta. must be one of the dict's"
)


def compiles(subject: Subject) -> Finding:
    """Compile the log joint at the engine's signature."""
    try:
        seconds = subject.compile_seconds
    except InputError as error:
        what = str(error).partition("Numba says: ")[2] or str(error)
        return Finding(FAIL, f"the kernel {subject.model.name} does not compile: {what}", _TODO)
    return Finding(PASS, f"the kernel {subject.model.name} is ready in {seconds:.2g} s")


CHECKS = (Check("compiles", "the kernel compiles", compiles, vital=True),)
