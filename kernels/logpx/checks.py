"""Numbers as arguments: one check for all of them. A count, index, size or seed is an int or a whole float."""

import sys
from typing import Any

import numpy as np

from logpx.errors import InputError

#: Most samples of a stream.
MAX_SAMPLES = 1 << 62
_NAMES = {1 << 62: "2^62", (1 << 63) - 1: "2^63 − 1", (1 << 32) - 1: "2^32 − 1", 1 << 32: "2^32"}


def whole(name: str, value: Any, least: int = 1, most: int = MAX_SAMPLES) -> int:
    """The value as an int from `least` to `most`; InputError, with its name, for anything else."""
    number = isinstance(value, int | np.integer) or (isinstance(value, float) and value.is_integer())
    if isinstance(value, bool) or not number or not least <= value <= most:
        raise InputError(f"{name}={value!r}: a whole number from {least} to {_NAMES.get(most, most)}")
    return int(value)


def as_array(name: str, values: Any) -> np.ndarray:
    """Real numbers of any framework as an array of their own dtype, without a copy where that can be.

    Anything that NumPy reads, has __array__ or speaks DLPack, in the CPU's memory; tensors that record gradients are
    detached. InputError for complex numbers, truth values, text, masked entries, and what lies on another device.
    """
    try:
        plain = values.detach() if hasattr(values, "detach") else values
        foreign = not hasattr(plain, "__array__") and hasattr(plain, "__dlpack__")
        array = np.from_dlpack(plain) if foreign else np.asarray(plain)
    except MemoryError:
        raise
    except Exception as error:
        said = str(error).partition("\n")[0]
        raise InputError(
            f"{name}: a {type(values).__name__} that cannot be read as an array of real numbers ({said}). Hand over "
            "float32 or float64 numbers in the CPU's memory, for example tensor.float().cpu() or jax.device_get(array)"
        ) from error
    if np.ma.is_masked(values):
        raise InputError(f"{name}: a masked array with masked entries; fill them first, for example .filled(-np.inf)")
    if array.dtype.kind not in "fiu":
        raise InputError(f"{name}: an array of real numbers, not of dtype {array.dtype}; convert it to float64")
    return array


def real_array(name: str, values: Any) -> np.ndarray:
    """As `as_array`, in float64; infinities and nan included."""
    if type(values) is np.ndarray and values.dtype == np.float64:
        return values
    with np.errstate(over="ignore"):
        return as_array(name, values).astype(np.float64, copy=False)


def positive_number(name: str, value: Any, unit: str) -> float:
    """The value as a finite float above zero; InputError for anything else."""
    number = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    if not number or not 0 < value <= sys.float_info.max:
        raise InputError(f"{name}={value!r}: a number above 0, {unit}")
    return float(value)
