"""Statistics of independent points, Philox uniforms and Box-Muller normals. Fixed seeds.

Each test asserts at a false-alarm rate below 10^-6, a family of m comparisons at 10^-6/m each (Bonferroni); the
smallest discrepancy that is detected nearly surely is twice the threshold and stands beside it.
"""

import runpy
from pathlib import Path
from types import SimpleNamespace

import numba
import numpy as np
import pytest
from scipy import stats

from logpx import _jit

pytestmark = pytest.mark.skipif(_jit.DISABLED, reason="the plain-Python mode is tested in a subprocess")

noise = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("noise.py"))))
draw, ALARM = noise.draw, 1e-6


def critical(n_comparisons):
    """Normal score exceeded in absolute value with probability ALARM in n_comparisons tries."""
    return stats.norm.isf(ALARM / n_comparisons / 2)


STARTS = [0, 2**31 - 2**17, 2**32 - 2**17, 2**33 - 2**17]


ADDRESSES = [*((start, np.float64) for start in STARTS), (0, np.float32), (2**33 - 2**17, np.float32)]


@pytest.mark.parametrize(("start", "dtype"), ADDRESSES)
@pytest.mark.parametrize(("kind", "law"), [("uniform", stats.uniform), ("normal", stats.norm)])
def test_distribution_by_kolmogorov_smirnov(kind, law, start, dtype):
    """n = 2^18 a dimension: alarm at a distance of 0.0055; one of 0.011 in probability is found."""
    for values in draw(kind, 2**18, start=start, n_base=3, dtype=dtype):
        assert stats.kstest(values.astype(float), law.cdf).pvalue > ALARM / 3


@pytest.mark.parametrize(("start", "dtype"), ADDRESSES)
@pytest.mark.parametrize("kind", ["uniform", "normal"])
def test_first_four_moments(kind, start, dtype):
    """n = 2^20: alarm at 5.4 standard errors; a mean off by 0.011 or a variance by 0.015 (normal) is found."""
    law = stats.uniform if kind == "uniform" else stats.norm
    n = 2**20
    for values in draw(kind, n, start=start, n_base=3, dtype=dtype).astype(float):
        for power in (1, 2, 3, 4):
            mean = law.moment(power)
            sd = np.sqrt(law.moment(2 * power) - mean**2)
            assert abs(np.mean(values**power) - mean) < critical(12) * sd / np.sqrt(n)


@numba.njit(error_model="numpy")
def _sums(z, bounds, powers, beyond):
    """Add to the sums of z^1 … z^4 and to the counts of |z| beyond each bound, by sign."""
    for value in z:
        x = np.float64(value)
        square = x * x
        powers += np.array([x, square, square * x, square * square])
        if square > bounds[0] ** 2:
            for i in range(bounds.size):
                if abs(x) > bounds[i]:
                    beyond[i, np.int64(x > 0)] += 1


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_moments_and_tails_of_many_normals(dtype):
    """2^26 normals: four moments, and how many lie beyond 4 σ (2125 a side) and 5 σ (19.2 a side), Poisson.

    Alarm at 5.3 standard errors: a variance off by 0.0018, a mass beyond 4 off by 23 %, or 4 times that beyond 5 σ
    is found.
    """
    bounds, powers, beyond = np.array([4.0, 5.0]), np.zeros(4), np.zeros((2, 2))
    for block in range(32):
        _sums(draw("normal", 2**20, start=block * 2**20, dtype=dtype).reshape(-1), bounds, powers, beyond)
    n = 2**26
    exact, sd = np.array([0, 1, 0, 3]), np.sqrt([1, 2, 15, 96])
    assert (np.abs(powers / n - exact) < critical(8) * sd / np.sqrt(n)).all()
    low, high = stats.poisson.interval(1 - ALARM / 8, stats.norm.sf(bounds) * n)
    assert ((low[:, None] <= beyond) & (beyond <= high[:, None])).all(), beyond


def _members(values):
    """Samples (n,) of one dimension in float32, from a multiple of 1024: the four of each call, (4, n/4)."""
    return values.reshape(-1, 2, 256, 2).transpose(1, 3, 0, 2).reshape(4, -1)


def _largest_correlation(rows):
    """In standard errors, between any two rows: of values, squares, signs and tails, and of one's with another's."""
    n = rows.shape[1]
    kinds = [rows, rows**2, np.sign(rows), np.abs(rows) > 2]
    matrix = np.corrcoef(np.concatenate(kinds))
    own = np.tile(np.arange(len(rows)), len(kinds))
    return np.abs(matrix[own[:, None] != own[None, :]]).max() * np.sqrt(n)


