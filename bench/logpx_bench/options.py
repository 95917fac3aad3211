"""Checking what a suite says: option tables, and errors that name the file, the place, what is allowed, and the nearest
match.

A model or an estimator declares its options in a table, name → `Option`. `check` reads a TOML table against it; a list
in place of a number is a sweep, expanded by `sweep` into one set of options each. A kind's settings take no sweeps.
"""

import difflib
import itertools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from logpx_bench.errors import SuiteError


@dataclass(frozen=True)
class Option:
    """One option: `kind` int or float, its inclusive range, and the default (None: may be left out)."""

    kind: type
    low: float
    high: float
    summary: str
    default: Any = None

    @property
    def allowed(self) -> str:
        """In words: `an integer from 1 to 64`."""
        return f"{'an integer' if self.kind is int else 'a number'} from {self.low:g} to {self.high:g}"

    def read(self, value: Any, where: str) -> Any:
        """The value as `kind`, or a SuiteError."""
        numeric = isinstance(value, int | float) and not isinstance(value, bool)
        if not numeric or not self.low <= value <= self.high or (self.kind is int and value != int(value)):
            fail(where, f"is {value!r}; allowed is {self.allowed}")
        return self.kind(value)


@dataclass(frozen=True)
class Names:
    """One option that is a list of names, or one of them: `allowed()` gives those there are; the default is all."""

    allowed: Callable[[], Iterable[str]]
    what: str
    summary: str

    @property
    def default(self) -> tuple[str, ...]:
        """All of them."""
        return tuple(self.allowed())

    def read(self, value: Any, where: str) -> tuple[str, ...]:
        """The names as a tuple, or a SuiteError with the nearest match."""
        names = [
            choose(one, self.allowed(), where, self.what) for one in (value if isinstance(value, list) else [value])
        ]
        distinct(names, where)
        return tuple(names)


def fail(where: str, what: str) -> NoReturn:
    """Raise a SuiteError: `where` is file, experiment and key."""
    raise SuiteError(f"{where} {what}.")


def choose(value: Any, allowed: Iterable[str], where: str, what: str) -> str:
    """`value` if it is one of `allowed`; else a SuiteError with all of them and the nearest match."""
    allowed = list(allowed)
    if isinstance(value, str) and value in allowed:
        return value
    near = difflib.get_close_matches(str(value), allowed, n=1, cutoff=0.5)
    hint = f' Did you mean "{near[0]}"?' if near else ""
    raise SuiteError(f"{where}: there is no {what} {value!r}. Known: {', '.join(allowed)}.{hint}")


def distinct(values: list[Any], where: str) -> None:
    """A SuiteError for an empty list, and for one that holds a value twice."""
    if not values:
        fail(where, "is an empty list; it needs one value or more")
    for value in values:
        if values.count(value) > 1:
            fail(where, f"holds {value!r} twice; each value may be there once")


def check(
    given: Mapping[str, Any], known: Mapping[str, Option | Names], where: str, *, sweeps: bool = True
) -> dict[str, Any]:
    """Options read against their table; defaults filled in; lists (sweeps) kept as lists, or refused."""
    for name in given:
        choose(name, known, where, "option")
    read: dict[str, Any] = {}
    for name, option in known.items():
        if name in given:
            value = given[name]
            if isinstance(value, list) and sweeps:
                read[name] = [option.read(one, f"{where}: {name}") for one in value]
                distinct(read[name], f"{where}: {name}")
            else:
                read[name] = option.read(value, f"{where}: {name}")
        elif option.default is not None:
            read[name] = option.default
    return read


def sweep(options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every combination of the listed values.

    >>> sweep({"widen": [1.0, 1.5], "n": 3})
    [{'widen': 1.0, 'n': 3}, {'widen': 1.5, 'n': 3}]
    """
    columns = [value if isinstance(value, list) else [value] for value in options.values()]
    return [dict(zip(options, values, strict=True)) for values in itertools.product(*columns)]
