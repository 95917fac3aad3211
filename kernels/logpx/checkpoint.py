"""A run on disk: every finished task is a committed row of one SQLite file, and a run goes on from what is there.

A checkpoint belongs to one *run*, which is everything that fixes the weights: model, data, proposal, seed, dtype, code, CPU
target. These facts stand in the file in clear text, so that a refusal can name the one that differs. How many samples
are taken, by how many threads and where, is not among them. Rows are ladders over ranges of samples of some streams;
their bits are the same whoever computes them, so that a task which was run twice is ignored. One process writes at a
time. Cost: a commit that waits for the disk (`synchronous = FULL`, some milliseconds) a task; what a power cut takes is
the tasks that were running. Reading 10^5 rows takes about a second.
"""

import contextlib
import datetime
import hashlib
import json
import os
import platform
import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np

from logpx import _jit, packing
from logpx.errors import StoreError
from logpx.groups import N_FIELDS
from logpx.ladder import Ladder
from logpx.tasks import CHUNK, Done, Problem

#: "LPXC", in the header of every checkpoint (SQLite's application_id).
APPLICATION_ID = 0x4C505843
#: Version of the tables (SQLite's user_version).
VERSION = 1
#: Seconds to wait for another program that has the file locked.
PATIENCE = 5.0

_TABLES = (
    "CREATE TABLE run (key TEXT PRIMARY KEY, facts TEXT NOT NULL, created_utc TEXT NOT NULL)",
    "CREATE TABLE tasks (first_stream INTEGER, n_streams INTEGER, start INTEGER, count INTEGER, seconds REAL, "
    "host TEXT, created_utc TEXT, checksum INTEGER NOT NULL, ladder BLOB NOT NULL, groups BLOB NOT NULL, "
    "PRIMARY KEY (first_stream, start, count, n_streams))",
)
_KEY = "first_stream, n_streams, start, count"
_ABOUT = "seconds, host, created_utc"
_BLOBS = "checksum, ladder, groups"


class Row(NamedTuple):
    """Which samples of which streams a finished task has, and who took how long for it."""

    id: int
    first_stream: int
    n_streams: int
    start: int
    count: int
    seconds: float
    host: str
    created_utc: str

    @property
    def stop(self) -> int:
        return self.start + self.count

    @property
    def streams(self) -> range:
        return range(self.first_stream, self.first_stream + self.n_streams)


