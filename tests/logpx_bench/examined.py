"""What the tests of `logpx check` examine: a model that is right, a constant to break it, and what a check finds."""

import math

import numpy as np

import logpx
from logpx import _jit
from logpx_bench import conformance
from logpx_bench.conformance import FAIL, Subject
from logpx_bench.model_file import Given

CHECKS = {check.name: check for check in conformance.CHECKS}
PRIOR = logpx.proposals.Gaussian([0.0], [1.0])
HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)
X = [[0.3], [-1.0]]


def normal(theta, dims, x, z):
    """z ~ N(0, 1), x ~ N(z, 1): p(x) = N(0, 2)."""
    return -0.5 * z[0] * z[0] - 0.5 * (x[0] - z[0]) ** 2 - 2 * HALF_LOG_2PI


def block(theta, dims, x, z, out):
    for i in range(z.shape[1]):
        out[i] = -0.5 * z[0, i] * z[0, i] - 0.5 * (x[0] - z[0, i]) ** 2 - 2 * HALF_LOG_2PI


def exact(x):
    value = -0.25 * np.asarray(x, dtype=float) ** 2 - 0.5 * np.log(4 * np.pi)
    return float(value[0]) if np.ndim(x) == 1 else value[:, 0]


BLOCK = logpx.log_joint(block)
inside = _jit.inner(block)


@logpx.log_joint
def shifted(theta, dims, x, z, out):
    inside(theta, dims, x, z, out)
    for i in range(z.shape[1]):
        out[i] += theta[0]


def subject(kernel=BLOCK, x=X, scalar=None, x_states=None, proposal=None, **model):
    options = {"n_observed": 1, "prior": PRIOR} | model
    made = logpx.Model(kernel, options.pop("theta", []), 1, **options)
    return Subject("mine.py", Given(made, x, proposal, scalar, x_states))


def found(name, made):
    return CHECKS[name].run(made)


def failed(name, made, said):
    verdict, words, todo = found(name, made)
    assert verdict == FAIL
    assert said in words
    assert todo
    return words
