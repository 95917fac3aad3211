"""Nodes of the ladder as arrays, many streams side by side, and the operations on them.

A node of height h over S streams is moments (S, 4, 3, h+1) and heads (S, 4), as `dyadic` defines them. A range
of n blocks that starts at a multiple of its enclosing power of two splits into one node for each set bit of n,
the largest first; `unpack` cuts the side-by-side layout of the compiled code into them. Cost of a merge:
O(h) a stream.
"""

from typing import NamedTuple

import numpy as np
from numba import types

from logpx import dyadic
from logpx._jit import BLOCK, compile_kernel, compile_now, compiled, function_type
from logpx.tree import WORKSPACE, block_tree

_f8 = types.float64
_i8 = types.int64
_moments = _f8[:, :, :, ::1]
_heads = _f8[:, :, ::1]


class Node(NamedTuple):
    """Moments (S, 4, 3, h+1) and heads (S, 4) of one aligned range of 2^h weights."""

    moments: np.ndarray
    heads: np.ndarray

    @property
    def height(self) -> int:
        return self.moments.shape[-1] - 1


@compiled(types.void(_moments, _f8[:, ::1], _moments, _f8[:, ::1], _i8))
def _merge(left, left_heads, right, right_heads, height):
    for s in range(left.shape[0]):
        dyadic.merge_siblings(left[s], left_heads[s], right[s], right_heads[s], height)


def merge(left: Node, right: Node) -> Node:
    """The parent of two siblings, the left one first."""
    height = left.height
    streams = left.moments.shape[0]
    moments = np.zeros((streams, dyadic.N_FAMILIES, 3, height + 2))
    moments[..., : height + 1] = left.moments
    heads = left.heads.copy()
    _merge(moments, heads, np.ascontiguousarray(right.moments), np.ascontiguousarray(right.heads), height)
    return Node(moments, heads)


def merge_all(index: np.ndarray, stacked: Node) -> dict[tuple[int, int], Node]:
    """Merge every two siblings among R nodes of one height, then their parents, and so on up; what is left by its key.

    index (R,) are different numbers among the nodes of that height; the arrays of `stacked` have an axis (R,) in front.
    """
    left_over: dict[tuple[int, int], Node] = {}
    moments, heads = stacked
    if not (index[1:] > index[:-1]).all():
        order = np.argsort(index)
        index, moments, heads = index[order], moments[order], heads[order]
    while index.size:
        height = moments.shape[-1] - 1
        left = np.flatnonzero((index[:-1] % 2 == 0) & (index[1:] == index[:-1] + 1))
        alone = np.setdiff1d(np.arange(index.size), np.concatenate([left, left + 1]))
        left_over |= {(height, int(index[i])): Node(moments[i].copy(), heads[i].copy()) for i in alone}
        if not left.size:
            break
        shape = left.size, moments.shape[1]
        parents = merge(
            *(Node(*(a[at].reshape(-1, *a.shape[2:]) for a in (moments, heads))) for at in (left, left + 1))
        )
        index, (moments, heads) = index[left] >> 1, (a.reshape(*shape, *a.shape[1:]) for a in parents)
    return left_over


@compiled(types.void(_moments, _moments))
def _add(total, part):
    for s in range(total.shape[0]):
        dyadic.add_moments(total[s], part[s], part.shape[3])


def add_levels(total: np.ndarray, part: np.ndarray) -> None:
    """Merge the moments (S, 4, 3, h+1) of one node into running totals (S, 4, 3, H), H > h, in place."""
    _add(total, np.ascontiguousarray(part))


@compiled(types.void(function_type("tree"), _f8[:, ::1], _moments, _f8[:, ::1]))
def _trees(block_tree, logs, moments, heads):
    workspace = np.empty(WORKSPACE)
    for s in range(logs.shape[0]):
        block_tree(logs[s], logs.shape[1], moments[s], heads[s], workspace)


def node_of(logs: np.ndarray) -> Node:
    """The node over 2^h ≤ B weights a stream, logs (S, 2^h)."""
    streams, n = logs.shape
    moments = np.zeros((streams, dyadic.N_FAMILIES, 3, n.bit_length()))
    heads = np.zeros((streams, 4))
    compile_kernel(block_tree)
    _trees(block_tree, np.ascontiguousarray(logs), moments, heads)
    return Node(moments, heads)


@compiled(types.void(function_type("tree"), _f8[:, ::1], _moments, _heads, _i8))
def _forest(block_tree, logs, moments_out, heads_out, stack):
    n_blocks = logs.shape[1] // BLOCK
    levels = dyadic.LOG2_BLOCK + stack
    workspace = np.empty(WORKSPACE)
    moments = np.zeros((dyadic.N_FAMILIES, 3, levels))
    head = np.zeros(4)
    stack_moments = np.zeros((stack, dyadic.N_FAMILIES, 3, levels))
    stack_heads = np.zeros((stack, 4))
    for s in range(logs.shape[0]):
        for block in range(n_blocks):
            block_tree(logs[s, block * BLOCK : (block + 1) * BLOCK], BLOCK, moments, head, workspace)
            dyadic.carry(block, stack_moments, stack_heads, moments, head)
        dyadic.copy_nodes(n_blocks, stack_moments, stack_heads, moments_out[s], heads_out[s])


def heights(n_blocks: int) -> list[int]:
    """Heights of the nodes that a range of n_blocks blocks splits into, the largest first."""
    return [dyadic.LOG2_BLOCK + bit for bit in range(n_blocks.bit_length() - 1, -1, -1) if n_blocks >> bit & 1]


def layout(n_streams: int, n_blocks: int) -> tuple[np.ndarray, np.ndarray]:
    """Empty side-by-side arrays for the nodes of a range: moments (S, 4, 3, T) and heads (S, nodes, 4)."""
    parts = heights(n_blocks)
    width = sum(h + 1 for h in parts)
    return np.zeros((n_streams, dyadic.N_FAMILIES, 3, width)), np.zeros((n_streams, len(parts), 4))


def unpack(n_blocks: int, moments: np.ndarray, heads: np.ndarray) -> list[Node]:
    """Cut side-by-side arrays into nodes, the largest first."""
    cut, at = [], 0
    for i, h in enumerate(heights(n_blocks)):
        cut.append(Node(moments[..., at : at + h + 1], heads[:, i]))
        at += h + 1
    return cut


def forest(logs: np.ndarray) -> list[Node]:
    """Nodes over whole blocks of weights, logs (S, n·B), the largest first."""
    streams, n = logs.shape
    n_blocks = n // BLOCK
    moments, heads = layout(streams, n_blocks)
    compile_kernel(block_tree)
    _forest(block_tree, np.require(logs, requirements=["C", "W"]), moments, heads, max(n_blocks.bit_length(), 1))
    return unpack(n_blocks, moments, heads)


def compile_all() -> float:
    """Compile what a run calls, before its clock starts, or load it from the cache; seconds spent."""
    return compile_kernel(block_tree) + compile_now(_merge, _add, _trees)
