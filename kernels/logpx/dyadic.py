"""The compiled half of the ladder above the blocks: nodes, the merge of two siblings, and the carry between them.

A *node* of height h covers the 2^h log weights with indices m·2^h … (m+1)·2^h − 1. It holds, for every level
g ≤ h and over its groups of 2^g weights, the count, mean and centred second moment of four quantities

    L   = log mean of the group's weights
    Δ   = L − (L_a + L_b)/2, the group against its two halves a, b (from level 1)
    R1  = L + Δ, Richardson of order 1 at k = 2^(g−1)
    R2  = L + (5Δ − (Δ_a + Δ_b)/2)/3, Richardson of order 2 at k = 2^(g−2) (from level 2)

as `moments` (4, 3, h+1), and as `head` (4,): its own L, the relative second moment v = Σ(w/w̄ − 1)², its own Δ,
and its count of zero weights. A quantity that is not finite (a group of zero weights, or a half of zero
weights) is left out of its count; how many were left out follows from the index arithmetic.

Moments are merged by the update of Chan, Golub and LeVeque (1983). The nodes of single blocks come from `tree`. Cost of
a merge: O(h), once a block on average.
"""

import math

from logpx._jit import BLOCK, inner

LOG2_BLOCK = BLOCK.bit_length() - 1

L, GAP, R1, R2 = range(4)
N_FAMILIES = 4
LOG_MEAN, REL_M2, HEAD_GAP, N_NEG_INF = range(4)

_LOG2 = math.log(2.0)
_THIRD = 1.0 / 3.0


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
        # the pending left sibling absorbs the new node, and is the new one of the next slot
        merge_siblings(stack_moments[slot], stack_heads[slot], moments, head, height)
        moments, head = stack_moments[slot], stack_heads[slot]
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
