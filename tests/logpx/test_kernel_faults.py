"""Kernels that misbehave while they run: they raise, give nan, or read and write past the ends of their arrays. Exact.

Each fault is really committed by a kernel of a user's, in a short run and on threads. The guard rows keep what lies
beyond from harm, so that the process can go on to say what was wrong.
"""

import os
import pickle
import subprocess
import sys

import numpy as np
import pytest

import logpx
from logpx.errors import KernelError, NonFiniteWeightError

Q = logpx.proposals.Gaussian([0.0], [1.0])
LONG = 3 << 20


def model_of(function, decorate=logpx.log_joint):
    return logpx.Model(decorate(function), [1.0], 1, n_observed=1, prior=Q)


def fails(model, error, match, *, n_samples, **how):
    with pytest.raises(error, match=match) as caught:
        logpx.estimate(model, [0.0], n_samples=n_samples, **how)
    return caught.value


# -- raising -------------------------------------------------------------------------------------------------------


def raises_in_a_sample(theta, dims, x, z):
    if z[0] > 4.0:
        raise ValueError("too large")
    return -0.5 * z[0] * z[0]


def raises_when_all_is_written(theta, dims, x, z, out):
    high = 0.0
    for i in range(z.shape[1]):
        out[i] = -0.5 * z[0, i] * z[0, i]
        high = max(high, z[0, i])
    if high > 4.0:
        raise ZeroDivisionError


@pytest.mark.parametrize(
    ("model", "what"),
    [
        (model_of(raises_in_a_sample, logpx.per_sample), "ValueError: too large"),
        (model_of(raises_when_all_is_written), "ZeroDivisionError"),
    ],
    ids=["per sample", "at the end of a block"],
)
@pytest.mark.parametrize("threads", [1, 3])
def test_a_kernel_that_raises_is_named_with_the_block_it_was_at(model, what, threads):
    first = int(np.argmax(logpx.samples(model_of(ok), [0.0], Q, 0, LONG).z[:, 0] > 4.0))
    assert first > 1024
    said = fails(model, KernelError, what, n_samples=LONG, threads=threads)
    assert f"log_joint kernel {model.name} " in str(said)
    assert f"in the block of samples from {first - first % 1024} on" in str(said)
    assert type(said.__cause__).__name__ in what
    assert str(pickle.loads(pickle.dumps(said))) == str(said)


def test_a_kernel_that_raises_in_a_replay_is_named_too():
    with pytest.raises(KernelError, match="raised ValueError: too large, at row 0 of x"):
        logpx.samples(model_of(raises_in_a_sample, logpx.per_sample), [0.0], Q, 0, LONG)


def ok(theta, dims, x, z, out):
    for i in range(z.shape[1]):
        out[i] = -0.5 * z[0, i] * z[0, i]


def test_what_raises_in_one_row_of_x_says_which():
    def raises_for_a_row(theta, dims, x, z):
        if x[0] > 1.5:
            raise ValueError("no such x")
        return -0.5 * z[0] * z[0]

    model = model_of(raises_for_a_row, logpx.per_sample)
    with pytest.raises(KernelError, match="no such x, at row 2 of x"):
        logpx.estimate(model, [[0.0], [1.0], [2.0], [0.5]], n_samples=3000)


# -- nan, and what is not written -------------------------------------------------------------------------------------


def gives_nan(theta, dims, x, z):
    return np.nan if z[0] > 3.0 else -0.5 * z[0] * z[0]


def leaves_cells_out(theta, dims, x, z, out):
    for i in range(z.shape[1] - 1):
        out[i] = -0.5 * z[0, i] * z[0, i]


@pytest.mark.parametrize(
    "model", [model_of(gives_nan, logpx.per_sample), model_of(leaves_cells_out)], ids=lambda model: model.name
)
def test_nan_is_an_error_that_replays_the_sample(model):
    said = fails(model, NonFiniteWeightError, "the log weight is nan", n_samples=LONG, threads=2)
    assert np.isnan(logpx.samples(model, [0.0], Q, said.index, said.index + 1).log_weights[0])


# -- out of bounds ----------------------------------------------------------------------------------------------------


def writes_past_the_end_of_out(theta, dims, x, z, out):
    for i in range(z.shape[1] + 1):
        out[i] = -0.5


def writes_before_out(theta, dims, x, z, out):
    for i in range(z.shape[1]):
        out[i] = -0.5
    out[-1 - z.shape[1]] = 0.0


