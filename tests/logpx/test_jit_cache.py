"""The cache of compiled kernels: an edit of a leaf in another file is seen, no edit hits the cache. Exact.

Each case runs in new processes on a copy of the package, with a leaf planted in one file and a `@kernel` and a
`@compiled` function that call it in another. Numba alone would go on with the old machine code, which the third
test shows: it takes the source hash out of the folder's name and sees the old answer.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "kernels" / "logpx"

LEAF = """
from logpx._jit import leaf

@leaf
def planted(x):
    return x + {constant}
"""

CALLERS = """
from numba import types
from logpx._jit import compiled, kernel
from logpx._planted_leaf import planted

@kernel("log_joint")
def log_joint(theta, dims, x, z, out):
    for i in range(out.shape[0]):
        out[i] = planted(z[0, i])

@compiled(types.float64(types.float64))
def once(x):
    return planted(x)
"""

CHILD = """
import json, os
import numba, numpy as np
from logpx import _jit

if os.environ.get("PLANTED_CONSTANT_HASH"):
    _jit.source_hash = lambda: "constant"
from logpx._planted_callers import log_joint, once

out = np.zeros(3)
_jit.compile_kernel(log_joint)
log_joint(np.zeros(1), np.zeros(1, np.int64), np.zeros(1), np.full((1, 3), 0.5), out)
single = once(0.5)
print(json.dumps({
    "kernel": out.tolist(),
    "compiled": single,
    "kernel_hits": sum(log_joint.stats.cache_hits.values()),
    "compiled_hits": sum(once.dispatcher.stats.cache_hits.values()),
    "folder": str(_jit.cache_folder()),
    "numba_folder": numba.config.CACHE_DIR,
}))
"""


@pytest.fixture
def package(tmp_path):
    """A copy of the package that can be edited: only _jit and what is planted, imported by nothing else."""
    copy = tmp_path / "source" / "logpx"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    (copy / "__init__.py").write_text("", encoding="utf-8")
    (copy / "_planted_callers.py").write_text(CALLERS, encoding="utf-8")
    edit_leaf(copy, 1.0)
    return copy


def edit_leaf(package, constant):
    (package / "_planted_leaf.py").write_text(LEAF.format(constant=constant), encoding="utf-8")


def run(package, root, **extra):
    """The answer of a new process; the folder for temporary files is the test's own."""
    temporary = package.parents[1] / "temporary"
    temporary.mkdir(exist_ok=True)
    drop = {"NUMBA_DISABLE_JIT", "NUMBA_CACHE_DIR", "PYTHONPATH"}
    environment = {name: value for name, value in os.environ.items() if name not in drop} | {
        "PYTHONPATH": str(package.parent),
        "PYTHONDONTWRITEBYTECODE": "1",
        "LOGPX_CACHE_DIR": str(root),
        "TMPDIR": str(temporary),
        **extra,
    }
    done = subprocess.run([sys.executable, "-c", CHILD], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_an_edited_leaf_is_seen_and_an_unchanged_one_hits_the_cache(package, tmp_path):
    root = tmp_path / "cache"
    first = run(package, root)
    assert first["kernel"] == [1.5, 1.5, 1.5]
    assert first["compiled"] == 1.5
    assert (first["kernel_hits"], first["compiled_hits"]) == (0, 0)
    assert Path(first["folder"]).parent == root
    assert first["numba_folder"] == "", "Numba's own setting must be as it was after decorating"

    again = run(package, root)
    assert again["kernel"] == [1.5, 1.5, 1.5]
    assert (again["kernel_hits"], again["compiled_hits"]) == (1, 1)
    assert again["folder"] == first["folder"]

    edit_leaf(package, 2.0)
    edited = run(package, root)
    assert edited["kernel"] == [2.5, 2.5, 2.5]
    assert edited["compiled"] == 2.5
    assert edited["folder"] != first["folder"]

    edit_leaf(package, 1.0)
    back = run(package, root)
    assert back["compiled"] == 1.5
    assert (back["kernel_hits"], back["compiled_hits"]) == (1, 1), "the old source finds its old machine code"


def test_a_root_that_cannot_be_written_falls_back_to_a_temporary_folder(package, tmp_path):
    blocked = tmp_path / "a_file"
    blocked.write_text("not a folder", encoding="utf-8")
    answer = run(package, blocked / "cache")
    assert answer["compiled"] == 1.5
    assert Path(answer["folder"]).is_relative_to(tmp_path / "temporary")
    assert blocked.read_text(encoding="utf-8") == "not a folder"


def test_without_the_source_hash_the_old_answer_comes_back(package, tmp_path):
    """The planted bug: a folder that does not depend on the source. If Numba learns to see it, drop the hash."""
    root = tmp_path / "cache"
    assert run(package, root, PLANTED_CONSTANT_HASH="1")["compiled"] == 1.5
    edit_leaf(package, 2.0)
    stale = run(package, root, PLANTED_CONSTANT_HASH="1")
    assert stale["compiled"] == 1.5
    assert stale["kernel"] == [1.5, 1.5, 1.5]
