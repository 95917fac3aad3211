"""Ctrl-C while tasks run: the first one is a request to stop after the running tasks, the second stops at once.

Python's own handler raises KeyboardInterrupt between any two instructions, in the middle of a merge as well. While
tasks run it is replaced by one that only takes a note. A handler that the program set for itself stays, and so do
threads other than the main one, which get no signals.
"""

import concurrent.futures
import contextlib
import signal
import threading
from collections.abc import Iterator


class Note:
    """True once Ctrl-C was pressed."""

    def __init__(self) -> None:
        self.taken = False

    def __bool__(self) -> bool:
        return self.taken

    def take(self, number: int, frame: object) -> None:
        """The signal handler."""
        self.taken = True
        signal.signal(signal.SIGINT, signal.default_int_handler)


@contextlib.contextmanager
def watched() -> Iterator[Note]:
    """A note of Ctrl-C, taken while the block runs."""
    note = Note()
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield note
        return
    signal.signal(signal.SIGINT, note.take)
    try:
        yield note
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def is_part_of_it(error: BaseException) -> bool:
    """Whether a task failed because Ctrl-C reached its process too, or took its pool away."""
    kinds = KeyboardInterrupt, concurrent.futures.CancelledError, concurrent.futures.BrokenExecutor
    return isinstance(error, kinds)
