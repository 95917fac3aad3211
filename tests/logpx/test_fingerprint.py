"""Exact tests of what a function's fingerprint sees: every edit that changes a result, and none that does not."""

import collections
import enum
import math
import sys
import types

import numba
import numpy as np
import pytest

import logpx
from logpx.errors import InputError
from logpx.fingerprint import fingerprint

BASE = """
import math
import numpy as np
import numba
import enum
import collections
import helpers

SCALE = 0.5
TABLE = np.array([1.0, 2.0])
WORDS = ("a", 3, (1.5, None))

class Kind(enum.IntEnum):
    ONE = 1

Pair = collections.namedtuple("Pair", "a b")

@numba.njit(fastmath={"contract"})
def deep(t):
    return t * SCALE

def callee(t, factor=2.0):
    return deep(t) * factor + TABLE[0] + helpers.shift(t)

def kernel(theta, dims, x, z):
    # a comment
    pair = Pair(1.0, 2.0)
    inner = lambda u: u + 1
    if Kind.ONE == 1 and WORDS[1] == 3:
        return callee(z[0]) + math.exp(z[0]) + np.log(2.0) + pair.a + inner(0)
    return 0.0
"""
HELPERS = """
OFFSET = 1.0
unused = object()
def shift(t):
    return t + OFFSET
"""


def of(source=BASE, helpers=HELPERS, name="kernel"):
    """Fingerprint of the kernel in this source, which imports a module `helpers` of that source."""
    module = types.ModuleType("helpers")
    exec(compile(helpers, "helpers.py", "exec"), vars(module))
    before = sys.modules.get("helpers")
    sys.modules["helpers"] = module
    try:
        space = {"__name__": "a_users_file"}
        exec(compile(source, "a_users_file.py", "exec"), space)
        return fingerprint(space[name])
    finally:
        del sys.modules["helpers"]
        if before is not None:
            sys.modules["helpers"] = before


EDITS = {
    "a constant of its own": ("return 0.0", "return 0.5"),
    "its own code": ("callee(z[0]) +", "callee(z[0]) -"),
    "a global number": ("SCALE = 0.5", "SCALE = 0.25"),
    "a global array": ("[1.0, 2.0]", "[1.0, 2.5]"),
    "an array's precision": ("[1.0, 2.0]", "[1.0, 2.0], dtype=np.float32"),
    "a tuple within": ("(1.5, None)", "(1.5, 0)"),
    "a compiled callee": ("t * SCALE", "t / SCALE"),
    "a compiled callee's options": ('{"contract"}', "True"),
    "a default": ("factor=2.0", "factor=3.0"),
    "an enumeration": ("ONE = 1", "ONE = 2"),
    "a named tuple's fields": ('"a b"', '"b a"'),
    "a function within": ("lambda u: u + 1", "lambda u: u + 2"),
    "a function of a library": ("math.exp(z[0])", "math.sin(z[0])"),
    "another library": ("np.log(2.0)", "math.log(2.0)"),
}


@pytest.mark.parametrize("edit", EDITS)
def test_an_edit_is_seen(edit):
    old, new = EDITS[edit]
    assert BASE.count(old) == 1
    assert of(BASE.replace(old, new)) != of()


@pytest.mark.parametrize(("old", "new"), [("t + OFFSET", "t - OFFSET"), ("OFFSET = 1.0", "OFFSET = 2.0")])
def test_an_edit_of_an_imported_helper_is_seen(old, new):
    assert of(helpers=HELPERS.replace(old, new)) != of()


