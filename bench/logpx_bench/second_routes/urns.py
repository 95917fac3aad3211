"""Counts with a beta or Dirichlet prior: Pólya's urn, draw by draw, in rational numbers.

The chance that the next draw is of a kind is its prior weight and what was drawn of it, over both for all kinds; p(x)
is the product over all draws, times the number of orders in which x can come. Exact, for parameters that are floats.
Source: N. L. Johnson and S. Kotz (1977), Urn Models and Their Application, section 4.2.
"""

from __future__ import annotations

from fractions import Fraction
from math import comb, factorial, log, prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def category_urn(concentration: Floats, x: Floats) -> Fraction:
    """p(x) of counts x (K,) of the Dirichlet-multinomial."""
    balls, counts = [Fraction(float(a)) for a in concentration], [int(count) for count in x]
    value = Fraction(factorial(sum(counts)), prod(map(factorial, counts)))
    for k, count in enumerate(counts):
        for _ in range(count):
            value *= balls[k] / sum(balls)
            balls[k] += 1
    return value


def dirichlet_multinomial(model: Any, X: Floats) -> Any:
    """One urn a row."""
    return [_log(category_urn(model.concentration, x)) for x in X]


def binomial_urn(a: float, b: float, n_trials: Floats, x: Floats) -> Fraction:
    """p(x) of counts x (p,) among so many trials (p,), of one beta-binomial rate."""
    successes, failures, value = Fraction(float(a)), Fraction(float(b)), Fraction(1)
    for n, count in zip(map(int, n_trials), map(int, x), strict=True):
        value *= comb(n, count)
        for _ in range(count):
            value *= successes / (successes + failures)
            successes += 1
        for _ in range(n - count):
            value *= failures / (successes + failures)
            failures += 1
    return value


def beta_binomial(model: Any, X: Floats) -> Any:
    """One urn a row, which goes on from count to count."""
    return [_log(binomial_urn(model.a, model.b, model.n_trials, x)) for x in X]


def _log(value: Fraction) -> float:
    """Of numerator and denominator apart: either may be past the largest float."""
    return log(value.numerator) - log(value.denominator)
