"""Whether logpx can work here: what `logpx doctor` looks at.

Versions, CPU and threads are facts. The kernel cache must be where it is asked to be, compiled kernels must give the
right answer (one small estimate, held against its exact value), and the store, if there is one, must be ours.
"""

import math
from pathlib import Path
from typing import NamedTuple

import logpx
from logpx import _jit
from logpx.models import ConjugateNormal
from logpx_bench import machine
from logpx_bench.errors import LogpxError
from logpx_bench.plurals import counted
from logpx_bench.store import Store

#: Standard errors by which the trial estimate may miss: false alarms at 2 in 10^9 (two-sided normal).
LIMIT = 6.0


class Finding(NamedTuple):
    """One thing looked at: what, what was found, and whether it is good."""

    what: str
    found: str
    good: bool = True


def examine(store: Path) -> list[Finding]:
    """Everything, in the order it is shown."""
    versions = [
        Finding(name.replace("_", "-"), version or "not installed", version is not None)
        for name, version in machine.versions().items()
    ]
    load = machine.load_1m()
    hash_, dirty = machine.commit()
    state = "not a git checkout" if hash_ is None else hash_[:12] + (" with changes" if dirty else "")
    return [
        *versions,
        Finding("commit", state),
        Finding("CPU", machine.cpu_model()),
        Finding("cores", f"{machine.n_cores()}, load {'unknown' if load is None else load}"),
        Finding("threads", f"{machine.n_cores()} in a run, one for each core; --threads chooses another number"),
        Finding("CPU target", _jit.target()),
        _jit_state(),
        _cache(),
        _trial(),
        _store(store),
    ]


def _jit_state() -> Finding:
    if _jit.DISABLED:
        return Finding("JIT", "disabled by NUMBA_DISABLE_JIT: everything runs as plain Python, far slower", False)
    return Finding("JIT", "enabled")


def _cache() -> Finding:
    folder = _jit.cache_folder()
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    text = f"{folder} ({size / 1e6:.1f} MB)"
    if folder.parent != _jit.cache_root():
        return Finding(
            "kernel cache", f"{text}: temporary, the usual place cannot be written; set LOGPX_CACHE_DIR", False
        )
    return Finding("kernel cache", text)


def _trial() -> Finding:
    """A small estimate against its exact value."""
    try:
        model, X = ConjugateNormal.example()
        x = X[0]
        estimate = logpx.estimate(model, x, n_samples=2**14, seed=1)
        miss = abs(float(estimate.log_marginal) - float(model.log_marginal(x)))
    except LogpxError as error:
        return Finding("trial estimate", f"failed: {error}", False)
    allowed = LIMIT * float(estimate.std_error) + 1e-12
    words = f"log p(x) off by {miss:.1e} nats, standard error {float(estimate.std_error):.1e}"
    return Finding("trial estimate", words, math.isfinite(miss) and miss <= allowed)


def _store(path: Path) -> Finding:
    if not path.exists():
        return Finding("store", f"{path}: none yet")
    try:
        with Store.open(path, create=False) as store:
            counts = ", ".join(counted(store.count(f"{what}s"), what) for what in ("cell", "level", "benchmark"))
            names = ", ".join(store.experiments()) or "none"
    except LogpxError as error:
        return Finding("store", str(error), False)
    return Finding("store", f"{path}: {counts}; experiments: {names}")
