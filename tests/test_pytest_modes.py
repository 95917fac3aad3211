"""The two ways to run pytest here, each run in a process of its own on one benchmark case. Exact.

Plain `pytest` runs the tests and every benchmark case once, untimed; `pytest --benchmark-only` times the cases, runs
nothing else, and writes rows to the store; `--large` adds the cases marked large.
"""

import json
import os
import sqlite3
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("modes")


def run(*arguments):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)


def outcome(done):
    """Names of the tests that ran, from `-v`, and pytest's closing line."""
    lines = done.stdout.splitlines()
    ran = [line.split(" ")[0] for line in lines if "::" in line and " PASSED" in line]
    return ran, lines[-1]


FILES = ["bench/test_kernels.py", "tests/test_contract.py"]
KEYWORDS = ["-k", "(test_vecmath and exp) or typer"]


def test_plain_pytest_runs_tests_and_cases_without_timing(folder):
    report = folder / "plain.json"
    done = run("-v", *FILES, *KEYWORDS, f"--benchmark-json={report}", f"--logpx-store={folder / 'plain.sqlite'}")
    assert done.returncode == 0, done.stdout + done.stderr
    ran, last = outcome(done)
    assert any(name.startswith("tests/") for name in ran)
    assert any(name.startswith("bench/") for name in ran)
    assert f"{len(ran)} passed" in last
    assert "median" not in done.stdout.lower(), "a table of timings was printed"
    assert not report.exists(), "there were timings to save"
    assert not (folder / "plain.sqlite").exists(), "an untimed case is no row"


def test_benchmark_only_times_the_cases_and_runs_nothing_else(folder):
    report, store = folder / "timed.json", folder / "timed.sqlite"
    limits = ("--benchmark-max-time=0.01", "--benchmark-min-rounds=3")
    done = run(
        "-v", "--benchmark-only", *FILES, *KEYWORDS, *limits, f"--benchmark-json={report}", f"--logpx-store={store}"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    ran, last = outcome(done)
    assert ran
    assert all(name.startswith("bench/") for name in ran)
    assert f"{len(ran)} passed" in last
    assert "skipped" not in last
    timed = json.loads(report.read_text(encoding="utf-8"))["benchmarks"]
    assert sorted(case["fullname"] for case in timed) == sorted(ran)
    assert all(case["stats"]["median"] > 0 and case["stats"]["rounds"] >= 3 for case in timed)
    with sqlite3.connect(store) as connection:
        rows = dict(connection.execute("SELECT name, median_seconds FROM benchmarks"))
        errors = [error for (error,) in connection.execute("SELECT error FROM benchmarks")]
        assert connection.execute("SELECT count(*) FROM provenance").fetchone() == (1,)
    connection.close()
    assert rows == {case["fullname"]: case["stats"]["median"] for case in timed}
    assert all(0 <= error < 1e-14 for error in errors), "every row has its error beside its time"
    assert "largest, relative to max(1, |exact|)" in done.stdout


def test_a_case_without_its_error_fails(folder):
    (folder / "test_bare.py").write_text("def test_bare(benchmark):\n    benchmark(int)\n", encoding="utf-8")
    done = run(
        "--benchmark-only",
        f"--confcutdir={ROOT}",
        "-c",
        str(ROOT / "pyproject.toml"),
        "-p",
        "conftest",
        str(folder / "test_bare.py"),
        f"--logpx-store={folder / 'bare.sqlite'}",
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "writes n, error and error_is" in done.stdout


@pytest.mark.parametrize("category", [DeprecationWarning, PendingDeprecationWarning, FutureWarning])
def test_only_our_own_calls_of_what_is_deprecated_are_errors(category):
    """A later release of a package may deprecate what another package calls: that must not fail a newcomer's tests."""
    with warnings.catch_warnings(record=True) as seen:
        for module in ("sklearn.base", "matplotlib.pyplot", "numba.core.types", "logpxtra"):
            warnings.warn_explicit("old", category, "file.py", 1, module=module)
    assert len(seen) == 4
    for module in ("logpx.engine", "logpx_bench.store", "tests.logpx.test_ladder", "bench.test_kernels", "conftest"):
        with pytest.raises(category):
            warnings.warn_explicit("old", category, "file.py", 1, module=module)


@pytest.mark.parametrize("category", [RuntimeWarning, UserWarning])
def test_any_other_warning_is_an_error(category):
    with pytest.raises(category):
        warnings.warn_explicit("overflow", category, "file.py", 1, module="numpy")


def test_benchmark_only_from_the_root_selects_every_case_and_no_test():
    cases = sorted(f"bench/{path.name}" for path in (ROOT / "bench").glob("test_*.py"))
    ways = cases, ["--benchmark-only"], [*cases, "--large"], [*cases, "--large", "-m", "large"]
    plain, only, large, marked = (run("--collect-only", "-q", *options) for options in ways)
    names = []
    for done in (plain, only, large, marked):
        assert done.returncode == 0, done.stdout + done.stderr
        names.append({line for line in done.stdout.splitlines() if "::" in line})
    assert names[1] == {name for name in names[0] if "_every_" not in name}
    assert any("estimate" in name for name in names[1])
    assert names[0] < names[2]
    assert names[2] - names[0] == names[3]
    assert "marked large were not run; --large runs them" in only.stdout


def test_a_store_that_is_not_ours_is_refused_before_anything_is_timed(folder):
    wrong = folder / "notes.txt"
    wrong.write_text("my notes", encoding="utf-8")
    done = run("--benchmark-only", *FILES, *KEYWORDS, f"--logpx-store={wrong}")
    assert done.returncode != 0
    assert "notes.txt" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert "passed" not in done.stdout
    assert wrong.read_text(encoding="utf-8") == "my notes"
