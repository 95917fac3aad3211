"""What a point set is: where the randomness of an estimate comes from, and how it is addressed.

A point set turns an address (seed, replicate, row, sample index, dimension) into a number in (0, 1), or into a
standard normal number. Nothing else enters: no thread, no block size, no history. A *stream* is the sequence of
samples of one (seed, replicate, row); its state is a short uint64 vector, from which the kernels compute any
sample on its own.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from logpx.checks import whole
from logpx.errors import InputError

__all__ = ["PointSet", "hashed", "mixed"]

_SEED_LIMIT = 2**63


def mixed(bits: ArrayLike) -> NDArray[np.uint64]:
    """SplitMix64's step, a bijection of 64 bits in which every output bit depends on every input bit.

    Source: G. L. Steele, D. Lea, C. H. Flood, Fast splittable pseudorandom number generators, OOPSLA 2014.
    """
    x = np.atleast_1d(np.asarray(bits, dtype=np.uint64)) + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def hashed(seed: int, *fields: ArrayLike) -> NDArray[np.uint64]:
    """64-bit hash of (seed, field, field, …), arrays broadcast; one field apart never collides for equal seeds."""
    state = mixed(seed)
    for field in fields:
        state = mixed(state + np.asarray(field, dtype=np.uint64))
    return state


def _whole_array(name: str, values: ArrayLike, limit: int) -> NDArray[np.uint64]:
    array = np.atleast_1d(np.asarray(values))
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise InputError(
            f"{name} has shape {array.shape} and dtype {array.dtype}; give a vector of whole numbers, one a stream."
        )
    if array.size and (int(array.min()) < 0 or int(array.max()) >= limit):
        raise InputError(f"{name} runs from {array.min()} to {array.max()}; each may be from 0 to {limit - 1}.")
    return array.astype(np.uint64)


@dataclass(frozen=True)
class PointSet:
    """A source of base noise.

    Attributes
    ----------
    name : str
        Its name in the registry and in `estimate(..., points=name)`.
    iid : bool
        True if the samples of one stream are independent. Where False, only replicates are.
    kernels : mapping of str to kernel
        "uniform" and "normal": block kernels of kind "points".
    build : callable
        build(seed, replicates, rows, n_base) -> uint64 (S, n_state); replicates and rows are uint64 (S,).
    summary : str
        One line for lists.
    row_limit : int
        Rows are numbered from 0 to row_limit − 1.
    index_limit : int
        Samples of a stream are numbered from 0 to index_limit − 1.
    base_limit : int
        The largest n_base.
    """

    name: str
    iid: bool
    kernels: Mapping[str, Any]
    build: Callable[[int, NDArray[np.uint64], NDArray[np.uint64], int], NDArray[np.uint64]]
    summary: str = ""
    row_limit: int = 2**32
    index_limit: int = 2**63
    base_limit: int = 2**31

    def states(self, seed: int, replicates: ArrayLike, rows: ArrayLike, n_base: int) -> NDArray[np.uint64]:
        """States of S streams at once.

        Parameters
        ----------
        seed : int
            From 0 to 2^63 − 1.
        replicates, rows : integer arrays, shape (S,)
            Which replicate and which row of x each stream belongs to; one of them may be a single number.
        n_base : int
            Numbers a sample needs.

        Returns
        -------
        ndarray of uint64, shape (S, n_state), C-contiguous

        Raises
        ------
        InputError
            Where an argument is no whole number, or out of range.

        Examples
        --------
        >>> from logpx.points import REGISTRY
        >>> REGISTRY["independent"].states(seed=0, replicates=[0, 0, 1], rows=[0, 1, 0], n_base=2).shape
        (3, 3)
        """
        seed = whole("seed", seed, 0, _SEED_LIMIT - 1)
        n_base = whole("n_base", n_base, 1, self.base_limit)
        replicate_array = _whole_array("replicates", replicates, _SEED_LIMIT)
        row_array = _whole_array("rows", rows, self.row_limit)
        try:
            replicate_array, row_array = np.broadcast_arrays(replicate_array, row_array)
        except ValueError:
            raise InputError(
                f"replicates has {replicate_array.size} entries and rows has {row_array.size}; "
                "give as many of each, or one of either."
            ) from None
        return np.ascontiguousarray(self.build(seed, replicate_array, row_array, int(n_base)))

    def state(self, seed: int, replicate: int, row: int, n_base: int) -> NDArray[np.uint64]:
        """State of one stream, uint64 (n_state,); see `states`."""
        replicates = [whole("replicate", replicate, 0, _SEED_LIMIT - 1)]
        return self.states(seed, replicates, [whole("row", row, 0, self.row_limit - 1)], n_base)[0]

    def check_index(self, stop: int) -> None:
        """Raise InputError if a stream of this point set has no samples up to index `stop` − 1."""
        if stop > self.index_limit:
            raise InputError(
                f"Samples up to index {stop - 1} were asked of {self.name!r} points, which have {self.index_limit} "
                "a stream. Take fewer samples, more replicates, or points='independent'."
            )
