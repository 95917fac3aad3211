"""A run on disk: every finished task is a committed row of one SQLite file, and a run goes on from what is there.

A checkpoint belongs to one *run*: to everything that fixes the weights (`logpx.identity`), and not to how many samples
are taken, by how many threads, or where. Rows are ladders over ranges of samples of some streams; their bits are the
same whoever computes them, so that a task which was run twice is ignored. One process writes at a time. Cost: a commit
that waits for the disk (`synchronous = FULL`, some milliseconds) a task, and what a power cut takes is the tasks that
were running. Reading 10^5 rows takes about a second.
"""

import datetime
import hashlib
import itertools
import json
import os
import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np

from logpx import packing, storefile
from logpx.errors import InputError, LadderError, StoreError
from logpx.groups import N_FIELDS
from logpx.identity import differences
from logpx.ladder import Ladder
from logpx.tasks import CHUNK, Done

#: "LPXC", in the header of every checkpoint (SQLite's application_id).
APPLICATION_ID = 0x4C505843
#: Version of the tables (SQLite's user_version).
VERSION = 1

_TABLES = {
    "run": "key TEXT PRIMARY KEY, facts TEXT NOT NULL, created_utc TEXT NOT NULL",
    "tasks": "first_stream INTEGER, n_streams INTEGER, start INTEGER, count INTEGER, seconds REAL, host TEXT, "
    "created_utc TEXT, checksum INTEGER NOT NULL, ladder BLOB NOT NULL, groups BLOB NOT NULL, "
    "PRIMARY KEY (first_stream, start, count, n_streams)",
}
_KEY = ("first_stream", "n_streams", "start", "count")
_COLUMNS = (*_KEY, "seconds", "host", "created_utc", "checksum", "ladder", "groups")


class Row(NamedTuple):
    """Which samples of which streams a finished task has."""

    id: int
    first_stream: int
    n_streams: int
    start: int
    n_samples: int

    @property
    def stop(self) -> int:
        return self.start + self.n_samples

    @property
    def streams(self) -> range:
        return range(self.first_stream, self.first_stream + self.n_streams)

    def __str__(self) -> str:
        streams = f"{self.first_stream} … {self.streams.stop - 1}"
        return f"samples {self.start} … {self.stop - 1} of streams {streams}"


