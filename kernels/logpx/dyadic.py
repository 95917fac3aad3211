"""The compiled half of the ladder: one block's tree, the merge of two siblings, and the carry between them.

A *node* of height h covers the 2^h log weights with indices m·2^h … (m+1)·2^h − 1. It holds, for every level
g ≤ h and over its groups of 2^g weights, the count, mean and centred second moment of four quantities

    L   = log mean of the group's weights
    Δ   = L − (L_a + L_b)/2, the group against its two halves a, b (from level 1)
    R1  = L + Δ, Richardson of order 1 at k = 2^(g−1)
    R2  = L + (5Δ − (Δ_a + Δ_b)/2)/3, Richardson of order 2 at k = 2^(g−2) (from level 2)

as `moments` (4, 3, h+1), and as `head` (4,): its own L, the relative second moment v = Σ(w/w̄ − 1)², its own Δ,
and its count of zero weights. A quantity that is not finite (a group of zero weights, or a half of zero
weights) is left out of its count; how many were left out follows from the index arithmetic.

Inside a block position i is paired with i + n/2, so that every pass is contiguous. With d = l − mean(l) and
Σd² < 9e4 every |d| < 300 and exp(d) is safe: weights are exponentiated once and Δ = −½ log(1 − r²),
r = (a − b)/(a + b). Wider blocks stay in the log domain: h = |a − b|/2, Δ = h + log1p(exp(−2h)) − log 2.
Moments of a level are shifted by one of its own values, which bounds the cancellation by the block's size,
and merged by the update of Chan, Golub and LeVeque (1983). Every sum is a tree of halves: its order is fixed.
Cost: for n weights about n exponentials and 2 n logarithms (twice the exponentials in the log domain).
"""

import math

from logpx import vecmath
from logpx._jit import BLOCK, inner

LOG2_BLOCK = BLOCK.bit_length() - 1

L, GAP, R1, R2 = range(4)
N_FAMILIES = 4
LOG_MEAN, REL_M2, HEAD_GAP, N_NEG_INF = range(4)

#: Weights that `keep_largest` appends between two looks at the room left.
STRIDE = 32
#: Scratch rows that `block_tree` needs, each of the block's length.
N_SCRATCH = 10

_SAFE = 9.0e4
_LOG2 = math.log(2.0)
_THIRD = 1.0 / 3.0


@inner
def _shifted_sums(y, n, s1, s2):
    """Mean and centred second moment of y[:n], n a power of two; the mean is not finite if any y is not."""
    y0 = y[0]
    if n == 1:
        return y0, 0.0
    half = n >> 1
    for i in range(half):
        a = y[i] - y0
        b = y[i + half] - y0
        s1[i] = a + b
        s2[i] = a * a + b * b
    while half > 1:
        half >>= 1
        for i in range(half):
            s1[i] += s1[i + half]
            s2[i] += s2[i + half]
    mean = s1[0] / n
    m2 = s2[0] - mean * s1[0]
    return y0 + mean, max(m2, 0.0)


@inner
def _finite_moments(y, n):
    """Count, mean and centred second moment of the finite values among y[:n]."""
    count = 0
    total = 0.0
    for i in range(n):
        if abs(y[i]) < math.inf:
            count += 1
            total += y[i]
    if count == 0:
        return 0, 0.0, 0.0
    mean = total / count
    shift = 0.0
    m2 = 0.0
    for i in range(n):
        if abs(y[i]) < math.inf:
            shift += y[i] - mean
            m2 += (y[i] - mean) * (y[i] - mean)
    shift /= count
    return count, mean + shift, max(m2 - count * shift * shift, 0.0)


@inner
def _record(y, n, masked, shift, moments, family, level, s1, s2):
    """Write the moments of shift + y[:n] to moments[family, :, level]."""
    if masked:
        count, mean, m2 = _finite_moments(y, n)
    else:
        count = n
        mean, m2 = _shifted_sums(y, n, s1, s2)
    moments[family, 0, level] = count
    moments[family, 1, level] = mean + shift if count > 0 else 0.0
    moments[family, 2, level] = m2