def test_members_of_one_call_are_independent():
    """2^20 calls: alarm at a correlation of 0.0061; one of 0.012 in values, squares, signs or tails is found."""
    single = _members(draw("normal", 2**22, n_base=1, dtype=np.float32)[0].astype(float))
    double = draw("normal", 2**20)
    for rows in (single, double):
        assert _largest_correlation(rows) < critical(192)


def test_members_that_share_a_word_are_noticed():
    """Planted: a pair whose angle is the other's, and a pair whose radius is."""
    rng = np.random.default_rng(3)
    radius, angle = np.sqrt(-2 * np.log(rng.random((2, 2**16)))), 2 * np.pi * rng.random((2, 2**16))
    for r, t in ((radius, angle[[0, 0]]), (radius[[0, 0]], angle)):
        z = np.concatenate([r * np.cos(t), r * np.sin(t)])
        assert _largest_correlation(z) > critical(192)


def test_each_of_the_52_bits_is_fair_and_uncorrelated_with_each_other():
    """n = 2^18, 52 means and 1326 products of ±1 a dimension: an imbalance of 0.025 in any is found."""
    words = (draw("uniform", 2**18, n_base=2) * 2.0**53).astype(np.uint64)
    for word in words:
        signs = np.array([1.0 - 2.0 * ((word >> np.uint64(b + 1)) & np.uint64(1)) for b in range(52)])
        n = signs.shape[1]
        moments = np.concatenate([signs.mean(axis=1), (signs @ signs.T / n)[np.triu_indices(52, 1)]])
        assert np.abs(moments).max() * np.sqrt(n) < critical(2 * moments.size)


def _streams(kind, n, dtype=np.float64):
    """Neighbours in every part of the address: what must be independent of everything else, one row each."""

    def two(**address):
        return draw(kind, n, n_base=2, dtype=dtype, **address)

    rows = [draw(kind, n, n_base=6, dtype=dtype)]
    rows += [two(**{part: value}) for part in ("seed", "replicate", "row") for value in (1, 2, 3)]
    rows += [two(start=start) for start in (1, 2, 256, 512, 2**31, 2**32, 2**32 + 1, 2**33, 2**62)]
    rows += [two(seed=a, replicate=b, row=c) for a, b, c in ((1, 1, 0), (1, 0, 1), (0, 1, 1), (1, 1, 1))]
    return np.concatenate(rows).astype(float)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("transform", ["identity", "square", "low bits"])
def test_streams_are_uncorrelated(transform, dtype):
    """n = 2^17, 50 rows, 1225 pairs: seeds, replicates, rows, dimensions, lags 1, 2, 256, 512 and jumps of 2^31 … 2^62.

    Alarm at a correlation of 0.0175; one of 0.035 in values, squares or the lowest 16 bits is found.
    """
    n = 2**17
    if transform == "low bits":
        bits = 53 if dtype == np.float64 else 24
        x = (_streams("uniform", n, dtype) * 2.0**bits).astype(np.uint64) >> np.uint64(1) & np.uint64(0xFFFF)
        x = x.astype(np.float64)
    else:
        x = _streams("normal", n, dtype)
        x = x if transform == "identity" else x * x
    correlations = np.corrcoef(x)[np.triu_indices(x.shape[0], 1)]
    assert correlations.size == 1225
    assert np.abs(correlations).max() * np.sqrt(n) < critical(3 * correlations.size)


def test_indices_beyond_32_bits_are_other_samples():
    """Sample i, i + 2^31, i + 2^32, i + 2^33 differ in every dimension: a counter cut to 32 bits repeats them."""
    near = draw("uniform", 4096)
    for jump in (2**31, 2**32, 2**33, 2**62):
        assert not np.isin(draw("uniform", 4096, start=jump), near).any()


def test_streams_detect_a_shared_stream():
    """Planted: one row of x that reuses another's stream is seen by the correlation test at once."""
    x = np.concatenate([_streams("normal", 2**12), draw("normal", 2**12, n_base=2)])
    correlations = np.corrcoef(x)[np.triu_indices(x.shape[0], 1)]
    assert np.abs(correlations).max() * np.sqrt(2**12) > critical(3 * correlations.size)
