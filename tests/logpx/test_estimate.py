"""Exact tests of estimate(): the same bits however it is run, replay, and shapes.

Where a value is compared with an exact marginal the seed is fixed, so a pass is a pass for good; the tolerances are 8
standard errors or more and would give a false alarm once in 1e12 seeds (Student's t with 15 degrees: once in 1e6).
"""

import concurrent.futures
import math

import numpy as np
import pytest

import logpx
from logpx import _jit, engine, pareto, tasks
from logpx.errors import InputError, NonFiniteWeightError, NotIndependentError
from logpx.proposals import Gaussian, Prior, Uniform

PPCA, X = logpx.models.PPCA.example()


def bits(estimate):
    return estimate.ladder.to_bytes()


@pytest.fixture(scope="module")
def long_run():
    """A run of several chunks and a ragged end, on one thread."""
    return logpx.estimate(PPCA, X[0], n_samples=3 * tasks.CHUNK + 12_345, threads=1, groups=(50, 5000))


@pytest.mark.parametrize("threads", [2, 5])
def test_any_number_of_threads_gives_the_same_bits(long_run, threads):
    again = logpx.estimate(PPCA, X[0], n_samples=long_run.n_samples, threads=threads, groups=(50, 5000))
    assert bits(again) == bits(long_run)
    assert again.bound(5000) == long_run.bound(5000)
    assert (again.log_marginal, again.std_error) == (long_run.log_marginal, long_run.std_error)


def test_a_longer_run_begins_with_the_shorter_one(long_run):
    """The nodes of the first chunk are the same whatever comes after it."""
    short = logpx.estimate(PPCA, X[0], n_samples=tasks.CHUNK, threads=2)
    longer = logpx.estimate(PPCA, X[0], n_samples=3 * tasks.CHUNK, threads=2)
    third = longer.ladder._nodes[tasks.CHUNK.bit_length() - 1, 2]
    np.testing.assert_array_equal(third.moments, long_run.ladder._nodes[tasks.CHUNK.bit_length() - 1, 2].moments)
    grown = logpx.estimate(PPCA, X[0], n_samples=2 * tasks.CHUNK, threads=2).ladder
    rest = logpx.Ladder(tail=grown.tail)
    z, logs = logpx.samples(PPCA, X[0], None, tasks.CHUNK, 2 * tasks.CHUNK)
    assert z.shape == (tasks.CHUNK, 2)
    rest.update(logs, start=tasks.CHUNK)
    joined = logpx.Ladder(tail=grown.tail).merge(short.ladder).merge(rest)
    node = tasks.CHUNK.bit_length()
    np.testing.assert_array_equal(joined._nodes[node, 0].moments, grown._nodes[node, 0].moments)


@pytest.mark.parametrize("n", [1, 7, 1023, 1024, 1025, 5000])
def test_a_prefix_of_the_stream_is_the_stream(n):
    alone = logpx.estimate(PPCA, X[0], n_samples=n)
    replayed = logpx.samples(PPCA, X[0], None, 0, n).log_weights
    assert alone.log_marginal == logpx.Ladder().update(replayed).estimate().log_marginal
    assert alone.n_evaluations == n


def test_a_run_to_a_target_is_the_run_of_its_length():
    target = logpx.estimate(PPCA, X[:2], target_std_error=0.003, seed=3)
    assert np.all(target.std_error <= 0.003)
    assert target.n_samples > 1 << 14
    direct = logpx.estimate(PPCA, X[:2], n_samples=target.n_samples, seed=3)
    assert bits(target) == bits(direct)
    assert target.pareto_k.tolist() == direct.pareto_k.tolist()


def test_a_target_out_of_reach_is_said():
    capped = logpx.estimate(PPCA, X[0], target_std_error=1e-9, n_samples=40_000)
    assert capped.n_samples == 40_000
    assert any("not reached" in said for said in capped.warnings)


def test_a_row_among_many_is_the_row_alone_on_its_own_stream():
    together = logpx.estimate(PPCA, X, proposal=Prior(), n_samples=3000, n_replicates=2, seed=9)
    assert together.replicates.shape == (2, len(X))
    for row in range(len(X)):
        for replicate in range(2):
            logs = logpx.samples(PPCA, X, Prior(), 0, 3000, seed=9, row=row, replicate=replicate).log_weights
            alone = logpx.Ladder().update(logs).estimate()
            assert together.replicates[replicate, row] == alone.log_marginal
            single = logpx.samples(PPCA, X[row], Prior(), 5, 9, seed=9, row=row, replicate=replicate)
            np.testing.assert_array_equal(single.log_weights, logs[5:9])


