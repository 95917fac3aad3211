"""The layers hold: who may import whom, read from the source by its syntax tree. Exact; no import is executed.

Data flows one way (design: points → proposals → models → ladder → engine → estimate → store → summary → figures →
page), and so may imports: a module imports from its own unit or from units below it, never from above. The units
are listed bottom-up below; a module of no listed unit fails the test, so a new file must be given its place. An
import inside a function counts like any other. An import under `if TYPE_CHECKING:` does not: nothing runs.

Every rule is also planted against: a copy of the sources with the rule broken must be reported.
"""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCES = {"logpx": ROOT / "kernels" / "logpx", "logpx_bench": ROOT / "bench" / "logpx_bench"}

#: Units of each package, bottom-up. A unit is a file or a folder directly under the package; units of one line
#: stand side by side and may not import each other. "" is the package's own __init__.
LAYERS = {
    "logpx": [
        ("errors",),
        ("checks", "faults", "fingerprint"),
        ("_pipelines",),
        ("_jit",),
        ("vecmath", "stack", "tiles"),
        ("guards",),
        ("dense", "activations"),
        ("reduce", "pareto", "totals", "dyadic", "groups", "largest"),
        ("tree", "quadrature"),
        ("nodes", "levels"),
        ("result",),
        ("packing",),
        ("ladder",),
        ("points",),
        ("proposals",),
        ("models",),
        ("streams",),
        ("shipping",),
        ("driver",),
        ("tasks",),
        ("identity", "storefile", "interrupt"),
        ("checkpoint",),
        ("engine",),
        ("prepare",),
        ("estimate",),
        ("compare", "plan"),
        ("",),
    ],
    "logpx_bench": [
        ("",),
        ("errors", "schema", "counts", "plurals", "dask_worker"),
        ("options", "machine", "ledger", "moments", "assembly", "cluster", "exits", "union", "contradictions"),
        ("store", "model_file", "networks"),
        ("data", "estimators", "roofline", "score", "second_routes"),
        ("user_file",),
        ("conformance",),
        ("peers",),
        ("experiments",),
        ("suite", "resume"),
        ("guests",),
        ("runner", "summary", "races", "long_runs", "catalogue", "merging", "doctor"),
        ("floors",),
        ("targets",),
        ("figures",),
        ("page",),
        ("cli",),
        ("__main__",),
    ],
}

#: Packages that the library must not need, and that figures must not reach.
FORBIDDEN = {
    "logpx": {"logpx_bench", "matplotlib", "sqlite3", "typer", "pytest"},
    "logpx_bench.second_routes": {"logpx", "numba", "matplotlib"},
    "logpx_bench.summary": {"logpx", "numba", "matplotlib"},
    "logpx_bench.races": {"logpx", "numba", "matplotlib"},
    "logpx_bench.long_runs": {"logpx", "numba", "matplotlib"},
    "logpx_bench.catalogue": {"logpx", "numba", "matplotlib"},
    "logpx_bench.floors": {"logpx", "numba", "matplotlib"},
    "logpx_bench.targets": {"logpx", "numba", "matplotlib"},
    "logpx_bench.figures": {"logpx", "numba", "sqlite3"},
    "logpx_bench.page": {"logpx", "numba", "sqlite3"},
}
#: Files of the library that may need one all the same: a checkpoint is an SQLite file.
EXCEPTED = {("logpx.checkpoint", "sqlite3"), ("logpx.storefile", "sqlite3")}

#: Only these talk to Numba's compiler.
COMPILERS = {"logpx._jit", "logpx._pipelines"}
#: Only _jit sets compile options. Types are free; these files may import what an intrinsic is made of.
NUMBA_TYPES = {"numba.types"}
INTRINSIC = {"numba.core", "numba.extending", "llvmlite.ir"}
NUMBA_ALLOWED = dict.fromkeys(("logpx.vecmath", "logpx.stack", "logpx.dense", "logpx.points.sobol"), INTRINSIC)
NUMBA_ALLOWED["logpx.shipping"] = {"numba.cloudpickle"}
COMPILE_NAMES = {"njit", "jit", "vectorize", "guvectorize", "generated_jit", "stencil", "cfunc", "jitclass", "prange"}
COMPILE_OPTIONS = {"fastmath", "parallel", "boundscheck", "error_model", "forceinline"}


