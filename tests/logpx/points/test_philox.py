"""Independent points: known answers, addressing and statistics of Philox uniforms and Box-Muller normals.

Exact tests: the published answers of Philox4x32-10, the form of the uniforms, equality of bits over blocks and modes.
Statistical tests: fixed seeds. Each asserts at a false-alarm rate below 10^-6, a family of m comparisons at 10^-6/m
each (Bonferroni); the smallest discrepancy that is detected nearly surely is twice the threshold and stands beside it.
"""

import math
import os
import subprocess
import sys

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from logpx import _jit
from logpx.errors import InputError
from logpx.points import REGISTRY
from logpx.points.base import hashed, mixed
from logpx.points.philox import philox4x32_10

pytestmark = pytest.mark.skipif(_jit.DISABLED, reason="the plain-Python mode is tested in a subprocess")

POINTS = REGISTRY["independent"]
ALARM = 1e-6


def draw(kind, n, *, start=0, n_base=2, seed=0, replicate=0, row=0, dtype=np.float64):
    """Base noise (n_base, n) of one stream."""
    eps = np.empty((n_base, n), dtype)
    POINTS.kernels[kind](POINTS.state(seed, replicate, row, n_base), np.uint64(start), eps)
    return eps


def critical(n_comparisons):
    """Normal score exceeded in absolute value with probability ALARM in n_comparisons tries."""
    return stats.norm.isf(ALARM / n_comparisons / 2)


# ---------------------------------------------------------------------------------------------------- exact


