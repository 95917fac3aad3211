"""The stages of the driver's loop, each as a compiled function of its own over one block of 1024 samples in cache.

    points, proposal, log joint        the three kernels of the run
    log weights                        filling with nan, the difference log p − log q, the check for nan and +inf
    largest weights                    the running list that Pareto k̂ is fitted to
    centre and exponentials            mean and spread of the block, x = l − mean, w = exp(x), and their sums
    levels 1 to 3, 4 to 6, 7 to 10     the tree, with the records of their moments
    carry                              the block's node into the binary counter of nodes

One after the other they are the driver's loop (`logpx.driver.run_streams`) for a block of narrow weights, without
groups. A stage is called by pointer, as the driver calls its kernels, so that nothing of it moves out of the loop that
times it. The log weights are those of the run. What a stage overwrites in place stays in the range of true data, except
the node that a carry merges: it is copied anew before each (132 numbers, the only work that is not the driver's).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import types

from logpx import _jit, driver, dyadic, largest, tree
from logpx._jit import BLOCK
from logpx.tasks import Problem

#: Blocks of log weights that the largest are looked for in, over and over.
N_BLOCKS = 64

_VECTOR, _CUBE, _STACK = types.float64[::1], types.float64[:, :, ::1], types.float64[:, :, :, ::1]
_MATRIX, _WHOLE = types.float64[:, ::1], types.int64
_LEVELS = dyadic.LOG2_BLOCK + 1


def _log_weights(logs, log_q, values):
    for i in range(BLOCK):
        logs[i] = values[0]
        log_q[i] = values[1]
    for i in range(BLOCK):
        logs[i] -= log_q[i]
    values[2] = driver._first_bad(logs, BLOCK)


def _largest(weights, top, state, capacity, n_blocks):
    state[0], state[1] = 0.0, -np.inf
    for block in range(n_blocks):
        at = BLOCK * (block % N_BLOCKS)
        largest.keep_largest(weights[at : at + BLOCK], BLOCK, top, state, capacity)
    largest.settle_largest(top, state, capacity)


def _exponentials(logs, head, s):
    head[0], head[1] = tree._centre(logs, BLOCK, s)
    head[2] = tree._exponentiate(logs, BLOCK, head[0], s)


def _first_levels(head, moments, s):
    tree._first_three(s)
    for level in range(1, 4):
        tree._record_lanes(s, 8 * (level - 1), BLOCK >> level, head[0], moments, level)


def _middle_levels(head, moments, s):
    tree._second_three(s)
    for level in range(4, 7):
        tree._record_lanes(s, 8 * (level - 4), BLOCK >> level, head[0], moments, level)


def _last_levels(head, moments, s):
    tree._last_levels(s, head[0], moments)


def _carry(stack_moments, stack_heads, moments, head, node, node_head, n_blocks):
    for block in range(n_blocks):
        for family in range(dyadic.N_FAMILIES):
            for stat in range(3):
                for level in range(_LEVELS):
                    moments[family, stat, level] = node[family, stat, level]
        for i in range(4):
            head[i] = node_head[i]
        dyadic.carry(block, stack_moments, stack_heads, moments, head)


def _repeat(stage, n, arguments):
    for _ in range(n):
        stage(*arguments)


@dataclass(frozen=True)
class Stage:
    """One stage: what is called, with what, and how many samples a call is for."""

    name: str
    function: Any
    types: tuple[Any, ...]
    arguments: tuple[Any, ...]
    samples: int = BLOCK

    def timer(self) -> Callable[[int], Any]:
        """A function that calls the stage so many times, all within compiled code."""
        pointer = types.FunctionType(types.void(*self.types))
        loop = _jit.compiled(types.void(pointer, types.int64, types.Tuple(self.types)))(_repeat)
        arguments = tuple(aligned(one) if isinstance(one, np.ndarray) else one for one in self.arguments)
        return lambda n: loop(self.function, n, arguments)

    def fresh(self) -> Any:
        """The function as compiled in this process, not loaded from the cache: its machine code can be read."""
        if len(self.function.overloads) == 1 and not self.function.stats.cache_hits:
            return self.function
        again = _jit.inner(self.function.py_func)
        again.compile(self.types)
        return again


def aligned(array: Any) -> Any:
    """A copy that begins at a cache line: whole vectors of 64 bytes then never straddle two."""
    room = np.empty(array.nbytes + 64, np.uint8)
    start = -room.ctypes.data % 64
    copy = room[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


def _compiled(function: Any, signature: tuple[Any, ...]) -> Any:
    made = _jit.compiled(types.void(*signature))(function)
    made.compile()
    return made.dispatcher


def _kernels(problem: Problem, logs: Any, log_q: Any) -> list[Stage]:
    """The three kernels on the first block of the first stream."""
    real = np.dtype(problem.dtype)
    eps, z = np.empty((problem.n_base, BLOCK), real), np.empty((problem.n_latents, BLOCK), real)
    state, lam, x = problem.states[0], problem.lams[problem.lam_of[0]], problem.x[problem.x_of[0]]
    calls = {
        "points": (problem.points_kernel, (state, np.uint64(0), eps)),
        "proposal": (problem.proposal_kernel, (lam, problem.proposal_dims, eps, z, log_q)),
        "log_joint": (problem.log_joint, (problem.theta, problem.model_dims, x, z, logs)),
    }
    for kernel, arguments in calls.values():
        kernel(*arguments)
    return [
        Stage(kind, kernel, _jit.signature(kind, problem.dtype).args, arguments)
        for kind, (kernel, arguments) in calls.items()
    ]


def _tree(logs: Any) -> list[Stage]:
    """The four parts of the tree, one after the other on one workspace, and then the carry's node."""
    s, head, moments = np.ones(tree.WORKSPACE), np.zeros(4), np.zeros((4, 3, driver.MAX_LEVELS))
    first, later = (_VECTOR, _VECTOR, _VECTOR), (_VECTOR, _CUBE, _VECTOR)
    parts: Sequence[tuple[str, Any, Any, Any]] = (
        ("exponentials", _exponentials, first, (logs, head, s)),
        ("levels_1_3", _first_levels, later, (head, moments, s)),
        ("levels_4_6", _middle_levels, later, (head, moments, s)),
        ("levels_7_10", _last_levels, later, (head, moments, s)),
    )
    stages = [Stage(name, _compiled(one, kinds), kinds, arguments) for name, one, kinds, arguments in parts]
    for stage in stages:
        stage.function(*stage.arguments)
    return stages


