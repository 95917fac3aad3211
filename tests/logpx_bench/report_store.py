"""A results file with plausible contents, made without running anything: for the tests of figures and page.

Log weights are normal, l = log p(x) − s²/2 + s·n, so that E[exp l] = p(x), KL(posterior‖q) = s²/2 and χ² = exp(s²) −
1: a store whose truth is known."""

import json
import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from logpx_bench.store import Store

cells = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("report_cells.py"))))
EXACT, WIDTHS, MODELS = cells.EXACT, cells.WIDTHS, cells.MODELS
STAGE_NS, LIMITS, CLASSES = cells.STAGE_NS, cells.LIMITS, cells.CLASSES
log_weights, level_rows, cell_of = cells.log_weights, cells.level_rows, cells.cell_of
add_stages, add_gallery, add_models = cells.add_stages, cells.add_gallery, cells.add_models
add_bounds, add_race, add_peers = cells.add_bounds, cells.add_race, cells.add_peers


def add_ladder(
    store,
    experiment,
    estimator,
    s,
    *,
    n_replicates=32,
    n_samples=2**10,
    seconds=1e-8,
    pareto_k=0.2,
    chi2=None,
    exact=EXACT,
    **columns,
):
    """One ladder cell whose log weights have the spread `s`; seconds are per sample."""
    weights = log_weights(s, n_replicates, n_samples, seed=int(1000 * s) + columns.get("n_latents", 0))
    flat = np.exp(weights - EXACT).ravel()
    chi2 = float(np.expm1(s * s)) if chi2 is None else chi2
    replicates = np.log(np.exp(weights - EXACT).mean(axis=1)) + EXACT
    cell = cell_of(
        experiment,
        "ladder",
        estimator=estimator,
        n_samples=n_samples,
        n_replicates=n_replicates,
        exact=exact,
        log_marginal=float(np.log(flat.mean()) + EXACT),
        std_error=float(flat.std() / flat.mean() / np.sqrt(flat.size)),
        elbo=float(weights.mean()),
        ess=float(flat.sum() ** 2 / np.sum(flat**2)),
        pareto_k=pareto_k,
        n_neg_inf=0,
        bias_floor=0.0,
        kl=s * s / 2,
        chi2=chi2,
        n_evaluations=flat.size,
        n_gradients=0,
        seconds=seconds * flat.size,
        cpu_seconds=seconds * flat.size,
        compile_seconds=0.1,
        fit_seconds=0.02,
        peak_bytes=150_000_000,
        **columns,
    )
    counts, edges = np.histogram(weights.ravel()[: 2**14], bins=60)
    store.write_cell(
        cell,
        levels=level_rows(weights),
        histogram={"edges": edges.tolist(), "counts": counts.tolist(), "n_neg_inf": 0},
        values={"replicates": replicates},
    )


def add_scaling(store):
    """Run times and peaks of importance and prior sampling at several k and thread counts."""
    for estimator, rate in (("prior", 12e-9), ("importance", 15e-9)):
        for threads, power in [(1, p) for p in range(10, 25, 2)] + [(2, 24), (4, 24)]:
            seconds = (4e-4 + rate * 2.0**power) / (1 + 0.9 * (min(threads, 2) - 1))
            cell = cell_of(
                "scaling",
                "scaling",
                estimator=estimator,
                threads=threads,
                n_samples=2**power,
                n_replicates=1,
                exact=EXACT,
                log_marginal=EXACT,
                std_error=1e-3,
                seconds=seconds,
                cpu_seconds=seconds * threads,
                compile_seconds=0.2,
                n_evaluations=2**power,
                n_gradients=0,
                peak_bytes=165_000_000 + 40_000 * power,
            )
            store.write_cell(
                cell, values={"seconds": [seconds, 1.02 * seconds, 0.99 * seconds], "baseline_bytes": [140e6]}
            )


