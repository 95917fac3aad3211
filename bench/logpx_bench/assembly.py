r"""What machine code executes, counted by the code itself; and how fast the machine executes each kind of instruction.

*Counting.* The assembly that a compiled function consists of is written out with a counter at the start of every
straight run of instructions, assembled again (LLVM, module-level assembly), and run once on real arguments. A count of
an instruction is then the count of its run: exact, through every loop and branch, with nothing assumed of a trip
count. The counters disturb no register and no flag, so the results are bit for bit those of the function itself.

*Classes.* An instruction belongs to a unit (`counts.UNITS`) and a width in bits; a scalar one takes a slot of 128.
Moves between registers, and loads and broadcasts from memory, take no arithmetic slot. A memory operand is a load or a
store beside whatever the instruction does. What a called function executes (`calls`: the allocator, libm) is not
counted.

*Rates.* Instructions per nanosecond, unit by unit and width by width, of a loop of 24 that do not depend on one
another, in cache; `issue` is the same of a long loop of cheap instructions for integer and vector units in turn. Best
of several runs.

For x86-64 with AVX2, on systems that follow the System V calling convention; elsewhere `supported()` is False.
"""

from __future__ import annotations

import ctypes
import platform
import re
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import llvmlite.binding as llvm
import numpy as np
from numpy.typing import NDArray

from logpx import _pipelines
from logpx_bench.counts import UNITS, WIDTHS, slot

_LABEL = re.compile(r"[^\s#].*:")
_ENDS_A_RUN = re.compile(r"j|ret|lock|rep")
#: Adds one to the counter at an address, beyond the 128 bytes below the stack pointer that a function may use, by
#: instructions that leave the flags alone.
_COUNT = """\
\tleaq -128(%rsp), %rsp
\tpushq %rax
\tpushq %rcx
\tmovabsq ${address}, %rax
\tmovq (%rax), %rcx
\tleaq 1(%rcx), %rcx
\tmovq %rcx, (%rax)
\tpopq %rcx
\tpopq %rax
\tleaq 128(%rsp), %rsp"""


def supported() -> bool:
    """Whether machine code can be counted here."""
    x86 = platform.machine().lower() in ("x86_64", "amd64") and platform.system() != "Windows"
    features = llvm.get_host_cpu_features() if x86 else {}
    return bool(features.get("avx2") and features.get("fma"))


def widest() -> int:
    """Bits of the widest vector registers that compiled code uses."""
    return 512 if _pipelines.has_wide_vectors() else 256


# -- one instruction ----------------------------------------------------------------------------------------------


class Instruction(NamedTuple):
    """What one instruction does: its arithmetic slot (unit and width) or None, its flops, and its memory traffic."""

    slot: str | None
    flops: int
    load: tuple[str, int] | None
    store: tuple[str, int] | None


_ARITHMETIC = (
    (re.compile(r"vf(?:n?m(?:add|sub)|maddsub|msubadd)\d+[ps]([sd])"), "multiply", 2),
    (re.compile(r"vmul[ps]([sd])"), "multiply", 1),
    (re.compile(r"v(?:add|sub)[ps]([sd])"), "add", 1),
    (re.compile(r"vdiv[ps]([sd])"), "divide", 1),
    (re.compile(r"vsqrt[ps]([sd])"), "root", 1),
    (re.compile(r"vpmul\w+"), "product", 0),
)
_SCALAR = re.compile(r"v\w*s[sd]$")
_MOVES = re.compile(r"v?p?mov|vbroadcast|vpbroadcast|vlddqu|vextract|vmask")
_SUFFIX = {"b": 1, "w": 2, "l": 4, "q": 8}


def _operands(text: str) -> list[str]:
    return [part.strip() for part in re.split(r",\s*(?![^(]*\))", text)] if text else []


def read(line: str) -> Instruction:
    """Read one line of assembly in AT&T syntax, the destination last.

    Examples
    --------
    >>> read("vfmadd213pd 64(%rcx), %zmm1, %zmm2")
    Instruction(slot='multiply512', flops=16, load=('load512', 64), store=None)
    >>> read("movq %rax, 8(%rsp)")
    Instruction(slot=None, flops=0, load=None, store=('store128', 8))
    """
    name, _, rest = line.partition("#")[0].strip().partition("\t" if "\t" in line.strip() else " ")
    bare = re.sub(r"\{[^}]*\}", "", rest)
    operands = _operands(bare)
    size = {"z": 64, "y": 32}.get(next(iter(re.findall(r"%([zy])mm", bare)), ""), 16)
    scalar = bool(_SCALAR.match(name))
    unit, lanes = _unit(name, operands, size, scalar)
    bytes_ = _memory_bytes(name, rest, size, scalar)
    load, store = _traffic(name, operands)
    return Instruction(
        slot(unit, 8 * size) if unit else None,
        lanes,
        (slot("load", 8 * max(16, bytes_)), bytes_) if load else None,
        (slot("store", 8 * max(16, bytes_)), bytes_) if store else None,
    )