def stages(problem: Problem, weights: Any, n_samples: int, capacity: int) -> list[Stage]:
    """Every stage of a run, in the driver's order; `weights` are log weights of the run, `N_BLOCKS` blocks of them."""
    n_blocks = n_samples // BLOCK
    logs, log_q = np.empty(BLOCK), np.empty(BLOCK)
    top, state = np.empty((3, 2 * capacity + largest.ROOM)), np.zeros(largest.STATE)
    stack = np.zeros((driver.STACK, 4, 3, driver.MAX_LEVELS)), np.zeros((driver.STACK, 4))
    built = _tree(weights[:BLOCK].copy())
    head, moments = built[1].arguments[:2]
    carried = (*stack, moments.copy(), head.copy(), moments.copy(), np.array([head[0], 1.0, 0.1, 0.0]), n_blocks)
    sizes = {
        "weights": ((_VECTOR, _VECTOR, _VECTOR), (logs.copy(), log_q.copy(), np.array([-1.0, -3.0, 0.0]))),
        "largest": ((_VECTOR, _MATRIX, _VECTOR, _WHOLE, _WHOLE), (weights, top, state, capacity, n_blocks)),
        "carry": ((_STACK, _MATRIX, _CUBE, _VECTOR, _CUBE, _VECTOR, _WHOLE), carried),
    }
    bodies = {"weights": _log_weights, "largest": _largest, "carry": _carry}
    own = {
        name: Stage(name, _compiled(bodies[name], kinds), kinds, arguments, BLOCK if name == "weights" else n_samples)
        for name, (kinds, arguments) in sizes.items()
    }
    return [*_kernels(problem, logs, log_q), own["weights"], own["largest"], *built, own["carry"]]
