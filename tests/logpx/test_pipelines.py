"""Functions that only compiled code calls: compiled once a type, into their callers, with no machine code of their own.

Exact.
"""

import math

import numba
import numpy as np
import pytest
from numba.core.registry import cpu_target

from logpx import _jit, _pipelines

pytestmark = pytest.mark.skipif(_jit.DISABLED, reason="NUMBA_DISABLE_JIT is set: nothing is compiled")


def twice(x, n):
    total = 0.0
    for _ in range(n):
        total += 2.0 * x
    return total


def raises(x):
    if x < 0.0:
        raise ValueError("below zero")
    return math.sqrt(x)


def machine_code_of(dispatcher):
    """Which of a dispatcher's versions the engine has machine code of."""
    engine = cpu_target.target_context.codegen()._engine
    return [engine.is_symbol_defined(one.fndesc.mangled_name) for one in dispatcher.overloads.values()]


def test_only_the_caller_becomes_machine_code():
    linked, plain = _jit.inner(twice), numba.njit(twice)
    for function, expected in ((linked, False), (plain, True)):
        caller = _jit.uncached(lambda x, function=function: function(x, 1) + function(x, 2))
        assert caller(1.5) == 9.0
        dispatcher = function.dispatcher if function is linked else function
        assert set(machine_code_of(dispatcher)) == {expected}
    assert isinstance(next(iter(linked.dispatcher.overloads.values())).library, _pipelines.Linked)


def test_a_constant_is_no_type_of_its_own():
    linked = _jit.inner(twice)
    _jit.uncached(lambda x: linked(x, 1) + linked(x, 2))(1.5)
    assert len(linked.dispatcher.overloads) == 1


def test_what_it_raises_comes_through_its_callers():
    linked = _jit.leaf(raises)
    caller = _jit.uncached(lambda x: linked(x) + 1.0)
    assert caller(4.0) == 3.0
    with pytest.raises(ValueError, match="below zero"):
        caller(-1.0)


def test_python_can_call_it():
    assert _jit.inner(twice)(1.5, 3) == 9.0


def test_this_release_of_numba_has_what_is_overridden():
    assert _pipelines._HERE
    assert _pipelines.OUTSIDE.made is _pipelines.Library
    assert _pipelines.INSIDE.made is _pipelines.Linked


@pytest.mark.skipif(not _pipelines.has_wide_vectors(), reason="this processor has no vectors of 512 bits")
def test_loops_have_the_widest_vectors():
    """In a function and in one inside it; a plain compile would keep to 256 bits on many processors."""
    leaf = _jit.leaf(lambda x: 2.0 * x * x + 1.0)

    def fill(x, out):
        for i in range(out.size):
            out[i] = leaf(x[i])

    kernel = _jit.uncached(fill)
    kernel(np.ones(64), np.empty(64))
    assert "zmm" in next(iter(kernel.inspect_asm().values()))


def test_a_function_passed_by_pointer_is_looked_up_once():
    @_jit.kernel("tree", cache=False)
    def fill(logs, n, moments, head, workspace):
        for i in range(n):
            logs[i] = 7.0

    @numba.njit(numba.types.void(_jit.function_type("tree"), *_jit.signature("tree").args))
    def call(tree, logs, n, moments, head, workspace):
        tree(logs, n, moments, head, workspace)

    _jit.compile_kernel(fill)
    plain, asked = fill.get_compile_result, []
    fill.get_compile_result = lambda signature: asked.append(signature) or plain(signature)
    _pipelines.remember_results(fill)
    for _ in range(20):
        logs = np.zeros(3)
        call(fill, logs, 2, np.zeros((1, 1, 1)), np.zeros(1), np.zeros(1))
        assert logs.tolist() == [7.0, 7.0, 0.0]
    assert 1 <= len(asked) <= 2, "one for either address that Numba asks for, however often it is called"
