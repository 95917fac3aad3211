"""The one compiled loop: points → proposal → log joint → log weights → ladder, block by block.

    l_i = log p(x, z_i) − log q(z_i),   z_i = proposal(points(i))

It takes the kernels and the tree by pointer, so it is compiled once per precision and serves every model. A call
runs the samples start … start + count − 1 of several streams, one after the other, and leaves for each its
ladder nodes (largest first), the raw weights of the last incomplete block, the largest of its weights above a
`floor` (one at or below it is known not to be among the largest of the whole stream), and its open groups.
`start` is a multiple of `count`'s enclosing power of two, so the nodes are aligned.

What kernels write lies between two guard rows (`logpx.guards`), one block long each. A kernel that reads past an end
finds nan there, and a log weight of nan is an error; one that writes past an end, or adds to what lies there, is found
out, by the nearest cells after each block and by all of them after the call. A kernel that raises ends the call;
`failed` then says at which block. Kernels are given arrays that nobody counts (`logpx.stack`); their owners are held
until the end.
Cost: the three kernels and the tree; nothing is allocated per block. The interpreter lock is released.
"""

import math

import numpy as np
from numba import types

from logpx import dyadic, groups, largest
from logpx._jit import BLOCK, SCALARS, compiled_by_dtype, function_type, inner
from logpx.guards import guarded, touched
from logpx.stack import borrowed, hold
from logpx.tree import WORKSPACE

#: Largest number of blocks in one call is 2^(STACK − 1).
STACK = 14
MAX_LEVELS = dyadic.LOG2_BLOCK + STACK
#: What `run_streams` returns: all is well; a weight was nan or +inf; a kernel wrote into a guard row.
DONE, BAD_WEIGHT, OVERRUN = 0, 1, 2
#: The guarded arrays, in the order in which `failed` numbers them.
GUARDED = ("eps", "z", "log_q", "out")
#: Guard cells looked at after each block, on either side.
_NEAREST = 16


@inner
def _first_bad(logs, n):
    """Position of the first nan or +inf among logs[:n]; −1 if there is none."""
    bad = 0
    for i in range(n):
        bad += 0 if logs[i] < math.inf else 1
    if bad == 0:
        return -1
    for i in range(n):
        if not logs[i] < math.inf:
            return i
    return -1


@inner
def _between(rows, like):
    """Rows 1 … `rows` of B cells for kernels to fill, between two rows of guards."""
    return guarded(rows + 2, BLOCK, like)


@inner
def _written(cells, n):
    """Whether one of the n guard cells next to either end has been written."""
    return touched(cells, 0, BLOCK - n, n) or touched(cells, cells.shape[0] - 1, 0, n)


@inner
def _overrun(eps, z, log_q, logs, n):
    """Which of the guarded arrays was written past an end; −1 if none was."""
    if _written(eps, n):
        return 0
    if _written(z, n):
        return 1
    if _written(log_q, n):
        return 2
    return 3 if _written(logs, n) else -1


def _kernels(dtype):
    return [function_type(kind, dtype) for kind in ("points", "proposal", "log_joint")]


def _signature(dtype):
    real = SCALARS[dtype]
    f8, i8, u8 = types.float64, types.int64, types.uint64
    return types.int64(
        *_kernels(dtype),
        function_type("tree"),
        u8[:, ::1],  # states (S, n_state)
        i8,  # n_base
        real[:, ::1],  # lams (n_lam, m)
        i8[::1],  # lam_of (S,)
        i8[::1],  # proposal dims
        real[::1],  # theta
        i8[::1],  # model dims
        real[:, ::1],  # x (n, p)
        i8[::1],  # x_of (S,)
        i8,  # n_latents
        u8,  # start
        i8,  # count
        f8[:, :, :, ::1],  # moments (S, 4, 3, T)
        f8[:, :, ::1],  # heads (S, nodes, 4)
        f8[:, ::1],  # raw (S, count mod B)
        f8[:, ::1],  # top (S, ≥ 1)
        f8[::1],  # floor (S,)
        i8[::1],  # n_top (S,)
        i8[::1],  # group sizes (G,)
        f8[:, :, ::1],  # group states (S, G, groups.N_FIELDS)
        i8[::1],  # failed (2,): stream, and the first bad sample, array overrun, or block that a kernel raised at
    )


