"""A number and its noun: "1 cell", "2 cells"."""

from __future__ import annotations


def counted(n: int | str, noun: str) -> str:
    """How many there are of something, a number or words, whose plural ends in s.

    Examples
    --------
    >>> counted(1, "cell"), counted(0, "cell"), counted("some", "cell")
    ('1 cell', '0 cells', 'some cells')
    """
    return f"{n} {noun if n == 1 else f'{noun}s'}"
