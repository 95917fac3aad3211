"""What can go wrong, by name. Every error of logpx is a `LogpxError`; Ctrl-C is none.

Errors at which the caller is at fault are also a `ValueError`. A message says what was given, what is
allowed, and what to do.
"""

from typing import Any


class LogpxError(Exception):
    """Base of every error that logpx raises on purpose."""


class InputError(LogpxError, ValueError):
    """An argument is of the wrong shape, range, kind or dtype."""


class NotIndependentError(LogpxError, ValueError):
    """A quantity that needs independent log weights was asked of a stream that has none."""


class NotAvailableError(LogpxError, ValueError):
    """The stream, model or ladder at hand cannot give what was asked for; the message says what can."""


class NonFiniteWeightError(LogpxError, ValueError):
    """A log weight is nan or +inf. Minus infinity is legal: it is a zero weight and is counted.

    Attributes
    ----------
    index : int
        Index of the sample in its stream; `logpx.samples` replays it.
    row, replicate : int
        Which row of x and which replicate the stream belongs to.
    value : float
        The log weight, nan or +inf.
    z : ndarray or None
        The latent at fault, shape (n_latents,); None for weights that came from elsewhere.
    """

    def __init__(
        self, message: str, *, index: int, row: int = 0, replicate: int = 0, value: float = float("nan"), z: Any = None
    ) -> None:
        super().__init__(message)
        self.index, self.row, self.replicate = index, row, replicate
        self.value, self.z = value, z

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled whole, so that it comes back from another process as it was raised."""
        return _restored, (str(self), vars(self))


class KernelError(LogpxError, ValueError):
    """A kernel raised an exception, or wrote past the ends of the arrays that it was given."""


def _restored(message: str, fields: dict[str, Any]) -> NonFiniteWeightError:
    return NonFiniteWeightError(message, **fields)


class LadderError(LogpxError, ValueError):
    """Log weights were given twice, or two ladders do not fit together."""


class WorkerError(LogpxError):
    """A worker cannot run what it was sent: it is of another version, lacks a file, or is gone."""


class StoreError(LogpxError):
    """A results file is not ours, is of another version, or cannot be read or written."""


class SuiteError(LogpxError, ValueError):
    """A suite file names something unknown or holds a bad value."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C during a run. Not an Exception: what catches errors lets it pass, as it does KeyboardInterrupt.

    A script that does not catch it ends with its message and status 1; the command `logpx` ends with 130.

    Attributes
    ----------
    estimate : Estimate or None
        The run of the samples that were finished; None if there were none.
    """

    def __init__(self, message: str, estimate: Any = None) -> None:
        super().__init__(message)
        self.estimate = estimate