@compiled_by_dtype(_signature)
def run_streams(
    points, proposal, log_joint, block_tree, states, n_base, lams, lam_of, proposal_dims, theta, model_dims, x, x_of,
    n_latents, start, count, moments_out, heads_out, raw_out, top_out, floor, n_top, group_sizes, group_states, failed,
):  # fmt: skip
    """Run samples [start, start + count) of every stream; DONE, BAD_WEIGHT or OVERRUN (see `failed`)."""
    cells = _between(n_base, x), _between(n_latents, x), _between(1, floor), _between(1, floor)
    node = np.empty(WORKSPACE), np.zeros((dyadic.N_FAMILIES, 3, MAX_LEVELS)), np.zeros(4)
    pending = np.zeros((STACK, dyadic.N_FAMILIES, 3, MAX_LEVELS)), np.zeros((STACK, 4))
    best = np.empty((3, 2 * top_out.shape[1] + largest.ROOM)), np.zeros(largest.STATE)
    eps_cells, z_cells, log_q_cells, logs_cells = borrowed(cells)
    workspace, moments, head = borrowed(node)
    stack_moments, stack_heads = borrowed(pending)
    top, top_state = borrowed(best)
    states, lams, proposal_dims, theta, model_dims, x, moments_out, heads_out, group_states = borrowed(
        (states, lams, proposal_dims, theta, model_dims, x, moments_out, heads_out, group_states)
    )
    eps, z, log_q, logs = eps_cells[1 : n_base + 1], z_cells[1 : n_latents + 1], log_q_cells[1], logs_cells[1]
    capacity = top_out.shape[1]
    n_blocks = count // BLOCK
    for stream in range(states.shape[0]):
        state, lam, data = states[stream], lams[lam_of[stream]], x[x_of[stream]]
        top_state[0], top_state[1] = 0.0, floor[stream]
        for block in range((count + BLOCK - 1) // BLOCK):
            failed[0], failed[1] = stream, block * BLOCK
            for i in range(BLOCK):  # what a kernel does not write is nan, never a value of the block before
                logs[i] = math.nan
                log_q[i] = math.nan
            points(state, start + np.uint64(block * BLOCK), eps)
            proposal(lam, proposal_dims, eps, z, log_q)
            log_joint(theta, model_dims, data, z, logs)
            overrun = _overrun(eps_cells, z_cells, log_q_cells, logs_cells, _NEAREST)
            if overrun >= 0:
                failed[1] = overrun
                return OVERRUN
            for i in range(BLOCK):
                logs[i] -= log_q[i]
            n = min(BLOCK, count - block * BLOCK)
            bad = _first_bad(logs, n)
            if bad >= 0:
                failed[1] = block * BLOCK + bad
                return BAD_WEIGHT
            largest.keep_largest(logs, n, top, top_state, capacity)
            for g in range(group_sizes.size):
                groups.feed(logs, n, start + np.uint64(block * BLOCK), group_sizes[g], group_states[stream, g])
            if n == BLOCK:
                block_tree(logs, BLOCK, moments, head, workspace)
                dyadic.carry(block, stack_moments, stack_heads, moments, head)
            else:
                for i in range(n):
                    raw_out[stream, i] = logs[i]
        dyadic.copy_nodes(n_blocks, stack_moments, stack_heads, moments_out[stream], heads_out[stream])
        n_top[stream] = largest.settle_largest(top, top_state, capacity)
        for i in range(n_top[stream]):
            top_out[stream, i] = top[0, i]
    overrun = _overrun(eps_cells, z_cells, log_q_cells, logs_cells, BLOCK)
    if overrun >= 0:
        failed[1] = overrun
        return OVERRUN
    hold((cells, node, pending, best))
    return DONE


def _replay_signature(dtype):
    real = SCALARS[dtype]
    f8, i8, u8 = types.float64, types.int64, types.uint64
    return types.void(
        *_kernels(dtype),
        u8[::1],
        i8,
        real[::1],
        i8[::1],
        real[::1],
        i8[::1],
        real[::1],
        u8,  # start, a multiple of B
        real[:, ::1],  # z out (n, d)
        f8[::1],  # log weights out (n,)
    )


@compiled_by_dtype(_replay_signature)
def replay_stream(
    points, proposal, log_joint, state, n_base, lam, proposal_dims, theta, model_dims, x, start, z_out, logs_out
):
    """Latents and log weights of samples start … start + n − 1 of one stream, as `run_streams` saw them."""
    eps, z = _between(n_base, x)[1 : n_base + 1], _between(z_out.shape[1], x)[1 : z_out.shape[1] + 1]
    log_q, logs = _between(1, logs_out)[1], _between(1, logs_out)[1]
    count = logs_out.size
    for block in range((count + BLOCK - 1) // BLOCK):
        for i in range(BLOCK):
            logs[i] = math.nan
            log_q[i] = math.nan
        points(state, start + np.uint64(block * BLOCK), eps)
        proposal(lam, proposal_dims, eps, z, log_q)
        log_joint(theta, model_dims, x, z, logs)
        for i in range(min(BLOCK, count - block * BLOCK)):
            at = block * BLOCK + i
            logs_out[at] = logs[i] - log_q[i]
            for j in range(z_out.shape[1]):
                z_out[at, j] = z[j, i]