def _unit(name: str, operands: Sequence[str], size: int, scalar: bool) -> tuple[str | None, int]:
    for pattern, unit, flops in _ARITHMETIC:
        found = pattern.fullmatch(name)
        if found:
            real = (8 if found[1] == "d" else 4) if pattern.groups else 8
            suffix = str(8 * real) if unit in ("divide", "root") else ""
            return unit + suffix, flops * (1 if scalar else size // real)
    if not name.startswith("v") or name.startswith("vzero"):
        return None, 0
    from_memory = _MOVES.match(name) and (name.startswith("vmov") or any("(" in one for one in operands))
    return (None if from_memory else "other"), 0


def _memory_bytes(name: str, rest: str, size: int, scalar: bool) -> int:
    if "{1to" in rest or "broadcast" in name or scalar:
        return 4 if re.search(r"(?:ss|ps|d)$", name) and not re.search(r"(?:sd|pd)$", name) else 8
    if name in ("vmovq", "vmovd"):
        return 8 if name == "vmovq" else 4
    return size if name.startswith("v") else _SUFFIX.get(name[-1], 8)


def _traffic(name: str, operands: Sequence[str]) -> tuple[bool, bool]:
    """Whether an instruction loads, and whether it stores."""
    if name.startswith(("lea", "nop", "prefetch", "call", "j", "ret")):
        return False, False
    if name.startswith(("push", "pop")):
        return name.startswith("pop"), name.startswith("push")
    into = bool(operands) and "(" in operands[-1]
    load = any("(" in one for one in operands[:-1])
    if into and (name.startswith(("cmp", "test")) or len(operands) == 1):
        return True, not name.startswith(("cmp", "test"))
    only_store = bool(re.match(r"v?p?mov|vextract|set|vcvt", name))
    return load or (into and not only_store), into


# -- counting -----------------------------------------------------------------------------------------------------


def instrumented(assembly: str, counters: int) -> tuple[str, list[list[str]]]:
    """The assembly with a counter before every straight run, eight bytes each from the address `counters`; the runs."""
    runs: list[list[str]] = []
    out: list[str] = []
    begins, code = True, False
    for line in assembly.splitlines():
        text = line.strip()
        if text.startswith((".text", ".section")):
            code = "text" in text.split(",")[0]
        label = bool(_LABEL.match(line))
        if label or not code or not text or text[0] in ".#":
            begins = begins or label
        else:
            if begins:
                out.append(_COUNT.format(address=counters + 8 * len(runs)))
                runs.append([])
            runs[-1].append(text)
            begins = bool(_ENDS_A_RUN.match(text))
        out.append(line)
    return "\n".join(out), runs


def assemble(assembly: str) -> Any:
    """Assembly to executable code: an LLVM engine, which must be kept as long as the code is called."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    llvm.initialize_native_asmparser()
    lines = (line.replace("\\", "\\5C").replace('"', "\\22") for line in assembly.splitlines())
    module = llvm.parse_assembly(
        f'target triple = "{llvm.get_process_triple()}"\n' + "\n".join(f'module asm "{line}"' for line in lines)
    )
    target = llvm.Target.from_default_triple()
    features = llvm.get_host_cpu_features().flatten()
    machine = target.create_target_machine(cpu=llvm.get_host_cpu_name(), features=features, codemodel="large")
    engine = llvm.create_mcjit_compiler(module, machine)
    engine.finalize_object()
    return engine


def _flat(argument: Any) -> list[int]:
    """An argument as Numba passes it: an array is (meminfo, parent, size, itemsize, data, *shape, *strides)."""
    if not isinstance(argument, np.ndarray):
        return [int(argument)]
    return [0, 0, argument.size, argument.itemsize, argument.ctypes.data, *argument.shape, *argument.strides]


def executed(dispatcher: Any, arguments: Sequence[Any]) -> Counter[str]:
    """How often each class of instruction (see `counts.CLASSES`) runs in one call of a function.

    Parameters
    ----------
    dispatcher
        A function compiled by Numba for one signature, with arrays and integers for arguments and no result; not one
        loaded from the cache, of which there is no assembly.
    arguments
        What it is called with, once; arrays are written to as the function does.
    """
    ((compiled),) = dispatcher.overloads.values()
    (text,) = dispatcher.inspect_asm().values()
    counters = np.zeros(text.count("\n") + 1, dtype=np.int64)
    assembly, runs = instrumented(text, counters.ctypes.data)
    engine = assemble(assembly)
    flat = [value for one in arguments for value in _flat(one)]
    results = np.zeros(2, dtype=np.int64)
    places = [results.ctypes.data, results.ctypes.data + 8]
    function = ctypes.CFUNCTYPE(ctypes.c_int32, *[ctypes.c_int64] * (2 + len(flat)))
    status = function(engine.get_function_address(compiled.fndesc.llvm_func_name))(*places, *flat)
    if status != 0:
        raise RuntimeError(f"the counted function {compiled.fndesc.qualname} ended with status {status}")
    return tally((line, int(count)) for count, run in zip(counters, runs, strict=False) if count for line in run)


def tally(lines: Iterator[tuple[str, int]]) -> Counter[str]:
    """Classes of instructions over lines of assembly and how often each ran."""
    total: Counter[str] = Counter()
    for line, count in lines:
        one = read(line)
        total["instructions"] += count
        total["flops"] += count * one.flops
        total["calls"] += count * line.startswith("call")
        if one.slot:
            total[one.slot] += count
        for what, traffic in (("load", one.load), ("store", one.store)):
            if traffic:
                total[traffic[0]] += count
                total[f"{what}_bytes"] += count * traffic[1]
    return total


# -- rates --------------------------------------------------------------------------------------------------------

#: An instruction of each unit: {r} is a vector register, {i} the number of one that is only written (or, by a fused
#: multiply-add, accumulated), {at} an offset into a buffer.
_EXAMPLES = {
    "multiply": "vfmadd231pd %{r}14, %{r}15, %{r}{i}",
    "add": "vaddpd %{r}14, %{r}15, %{r}{i}",
    "divide64": "vdivpd %{r}14, %{r}15, %{r}{i}",
    "divide32": "vdivps %{r}14, %{r}15, %{r}{i}",
    "root64": "vsqrtpd %{r}14, %{r}{i}",
    "root32": "vsqrtps %{r}14, %{r}{i}",
    "product": "vpmuludq %{r}14, %{r}15, %{r}{i}",
    "other": "vxorpd %{r}14, %{r}15, %{r}{i}",
    "load": "vmovupd {at}(%rax), %{r}{i}",
    "store": "vmovupd %{r}{i}, {at}(%rax)",
}
_UNROLLED, _REGISTERS, _MIXED = 24, 12, 384


def _loop(name: str, body: Sequence[str], buffer: int, register: str) -> str:
    start = [f"movabsq ${buffer}, %rax", *(f"vmovupd (%rax), %{register}{i}" for i in range(16))]
    lines = "\n\t".join([*start, f".p2align 6\n.L{name}:", *body, "decq %rdi", f"jne .L{name}", "vzeroupper", "retq"])
    return f".globl {name}\n{name}:\n\t{lines}\n"


def _programs(buffer: int) -> tuple[str, list[str]]:
    """The assembly of all loops, and the slot that each measures."""
    integer = ("edx", "esi", "r8d", "r9d", "r10d", "r11d")
    mixed = [
        f"vxorpd %xmm14, %xmm15, %xmm{i // 2 % 12}" if i % 2 else f"addl $1, %{integer[i // 2 % 6]}"
        for i in range(_MIXED)
    ]
    text, names = [".text\n", _loop("issue", mixed, buffer, "ymm")], ["issue"]
    for unit in UNITS:
        for width, register in zip(WIDTHS, ("xmm", "ymm", "zmm"), strict=True):
            if width <= widest():
                example = _EXAMPLES[unit]
                body = [example.format(r=register, i=i % _REGISTERS, at=64 * i) for i in range(_UNROLLED)]
                names.append(slot(unit, width))
                text.append(_loop(names[-1], body, buffer, register))
    return "".join(text), names


def rates(repeats: int = 9, loops: int = 2000) -> Mapping[str, float]:
    """Instructions per nanosecond of every slot, and "issue"; the best of `repeats` interleaved runs."""
    buffer: NDArray[np.float64] = np.ones(8 * _UNROLLED + 16)
    address = -(-buffer.ctypes.data // 64) * 64
    text, names = _programs(address)
    engine = assemble(text)
    call = ctypes.CFUNCTYPE(None, ctypes.c_int64)
    functions = {name: call(engine.get_function_address(name)) for name in names}
    best = dict.fromkeys(names, float("inf"))
    for _ in range(repeats + 1):  # the first is a warm-up, and never the best
        for name, function in functions.items():
            start = time.perf_counter_ns()
            function(loops)
            best[name] = min(best[name], time.perf_counter_ns() - start)
    return {name: loops * (_MIXED if name == "issue" else _UNROLLED) / ns for name, ns in best.items()}
