"""Independent points: known answers and addressing of Philox uniforms and Box-Muller normals. Exact.

The published answers of Philox4x32-10, the form of the uniforms, equality of bits over blocks and modes.
"""

import math
import os
import runpy
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logpx import _jit
from logpx.errors import InputError
from logpx.points.base import hashed, mixed
from logpx.points.philox import philox4x32_10

pytestmark = pytest.mark.skipif(_jit.DISABLED, reason="the plain-Python mode is tested in a subprocess")

noise = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("noise.py"))))
draw, POINTS = noise.draw, noise.POINTS


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
