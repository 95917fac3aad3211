"""Ladders as bytes: a flat layout of their own, and many of them read at once.

    magic and version │ block, iid, tail; how many axes, spans, nodes, partial blocks, largest weights │ shape, spans,
    keys, blocks │ which values of each partial block are there │ moments and heads of each node │ raw values │
    largest weights │ CRC-32

Whole numbers are int64 and real ones float64, little-endian, so that every part is a multiple of eight bytes. The
length follows from the numbers in front and is compared before anything is allocated. Cost: a copy of the bytes.
`side_by_side` reads pieces of the same layout in one go and merges siblings by the thousand: about 5 µs a piece.
"""

import itertools
import math
import struct
import zlib
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from logpx import dyadic, nodes
from logpx._jit import BLOCK
from logpx.checks import MAX_SAMPLES
from logpx.errors import LadderError

_MAGIC = b"LPXladr\x02"
_HEADER = struct.Struct("<8s8q")
_CRC = struct.Struct("<Q")
_BITS = BLOCK // 8
#: CRC-32 of any bytes with their own CRC-32 behind them.
_RESIDUE = zlib.crc32(_CRC.pack(zlib.crc32(b"")))


class State(NamedTuple):
    """What a ladder over S streams is made of.

    nodes holds (height, index) → Node; partial holds block → (present (B,), values (S, B)); spans are the covered
    index ranges, disjoint and ascending, neighbours joined; top (S, W) are the largest weights, descending.
    """

    shape: tuple[int, ...]
    iid: bool
    tail: int
    spans: list[tuple[int, int]]
    nodes: dict[tuple[int, int], nodes.Node]
    partial: dict[int, tuple[np.ndarray, np.ndarray]]
    top: np.ndarray


def pack(state: State) -> bytes:
    """The state as bytes; the same state gives the same bytes, in whatever order it came together."""
    keys, blocks = sorted(state.nodes), sorted(state.partial)
    sizes = BLOCK, state.iid, state.tail, len(state.shape), len(state.spans), len(keys), len(blocks), state.top.shape[1]
    numbers = [*state.shape, *itertools.chain(*state.spans), *itertools.chain(*keys), *blocks]
    parts = [_HEADER.pack(_MAGIC, *sizes), np.array(numbers, dtype="<i8").tobytes()]
    parts += [np.packbits(state.partial[block][0]).tobytes() for block in blocks]
    parts += [_reals(array) for key in keys for array in state.nodes[key]]
    parts += [_reals(values[:, present]) for present, values in (state.partial[block] for block in blocks)]
    parts.append(_reals(state.top))
    body = b"".join(parts)
    return body + _CRC.pack(zlib.crc32(body))


def _reals(array):
    return array.astype("<f8", copy=False).tobytes()