def test_batches_of_streams_do_not_matter(monkeypatch):
    whole = logpx.estimate(PPCA, X, n_samples=5000, n_replicates=4)
    monkeypatch.setattr(engine, "TASK", 1)
    split = logpx.estimate(PPCA, X, n_samples=5000, n_replicates=4, threads=3)
    assert bits(split) == bits(whole)


def test_totals_do_not_depend_on_how_many_streams_lie_side_by_side(monkeypatch):
    """A sum over nine nodes: NumPy's own order would be another for one stream than for several."""
    n = 511 << 10
    whole = logpx.estimate(PPCA, X, n_samples=n, threads=1)
    monkeypatch.setattr(engine, "TASK", 1)
    split = logpx.estimate(PPCA, X, n_samples=n, threads=1)
    monkeypatch.setattr(engine, "TASK", 1 << 30)
    together = logpx.estimate(PPCA, X, n_samples=n, threads=1)
    for one in (split, together):
        np.testing.assert_array_equal(one.log_marginal, whole.log_marginal)
        np.testing.assert_array_equal(one.std_error, whole.std_error)


def test_any_executor_will_do():
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        given = logpx.estimate(PPCA, X[0], n_samples=10_000, executor=pool)
    assert bits(given) == bits(logpx.estimate(PPCA, X[0], n_samples=10_000))


def test_seed_replicate_and_row_make_other_streams():
    def first(**where):
        return logpx.samples(PPCA, X[0], None, 0, 1, **where).z[0, 0]

    values = [first(), first(seed=1), first(replicate=1), first(row=1), first(seed=2**62)]
    assert len(set(values)) == 5


def test_common_streams_are_common():
    q = Prior()
    for row in range(2):
        z = logpx.samples(PPCA, X, q, 0, 10, row=row, common=True).z
        np.testing.assert_array_equal(z, logpx.samples(PPCA, X, q, 0, 10, row=0, common=True).z)
    shared = logpx.estimate(PPCA, X, proposal=q, n_samples=2000, common=True)
    assert math.isnan(shared.total_std_error)
    replicated = logpx.estimate(PPCA, X, proposal=q, n_samples=2000, common=True, n_replicates=8)
    spread = replicated.replicates.sum(axis=1).std(ddof=1) / math.sqrt(8)
    assert replicated.total_std_error == pytest.approx(spread, rel=1e-12)


def test_totals_over_rows():
    estimate = logpx.estimate(PPCA, X, n_samples=2000)
    assert estimate.total == pytest.approx(float(np.sum(estimate.log_marginal)), rel=1e-15)
    assert estimate.total_std_error == pytest.approx(float(np.sqrt(np.sum(estimate.std_error**2))), rel=1e-15)


def test_replicates_pool_to_the_estimate():
    estimate = logpx.estimate(PPCA, X[0], n_samples=4000, n_replicates=5)
    logs = [logpx.samples(PPCA, X[0], None, 0, 4000, replicate=r).log_weights for r in range(5)]
    whole = np.concatenate(logs)
    weights = np.exp(whole)
    assert estimate.log_marginal == pytest.approx(float(np.log(weights.mean())), abs=1e-13)
    assert estimate.std_error == pytest.approx(weights.std(ddof=1) / weights.mean() / math.sqrt(20_000), rel=1e-11)
    assert estimate.elbo == pytest.approx(float(whole.mean()), abs=1e-13)
    assert estimate.levels.variance[0] == pytest.approx(float(whole.var(ddof=1)), rel=1e-11)
    low, high = estimate.interval(0.95)
    assert (high - low) / 2 == pytest.approx(1.959963984540054 * estimate.std_error, rel=1e-12)


def test_groups_of_any_size():
    logs = logpx.samples(PPCA, X[0], None, 0, 20_000).log_weights
    estimate = logpx.estimate(PPCA, X[0], n_samples=20_000, groups=(50, 5000))
    for size in (50, 5000):
        means = np.log(np.exp(logs).reshape(-1, size).mean(axis=1))
        assert estimate.bound(size).value == pytest.approx(float(means.mean()), abs=1e-13)
        assert estimate.bound(size).n_groups == 20_000 // size
    assert estimate.bound(50).std_error == pytest.approx(
        float(np.log(np.exp(logs).reshape(-1, 50).mean(axis=1)).std(ddof=1)) / 20, rel=1e-9
    )


