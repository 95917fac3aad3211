"""Parameters by name: packed, unpacked in the kernel, told apart by checkpoints, and sent to other processes. Exact.

The oracle of a kernel with named parameters is NumPy on the arrays themselves; its numbers are small integers, so that
no rounding stands between the two.
"""

import os
import pickle
import subprocess
import sys

import numpy as np
import pytest

import logpx
from logpx import _jit, shipping
from logpx.errors import InputError
from logpx.identity import facts_of
from logpx.models import Model, log_joint, per_sample
from logpx.models.parameters import Layout, pack
from logpx.prepare import prepare
from logpx.proposals import Gaussian

PRIOR = Gaussian([0.0, 0.0], [1.0, 1.0])
THETA = {
    "scale": 2.0,
    "count": [3.0, -1.0],
    "weights": [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]],
    "cube": np.arange(24.0).reshape(2, 3, 4),
}
SHAPES = ((), (2,), (3, 2), (2, 3, 4))
X = np.array([1.0, 2.0, 3.0])
Z = np.random.default_rng(0).integers(-8, 9, (2, 37)).astype(float)


def one(theta, dims, x, z):
    total = theta.scale * theta.count[0] + theta.count[1]
    for i in range(theta.weights.shape[0]):
        for j in range(theta.weights.shape[1]):
            total += x[i] * theta.weights[i, j] * z[j] + theta.cube[j, i, 3]
    return total


def block(theta, dims, x, z, out):
    for s in range(z.shape[1]):
        out[s] = one_compiled(theta, dims, x, z[:, s])


one_compiled = _jit.inner(one)
SCALAR, BLOCK = per_sample(one), log_joint(block)


def expected(theta, z):
    scale, count, weights, cube = (np.asarray(value) for value in theta.values())
    return scale * count[0] + count[1] + X @ weights @ z + cube[:, :, 3].sum()


def values(model, z=Z):
    out = np.full(z.shape[1], np.nan)
    model.log_joint(model.theta.copy(), model.dims, X, z, out)
    return out


def test_arrays_lie_end_to_end_in_the_order_of_the_dict():
    vector, layout = pack(THETA)
    assert layout == Layout(tuple(THETA), SHAPES)
    np.testing.assert_array_equal(vector, [2, 3, -1, 1, 2, 3, 4, 5, 6, *range(24)])
    assert not vector.flags.writeable
    fields = layout.unpack(vector)
    assert fields._fields == tuple(THETA)
    for name, value in THETA.items():
        np.testing.assert_array_equal(getattr(fields, name), value)


@pytest.mark.parametrize("kernel", [SCALAR, BLOCK], ids=["per sample", "block"])
def test_a_kernel_reads_its_parameters_by_name(kernel):
    model = Model(kernel, THETA, 2)
    np.testing.assert_array_equal(values(model), expected(THETA, Z))
    assert model.name == kernel.__name__
    other = THETA | {"scale": 5.0}
    assert Model(kernel, other, 2).log_joint is model.log_joint, "a layout is compiled once"
    assert Model(model.log_joint, other, 2).log_joint is model.log_joint
    np.testing.assert_array_equal(values(Model(kernel, other, 2)), expected(other, Z))


def facts(theta, kernel=SCALAR):
    problem, _ = prepare(Model(kernel, theta, 2, prior=PRIOR), X, None, replicates=np.arange(1))
    problem.compile()
    return facts_of(problem, seed=0, common=False)


def test_a_checkpoint_tells_order_and_values_apart():
    named = THETA | {"cube": np.zeros((2, 3, 4))}
    reordered = {name: named[name] for name in ("count", "scale", "weights", "cube")}
    assert facts(named) == facts(dict(named))
    differ = {
        name
        for other in (reordered, named | {"scale": 3.0})
        for name, value in facts(other).items()
        if value != facts(named)[name]
    }
    assert differ == {"log_joint", "theta"}
    assert facts(reordered)["log_joint"] != facts(named)["log_joint"]
    assert facts(named | {"scale": 3.0})["log_joint"] == facts(named)["log_joint"]


