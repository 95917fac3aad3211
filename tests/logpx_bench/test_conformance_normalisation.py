"""`logpx check` on whether p(x) sums or integrates to 1: it passes where it does, and finds what is missing.

Sums and integrals of exact values are exact. Estimated ones have a false-alarm rate of 1e-6 each, by the check's own z,
and run on fixed seeds; what they must find here is ten times what they say they would find.
"""

import math
import re
import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats

import logpx
from logpx_bench.conformance import FAIL, PASS, SKIP, Subject, normalisation
from logpx_bench.model_file import Given

examined = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("examined.py"))))
subject, found, failed, exact, shifted = (
    getattr(examined, name) for name in ("subject", "found", "failed", "exact", "shifted")
)


def test_a_p_of_x_that_does_not_integrate_to_one_is_found():
    """Estimated at every x: the error of the sum is below 1e-3. And by the exact marginal, to seven digits. What is no
    distribution of x, but has a known evidence, is held against that."""
    assert found("normalisation", subject(shifted, theta=[0.0])).verdict == PASS
    failed("normalisation", subject(shifted, theta=[0.05]), "it must be 1")
    failed("normalisation", subject(log_marginal=lambda x: exact(x) + 1e-5), "the integral of p(x)")
    target, x = logpx.models.Eggbox.example()
    assert found("normalisation", Subject("eggbox", Given(target, x))).verdict == PASS


@logpx.per_sample
def coins(theta, dims, x, z):
    """z ~ N(0, 1); every x is 1 with probability 1 / (1 + exp(−z))."""
    total = -0.5 * z[0] * z[0] - 0.5 * math.log(2 * math.pi) + theta[0]
    for one in x:
        total += one * z[0] - math.log1p(math.exp(z[0]))
    return total


def test_a_p_of_x_that_does_not_sum_to_one_is_found():
    x = [[0.0, 1.0, 1.0]]
    given = {"x": x, "n_observed": 3, "x_states": [0, 1]}
    verdict, said, _ = found("normalisation", subject(coins, theta=[0.0], **given))
    assert verdict == PASS
    assert "8 states" in said
    failed("normalisation", subject(coins, theta=[0.1], **given), "it must be 1")
    guess = found("normalisation", subject(coins, theta=[0.1], **(given | {"x_states": None})))
    assert guess.verdict == SKIP, "that x is binary is a guess"
    rows = [[0.0, 0.0, 0.0], [1.0, 1.0, 1.0]]
    assert "2 states" in failed("normalisation", subject(coins, theta=[0.0], **(given | {"x_states": rows})), "it must")


def test_states_that_are_too_many_or_do_not_cover_x_are_said():
    given = {"x": [[0.0] * 13], "n_observed": 13}
    for states in ([0, 1], None):
        verdict, said, _ = found("normalisation", subject(coins, theta=[0.0], x_states=states, **given))
        assert verdict == SKIP
        assert "x has 2^13 states, and at most 4096 are summed over; make and check a smaller model" in said
    assert "counts without a bound" in found("normalisation", subject(x=[[2.0]])).said
    three = {"x": [[0.0, 1.0, 1.0]], "n_observed": 3}
    less = subject(coins, theta=[0.0], x_states=[[0.0, 0.0, 0.0], [1.0, 1.0, 1.0]], **three)
    assert "do not cover all that x can be" in found("normalisation", less).todo
    verdict, said, todo = found("normalisation", subject(coins, theta=[0.5], x_states=[0, 1], **three))
    log = float(said.partition(", its log ")[2].partition(" nats; it must be 1")[0])
    assert abs(log - 0.5) < 0.005, "the constant that was planted, within 9 standard errors"
    assert "cover" not in todo


def test_two_dimensions_are_integrated_by_the_exact_marginal():
    def two(x):
        rows = np.atleast_2d(x)
        value = -0.5 * (rows[:, 0] ** 2 + (rows[:, 1] - rows[:, 0] / 2) ** 2 / 0.01) - np.log(2 * np.pi * 0.1)
        return float(value[0]) if np.ndim(x) == 1 else value

    made = subject(x=[[0.1, 0.2]], n_observed=2, log_marginal=two)
    assert found("normalisation", made).verdict == PASS
    made = subject(x=[[0.1, 0.2]], n_observed=2, log_marginal=lambda x: np.zeros(len(x)))
    assert "does not fall off" in found("normalisation", made).said


# -- modes of x far from the data ---------------------------------------------------------------------------------


def of_rows(function):
    """A log_marginal from a function of rows (n, p)."""

    def log_marginal(x):
        values = function(np.atleast_2d(np.asarray(x, dtype=float)))
        return float(values[0]) if np.ndim(x) == 1 else values

    return log_marginal