def test_the_exact_posterior_has_no_variance():
    for model in (PPCA, logpx.models.FactorAnalysis.example()[0]):
        _, x = type(model).example()
        estimate = logpx.estimate(model, x, proposal=model.posterior(x), n_samples=2000)
        np.testing.assert_allclose(estimate.log_marginal, model.log_marginal(x), rtol=0, atol=2e-11)
        assert np.all(estimate.std_error < 1e-12)
        np.testing.assert_allclose(estimate.elbo, model.log_marginal(x), rtol=0, atol=2e-11)


def test_a_proposal_may_be_a_function_of_x():
    made = logpx.estimate(PPCA, X, proposal=lambda x: PPCA.default_proposal(x), n_samples=1000)
    np.testing.assert_allclose(made.log_marginal, logpx.estimate(PPCA, X, n_samples=1000).log_marginal, rtol=1e-13)


def test_the_mass_that_a_box_leaves_out_is_a_bias_floor():
    narrow = Uniform([-0.5, -0.5], [0.5, 0.5])
    estimate = logpx.estimate(PPCA, X[0], proposal=narrow, n_samples=1000)
    assert estimate.bias_floor > 0.01
    assert any("leaves out mass" in said for said in estimate.warnings)
    assert logpx.estimate(PPCA, X[0], proposal=Uniform(), n_samples=1000).bias_floor <= 1.1e-12


def test_a_progress_bar_is_drawn(capsys):
    logpx.estimate(PPCA, X[0], n_samples=1000, progress=True)
    assert "100%" in capsys.readouterr().err


def test_compile_time_is_apart():
    estimate = logpx.estimate(PPCA, X[0], n_samples=1000)
    assert estimate.seconds > 0
    assert estimate.compile_seconds >= 0


# --- points that are not independent -----------------------------------------------------------------------


def test_sobol_points_have_an_error_and_no_bounds():
    estimate = logpx.estimate(PPCA, X[0], points="sobol", n_samples=1 << 12)
    assert estimate.n_replicates == 16
    assert estimate.std_error < logpx.estimate(PPCA, X[0], n_samples=1 << 16).std_error / 5
    assert abs(estimate.log_marginal - PPCA.log_marginal(X[0])) < 8 * estimate.std_error
    assert estimate.elbo < estimate.log_marginal
    for ask in (
        lambda: estimate.bound(8),
        lambda: estimate.levels,
        lambda: estimate.pareto_k,
        lambda: estimate.richardson(2),
    ):
        with pytest.raises(NotIndependentError, match="independent"):
            ask()
    with pytest.raises(InputError, match="groups"):
        logpx.estimate(PPCA, X[0], points="sobol", n_samples=64, groups=(50,))


def test_sobol_points_reach_a_target():
    estimate = logpx.estimate(PPCA, X[0], points="sobol", target_std_error=1e-4)
    assert estimate.std_error <= 1e-4
    alone = logpx.estimate(PPCA, X[0], points="sobol", n_replicates=1, target_std_error=1e-4)
    assert math.isnan(alone.std_error)
    assert any("not reached" in said for said in alone.warnings)


def test_intervals_of_randomisations_are_students():
    estimate = logpx.estimate(PPCA, X[0], points="sobol", n_samples=1000)
    low, high = estimate.interval(0.95)
    assert (high - low) / 2 == pytest.approx(2.131449545559323 * estimate.std_error, rel=1e-9)  # t, 15 degrees


def test_a_bad_estimate_says_so_where_it_is_printed():
    bad = logpx.estimate(PPCA, X[0], proposal=Gaussian([5.0, 5.0], [0.05, 0.05]), n_samples=4096)
    assert bad.warnings
    assert "see .warnings" in repr(bad)
    assert "warning" not in repr(logpx.estimate(PPCA, X[0], n_samples=4096))


def test_sobol_rows_count_their_own_groups():
    estimate = logpx.estimate(PPCA, X, points="sobol", n_samples=1000)
    np.testing.assert_array_equal(estimate.bound(1).n_groups, 16_000)


def test_a_mixture_prior_loses_no_mass():
    model = logpx.models.GaussianMixture([0.5, 0.5, 0.0], [[0.0], [1.0], [2.0]], [[1.0], [1.0], [1.0]])
    estimate = logpx.estimate(model, [0.3], proposal=Prior(), n_samples=1000)
    assert estimate.bias_floor == 0.0
    assert not any("mass" in said for said in estimate.warnings)


