"""Exact tests of group means for sizes that are not powers of two: brute force, and segments cut anywhere."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logpx import groups, totals


def fed(log_weights, start, sizes, piece=1000):
    """A segment made from log_weights, fed in pieces as the driver feeds blocks."""
    state = groups.empty((), len(sizes))
    for begin in range(0, log_weights.size, piece):
        part = log_weights[begin : begin + piece]
        for g, size in enumerate(sizes):
            groups.feed(part, part.size, np.uint64(start + begin), size, state[g])
    return state


def brute_force(log_weights, size):
    """L of each whole group, in extended precision."""
    n = log_weights.size // size
    weights = np.exp(log_weights[: n * size].astype(np.longdouble)).reshape(n, size)
    with np.errstate(divide="ignore"):
        return np.log(weights.mean(axis=1))


SIZES = (1, 3, 50, 999, 1000, 5000)


@pytest.mark.parametrize("n", [1, 50, 4999, 5000, 12_345])
def test_moments_are_those_of_brute_force(n):
    log_weights = np.random.default_rng(n).normal(0.0, 2.0, n)
    log_weights[::7] = -np.inf
    state = fed(log_weights, 0, SIZES)
    for g, size in enumerate(SIZES):
        expected = brute_force(log_weights, size)
        finite = expected[np.isfinite(expected)]
        assert state[g, groups.N] == finite.size
        assert state[g, groups.N_ZERO] == expected.size - finite.size
        if finite.size:
            assert state[g, groups.MEAN] == pytest.approx(float(finite.mean()), abs=1e-13)
            assert state[g, groups.M2] == pytest.approx(
                float(((finite - finite.mean()) ** 2).sum()), rel=1e-13, abs=1e-10
            )


@given(st.lists(st.integers(1, 4000), min_size=1, max_size=6))
@settings(deadline=None, max_examples=60)
def test_segments_join_to_the_whole_wherever_they_are_cut(lengths):
    n = sum(lengths)
    log_weights = np.random.default_rng(n).normal(0.0, 2.0, n)
    edges = np.concatenate([[0], np.cumsum(lengths)])
    segments = [fed(log_weights[a:b], int(a), SIZES) for a, b in itertools.pairwise(edges)]
    total = segments[0]
    for segment in segments[1:]:
        groups.join(total, segment, np.array(SIZES))
    for g, size in enumerate(SIZES):
        expected = brute_force(log_weights, size)
        assert total[g, groups.N] == expected.size
        if expected.size:
            assert total[g, groups.MEAN] == pytest.approx(float(expected.mean()), abs=1e-13)
            assert total[g, groups.M2] == pytest.approx(
                float(((expected - expected.mean()) ** 2).sum()), rel=1e-13, abs=1e-10
            )


def test_replicates_pool():
    a, b = (np.random.default_rng(i).normal(0.0, 2.0, 5000) for i in range(2))
    states = np.stack([fed(a, 0, (50,)), fed(b, 0, (50,))])
    pooled = totals.pool_moments(np.moveaxis(states[..., groups.MOMENTS], -1, -2))[:, 0]
    expected = np.concatenate([brute_force(a, 50), brute_force(b, 50)])
    np.testing.assert_allclose(pooled[:2], [200, float(expected.mean())], rtol=1e-13)
    assert pooled[2] == pytest.approx(float(((expected - expected.mean()) ** 2).sum()), rel=1e-11)