class Module:
    """One source file: its dotted name, its unit, and what it imports as (dotted name, line)."""

    def __init__(self, package, folder, path):
        parts = path.relative_to(folder).with_suffix("").parts
        is_package = parts[-1] == "__init__"
        self.parts = parts[:-1] if is_package else parts
        self.package, self.path = package, path
        self.name = ".".join((package, *self.parts))
        self.unit = self.parts[0] if self.parts else ""
        self.home = self.name.split(".") if is_package else self.name.split(".")[:-1]
        self.tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
        self.imports = list(self._imports(self.tree))

    def _imports(self, node):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                continue
            if isinstance(child, ast.Import):
                yield from ((alias.name, child.lineno) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                base = ".".join(self.home[: len(self.home) - child.level + 1]) if child.level else ""
                target = ".".join(part for part in (base, child.module) if part)
                yield from ((f"{target}.{alias.name}", child.lineno) for alias in child.names)
            else:
                yield from self._imports(child)

    def at(self, line):
        return f"{self.name}, line {line}"


def modules(sources):
    return [
        Module(package, folder, path)
        for package, folder in sources.items()
        for path in sorted(folder.rglob("*.py"))
        if "__pycache__" not in path.parts
    ]


def _unit_of(target, package, units):
    """The unit of this package that a dotted import reaches: `logpx.models.ppca.PPCA` → "models", else None."""
    head, _, rest = target.partition(".")
    if head != package:
        return None
    first = rest.partition(".")[0]
    return first if first in units else ""


def layer_violations(every):
    found = []
    for module in every:
        ranks = {unit: rank for rank, layer in enumerate(LAYERS[module.package]) for unit in layer}
        if module.unit not in ranks:
            found.append(f"{module.name}: no layer is given for it in tests/test_contract.py")
            continue
        for target, line in module.imports:
            unit = _unit_of(target, module.package, ranks)
            if unit is None or unit == module.unit:
                continue
            if ranks[unit] >= ranks[module.unit]:
                found.append(f"{module.at(line)}: imports {target}, which is not below it")
    return found


def forbidden_violations(every):
    found = []
    for module in every:
        for prefix, banned in FORBIDDEN.items():
            if module.name == prefix or module.name.startswith(prefix + "."):
                found += [
                    f"{module.at(line)}: imports {target}, which {prefix} must not need"
                    for target, line in module.imports
                    if target.partition(".")[0] in banned and (module.name, target) not in EXCEPTED
                ]
    return found


def cycle_violations(every):
    """A cycle of modules, within a unit too. Depth-first search; one message for each edge that closes a cycle."""
    names = {module.name for module in every}
    edges = {module.name: set() for module in every}
    for module in every:
        for target, _ in module.imports:
            while target and target not in names:
                target = target.rpartition(".")[0]
            if target and target != module.name:
                edges[module.name].add(target)
    found, state = [], {}

    def visit(name, path):
        state[name] = "open"
        for target in sorted(edges[name]):
            if state.get(target) == "open":
                found.append("cycle: " + " → ".join([*path[path.index(target) :], target]))
            elif target not in state:
                visit(target, [*path, target])
        state[name] = "done"

    for name in sorted(edges):
        if name not in state:
            visit(name, [name])
    return found


def compile_violations(every):
    """Numba's decorators and options outside _jit, in names, attributes, keywords and imports."""
    found = []
    for module in every:
        if module.package != "logpx" or module.name in COMPILERS:
            continue
        allowed = NUMBA_TYPES | NUMBA_ALLOWED.get(module.name, set())
        for target, line in module.imports:
            if target.partition(".")[0] in {"numba", "llvmlite"} and not any(
                target == name or target.startswith(name + ".") for name in allowed
            ):
                found.append(f"{module.at(line)}: imports {target}; only logpx._jit talks to Numba")
        for node in ast.walk(module.tree):
            word = getattr(node, "attr", None) or getattr(node, "id", None)
            if word in COMPILE_NAMES:
                found.append(f"{module.at(node.lineno)}: {word}; only logpx._jit compiles")
            if isinstance(node, ast.Call):
                found += [
                    f"{module.at(node.lineno)}: {keyword.arg}=…; only logpx._jit sets compile options"
                    for keyword in node.keywords
                    if keyword.arg in COMPILE_OPTIONS
                ]
    return found


RULES = {
    "layers": layer_violations,
    "forbidden": forbidden_violations,
    "cycles": cycle_violations,
    "compile options": compile_violations,
}


@pytest.fixture(scope="module")
def every():
    """All modules as they stand."""
    return modules(SOURCES)


@pytest.mark.parametrize("rule", RULES)
def test_the_sources_keep_the_rule(rule, every):
    assert len(every) > 5
    found = RULES[rule](every)
    assert not found, "\n".join(found)


# What is planted: (rule, file under the source root, line added, what the message must name).
PLANTED = [
    ("layers", "logpx/points/planted.py", "from logpx.models import REGISTRY", "logpx.points.planted"),
    ("layers", "logpx/proposals/planted.py", "def f():\n    from ..engine import run", "logpx.engine.run"),
    ("layers", "logpx/errors.py", "from . import vecmath", "logpx.errors"),
    ("layers", "logpx/models/planted.py", "import logpx", "logpx.models.planted"),
    ("layers", "logpx/unheard_of.py", "", "no layer is given"),
    ("layers", "logpx_bench/store.py", "from logpx_bench import summary", "logpx_bench.store"),
    ("layers", "logpx_bench/figures/planted.py", "from ..cli import main", "logpx_bench.figures.planted"),
    ("forbidden", "logpx/models/planted.py", "import logpx_bench.store", "logpx_bench"),
    ("forbidden", "logpx/planted.py", "def f():\n    import matplotlib.pyplot", "matplotlib"),
    ("forbidden", "logpx/planted.py", "import sqlite3", "sqlite3"),
    ("forbidden", "logpx/engine.py", "import sqlite3", "sqlite3"),
    ("forbidden", "logpx/checkpoint.py", "import typer", "typer"),
    ("forbidden", "logpx/planted.py", "from typer import Option", "typer"),
    ("forbidden", "logpx_bench/figures/planted.py", "from logpx.models import PPCA", "logpx.models.PPCA"),
    ("cycles", "logpx/models/a.py", "from .b import x", "cycle"),
    ("compile options", "logpx/models/planted.py", "import numba", "numba"),
    ("compile options", "logpx/vecmath.py", "from numba import njit", "njit"),
    ("compile options", "logpx/models/planted.py", "f = g(fastmath=True)", "fastmath"),
]


@pytest.mark.parametrize(("rule", "file", "source", "named"), PLANTED)
def test_a_planted_violation_is_reported(tmp_path, every, rule, file, source, named):
    """One module of the sources is replaced by, or one added as, a copy with the rule broken."""
    package, _, inside = file.partition("/")
    original, copy = SOURCES[package] / inside, tmp_path / package / inside
    copy.parent.mkdir(parents=True, exist_ok=True)
    copy.write_text((original.read_text(encoding="utf-8") if original.exists() else "") + f"\n{source}\n", "utf-8")
    planted = [Module(package, tmp_path / package, copy)]
    if rule == "cycles":
        other = copy.with_name("b.py")
        other.write_text("from .a import x\n", encoding="utf-8")
        planted.append(Module(package, tmp_path / package, other))
    names = {module.name for module in planted}
    before = RULES[rule](every)
    after = RULES[rule]([module for module in every if module.name not in names] + planted)
    new = [message for message in after if message not in before]
    assert new, f"{source!r} in {file} was not reported"
    assert any(named in message for message in new)
