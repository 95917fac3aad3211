"""Where the cells of a run keep their finished chunks, and what is there already.

Checkpoints lie in a folder beside the store, STORE.checkpoints, one file a stream: cells that differ in n_samples
alone share one, so that a longer run goes on from a shorter, and so do those of two suites. A file stays when its cells
are in the store. Nothing here deletes: a file that is in the way is moved aside.
"""

import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path

from logpx import _jit, storefile
from logpx.checkpoint import Checkpoint
from logpx.identity import differences
from logpx_bench.errors import StoreError
from logpx_bench.experiments import KINDS, Cell
from logpx_bench.plurals import counted
from logpx_bench.schema import content_key

#: Seconds, predicted, from which on a cell keeps its chunks where a run asks for it.
LONG = 10.0
#: What two cells that share a checkpoint may differ in.
_FREE = {"suite", "experiment", "n_samples", "threads"}


class Checkpoints:
    """The checkpoints of one run of a suite.

    Parameters
    ----------
    store : Path
        The results file.
    resume : bool
        Whether long cells of kinds that can keep their chunks do; some kinds always do.
    fresh : bool
        Whether files that are there are moved aside, and cells begin anew.
    predict : callable
        Seconds that a cell is expected to take.
    tell : callable
        Told in words what is gone on from, and what was moved.
    """

    def __init__(
        self, store: Path, resume: bool, fresh: bool, predict: Callable[[Cell], float], tell: Callable[[str], None]
    ) -> None:
        self.folder = store.with_name(f"{store.name}.checkpoints")
        self._resume, self._fresh, self._predict, self._tell = resume, fresh, predict, tell
        self.used: set[Path] = set()

    def of(self, cell: Cell) -> Path | None:
        """The file for a cell, in a folder that is there; None for a cell that keeps nothing.

        Raises
        ------
        StoreError
            It is no checkpoint, or that of another version of the code; or one to be moved that is being written.
        """
        resumes = KINDS[cell.kind].resumes
        if not (resumes == "always" or (resumes == "asked" and self._resume and self._predict(cell) >= LONG)):
            return None
        path = self.folder / name_of(cell)
        if path not in self.used:
            self.folder.mkdir(exist_ok=True)
            if self._fresh and path.exists():
                self._tell(f"{path.name} was moved aside, to {set_aside(path).name}")
            elif said := held(path):
                self._tell(f"{cell.words()} goes on from a checkpoint: {said}")
            self.used.add(path)
        return path


def name_of(cell: Cell) -> str:
    """The file name of a cell's checkpoint: what it is of, and a hash of all that may not differ."""
    same = {name: value for name, value in cell.coordinates().items() if name not in _FREE}
    return f"{cell.kind}-{cell.model}-{cell.estimator}-{content_key(same)[:12]}.sqlite"


def held(path: Path) -> str:
    """What a checkpoint holds, in words; "" where there is none. StoreError if it cannot be gone on from."""
    if not path.exists() or not path.stat().st_size:
        return ""
    with Checkpoint.open(path) as file:
        facts, n_samples, n_chunks = file.facts, file.n_samples, len(file.rows())
    here = {"source": _jit.source_hash(), "cpu_target": _jit.target()}
    if facts and (found := differences({fact: facts.get(fact) for fact in here}, here)):
        raise StoreError(
            f"{path} is of another build, and is left as it is: a stream is of one. What differs: {'; '.join(found)}. "
            "Go on with that one, or run again with --fresh, which moves the file aside and begins anew"
        )
    return f"{counted(n_chunks, 'chunk')} there, {n_samples:,} samples without a gap" if n_chunks else ""


def set_aside(path: Path) -> Path:
    """Rename a checkpoint, its log folded in, to a free name; the new name. StoreError if another process writes it."""
    lock = storefile.Lock(path)
    try:
        number = 1
        while (aside := path.with_name(f"{path.stem}.old-{number}{path.suffix}")).exists():
            number += 1
        with contextlib.suppress(sqlite3.Error), contextlib.closing(storefile.connect(path)) as file:
            file.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        path.rename(aside)
        for end in ("-wal", "-shm"):  # there only where another program reads the file
            if (part := path.with_name(path.name + end)).exists():
                part.rename(aside.with_name(aside.name + end))
    finally:
        lock.release()
    return aside
