"""The errors of the harness, by name: those of the library, so that one `except LogpxError` serves both."""

from logpx.errors import InputError, LogpxError, NotAvailableError, StoreError, SuiteError, WorkerError

__all__ = ["InputError", "LogpxError", "NotAvailableError", "StoreError", "SuiteError", "WorkerError"]
