"""What a kernel may do wrong while it runs, put into words: it raises, or it writes past the end of an array.

The compiled driver (`logpx.driver`) notices both; what it says are numbers, from which these errors are made.
"""

from typing import Any

from logpx.errors import KernelError

_CHECK = (
    "Set NUMBA_BOUNDSCHECK=1 in the environment and run again: the index at fault is then an error where it is used"
)
#: Which kernels are given each of the driver's guarded arrays.
_HAVE = {"eps": ("points", "proposal"), "z": ("proposal", "log_joint"), "log_q": ("proposal",), "out": ("log_joint",)}


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