@pytest.mark.parametrize("call", ["helpers.{}", "helpers.inner.{}"])
def test_two_functions_may_read_one_module(call):
    """What the second one loads of it counts too; the order in which they are found does not matter."""
    source = f"import helpers\ndef kernel(z): return callee(z) + {call.format('a')}(z)\n"
    source += f"def callee(z): return {call.format('b')}(z)"
    helpers = "import types\ndef a(z): return z + 1\ndef b(z): return z + 2\ninner = types.ModuleType('inner')\n"
    helpers += "inner.a, inner.b = a, b"
    before = of(source, helpers)
    assert of(source, helpers) == before
    assert of(source, helpers.replace("z + 1", "z - 1")) != before
    assert of(source, helpers.replace("z + 2", "z - 2")) != before


def test_modules_that_read_one_another_have_an_end():
    source = "import helpers\ndef kernel(z): return helpers.one.two.one.a(z)"
    helpers = "import types\none, two = types.ModuleType('one'), types.ModuleType('two')\none.two, two.one = two, one\n"
    assert of(source, helpers + "one.a = lambda z: z") != of(source, helpers + "one.a = lambda z: z + 1")


def test_what_changes_nothing_is_not_seen():
    same = of()
    assert of() == same
    assert of(BASE.replace("# a comment", "# another\n")) == same
    assert of("\n\n" + BASE + "\nUNUSED = 5\n") == same
    assert of(helpers="# moved down\n" + HELPERS + "MORE = 3\n") == same


def test_a_recursive_function_has_a_fingerprint():
    assert of("def kernel(n): return kernel(n - 1)") == of("def kernel(n): return kernel(n - 1)")
    pair = "def kernel(n): return other(n)\ndef other(n): return kernel(n {} 1)"
    assert of(pair.format("-")) != of(pair.format("+"))


def test_closures_are_read():
    def made(scale):
        return lambda z: z * scale

    assert fingerprint(made(2.0)) == fingerprint(made(2.0)) != fingerprint(made(2.5))
    assert fingerprint(made(numba.njit(made(1.0)))) != fingerprint(made(numba.njit(made(1.5))))


@pytest.mark.parametrize("value", ["object()", "np.random.default_rng(0)", "open", "{1: object()}"])
def test_what_cannot_be_told_is_named(value):
    source = f"import numpy as np\nTHING = {value}\ndef kernel(z): return THING"
    if value == "open":  # a function of Python's counts by its name
        assert of(source)
        return
    with pytest.raises(InputError, match=r"THING, which kernel reads,? is a .*cannot be told"):
        of(source)


def test_a_kernel_is_known_by_what_it_was_compiled_with():
    """Numba takes globals as constants when it compiles: a later value of a global is not what the kernel computes."""
    space = {"__name__": "a_users_file", "math": math}
    exec("SCALE = 0.5\ndef f(theta, dims, x, z): return SCALE * z[0]", space)
    kernel = logpx.per_sample(space["f"])
    logpx._jit.compile_kernel(kernel)
    before = logpx._jit.fact_of(kernel, "float64")
    space["SCALE"] = 0.25
    assert logpx._jit.fact_of(kernel, "float64") == before
    fresh = logpx.per_sample(space["f"])
    logpx._jit.compile_kernel(fresh)
    assert logpx._jit.fact_of(fresh, "float64") != before
    assert before.startswith("a_users_file.f ")


def test_kernels_of_the_library_go_by_their_name():
    kernel = logpx.models.PPCA.example()[0].log_joint
    assert logpx._jit.fact_of(kernel, "float64") == "logpx.models.linear_gaussian.log_joint"


def test_values_that_look_alike_are_told_apart():
    values = [0, 0.0, False, "0", b"0", (0,), [0], None, -0.0, math.nan, np.float32(0), np.zeros(1), np.zeros((1, 1))]
    Pair, Riap = (collections.namedtuple(name, "a") for name in ("Pair", "Riap"))
    values += [Pair(0), Riap(0), enum.Enum("E", "zero"), {0: 0}, {0}]
    found = set()
    for value in values:
        found.add(fingerprint(eval("lambda: VALUE", {"VALUE": value, "__name__": "a_users_file"})))
    assert len(found) == len(values)
