"""The dyadic ladder: one pass over a stream of log weights, every bound and the estimate read off it.

    L_k = log (1/k) Σ w_i over groups of k = 2^j weights;  E[L_1] = ELBO,  E[L_k] = IWAE_k,  L_N → log p(x)

It is a forest of complete dyadic nodes over absolute sample indices. Siblings merge into their parent, so any
split of a stream into pieces, in any order, ends in the same nodes with the same bits; indices seen twice are
an error. A block of B weights that is not complete yet stays as raw values. Several streams over the same
indices share one ladder: arrays then carry their shape in front. Memory: O(log N) a stream, plus the largest
weights. Cost: see `logpx.dyadic`.
"""

import bisect
import itertools
import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike

from logpx import dyadic, nodes, packing, pareto
from logpx._jit import BLOCK
from logpx.checks import MAX_SAMPLES, as_array, whole
from logpx.errors import InputError, LadderError, NonFiniteWeightError, NotAvailableError, NotIndependentError
from logpx.levels import Levels, Reading
from logpx.result import Estimate
from logpx.totals import Summary, pool

#: Largest absolute sample index plus one.
MAX_INDEX = MAX_SAMPLES
#: Most blocks taken in at once; what cannot be used in place, a read-only array for one, is copied that much at a time.
_PIECE = 1 << 10