def normals(*centres, sd=1.0, missing=0.0):
    """Log density of an even mixture of normals, less a constant."""
    return of_rows(
        lambda rows: (
            np.logaddexp.reduce([stats.norm.logpdf(rows, c, sd).sum(axis=1) for c in centres])
            - math.log(len(centres))
            - missing
        )
    )


def reach(said):
    """How far on either side the finding says that it looked, and the step."""
    low, high, step = re.search(r"found as far as \[(\S+), (\S+)\](?: × .*)?, in steps of ([\d.]+)", said).groups()
    return float(low), float(high), float(step)


@pytest.mark.parametrize("p", [1, 2])
def test_a_mode_of_x_far_from_the_data_is_looked_for_before_a_failure(p):
    """By the first box alone the integral is 0.5."""
    x = [[0.3] * p, [-1.0] * p]
    both = found("normalisation", subject(x=x, n_observed=p, log_marginal=normals(0.0, 60.0 / p)))
    assert both.verdict == PASS, both.said
    assert f"over {p} dimension{'s' * (p > 1)} is 1;" in both.said
    for centres in ((0.0,), (0.0, 60.0 / p)):
        made = subject(x=x, n_observed=p, log_marginal=normals(*centres, missing=0.5))
        said = failed("normalisation", made, "is 0.6065307, its log -0.5000 nats; it must be 1, and nothing more")
        low, high, step = reach(said)
        assert low < -60 / p < 60 / p < high
        assert 0.1 < step < 1
        assert "farther out than was looked" in found("normalisation", made).todo


def test_a_far_mode_that_is_narrow_is_seen_with_smaller_steps():
    """Its width is less than a sixth of the step by which it is found."""
    narrow = of_rows(
        lambda rows: (
            np.logaddexp(stats.norm.logpdf(rows[:, 0]), stats.norm.logpdf(rows[:, 0], 60.1, 0.05)) - math.log(2)
        )
    )
    assert found("normalisation", subject(log_marginal=narrow)).verdict == PASS


@logpx.per_sample
def two_modes(theta, dims, x, z):
    """x ~ N(60, 1) where z is above zero, else N(0, 1), less a constant."""
    centre = 60.0 if z[0] > 0 else 0.0
    return -0.5 * z[0] * z[0] - 0.5 * (x[0] - centre) ** 2 - math.log(2 * math.pi) - theta[0]


def test_a_far_mode_is_found_by_estimates_too(monkeypatch):
    monkeypatch.setattr(normalisation, "MOST_POINTS", 1025)
    assert found("normalisation", subject(two_modes, theta=[0.0])).verdict == PASS
    low, high, _ = reach(failed("normalisation", subject(two_modes, theta=[0.2]), "it must be 1"))
    assert low < -60 < 60 < high


def test_how_far_was_looked_ends_where_p_of_x_cannot_be_had():
    def raises(x):
        if np.abs(x).max() > 100:
            raise OverflowError("math range error")
        return normals(0.0, missing=0.5)(x)

    nowhere = of_rows(lambda rows: np.where(np.abs(rows[:, 0]) > 100, np.nan, stats.norm.logpdf(rows[:, 0]) - 0.5))
    for log_marginal in (raises, nowhere):
        low, high, _ = reach(failed("normalisation", subject(log_marginal=log_marginal), "its log -0.5000"))
        assert -100 < low < -50 < 50 < high < 100


def test_weights_that_are_too_uneven_farther_out_are_no_failure():
    def uneven(x):
        if np.abs(x).max() > 100:
            raise normalisation._UnevenError("the weights are too uneven. There is much of p(x)")
        return normals(0.0, missing=0.5)(x)

    verdict, said, _ = found("normalisation", subject(log_marginal=uneven))
    assert (verdict, said) == (SKIP, "p(x) cannot be had at every x: the weights are too uneven")


def test_without_a_look_farther_out_there_is_no_failure(monkeypatch):
    monkeypatch.setattr(normalisation, "MOST_POINTS", 257)
    at_rest = subject(log_marginal=normals(0.0, missing=0.5))
    assert found("normalisation", at_rest).verdict == FAIL
    monkeypatch.setattr(normalisation, "_affords", lambda *_: False)
    verdict, said, _ = found("normalisation", at_rest)
    assert verdict == SKIP
    assert "is 0.6065307 over [" in said
    assert "farther out p(x) cannot be had" in said


def test_what_grows_with_the_box_is_no_failure(monkeypatch):
    """The second mode lies where the widest box ends: half of it, and none of what is left, is seen."""
    monkeypatch.setattr(normalisation, "MOST_POINTS", 520)
    half = reach(found("normalisation", subject(log_marginal=normals(0.0, missing=0.5))).said)[1]
    verdict, said, _ = found("normalisation", subject(log_marginal=normals(0.0, half)))
    assert verdict == SKIP
    assert "grows with the box" in said
