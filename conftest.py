"""How pytest runs here: what is timed, what is left out, and where the timings go.

====================================  ==========================================================================
`pytest`                              every test, and one untimed pass of every benchmark case
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

_TIMED = pytest.StashKey[list]()
_LARGE_LEFT_OUT = pytest.StashKey[int]()


def pytest_addoption(parser):
    group = parser.getgroup("logpx")
    group.addoption("--large", action="store_true", help="also run the benchmark cases marked large")
    group.addoption(
        "--logpx-store",
        metavar="FILE",
        help="results store that receives the timed benchmark cases (default: results/benchmarks.sqlite)",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config):
    config.addinivalue_line("markers", "large: a long benchmark case, run with --large only")
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
        item.config.stash[_TIMED].append(_row(benchmark))
    return report


def _row(benchmark):
    """One row of the store's `benchmarks` table, without key and provenance: the store adds those."""
    stats, extra = benchmark.stats.stats, dict(benchmark.extra_info)
    return {
        "name": benchmark.fullname,
        "grp": benchmark.group or "",
        "case_name": benchmark.param or "",
        "n": extra.get("n"),
        "rounds": stats.rounds,
        "median_seconds": stats.median,
        "min_seconds": stats.min,
        "iqr_seconds": stats.iqr,
        "error": extra.get("error"),
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
    return Path(given) if given else config.rootpath / "results" / "benchmarks.sqlite"


def _open_store(config):
    from logpx_bench.store import Store

    path = _store_path(config)
    if not config.option.logpx_store:
        path.parent.mkdir(exist_ok=True)
    return Store.open(path)


def pytest_sessionfinish(session):
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


def pytest_terminal_summary(terminalreporter, config):
    rows = [row for row in config.stash[_TIMED] if row["error"] is not None]
    if rows:
        terminalreporter.section("error against the exact log p(x), in nats, beside the time")
        labels = [row["name"].rpartition("::")[2] for row in rows]
        for label, row in zip(labels, rows, strict=True):
            extra = row["extra"]
            terminalreporter.write_line(
                f"{label:{max(map(len, labels))}}  k = {extra['n_samples']:>8}  error {row['error']:+.2e}  "
                f"std error {extra['std_error']:.2e}  ESS {extra['ess']:>8.0f}  "
                f"{1e9 * row['median_seconds'] / row['n']:7.2f} ns a sample"
            )
    if config.stash[_TIMED]:
        terminalreporter.write_line(f"{len(config.stash[_TIMED])} timings are in {_store_path(config)}")
    if config.stash[_LARGE_LEFT_OUT]:
        terminalreporter.write_line(
            f"{config.stash[_LARGE_LEFT_OUT]} benchmark cases marked large were not run; --large runs them"
        )
