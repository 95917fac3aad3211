"""The same again: a replay of any sample, a run with the same seed, a run on more threads: the same bits."""

from __future__ import annotations

import numpy as np

import logpx
from logpx.tasks import CHUNK
from logpx_bench.conformance.base import FAIL, PASS, SKIP, Check, Finding, Subject

#: Samples of a replay, and where the second one begins; seconds that the check on threads may take.
N, LATER, SECONDS = 2**13, 5000, 5.0
_STATE = (
    "A sample must depend on nothing but theta, dims, x and z: look for arrays that the kernel writes to and keeps, "
    "random numbers of its own, and sums carried from one sample to the next"
)


def replay(subject: Subject) -> Finding:
    """A run's weights, drawn again from their indices: in one go, from the middle, and as the run read them."""
    model, x, own = subject.model, subject.rows[0], subject.own
    whole = logpx.samples(model, x, own, 0, N).log_weights
    later = logpx.samples(model, x, own, LATER, N).log_weights
    differ = np.flatnonzero((whole[LATER:] != later) & ~(np.isnan(whole[LATER:]) & np.isnan(later)))
    if differ.size:
        i = int(differ[0])
        first, second = whole[LATER + i], later[i]
        said = f"sample {LATER + i} has the log weight {first:.17g} in one replay and {second:.17g} in another"
        return Finding(FAIL, said, _STATE)
    run = logpx.estimate(model, x, proposal=own, n_samples=N, threads=1)
    again = logpx.Ladder().update(whole).estimate()
    if (run.log_marginal, run.elbo) != (again.log_marginal, again.elbo):
        said = f"a run gives log p̂(x) = {run.log_marginal:.17g}, and its replayed weights {again.log_marginal:.17g}"
        return Finding(FAIL, said, _STATE)
    return Finding(PASS, f"{N} replayed weights are those of the run, bit for bit")


def seeds(subject: Subject) -> Finding:
    """Same seed, same bits; another seed, other bits."""
    model, x, own = subject.model, subject.rows, subject.own
    runs = [logpx.estimate(model, x, proposal=own, n_samples=N, seed=seed) for seed in (1, 1, 2)]
    a, b, other = (run.ladder.to_bytes() for run in runs)
    if a != b:
        return Finding(FAIL, "two runs with the same seed differ", _STATE)
    if a == other and float(np.max(runs[0].std_error)) > 0:
        return Finding(FAIL, "runs with different seeds are the same", "See that the log joint depends on z")
    return Finding(PASS, "the same seed gives the same bits, another seed others")


def threads(subject: Subject) -> Finding:
    """Two chunks on one thread and on two."""
    model, x, own = subject.model, subject.rows[0], subject.own
    trial = logpx.estimate(model, x, proposal=own, n_samples=2**14, threads=1)
    seconds = 2 * CHUNK / 2**14 * float(trial.seconds or 0.0)
    if 2 * seconds > SECONDS:
        return Finding(SKIP, f"a run of {2 * CHUNK} samples takes {seconds:.0f} s here, too long for a check")
    one, two = (logpx.estimate(model, x, proposal=own, n_samples=2 * CHUNK, threads=n) for n in (1, 2))
    if one.ladder.to_bytes() != two.ladder.to_bytes():
        return Finding(FAIL, "one thread and two give different bits", _STATE)
    return Finding(PASS, "one thread and two give the same bits")


CHECKS = (
    Check("replay", "samples drawn again from their indices are those of the run", replay, estimates=True),
    Check("seeds", "same seed, same bits", seeds, estimates=True),
    Check("threads", "the same bits on one thread and on two", threads, estimates=True),
)
