"""What was tried to make a sample cheaper: `tuning.toml`, kept by hand, read and checked.

The only numbers of the report that do not come from the store: they were measured while the code was changed, and the
code as it was before is not here to be measured again.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from logpx_bench.figures import words
from logpx_bench.options import choose, fail

FILE = Path(__file__).with_name("tuning.toml")
_TEXTS = ("change", "predicted", "why")
_KEYS = (*_TEXTS, "before", "after", "unit", "kept")
Span = tuple[float, float]


@dataclass(frozen=True)
class Change:
    """One thing that was tried: `before` and `after` are (least, most) in `unit`, None where not measured alone."""

    change: str
    predicted: str
    why: str
    kept: bool
    before: Span | None = None
    after: Span | None = None
    unit: str = "ns a sample"

    def measured(self) -> str:
        """Before and after in words."""
        if self.before is None or self.after is None:
            return "not measured alone"
        return f"{_span(self.before)} → {_span(self.after)} {self.unit}"


def _span(span: Span) -> str:
    low, high = span
    return words.short(low) if low == high else f"{words.short(low)} to {words.short(high)}"


def load(path: Path = FILE) -> list[Change]:
    """Read and check the file.

    Raises
    ------
    SuiteError
        Not readable, not TOML, an unknown or missing key, a value of the wrong kind.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        fail(path.name, f"cannot be read as TOML ({error})")
    for key in table:
        choose(key, ("change",), path.name, "key")
    changes = table.get("change", [])
    if not isinstance(changes, list) or not all(isinstance(one, dict) for one in changes):
        fail(path.name, "holds something other than tables; write each change as [[change]]")
    return [_change(one, f"{path.name}, change {i + 1}") for i, one in enumerate(changes)]


def _change(table: dict[str, Any], where: str) -> Change:
    for key in table:
        choose(key, _KEYS, where, "key")
    for key in _TEXTS:
        if not isinstance(table.get(key), str) or not table[key].strip():
            fail(f"{where}: {key}", f"is {table.get(key)!r}; it needs some words")
    if not isinstance(table.get("kept"), bool):
        fail(f"{where}: kept", f"is {table.get('kept')!r}; allowed are true and false")
    if not isinstance(table.get("unit", ""), str):
        fail(f"{where}: unit", f"is {table['unit']!r}; it needs some words, such as 'ns a sample'")
    if ("before" in table) != ("after" in table):
        fail(where, "has only one of before and after; give both, or neither if it was not measured alone")
    spans: dict[str, Any] = {
        key: _read_span(table[key], f"{where}: {key}") for key in ("before", "after") if key in table
    }
    return Change(**{**table, **spans})


def _read_span(value: Any, where: str) -> Span:
    numbers = value if isinstance(value, list) else [value, value]
    right = len(numbers) == 2 and all(isinstance(one, int | float) and not isinstance(one, bool) for one in numbers)
    if not right or not 0 <= numbers[0] <= numbers[1] < float("inf"):
        fail(where, f"is {value!r}; allowed is a number from 0 up, or [least, most]")
    return float(numbers[0]), float(numbers[1])
