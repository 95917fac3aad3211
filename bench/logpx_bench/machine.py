"""Where a result comes from: CPU, cores, threads, load, versions, commit, time. No host name, no paths, no user."""

import functools
import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from logpx import _jit
from logpx_bench.schema import content_key


def utc_now() -> str:
    """This moment, ISO 8601 in UTC, to the microsecond (so that two plans of one run keep their order)."""
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def n_cores() -> int:
    """Cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@functools.cache
def cpu_model() -> str:
    """The CPU's name as the system gives it; failing that, LLVM's."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.lower().startswith(("model name", "cpu model")):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or str(_jit.target()).partition("-")[0]


def load_1m() -> float | None:
    """Load average over the last minute; None where the system has none."""
    try:
        return round(os.getloadavg()[0], 2)
    except (OSError, AttributeError):
        return None


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _git(*arguments: str) -> str | None:
    """Output of a git command about the source tree; None without git, or outside a tree that it tracks."""
    here = Path(__file__).resolve().parent
    try:
        done = subprocess.run(
            ["git", "-C", str(here), *arguments], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


@functools.cache
def commit() -> tuple[str | None, bool | None]:
    """Commit of the source tree and whether tracked files differ from it; (None, None) where that is not known."""
    if _git("ls-files", "--error-unmatch", Path(__file__).name) is None:
        return None, None
    found = _git("rev-parse", "HEAD")
    if found is None:
        return None, None
    return found, bool(_git("status", "--porcelain", "--untracked-files=no"))


#: Packages that results depend on, by their column in the store: those that a timing depends on too, and those that
#: fit the models and write the figures' bytes.
TIMED = {name: name for name in ("numba", "llvmlite", "numpy", "scipy", "logpx")}
UNTIMED = {"scikit_learn": "scikit-learn", "matplotlib": "matplotlib"}


def versions(packages: Mapping[str, str] = TIMED | UNTIMED) -> dict[str, str | None]:
    """Versions of Python and of the packages that results depend on."""
    return {"python": platform.python_version(), **{column: _version(name) for column, name in packages.items()}}


def timing_facts(threads: int) -> dict[str, Any]:
    """What a timing depends on beside its cell and the source: part of the key of timed cells."""
    return {"cpu_model": cpu_model(), "n_cores": n_cores(), "threads": threads, **versions(TIMED)}


def provenance(threads: int) -> dict[str, Any]:
    """A row of the table `provenance`. Its id is made of everything but the time and the load."""
    hash_, dirty = commit()
    fixed = (
        timing_facts(threads)
        | versions()
        | {
            "commit_hash": hash_,
            "dirty": None if dirty is None else int(dirty),
            "cpu_target": _jit.target(),
            "source_hash": _jit.source_hash(),
        }
    )
    return {"id": content_key(fixed), "created_utc": utc_now(), "load_1m": load_1m(), **fixed}
