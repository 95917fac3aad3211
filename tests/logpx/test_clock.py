"""A wall clock that jumps back during a run changes nothing: durations are positive, the bar is drawn. Exact."""

import itertools
import time

import pytest

import logpx

MODEL, X = logpx.models.PPCA.example()


@pytest.fixture
def backwards(monkeypatch):
    """time.time() falls by an hour at each call."""
    calls = itertools.count()
    monkeypatch.setattr(time, "time", lambda: 1.7e9 - 3600.0 * next(calls))
    assert time.time() > time.time()


def test_an_estimate_takes_time_on_a_clock_that_runs_backwards(backwards, capsys):
    estimate = logpx.estimate(MODEL, X[0], n_samples=1 << 21, progress=True)
    assert 0 < estimate.seconds < 600
    assert 0 <= estimate.compile_seconds < 600
    drawn = capsys.readouterr().err
    assert "100%" in drawn
    assert "-1" not in drawn


def test_a_plan_does_too(backwards):
    planned = logpx.plan(MODEL, X[0], 1e-3, timing_seconds=0.05)
    assert 0 < planned.seconds.low <= planned.seconds.value <= planned.seconds.high
    assert planned.fixed_seconds >= 0
