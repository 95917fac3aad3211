"""How pytest runs here: what is timed, what is left out, and where the timings go.

====================================  ==========================================================================
`pytest`                              every test, and one untimed pass of every benchmark case
`make test`                           the same on several processes (pytest-xdist), a file at a time
`pytest --benchmark-only`             the benchmark cases, timed, and nothing else
`pytest --benchmark-only --large`     the same with the cases marked `large`
`pytest --benchmark-enable`           every test, and the benchmark cases timed
====================================  ==========================================================================

Timing is turned off here and not by `--benchmark-disable` in pyproject.toml, because pytest-benchmark rejects that
option together with `--benchmark-only`. A benchmark row goes into the store only if its case passed: an answer
that is wrong has no time.
"""

from pathlib import Path

import pytest

#: Not looked through for doctests: what these import is in the environment of `make peers`.
collect_ignore_glob = ["bench/logpx_bench/peers/*_kernels.py", "bench/examples/*", "tests/logpx_bench/*_exports.py"]

_TIMED = pytest.StashKey[list]()
_LARGE_LEFT_OUT = pytest.StashKey[int]()


def pytest_addoption(parser):
    group = parser.getgroup("logpx")
    group.addoption("--large", action="store_true", help="also run the benchmark cases marked large")
    group.addoption(
        "--logpx-store",
        metavar="FILE",
        help="results store that receives the timed benchmark cases (default: results/results.sqlite)",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config):
    config.addinivalue_line("markers", "large: a long benchmark case, run with --large only")
    config.addinivalue_line("markers", "second_route(models): confirms their exact log p(x) by another route")
    config.pluginmanager.register(OnSeveralProcesses())
    config.stash[_TIMED] = []
    config.stash[_LARGE_LEFT_OUT] = 0
    if not (config.option.benchmark_only or config.option.benchmark_enable):
        config.option.benchmark_disable = True


def _is_benchmark(item):
    return "benchmark" in getattr(item, "fixturenames", ())


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    large = [] if config.option.large else [item for item in items if item.get_closest_marker("large")]
    config.stash[_LARGE_LEFT_OUT] = len(large)
    left_out = set(large)
    if config.option.benchmark_only:
        left_out |= {item for item in items if not _is_benchmark(item)}
    if left_out:
        config.hook.pytest_deselected(items=[item for item in items if item in left_out])
        items[:] = [item for item in items if item not in left_out]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    benchmark = getattr(item, "funcargs", {}).get("benchmark")
    if report.when == "call" and report.passed and benchmark is not None and benchmark.stats is not None:
        if {"n", "error", "error_is"} <= set(benchmark.extra_info):
            item.config.stash[_TIMED].append(_row(benchmark))
        else:
            report.outcome = "failed"
            report.longrepr = "a benchmark case writes n, error and error_is (its unit) into benchmark.extra_info"
    return report


def _row(benchmark):
    """One row of the store's `benchmarks` table, without key and provenance: the store adds those."""
    stats, extra = benchmark.stats.stats, dict(benchmark.extra_info)
    return {
        "name": benchmark.fullname,
        "grp": benchmark.group or "",
        "case_name": benchmark.param or "",
        "n": extra["n"],
        "rounds": stats.rounds,
        "median_seconds": stats.median,
        "min_seconds": stats.min,
        "iqr_seconds": stats.iqr,
        "error": extra["error"],
        "exact": extra.get("exact"),
        "extra": extra,
    }


def pytest_collection_finish(session):
    """Refuse a bad store now and not after minutes of timing."""
    config = session.config
    if config.option.collectonly or config.option.benchmark_disable or not any(map(_is_benchmark, session.items)):
        return
    from logpx_bench.errors import LogpxError

    try:
        _open_store(config).close()
    except (LogpxError, OSError) as error:
        raise pytest.UsageError(f"--logpx-store: {error}") from None


def _store_path(config):
    given = config.option.logpx_store
    return Path(given) if given else config.rootpath / "results" / "results.sqlite"


def _open_store(config):
    from logpx_bench.store import Store

    path = _store_path(config)
    if not config.option.logpx_store:
        path.parent.mkdir(exist_ok=True)
    return Store.open(path)


class OnSeveralProcesses:
    """What the processes of pytest-xdist tell the one that sums up: each has collected the same cases."""

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node, error):
        told = getattr(node, "workeroutput", {})
        node.config.stash[_LARGE_LEFT_OUT] = told.get("large", node.config.stash[_LARGE_LEFT_OUT])


def pytest_sessionfinish(session):
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["large"] = session.config.stash[_LARGE_LEFT_OUT]
    rows = session.config.stash[_TIMED]
    if not rows:
        return
    from logpx_bench import machine
    from logpx_bench.store import content_key

    where = machine.provenance(threads=1)
    with _open_store(session.config) as store:
        store.write_provenance(where)
        for row in rows:
            row |= {"provenance_id": where["id"], "created_utc": where["created_utc"]}
            store.write_benchmark({"key": content_key(row), **row})


def _label(row):
    return row["name"].rpartition("::")[2]


def _figures(row):
    """Error and time of a case; of an estimate, what it said of itself too."""
    extra, said = row["extra"], ""
    if "std_error" in extra:
        said = f"  k = {extra['n_samples']:>8}  std error {extra['std_error']:.2e}  ESS {extra['ess']:>8.0f}"
    return f"error {row['error']:+.2e}{said}  {1e9 * row['median_seconds'] / row['n']:7.2f} ns each of {row['n']}"


def pytest_terminal_summary(terminalreporter, config):
    for unit in sorted({row["extra"]["error_is"] for row in config.stash[_TIMED]}):
        terminalreporter.section(f"error beside the time; error: {unit}")
        rows = [row for row in config.stash[_TIMED] if row["extra"]["error_is"] == unit]
        width = max(len(_label(row)) for row in rows)
        for row in rows:
            terminalreporter.write_line(f"{_label(row):{width}}  {_figures(row)}")
    if config.stash[_TIMED]:
        terminalreporter.write_line(f"{len(config.stash[_TIMED])} timings are in {_store_path(config)}")
    if config.stash[_LARGE_LEFT_OUT]:
        terminalreporter.write_line(
            f"{config.stash[_LARGE_LEFT_OUT]} benchmark cases marked large were not run; --large runs them"
        )