class Checkpoint:
    """A file of finished tasks. Make one with `Checkpoint.open`; use it in a `with` block.

    Examples
    --------
    >>> import tempfile, pathlib, logpx
    >>> model, x = logpx.models.PPCA.example()
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder) / "run.sqlite"
    ...     est = logpx.estimate(model, x[0], n_samples=1 << 14, checkpoint=path)
    ...     more = logpx.estimate(model, x[0], n_samples=1 << 15, checkpoint=path)  # the first half is there already
    ...     with Checkpoint.open(path) as file:
    ...         file.n_samples, file.facts["model"]
    (32768, 'ppca')
    """

    def __init__(self, path: Path, connection: sqlite3.Connection, lock: storefile.Lock | None) -> None:
        self.path, self._connection, self._lock = path, connection, lock

    # -- opening ---------------------------------------------------------------------------------------------

    @classmethod
    def open(cls, path: str | os.PathLike[str], *, create: bool = False) -> "Checkpoint":
        """Open a checkpoint to read it; with `create` to write too: it is made where there is none, or an empty file,
        and no other process may write until it is closed.

        Raises
        ------
        InputError
            `path` is not the path of a file.
        StoreError
            Nothing there (without `create`), a folder, a file that is no checkpoint, one of a newer version, a damaged
            one, one that another process is writing (with `create`). The file is left as it is.
        """
        if not isinstance(path, str | os.PathLike):
            raise InputError(f"checkpoint={path!r}: the path of a file, such as 'run.sqlite'")
        path = Path(path)
        there = storefile.check(path, APPLICATION_ID, VERSION)
        if not there and not create:
            raise StoreError(f"{path}: there is no checkpoint here. estimate(…, checkpoint='run.sqlite') makes one")
        lock = storefile.Lock(path) if create else None
        connection = None
        try:
            if not storefile.check(path, APPLICATION_ID, VERSION):  # again, now that nobody else may make it
                storefile.make(path, APPLICATION_ID, VERSION, _TABLES)
            with storefile.told(path, "written" if create else "read"):
                connection = storefile.connect(path) if create else storefile.connect_to_read(path)
                if {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}.issuperset(_TABLES):
                    if create:
                        connection.execute("PRAGMA journal_mode = WAL")
                        connection.execute("PRAGMA synchronous = FULL")
                    return cls(path, connection, lock)
            raise StoreError(f"{path} is damaged: it lacks tables, and is left as it is. Put a copy in its place")
        except BaseException:
            if connection is not None:
                connection.close()
            if lock is not None:
                lock.release()
            raise

    def close(self) -> None:
        """Close the file and let others write. Rows are on disk when the call that added them returned."""
        self._connection.close()
        if self._lock is not None:
            self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _fetch(self, command: str, parameters: Iterable[Any] = ()) -> list[Any]:
        with storefile.told(self.path, "read"):
            return self._connection.execute(command, tuple(parameters)).fetchall()

    # -- whose run it is -------------------------------------------------------------------------------------

    @property
    def facts(self) -> dict[str, Any]:
        """Everything that fixes the weights of the run; empty where no run has begun."""
        found = self._fetch("SELECT facts FROM run")
        return dict(json.loads(found[0][0])) if found else {}

    def claim(self, facts: Mapping[str, Any]) -> None:
        """Make this the checkpoint of a run; StoreError, naming what differs, if it is that of another."""
        there = self.facts
        if not there:
            text = json.dumps(facts, sort_keys=True, ensure_ascii=False)
            with storefile.transaction(self.path, self._connection):
                key = hashlib.sha256(text.encode()).hexdigest()
                self._connection.execute("INSERT INTO run VALUES (?, ?, ?)", (key, text, _now()))
        elif found := differences(there, facts):
            raise StoreError(
                f"{self.path} is the checkpoint of another run, and is left as it is. What differs: "
                f"{'; '.join(found)}. Make the call of that run, or name another file"
            )

    # -- rows ------------------------------------------------------------------------------------------------

    def rows(self) -> list[Row]:
        """All finished tasks, in the order of their samples; of those that begin at one sample, the largest first."""
        command = f"SELECT rowid, {', '.join(_KEY)} FROM tasks ORDER BY start, count DESC, first_stream"
        return list(itertools.starmap(Row, self._fetch(command)))  # all of it is in the index

    def ladders(self) -> Iterator[tuple[Row, Ladder]]:
        """Every finished task with its ladder, in the order of `rows`."""
        for row in self.rows():
            yield row, self.joined([row])

    @property
    def n_samples(self) -> int:
        """How many samples, from the first on, every stream has without a gap."""
        rows, n_streams = self.rows(), self.facts.get("streams", 1)
        found, _ = chains(rows, n_streams, lane_size(rows, n_streams, n_streams), 1 << 62)
        return min(max((row.stop for row in leading(chain)), default=0) for chain in found)

    def seconds(self, rows: Iterable[Row]) -> float:
        """Seconds of work in these tasks, of all workers together."""
        found = dict(self._fetch("SELECT rowid, seconds FROM tasks"))
        return sum(found[row.id] for row in rows)

    def joined(self, rows: Iterable[Row]) -> Ladder:
        """The ladder of several tasks of the same streams; StoreError where one is not as it was written."""
        try:
            return Ladder.joined(self._ladder_bytes(rows))
        except LadderError as error:
            raise StoreError(f"{self.path} is damaged ({error}). Put a copy in its place") from error

    def _ladder_bytes(self, rows: Iterable[Row]) -> Iterator[bytes]:
        rest = iter(rows)
        while some := [row.id for row in itertools.islice(rest, 500)]:
            marks = ", ".join("?" * len(some))
            found = dict(self._fetch(f"SELECT rowid, ladder FROM tasks WHERE rowid IN ({marks})", some))
            yield from (found[id] for id in some)

    def groups(self, row: Row, streams: range) -> dict[int, np.ndarray]:
        """The open groups of some streams of a task, by the start of each chunk."""
        ((checksum, data),) = self._fetch("SELECT checksum, groups FROM tasks WHERE rowid = ?", [row.id])
        if checksum != zlib.crc32(data):
            raise StoreError(f"{self.path} is damaged: the groups of {row} were altered. Put a copy in its place")
        if not data:
            return {}
        shape = -(-row.n_samples // CHUNK), row.n_streams, -1, N_FIELDS
        states = np.frombuffer(data, "<f8").astype(np.float64).reshape(shape)
        own = slice(streams.start - row.first_stream, streams.stop - row.first_stream)
        return {row.start + i * CHUNK: state[own] for i, state in enumerate(states)}

    def add(self, *finished: tuple[range, Done]) -> int:
        """Commit finished tasks, each with its streams, all or none; how many were not there already.

        Raises
        ------
        StoreError
            One was there with other bits; or they cannot be written because the disk is full. What was there is safe.
        """
        try:
            with storefile.transaction(self.path, self._connection):
                return sum(self._inserted(streams, done) for streams, done in finished)
        except storefile.DiskError as error:
            raise storefile.DiskError(
                f"{error}: the first {self.n_samples:,} samples of every stream are there, and the same call goes on"
            ) from error

    def _inserted(self, streams: range, done: Done) -> bool:
        ladder = done.ladder.to_bytes()
        groups = b"".join(done.groups[start].astype("<f8", copy=False).tobytes() for start in sorted(done.groups))
        key = streams.start, len(streams), done.start, done.stop - done.start
        values = (*key, done.seconds, done.host, _now(), zlib.crc32(groups), ladder, groups)
        command = f"INSERT OR IGNORE INTO tasks ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(values))})"
        if self._connection.execute(command, values).rowcount > 0:
            return True
        where = " AND ".join(f"{name} = ?" for name in _KEY)
        (found,) = self._fetch(f"SELECT ladder, groups FROM tasks WHERE {where}", key)
        self._check_same(Row(0, *key), (ladder, groups), found)
        return False

    def _check_same(self, row: Row, ours: tuple[bytes, bytes], theirs: tuple[bytes, bytes]) -> None:
        # how many of its largest weights a task hands on depends on what was known of others: it is no part of it
        if ours == theirs:
            return
        try:
            same = (packing.without_top(ours[0]), ours[1]) == (packing.without_top(theirs[0]), theirs[1])
        except LadderError as error:
            raise StoreError(f"{self.path} is damaged: {row} ({error}). Put a copy in its place") from error
        if not same:
            raise StoreError(
                f"{self.path}: {row} are there with other bits, and nothing was changed. One of the two computations "
                "is wrong: run both again, each into a file of its own"
            )

    # -- moving ----------------------------------------------------------------------------------------------

    def merge(self, other: str | os.PathLike[str]) -> int:
        """Add the tasks that another checkpoint of the same run has and this one lacks; how many. Twice adds none.

        Raises
        ------
        StoreError
            `other` is no checkpoint, or that of another run, is damaged, or has a task with other bits; nothing is
            added then.
        """
        with Checkpoint.open(other) as theirs:
            facts = theirs.facts
        if Path(other).resolve() == self.path.resolve() or not facts:
            return 0
        self.claim(facts)
        columns, key = ", ".join(_COLUMNS), ", ".join(f"a.{name}" for name in _KEY)
        same = " AND ".join(f"a.{name} = b.{name}" for name in _KEY)
        with storefile.told(self.path, "written"):
            self._connection.execute("ATTACH DATABASE ? AS other", [str(other)])
        try:
            with storefile.transaction(self.path, self._connection):
                self._check_sums(Path(other))
                twice = self._connection.execute(
                    f"SELECT a.rowid, {key}, a.ladder, a.groups, b.ladder, b.groups FROM main.tasks a "
                    f"JOIN other.tasks b ON {same} WHERE a.ladder != b.ladder OR a.groups != b.groups"
                )
                for *row, a_ladder, a_groups, b_ladder, b_groups in twice:
                    self._check_same(Row(*row), (a_ladder, a_groups), (b_ladder, b_groups))
                command = f"INSERT OR IGNORE INTO main.tasks ({columns}) SELECT {columns} FROM other.tasks"
                return self._connection.execute(command).rowcount
        finally:
            self._connection.execute("DETACH DATABASE other")

    def _check_sums(self, other: Path) -> None:
        """Refuse the attached file `other` if a task of it is not as it was written."""
        command = f"SELECT {', '.join(_KEY)}, checksum, ladder, groups FROM other.tasks"
        for *key, checksum, ladder, groups in self._connection.execute(command):
            row, why = Row(0, *key), "its groups were altered" if zlib.crc32(groups) != checksum else ""
            try:
                packing.check_sum(ladder)
            except LadderError as error:
                why = str(error)
            if why:
                raise StoreError(f"{other} is damaged: {row} ({why}). Put a copy in its place; nothing was added")


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")


# --- which rows serve ----------------------------------------------------------------------------------------


def lane_size(rows: Iterable[Row], n_streams: int, most: int) -> int:
    """The largest batch of streams, a power of two up to `most`, that lies within the streams of every row."""
    size = 1 << (most.bit_length() - 1)
    for row in rows:
        last = row.streams.stop == n_streams  # it may be shorter than its size
        size = min(size, (row.first_stream & -row.first_stream or size) if last else row.n_streams)
    return size


def chains(rows: Iterable[Row], n_streams: int, size: int, stop: int) -> tuple[list[list[Row]], list[int]]:
    """For each batch of `size` streams the rows to use below `stop`, ascending and disjoint, and from where on a row
    reaches beyond `stop`, so that what it covers need not be stored again.

    Rows come in the order of `Checkpoint.rows`: of several that overlap, the largest is the first.
    """
    count = -(-n_streams // size)
    found: list[list[Row]] = [[] for _ in range(count)]
    ends, beyond = [0] * count, [stop] * count
    for row in rows:
        _, first, n, start, n_samples = row
        end = start + n_samples
        for lane in range(first // size, -(-(first + n) // size)):
            if end <= stop and start >= ends[lane]:
                found[lane].append(row)
                ends[lane] = end
            elif start < stop < end:
                beyond[lane] = min(beyond[lane], start)
    return found, beyond


def leading(chain: Iterable[Row]) -> Iterator[Row]:
    """The rows of a chain that follow one another from sample 0 on without a gap."""
    at = 0
    for row in chain:
        if row.start != at:
            return
        yield row
        at = row.stop


def neighbours(chain: Iterable[Row], border: int) -> list[tuple[Row, ...]]:
    """A chain cut where rows do not follow one another, are of other streams, and at `border`."""
    runs: list[list[Row]] = []
    expected: tuple[int, int, int] | None = None
    for row in chain:
        _, first, n, start, n_samples = row
        if (first, n, start) == expected and start != border:
            runs[-1].append(row)
        else:
            runs.append([row])
        expected = first, n, start + n_samples
    return [tuple(rows) for rows in runs]
