"""The errors of the harness, by name: those of the library, so that one `except LogpxError` serves both."""

from logpx.errors import InputError, LogpxError, StoreError, SuiteError

__all__ = ["InputError", "LogpxError", "StoreError", "SuiteError"]
