"""The names under which instructions are counted: what the code that counts them and the code that reads them share.

A slot is a unit and a width of register in bits, "multiply512". `CLASSES` fixes the order in which counts stand in a
stored vector.
"""

from __future__ import annotations

#: multiply: products and fused multiply-adds of floating point; add: sums and differences; divide, root: of either
#: precision; product: integer products; other: every other vector operation; load, store: memory operands.
UNITS = (
    *("multiply", "add", "divide64", "divide32", "root64", "root32", "product", "other"),
    *("load", "store"),
)
#: Widths of registers in bits; scalars count as the narrowest.
WIDTHS = (128, 256, 512)


def slot(unit: str, width: int) -> str:
    """The name of a unit's instructions of one width."""
    return f"{unit}{width if width in WIDTHS else WIDTHS[0]}" if unit[-1].isalpha() else f"{unit}_{width}"


SLOTS = tuple(slot(unit, width) for unit in UNITS for width in WIDTHS)
CLASSES = (*SLOTS, "instructions", "flops", "load_bytes", "store_bytes", "calls")