class Checkpoint:
    """A file of finished tasks. Make one with `Checkpoint.open`; use it in a `with` block."""

    def __init__(self, path: Path, connection: sqlite3.Connection, lock: sqlite3.Connection | None) -> None:
        self.path, self._connection, self._lock = path, connection, lock

    # -- opening ---------------------------------------------------------------------------------------------

    @classmethod
    def open(cls, path: str | os.PathLike[str], *, create: bool = False) -> "Checkpoint":
        """Open a checkpoint to read it; with `create` to write too: it is made where there is none, or an empty file,
        and no other process may write until it is closed.

        Raises
        ------
        StoreError
            Nothing there (without `create`), a folder, a file that is not a checkpoint, one of a newer version, a damaged
            one; one that another process is writing (with `create`). The file is left as it is.
        """
        path = Path(path)
        _check_file(path, create)
        lock = _locked(path) if create else None
        connection = None
        try:
            with _told(path, "read"):
                if path.exists() and path.stat().st_size:
                    _check_contents(path)
                connection = sqlite3.connect(path, timeout=PATIENCE, isolation_level=None)
                connection.execute(f"PRAGMA busy_timeout = {int(1000 * PATIENCE)}")
                opened = cls(path, connection, lock)
                if create:
                    opened._make_tables()
        except BaseException:
            if connection is not None:
                connection.close()
            _unlocked(path, lock)
            raise
        return opened

    def _make_tables(self) -> None:
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = FULL")
        if self._connection.execute("PRAGMA user_version").fetchone()[0] == VERSION:
            return
        with self._transaction():
            for statement in _TABLES:
                self._connection.execute(statement)
            self._connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            self._connection.execute(f"PRAGMA user_version = {VERSION}")

    def close(self) -> None:
        """Close the file and let others write. Rows are on disk when the call that added them returned."""
        self._connection.close()
        _unlocked(self.path, self._lock)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        """All or nothing; SQLite's errors become ours."""
        with _told(self.path, "written"):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    # -- whose run it is -------------------------------------------------------------------------------------

    @property
    def facts(self) -> dict[str, Any]:
        """Everything that fixes the weights of the run; empty for a checkpoint that no run has begun."""
        with _told(self.path, "read"):
            found = self._connection.execute("SELECT facts FROM run").fetchone()
        return json.loads(found[0]) if found else {}

    def claim(self, facts: Mapping[str, Any]) -> None:
        """Make this the checkpoint of a run; StoreError, naming what differs, if it is that of another."""
        there = self.facts
        if not there:
            text = json.dumps(facts, sort_keys=True, ensure_ascii=False)
            with self._transaction():
                key = hashlib.sha256(text.encode()).hexdigest()
                self._connection.execute("INSERT INTO run VALUES (?, ?, ?)", (key, text, _now()))
        elif differences := _differences(there, facts):
            raise StoreError(
                f"{self.path} is the checkpoint of another run, and is left as it is. It differs in "
                f"{'; '.join(differences)}. Give the run of the checkpoint, or another file"
            )

    # -- rows ------------------------------------------------------------------------------------------------

    def rows(self) -> list[Row]:
        """All finished tasks, in the order of their samples, the larger first."""
        command = f"SELECT rowid, {_KEY}, {_ABOUT} FROM tasks ORDER BY start, count DESC, first_stream"
        with _told(self.path, "read"):
            return [Row(*row) for row in self._connection.execute(command)]

    def add(self, streams: range, done: Done) -> bool:
        """Commit a finished task. False if it was there already; StoreError if it was with other bits."""
        key = streams.start, len(streams), done.start, done.stop - done.start
        blobs = done.ladder.to_bytes(), b"".join(_pack(done.groups[start]) for start in sorted(done.groups))
        values = (*key, done.seconds, done.host, _now(), _checksum(*blobs), *blobs)
        command = f"INSERT OR IGNORE INTO tasks ({_KEY}, {_ABOUT}, {_BLOBS}) VALUES ({', '.join('?' * len(values))})"
        with self._transaction():
            new = self._connection.execute(command, values).rowcount > 0
        if not new:
            where = " AND ".join(f"{name} = ?" for name in _KEY.split(", "))
            with _told(self.path, "read"):
                found = self._connection.execute(f"SELECT ladder, groups FROM tasks WHERE {where}", key).fetchone()
            self._check_same(key, blobs, found)
        return new

    def _check_same(self, key, ours, theirs):
        if ours != theirs and [packing.without_top(ours[0]), ours[1]] != [packing.without_top(theirs[0]), theirs[1]]:
            first_stream, n_streams, start, count = key
            raise StoreError(
                f"{self.path}: samples {start} … {start + count - 1} of streams {first_stream} … "
                f"{first_stream + n_streams - 1} are there with other bits. Nothing was changed. One of the two machines "
                "computes wrongly, or its code was changed; run the task again on both"
            )

    def blobs(self, rows: Iterable[Row]) -> Iterator[tuple[bytes, bytes]]:
        """Ladder and groups of each row, as bytes, checked."""
        command = f"SELECT {_BLOBS} FROM tasks WHERE rowid = ?"
        for row in rows:
            with _told(self.path, "read"):
                checksum, ladder, groups = self._connection.execute(command, (row.id,)).fetchone()
            if checksum != _checksum(ladder, groups):
                raise StoreError(
                    f"{self.path} is damaged: samples {row.start} … {row.stop - 1} of streams {row.streams.start} … "
                    f"{row.streams.stop - 1} are not as they were written. Put a copy in its place, or name another"
                )
            yield ladder, groups

    def done(self, row: Row, streams: range) -> Done:
        """The finished task of a row, of some of its streams."""
        (ladder, groups) = next(self.blobs([row]))
        own = range(streams.start - row.first_stream, streams.stop - row.first_stream)
        return Done(Ladder.from_bytes(ladder).part(own), self.groups(row, groups, own), row.seconds, row.host)

    def groups(self, row: Row, data: bytes, own: range) -> dict[int, np.ndarray]:
        """The open groups of some streams of a row, by the start of each chunk."""
        if not data:
            return {}
        shape = -(-row.count // CHUNK), row.n_streams, -1, N_FIELDS
        states = np.frombuffer(data, "<f8").astype(np.float64).reshape(shape)
        return {row.start + i * CHUNK: state[own.start : own.stop] for i, state in enumerate(states)}

    def ladders(self) -> Iterator[tuple[Row, Ladder]]:
        """Every finished task with its ladder, in the order of their samples."""
        rows = self.rows()
        for row, (ladder, _) in zip(rows, self.blobs(rows), strict=True):
            yield row, Ladder.from_bytes(ladder)

    @property
    def n_samples(self) -> int:
        """How many samples from the first on every stream has without a gap."""
        rows, n_streams = self.rows(), self.facts.get("streams", 1)
        found, _ = chains(rows, n_streams, lane_size(rows, n_streams, n_streams), 1 << 62)
        return min(max((row.stop for row in leading(chain)), default=0) for chain in found)

    # -- moving ----------------------------------------------------------------------------------------------

    def merge(self, other: str | os.PathLike[str]) -> int:
        """Add the tasks that another checkpoint of the same run has and this one lacks; how many. Twice adds none.

        Raises
        ------
        StoreError
            `other` is not a checkpoint of this run, or has a task with other bits; nothing is added then.
        """
        with Checkpoint.open(other) as theirs:
            facts = theirs.facts
        if Path(other).resolve() == self.path.resolve() or not facts:
            return 0
        self.claim(facts)
        same = " AND ".join(f"a.{name} = b.{name}" for name in _KEY.split(", "))
        columns = ", ".join((_KEY, _ABOUT, _BLOBS))
        keys = ", ".join(f"a.{name}" for name in _KEY.split(", "))
        with _told(self.path, "written"):
            self._connection.execute("ATTACH DATABASE ? AS other", [str(other)])
        try:
            with self._transaction():
                both = self._connection.execute(
                    f"SELECT {keys}, a.ladder, a.groups, b.ladder, b.groups FROM main.tasks a JOIN other.tasks b "
                    f"ON {same} WHERE a.ladder != b.ladder OR a.groups != b.groups"
                )
                for *key, a_ladder, a_groups, b_ladder, b_groups in both:
                    self._check_same(key, (a_ladder, a_groups), (b_ladder, b_groups))
                return self._connection.execute(
                    f"INSERT OR IGNORE INTO main.tasks ({columns}) SELECT {columns} FROM other.tasks"
                ).rowcount
        finally:
            self._connection.execute("DETACH DATABASE other")


# --- which rows serve ----------------------------------------------------------------------------------------


def lane_size(rows: Iterable[Row], n_streams: int, most: int) -> int:
    """The largest batch of streams, a power of two up to `most`, that lies within the streams of every row."""
    size = 1 << (most.bit_length() - 1)
    for row in rows:
        last = row.first_stream + row.n_streams == n_streams
        size = min(size, (row.first_stream & -row.first_stream or size) if last else row.n_streams)
    return size


def chains(rows: Iterable[Row], n_streams: int, size: int, stop: int) -> tuple[list[list[Row]], list[int]]:
    """For each batch of `size` streams, the rows to use below `stop`, ascending and disjoint; and from where on a row
    reaches beyond `stop`, so that what it covers need not be stored again.

    Rows come in the order of `Checkpoint.rows`: of several that overlap, the largest is the first.
    """
    found: list[list[Row]] = [[] for _ in range(0, n_streams, size)]
    beyond = [stop] * len(found)
    for row in rows:
        for lane in range(row.first_stream // size, -(-row.streams.stop // size)):
            free = row.start >= (found[lane][-1].stop if found[lane] else 0)
            if row.stop <= stop and free:
                found[lane].append(row)
            elif row.start < stop < row.stop:
                beyond[lane] = min(beyond[lane], row.start)
    return found, beyond


def leading(chain: Iterable[Row]) -> Iterator[Row]:
    """The rows of a chain that follow one another from sample 0 on without a gap."""
    at = 0
    for row in chain:
        if row.start != at:
            return
        yield row
        at = row.stop


# --- facts ---------------------------------------------------------------------------------------------------


def facts_of(problem: Problem, *, seed: int, common: bool) -> dict[str, Any]:
    """Everything that fixes the weights of a run, in words and hashes."""
    kernels = problem.points_kernel, problem.proposal_kernel, problem.log_joint
    return {
        "model": problem.model_name,
        "n_latents": problem.n_latents,
        "theta": _hash(problem.theta, problem.model_dims),
        "x": _hash(problem.x),
        "proposal": _hash(problem.lams, problem.lam_of, problem.proposal_dims),
        "kernels": [f"{kernel.__module__}.{kernel.__qualname__}" for kernel in kernels],
        "points": problem.points.name,
        "seed": seed,
        "n_replicates": problem.shape[0],
        "streams": problem.n_streams,
        "common": common,
        "states": _hash(problem.states),
        "dtype": problem.dtype,
        "groups": problem.group_sizes.tolist(),
        "block": _jit.BLOCK,
        "chunk": CHUNK,
        "source": _jit.source_hash(),
        "cpu_target": _jit.target(),
    }


def _hash(*arrays):
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape}".encode() + array.tobytes())
    return f"sha256:{digest.hexdigest()[:32]}"


def _differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    names = [name for name in {**there, **here} if there.get(name) != here.get(name)]
    return [f"{name}: {_said(there.get(name))} there, {_said(here.get(name))} here" for name in names]


def _said(value):
    return f"{value[:15]}…" if isinstance(value, str) and value.startswith("sha256:") else repr(value)


# --- bytes ---------------------------------------------------------------------------------------------------


def _pack(array):
    return array.astype("<f8", copy=False).tobytes()


def _checksum(ladder: bytes, groups: bytes) -> int:
    return zlib.crc32(groups, zlib.crc32(ladder))


def _now():
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")


# --- files ---------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _told(path, doing):
    """SQLite's errors as ours."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
            raise StoreError(
                f"{path}: the disk is full, or fails ({error}). Rows written before are safe; make room, and the same "
                "call goes on from there"
            ) from error
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise StoreError(
                f"{path} is locked by another program, and was for {PATIENCE:g} s ({error}). Close that program; the same "
                "call then goes on"
            ) from error
        raise StoreError(
            f"{path}: cannot be {doing} as a checkpoint ({error}); it is left as it is. Name another file, or put a "
            "copy in its place"
        ) from error


def _check_file(path: Path, create: bool) -> None:
    """Refuse, before SQLite touches it, a path that cannot be a checkpoint."""
    if path.is_dir():
        raise StoreError(f"{path} is a folder; name a file for the checkpoint, such as {path / 'run.sqlite'}")
    if not path.exists():
        if not create:
            raise StoreError(
                f"{path}: there is no such checkpoint. logpx.estimate(…, checkpoint={str(path)!r}) makes it"
            )
        if not path.absolute().parent.is_dir():
            raise StoreError(f"{path}: its folder does not exist. Make the folder, or name another place")
        return
    try:
        with path.open("rb") as file:
            head = file.read(16)
    except OSError as error:
        raise StoreError(f"{path}: cannot be read ({error.strerror})") from error
    if head and head != b"SQLite format 3\0":
        raise StoreError(
            f"{path} is not a checkpoint of logpx (nor any SQLite file); it is left as it is. Name another"
        )


def _check_contents(path: Path) -> None:
    """Look at a file that is there, changing nothing of it."""
    with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=PATIENCE)) as file:
        application = file.execute("PRAGMA application_id").fetchone()[0]
        version = file.execute("PRAGMA user_version").fetchone()[0]
        tables = {name for (name,) in file.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if application == 0 and version == 0 and not tables:
        return
    if application != APPLICATION_ID:
        raise StoreError(
            f"{path} is not a checkpoint of logpx but an SQLite file of another kind (application_id {application:#x}); "
            "it is left as it is. Name another"
        )
    if version > VERSION:
        raise StoreError(f"{path} is of version {version}, newer than this logpx reads ({VERSION}). Upgrade logpx")
    if not tables.issuperset(("run", "tasks")):
        raise StoreError(f"{path} lacks tables: it is damaged, and is left as it is. Put a copy in its place")


def _locked(path: Path) -> sqlite3.Connection:
    """Hold the right to write: a transaction that stays open on a small file beside, and dies with this process.

    Others can read from that file who holds it. A file lock of one's own would do too, but SQLite's are let go when this
    process closes any descriptor of the same file, and others pass to forked children.
    """
    beside = _beside(path)
    for _ in range(2):
        lock = sqlite3.connect(beside, timeout=0.0, isolation_level=None)
        try:
            with _told(beside, "written"):
                lock.execute("CREATE TABLE IF NOT EXISTS holder (who TEXT)")
                lock.execute("BEGIN IMMEDIATE")
                lock.execute("DELETE FROM holder")
                lock.execute("INSERT INTO holder VALUES (?)", [f"process {os.getpid()} on {platform.node()}"])
                lock.execute("COMMIT")
                lock.execute("BEGIN IMMEDIATE")
        except StoreError as error:
            raise _held(path, lock, error) from error.__cause__
        if beside.exists():  # and not removed by one that ended between the opening and the lock
            return lock
        lock.close()
    raise StoreError(f"{path}: another process begins and ends with it at this moment. Try again")


def _held(path, lock, error):
    """The error for a lock that was not given: held by another process, or whatever else SQLite said."""
    with contextlib.closing(lock):
        if getattr(error.__cause__, "sqlite_errorcode", 0) & 0xFF != sqlite3.SQLITE_BUSY:
            return error
        with contextlib.suppress(sqlite3.Error):
            for (who,) in lock.execute("SELECT who FROM holder"):
                return StoreError(
                    f"{path} is being written by {who}, and one process writes at a time. Wait for it to end, or give "
                    "this run a file of its own; logpx merge makes one of two"
                )
        return StoreError(f"{path} is being written by another process, and one writes at a time. Wait for it to end")


def _unlocked(path: Path, lock: sqlite3.Connection | None) -> None:
    if lock is not None:
        _beside(path).unlink(missing_ok=True)
        lock.close()


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.name}-lock")
