"""An SQLite file of our own: opened only if it is one, written by one process at a time, its errors in words.

What a file is stands in its first hundred bytes, and SQLite gets to see none that is not ours. A new one takes its
place when it is whole. The right to write is a transaction that stays open on a small file beside (`NAME-lock`), where
others can read who holds it. It ends with the process, however that ends, is not inherited by forked children, and has
nothing to do with clocks.
"""

import contextlib
import os
import platform
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path

from logpx.errors import StoreError

#: Seconds to wait for another program that has the file locked.
PATIENCE = 5.0
#: Bytes of a page of a new file: several rows of two or three kilobytes fill one with little left over.
PAGE = 1 << 14


def connect(path: Path) -> sqlite3.Connection:
    """A connection that commits what it is told to, and waits for others that hold the file."""
    return sqlite3.connect(path, timeout=PATIENCE, isolation_level=None)


def connect_to_read(path: Path) -> sqlite3.Connection:
    """A connection for reading; on read-only media one that makes no files beside, as nobody can be writing there."""
    if os.access(path.absolute().parent, os.W_OK) or _log_of(path).exists():
        return connect(path)
    return sqlite3.connect(f"{path.absolute().as_uri()}?immutable=1", uri=True, isolation_level=None)


class DiskError(StoreError):
    """The disk is full or fails. What was committed before is safe."""


@contextlib.contextmanager
def told(path: Path, doing: str) -> Iterator[None]:
    """SQLite's errors as StoreError; `doing` is "read" or "written"."""
    try:
        yield
    except sqlite3.Error as error:
        if _code(error) in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR) and doing == "written":
            words = f"{path}: the disk is full, or fails ({error}). Make room; what was written before is safe"
            raise DiskError(words) from error
        raise StoreError(_words(path, doing, error)) from error


def _code(error):
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _words(path, doing, error):
    if _code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return f"{path}: another program has it locked, and did for {PATIENCE:g} s ({error}). Close that program"
    if _code(error) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return f"{path} is damaged or cut short ({error}), and is left as it is. Put a copy in its place"
    return f"{path}: cannot be {doing} ({error}), and is left as it is. Name another place"


@contextlib.contextmanager
def transaction(path: Path, connection: sqlite3.Connection) -> Iterator[None]:
    """All or nothing."""
    with told(path, "written"):
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


def check(path: Path, application_id: int, version: int) -> bool:
    """Refuse what is not a file of this kind, from its first bytes alone; True if it is one, False if nothing is there.

    An empty file counts as nothing.
    """
    if path.is_dir():
        raise StoreError(f"{path} is a folder; name a file, such as {path / 'run.sqlite'}")
    if not path.absolute().parent.is_dir():
        raise StoreError(f"{path}: its folder does not exist. Make the folder, or name another place")
    try:
        size = path.stat().st_size if path.exists() else 0
        with path.open("rb") if size else contextlib.nullcontext() as file:
            head = file.read(100) if file is not None else b""
    except OSError as error:
        raise StoreError(f"{path}: cannot be read ({error.strerror})") from error
    if not head:
        return False
    if not head.startswith(b"SQLite format 3\0"):
        raise StoreError(f"{path} is no checkpoint of logpx, nor any SQLite file; it is left as it is. Name another")
    page, pages, there, application = (
        int.from_bytes(head[a:b], "big") for a, b in ((16, 18), (28, 32), (60, 64), (68, 72))
    )
    if len(head) == 100 and application != application_id:
        raise StoreError(
            f"{path} is no checkpoint of logpx but another kind of SQLite file (application_id {application:#x}); it "
            "is left as it is. Name another"
        )
    if there > version:
        raise StoreError(f"{path} is of version {there}, newer than this logpx reads ({version}). Upgrade logpx")
    if size < pages * (1 << 16 if page == 1 else page) and not _log_of(path).exists():
        raise StoreError(f"{path} is damaged or cut short, and is left as it is. Put a copy in its place")
    return True


def _log_of(path: Path) -> Path:
    """Where SQLite keeps what is committed and not moved into the file yet."""
    return path.with_name(f"{path.name}-wal")


def make(path: Path, application_id: int, version: int, tables: Mapping[str, str]) -> None:
    """A new file with these tables, whole or not at all, where there is none and the lock is held."""
    fresh = path.with_name(f"{path.name}-new")
    with told(path, "written"):
        fresh.unlink(missing_ok=True)
        with contextlib.closing(connect(fresh)) as connection:
            connection.execute(f"PRAGMA page_size = {PAGE}")
            with transaction(path, connection):
                for name, columns in tables.items():
                    connection.execute(f"CREATE TABLE {name} ({columns})")
                connection.execute(f"PRAGMA application_id = {application_id}")
                connection.execute(f"PRAGMA user_version = {version}")
        for end in ("-wal", "-shm"):  # of a file that was deleted after a crash: SQLite would take them for this one's
            path.with_name(path.name + end).unlink(missing_ok=True)
        fresh.replace(path)


class Lock:
    """The right to write a file, held from `Lock(path)` to `release()` or the end of the process."""

    def __init__(self, path: Path) -> None:
        self.path, self._beside = path, path.with_name(f"{path.name}-lock")
        self._connection = self._taken()
        if not self._beside.exists():  # the holder before removed it between our opening it and having it
            self._connection.close()
            self._connection = self._taken()

    def _taken(self):
        with told(self._beside, "written"):
            connection = sqlite3.connect(self._beside, timeout=0.0, isolation_level=None)
            try:
                connection.execute("CREATE TABLE IF NOT EXISTS holder (who TEXT)")
                connection.execute("BEGIN IMMEDIATE")
                connection.execute("DELETE FROM holder")
                connection.execute("INSERT INTO holder VALUES (?)", [f"process {os.getpid()} on {platform.node()}"])
                connection.execute("COMMIT")
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.Error as error:
                who = _holder(connection)
                connection.close()
                if _code(error) != sqlite3.SQLITE_BUSY:
                    raise
                raise StoreError(
                    f"{self.path} is being written by {who}, and one process writes at a time. Wait for it to end, or "
                    "give this run a file of its own; two can be merged later"
                ) from error
        return connection

    def release(self) -> None:
        """Let others write."""
        self._beside.unlink(missing_ok=True)
        self._connection.close()


def _holder(connection):
    """Who says to have the lock."""
    with contextlib.suppress(sqlite3.Error):
        for (who,) in connection.execute("SELECT who FROM holder"):
            return who
    return "another process"
