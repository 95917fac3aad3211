"""A number and its noun: "1 cell", "2 cells"."""

from __future__ import annotations


def counted(n: int, noun: str, plural: str = "") -> str:
    """How many there are of something; its plural ends in s unless it is given.

    Examples
    --------
    >>> counted(1, "cell"), counted(0, "cell"), counted(2, "latent of the model", "latents of the model")
    ('1 cell', '0 cells', '2 latents of the model')
    """
    return f"{n} {noun if n == 1 else plural or f'{noun}s'}"
