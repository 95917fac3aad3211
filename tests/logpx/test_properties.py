"""Properties, by hypothesis: any split and any merges give one ladder; no input raises anything but a LogpxError.

What is tried is found by hypothesis from a fixed seed (`derandomize`), so that a pass is a pass for good.
"""

import itertools
import math

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import logpx
from logpx._jit import BLOCK
from logpx.errors import LogpxError
from logpx.ladder import Ladder

STEADY = {"derandomize": True, "deadline": None, "suppress_health_check": list(HealthCheck)}


# -- any split, any order ---------------------------------------------------------------------------------------------


@st.composite
def streams(draw):
    """Weights (2, n), zero weights and far outliers among them, the edges of a split, and where the stream begins."""
    sizes = draw(st.lists(st.one_of(st.integers(1, 40), st.integers(1, 3 * BLOCK)), min_size=1, max_size=8))
    n, rng = sum(sizes), np.random.default_rng(draw(st.integers(0, 2**32)))
    weights = rng.normal(0.0, draw(st.sampled_from([0.1, 3.0, 200.0])), (2, n))
    weights[rng.random((2, n)) < draw(st.sampled_from([0.0, 0.01, 0.9]))] = -math.inf
    start = draw(st.sampled_from([0, 1, BLOCK, 3 * BLOCK + 7, (1 << 32) - 100, (1 << 40) - BLOCK]))
    return weights, np.cumsum([0, *sizes]).tolist(), start


@given(streams(), st.randoms(use_true_random=False))
@settings(max_examples=60, **STEADY)
def test_any_tree_of_merges_of_any_split_gives_the_same_ladder(stream, random):
    weights, edges, start = stream
    whole = Ladder((2,)).update(weights, start)
    parts = [Ladder((2,)).update(weights[:, a:b], start + a) for a, b in itertools.pairwise(edges)]
    while len(parts) > 1:
        left, right = (parts.pop(random.randrange(len(parts))) for _ in range(2))
        before = right.to_bytes()
        parts.append(left.merge(right))
        assert right.to_bytes() == before
        if random.random() < 0.3:
            parts.append(Ladder.from_bytes(parts.pop().to_bytes()))
    assert parts[0] == whole
    assert parts[0].spans == ((start, start + weights.shape[1]),)


@given(streams())
@settings(max_examples=30, **STEADY)
def test_what_a_ladder_says_is_finite_where_it_can_be(stream):
    weights, _, start = stream
    estimate = Ladder((2,)).update(weights, start).estimate()
    assert not np.isnan(estimate.log_marginal).any()
    np.testing.assert_array_equal(np.isneginf(estimate.log_marginal), np.isneginf(weights).all(axis=1))
    np.testing.assert_array_equal(estimate.n_neg_inf, np.isneginf(weights).sum(axis=1))
    assert np.all((estimate.ess >= 0) & (estimate.ess <= weights.shape[1] * (1 + 1e-12)))
    assert np.all(np.isneginf(estimate.elbo) == np.isneginf(weights).any(axis=1))


# -- no input raises anything but a LogpxError ---------------------------------------------------------------------

#: Whole numbers that are small, or too large for anything: those between would be valid, and would run for hours.
WHOLE = st.one_of(st.integers(-3, 20), st.sampled_from([2**62 + 1, 2**64, -(2**63), 10**400]))
FLOATS = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True).filter(lambda x: not (20 < x < 2.0**63 and x.is_integer())),
    st.sampled_from([0.0, -0.0, 1e-320, 1e308, 0.5]),
)
SCALARS = st.one_of(
    st.none(), st.booleans(), WHOLE, FLOATS, st.text(max_size=3), st.binary(max_size=9), st.complex_numbers()
)
ARRAYS = st.one_of(
    hnp.arrays(hnp.scalar_dtypes(), hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)),
    hnp.arrays(np.float64, st.integers(0, 3000), elements=st.floats(-800, 800) | st.just(-math.inf), fill=st.just(0.0)),
    hnp.arrays(np.float64, (2, 5), elements=st.floats(allow_nan=True, allow_infinity=True)),
)
LADDERS = st.builds(
    lambda n, start, shape: Ladder(shape).update(np.zeros((*shape, n)), start),
    st.integers(0, 1500), st.sampled_from([0, 5, 1024, 2**62 - 1500]), st.sampled_from([(), (2,), (2, 1)]),
)  # fmt: skip
ANYTHING = st.one_of(
    SCALARS,
    ARRAYS,
    LADDERS,
    st.lists(SCALARS, max_size=4),
    st.tuples(WHOLE, WHOLE),
    st.dictionaries(st.text(max_size=2), SCALARS, max_size=2),
    st.just(object()),
    st.just(np.float64),
    st.just(lambda x: x),
)


