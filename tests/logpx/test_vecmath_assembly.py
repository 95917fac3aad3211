"""Loops over vecmath, and the kernels of the points, are packed machine code without calls to libm.

Exact test. The machine code is read with `inspect_asm`, which says nothing of a function loaded from the cache: it
is compiled in a subprocess with an empty cache folder. What counts as packed differs by architecture; on others
the test is skipped.
"""

import json
import os
import platform
import re
import subprocess
import sys

import pytest

from logpx import _jit

MACHINE = {"amd64": "x86_64", "arm64": "aarch64"}.get(platform.machine().lower(), platform.machine().lower())
#: Packed double arithmetic: on x86 AVX registers of 4 or 8 lanes, on aarch64 registers of 2.
PACKED = {
    "x86_64": r"\bv(?:mul|add|sub|div|fn?m(?:add|sub)\d+)pd\b[^\n]*%[yz]mm",
    "aarch64": r"\bf(?:mul|add|sub|div|mla|mls)\b[^\n]*\.2d",
}
PACKED_SINGLE = {
    "x86_64": r"\bv(?:mul|add|sub|div|fn?m(?:add|sub)\d+)ps\b[^\n]*%[yz]mm",
    "aarch64": r"\bf(?:mul|add|sub|div|mla|mls)\b[^\n]*\.4s",
}
PACKED_PRODUCT = {"x86_64": r"\bvpmuludq\b[^\n]*%[yz]mm", "aarch64": r"\bu(?:mull2?|mlal2?)\b[^\n]*\.2d"}
SCALAR = {
    "x86_64": r"\bv?(?:mul|add|sub|div|fn?m(?:add|sub)\d+)sd\b",
    "aarch64": r"\bf(?:mul|add|sub|div|madd|msub)\s+d\d",
}
LIBM = (
    r"\b(?:_?)(?:exp|exp2|expm1|log|log1p|log2|pow|sin|cos|sincos|fma|floor|rint|nearbyint|ldexp|scalbn|erf|erfc)f?\b"
)
CALL = {"x86_64": r"\bcall\w*\s+[^\n]*|movabs\w*\s+\$[^\n]*", "aarch64": r"\bblr?\s+[^\n]*|adrp\s+[^\n]*"}

pytestmark = [
    pytest.mark.skipif(_jit.DISABLED, reason="there is no machine code under NUMBA_DISABLE_JIT"),
    pytest.mark.skipif(MACHINE not in PACKED, reason=f"packed instructions of {MACHINE} are not described here"),
]

COMPILE = """
import json, math, sys
import numba
from logpx import _jit, activations, vecmath
from logpx.points import REGISTRY

def loop_over(function, real="float64"):
    @numba.njit(fastmath={"contract"}, error_model="numpy")
    def loop(x, out):
        for i in range(x.size):
            out[i] = function(x[i])
    loop.compile(f"void({real}[::1], {real}[::1])")
    return loop

@numba.njit
def planted_exp(x):
    return math.exp(x)

@numba.njit
def planted_branch(x):
    total = 0.0
    while x > 1.0:
        total += 1.0
        x *= 0.5
    return total + x

skipped = ("bits_of", "float_of", "fma")
code = {name: loop_over(getattr(vecmath, name)) for name in vecmath.__all__ if name not in skipped}
for name in ("tanh", "sigmoid", "normal_tail", "gelu", "gelu_tanh"):
    code[name] = loop_over(getattr(activations, name))
for name in ("tanh32", "exp_minus32"):
    code[name] = loop_over(getattr(activations, name), "float32")
code["planted exp"], code["planted branch"] = loop_over(planted_exp), loop_over(planted_branch)
for points in REGISTRY.values():
    for kind, kernel in points.kernels.items():
        _jit.compile_kernel(kernel)
        code[f"{points.name} {kind}"] = kernel
text = {name: "\\n".join(one.inspect_asm().values()) for name, one in code.items()}
for kind, kernel in REGISTRY["independent"].kernels.items():
    _jit.compile_kernel(kernel, "float32")
    text[f"independent {kind} float32"] = kernel.inspect_asm(kernel.signatures[1])
json.dump(text, sys.stdout)
"""


@pytest.fixture(scope="module")
def assembly(tmp_path_factory):
    """Machine code by name, freshly compiled."""
    environment = {**os.environ, "LOGPX_CACHE_DIR": str(tmp_path_factory.mktemp("cache"))}
    done = subprocess.run([sys.executable, "-c", COMPILE], env=environment, check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def libm_calls(code):
    """Names of mathematical library functions that the code calls, or takes the address of."""
    return sorted({name for line in re.findall(CALL[MACHINE], code) for name in re.findall(LIBM, line)})


def packed(code):
    return len(re.findall(PACKED[MACHINE], code))


def packed_single(code):
    return len(re.findall(PACKED_SINGLE[MACHINE], code))


#: Fewest packed operations of a loop: a little below the number in the algorithm (17 for exp, 70 for the quantile).
FEWEST = {
    "exp": 15,
    "exp_narrow": 13,
    "expm1": 20,
    "log": 18,
    "log1p": 20,
    "softplus": 36,
    "sin_2pi": 20,
    "cos_2pi": 20,
    "normal_quantile": 60,
    "tanh": 18,
    "sigmoid": 16,
    "normal_tail": 26,
    "gelu": 40,
    "gelu_tanh": 22,
    "independent normal": 28,
}
SINGLE = {"independent uniform float32": 1, "independent normal float32": 28, "tanh32": 13, "exp_minus32": 9}
KERNELS = ["independent uniform", "independent normal", *list(SINGLE)[:2]]


@pytest.mark.parametrize("name", FEWEST)
def test_arithmetic_is_packed(assembly, name):
    """The whole algorithm in packed form; scalar copies are the loop's end, of which LLVM writes up to three."""
    code = assembly[name]
    scalar = len(re.findall(SCALAR[MACHINE], code))
    assert packed(code) >= max(FEWEST[name], scalar // 3), f"{packed(code)} packed and {scalar} scalar operations"


@pytest.mark.parametrize("name", KERNELS)
def test_products_of_philox_are_packed(assembly, name):
    """Ten rounds of two products; those of the first rounds that do not depend on the sample leave the loop."""
    assert len(re.findall(PACKED_PRODUCT[MACHINE], assembly[name])) >= 16


@pytest.mark.parametrize(("name", "fewest"), SINGLE.items())
def test_single_precision_is_packed_and_nowhere_double(assembly, name, fewest):
    code = assembly[name]
    assert packed_single(code) >= fewest
    assert packed(code) == 0
    assert not re.findall(SCALAR[MACHINE], code)


def test_planted_double_is_seen(assembly):
    assert packed(assembly["independent normal"]) > 0
    assert packed_single(assembly["independent normal"]) == 0


@pytest.mark.parametrize("name", [*FEWEST, "independent uniform", *SINGLE])
def test_no_call_to_the_mathematical_library(assembly, name):
    assert libm_calls(assembly[name]) == []


def test_planted_library_call_is_seen(assembly):
    assert "exp" in libm_calls(assembly["planted exp"])
    assert packed(assembly["planted exp"]) == 0


def test_planted_branch_is_seen(assembly):
    """A loop inside the function keeps LLVM from vectorising over the array."""
    assert packed(assembly["planted branch"]) < 10
