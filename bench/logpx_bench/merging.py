"""Files of several machines made one: results stores into a store, checkpoints of one run into a checkpoint.

What a file is stands in its header (SQLite's application_id). Everything is compared before anything is written, and
each file goes in within one transaction (results stores all within the same), so that a merge which is killed leaves
the target whole, and the same merge again completes it. Twice adds nothing.
"""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from logpx import checkpoint
from logpx.checkpoint import Checkpoint
from logpx.identity import differences
from logpx_bench import schema
from logpx_bench.errors import StoreError
from logpx_bench.plurals import counted
from logpx_bench.store import Store

RESULTS, CHECKPOINT = "results file", "checkpoint"
_KINDS = {schema.APPLICATION_ID: RESULTS, checkpoint.APPLICATION_ID: CHECKPOINT}


def kind_of(path: Path) -> str:
    """Whether a file is a results file or a checkpoint; StoreError if it is neither."""
    if not path.is_file():
        raise StoreError(f"{path}: there is no such file; name results files or checkpoints of logpx")
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as file:
            found = file.execute("PRAGMA application_id").fetchone()[0]
    except sqlite3.Error as error:
        raise StoreError(f"{path} is not a file of logpx ({error}); it is left as it is") from error
    if found not in _KINDS:
        raise StoreError(
            f"{path} is empty or a file of another program (application_id {found:#x}); it is left as it is. Name "
            "results files or checkpoints of logpx"
        )
    return _KINDS[found]


def merge(target: Path, files: Sequence[Path]) -> list[str]:
    """Add files to a target of their kind, made where there is none; what was added, in words, a line a file.

    Raises
    ------
    StoreError
        A file is of neither kind, of another than the rest, or of another run; two contradict each other.
    """
    kinds = {path: kind_of(path) for path in (*files, *([target] if target.exists() else []))}
    kind = kinds[files[0]]
    for path, other in kinds.items():
        if other != kind:
            raise StoreError(f"{files[0]} is a {kind} and {path} a {other}: merge files of one kind")
    return _results(target, files) if kind == RESULTS else _checkpoints(target, files)


def _results(target: Path, files: Sequence[Path]) -> list[str]:
    new = not target.exists()
    try:
        with Store.open(target) as store:
            added = store.merge(*files)
    except BaseException:
        if new:
            target.unlink(missing_ok=True)
        raise
    return [
        f"{path}: {counted(rows['cells'], 'cell')} and {counted(rows['benchmarks'], 'benchmark')} added to {target}"
        for path, rows in added.items()
    ]


def _checkpoints(target: Path, files: Sequence[Path]) -> list[str]:
    runs: dict[Path, dict[str, Any]] = {}
    for path in (*([target] if target.exists() else []), *files):
        with Checkpoint.open(path) as file:
            if facts := file.facts:
                runs[path] = facts
    for path, facts in runs.items():
        first = next(iter(runs))
        if found := differences(runs[first], facts):
            raise StoreError(
                f"{first} (there) and {path} (here) are checkpoints of two runs, and nothing was merged. What differs: "
                f"{'; '.join(found)}. Merge those of one run"
            )
    lines = []
    with Checkpoint.open(target, create=True) as file:
        for path in files:  # the target itself adds nothing
            try:
                lines.append(f"{path}: {counted(file.merge(path), 'chunk')} added to {target}")
            except StoreError as error:
                raise StoreError(f"{path} was not merged, those before it were: {error}") from error
    return lines
