"""What a kernel may do wrong, put into words: it does not compile, raises, or writes past the end of an array.

Numba's message is cut to its first lines, and a name that theta lacks is held against those it has. The compiled driver
(`logpx.driver`) notices the other two; what it says are numbers, from which these errors are made.
"""

import difflib
import re
from typing import Any

from logpx.errors import KernelError

_CHECK = (
    "logpx check my_model.py, with the model and x in that file, says which array and which line; or set "
    "NUMBA_BOUNDSCHECK=1 in the environment and run again: the index at fault is then an error where it is used"
)
#: Lines of the compiler's message that are shown.
LINES = 4
#: Which kernels are given each of the driver's guarded arrays.
_HAVE = {"eps": ("points", "proposal"), "z": ("proposal", "log_joint"), "log_q": ("proposal",), "out": ("log_joint",)}


def said_by_compiler(error: Exception, layout: Any = None) -> str:
    """The first lines of Numba's message, on one line; where theta has no such entry, those that it has."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = " | ".join([line for line in lines if not line.startswith(("Failed in", "During:"))][:LINES])
    unknown = re.search(r"Unknown attribute '(\w+)' of type theta\(", str(error))
    if layout is None or unknown is None:
        return said
    near = difflib.get_close_matches(unknown[1], layout.names, n=1)
    hint = f"; did you mean theta.{near[0]}?" if near else ""
    return f"theta has no entry {unknown[1]}; it has {', '.join(layout.names)}{hint} | {said}"


def raised(model_name: str, kernels: dict[str, Any], row: int, start: int, error: Exception) -> KernelError:
    """The error for a kernel that raised in the block of samples that begins at `start`."""
    what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return KernelError(
        f"the log_joint kernel {_name(kernels['log_joint'])} of model {model_name} (or the proposal kernel "
        f"{_name(kernels['proposal'])}) raised {what}, at row {row} of x in the block of samples from {start} on. "
        "A log joint returns −inf where the density is zero, and raises nothing"
    )


def overrun(model_name: str, kernels: dict[str, Any], array: str) -> KernelError:
    """The error for a kernel that wrote past an end of one of the arrays that it was given."""
    names = " or ".join(f"the {kind} kernel {_name(kernels[kind])}" for kind in _HAVE[array])
    return KernelError(
        f"{names} of model {model_name} wrote past an end of its array {array}. Nothing of this run can be trusted: "
        f"memory that is not the kernel's may have been written too. {_CHECK}"
    )


def _name(kernel: Any) -> str:
    return str(getattr(kernel, "__name__", kernel))
