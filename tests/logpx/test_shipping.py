"""Tasks that go to other processes: the same bits there, and what does not fit is refused by name. Exact.

What is sent must be found by name where there is one, and travel by value where there is none; that it then computes
the same is seen by equal ladders from pools of processes, spawned and forked.
"""

import concurrent.futures
import importlib
import math
import multiprocessing
import pickle
import sys

import numba
import numpy as np
import pytest

import logpx
from logpx import shipping, tasks
from logpx.errors import NonFiniteWeightError, WorkerError
from logpx.prepare import prepare
from logpx.proposals import Gaussian

N = 100_000
PPCA, X = logpx.models.PPCA.example()
NORMAL = Gaussian([0.0], [1.0])

FILE = """
import logpx
import numba

SCALE = {scale}

@numba.njit
def helper(x):
    return -SCALE * x * x

@logpx.per_sample
def mine(theta, dims, x, z):
    return helper(z[0]) + theta[0]
"""


@pytest.fixture
def user_file(tmp_path, monkeypatch):
    """A function: write a version of a user's file, import it, and give the module."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(scale):
        sys.modules.pop("users_own_model", None)
        (tmp_path / "users_own_model.py").write_text(FILE.format(scale=scale), encoding="utf-8")
        importlib.invalidate_caches()
        return importlib.import_module("users_own_model")

    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # two versions within a second share a stale one
    yield write
    sys.modules.pop("users_own_model", None)
    shipping._on_the_path.cache_clear()


def model_of(kernel):
    return logpx.Model(kernel, [0.25], 1, prior=NORMAL)


def made_here(scale):
    """A kernel that no import finds, with a helper that no import finds."""

    @numba.njit
    def helper(x):
        return -scale * x * x

    @logpx.log_joint(dtypes=("float64", "float32"))
    def block(theta, dims, x, z, out):
        for i in range(z.shape[1]):
            out[i] = helper(z[0, i]) + theta[0]

    return block


def part_of(model, x, **options):
    problem, _ = prepare(model, x, None, replicates=np.arange(1), **options)
    problem.compile()
    return problem.part(range(1))


def sent(part):
    """What arrives of a part that is pickled."""
    return pickle.loads(pickle.dumps(part))


def bits(estimate):
    return estimate.ladder.to_bytes()


# -- what is sent -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("points", ["independent", "sobol"])
def test_logpx_own_kernels_and_points_arrive_as_those_of_the_process(points):
    part = part_of(PPCA, X[0], points=points)
    there = shipping.opened(sent(part))
    for name in ("points", "points_kernel", "proposal_kernel", "log_joint"):
        assert getattr(there, name) is getattr(part, name)
    for name in ("states", "lams", "theta", "x", "model_dims"):
        np.testing.assert_array_equal(getattr(there, name), getattr(part, name))
    assert there.shape == part.shape


def test_what_is_sent_is_small_and_stays_closed_on_the_way():
    """No code travels; a scheduler that reads it and sends it on needs no kernel and changes nothing."""
    part = part_of(PPCA, X[0])
    first = sent(part)
    assert isinstance(first, shipping.Parcel)
    assert sent(first) == first
    assert len(pickle.dumps(part)) < 4096


def test_a_part_that_never_left_is_itself():
    part = part_of(PPCA, X[0])
    assert shipping.opened(part) is part


def test_a_kernel_without_a_name_is_made_anew_once():
    part = part_of(model_of(made_here(0.5)), [0.0])
    first, second = (shipping.opened(sent(part)).log_joint for _ in range(2))
    assert first is second
    assert first is not part.log_joint
    assert (first.kind, first.dtypes) == ("log_joint", ("float64", "float32"))


def test_a_kernel_in_a_file_is_sent_by_name(user_file):
    module = user_file(0.5)
    part = part_of(model_of(module.mine), [0.0])
    assert shipping._address(part.log_joint) == ("users_own_model", "mine")
    assert shipping.opened(sent(part)).log_joint is module.mine


def test_a_module_that_no_path_leads_to_is_not_trusted_to_be_found(user_file):
    """Loaded from a file by hand, it is in sys.modules here, and a new process would not find it."""
    module = user_file(0.5)
    sys.path.remove(next(path for path in sys.path if module.__file__.startswith(path) and path))
    shipping._on_the_path.cache_clear()
    part = part_of(model_of(module.mine), [0.0])
    assert shipping._address(part.log_joint) is None


def test_a_global_that_is_changed_later_changes_nothing_or_is_refused():
    """The kernel compiled here keeps the value that it saw; none made anew elsewhere may see another."""
    source = "import logpx\nSHIFT = 1.0\n@logpx.per_sample\ndef f(theta, dims, x, z):\n    return SHIFT - z[0] * z[0]\n"
    names = {"__name__": "__main__"}
    exec(source, names)
    first = sent(part_of(model_of(names["f"]), [0.0]))
    names["SHIFT"] = 2.0
    later = sent(part_of(model_of(names["f"]), [0.0]))
    assert shipping.opened(first).log_joint is shipping.opened(later).log_joint

    exec(source, names)
    compiled = part_of(model_of(names["f"]), [0.0])
    names["SHIFT"] = 2.0
    with pytest.raises(WorkerError, match="a global that the kernel reads was changed"):
        shipping.opened(sent(compiled))


# -- what is refused ----------------------------------------------------------------------------------------------


def test_another_build_is_refused_by_both_names(monkeypatch):
    part = part_of(PPCA, X[0])
    here = shipping.build()
    monkeypatch.setattr(shipping, "build", lambda: here._replace(source="0123456789abcdef", cpu_target="other-cpu"))
    foreign = sent(part)
    monkeypatch.undo()
    with pytest.raises(WorkerError, match=f"source {here.source} and not 0123456789abcdef") as refused:
        tasks.run_task(foreign, 0, 1024, 1, np.zeros(1))
    assert f"cpu target {here.cpu_target} and not other-cpu" in str(refused.value)
    assert "python" not in str(refused.value)


def test_another_version_of_the_users_file_is_refused(user_file):
    arrived = sent(part_of(model_of(user_file(0.5).mine), [0.0]))
    user_file(0.25)  # only the number that its helper reads has changed
    with pytest.raises(WorkerError, match="the kernel mine is not on the worker"):
        shipping.opened(arrived)
    user_file(0.5)
    assert shipping.opened(arrived).log_joint is sys.modules["users_own_model"].mine


def test_a_file_that_is_not_there_is_named(user_file, tmp_path):
    arrived = sent(part_of(model_of(user_file(0.5).mine), [0.0]))
    sys.modules.pop("users_own_model")
    (tmp_path / "users_own_model.py").unlink()
    importlib.invalidate_caches()
    with pytest.raises(WorkerError, match="cannot import mine of the module users_own_model: ModuleNotFoundError"):
        shipping.opened(arrived)


# -- processes ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["spawn", "fork"])
def pool(request):
    if request.param not in multiprocessing.get_all_start_methods():
        pytest.skip(f"this system cannot {request.param}")
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=multiprocessing.get_context(request.param)) as processes:
        yield processes


def test_processes_give_the_same_bits(pool):
    options = {"n_samples": N, "n_replicates": 2}
    assert bits(logpx.estimate(PPCA, X[:3], executor=pool, **options)) == bits(logpx.estimate(PPCA, X[:3], **options))


def test_a_kernel_without_a_name_gives_the_same_bits_in_processes(pool):
    model = model_of(made_here(0.7))
    there = logpx.estimate(model, [0.0], n_samples=N, dtype="float32", executor=pool)
    assert bits(there) == bits(logpx.estimate(model, [0.0], n_samples=N, dtype="float32"))


def test_a_nan_comes_back_with_its_sample(pool):
    @logpx.per_sample
    def bad(theta, dims, x, z):
        return math.nan if z[0] > 3.5 else -0.5 * z[0] * z[0]

    told = []
    for executor in (None, pool):
        with pytest.raises(NonFiniteWeightError) as error:
            logpx.estimate(model_of(bad), [[0.0]] * 3, n_samples=N, executor=executor)
        told.append((str(error.value), error.value.index, error.value.row, error.value.z[0]))
    assert told[0] == told[1]


def test_what_a_kernel_raises_comes_back(pool):
    @logpx.per_sample
    def raises(theta, dims, x, z):
        if z[0] > 3.0:
            raise ValueError("too far out")
        return -0.5 * z[0] * z[0]

    with pytest.raises(ValueError, match="too far out"):
        logpx.estimate(model_of(raises), [0.0], n_samples=N, executor=pool)


def test_a_spawned_process_imports_the_users_file(user_file):
    module = user_file(0.5)
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as processes:
        there = logpx.estimate(model_of(module.mine), [0.0], n_samples=N, executor=processes)
        assert bits(there) == bits(logpx.estimate(model_of(module.mine), [0.0], n_samples=N))
        assert processes.submit(eval, "'users_own_model' in __import__('sys').modules").result()


class Twice(concurrent.futures.ThreadPoolExecutor):
    """Runs every task twice, the second time for its result: a worker that was thought lost, and was not."""

    def submit(self, fn, /, *args, **kwargs):
        super().submit(fn, *args, **kwargs).add_done_callback(lambda first: self.firsts.append(first.result()))
        return super().submit(fn, *args, **kwargs)

    firsts: list


def test_a_task_that_runs_twice_counts_once():
    with Twice(2) as twice:
        twice.firsts = []
        there = logpx.estimate(PPCA, X[:3], n_samples=N, groups=(50,), executor=twice)
    assert bits(there) == bits(logpx.estimate(PPCA, X[:3], n_samples=N, groups=(50,)))
    assert len(twice.firsts) >= 3
