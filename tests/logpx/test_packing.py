"""Exact tests of ladders as bytes: they come back, many at once too, and no other bytes do anything but LadderError."""

import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logpx import packing
from logpx._jit import BLOCK
from logpx.errors import LadderError
from logpx.ladder import MAX_INDEX, Ladder

QUICK = settings(deadline=None, max_examples=60)


@pytest.fixture(scope="module", autouse=True)
def compiled():
    """What a ladder calls, before hypothesis looks at the clock."""
    Ladder().update(np.zeros(4 * BLOCK)).merge(Ladder().update(np.zeros(5), start=4 * BLOCK))


@st.composite
def ladders(draw):
    """A ladder of 1 or 2 × 2 streams, of up to three pieces anywhere, with zero weights and equal ones."""
    shape = draw(st.sampled_from([(), (3,), (2, 2)]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    ladder = Ladder(shape, iid=draw(st.booleans()), tail=draw(st.integers(1, 40)))
    start = draw(st.sampled_from([0, 5, BLOCK, 2**40 - 700, MAX_INDEX - 8 * BLOCK]))
    for _ in range(draw(st.integers(0, 3))):
        n = draw(st.sampled_from([1, 700, BLOCK, 2 * BLOCK + 3]))
        weights = np.round(rng.normal(0.0, 3.0, (*shape, n)), 1)
        weights[rng.random(weights.shape) < draw(st.sampled_from([0.0, 0.3, 1.0]))] = -np.inf
        ladder.update(weights, start=start)
        start += n + draw(st.sampled_from([0, 0, 700]))
    return ladder


@given(ladders())
@QUICK
def test_bytes_bring_the_ladder_back(ladder):
    data = ladder.to_bytes()
    back = Ladder.from_bytes(data)
    assert back.to_bytes() == data
    assert (back.shape, back.iid, back.tail, back.spans) == (ladder.shape, ladder.iid, ladder.tail, ladder.spans)
    np.testing.assert_array_equal(back.floor, ladder.floor)
    more = np.zeros((*ladder.shape, BLOCK))
    if ladder.stop + BLOCK < MAX_INDEX:
        assert back.update(more, start=ladder.stop).to_bytes() == ladder.update(more, start=ladder.stop).to_bytes()


def sealed(data):
    """The same bytes with a check sum that is right."""
    return data[:-8] + struct.pack("<Q", zlib.crc32(data[:-8]))


@given(ladders(), st.data())
@settings(deadline=None, max_examples=300)
def test_bytes_altered_anywhere_are_refused_or_are_another_ladder(ladder, data):
    """With a check sum made right again: what is left are the checks of every number in front."""
    good = ladder.to_bytes()
    bad = bytearray(good)
    words = data.draw(st.lists(st.integers(0, min(len(good) // 8 - 2, 40)), min_size=1, max_size=3))
    for word in words:
        value = data.draw(st.sampled_from([0, 1, 2, 3, 62, 63, 64, -1, 2**31, 2**62, 2**63 - 1, -(2**63)]))
        struct.pack_into("<q", bad, 8 * word, value)
    bad = bad[: len(bad) - 8 * data.draw(st.sampled_from([0, 0, 0, 1, 5]))]
    for read in (Ladder.from_bytes, lambda blob: Ladder.joined([good, blob]), lambda blob: Ladder.joined([blob, blob])):
        try:
            read(sealed(bytes(bad)))
        except LadderError:
            continue
    if bytes(bad) != good:
        with pytest.raises(LadderError, match="cut short, altered"):
            Ladder.from_bytes(bytes(bad))


@pytest.mark.parametrize(("word", "says"), [(9, "do not cover"), (10, "do not cover"), (12, "do not cover")])
def test_indices_that_do_not_fit_the_nodes_are_refused(word, says):
    """Words 9 and 10 are the span, 11 and 12 the height and the number of its only node."""
    good = bytearray(Ladder().update(np.zeros(BLOCK), start=BLOCK).to_bytes())
    assert struct.unpack_from("<4q", good, 72) == (BLOCK, 2 * BLOCK, 10, 1)
    struct.pack_into("<q", good, 8 * word, 0)
    for read in (Ladder.from_bytes, lambda blob: Ladder.joined([blob])):
        with pytest.raises(LadderError, match=says):
            read(sealed(bytes(good)))


@given(st.binary(max_size=400))
@QUICK
def test_any_bytes_are_refused(data):
    for read in (Ladder.from_bytes, lambda blob: Ladder.joined([blob])):
        with pytest.raises(LadderError, match="not a ladder"):
            read(data)
    with pytest.raises(LadderError, match="not a ladder"):
        Ladder.from_bytes(sealed(struct.pack("<8s8q", b"LPXladr\x02", BLOCK, 1, 0, *[2**60] * 5) + data + bytes(8)))


@given(ladders(), st.integers(0, 2**32))
@QUICK
def test_any_bit_that_turns_is_found(ladder, place):
    data = bytearray(ladder.to_bytes())
    data[place // 8 % len(data)] ^= 1 << place % 8
    with pytest.raises(LadderError, match="not a ladder"):
        Ladder.from_bytes(bytes(data))


def pieces(log_weights, size):
    n = log_weights.shape[-1]
    return [
        Ladder(log_weights.shape[:-1], tail=100).update(log_weights[..., a : a + size], start=a).to_bytes()
        for a in range(0, n, size)
    ]


@pytest.mark.parametrize(("shape", "size"), [((), BLOCK), ((), 4 * BLOCK), ((), 1500), ((3,), BLOCK)])
def test_many_pieces_join_to_the_whole_in_any_order(shape, size):
    log_weights = np.random.default_rng(1).normal(0.0, 3.0, (*shape, 1300 * BLOCK // max(1, 3 * len(shape))))
    whole = Ladder(shape, tail=100).update(log_weights)
    blobs = pieces(log_weights, size)
    assert Ladder.joined(blobs) == whole
    np.random.default_rng(2).shuffle(blobs)
    assert Ladder.joined(blobs) == whole
    odd = blobs[::2]
    assert Ladder.joined(odd).merge(Ladder.joined(blobs[1::2])) == whole


def test_pieces_that_do_not_fit_are_refused():
    log_weights = np.random.default_rng(1).normal(size=4 * BLOCK)
    blobs = pieces(log_weights, BLOCK)
    with pytest.raises(LadderError, match="there twice"):
        Ladder.joined([*blobs, blobs[1]])
    with pytest.raises(LadderError, match="given already"):
        Ladder.joined([*blobs, Ladder(tail=100).update(log_weights[:5]).to_bytes()])
    with pytest.raises(LadderError, match="do not merge"):
        Ladder.joined([*blobs, Ladder((1,), tail=100).update(log_weights[None], start=4 * BLOCK).to_bytes()])
    with pytest.raises(LadderError, match="no pieces"):
        Ladder.joined([])


def test_a_part_of_the_streams_is_the_ladder_of_these():
    log_weights = np.random.default_rng(3).normal(size=(5, 2 * BLOCK + 77))
    log_weights[3:] = -np.inf
    whole = Ladder((5,), tail=50).update(log_weights)
    assert whole.part(range(1, 3)) == Ladder((2,), tail=50).update(log_weights[1:3])
    assert whole.part(range(3, 5)) == Ladder((2,), tail=50).update(log_weights[3:])
    assert whole.trimmed(20) == Ladder((5,), tail=20).update(log_weights)
    twin = whole.copy()
    twin.update(log_weights, start=whole.stop)
    assert whole == Ladder((5,), tail=50).update(log_weights)


def test_without_its_largest_weights_a_ladder_is_the_same_however_many_it_kept():
    log_weights = np.random.default_rng(4).normal(size=3000)
    many = Ladder(tail=30).update(log_weights).to_bytes()
    state = packing.unpack(many)
    few = packing.pack(state._replace(top=state.top[:, :7]))
    other = Ladder(tail=30).update(log_weights + 1e-9).to_bytes()
    assert packing.without_top(few) == packing.without_top(many)
    assert packing.without_top(other) != packing.without_top(many)
