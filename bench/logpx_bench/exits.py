"""How a command of `logpx` ends.

    0    done
    1    `logpx doctor`, `logpx check` or, of a model of one's own, `logpx run` found something wrong; or an error that
         nobody foresaw, with its traceback
    2    a foreseen error, or a wrong option: one message, nothing half-written
    130  Ctrl-C
    143  SIGTERM, as `kill` and batch systems send it

Ctrl-C stops a run when the running chunks are finished, about a second each; a second one stops it at once. SIGTERM
does what Ctrl-C does. What is finished is kept either way, and the message has the command that goes on from there.
"""

import contextlib
import shlex
import signal
import sys
from collections.abc import Iterator

import typer
from rich.console import Console
from rich.markup import escape

FORESEEN, INTERRUPTED, TERMINATED = 2, 130, 143
CODES = (
    "Exit codes: 0 done; 1 the doctor or a check found something wrong, or a traceback; 2 a foreseen error or a wrong "
    "option; 130 Ctrl-C, 143 SIGTERM: what is finished is kept, and the message says how to go on."
)


@contextlib.contextmanager
def readable() -> Iterator[None]:
    """Foreseen errors, and the system's about files, as one message; Ctrl-C and SIGTERM as a hint."""
    from logpx_bench.errors import LogpxError

    with _sigterm_as_ctrl_c() as terminated:
        try:
            yield
        except BrokenPipeError:  # the reader of a pipe has gone: nobody to tell
            raise
        except (LogpxError, OSError) as error:
            said = str(error) if isinstance(error, LogpxError) else _system_words(error)
            _say(f"[bold red]error[/] {escape(said)}")
            raise typer.Exit(FORESEEN) from None
        except KeyboardInterrupt as stop:
            _say(f"{escape(str(stop) or 'stopped; what is finished is kept')}\nGo on from there: {escape(again())}")
            raise typer.Exit(TERMINATED if terminated else INTERRUPTED) from None


def _say(text: str) -> None:
    Console(stderr=True).print(text, highlight=False, soft_wrap=True)


def again() -> str:
    """The command that goes on from where this one stopped: the same, but for --fresh, which would begin anew."""
    return shlex.join(["logpx", *(word for word in sys.argv[1:] if word != "--fresh")])


@contextlib.contextmanager
def _sigterm_as_ctrl_c() -> Iterator[list[int]]:
    """While the block runs, SIGTERM is Ctrl-C; the list says whether one came.

    Where Ctrl-C is ignored, as in a script's background job, SIGTERM still stops, at once.
    """
    came: list[int] = []

    def handler(number: int, frame: object) -> None:
        came.append(number)
        if callable(signal.getsignal(signal.SIGINT)):
            signal.raise_signal(signal.SIGINT)
        else:
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, handler)
    try:
        yield came
    finally:
        signal.signal(signal.SIGTERM, before)


def _system_words(error: OSError) -> str:
    """What the system said of which file, and what to do."""
    place = f"{error.filename}: " if error.filename is not None else ""
    return f"{place}{error.strerror or error}. Name another place, or see that this one can be read and written."