def writes_a_latent_too_many(theta, dims, x, z, out):
    for i in range(z.shape[1]):
        out[i] = -0.5
        z[1, i] = 0.0


def writes_far_from_the_ends(theta, dims, x, z, out):
    for i in range(z.shape[1]):
        out[i] = -0.5
    out[z.shape[1] + 700] = 1.0


def adds_past_the_end_of_out(theta, dims, x, z, out):
    """A nan stays a nan when something is added: its bits do not."""
    for i in range(z.shape[1]):
        out[i] = -0.5
    for i in range(z.shape[1]):
        out[i + 1] -= 0.25


@pytest.mark.parametrize(
    ("function", "array"),
    [
        (writes_past_the_end_of_out, "out"),
        (writes_before_out, "out"),
        (writes_a_latent_too_many, "z"),
        (writes_far_from_the_ends, "out"),
        (adds_past_the_end_of_out, "out"),
    ],
)
@pytest.mark.parametrize("n_samples", [100, LONG])
def test_a_write_past_an_end_is_caught_and_the_kernel_named(function, array, n_samples):
    said = fails(model_of(function), KernelError, f"past an end of its array {array}", n_samples=n_samples)
    assert f"the log_joint kernel {function.__name__} of model" in str(said)
    assert "NUMBA_BOUNDSCHECK=1" in str(said)


def reads_a_latent_too_many(theta, dims, x, z, out):
    for i in range(z.shape[1]):
        out[i] = -0.5 * z[1, i] * z[1, i]


def test_a_read_past_an_end_finds_nan():
    said = fails(model_of(reads_a_latent_too_many), NonFiniteWeightError, "BOUNDSCHECK", n_samples=100)
    assert said.index == 0


@pytest.mark.parametrize(
    ("function", "array"), [(writes_a_latent_too_many, "array z"), (adds_past_the_end_of_out, "array out")]
)
def test_a_write_past_an_end_in_single_precision(function, array):
    kernel = logpx.log_joint(dtypes=("float64", "float32"))(function)
    fails(logpx.Model(kernel, [1.0], 1, prior=Q), KernelError, array, n_samples=100, dtype="float32")


def reads_one_too_many(theta, dims, x, z):
    return -0.5 * z[1] * z[1]


def writes_one_too_many(theta, dims, x, z):
    z[1] = 2.0
    return -0.5 * z[0] * z[0]


def adds_one_before(theta, dims, x, z):
    z[-2] += 2.0
    return -0.5 * z[0] * z[0]


@pytest.mark.parametrize(
    ("function", "error", "words"),
    [
        (reads_one_too_many, NonFiniteWeightError, "the log weight is nan"),
        (writes_one_too_many, KernelError, "it writes past an end of z"),
        (adds_one_before, KernelError, "it writes past an end of z"),
    ],
)
def test_a_function_of_one_sample_is_guarded_too(function, error, words):
    kernel = logpx.per_sample(dtypes=("float64", "float32"))(function)
    for dtype in ("float64", "float32"):
        fails(logpx.Model(kernel, [1.0], 1, prior=Q), error, words, n_samples=100, dtype=dtype)


BOUNDS = """
import numba, logpx

def reads_x(theta, dims, x, z):
    return -0.5 * z[0] * z[0] + 0.0 * x[3]

def scalar(theta, dims, x, z, out):
    for i in range(z.shape[1]):
        out[i] = -0.5 * theta[7]

q = logpx.proposals.Gaussian([0.0], [1.0])
for kernel in (logpx.per_sample(reads_x), logpx.log_joint(scalar)):
    try:
        logpx.estimate(logpx.Model(kernel, [1.0], 1, prior=q), [0.0, 0.0, 0.0], n_samples=2000)
        print("ran")
    except logpx.KernelError as error:
        print("KernelError", type(error.__cause__).__name__, "at", kernel.__name__, kernel.__name__ in str(error))
from logpx.driver import run_streams
print(sum(run_streams["float64"].dispatcher.stats.cache_hits.values()), numba.config.BOUNDSCHECK)
"""


def test_bounds_checks_find_an_index_out_of_range():
    """Past x and theta lies what may be read without a trace; the library's own kernels come from the cache as ever."""
    logpx.estimate(model_of(ok), [0.0], n_samples=1)  # so that the driver is in the cache
    done = subprocess.run(
        [sys.executable, "-c", BOUNDS],
        env=os.environ | {"NUMBA_BOUNDSCHECK": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    found = ["KernelError IndexError at reads_x True", "KernelError IndexError at scalar True"]
    assert done.stdout.splitlines() == [*found, "1 1"]
