"""Models of a user's own: the two decorators, and every way to get `Model` wrong. Exact tests."""

import numba
import numpy as np
import pytest

import logpx
from logpx import _jit
from logpx.errors import InputError
from logpx.models import LatentModel, Model, log_joint, per_sample
from logpx.proposals import Gaussian, Uniform

Z = np.random.default_rng(0).standard_normal((2, 37))
THETA, DIMS, X = np.array([2.0, -1.0]), np.array([2], dtype=np.int64), np.array([0.3, 0.4])


def plain(theta, dims, x, z):
    return -0.5 * (z[0] * z[0] + z[1] * z[1]) - 0.5 * theta[0] * (x[0] - z[0] * z[1]) ** 2 + theta[1] * x[1]


def fill(theta, dims, x, z, out):
    for i in range(z.shape[1]):
        out[i] = -0.5 * (z[0, i] ** 2 + z[1, i] ** 2) - 0.5 * theta[0] * (x[0] - z[0, i] * z[1, i]) ** 2
        out[i] += theta[1] * x[1]


EXPECTED = np.array([plain(THETA, DIMS, X, z) for z in Z.T])


@pytest.mark.parametrize(
    "kernel",
    [log_joint(fill), log_joint(numba.njit(fill)), per_sample(plain), per_sample(numba.njit(plain))],
    ids=["block", "block under njit", "scalar", "scalar under njit"],
)
def test_decorated_functions_are_kernels_of_the_engines_signature(kernel):
    _jit.compile_kernel(kernel)
    out = np.full(37, np.nan)
    kernel(THETA, DIMS, X, Z, out)
    np.testing.assert_allclose(out, EXPECTED, rtol=1e-14)
    assert (kernel.kind, kernel.dtypes) == ("log_joint", ("float64",))
    assert kernel.__name__ in ("plain", "fill")
    model = Model(kernel, THETA, 2, dims=(2,))
    assert isinstance(model, LatentModel)
    assert model.name == kernel.__name__


def test_per_sample_keeps_the_scalar_form():
    assert per_sample(plain).scalar is plain
    assert per_sample(numba.njit(plain)).scalar is plain


def test_dtypes_are_declared():
    kernel = per_sample(dtypes=("float64", "float32"))(plain)
    assert kernel.dtypes == ("float64", "float32")
    out = np.empty(37)
    kernel(THETA.astype("f4"), DIMS, X.astype("f4"), Z.astype("f4"), out)
    np.testing.assert_allclose(out, EXPECTED, rtol=1e-5)
    assert log_joint(dtypes="float32")(fill).dtypes == ("float32",)
    with pytest.raises(InputError, match="name one or both of"):
        log_joint(dtypes=("float16",))


def test_what_cannot_be_decorated():
    with pytest.raises(InputError, match="is not a Python function"):
        per_sample(np.sin)
    with pytest.raises(InputError, match="plain is a kernel already"):
        log_joint(per_sample(plain))


KERNEL = per_sample(plain)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((plain, THETA, 2), {}, "plain is not a kernel: put @logpx.log_joint on it .* or @logpx.per_sample"),
        ((numba.njit(plain), THETA, 2), {}, "plain is not a kernel"),
        ((Gaussian([0.0], [1.0]).kernel, THETA, 2), {}, "kernel of kind proposal"),
        ((KERNEL, [1.0, np.nan], 2), {}, r"theta\[1\] is nan"),
        ((KERNEL, [[1.0]], 2), {}, r"theta has shape \(1, 1\); it needs 1 axes"),
        ((KERNEL, ["a"], 2), {}, "theta has dtype"),
        ((KERNEL, THETA, 0), {}, "n_latents=0: a whole number from 1"),
        ((KERNEL, THETA, 1.5), {}, "n_latents=1.5"),
        ((KERNEL, THETA, True), {}, "n_latents=True"),
        ((KERNEL, THETA, 2), {"dims": (1.5,)}, r"dims\[0\]=1.5"),
        ((KERNEL, THETA, 2), {"dims": 3}, r"dims is 3; give a sequence of whole numbers, such as \(3,\)"),
        ((KERNEL, [[1.0], [1.0, 2.0]], 2), {}, "theta is no array"),
        ((KERNEL, THETA, 2), {"prior": Gaussian([0.0], [1.0])}, "the prior has 1 latents and the model 2"),
        ((KERNEL, THETA, 2), {"prior": "normal"}, "prior is a str; give a proposal"),
        ((KERNEL, THETA, 2), {"default_proposal": 3}, "default_proposal is a int"),
        ((KERNEL, THETA, 2), {"log_marginal": 3.0}, "log_marginal is 3.0; give a function of x"),
        ((KERNEL, THETA, 2), {"n_observed": 0}, "n_observed=0"),
    ],
)
def test_misuse_says_what_is_wrong(arguments, options, message):
    with pytest.raises(InputError, match=message):
        Model(*arguments, **options)


def test_what_is_left_out_is_none():
    model = Model(KERNEL, [], 2)
    assert model.prior is model.default_proposal is model.log_marginal is model.grad is model.n_observed is None
    assert model.theta.shape == (0,)
    assert model.dims.dtype == np.int64


def test_default_proposal_is_a_proposal_or_a_function():
    q = Gaussian([0.0, 0.0], [1.0, 1.0])
    assert Model(KERNEL, THETA, 2, default_proposal=q).default_proposal(X) is q
    assert Model(KERNEL, THETA, 2, default_proposal=lambda x: q).default_proposal(X) is q
    unbound = Uniform()
    assert Model(KERNEL, THETA, 2, default_proposal=unbound).default_proposal(X) is unbound


def test_theta_is_a_read_only_copy():
    theta = np.array([1, 2])
    model = Model(KERNEL, theta, 2)
    theta[0] = 9
    np.testing.assert_array_equal(model.theta, [1.0, 2.0])
    assert not model.theta.flags.writeable


def no_return(theta, dims, x, z):
    z[0] + 1.0


def whole_block(theta, dims, x, z):
    return x


def imports_inside(theta, dims, x, z):
    from scipy import stats

    return stats.norm.logpdf(z[0])


@pytest.mark.parametrize("function", [no_return, whole_block, imports_inside])
def test_a_function_that_does_not_compile_is_named(function):
    model = Model(per_sample(function), THETA, 1, prior=Gaussian([0.0], [1.0]))
    with pytest.raises(InputError, match=rf"kernel {function.__name__} does not compile.*returns one float") as caught:
        logpx.estimate(model, [0.3], n_samples=10)
    assert "\n" not in str(caught.value), "a few lines of the compiler's, on one"


@pytest.mark.parametrize(
    ("decorate", "function", "says"),
    [
        (per_sample, lambda x, z: 0.0, r"takes 2 arguments; it must take 4: .*\(theta, dims, x, z\)"),
        (log_joint, no_return, r"takes 4 arguments; it must take 5: .*\(theta, dims, x, z, out\)"),
    ],
    ids=["per_sample", "log_joint"],
)
def test_the_number_of_arguments_is_checked_when_decorated(decorate, function, says):
    with pytest.raises(InputError, match=says):
        decorate(function)