def only_foreseen(ask, *arguments, **named):
    """Call it; None where it raised a LogpxError, and any other exception is the test's failure."""
    try:
        return ask(*arguments, **named)
    except LogpxError:
        return None


@given(ANYTHING, ANYTHING, ANYTHING)
@settings(max_examples=400, **STEADY)
def test_a_ladder_raises_nothing_unforeseen(one, two, three):
    only_foreseen(Ladder, one, tail=two)
    before = Ladder().update(np.linspace(-3.0, 0.0, 1100), start=3).to_bytes()
    for method, arguments in (("update", (one, two)), ("merge", (one,)), ("concat", (one,))):
        ladder = Ladder.from_bytes(before)
        if only_foreseen(getattr(ladder, method), *arguments) is None:
            assert ladder.to_bytes() == before, "what is refused leaves a ladder as it was"
    estimate = ladder.estimate()
    only_foreseen(ladder.bound, one)
    only_foreseen(ladder.richardson, one, two)
    only_foreseen(estimate.interval, one)
    only_foreseen(estimate.bound, one)
    only_foreseen(estimate.richardson, two, three)
    only_foreseen(Ladder.from_bytes, one)
    only_foreseen(logpx.logsumexp, one, two)


@given(st.binary(max_size=200), st.integers(0, 10_000), st.integers(1, 255))
@settings(max_examples=200, **STEADY)
def test_bytes_that_are_damaged_raise_nothing_unforeseen(junk, at, flip):
    whole = bytearray(Ladder((2,)).update(np.linspace([-3.0, -2.0], 0.0, 1300).T).to_bytes())
    at %= len(whole)
    flipped = bytearray(whole)
    flipped[at] ^= flip
    for damaged in (junk, whole[:at] + junk, whole + junk, flipped):
        only_foreseen(Ladder.from_bytes, bytes(damaged))


MODEL, X = logpx.models.PPCA.example()
#: Arguments of estimate, samples and plan.
NAMES = ["x", "proposal", "points", "n_replicates", "groups", "seed", "dtype", "common", "threads"]


#: Of estimate alone.
MORE = ["model", "n_samples", "target_std_error", "executor", "checkpoint"]


@given(st.sampled_from([*NAMES, *MORE]), ANYTHING)
@settings(max_examples=400, **STEADY)
def test_an_estimate_raises_nothing_unforeseen(name, value):
    if name == "checkpoint" and isinstance(value, str):
        return  # it would be made: test_checkpoint tries places
    arguments = {"model": MODEL, "x": X[0], "n_samples": 300, "threads": 1} | {name: value}
    only_foreseen(logpx.estimate, **arguments)


@given(st.sampled_from(["x", "proposal", "start", "stop", "seed", "replicate", "row", "points", "dtype"]), ANYTHING)
@settings(max_examples=200, **STEADY)
def test_a_replay_raises_nothing_unforeseen(name, value):
    only_foreseen(logpx.samples, **({"model": MODEL, "x": X[0]} | {name: value}))


@given(st.sampled_from(["x", "proposal", "target_std_error", "pilot_samples", "points", "timing_seconds"]), ANYTHING)
@settings(max_examples=40, **STEADY)
def test_a_plan_raises_nothing_unforeseen(name, value):
    arguments = {"model": MODEL, "x": X[0], "target_std_error": 1e-3, "pilot_samples": 1024, "timing_seconds": 1e-4}
    if name == "timing_seconds" and isinstance(value, float) and math.isfinite(value):
        value = math.copysign(min(abs(value), 1e-3), value)
    only_foreseen(logpx.plan, **(arguments | {name: value}))
