"""Numbers as words and marks, for captions and for the page: nothing here knows what a number is about.

Text uses a small markup that both renderers of the page read: `**bold**`, `*stress*`, `` `code` `` and `$mathematics$`.
Every comparison is chosen by comparing: feed other numbers and the sentence changes.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from logpx_bench.plurals import counted

ENOUGH_REPLICATES = 32
MINUS = "\N{MINUS SIGN}"


class Measured(NamedTuple):
    """A number and the interval that it came with."""

    value: float
    low: float
    high: float


def number(value: float | None, digits: int = 3) -> str:
    """`value` to `digits` significant digits, without an exponent between 1e-4 and 1e6.

    Examples
    --------
    >>> number(0.00214159), number(-123.456), number(3.2e-9), number(float("inf"))
    ('0.00214', '−123', '$3.2\\\\times 10^{-9}$', '∞')
    """
    if value is None or math.isnan(value):
        return "unknown"
    if math.isinf(value):
        return "∞" if value > 0 else MINUS + "∞"
    if value == 0:
        return "0"
    size = abs(value)
    sign = MINUS if value < 0 else ""
    if 1e-4 <= size < 1e6:
        decimals = max(digits - 1 - int(f"{size:.{digits - 1}e}".split("e")[1]), 0)
        return f"{sign}{size:,.{decimals}f}"
    mantissa, exponent = f"{size:.{digits - 1}e}".split("e")
    short = mantissa.rstrip("0").rstrip(".")
    return f"${'-' if value < 0 else ''}{short}\\times 10^{{{int(exponent)}}}$"


def nats(value: float | None, digits: int = 3) -> str:
    """A number of nats, with its unit: "1 nat", "0.021 nats"."""
    text = number(value, digits)
    return f"{text} nat" if text == "1" else f"{text} nats"


def fixed(value: float | None, decimals: int = 2) -> str:
    """`value` with a fixed number of decimals, for log probabilities whose leading digits are not the point."""
    if value is None or not math.isfinite(value):
        return number(value)
    return f"{MINUS if value < 0 else ''}{abs(value):,.{decimals}f}"


def short(value: float) -> str:
    """A setting as it was given: "1.3", "2", "0.05"."""
    return f"{value:g}"


def power(k: float) -> str:
    """A count as mathematics: a power of two where it is one.

    Examples
    --------
    >>> power(65536), power(5000), power(4)
    ('$2^{16}$', '5,000', '4')
    """
    count = int(k)
    if count >= 32 and count & (count - 1) == 0:
        return f"$2^{{{count.bit_length() - 1}}}$"
    return f"{count:,}"


def seconds(value: float | None) -> str:
    """A duration in the unit that suits it."""
    if value is None or math.isnan(value):
        return "an unknown time"
    for size, unit in ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")):
        if value >= size:
            return f"{number(value / size)} {unit}"
    return f"{number(value / 1e-9)} ns"


def memory(value: float) -> str:
    """A number of bytes in MB or GB (powers of ten)."""
    return f"{number(value / 1e9)} GB" if value >= 1e9 else f"{number(value / 1e6)} MB"


def percent(value: float) -> str:
    """A share of one as per cent; never rounded to 0 or 100 when it is neither."""
    if 0 < value < 1e-4:
        return "under 0.01%"
    if 0.9999 < value < 1:
        return "over 99.99%"
    near = 0.995 <= value < 1
    return f"{100 * value:.2f}%" if near else "100%" if value == 1 else f"{number(100 * value, 2)}%"


def ratio(value: float) -> str:
    """A factor of one or more: "1.3 times", "45 times"."""
    return f"{number(value, 2)} times"


def against(a: Measured, b: Measured, *, of: str = "") -> str:
    """How `a` stands to `b`: "45 times below", "1.3 times above", or that the two cannot be told apart.

    Two numbers are told apart only where their intervals do not overlap.
    """
    if min(a.high, b.high) >= max(a.low, b.low):
        return f"not to be told apart from {of} (the intervals overlap)".replace("  ", " ")
    if a.value < b.value:
        return f"{ratio(b.value / a.value)} below {of}".strip() if a.value > 0 else f"below {of}".strip()
    return f"{ratio(a.value / b.value)} above {of}".strip() if b.value > 0 else f"above {of}".strip()


def interval(measured: Measured) -> str:
    """The 95% interval of a measured number in words."""
    return f"95% interval {number(measured.low)} to {number(measured.high)}"


def listed(items: Sequence[str]) -> str:
    """Items as a list in a sentence: "a", "a and b", "a, b and c"."""
    return items[0] if len(items) == 1 else ", ".join(items[:-1]) + " and " + items[-1] if items else "none"


def replicates_note(counts: Iterable[int | None]) -> str:
    """A sentence on how many replicates stand behind a figure; a warning where there are fewer than 32."""
    known = [int(count) for count in counts if count is not None]
    if not known:
        return "The number of replicates is not recorded."
    few, many = min(known), max(known)
    if few < ENOUGH_REPLICATES:
        stand = f"**Only {counted(few, 'replicate')}** stand{'s' * (few == 1)}"
        return f"{stand} behind some of this, fewer than {ENOUGH_REPLICATES}: read it as rough."
    return f"{few} replicates." if few == many else f"{few} to {many} replicates."


def sentence(text: str) -> str:
    """`text` with its first letter raised."""
    return text[:1].upper() + text[1:]


SUPERSCRIPTS = str.maketrans("0123456789-+k/½", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺ᵏᐟ½")


def plain(text: str) -> str:
    """Text without its markup, for alt texts and terminals; powers become raised digits.

    Examples
    --------
    >>> plain("**Only** $2^{16}$ and $3.2\\\\times 10^{-9}$, `x`")
    'Only 2¹⁶ and 3.2×10⁻⁹, x'
    """
    text = re.sub(r"\^\{(-?\d+)\}", lambda found: found.group(1).translate(SUPERSCRIPTS), text)
    text = re.sub(r"\s*\\times\s*", "×", text)
    for command, sign in ((r"\hat k", "k̂"), (r"\chi", "χ"), (r"\log", "log"), (r"\sqrt", "√"), (r"\approx", "≈")):
        text = text.replace(command, sign)
    text = text.replace("χ^2", "χ²").replace("^{-1/2}", "^(−1/2)")
    return re.sub(r"[*`${}\\]", "", text)
