"""Exact tests of the ladder: brute force over groups, splits, merges, bytes and refusals."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logpx._jit import BLOCK
from logpx.errors import InputError, LadderError, NonFiniteWeightError, NotAvailableError, NotIndependentError
from logpx.ladder import MAX_INDEX, Ladder

INF = math.inf
_LD = np.longdouble


def join(a, b):
    """log((e^a + e^b)/2) in extended precision, −inf allowed."""
    with np.errstate(invalid="ignore"):
        high, low = np.maximum(a, b), np.minimum(a, b)
        out = high + np.log1p(np.exp(low - high)) - np.log(_LD(2))
    return np.where(np.isneginf(high), -INF, out)


def brute_force(log_weights):
    """L of every group by level, from the definition of the order: halves inside a block, neighbours above.

    Returns a list of arrays (groups, 2^0 …): level → (L, Δ, R1, R2) with nan where a quantity does not exist.
    """
    levels = []
    values = log_weights.astype(_LD).reshape(-1, BLOCK)
    gaps = np.full(values.shape, np.nan, dtype=_LD)
    levels.append((values.ravel(), None, None, None))
    first = True
    while values.size > 1:
        if values.shape[1] > 1:
            half = values.shape[1] // 2
            a, b, ga, gb = values[:, :half], values[:, half:], gaps[:, :half], gaps[:, half:]
        else:
            a, b, ga, gb = values[::2], values[1::2], gaps[::2], gaps[1::2]
        up = join(a, b)
        with np.errstate(invalid="ignore"):
            gap = up - (a + b) / 2
            r1 = up + gap
            r2 = up + (5 * gap - (ga + gb) / 2) / 3
        levels.append((up.ravel(), gap.ravel(), r1.ravel(), None if first else r2.ravel()))
        values, gaps, first = up, gap, False
    return levels


def check_levels(log_weights, rtol):
    """Compare every level with brute force; second moments to rtol, means to a few ulps of the values."""
    read, n = Ladder().update(log_weights).levels, log_weights.size
    scale = max(1.0, float(np.max(np.abs(log_weights))))
    for level, (values, *_) in enumerate(brute_force(log_weights)):
        assert read.k[level] == 1 << level
        assert read.n_groups[level] == n >> level
        assert read.mean[level] == pytest.approx(float(values.mean()), abs=1e-15 * scale)
        if values.size > 1:
            assert read.variance[level] == pytest.approx(float(values.var(ddof=1)), rel=rtol)
    return read


@pytest.mark.parametrize("spread", [0.1, 2.0, 6.0, 9.0, 20.0, 300.0, 5000.0])
def test_levels_are_those_of_brute_force(spread):
    log_weights = np.random.default_rng(3).normal(-40.0, spread, 8 * BLOCK)
    read = check_levels(log_weights, rtol=1e-11)
    for level, (_, gap, r1, r2) in enumerate(brute_force(log_weights)):
        if level == 0:
            continue
        assert read.gap[level - 1] == pytest.approx(float(gap.mean()), rel=1e-11)
        if gap.size > 1:
            assert read.gap_variance[level - 1] == pytest.approx(float(gap.var(ddof=1)), rel=1e-9)
        for order, values in ((1, r1), (2, r2)):
            if values is None:
                continue
            reading = read_richardson(log_weights, 1 << (level - order), order)
            assert reading.value == pytest.approx(float(values.mean()), abs=1e-13 * max(40.0, spread))
            if values.size >= 32:
                error = float(values.std(ddof=1) / np.sqrt(values.size))
                assert reading.std_error == pytest.approx(error, rel=1e-9)
            else:
                assert math.isnan(reading.std_error)


def read_richardson(log_weights, k, order):
    return Ladder().update(log_weights).richardson(k, order)


def test_richardson_is_the_textbook_combination():
    log_weights = np.random.default_rng(5).normal(0.0, 1.0, 4 * BLOCK)
    ladder = Ladder().update(log_weights)
    l1, l2, l4 = (ladder.bound(k).value for k in (8, 16, 32))
    assert ladder.richardson(8, 1).value == pytest.approx(2 * l2 - l1, abs=1e-13)
    assert ladder.richardson(8, 2).value == pytest.approx((8 * l4 - 6 * l2 + l1) / 3, abs=1e-13)


def test_one_weight_among_others_600_nats_and_more_below():
    """The case in which a common maximum makes level 1 wrong by more than a thousand nats."""
    log_weights = np.random.default_rng(4).normal(-2000.0, 3.0, 2 * BLOCK)
    log_weights[7] = 0.0
    check_levels(log_weights, rtol=1e-12)


@pytest.mark.parametrize("cv", [1e-4, 1e-8, 1e-10])
def test_tiny_coefficients_of_variation_keep_their_error(cv):
    rng = np.random.default_rng(6)
    deviations = cv * rng.standard_normal(4 * BLOCK)
    estimate = Ladder().update(deviations).estimate()
    relative = np.expm1(deviations.astype(_LD))
    expected = float(relative.std(ddof=1) / (1 + relative.mean()) / np.sqrt(_LD(deviations.size)))
    assert estimate.std_error == pytest.approx(expected, rel=1e-6)
    assert estimate.log_marginal == pytest.approx(float(np.log1p(relative.mean())), abs=2e-16)


def test_constant_weights_have_no_error_and_no_pareto_k():
    estimate = Ladder().update(np.full(3 * BLOCK + 5, -7.25)).estimate()
    assert (estimate.log_marginal, estimate.std_error, estimate.elbo) == (-7.25, 0.0, -7.25)
    assert estimate.ess == pytest.approx(3 * BLOCK + 5)
    assert estimate.pareto_k is None
    assert any("equal to rounding" in said for said in estimate.warnings)


@pytest.mark.parametrize("n", [1, 2, 3, BLOCK - 1, BLOCK, BLOCK + 1, 5000])
def test_all_zero_weights_are_minus_infinity_and_never_nan(n):
    estimate = Ladder().update(np.full(n, -INF)).estimate()
    assert estimate.log_marginal == -INF
    assert estimate.elbo == -INF
    assert estimate.ess == 0.0
    assert estimate.n_neg_inf == n
    assert math.isnan(estimate.std_error)
    assert estimate.pareto_k is None


def test_zero_weights_are_counted_level_by_level():
    log_weights = np.random.default_rng(8).normal(0.0, 1.0, 4 * BLOCK)
    log_weights[:BLOCK] = -INF  # a whole block
    log_weights[2 * BLOCK + np.arange(0, BLOCK, 2)] = -INF
    read = Ladder().update(log_weights).levels
    for level, (values, gap, _, _) in enumerate(brute_force(log_weights)):
        zero = np.isneginf(values)
        assert read.n_zero[level] == zero.sum()
        assert read.moments[0, 0, level] == (~zero).sum()
        np.testing.assert_allclose(read.moments[0, 1, level], float(values[~zero].mean()), rtol=1e-13)
        assert read.mean[level] == (-INF if zero.any() else pytest.approx(float(values.mean())))
        if gap is not None:
            assert read.moments[1, 0, level] == np.isfinite(gap).sum()
    assert not np.isnan(read.mean).any()
    with pytest.raises(NotAvailableError, match="only zero weights"):
        Ladder().update(log_weights).richardson(1)


def test_totals_are_those_of_the_definition():
    log_weights = np.random.default_rng(9).normal(-3.0, 1.5, 7 * BLOCK + 777)
    log_weights[::50] = -INF
    weights = np.exp(log_weights.astype(_LD))
    estimate = Ladder().update(log_weights).estimate()
    assert estimate.log_marginal == pytest.approx(float(np.log(weights.mean())), abs=1e-14)
    assert estimate.ess == pytest.approx(float(weights.sum() ** 2 / (weights**2).sum()), rel=1e-12)
    error = float(weights.std(ddof=1) / weights.mean() / np.sqrt(_LD(weights.size)))
    assert estimate.std_error == pytest.approx(error, rel=1e-12)
    assert estimate.n_neg_inf == np.isneginf(log_weights).sum()


@pytest.mark.parametrize("n", [1, 2, 3, 100, BLOCK - 1, BLOCK + 1, 5000])
def test_every_weight_counts_at_level_0_and_at_the_top(n):
    log_weights = np.random.default_rng(n).normal(0.0, 1.0, n)
    ladder = Ladder().update(log_weights)
    assert ladder.levels.n_groups[0] == n
    assert ladder.bound(1).value == pytest.approx(log_weights.mean(), abs=1e-14)
    assert ladder.estimate().log_marginal == pytest.approx(float(np.log(np.exp(log_weights).mean())), abs=1e-14)


@given(st.lists(st.integers(1, 3 * BLOCK), min_size=1, max_size=6), st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=40)
def test_any_split_in_any_order_gives_the_same_bits(sizes, random):
    n = sum(sizes)
    log_weights = np.random.default_rng(n).normal(0.0, 2.0, n)
    edges = np.concatenate([[0], np.cumsum(sizes)])
    pieces = list(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True))
    random.shuffle(pieces)
    whole = Ladder().update(log_weights)
    in_pieces, merged = Ladder(), Ladder()
    for start, stop in pieces:
        in_pieces.update(log_weights[start:stop], start=start)
        merged.merge(Ladder().update(log_weights[start:stop], start=start))
    assert in_pieces == whole
    assert merged == whole
    assert Ladder.from_bytes(whole.to_bytes()) == whole


def test_several_streams_side_by_side_are_the_streams_alone():
    log_weights = np.random.default_rng(2).normal(0.0, 4.0, (2, 3, 5000))
    ladder = Ladder((2, 3)).update(log_weights)
    for index in np.ndindex(2, 3):
        alone = Ladder().update(log_weights[index])
        np.testing.assert_array_equal(ladder.levels.mean[index], alone.levels.mean)
        np.testing.assert_array_equal(ladder.levels.m2[index], alone.levels.m2)


def test_concat_appends_arrays_and_moves_ladders():
    rng = np.random.default_rng(1)
    first, second = rng.normal(size=1500), rng.normal(size=2500)
    whole = np.concatenate([first, second])
    assert Ladder().concat(first).concat(second) == Ladder().update(whole)
    joined = Ladder().update(first).concat(Ladder().update(second))
    assert joined.n_samples == 4000
    assert joined.estimate().log_marginal == pytest.approx(float(np.log(np.exp(whole).mean())), abs=1e-14)
    assert joined.spans == ((0, 1500), (4096, 6596))


def test_the_largest_weights_are_kept_whatever_the_order():
    log_weights = np.random.default_rng(0).normal(size=20_000)
    ladder = Ladder(tail=100)
    for start in (12_000, 0, 5_000):
        stop = {0: 5_000, 5_000: 12_000, 12_000: 20_000}[start]
        ladder.update(log_weights[start:stop], start=start)
    np.testing.assert_array_equal(ladder.summary().top, np.sort(log_weights)[::-1][:101])


@pytest.mark.parametrize(("start", "n"), [(0, 10), (9, 1), (0, 5000), (4999, 1), (2048, 1024)])
def test_an_index_given_twice_is_refused_and_nothing_is_kept(start, n):
    ladder = Ladder().update(np.zeros(10)).update(np.ones(3000), start=2000)
    before = ladder.to_bytes()
    with pytest.raises(LadderError, match="given already"):
        ladder.update(np.zeros(n), start=start)
    with pytest.raises(LadderError, match="given already"):
        ladder.merge(Ladder().update(np.zeros(n), start=start))
    assert ladder.to_bytes() == before


@pytest.mark.parametrize("value", [math.nan, INF])
@pytest.mark.parametrize("position", [0, 1023, 2999])
def test_nan_and_plus_infinity_stop_and_nothing_is_kept(value, position):
    ladder = Ladder().update(np.zeros(5))
    before, weights = ladder.to_bytes(), np.zeros(3000)
    weights[position] = value
    with pytest.raises(NonFiniteWeightError, match=f"index {100 + position}") as caught:
        ladder.update(weights, start=100)
    assert caught.value.index == 100 + position
    assert ladder.to_bytes() == before


@pytest.mark.parametrize(
    ("weights", "start"),
    [(np.zeros((2, 3)), 0), (np.float64(1.0), 0), (["a"], 0), ([1j], 0), ([0.0], -1), ([0.0], 0.5), ([0.0], MAX_INDEX)],
    ids=str,
)
def test_what_is_no_stream_is_refused(weights, start):
    with pytest.raises(InputError):
        Ladder().update(weights, start=start)


def test_the_last_index_is_usable():
    ladder = Ladder().update([0.5, 0.25], start=MAX_INDEX - 2)
    assert ladder.n_samples == 2


@pytest.mark.parametrize("k", [0, -1, 1.5, True, "8"])
def test_bounds_take_positive_integers(k):
    with pytest.raises(InputError, match="at least 1"):
        Ladder().update(np.zeros(10)).bound(k)


def test_bounds_name_the_bracket_and_the_remedy():
    ladder = Ladder().update(np.zeros(10_000))
    with pytest.raises(NotAvailableError, match=r"4096 and 8192.*groups=\(5000,\)"):
        ladder.bound(5000)
    with pytest.raises(NotAvailableError, match="largest here is 8192"):
        ladder.bound(16384)
    with pytest.raises(InputError, match="1 or 2"):
        ladder.richardson(2, 3)
    with pytest.raises(NotAvailableError, match="empty"):
        Ladder().estimate()


def test_streams_that_are_not_iid_have_no_levels():
    ladder = Ladder(iid=False).update(np.zeros(100))
    for ask in (lambda: ladder.levels, lambda: ladder.bound(8), lambda: ladder.richardson(2)):
        with pytest.raises(NotIndependentError, match="independent"):
            ask()
    with pytest.raises(NotIndependentError):
        ladder.estimate().bound(8)
    with pytest.raises(LadderError, match="do not merge"):
        Ladder().merge(ladder)


def test_a_ladder_may_be_appended_to_itself():
    weights = np.random.default_rng(0).normal(size=1500)
    ladder = Ladder().update(weights)
    ladder.concat(ladder)
    assert ladder.n_samples == 3000
    assert ladder.estimate().log_marginal == pytest.approx(Ladder().update(weights).estimate().log_marginal, abs=1e-14)


@pytest.mark.parametrize("arguments", [{"shape": 5}, {"shape": (0,)}, {"tail": -1}, {"tail": 2.5}], ids=str)
def test_a_ladder_of_no_shape_is_refused(arguments):
    with pytest.raises(InputError, match=r"shape|tail"):
        Ladder(**arguments)


def test_replicates_of_foreign_streams_give_the_error_of_streams_that_are_not_iid():
    weights = np.random.default_rng(0).normal(size=(16, 400))
    estimate = Ladder((16,), iid=False).update(weights).estimate(replicates=True)
    means = np.exp(weights).mean(axis=1)
    assert estimate.log_marginal == pytest.approx(float(np.log(means.mean())), abs=1e-14)
    assert estimate.std_error == pytest.approx(means.std(ddof=1) / means.mean() / 4, rel=1e-12)


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04nonsense", b"x" * 1000])
def test_bytes_that_are_no_ladder_are_refused(data):
    with pytest.raises(LadderError, match="not a ladder"):
        Ladder.from_bytes(data)


def test_bytes_cut_short_or_altered_are_refused():
    data = Ladder().update(np.arange(3000.0) / 1000).to_bytes()
    with pytest.raises(LadderError, match="not a ladder"):
        Ladder.from_bytes(data[: len(data) // 2])
    altered = bytearray(data)
    altered[len(data) // 3] ^= 1
    with pytest.raises(LadderError, match="not a ladder"):
        Ladder.from_bytes(bytes(altered))
