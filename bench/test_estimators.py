"""Benchmark cases: every model × estimator through the public `logpx.estimate`, error beside time.

Before its time counts, a case must agree with the exact log p(x): |log p̂ − log p| ≤ 5 standard errors + the stated
bias floor. With fixed seeds and an effective sample size above 100 the error is normal to good approximation: false
alarm 5.7e-7 a case, smallest discrepancy detected 5 standard errors. (CV²/2N, the bias of the log, is 1/(2 ESS) and
far below one standard error 1/√ESS.) Where the weights have collapsed (ESS ≤ 100), a standard error says nothing;
then Markov's inequality is what is left: P(p̂ ≥ 10^6 p) ≤ 1e-6, one-sided, and the estimate itself must warn.

The seed changes with every timed round; the whole ladder is read; compile time is outside the clock.
"""

import itertools
import math

import pytest

import logpx
from logpx.models import REGISTRY

ESTIMATORS = {
    "uniform": logpx.proposals.Uniform,
    "prior": logpx.proposals.Prior,
    "importance": lambda: None,  # the model's own default proposal
}


def has(name, estimator):
    """The model has what this estimator asks it for: a box of its own, or a prior that can be drawn from."""
    model = REGISTRY[name].example(seed=0)[0]
    return {"uniform": hasattr(model, "uniform_domain"), "prior": model.prior is not None}.get(estimator, True)


#: What the error of a case is.
NATS = "log p̂(x), less the exact log p(x), in nats"
CASES = [case for case in itertools.product(REGISTRY, ESTIMATORS) if has(*case)]
NAMES = [f"{model}-{estimator}" for model, estimator in CASES]


def agree(est, exact):
    """Error of the estimate in nats; fails if it is more than chance allows (see the top of this file)."""
    error = float(est.log_marginal) - exact
    if est.ess > 100:
        assert abs(error) <= 5 * float(est.std_error) + float(est.bias_floor) + 1e-12 * abs(exact)
    else:
        assert error <= math.log(1e6)
        assert est.warnings, "a collapsed estimate must say so"
    return error


def measure(benchmark, group, model, x, proposal, n_samples):
    exact = float(model.log_marginal(x))
    seeds = itertools.count(1)

    def once(seed=None):
        return logpx.estimate(
            model, x, proposal=proposal, n_samples=n_samples, seed=next(seeds) if seed is None else seed, threads=1
        )

    est = once(seed=0)
    benchmark.group = group
    benchmark.extra_info.update(
        exact=exact,
        error=agree(est, exact),
        error_is=NATS,
        std_error=float(est.std_error),
        ess=float(est.ess),
        n=n_samples,
        n_samples=n_samples,
        compile_seconds=est.compile_seconds,
    )
    benchmark(once)
    if benchmark.stats is not None:
        benchmark.extra_info["ns_per_sample"] = 1e9 * benchmark.stats.stats.median / n_samples


@pytest.mark.parametrize(("model", "estimator"), CASES, ids=NAMES)
def test_estimate_small(benchmark, model, estimator):
    """What a call costs beyond its samples; and k small enough for some weights to collapse."""
    built, X = REGISTRY[model].example(seed=0)
    measure(benchmark, "estimate, k = 2^12", built, X[0], ESTIMATORS[estimator](), 2**12)


@pytest.mark.parametrize(("model", "estimator"), CASES, ids=NAMES)
def test_estimate(benchmark, model, estimator):
    built, X = REGISTRY[model].example(seed=0)
    measure(benchmark, "estimate, k = 2^18", built, X[0], ESTIMATORS[estimator](), 2**18)


@pytest.mark.large
@pytest.mark.parametrize(("model", "estimator"), CASES, ids=NAMES)
def test_estimate_large(benchmark, model, estimator):
    built, X = REGISTRY[model].example(seed=0)
    measure(benchmark, "estimate, k = 2^26", built, X[0], ESTIMATORS[estimator](), 2**26)


@pytest.mark.parametrize("model", REGISTRY)
def test_estimate_of_many_rows(benchmark, model):
    """64 rows of 4096 samples in one call: what a row costs beyond its samples."""
    built, X = REGISTRY[model].example(seed=0)
    X = X[[row % len(X) for row in range(64)]]
    exact = float(built.log_marginal(X).sum())
    seeds = itertools.count(1)
    est = logpx.estimate(built, X, n_samples=4096, seed=0, threads=1)
    error = float(est.total) - exact
    assert abs(error) <= 5 * float(est.total_std_error) + 1e-12 * abs(exact)
    benchmark.group = "estimate, 64 rows of 4096 samples"
    benchmark.extra_info.update(
        exact=exact,
        error=error,
        error_is=NATS,
        std_error=float(est.total_std_error),
        ess=float(est.ess.min()),
        n=64 * 4096,
        n_samples=4096,
        compile_seconds=est.compile_seconds,
    )
    benchmark(lambda: logpx.estimate(built, X, n_samples=4096, seed=next(seeds), threads=1))
    if benchmark.stats is not None:
        benchmark.extra_info["ns_per_sample"] = 1e9 * benchmark.stats.stats.median / (64 * 4096)
