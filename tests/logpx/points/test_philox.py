"""Independent points: known answers, addressing and statistics of Philox uniforms and Box-Muller normals.

Exact tests: the published answers of Philox4x32-10, the form of the uniforms, equality of bits over blocks and modes.
Statistical tests: fixed seeds. Each asserts at a false-alarm rate below 10^-6, a family of m comparisons at 10^-6/m
each (Bonferroni); the smallest discrepancy that is detected nearly surely is twice the threshold and stands beside it.
"""

import os
import subprocess
import sys

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


def _expected_uniforms(index, pair, row, key):
    """The documented address and number, in Python integers, one round at a time."""
    c = [index & 0xFFFFFFFF, index >> 32, pair, row]
    k = [key & 0xFFFFFFFF, key >> 32]
    for _ in range(10):
        p0, p1 = c[0] * 0xD2511F53, c[2] * 0xCD9E8D57
        c = [(p1 >> 32) ^ c[1] ^ k[0], p1 & 0xFFFFFFFF, (p0 >> 32) ^ c[3] ^ k[1], p0 & 0xFFFFFFFF]
        k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
    words = (c[1] << 32 | c[0], c[3] << 32 | c[2])
    return [(2 * (word >> 12) + 1) / 2**53 for word in words]


@settings(max_examples=100, deadline=None)
@given(
    seed=st.integers(0, 2**63 - 1),
    replicate=st.integers(0, 2**63 - 1),
    row=st.integers(0, 2**32 - 1),
    index=st.integers(0, 2**63 - 1),
)
def test_a_sample_is_what_its_address_says(seed, replicate, row, index):
    key = int(hashed(seed, replicate)[0])
    expected = [u for pair in range(3) for u in _expected_uniforms(index, pair, row, key)]
    eps = draw("uniform", 1, start=index, n_base=6, seed=seed, replicate=replicate, row=row)
    np.testing.assert_array_equal(eps[:, 0], expected)


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


def test_normals_are_box_muller_of_the_uniforms():
    u, z = draw("uniform", 20000), draw("normal", 20000)
    radius = np.sqrt(-2 * np.log(u[0]))
    np.testing.assert_allclose(z[0], radius * np.cos(2 * np.pi * u[1]), rtol=0, atol=1e-14)
    np.testing.assert_allclose(z[1], radius * np.sin(2 * np.pi * u[1]), rtol=0, atol=1e-14)


def test_single_precision_is_the_double_rounded_and_stays_below_one():
    start = 118556325 - 300  # dimension 1 of sample 118556325 is above 1 − 2^−25: found by search
    u, z = draw("uniform", 1000, start=start), draw("normal", 1000, start=start)
    assert u[1].astype(np.float32).max() == 1
    rounded = np.minimum(u.astype(np.float32), np.float32(1 - 2**-24))
    np.testing.assert_array_equal(draw("uniform", 1000, start=start, dtype=np.float32), rounded)
    np.testing.assert_array_equal(draw("normal", 1000, start=start, dtype=np.float32), z.astype(np.float32))


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
    for start in (0, 2**32 - 20, 2**63 - 100):
        eps = np.empty((3, 60))
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
    np.testing.assert_array_equal(plain[:3], compiled[:3])
    assert (np.abs(plain[3:] - compiled[3:]) <= 8 * np.spacing(np.abs(compiled[3:]))).all()


# ---------------------------------------------------------------------------------------------- statistical


STARTS = [0, 2**31 - 2**17, 2**32 - 2**17, 2**33 - 2**17]


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize(("kind", "law"), [("uniform", stats.uniform), ("normal", stats.norm)])
def test_distribution_by_kolmogorov_smirnov(kind, law, start):
    """n = 2^18 a dimension: alarm at a distance of 0.0055; one of 0.011 in probability is found."""
    for values in draw(kind, 2**18, start=start, n_base=3):
        assert stats.kstest(values, law.cdf).pvalue > ALARM / 3


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("kind", ["uniform", "normal"])
def test_first_four_moments(kind, start):
    """n = 2^20: alarm at 5.4 standard errors; a mean off by 0.011 or a variance by 0.015 (normal) is found."""
    law = stats.uniform if kind == "uniform" else stats.norm
    n = 2**20
    for values in draw(kind, n, start=start, n_base=3):
        for power in (1, 2, 3, 4):
            mean = law.moment(power)
            sd = np.sqrt(law.moment(2 * power) - mean**2)
            assert abs(np.mean(values**power) - mean) < critical(12) * sd / np.sqrt(n)


def test_tails_of_the_normal():
    """P(|Z| > t) at t = 3, 4, 4.5 in 2^23 draws, Poisson: half or double the mass beyond 4.5 (57 expected) is found."""
    z = np.abs(np.concatenate([draw("normal", 2**18, start=i * 2**18, n_base=2).ravel() for i in range(16)]))
    for bound in (3.0, 4.0, 4.5):
        expected = 2 * stats.norm.sf(bound) * z.size
        count = int((z > bound).sum())
        low, high = stats.poisson.interval(1 - ALARM / 3, expected)
        assert low <= count <= high


def test_each_of_the_52_bits_is_fair_and_uncorrelated_with_each_other():
    """n = 2^18, 52 means and 1326 products of ±1 a dimension: an imbalance of 0.025 in any is found."""
    words = (draw("uniform", 2**18, n_base=2) * 2.0**53).astype(np.uint64)
    for word in words:
        signs = np.array([1.0 - 2.0 * ((word >> np.uint64(b + 1)) & np.uint64(1)) for b in range(52)])
        n = signs.shape[1]
        moments = np.concatenate([signs.mean(axis=1), (signs @ signs.T / n)[np.triu_indices(52, 1)]])
        assert np.abs(moments).max() * np.sqrt(n) < critical(2 * moments.size)


def _streams(kind, n):
    """Neighbours in every part of the address: what must be independent of everything else, one row each."""
    rows = [draw(kind, n, n_base=6)]
    rows += [draw(kind, n, n_base=2, **{part: value}) for part in ("seed", "replicate", "row") for value in (1, 2, 3)]
    rows += [draw(kind, n, n_base=2, start=start) for start in (1, 2, 511, 512, 2**31, 2**32, 2**32 + 1, 2**33, 2**62)]
    rows += [
        draw(kind, n, n_base=2, seed=a, replicate=b, row=c) for a, b, c in ((1, 1, 0), (1, 0, 1), (0, 1, 1), (1, 1, 1))
    ]
    return np.concatenate(rows)


@pytest.mark.parametrize("transform", ["identity", "square", "low bits"])
def test_streams_are_uncorrelated(transform):
    """n = 2^17, 50 rows, 1225 pairs: seeds, replicates, rows, dimensions, lags 1, 2, 511, 512 and jumps of 2^31 … 2^62.

    Alarm at a correlation of 0.0175; one of 0.035 in values, squares or the lowest 16 bits is found.
    """
    n = 2**17
    if transform == "low bits":
        x = (_streams("uniform", n) * 2.0**53).astype(np.uint64) >> np.uint64(1) & np.uint64(0xFFFF)
        x = x.astype(np.float64)
    else:
        x = _streams("normal", n)
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