@inner
def _clear(moments, family, level):
    moments[family, 0, level] = 0.0
    moments[family, 1, level] = 0.0
    moments[family, 2, level] = 0.0


@inner
def _join_linear(weights, half, joined, log_mean, gap):
    """From 2·half weights the means of their pairs, the logs of those, and the pairs' Δ."""
    for i in range(half):
        a = weights[i]
        b = weights[i + half]
        total = a + b
        inverse = 1.0 / total
        r = (a - b) * inverse
        square = r * r
        # 1 − r² loses its digits near r = ±1, where 4ab/(a + b)² keeps them
        near = square < 0.5
        y = 1.0 - square if near else 4.0 * (a * inverse) * (b * inverse)
        rest = ((1.0 - y) - square) / y if near else 0.0
        joined[i] = 0.5 * total
        log_mean[i] = vecmath.log(0.5 * total)
        gap[i] = -0.5 * (vecmath.log(y) + rest)


@inner
def _join_log(logs, half, log_mean, gap):
    """The same from log weights of any spread; minus infinity on both sides gives L = −inf and Δ = nan."""
    for i in range(half):
        a = logs[i]
        b = logs[i + half]
        high = max(a, b)
        low = min(a, b)
        apart = high - low
        rest = vecmath.log1p(vecmath.exp(-apart)) - _LOG2
        log_mean[i] = high + rest if high > -math.inf else -math.inf
        gap[i] = 0.5 * apart + rest


@inner
def _richardson(log_mean, gap, gap_below, half, level, r1, r2):
    """R1 and R2 of the groups of one level from L, Δ and the Δ of their halves."""
    if level < 2:
        for i in range(half):
            r1[i] = log_mean[i] + gap[i]
        return
    for i in range(half):
        r1[i] = log_mean[i] + gap[i]
        r2[i] = log_mean[i] + (5.0 * gap[i] - 0.5 * (gap_below[i] + gap_below[i + half])) * _THIRD


@inner
def block_tree(logs, n, moments, head, scratch):
    """Tree over logs[:n], n a power of two and no value nan or +inf, into moments[:, :, :log2(n)+1] and head."""
    s1, s2 = scratch[0], scratch[1]
    mean, m2 = _shifted_sums(logs, n, s1, s2)
    masked = not abs(mean) < math.inf
    linear = (not masked) and m2 < _SAFE
    shift = mean if linear else 0.0
    _clear(moments, GAP, 0)
    _clear(moments, R1, 0)
    _clear(moments, R2, 0)
    if masked:
        _record(logs, n, True, 0.0, moments, L, 0, s1, s2)
    else:
        moments[L, 0, 0], moments[L, 1, 0], moments[L, 2, 0] = n, mean, m2

    if linear:
        for i in range(n):
            scratch[2, i] = vecmath.exp(logs[i] - mean)
    top, top_gap, level, half = logs[0], math.nan, 0, n >> 1
    below = scratch[2] if linear else logs
    gap_below = scratch[9]
    while half >= 1:
        level += 1
        # two sets of buffers in turn: what one level writes the next reads
        joined = scratch[3 + (level & 1)]
        log_mean = scratch[5] if linear else joined
        gap = scratch[6] if level & 1 else scratch[9]
        r1, r2 = scratch[7], scratch[8]
        if linear:
            _join_linear(below, half, joined, log_mean, gap)
        else:
            _join_log(below, half, log_mean, gap)
        _richardson(log_mean, gap, gap_below, half, level, r1, r2)
        _record(log_mean, half, masked, shift, moments, L, level, s1, s2)
        _record(gap, half, masked, 0.0, moments, GAP, level, s1, s2)
        _record(r1, half, masked, shift, moments, R1, level, s1, s2)
        if level >= 2:
            _record(r2, half, masked, shift, moments, R2, level, s1, s2)
        else:
            _clear(moments, R2, level)
        below, gap_below = joined, gap
        top, top_gap = shift + log_mean[0], gap[0]
        half >>= 1

    head[LOG_MEAN], head[HEAD_GAP] = top, top_gap
    if linear:
        head[REL_M2], head[N_NEG_INF] = _spread_linear(scratch[2], n, below[0], scratch[3]), 0.0
    else:
        head[REL_M2], head[N_NEG_INF] = _spread(logs, n, top, masked, scratch[3])