def add_large_k(store, s=0.5, n_samples=2**21, ns=10.0, exact=EXACT):
    """One stream of so many log weights of spread `s`, as the cells of kind large_k have it."""
    (weights,) = log_weights(s, 1, n_samples, seed=77)
    n = 2**10
    while n <= n_samples:
        w, n_run = np.exp(weights[:n] - EXACT), n if n == 2**10 else n // 2
        rows = []
        for n_units in (64, 32):
            done = {row[1] for row in rows}
            rows += [row for row in level_rows(weights[:n].reshape(n_units, -1)) if row[1] not in done]
        cell = cell_of(
            "large_k",
            "large_k",
            estimator="importance",
            n_observed=8,
            n_samples=n,
            n_replicates=1,
            exact=exact,
            log_marginal=float(np.log(w.mean()) + EXACT),
            std_error=float(w.std() / w.mean() / np.sqrt(n)),
            chi2=float(np.expm1(s * s)),
            n_evaluations=n_run,
            seconds=1e-9 * ns * n_run,
            peak_bytes=165_000_000,
        )
        store.write_cell(
            cell, levels=rows, values={"baseline_bytes": [160e6], "worked_seconds": [2 * 0.9e-9 * ns * n_run]}
        )
        n *= 2


def add_ranking(store, gap=0.4):
    """Estimates of two models whose exact log p differ by `gap`, with streams of their own and with common ones."""
    for estimator, s in WIDTHS.items():
        values = {}
        for variant in ("independent", "common"):
            a = log_weights(s, 64, 2**10, seed=11)
            b = log_weights(1.1 * s, 64, 2**10, seed=11 if variant == "common" else 12) - gap
            for name, weights in (("a", a), ("b", b)):
                for _, level, *_ in level_rows(weights)[:: 64 * 2]:
                    first = weights[:, : 2**level]
                    values[f"{variant}/{name}/{level}"] = np.log(np.mean(np.exp(first - EXACT), axis=1)) + EXACT
        other = {"other": "factor_analysis with 2 latents"}
        store.write_cell(
            cell_of(
                "ranking",
                "ranking",
                estimator=estimator,
                n_samples=2**10,
                n_replicates=64,
                exact=gap,
                model_options=other,
            ),
            values=values,
        )


def add_provenance(store, cpu_model="Example CPU"):
    """Facts of a machine that is not this one."""
    store.write_provenance(
        {
            "id": "machine",
            "created_utc": "2026-01-01T00:00:00Z",
            "cpu_model": cpu_model,
            "n_cores": 2,
            "threads": 2,
            "load_1m": 0.1,
            "python": "3.12.1",
            "numba": "0.68.1",
            "llvmlite": "0.48.0",
            "numpy": "2.4.0",
            "scipy": "1.17.0",
            "logpx": "0.1.0",
            "commit_hash": "0123456789abcdef",
            "dirty": 0,
            "cpu_target": "example",
            "source_hash": "cafe",
        }
    )


def build(path, *, widths=None, n_replicates=32):
    """A store at `path` with every experiment; `widths` are the spreads of the log weights by estimator."""
    widths = WIDTHS if widths is None else widths
    with Store.open(path) as store:
        add_provenance(store)
        rates = {"uniform": 8e-9, "prior": 10e-9, "importance": 14e-9}
        tails = {"uniform": 0.95, "prior": 0.61, "importance": 0.12}
        for estimator, s in widths.items():
            add_ladder(
                store,
                "error_against_k",
                estimator,
                s,
                n_replicates=n_replicates,
                seconds=rates[estimator],
                pareto_k=tails[estimator],
            )
            for n_latents in (2, 4, 8, 16):
                spread = s * (n_latents / 2) ** 0.45
                add_ladder(
                    store,
                    "dimension",
                    estimator,
                    spread,
                    n_replicates=n_replicates,
                    n_samples=2**8,
                    n_latents=n_latents,
                )
        for n_latents in (4, 16):
            for widen, s in ((0.7, 1.3), (1.0, 0.35), (1.3, 0.6), (1.7, 0.9), (2.5, 1.4)):
                infinite = widen < (1 if n_latents == 4 else 1.2)
                add_ladder(
                    store,
                    "proposal_quality",
                    "importance",
                    s * n_latents**0.1,
                    n_replicates=n_replicates,
                    n_latents=n_latents,
                    chi2=np.inf if infinite else None,
                    pareto_k=0.74 if infinite else 0.1,
                    estimator_options={"widen": widen},
                )
        add_scaling(store)
        add_large_k(store)
        add_ranking(store)
        add_gallery(store)
        add_models(store)
        add_bounds(store)
        add_peers(store)
        add_stages(store)
    return path


def dump(rows):
    """A table as canonical JSON, to compare tables with nan in them."""
    return json.dumps(rows, sort_keys=True)
