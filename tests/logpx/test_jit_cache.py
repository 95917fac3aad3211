"""The cache of compiled kernels: an edit of a leaf in another file is seen, no edit hits the cache. Exact.

And it stays whole, or is done without, when its folder cannot be written, goes away, or is shared.

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

@kernel("log_joint", dtypes=("float64", "float32"))
def log_joint(theta, dims, x, z, out):
    for i in range(out.shape[0]):
        out[i] = planted(z[0, i])

@kernel("log_joint")
def past_the_end(theta, dims, x, z, out):
    out[0] = z[0, z.shape[1]]

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


def run(package, root, script=CHILD, **extra):
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
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=300)
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


# -- faults: a folder that cannot be written, goes away, is shared ----------------------------------------------------


@pytest.fixture
def read_only(tmp_path):
    """A folder in which nobody can write, root neither: without the permission, or a file system mounted read-only."""
    folder = tmp_path / "read_only"
    folder.mkdir()
    if os.geteuid() != 0:
        folder.chmod(0o555)
        yield folder
        folder.chmod(0o755)
        return
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "ro,size=64k", "none", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip("root can write everywhere here: this system may not mount a read-only file system")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_read_only_root_falls_back_to_a_temporary_folder(package, tmp_path, read_only):
    with pytest.raises(OSError, match=r"Permission|Read-only"):
        (read_only / "x").touch()
    answer = run(package, read_only / "cache")
    assert answer["compiled"] == 1.5
    assert Path(answer["folder"]).is_relative_to(tmp_path / "temporary")
    assert not list((tmp_path / "temporary").iterdir()), "the temporary folder goes with its process"


FOLDER_GOES = """
import json, os, shutil
import numpy as np
from logpx import _jit
from logpx._planted_callers import log_joint, once

def answer(dtype):
    out, z = np.zeros(3), np.full((1, 3), 0.5, dtype)
    _jit.compile_kernel(log_joint, dtype)
    log_joint(np.zeros(1, dtype), np.zeros(1, np.int64), np.zeros(1, dtype), z, out)
    return out.tolist()

found = {"before": answer("float64")}
shutil.rmtree(_jit.cache_root())
if os.environ.get("PLANTED_FILE"):
    _jit.cache_root().write_text("in the way")
found |= {"after": answer("float32"), "compiled": once(0.5)}
found["back"] = _jit.cache_folder().is_dir()
print(json.dumps(found))
"""


@pytest.mark.parametrize("in_the_way", ["", "1"], ids=["deleted", "a file in its place"])
def test_a_folder_that_goes_away_while_running_costs_no_answer(package, tmp_path, in_the_way):
    found = run(package, tmp_path / "cache", FOLDER_GOES, PLANTED_FILE=in_the_way)
    assert found == {"before": [1.5] * 3, "after": [1.5] * 3, "compiled": 1.5, "back": not in_the_way}


def test_files_of_the_cache_that_a_power_cut_left_empty_are_done_without(package, tmp_path):
    root = tmp_path / "cache"
    run(package, root)
    files = [*root.rglob("*.nbi"), *root.rglob("*.nbc")]
    assert len(files) == 4
    for file in files:
        file.write_bytes(b"")
    assert run(package, root)["kernel"] == [1.5, 1.5, 1.5]


BOUNDS = """
import json
import numpy as np
from logpx import _jit
from logpx._planted_callers import past_the_end

out = np.zeros(3)
_jit.compile_kernel(past_the_end)
try:
    past_the_end(np.zeros(1), np.zeros(1, np.int64), np.zeros(1), np.zeros((2, 3))[:1], out)
except IndexError:
    out[:] = 1.0
print(json.dumps([out.tolist(), sum(past_the_end.stats.cache_hits.values())]))
"""


def test_code_with_bounds_checks_does_not_get_into_the_cache(package, tmp_path):
    """The first process asks for checks, and the second would find its code: neither has any."""
    assert run(package, tmp_path / "cache", BOUNDS, NUMBA_BOUNDSCHECK="1") == [[0.0, 0.0, 0.0], 0]
    assert run(package, tmp_path / "cache", BOUNDS) == [[0.0, 0.0, 0.0], 1]


AT_ONCE = """
import json, os, sys, time
import numpy as np
from logpx import _jit
from logpx._planted_callers import log_joint

n, slow = int(os.environ["N_PROCESSES"]), os.environ.get("SLOW")
if slow:  # Numba's own steps, spread out: both read the index, both take number 1, the second's index, the first's code
    from numba.core.caching import IndexDataCacheFile as File

    load, save = File._load_index, File._save_index

    def slow_load(self):
        found = load(self)
        time.sleep(0.2)
        return found

    def slow_save(self, overloads):
        single = "float32" in str(list(overloads))
        time.sleep(0.3 if single else 0.0)
        save(self, overloads)
        time.sleep(0.0 if single else 0.6)

    File._load_index, File._save_index = slow_load, slow_save

def answer(dtype):
    out, z = np.zeros(3), np.full((1, 3), 0.5, dtype)
    _jit.compile_kernel(log_joint, dtype)
    log_joint(np.zeros(1, dtype), np.zeros(1, np.int64), np.zeros(1, dtype), z, out)
    return out.tolist()

def child(number):
    from_there, to_here = os.pipe()
    if os.fork() == 0:
        try:
            found = [answer(("float64", "float32")[number % 2]), sum(log_joint.stats.cache_hits.values())]
        except BaseException as error:
            found = [repr(error), 0]
        os.write(to_here, json.dumps(found).encode())
        os._exit(0)
    return from_there

log_joint.typingctx.refresh(), log_joint.targetctx.refresh()
together = [json.loads(os.read(pipe, 10_000)) for pipe in [child(number) for number in range(n)]]
later = [json.loads(os.read(child(number), 10_000)) for number in range(2)]
print(json.dumps([together, later]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.parametrize(("n", "slow"), [(8, ""), (2, "1")], ids=["eight", "two, step by step"])
def test_processes_that_compile_at_once_leave_a_whole_cache(package, tmp_path, n, slow):
    """Half of them in another precision: without the lock Numba gives both precisions one file, and it stays so."""
    together, later = run(package, tmp_path / "cache", AT_ONCE, N_PROCESSES=str(n), SLOW=slow)
    assert [answer for answer, _ in together] == [[1.5] * 3] * n
    assert sum(hits for _, hits in together) == n - 2, "the first of each precision compiles, and the others load"
    assert later == [[[1.5] * 3, 1]] * 2


@pytest.mark.large
def test_eight_processes_that_estimate_at_once_from_a_cold_cache_agree(tmp_path):
    """The whole engine, compiled once among them: about a minute."""
    script = "import logpx; m, x = logpx.models.PPCA.example(); print(logpx.estimate(m, x[0], threads=1).log_marginal)"
    environment = os.environ | {"LOGPX_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-c", script]
    started = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(8)]
    answers = {process.communicate(timeout=600)[0] for process in started}
    assert len(answers) == 1
    assert float(answers.pop()) < 0
    assert [process.returncode for process in started] == [0] * 8