@inner
def _spread(logs, n, top, masked, squares):
    """Σ(w/w̄ − 1)² and the count of zero weights, given the log of the mean weight."""
    if not top > -math.inf:
        return 0.0, float(n)
    zeros = 0
    if masked:
        for i in range(n):
            zeros += 0 if logs[i] > -math.inf else 1
    for i in range(n):
        relative = vecmath.exp(logs[i] - top) - 1.0
        squares[i] = relative * relative
    return _tree_sum(squares, n), float(zeros)


@inner
def _spread_linear(weights, n, mean, squares):
    """Σ(w/w̄ − 1)² of weights that are exponentiated already."""
    scale = 1.0 / mean
    for i in range(n):
        relative = weights[i] * scale - 1.0
        squares[i] = relative * relative
    return _tree_sum(squares, n)


@inner
def _tree_sum(values, n):
    """Sum of values[:n], n a power of two, as a tree of halves; overwrites them."""
    half = n >> 1
    while half >= 1:
        for i in range(half):
            values[i] += values[i + half]
        half >>= 1
    return values[0]


@inner
def add_moments(into, other, n_levels):
    """Chan's merge of `other` into `into` at levels 0 … n_levels − 1, both (4, 3, ≥ n_levels)."""
    for family in range(N_FAMILIES):
        for g in range(n_levels):
            na = into[family, 0, g]
            nb = other[family, 0, g]
            n = na + nb
            share = nb / n if n > 0.0 else 0.0
            apart = other[family, 1, g] - into[family, 1, g]
            into[family, 0, g] = n
            into[family, 1, g] += apart * share
            into[family, 2, g] += other[family, 2, g] + apart * apart * (na * share)


@inner
def join_heads(a, b, n, out):
    """Head of the parent of two siblings of n weights each."""
    high = max(a[LOG_MEAN], b[LOG_MEAN])
    low = min(a[LOG_MEAN], b[LOG_MEAN])
    zeros = a[N_NEG_INF] + b[N_NEG_INF]
    if not high > -math.inf:
        out[LOG_MEAN], out[REL_M2], out[HEAD_GAP] = -math.inf, 0.0, math.nan
    else:
        half_apart = 0.5 * (high - low)
        if half_apart < math.inf:
            gap = half_apart + math.log1p(0.5 * math.expm1(-2.0 * half_apart))
            log_mean = low + half_apart + gap
            r = math.tanh(half_apart)
        else:
            gap, log_mean, r = math.inf, high - _LOG2, 1.0
        if b[LOG_MEAN] > a[LOG_MEAN]:
            r = -r
        v = a[REL_M2] * (1.0 + r) * (1.0 + r) + b[REL_M2] * (1.0 - r) * (1.0 - r) + 2.0 * n * r * r
        out[LOG_MEAN], out[REL_M2], out[HEAD_GAP] = log_mean, v, gap
    out[N_NEG_INF] = zeros


@inner
def merge_siblings(a_moments, a_head, b_moments, b_head, height):
    """Merge the right sibling b into the left one a, both of `height`; a becomes their parent."""
    add_moments(a_moments, b_moments, height + 1)
    below = 0.5 * (a_head[HEAD_GAP] + b_head[HEAD_GAP])
    join_heads(a_head, b_head, 2.0**height, a_head)
    gap = a_head[HEAD_GAP]
    level = height + 1
    log_mean = a_head[LOG_MEAN]
    _single(a_moments, L, level, log_mean)
    _single(a_moments, GAP, level, gap)
    _single(a_moments, R1, level, log_mean + gap)
    _single(a_moments, R2, level, log_mean + (5.0 * gap - below) * _THIRD if level >= 2 else math.nan)


@inner
def _single(moments, family, level, value):
    finite = abs(value) < math.inf
    moments[family, 0, level] = 1.0 if finite else 0.0
    moments[family, 1, level] = value if finite else 0.0
    moments[family, 2, level] = 0.0


