"""Benchmark case: the peak memory of one long stream, through `logpx run` in a process of its own.

Memory may not grow with the samples: the peak at N may be within 5 % of that at 2^24. A short stream is run with every
test; that of the report, 2^34 samples and some minutes, is marked `large`. Kept samples, or finished tasks that are not
joined, would show already in the short one: 2^26 samples are half a gigabyte. Before the time counts, the estimate must
be within 5 standard errors of the exact log p(x) (false alarm 5.7e-7; the seed is fixed).
"""

import subprocess
import sys

import pytest

from logpx_bench import long_runs
from logpx_bench.store import Store

SUITE = """
[[experiment]]
name = "large_k"
kind = "large_k"
model = {{name = "ppca", n_latents = 2, n_observed = 8}}
data = "sample"
estimators = [{{name = "importance"}}]
n_samples = "2^{}"
"""
BASE, GROWTH = 2**24, 1.05


@pytest.mark.parametrize("log2_samples", [26, pytest.param(34, marks=pytest.mark.large)])
def test_peak_memory(benchmark, tmp_path, log2_samples):
    (tmp_path / "long.toml").write_text(SUITE.format(log2_samples))
    command = [
        sys.executable,
        "-c",
        "from logpx_bench.cli import main; main()",
        "run",
        "long.toml",
        "--store",
        "r.sqlite",
    ]

    def run():
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    benchmark.pedantic(run, rounds=1)
    with Store.open(tmp_path / "r.sqlite", create=False) as store:
        path = {row["k"]: row for row in long_runs.large_k(store) if row["kind"] == "path"}
    last = path[2**log2_samples]
    assert abs(last["z"]) <= 5
    growth = last["peak_bytes"] / path[BASE]["peak_bytes"]
    assert growth <= GROWTH, f"{last['peak_bytes']} bytes, {growth:.3f} times as at 2^24; {GROWTH} is the most"
    benchmark.group = "one long stream"
    benchmark.extra_info.update(
        n=last["k"],
        error=last["log_marginal"] - last["exact"],
        error_is="log p̂(x), less the exact log p(x), in nats",
        exact=last["exact"],
        peak_bytes=last["peak_bytes"],
        growth_from_2_24=growth,
        added_by_last_step=last["peak_bytes"] - last["baseline_bytes"],
    )