def unpack(data: bytes) -> State:
    """The state that `pack` gave these bytes; LadderError for any other bytes."""
    front = _read_front(data)
    streams = math.prod(front.shape)
    reals = np.frombuffer(data, "<f8", (len(data) - 8 - front.at) // 8, front.at).astype(np.float64)
    at = 0

    def take(*shape):
        nonlocal at
        at += math.prod(shape)
        return reals[at - math.prod(shape) : at].reshape(shape)

    found = {
        (height, index): nodes.Node(take(streams, dyadic.N_FAMILIES, 3, height + 1), take(streams, 4))
        for height, index in front.keys
    }
    partial = {}
    for block, present in zip(front.blocks, front.present, strict=True):
        values = np.zeros((streams, BLOCK))
        values[:, present] = take(streams, int(present.sum()))
        partial[block] = present, values
    top = take(streams, front.width)
    if not all((weights < np.inf).all() for weights in (top, *(values for _, values in partial.values()))):
        raise _not_a_ladder("they hold weights that are nan or +inf")
    return State(front.shape, front.iid, front.tail, front.spans, found, partial, top)


# --- what stands in front ------------------------------------------------------------------------------------


class _Front(NamedTuple):
    """What stands before the real numbers, and where those begin."""

    shape: tuple[int, ...]
    iid: bool
    tail: int
    spans: list[tuple[int, int]]
    keys: list[tuple[int, int]]
    blocks: list[int]
    present: np.ndarray  # (blocks, B)
    width: int
    at: int


def _not_a_ladder(why):
    return LadderError(f"these bytes are not a ladder of this version ({_MAGIC!r}, block {BLOCK}): {why}")


def check_sum(data: bytes) -> None:
    """LadderError unless these bytes are as `pack` gave them, as far as their CRC-32 tells."""
    if not isinstance(data, bytes | bytearray):
        raise _not_a_ladder(f"they are a {type(data).__name__}")
    if len(data) < _HEADER.size + _CRC.size or zlib.crc32(data) != _RESIDUE:
        raise _not_a_ladder("they are cut short, altered, or of something else")


def _read_front(data):
    check_sum(data)
    magic, block, iid, tail, *sizes = _HEADER.unpack_from(data)
    if magic != _MAGIC or block != BLOCK:
        raise _not_a_ladder("another format, version or block")
    axes, n_spans, n_nodes, n_blocks, width = sizes
    n_numbers = axes + 2 * n_spans + 2 * n_nodes + n_blocks
    at = _HEADER.size + 8 * n_numbers + _BITS * n_blocks
    if min(sizes) < 0 or not 1 <= tail <= 1 << 32 or iid not in (0, 1) or at + _CRC.size > len(data):
        raise _not_a_ladder("its sizes do not fit its length")
    numbers = np.frombuffer(data, "<i8", n_numbers, _HEADER.size).tolist()
    shape, pairs, blocks = tuple(numbers[:axes]), numbers[axes : n_numbers - n_blocks], numbers[n_numbers - n_blocks :]
    pairs = list(zip(pairs[::2], pairs[1::2], strict=True))
    bits = np.frombuffer(data, np.uint8, _BITS * n_blocks, _HEADER.size + 8 * n_numbers).reshape(n_blocks, _BITS)
    present = np.unpackbits(bits, axis=1).astype(bool)
    front = _Front(shape, bool(iid), tail, pairs[:n_spans], pairs[n_spans:], blocks, present, width, at)
    _check_front(front, len(data))
    return front


def _check_front(front, length):
    """The numbers in front agree with one another and with the length."""
    if not all(size >= 1 for size in front.shape) or math.prod(front.shape) > 1 << 40:
        raise _not_a_ladder(f"its shape is {front.shape}")
    if not all(0 <= height < 63 and 0 <= index < MAX_SAMPLES >> height for height, index in front.keys):
        raise _not_a_ladder("it has nodes beyond index 2^62")
    counts = front.present.sum(axis=1).tolist()
    pieces = [(index << height, (index + 1) << height) for height, index in front.keys]
    for block, present, count in zip(front.blocks, front.present, counts, strict=True):
        if not (0 <= block < MAX_SAMPLES // BLOCK and 0 < count < BLOCK):
            raise _not_a_ladder("a partial block is empty, whole, or beyond index 2^62")
        pieces += [(block * BLOCK + begin, block * BLOCK + end) for begin, end in runs(present)]
    if joined(pieces) != front.spans:
        raise _not_a_ladder("its nodes do not cover the indices that it names")
    n_reals = sum(12 * (height + 1) + 4 for height, _ in front.keys) + sum(counts) + front.width
    if front.at + 8 * math.prod(front.shape) * n_reals + _CRC.size != length:
        raise _not_a_ladder("its sizes do not fit its length")


def runs(present: np.ndarray) -> list[tuple[int, int]]:
    """Half-open runs of True in a boolean vector."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], present, [False]]).astype(np.int8)))
    return [(int(a), int(b)) for a, b in edges.reshape(-1, 2)]


def joined(pieces: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Index ranges in ascending order, neighbours joined; LadderError where two overlap."""
    spans: list[tuple[int, int]] = []
    for start, stop in sorted(pieces):
        if spans and start < spans[-1][1]:
            raise LadderError(f"indices {start} … {min(stop, spans[-1][1]) - 1} are there twice")
        if spans and start == spans[-1][1]:
            spans[-1] = spans[-1][0], stop
        else:
            spans.append((start, stop))
    return spans


# --- many at once --------------------------------------------------------------------------------------------


def side_by_side(blobs: Iterable[bytes]) -> list[State]:
    """States that hold together what these bytes hold: one for all pieces that are single nodes of the same height."""
    alike: dict[tuple[bytes, bytes, bytes], list[bytes]] = {}
    height_at: dict[bytes, int] = {}  # by what stands before the width of the largest weights; 0 for other pieces
    states = []
    for data in blobs:
        head = data[:64]
        at = height_at.get(head)
        if at is None:
            at = height_at[head] = _height_at(data)
        if at:
            alike.setdefault((head, data[_HEADER.size : at - 16], data[at : at + 8]), []).append(data)
        else:
            states.append(unpack(data))
    return states + [_merged(group) for group in alike.values()]


def _height_at(data):
    """Where the height of a piece's only node stands, behind shape and span; 0 if it is not one node and no more."""
    if len(data) < _HEADER.size:
        return 0
    axes, *sizes = struct.unpack_from("<4q", data, 32)
    return _HEADER.size + 8 * axes + 16 if sizes == [1, 1, 0] and 0 <= axes <= len(data) else 0


def _merged(group):
    """The state of many single nodes of one height and the same streams."""
    front = _read_front(group[0])
    streams, height = math.prod(front.shape), front.keys[0][0]
    size = front.at + 8 * streams * (12 * (height + 1) + 4)
    for data in group:
        check_sum(data)
    words = np.frombuffer(b"".join([data[:size] for data in group]), "<i8")
    if words.size != len(group) * (size // 8):
        raise _not_a_ladder("its sizes do not fit its length")
    words = words.reshape(len(group), size // 8)
    behind = 9 + len(front.shape)
    (start, stop), index, widths = words[:, behind : behind + 2].T, words[:, behind + 3], words[:, 8]
    lengths = np.array([len(data) for data in group])
    good = (start == index << height) & (stop == (index + 1) << height) & (index >= 0) & (widths >= 0)
    if not (good & (index < MAX_SAMPLES >> height) & (lengths - size - 8 == 8 * streams * widths)).all():
        raise _not_a_ladder("its nodes do not cover the indices that it names, or its sizes do not fit its length")
    parts = np.split(words[:, front.at // 8 :].view("<f8"), [12 * (height + 1) * streams], axis=1)
    moments, heads = (np.ascontiguousarray(part, dtype=np.float64) for part in parts)
    stacked = nodes.Node(moments.reshape(-1, streams, dyadic.N_FAMILIES, 3, height + 1), heads.reshape(-1, streams, 4))
    tops = [
        np.frombuffer(data, "<f8", streams * width, size).reshape(streams, width)
        for data, width in zip(group, widths.tolist(), strict=True)
        if width
    ]
    top = np.concatenate(tops or [np.empty((streams, 0))], axis=1).astype(np.float64)
    if not (top < np.inf).all():
        raise _not_a_ladder("they hold weights that are nan or +inf")
    spans = joined(zip(start.tolist(), stop.tolist(), strict=True))
    return State(front.shape, front.iid, front.tail, spans, nodes.merge_all(index, stacked), {}, top)


def without_top(data: bytes) -> bytes:
    """The same ladder without its largest weights: how many of them a task hands on is no part of its result."""
    state = unpack(data)
    return pack(state._replace(top=state.top[:, :0]))