class Ladder:
    """Log weights in, bounds and estimate out.

    Parameters
    ----------
    shape : tuple of int
        Shape of the streams side by side; () for one stream.
    iid : bool
        Whether the weights are independent. If not (Sobol' points), only the mean of the weights
        counts: levels, bounds, Pareto k̂ and the delta-method error raise NotIndependentError.
    tail : int
        How many of the largest weights to keep for Pareto k̂, besides one below them.

    Examples
    --------
    >>> import numpy as np, logpx
    >>> log_weights = np.log(np.random.default_rng(0).exponential(size=4096))
    >>> ladder = logpx.Ladder().update(log_weights)
    >>> abs(ladder.estimate().log_marginal) < 0.1
    True
    >>> ladder.bound(1).value < ladder.bound(64).value
    True
    """

    def __init__(self, shape: tuple[int, ...] = (), *, iid: bool = True, tail: int = pareto.MAX_TAIL):
        if not isinstance(shape, tuple):
            raise InputError(f"shape={shape!r}: a tuple, such as () for one stream or (3,) for three side by side")
        self.shape = tuple(whole(f"shape[{i}]", size) for i, size in enumerate(shape))
        self.iid, self.tail = bool(iid), whole("tail", tail, most=1 << 32)
        self._streams = math.prod(self.shape)
        self._nodes: dict[tuple[int, int], nodes.Node] = {}
        self._partial: dict[int, tuple[np.ndarray, np.ndarray]] = {}  # block -> present (B,), values (S, B)
        self._spans: list[tuple[int, int]] = []  # covered indices, disjoint, ascending, neighbours joined
        self._top = np.empty((self._streams, 0))  # −inf pads streams with fewer finite weights

    # --- what is covered ---------------------------------------------------------------------------------

    @property
    def n_samples(self) -> int:
        """Weights seen, per stream."""
        return sum(stop - start for start, stop in self._spans)

    @property
    def spans(self) -> tuple[tuple[int, int], ...]:
        """Covered index ranges (start, stop), ascending."""
        return tuple(self._spans)

    @property
    def stop(self) -> int:
        """One past the largest index seen; 0 for an empty ladder."""
        return self._spans[-1][1] if self._spans else 0

    def _check_free(self, start, stop):
        at = bisect.bisect_right(self._spans, (start, MAX_INDEX))
        for a, b in self._spans[max(at - 1, 0) : at + 1]:
            if a < stop and start < b:
                raise LadderError(
                    f"indices {max(a, start)} … {min(b, stop) - 1} were given already; the ladder holds "
                    f"{self._spans[:4]}. Pass the start index of each piece, or concat() for weights without indices"
                )

    def _cover(self, start, stop):
        at = bisect.bisect(self._spans, (start, stop))
        if at < len(self._spans) and self._spans[at][0] == stop:
            stop = self._spans.pop(at)[1]
        if at > 0 and self._spans[at - 1][1] == start:
            start = self._spans.pop(at - 1)[0]
            at -= 1
        self._spans.insert(at, (start, stop))

    # --- putting weights in ------------------------------------------------------------------------------

    def update(self, log_weights: ArrayLike, start: int = 0) -> "Ladder":
        """Add the log weights of indices start, start + 1, …; all or nothing.

        Parameters
        ----------
        log_weights : array_like, (*shape, n)
            In nats; −inf is a zero weight. NumPy, memory-mapped files, PyTorch, JAX, lists: anything with __array__ or
            DLPack in the CPU's memory. float32 and integers are converted to float64, which is exact; float16 and
            bfloat16 are refused, since steps of a quarter of a nat and more tell nothing of a log weight of −500.
        start : int
            Index of the first one in its stream.

        Returns
        -------
        Ladder
            Itself.

        Raises
        ------
        InputError
            Wrong shape, kind or index.
        NonFiniteWeightError
            A weight is nan or +inf; nothing of this call is kept.
        LadderError
            An index was given before; nothing of this call is kept.
        """
        weights, start = self._checked(log_weights, start)
        n = weights.shape[1]
        if n == 0:
            return self
        self._check_free(start, start + n)
        first, last = -(-start // BLOCK), (start + n) // BLOCK  # whole blocks first … last − 1
        if first >= last:
            for block in range(start // BLOCK, (start + n - 1) // BLOCK + 1):
                self._put_part(block, weights, start, start + n)
        else:
            if start % BLOCK:
                self._put_part(first - 1, weights, start, start + n)
            self._put_blocks(first, weights[:, first * BLOCK - start : last * BLOCK - start])
            if (start + n) % BLOCK:
                self._put_part(last, weights, start, start + n)
        self._cover(start, start + n)
        self._offer(weights)
        return self

    def _checked(self, log_weights, start):
        given = as_array("log weights", log_weights)
        if given.dtype.kind == "f" and given.dtype.itemsize < 4:
            raise InputError(
                f"log weights in {given.dtype} carry three digits, steps of a quarter of a nat at −500; "
                "compute them in float32 or float64"
            )
        with np.errstate(over="ignore"):
            weights = given.astype(np.float64, copy=False)
        if weights.ndim != len(self.shape) + 1 or weights.shape[:-1] != self.shape:
            raise InputError(f"log weights have shape {weights.shape}; this ladder takes {(*self.shape, 'n')}")
        weights = weights.reshape(self._streams, weights.shape[-1])
        start = whole("start", start, least=0)
        if start + weights.shape[1] > MAX_INDEX:
            raise InputError(f"start={start} with {weights.shape[1]} weights: indices lie in 0 … 2^62 − 1")
        bad = ~(weights < np.inf)
        if bad.any():
            stream, at = (int(i) for i in np.argwhere(bad)[0])
            raise NonFiniteWeightError(
                f"the log weight of index {start + at} (stream {stream}) is {weights[stream, at]}; "
                "a log weight is a real number or −inf (a zero weight). Nothing of this update was kept",
                index=start + at,
                row=stream,
                value=float(weights[stream, at]),
            )
        return weights, start

    def _put_part(self, block, weights, start, stop):
        """Store the part of [start, stop) that lies in one block; build its node once it is whole."""
        begin, end = max(start, block * BLOCK), min(stop, (block + 1) * BLOCK)
        if block not in self._partial:
            self._partial[block] = np.zeros(BLOCK, dtype=bool), np.zeros((self._streams, BLOCK))
        present, values = self._partial[block]
        here = slice(begin - block * BLOCK, end - block * BLOCK)
        present[here] = True
        values[:, here] = weights[:, begin - start : end - start]
        if present.all():
            del self._partial[block]
            self._put_node(block, nodes.node_of(values))

    def _put_blocks(self, first, weights):
        """Whole blocks from block number `first` on, in pieces that are aligned to their own size."""
        n_blocks, done = weights.shape[1] // BLOCK, 0
        while done < n_blocks:
            at = first + done
            take = min(at & -at if at else _PIECE, 1 << ((n_blocks - done).bit_length() - 1), _PIECE)
            piece = weights[:, done * BLOCK : (done + take) * BLOCK]
            self._put_node(at // take, nodes.forest(piece)[0])
            done += take

    def _put_node(self, index, node):
        """Insert a node by its index among nodes of its height, and merge while its sibling is there."""
        while (sibling := self._nodes.pop((node.height, index ^ 1), None)) is not None:
            node = nodes.merge(sibling, node) if index & 1 else nodes.merge(node, sibling)
            index >>= 1
        self._nodes[node.height, index] = node

    def _offer(self, log_weights):
        """Keep the tail + 1 largest of the weights seen, in descending order, as far as they are not zero."""
        keep = self.tail + 1
        merged = np.concatenate([self._top, log_weights], axis=1)
        if merged.shape[1] > keep:
            merged = -np.partition(-merged, keep - 1, axis=1)[:, :keep]
        self._top = _without_zeros(-np.sort(-merged, axis=1))

    @property
    def floor(self) -> np.ndarray:
        """Per stream (S,): no weight at or below it can still change which are the largest; −inf at first."""
        full = self._top.shape[1] > self.tail
        return self._top[:, self.tail].copy() if full else np.full(self._streams, -math.inf)

    def put_range(self, start: int, count: int, node_list: list[nodes.Node], raw: np.ndarray, top: np.ndarray) -> None:
        """Add what the compiled driver made of samples start … start + count − 1 (see `logpx.driver`)."""
        self._check_free(start, start + count)
        at = start
        for node in node_list:
            self._put_node(at >> node.height, node)
            at += 1 << node.height
        if raw.shape[1]:
            self._put_part(at // BLOCK, raw, at, at + raw.shape[1])
        self._cover(start, start + count)
        self._offer(top)

    def merge(self, other: "Ladder") -> "Ladder":
        """Take over another ladder's weights: other indices of the same streams. Itself; `other` is unchanged.

        Raises
        ------
        LadderError
            The two overlap, or differ in shape or in being iid; nothing is changed then.
        """
        if not isinstance(other, Ladder):
            raise LadderError(f"merge takes a Ladder, not {type(other).__name__}")
        if (self.shape, self.iid) != (other.shape, other.iid):
            raise LadderError(
                f"ladders of shape {self.shape}, iid={self.iid} and of shape {other.shape}, iid={other.iid} "
                "do not merge"
            )
        for start, stop in other._spans:
            self._check_free(start, stop)
        self._take(other, 0)
        return self

    def _take(self, other, offset):
        other = other.copy() if other is self else other
        for (height, index), node in sorted(other._nodes.items()):
            self._put_node(index + (offset >> height), node)
        for block, (present, values) in other._partial.items():
            for begin, end in packing.runs(present):
                at = block * BLOCK + begin + offset
                self._put_part(at // BLOCK, values[:, begin:end], at, at + end - begin)
        for start, stop in other._spans:
            self._cover(start + offset, stop + offset)
        self.tail = min(self.tail, other.tail)
        self._offer(other._top)

    def concat(self, more: "ArrayLike | Ladder") -> "Ladder":
        """Append weights that carry no indices: an array right behind the last index, a ladder further up.

        The order of arrival then decides the indices, so no bits are promised. A ladder is moved up to the next
        multiple of its own size; the indices between stay free. Itself.
        """
        if not isinstance(more, Ladder):
            return self.update(more, start=self.stop)
        if not more._spans:
            return self
        size = max(BLOCK, 1 << (more.stop - 1).bit_length())
        offset = -(-self.stop // size) * size
        if offset + more.stop > MAX_INDEX:
            raise LadderError(f"no room below index 2^62 for {more.stop} more indices after {self.stop}")
        if (self.shape, self.iid) != (more.shape, more.iid):
            raise LadderError(f"ladders of shapes {self.shape} and {more.shape} do not concatenate")
        self._take(more, offset)
        return self

    # --- reading -----------------------------------------------------------------------------------------

    def _require_weights(self):
        if not self._spans:
            raise NotAvailableError("the ladder is empty: update() it with log weights first")

    def _require_iid(self, what):
        if not self.iid:
            raise NotIndependentError(
                f"{what} needs independent log weights, and this stream's are not. Use log_marginal and its error "
                "from replicates, or points='independent'"
            )

    def _pieces(self):
        """Every complete dyadic piece in index order: (start, node). Raw values are grouped as far as they go."""
        pieces = [(index << height, node) for (height, index), node in self._nodes.items()]
        for block, (present, values) in self._partial.items():
            for begin, end in packing.runs(present):
                while begin < end:
                    size = min(begin & -begin if begin else BLOCK, 1 << ((end - begin).bit_length() - 1))
                    pieces.append((block * BLOCK + begin, nodes.node_of(values[:, begin : begin + size])))
                    begin += size
        return [node for _, node in sorted(pieces, key=lambda piece: piece[0])]

    def summary(self) -> Summary:
        """Totals over all weights, arrays over the streams; what `estimate` reads."""
        self._require_weights()
        pieces = self._pieces()
        n_levels = max(node.height for node in pieces) + 1
        moments = np.zeros((self._streams, dyadic.N_FAMILIES, 3, n_levels))
        total_groups = np.zeros(n_levels)
        for node in pieces:
            nodes.add_levels(moments, node.moments)
            total_groups[: node.height + 1] += 2.0 ** np.arange(node.height, -1, -1)
        sizes = 2.0 ** np.array([node.height for node in pieces])
        heads = np.stack([node.heads for node in pieces])  # (pieces, S, 4)
        totals = pool(sizes, heads[..., dyadic.LOG_MEAN], heads[..., dyadic.REL_M2], heads[..., dyadic.N_NEG_INF])
        return Summary(totals, moments, total_groups, self._top, self.iid, self.tail).reshaped(self.shape)

    @property
    def levels(self) -> Levels:
        """Moments of every level."""
        self._require_iid("levels")
        summary = self.summary()
        return Levels(summary.moments, summary.total_groups)

    def bound(self, k: int) -> Reading:
        """E[L_k] for a dyadic k, with its standard error."""
        self._require_iid(f"bound({k})")
        return self.levels.bound(k)

    def richardson(self, k: int, order: int = 1) -> Reading:
        """L_k with its leading bias removed, group by group."""
        self._require_iid("richardson")
        return self.levels.richardson(k, order)

    def estimate(self, *, replicates: bool = False) -> Estimate:
        """The estimate of log p(x) and everything that goes with it.

        With `replicates` the first axis of the ladder's shape holds independent replicates, to be pooled; streams that
        are not iid take their error from the spread of those.
        """
        if replicates and not self.shape:
            raise InputError("replicates=True: this ladder has one stream; give it a shape (n_replicates, …)")
        shape = self.shape if replicates else (1, *self.shape)
        return Estimate(self.summary().reshaped(shape), lambda: self)

    def copy(self) -> "Ladder":
        """A ladder of its own with the same weights."""
        twin = Ladder(self.shape, iid=self.iid, tail=self.tail)
        twin._spans, twin._nodes, twin._top = list(self._spans), dict(self._nodes), self._top
        twin._partial = {block: (present.copy(), values.copy()) for block, (present, values) in self._partial.items()}
        return twin

    def trimmed(self, tail: int) -> "Ladder":
        """A copy that keeps no more than the `tail` + 1 largest weights."""
        twin = self.copy()
        twin.tail = min(self.tail, tail)
        twin._top = twin._top[:, : twin.tail + 1]
        return twin

    def part(self, streams: range) -> "Ladder":
        """The ladder of some neighbouring streams of this one, counted in one row; its shape is (len(streams),)."""
        own = slice(streams.start, streams.stop)
        part = Ladder((len(streams),), iid=self.iid, tail=self.tail)
        part._spans = list(self._spans)
        part._nodes = {key: nodes.Node(node.moments[own], node.heads[own]) for key, node in self._nodes.items()}
        part._partial = {
            block: (present.copy(), values[own].copy()) for block, (present, values) in self._partial.items()
        }
        part._top = _without_zeros(self._top[own])
        return part

    @classmethod
    def beside(cls, ladders: "list[Ladder]", shape: tuple[int, ...]) -> "Ladder":
        """One ladder over the streams of several, all over the same indices, under a new shape."""
        first = ladders[0]
        whole = cls(shape, iid=first.iid, tail=min(ladder.tail for ladder in ladders))
        if len(ladders) == 1:
            whole._nodes, whole._partial, whole._top = dict(first._nodes), dict(first._partial), first._top
        else:
            for key in first._nodes:
                parts = [ladder._nodes[key] for ladder in ladders]
                whole._nodes[key] = nodes.Node(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))
            for block, (present, _) in first._partial.items():
                values = np.concatenate([ladder._partial[block][1] for ladder in ladders])
                whole._partial[block] = present, values
            width = max(ladder._top.shape[1] for ladder in ladders)
            tops = [np.pad(a._top, ((0, 0), (0, width - a._top.shape[1])), constant_values=-np.inf) for a in ladders]
            whole._top = np.concatenate(tops)
        whole._spans = list(first._spans)
        return whole

    # --- bytes -------------------------------------------------------------------------------------------

    def to_bytes(self) -> bytes:
        """Everything in the ladder, as bytes that `from_bytes` restores bit for bit (see `logpx.packing`)."""
        parts = self.shape, self.iid, self.tail, self._spans, self._nodes, self._partial, self._top
        return packing.pack(packing.State(*parts))

    @classmethod
    def from_bytes(cls, data: bytes) -> "Ladder":
        """Restore what `to_bytes` wrote; LadderError for anything else."""
        return cls._from_state(packing.unpack(data))

    @classmethod
    def joined(cls, blobs: Iterable[bytes]) -> "Ladder":
        """The ladder of many pieces of the same streams, each given as the bytes of a ladder; at least one.

        The same as `from_bytes` and `merge`, many times as fast where the pieces are of one size.
        """
        whole, rest = None, iter(blobs)
        while some := list(itertools.islice(rest, 500)):
            for state in packing.side_by_side(some):
                part = cls._from_state(state)
                whole = part if whole is None else whole.merge(part)
        if whole is None:
            raise LadderError("there are no pieces to join; give the bytes of at least one ladder")
        return whole

    @classmethod
    def _from_state(cls, state):
        ladder = cls(state.shape, iid=state.iid, tail=state.tail)
        ladder._spans, ladder._nodes, ladder._partial = state.spans, state.nodes, state.partial
        ladder._offer(state.top)
        return ladder

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ladder) and self.to_bytes() == other.to_bytes()

    __hash__ = None  # type: ignore[assignment]  # mutable, compared by content

    def __repr__(self) -> str:
        kind = "iid" if self.iid else "not iid"
        return f"Ladder(shape={self.shape}, {kind}, {self.n_samples} weights in {len(self._spans)} spans)"


def _without_zeros(top):
    """Largest weights without the columns, at the end, in which every stream has −inf."""
    return top[:, : np.count_nonzero((top > -math.inf).any(axis=0))]
