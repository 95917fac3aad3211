"""Exact tests: the numbers made of given words, against 40-digit arithmetic and in their extremes.

The oracle reads the words as the module says: bits of the radius' uniform, an offset of the angle within an eighth of a
turn, a sign and a swap. Errors are in units of R·2^−53 (float64) and R·2^−24 (float32), R the radius.
"""

import mpmath
import numba
import numpy as np
import pytest
from scipy import stats

from logpx import _jit
from logpx.points import words

pytestmark = pytest.mark.skipif(_jit.DISABLED, reason="the plain-Python mode is tested in a subprocess")

#: Bits of a word, its type, the leaf.
DOUBLE = (64, np.uint64, words.normal_pair)
SINGLE = (32, np.uint32, words.normal_pair32)
MIDDLE = {64: 1 << 51, 32: 1 << 29}  # of the offset: an angle of (nearly) 0, 90, 180 or 270 degrees


def some_words(bits, dtype, n=2000):
    """Random words a and b, and every pair of words with extreme patterns of bits."""
    rng = np.random.default_rng(7)
    top = 1 << bits
    special = [0, 1, 2, 255, 256, 257, top - 257, top - 256, top - 2, top - 1]
    special += [top // 4, top // 2 - 1, top // 2, 3 * top // 4]
    special += [top - (1 << k) for k in range(bits)] + [(1 << k) - 1 for k in range(bits)]
    random = [int(w) for w in rng.integers(0, top, 2 * n, dtype=dtype)]
    small = [w >> int(s) for w, s in zip(random, rng.integers(0, bits, n), strict=False)]
    a = random[:n] + small + special * 4
    b = random[n:] + random[:n]
    b += special + special[::-1] + [top // 4 + w // 4 for w in special] + random[: len(special)]
    return np.array(a, dtype), np.array(b, dtype)


def uniform_and_angle(a, b, bits):
    """The radius' uniform and (offset in turns, sign, swap), exact, of two words as integers."""
    if bits == 64:
        u, r = mpmath.mpf(2 * (a >> 12) + 1) / 2**53, mpmath.mpf(b & (2**52 - 1)) / 2**54 - 0.125
    else:
        u, r = (
            mpmath.mpf(2 * (a << 8 | b & 255) + 1) / 2**41,
            mpmath.mpf(2 * (b >> 8 & (2**22 - 1)) + 1) / 2**25 - 0.125,
        )
    return u, r, 1 - 2 * (b >> (bits - 1)), b >> (bits - 2) & 1


def exact_pair(a, b, bits):
    """(z0, z1, R)."""
    u, r, sign, swap = uniform_and_angle(a, b, bits)
    radius = mpmath.sqrt(-2 * mpmath.log(u))
    c, s = sign * radius * mpmath.cospi(2 * r), radius * mpmath.sinpi(2 * r)
    return (s, c, radius) if swap else (c, s, radius)


def computed_pairs(leaf, a, b):
    @numba.njit(fastmath={"contract"}, error_model="numpy")
    def loop(a, b, first, second):
        for i in range(a.size):
            first[i], second[i] = leaf(a[i], b[i])

    out = np.empty((2, a.size), np.float64 if a.itemsize == 8 else np.float32)
    loop(a, b, out[0], out[1])
    return out


def errors(bits, dtype, leaf, n=2000):
    """Errors (2, N) in units of R·2^−53 or R·2^−24."""
    a, b = some_words(bits, dtype, n)
    z, found = computed_pairs(leaf, a, b), np.empty((2, a.size))
    with mpmath.workdps(40):
        for i in range(a.size):
            *exact, radius = exact_pair(int(a[i]), int(b[i]), bits)
            for part in (0, 1):
                found[part, i] = abs(mpmath.mpf(float(z[part, i])) - exact[part]) / radius
    return found * 2.0 ** (53 if bits == 64 else 24)


@pytest.mark.parametrize(("case", "limit"), [(DOUBLE, 5.0), (SINGLE, 3.5)], ids=["float64", "float32"])
def test_normals_are_box_muller_of_their_words(case, limit):
    """Largest measured over 40,000 pairs: 4.2 and 3.0; root mean square 0.72 and 0.58."""
    found = errors(*case)
    assert np.isfinite(found).all()
    assert found.max() <= limit, found.max()


@pytest.mark.parametrize(
    ("case", "bound", "beyond"), [(DOUBLE, 8.5717, 1.02e-17), (SINGLE, 7.5391, 4.73e-14)], ids=["float64", "float32"]
)
def test_the_largest_normal_is_as_stated(case, bound, beyond):
    """At word 0 the uniform is 2^−53 or 2^−41; an offset of nearly 0 gives the whole radius to one number."""
    bits, dtype, leaf = case
    z = computed_pairs(leaf, np.zeros(1, dtype), np.array([MIDDLE[bits]], dtype))
    assert abs(np.abs(z).max() - bound) < 1e-4
    assert abs(2 * stats.norm.sf(bound) / beyond - 1) < 0.01


def test_the_angle_takes_every_quarter_and_sign():
    for bits, dtype, leaf in (DOUBLE, SINGLE):
        b = np.array([q << (bits - 2) | MIDDLE[bits] for q in range(4)], dtype)
        z = np.round(computed_pairs(leaf, np.full(4, 1 << (bits - 1), dtype), b) / np.sqrt(2 * np.log(2)))
        assert {tuple(pair) for pair in z.T} == {(1, 0), (0, 1), (-1, 0), (0, -1)}


def test_the_radius_keeps_its_digits_near_zero():
    """Uniforms within 2^−26 of 1: R is right to 6·2^−24 of itself, though u as one float32 would be 1 or 1 − 2^−24."""
    a = np.array([0xFFFFFFFF - k for k in range(64)], np.uint32)
    b = np.array([(0x12345600 * (k + 1) + 37 * k) & 0xFFFFFFFF for k in range(64)], np.uint32)
    z = computed_pairs(words.normal_pair32, a, b)
    radius = np.hypot(z[0].astype(float), z[1].astype(float))
    exact = [float(exact_pair(int(x), int(y), 32)[2]) for x, y in zip(a, b, strict=True)]
    np.testing.assert_allclose(radius, exact, rtol=6 * 2.0**-24)


def test_uniforms_are_odd_multiples():
    @numba.njit
    def single(word):
        return words.open_uniform32(word)

    @numba.njit
    def double(word):
        return words.open_uniform(word)

    for word in (0, 1, 511, 512, 0x80000000, 0xFFFFFFFF, 0xFFFFFDFF):
        assert float(single(np.uint32(word))) == (2 * (word >> 9) + 1) / 2**24
        assert double(np.uint64(word << 32)) == (2 * (word << 20) + 1) / 2**53
