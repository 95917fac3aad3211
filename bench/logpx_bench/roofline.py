"""What this machine can do, measured: the roofs that a stage's time is held against.

    clock          a chain of dependent additions and exclusive ors, one cycle each: GHz
    fma_float64    x ← x·m + c on eight registers at once, eight times between a load and a store: GFLOP/s of one core
    fma_float32    the same in single precision
    triad_*        a ← b + s·c (McCalpin's STREAM), arrays together of a stated size: GB/s, 24 bytes an element as
                   STREAM counts them (what a write reads first is left out); `triad_memory_2` on two threads, half an
                   array each. How arrays lie decides a fifth of the first cache's rate: see `apart`
    rate_*         instructions per nanosecond by unit and width (`logpx_bench.assembly`), where they can be measured

S. Williams, A. Waterman, D. Patterson (2009), doi:10.1145/1498765.1498785, for the use of such roofs. Each is the best
of interleaved repetitions on one core, unless said: a roof is what the machine can do, not what it does on average.
Cost: about a second and 200 MB, most of them for the arrays that no cache holds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numba import types
from numpy.typing import NDArray

from logpx import _jit
from logpx_bench import assembly, machine

#: Bytes of the three arrays of a triad together: well within L1, L2 and L3 of common cores, and beyond all.
SIZES = {"l1": 3 << 13, "l2": 3 << 17, "l3": 3 << 21, "memory": 3 << 26}
#: Registers in flight and steps between memory accesses of the loops at the peak.
STREAMS, STEPS = 8, 8
#: Bytes of a page and of a cache line.
PAGE, LINE = 4096, 64
_WIDTH = 256  # numbers of each stream: all of them in L1


@_jit.leaf
def _steps(x, m, c):
    x = x * m + c
    x = x * m + c
    x = x * m + c
    x = x * m + c
    x = x * m + c
    x = x * m + c
    x = x * m + c
    return x * m + c


def _peak(a, repeats):
    m, c, w = a.dtype.type(0.5), a.dtype.type(1.0), _WIDTH
    for _ in range(repeats):
        for i in range(w):
            x0, x1, x2, x3 = a[i], a[i + w], a[i + 2 * w], a[i + 3 * w]
            x4, x5, x6, x7 = a[i + 4 * w], a[i + 5 * w], a[i + 6 * w], a[i + 7 * w]
            x0, x1, x2, x3 = _steps(x0, m, c), _steps(x1, m, c), _steps(x2, m, c), _steps(x3, m, c)
            x4, x5, x6, x7 = _steps(x4, m, c), _steps(x5, m, c), _steps(x6, m, c), _steps(x7, m, c)
            a[i], a[i + w], a[i + 2 * w], a[i + 3 * w] = x0, x1, x2, x3
            a[i + 4 * w], a[i + 5 * w], a[i + 6 * w], a[i + 7 * w] = x4, x5, x6, x7


def _chain(x, step, mask, n):
    for _ in range(n):
        x = (x + step) ^ mask
    return x


def _triad(a, b, c, s, repeats):
    for _ in range(repeats):
        for i in range(a.size):
            a[i] = b[i] + s * c[i]
        s += 1.0


_F8, _I8, _U8 = types.float64, types.int64, types.uint64
_compiled_peak = _jit.compiled_by_dtype(lambda dtype: types.void(_jit.SCALARS[dtype][::1], _I8))(_peak)
_compiled_chain = _jit.compiled(_U8(_U8, _U8, _U8, _I8))(_chain)
_compiled_triad = _jit.compiled(types.void(_F8[::1], _F8[::1], _F8[::1], _F8, _I8))(_triad)


def _best(calls: Mapping[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Seconds of each call, the least of interleaved repetitions; a first one of each is not counted."""
    best = dict.fromkeys(calls, float("inf"))
    for repeat in range(repeats + 1):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            taken = time.perf_counter() - start
            best[name] = min(best[name], taken) if repeat else best[name]
    return best


def _arithmetic(repeats: int) -> dict[str, float]:
    steps, loops, work = 200_000, 40, STREAMS * _WIDTH
    arrays = {dtype: np.ones(work, dtype) for dtype in _jit.SCALARS}
    calls: dict[str, Callable[[], Any]] = {
        f"fma_{dtype}": lambda dtype=dtype: _compiled_peak[dtype](arrays[dtype], loops)  # type: ignore[misc]  # bound
        for dtype in arrays
    }
    calls["clock"] = lambda: _compiled_chain(np.uint64(1), np.uint64(3), np.uint64(0x55), steps)
    best = _best(calls, repeats)
    found = {name: 1e-9 * 2 * STEPS * work * loops / best[name] for name in calls if name != "clock"}
    return found | {"clock": 1e-9 * 2 * steps / best["clock"]}


def apart(n: int) -> list[NDArray[np.float64]]:
    """Three arrays of n ones for a triad: each begins at a cache line, at another third of a page.

    A vector of 64 bytes that begins elsewhere straddles two lines (233 GB/s of L1 in place of 297 on one machine), and
    some cores hold back a load whose address ends in the same 12 bits as that of a store before it.
    """
    step = -(-8 * n // PAGE) * PAGE + PAGE // 3 // LINE * LINE
    room = np.empty(3 * step + PAGE, np.uint8)
    starts = [-room.ctypes.data % PAGE + i * step for i in range(3)]
    arrays = [room[start : start + 8 * n].view(np.float64) for start in starts]
    for one in arrays:
        one[:] = 1.0
    return arrays


def _bandwidth(repeats: int) -> dict[str, float]:
    calls: dict[str, Callable[[], Any]] = {}
    moved: dict[str, float] = {}
    with ThreadPoolExecutor(2) as pool:
        for level, size in SIZES.items():
            a, b, c = apart(size // 24)
            loops = max(1, (3 << 24) // size)  # enough that what an earlier call left in the cache does not count
            moved[f"triad_{level}"] = 24.0 * a.size * loops
            calls[f"triad_{level}"] = lambda a=a, b=b, c=c, n=loops: _compiled_triad(a, b, c, 0.5, n)  # type: ignore[misc]
        if machine.n_cores() > 1:
            half = a.size // 2
            halves = [(a[:half], b[:half], c[:half]), (a[half:], b[half:], c[half:])]
            moved["triad_memory_2"] = moved["triad_memory"]
            calls["triad_memory_2"] = lambda: list(pool.map(lambda own: _compiled_triad(*own, 0.5, 1), halves))
        best = _best(calls, repeats)
    return {name: 1e-9 * moved[name] / seconds for name, seconds in best.items()}


def measure(repeats: int = 7) -> dict[str, float]:
    """Every limit by name, in the units that the module says.

    Examples
    --------
    >>> found = measure(repeats=1)
    >>> found["fma_float32"] > found["fma_float64"] > found["clock"] > 0
    True
    """
    found = _arithmetic(repeats) | _bandwidth(repeats)
    if assembly.supported():
        found |= {f"rate_{name}": rate for name, rate in assembly.rates(repeats).items()}
    return found