@inner
def _copy_node(from_moments, from_head, n_levels, to_moments, at, to_head):
    """Copy a node's levels 0 … n_levels − 1 to the columns from `at` on, and its head."""
    for family in range(N_FAMILIES):
        for stat in range(3):
            for g in range(n_levels):
                to_moments[family, stat, at + g] = from_moments[family, stat, g]
    for i in range(4):
        to_head[i] = from_head[i]


@inner
def carry(block_number, stack_moments, stack_heads, moments, head):
    """Put a block's node into a binary counter: slot j holds the pending node of 2^j blocks.

    `block_number` counts the blocks before this one; a set bit j of it says that slot j is taken.
    """
    slot = 0
    height = LOG2_BLOCK
    while (block_number >> slot) & 1:
        # the pending left sibling absorbs the new node and moves one slot up
        merge_siblings(stack_moments[slot], stack_heads[slot], moments, head, height)
        _copy_node(stack_moments[slot], stack_heads[slot], height + 2, moments, 0, head)
        slot += 1
        height += 1
    _copy_node(moments, head, height + 1, stack_moments[slot], 0, stack_heads[slot])


@inner
def copy_nodes(n_blocks, stack_moments, stack_heads, moments_out, heads_out):
    """Lay the pending nodes out side by side, the largest first: moments_out (4, 3, T), heads_out (nodes, 4)."""
    at = 0
    node = 0
    for slot in range(stack_heads.shape[0] - 1, -1, -1):
        if (n_blocks >> slot) & 1:
            height = LOG2_BLOCK + slot
            _copy_node(stack_moments[slot], stack_heads[slot], height + 1, moments_out, at, heads_out[node])
            at += height + 1
            node += 1


@inner
def keep_largest(logs, n, top, state, capacity):
    """Offer logs[:n] to the running list of the `capacity` largest.

    top (3, ≥ 2·capacity + STRIDE): the list and two rows of scratch; state = (count, threshold). Values are
    appended without a branch, a stride at a time, and the list is cut back when it is full.
    """
    threshold = state[1]
    above = 0
    for i in range(n):
        above += 1 if logs[i] > threshold else 0
    if above == 0:
        return
    count = int(state[0])
    values = top[0]
    for begin in range(0, n, STRIDE):
        if count + STRIDE > values.size:
            threshold = _shrink(top, count, capacity)
            count = capacity
        for i in range(begin, min(begin + STRIDE, n)):
            values[count] = logs[i]
            count += 1 if logs[i] > threshold else 0
    state[0] = count
    state[1] = threshold


@inner
def settle_largest(top, state, capacity):
    """Cut the list down to its `capacity` largest, in no order; how many there are."""
    count = int(state[0])
    if count > capacity:
        state[1] = _shrink(top, count, capacity)
        count = capacity
        state[0] = count
    return count


@inner
def _shrink(top, count, capacity):
    """Move the `capacity` largest of top[0, :count] to its front, selecting without branches; the smallest of them."""
    values, above, below = top[0], top[1], top[2]
    kept, wanted, size = 0, capacity, count
    while True:
        pivot = _middle(values[kept], values[kept + (size >> 1)], values[kept + size - 1])
        n_above, n_below = 0, 0
        for i in range(kept, kept + size):
            value = values[i]
            above[n_above] = value
            n_above += 1 if value > pivot else 0
            below[n_below] = value
            n_below += 1 if value < pivot else 0
        if n_above >= wanted:  # all of them lie above: go on among those
            values[kept : kept + n_above] = above[:n_above]
            size = n_above
            if n_above == wanted:
                break
            continue
        n_equal = min(size - n_above - n_below, wanted - n_above)
        values[kept : kept + n_above] = above[:n_above]
        for i in range(kept + n_above, kept + n_above + n_equal):
            values[i] = pivot
        kept += n_above + n_equal
        wanted -= n_above + n_equal
        if wanted == 0:
            return pivot
        values[kept : kept + n_below] = below[:n_below]
        size = n_below
    smallest = values[0]
    for i in range(capacity):
        smallest = min(smallest, values[i])
    return smallest


@inner
def _middle(a, b, c):
    return max(min(a, b), min(max(a, b), c))
