"""Numbers as arguments: one check for all of them. A count, index, size or seed is an int or a whole float."""

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


def real_array(name: str, values: Any) -> np.ndarray:
    """The values as a float64 array, infinities and nan included; InputError for anything that is not real numbers."""
    try:
        array = np.asarray(values)
        if array.dtype.kind not in "fiub":
            raise TypeError(f"dtype {array.dtype}")
        return array.astype(np.float64, copy=False)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name}: an array of real numbers, not {error}; convert it to float64") from error


def positive_number(name: str, value: Any, unit: str) -> float:
    """The value as a finite float above zero; InputError for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.number) or not 0 < float(value) < np.inf:
        raise InputError(f"{name}={value!r}: a number above 0, {unit}")
    return float(value)
