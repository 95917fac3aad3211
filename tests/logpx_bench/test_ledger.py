"""Exact tests of the bill."""

import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest

from logpx_bench import ledger
from logpx_bench.schema import TABLES


def test_a_bill_adds_up_its_estimates():
    one = SimpleNamespace(n_evaluations=1000, compile_seconds=0.5, seconds=2.0)
    two = SimpleNamespace(n_evaluations=24, compile_seconds=0.25, seconds=1.0)
    bill = ledger.bill([one, two], fit_seconds=0.125, cpu_seconds=4.0, warm_up_seconds=8.0)
    assert (bill.n_evaluations, bill.n_gradients, bill.seconds) == (1024, 0, 3.0)
    assert (bill.compile_seconds, bill.fit_seconds, bill.cpu_seconds) == (8.75, 0.125, 3.25)
    assert set(bill.columns()) <= set(TABLES["cells"][0])


def test_cpu_seconds_are_never_negative():
    one = SimpleNamespace(n_evaluations=1, compile_seconds=5.0, seconds=0.0)
    assert ledger.bill([one], 0.0, 1.0).cpu_seconds == 0.0


def test_a_clock_tells_waiting_from_working():
    clock = ledger.Clock()
    time.sleep(0.05)
    assert clock.wall() >= 0.05
    assert clock.cpu() < clock.wall()


def test_the_peak_rises_with_memory_that_is_touched():
    before = ledger.peak_bytes()
    block = np.ones(before // 8 + 2**23)  # as much as the whole process ever held, and 64 MB
    assert ledger.peak_bytes() >= before + 2**25
    del block
    assert ledger.peak_bytes() >= before + 2**25


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc/self/status")
def test_a_fresh_process_does_not_inherit_the_peak_of_the_one_that_started_it():
    """ru_maxrss does, on Linux: it survives exec."""
    block = np.ones(2**26)  # 512 MB
    assert ledger.peak_bytes() > 2**29
    code = "from logpx_bench.ledger import peak_bytes; print(peak_bytes())"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    del block
    assert int(said) < 2**28
