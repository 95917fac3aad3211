"""What tests of runs share: tasks small enough to be many, a place for a checkpoint, and a record of what was run."""

import pytest

from logpx import engine, tasks

SMALL = 1 << 14


@pytest.fixture
def small(monkeypatch):
    """Tasks of 2^14 samples where no groups are open, and no growth."""
    for name, value in {"CHUNK": SMALL, "SMALLEST": SMALL, "TASK": SMALL, "TASK_SECONDS": 0.0}.items():
        monkeypatch.setattr(engine, name, value)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run.sqlite"


@pytest.fixture
def ran(monkeypatch):
    """What was run: (first stream, streams, start, count) of every task."""
    seen, run_task = [], tasks.run_task

    def spy(part, start, count, keep, floor):
        seen.append((part.first, part.n_streams, start, count))
        return run_task(part, start, count, keep, floor)

    monkeypatch.setattr(engine, "run_task", spy)
    return seen
