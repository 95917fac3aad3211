"""The bill of a cell: everything that an estimate cost, each item apart.

    n_evaluations      evaluations of log p(x, z), over all replicates
    n_gradients        evaluations of its gradient (none of the present estimators needs any)
    fit_seconds        making the proposal for this x
    compile_seconds    compiling kernels, or loading them from the cache
    seconds            wall time of the run, without the compile
    cpu_seconds        CPU time of all threads, less the wall time of the compile (which runs on one thread)
    peak_bytes         high-water mark of the process's resident memory

The high-water mark never falls: inside one process it is that of all cells so far. Two kinds read it as the memory of
a cell: "scaling", which gives each cell a fresh process, and "large_k", which begins the mark anew.
"""

import contextlib
import resource
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Bill:
    """What a cell cost; the module says what each item is."""

    n_evaluations: int
    n_gradients: int
    fit_seconds: float
    compile_seconds: float
    seconds: float
    cpu_seconds: float
    peak_bytes: int

    def columns(self) -> dict[str, Any]:
        """As columns of the table `cells`."""
        return asdict(self)


def peak_bytes() -> int:
    """High-water mark of this process's resident memory, bytes.

    Linux: VmHWM of /proc/self/status. `getrusage` would not do there: ru_maxrss survives exec, so that a fresh process
    starts at the peak of the one that started it. Elsewhere ru_maxrss, which macOS counts in bytes, others in KiB.
    """
    try:
        for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak) if sys.platform == "darwin" else int(peak) * 1024


def reset_peak() -> None:
    """Begin the high-water mark anew at the present size, where the system lets a process do so (Linux: clear_refs)."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


class Clock:
    """Wall and CPU seconds since it was made."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def wall(self) -> float:
        """Wall seconds."""
        return time.perf_counter() - self._wall

    def cpu(self) -> float:
        """CPU seconds of all threads of this process."""
        return time.process_time() - self._cpu


def bill(estimates: list[Any], fit_seconds: float, cpu_seconds: float, warm_up_seconds: float = 0.0) -> Bill:
    """The bill of a cell that ran these estimates, after a warm-up that compiled what they need."""
    compiling = sum(one.compile_seconds for one in estimates)
    return Bill(
        n_evaluations=int(sum(one.n_evaluations for one in estimates)),
        n_gradients=0,
        fit_seconds=fit_seconds,
        compile_seconds=warm_up_seconds + compiling,
        seconds=sum(one.seconds for one in estimates),
        cpu_seconds=max(0.0, cpu_seconds - compiling),
        peak_bytes=peak_bytes(),
    )