def test_one_vector_under_two_names_and_shapes_is_two_models():
    @per_sample
    def first(theta, dims, x, z):
        return theta.a[0] + z[0]

    same = [facts({"a": np.zeros(4)}, first), facts({"a": [0.0, 0.0], "b": [0.0, 0.0]}, first)]
    assert same[0]["theta"] == same[1]["theta"]
    assert same[0]["log_joint"] != same[1]["log_joint"]


@pytest.mark.parametrize("kernel", [SCALAR, BLOCK], ids=["per sample", "block"])
def test_a_worker_gets_the_kernel_with_its_names(kernel):
    """As a pool of processes does it: pickled, opened, and held against the fingerprint of what was compiled."""
    problem, _ = prepare(Model(kernel, THETA, 2, prior=PRIOR), X, None, replicates=np.arange(1))
    problem.compile()
    sent = pickle.dumps(problem.part(range(1)))
    there = shipping.opened(pickle.loads(sent))
    out = np.full(37, np.nan)
    there.log_joint(there.theta, there.model_dims, X, Z, out)
    np.testing.assert_array_equal(out, expected(THETA, Z))
    with pytest.raises(logpx.WorkerError, match="is not on the worker"):
        shipping._checked(shipping.with_fields, (SCALAR, Layout(("scale",), ((),))), "0" * 32)


PURE = """
import sys
import numpy as np
sys.path.insert(0, {folder!r})
import test_parameters as t
for kernel in (t.SCALAR, t.BLOCK):
    model = t.Model(kernel, t.THETA, 2)
    assert t._jit.DISABLED
    np.testing.assert_array_equal(t.values(model), t.expected(t.THETA, t.Z))
    t._jit.compile_kernel(model.log_joint)
    assert len(t._jit.fact_of(model.log_joint, "float64").split()[1]) == 32
"""


def test_pure_python_reads_the_same():
    folder = os.path.dirname(__file__)
    environment = os.environ | {"NUMBA_DISABLE_JIT": "1"}
    command = [sys.executable, "-c", PURE.format(folder=folder)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("theta", "said"),
    [
        ({}, "theta is an empty dict"),
        ({"two words": 1.0}, "theta has an entry named 'two words'"),
        ({"lambda": 1.0}, "'lambda'.*no keyword"),
        ({"_hidden": 1.0}, "'_hidden'.*underscore"),
        ({3: 1.0}, "an entry named 3"),
        ({"a": 1.0, "b": [1.0, np.nan]}, r"theta\['b'\]\[1\] is nan"),
        ({"a": "text"}, r"theta\['a'\] has dtype <U4"),
        ({"a": []}, r"theta\['a'\] has shape \(0,\) and is empty"),
        ({"a": np.zeros((1, 1, 1, 1))}, r"theta\['a'\] has shape \(1, 1, 1, 1\); it needs 0 or 1 or 2 or 3 axes"),
        ({"a": [[1.0], [1.0, 2.0]]}, r"theta\['a'\] is no array: .*; give rows of equal length"),
        ({"a": {"b": 1.0}}, r"theta\['a'\] has dtype object"),
    ],
)
def test_what_is_no_set_of_named_arrays_is_refused(theta, said):
    with pytest.raises(InputError, match=said):
        Model(SCALAR, theta, 2)


def test_the_first_estimate_says_what_its_kernel_took_to_compile():
    """A kernel of one's own is compiled once a process, and `compile_seconds` has it."""

    @per_sample
    def fresh(theta, dims, x, z):
        return -0.5 * (z[0] - theta.a) ** 2

    model = Model(fresh, {"a": 1.0}, 1, prior=Gaussian([0.0], [1.0]))
    logpx.estimate(logpx.models.ConjugateNormal(), [0.0], n_samples=100)  # the engine, which is not counted below
    first, second = (logpx.estimate(model, [0.0], n_samples=100).compile_seconds for _ in range(2))
    assert first > 0.02
    assert second < 0.1 * first