@pytest.mark.parametrize(
    ("counter", "key", "answer"),
    [
        ([0, 0, 0, 0], [0, 0], [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
        ([0xFFFFFFFF] * 4, [0xFFFFFFFF] * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
        (
            [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
            [0xA4093822, 0x299F31D0],
            [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
        ),
    ],
)
def test_published_answers_of_philox4x32_10(counter, key, answer):
    """Random123's kat_vectors."""
    words = philox4x32_10(np.array(counter, np.uint64), np.array(key, np.uint64))
    np.testing.assert_array_equal(words, np.array(answer, np.uint64))


def _philox(c, key):
    """The four words of counter c under a 64-bit key, in Python integers, one round at a time."""
    k = [key & 0xFFFFFFFF, key >> 32]
    for _ in range(10):
        p0, p1 = c[0] * 0xD2511F53, c[2] * 0xCD9E8D57
        c = [(p1 >> 32) ^ c[1] ^ k[0], p1 & 0xFFFFFFFF, (p0 >> 32) ^ c[3] ^ k[1], p0 & 0xFFFFFFFF]
        k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return c


def _pair(index, pair, row, key):
    """float64: the documented words (a, b) of two dimensions of a sample."""
    w = _philox([index & 0xFFFFFFFF, index >> 32, pair, row], key)
    return w[1] << 32 | w[0], w[3] << 32 | w[2]


def _quarter(index, dimension, row, key):
    """float32: the documented words of a sample's call, in order; whether the sample is of its second pair; and whether
    of its second half."""
    call = 256 * (index // 1024) + index % 512 // 2
    w = _philox([call & 0xFFFFFFFF, call >> 32, 2**31 + dimension, row], key)
    return w, index % 2, index % 1024 // 512


def _box_muller(u, turns, sign, swap):
    radius = math.sqrt(-2 * math.log(u))
    z = [(1 - 2 * sign) * radius * math.cos(2 * math.pi * turns), radius * math.sin(2 * math.pi * turns)]
    return z[::-1] if swap else z


ADDRESS = {
    "seed": st.integers(0, 2**63 - 1),
    "replicate": st.integers(0, 2**63 - 1),
    "row": st.integers(0, 2**32 - 1),
    "index": st.integers(0, 2**63 - 1),
}


@settings(max_examples=100, deadline=None)
@given(**ADDRESS)
def test_a_sample_is_what_its_address_says(seed, replicate, row, index):
    key = int(hashed(seed, replicate)[0])
    words = [_pair(index, pair, row, key) for pair in range(3)]
    address = {"start": index, "seed": seed, "replicate": replicate, "row": row}
    u = draw("uniform", 1, n_base=6, **address)[:, 0]
    np.testing.assert_array_equal(u, [(2 * (word >> 12) + 1) / 2**53 for pair in words for word in pair])
    z = draw("normal", 1, n_base=5, **address)[:, 0]
    exact = [
        one
        for a, b in words
        for one in _box_muller((2 * (a >> 12) + 1) / 2**53, (b & (2**52 - 1)) / 2**54 - 0.125, b >> 63, b >> 62 & 1)
    ]
    np.testing.assert_allclose(z, exact[:5], rtol=0, atol=1e-14)


@settings(max_examples=100, deadline=None)
@given(**ADDRESS)
def test_a_sample_in_single_precision_is_what_its_address_says(seed, replicate, row, index):
    key = int(hashed(seed, replicate)[0])
    address = {"start": index, "seed": seed, "replicate": replicate, "row": row, "dtype": np.float32}
    u, z = draw("uniform", 1, n_base=3, **address)[:, 0], draw("normal", 1, n_base=3, **address)[:, 0]
    for dimension in range(3):
        words, pair, half = _quarter(index, dimension, row, key)
        assert u[dimension] == (2 * (words[2 * half + pair] >> 9) + 1) / 2**24
        a, b = words[pair], words[2 + pair]
        turns = (2 * (b >> 8 & (2**22 - 1)) + 1) / 2**25 - 0.125
        exact = _box_muller((2 * (a << 8 | b & 255) + 1) / 2**41, turns, b >> 31, b >> 30 & 1)
        assert abs(z[dimension] - exact[half]) < 2e-6


@pytest.mark.parametrize("start", [0, 2**32 - 300, 2**63 - 2000])
def test_uniforms_are_odd_multiples_of_two_to_the_minus_53(start):
    scaled = draw("uniform", 1000, start=start, n_base=5) * 2.0**53
    integers = scaled.astype(np.uint64)
    np.testing.assert_array_equal(integers.astype(np.float64), scaled)
    assert (integers % 2 == 1).all()
    assert 0 < scaled.min() < scaled.max() < 2.0**53


@pytest.mark.parametrize("kind", ["uniform", "normal"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("start", [0, 2**31 - 700, 2**32 - 700, 2**33 - 700, 2**40 + 1])
def test_bits_do_not_depend_on_blocks(kind, dtype, start):
    """Blocks of any size and any first index see the same samples, also across 2^31, 2^32 and 2^33."""
    whole = draw(kind, 1400, start=start, n_base=3, dtype=dtype)
    for size in (1, 7, 512, 513):
        for first in (0, 1, 699, 887):
            part = draw(kind, size, start=start + first, n_base=3, dtype=dtype)
            np.testing.assert_array_equal(part, whole[:, first : first + size])


@pytest.mark.parametrize("kind", ["uniform", "normal"])
def test_more_dimensions_leave_the_first_as_they_are(kind):
    few, many = draw(kind, 300, n_base=1), draw(kind, 300, n_base=8)
    for n_base in (2, 3, 7):
        np.testing.assert_array_equal(draw(kind, 300, n_base=n_base), many[:n_base])
    np.testing.assert_array_equal(few, many[:1])


def test_radii_are_those_of_the_uniforms():
    u, z = draw("uniform", 20000), draw("normal", 20000)
    np.testing.assert_allclose(np.hypot(z[0], z[1]), np.sqrt(-2 * np.log(u[0])), rtol=1e-14)


def test_single_precision_uniforms_are_odd_multiples_of_two_to_the_minus_24():
    scaled = np.concatenate([draw("uniform", 2**20, start=i * 2**20, dtype=np.float32) for i in range(8)]) * 2.0**24
    assert ((scaled.astype(np.int64) % 2 == 1) & (scaled == np.floor(scaled))).all()
    assert 0 < scaled.min() < 100  # one of 50 values of 2^23 in 2^24 draws: missed with probability e^−100
    assert 2**24 - 100 < scaled.max() < 2**24


def test_precisions_share_no_counter():
    """The first 23 bits of a uniform: 192 of 2^14 are found among 6·2^14 of 2^23 by chance, half of them if shared."""
    double = np.floor(draw("uniform", 2**14, n_base=6) * 2.0**23).astype(np.int64)
    single = np.floor(draw("uniform", 2**14, n_base=6, dtype=np.float32) * 2.0**23).astype(np.int64)
    assert all(np.isin(one, double).sum() < 600 for one in single)


def test_states_of_many_streams_are_those_of_one():
    replicates, rows = np.repeat(np.arange(4), 5), np.tile(np.arange(5), 4)
    many = POINTS.states(9, replicates, rows, 2)
    assert many.dtype == np.uint64
    assert many.flags.c_contiguous
    for state, replicate, row in zip(many, replicates, rows, strict=True):
        np.testing.assert_array_equal(state, POINTS.state(9, replicate, row, 2))
    np.testing.assert_array_equal(POINTS.states(9, [3], rows, 2), POINTS.states(9, np.full(20, 3), rows, 2))


def test_splitmix64_known_answers():
    """The generator of seed 1234567, as published with Java's SplittableRandom and in many ports."""
    state = (1234567 + 0x9E3779B97F4A7C15 * np.arange(3, dtype=object)) % 2**64
    answers = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    np.testing.assert_array_equal(mixed(state.astype(np.uint64)), np.array(answers, np.uint64))


def test_no_two_streams_of_a_run_share_a_key():
    keys = hashed(0, np.arange(10**5))
    assert np.unique(keys).size == 10**5
    assert np.intersect1d(keys, hashed(1, np.arange(10**5))).size == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((-1, [0], [0], 2), "seed=-1"),
        ((2**63, [0], [0], 2), "from 0 to"),
        ((0.5, [0], [0], 2), "whole number"),
        ((0, [-1], [0], 2), "replicates runs from -1"),
        ((0, [0], [2**32], 2), "rows runs from"),
        ((0, [0.0], [0], 2), "dtype float64"),
        ((0, [0, 1], [0, 1, 2], 2), "one of either"),
        ((0, [0], [0], 0), "n_base=0: a whole number from 1"),
    ],
)
def test_bad_addresses_are_refused(arguments, words):
    with pytest.raises(InputError, match=words):
        POINTS.states(*arguments)


def test_indices_have_a_limit():
    POINTS.check_index(2**63)
    with pytest.raises(InputError, match="more replicates"):
        POINTS.check_index(2**63 + 1)


PLAIN = """
import sys
import numpy as np
from logpx import _jit
from logpx.points import REGISTRY
assert _jit.DISABLED
points = REGISTRY["independent"]
blocks = []
for kind in ("uniform", "normal"):
    for dtype, start in ((float, 0), (float, 2**32 - 20), (float, 2**63 - 100), (np.float32, 2**33 + 200)):
        eps = np.empty((3, 60), dtype)
        points.kernels[kind](points.state(7, 3, 5, 3), np.uint64(start), eps)
        blocks.append(eps)
np.save(sys.argv[1], blocks)
"""


def test_plain_python_gives_the_same_uniforms_and_nearly_the_same_normals(tmp_path):
    values = {}
    for disabled in "01":
        file = tmp_path / f"{disabled}.npy"
        code = PLAIN if disabled == "1" else PLAIN.replace("assert _jit.DISABLED", "")
        environment = {**os.environ, "NUMBA_DISABLE_JIT": disabled}
        subprocess.run([sys.executable, "-W", "error", "-c", code, file], env=environment, check=True)
        values[disabled] = np.load(file)
    compiled, plain = values["0"], values["1"]
    np.testing.assert_array_equal(plain[:4], compiled[:4])
    np.testing.assert_allclose(plain[4:7], compiled[4:7], rtol=0, atol=1e-14)
    np.testing.assert_allclose(plain[7], compiled[7], rtol=0, atol=2e-6)


# ---------------------------------------------------------------------------------------------- statistical


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
    return values.reshape(-1, 4, 256).transpose(1, 0, 2).reshape(4, -1)


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