@logpx.per_sample
def nan_beyond_three(theta, dims, x, z):
    if z[0] > 3.0:
        return math.nan
    if z[0] < -1.0:
        return -math.inf
    return -0.5 * (z[0] * z[0] + (x[0] - z[0]) * (x[0] - z[0]))


def test_nan_is_named_with_its_index_and_z_and_can_be_replayed():
    model = logpx.Model(nan_beyond_three, [1.0], 1, prior=Gaussian([0.0], [1.0]))
    x = np.array([[0.1], [0.2]])
    with pytest.raises(NonFiniteWeightError, match=r"nan_beyond_three, row \d, replicate 0, sample index") as caught:
        logpx.estimate(model, x, n_samples=20_000)
    error = caught.value
    z, logs = logpx.samples(model, x, None, error.index, error.index + 1, row=error.row)
    assert z[0, 0] == error.z[0] > 3.0
    assert math.isnan(logs[0])
    before = logpx.samples(model, x, None, 0, error.index, row=error.row).log_weights
    assert not np.isnan(before).any()


@logpx.per_sample
def mostly_zero(theta, dims, x, z):
    return -math.inf if z[0] < 2.5 else -0.5 * (z[0] * z[0] + (x[0] - z[0]) * (x[0] - z[0]))


def test_mostly_zero_weights_give_the_same_ladder_in_any_split(monkeypatch):
    """Some 120 of each stream are not zero, fewer than are kept as the largest, and never as many of each."""
    model = logpx.Model(mostly_zero, [1.0], 1, prior=Gaussian([0.0], [1.0]))
    x = np.array([[0.1], [0.2]])
    whole = logpx.estimate(model, x, n_samples=20_000, threads=1)
    logs = np.stack([logpx.samples(model, x, None, 0, 20_000, row=row).log_weights for row in range(2)])
    assert whole.ladder == logpx.Ladder((2,), tail=whole.ladder.tail).update(logs)
    for name in ("SMALLEST", "CHUNK", "TASK"):
        monkeypatch.setattr(engine, name, 1024)
    assert bits(logpx.estimate(model, x, n_samples=20_000, threads=3)) == bits(whole)


def test_minus_infinity_is_a_zero_weight_and_is_counted():
    model = logpx.Model(nan_beyond_three, [1.0], 1, prior=Gaussian([0.0], [0.3]))
    estimate = logpx.estimate(model, [0.1], n_samples=50_000, seed=1)
    logs = logpx.samples(model, [0.1], None, 0, 50_000, seed=1).log_weights
    assert estimate.n_neg_inf == np.isneginf(logs).sum() > 0
    assert estimate.elbo == -math.inf
    assert math.isfinite(estimate.log_marginal)
    assert any("−inf" in said for said in estimate.warnings)


@pytest.mark.parametrize(("start", "stop"), [(-1, 3), (5, 5), (6, 5), (0, 2**62 + 1), (0.5, 3), ("a", 3), (0, None)])
def test_ranges_to_replay_are_checked(start, stop):
    with pytest.raises(InputError):
        logpx.samples(PPCA, X[0], None, start, stop, row=-1 if stop is None else 0)


@pytest.mark.parametrize("index", [2**31, 2**32, 2**33, 2**40])
def test_replay_across_powers_of_two_does_not_depend_on_where_it_starts(index):
    whole = logpx.samples(PPCA, X[0], None, index - 1500, index + 1500)
    part = logpx.samples(PPCA, X[0], None, index - 3, index + 3)
    np.testing.assert_array_equal(whole.log_weights[1497:1503], part.log_weights)
    assert len(np.unique(whole.log_weights)) == 3000


def test_only_one_place_knows_the_block():
    assert _jit.BLOCK & (_jit.BLOCK - 1) == 0
    assert tasks.CHUNK % _jit.BLOCK == 0


@pytest.mark.parametrize(("n", "replicates"), [(5, 1), (200, 3), (5000, 7), (1 << 17, 1), (1 << 17, 2)])
def test_the_largest_weights_are_the_largest(n, replicates):
    """What the compiled loop keeps for Pareto k̂ is exactly the head of the sorted weights of all replicates."""
    estimate = logpx.estimate(PPCA, X[0], n_samples=n, n_replicates=replicates)
    logs = [logpx.samples(PPCA, X[0], None, 0, n, replicate=r).log_weights for r in range(replicates)]
    expected = np.sort(np.concatenate(logs))[::-1][: pareto.tail_length(n * replicates) + 1]
    np.testing.assert_array_equal(estimate._pooled.top[: expected.size], expected)
