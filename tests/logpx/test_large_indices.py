"""Samples at indices around 2^31, 2^32, 2^33 and 2^40: what a run sees there is what is replayed, and what the address
says. Exact.

The oracle is Python alone: Philox4x32-10 in integers, the documented words of an address, Box and Muller's transform,
and the densities by hand.
"""

import math

import numpy as np
import pytest

import logpx
from logpx.ladder import Ladder
from logpx.points.base import hashed
from logpx.prepare import prepare
from logpx.tasks import run_task

SEED, REPLICATE, ROW = 11, 2, 1
X = [[0.5], [-0.25], [1.0]]
MEAN, SCALE = [0.3, -0.2], [1.2, 0.9]
N = 2048


@logpx.log_joint(dtypes=("float64", "float32"))
def linear(theta, dims, x, z, out):
    half, quarter = z.dtype.type(0.5), z.dtype.type(0.25)
    for i in range(z.shape[1]):
        apart = x[0] - z[0, i] - quarter * z[1, i]
        out[i] = -half * (z[0, i] * z[0, i] + z[1, i] * z[1, i]) - half * theta[0] * apart * apart


MODEL = logpx.Model(linear, [2.0], 2, n_observed=1, prior=logpx.proposals.Gaussian(MEAN, SCALE))


def philox(c, key):
    k = [key & 0xFFFFFFFF, key >> 32]
    for _ in range(10):
        p0, p1 = c[0] * 0xD2511F53, c[2] * 0xCD9E8D57
        c = [(p1 >> 32) ^ c[1] ^ k[0], p1 & 0xFFFFFFFF, (p0 >> 32) ^ c[3] ^ k[1], p0 & 0xFFFFFFFF]
        k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return c


def box_muller(u, turns, sign, swap):
    radius = math.sqrt(-2 * math.log(u))
    z = [(1 - 2 * sign) * radius * math.cos(2 * math.pi * turns), radius * math.sin(2 * math.pi * turns)]
    return z[::-1] if swap else z


def normals_double(index, key):
    """The two dimensions of a sample: one call, a word of 64 bits for the radius and one for the angle."""
    w = philox([index & 0xFFFFFFFF, index >> 32, 0, ROW], key)
    a, b = w[1] << 32 | w[0], w[3] << 32 | w[2]
    return box_muller((2 * (a >> 12) + 1) / 2**53, (b & (2**52 - 1)) / 2**54 - 0.125, b >> 63, b >> 62 & 1)


def normals_single(index, key):
    """One call a dimension, shared by samples 2i, 2i + 1, 2i + 512, 2i + 513 of a group of 1024."""
    call, pair, half, z = 256 * (index // 1024) + index % 512 // 2, index % 2, index % 1024 // 512, []
    for dimension in range(2):
        w = philox([call & 0xFFFFFFFF, call >> 32, 2**31 + dimension, ROW], key)
        a, b = w[pair], w[2 + pair]
        turns = (2 * (b >> 8 & (2**22 - 1)) + 1) / 2**25 - 0.125
        z.append(box_muller((2 * (a << 8 | b & 255) + 1) / 2**41, turns, b >> 31, b >> 30 & 1)[half])
    return z


NORMALS = {"float64": normals_double, "float32": normals_single}
TOLERANCE = {"float64": 1e-12, "float32": 2e-5}


def log_weight(index, dtype):
    """Latents and log weight of one sample, from its address."""
    eps = NORMALS[dtype](index, int(hashed(SEED, REPLICATE)[0]))
    z = [m + s * e for m, s, e in zip(MEAN, SCALE, eps, strict=True)]
    log_q = sum(-0.5 * e * e - math.log(s) - 0.5 * math.log(2 * math.pi) for e, s in zip(eps, SCALE, strict=True))
    joint = -0.5 * (z[0] ** 2 + z[1] ** 2) - 0.5 * 2.0 * (X[ROW][0] - z[0] - 0.25 * z[1]) ** 2
    return z, joint - log_q


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("power", [31, 32, 33, 40])
def test_a_run_across_a_power_of_two_is_its_replay_and_its_address(power, dtype):
    at = 1 << power
    z, logs = logpx.samples(
        MODEL, X, None, at - N, at + N, seed=SEED, replicate=REPLICATE, row=ROW, dtype=dtype
    )  # fmt: skip
    problem, _ = prepare(MODEL, X, replicates=np.arange(3), seed=SEED, dtype=dtype)
    stream = REPLICATE * len(X) + ROW
    part = problem.part(range(stream, stream + 1))
    for start in (at - N, at):
        ran = run_task(part, start, N, 100, np.full(1, -np.inf)).ladder
        replayed = logs[start - at + N : start - at + 2 * N]
        assert ran == Ladder((1,), tail=99).update(replayed[None], start=start)
    for index in (at - N, at - 257, at - 1, at, at + 1, at + 768, at + N - 1):
        latents, value = log_weight(index, dtype)
        here = index - at + N
        np.testing.assert_allclose(z[here], latents, rtol=0, atol=TOLERANCE[dtype])
        assert logs[here] == pytest.approx(value, abs=10 * TOLERANCE[dtype])
    assert len(np.unique(z, axis=0)) == 2 * N, "indices that wrap around would repeat samples"
