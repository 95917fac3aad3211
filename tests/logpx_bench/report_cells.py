"""Cells of a made-up results file, by kind, for `report_store`: stages, images, models, bounds, races.

Log weights are normal, l = log p(x) − s²/2 + s·n, so that E[exp l] = p(x), KL(posterior‖q) = s²/2 and χ² = exp(s²) − 1.
"""

import math

import numpy as np

from logpx_bench.counts import CLASSES, SLOTS
from logpx_bench.schema import content_key

WIDTHS = {"uniform": 2.6, "prior": 1.7, "importance": 0.5}
EXACT = -131.25
ROLES = ("best", "library", "as written")


def log_weights(s, n_replicates, n_samples, seed):
    """Log weights of the given spread `s`, shape (n_replicates, n_samples), E[w] = exp(EXACT)."""
    normal = np.random.default_rng(seed).standard_normal((n_replicates, n_samples))
    return EXACT - s * s / 2 + s * normal


def level_rows(weights):
    """(replicate, level, n_groups, mean, m2) of L_k at every dyadic k, straight from the definition."""
    rows, values, level = [], weights, 0
    while True:
        for replicate, own in enumerate(values):
            rows.append((replicate, level, own.size, own.mean(), np.sum((own - own.mean()) ** 2)))
        if values.shape[1] == 1:
            return rows
        values, level = np.logaddexp(values[:, ::2], values[:, 1::2]) - np.log(2), level + 1


def cell_of(experiment, kind, **columns):
    """A row of `cells` with its key."""
    cell = {
        "provenance_id": "machine",
        "suite": "synthetic",
        "experiment": experiment,
        "kind": kind,
        "model": "ppca",
        "model_options": {},
        "n_latents": 2,
        "n_observed": 61,
        "data": "digits",
        "row": 3,
        "estimator_options": {},
        "points": "independent",
        "dtype": "float64",
        "threads": 2,
        "seed": 0,
        "created_utc": "2026-01-01T00:00:00Z",
        "warnings": [],
    } | columns
    return cell | {"key": content_key([experiment, kind, {k: str(v) for k, v in columns.items()}])}


#: Nanoseconds of each stage in the store made up below, and the vector of counts that every stage has.
STAGE_NS = {"points": 3.0, "proposal": 0.5, "log_joint": 1.5, "weights": 0.4, "largest": 0.3, "exponentials": 1.0}
STAGE_NS |= {"levels_1_3": 1.2, "levels_4_6": 0.3, "levels_7_10": 0.3, "carry": 0.2}
COUNTS = {"instructions": 6.0, "multiply512": 1.0, "load512": 0.5, "load_bytes": 32.0, "flops": 16.0}
LIMITS = {"clock": 4.0, "fma_float64": 64.0, "fma_float32": 128.0, "triad_l1": 200.0, "triad_l2": 100.0}
LIMITS |= {"triad_l3": 60.0, "triad_memory": 25.0, "triad_memory_2": 30.0, "rate_issue": 24.0}
LIMITS |= {f"rate_{name}": 4.0 for name in SLOTS}


def add_stages(store, whole=9.0, limits=LIMITS, counts=COUNTS):
    """Stages of two models in both precisions, with a whole of so many nanoseconds, and the machine's limits."""
    for n_latents, dtype in ((2, "float64"), (2, "float32"), (16, "float64"), (16, "float32")):
        scale = n_latents / 2
        values = {f"ns/{name}": [scale * ns, 1.1 * scale * ns] for name, ns in STAGE_NS.items()}
        values |= {f"count/{name}": [counts.get(kind, 0.0) for kind in CLASSES] for name in STAGE_NS}
        values["ns/whole"] = [scale * whole, 1.2 * scale * whole]
        columns = {"dtype": dtype, "estimator": "importance", "n_latents": n_latents, "data": "sample", "threads": 1}
        store.write_cell(cell_of("stages", "stages", n_samples=2**18, n_replicates=1, **columns), values=values)
    cell = cell_of("limits", "limits", estimator="limits", model="machine", n_latents=None, n_samples=0, row=None)
    store.write_cell(cell, values={f"limit/{name}": [value] for name, value in limits.items()})


def add_gallery(store):
    """Noise images and log p(x) of 40 held-out images for the models of the digits; VAEs of 8 latents are estimated."""
    rng = np.random.default_rng(5)
    offsets = {"pca": None, "autoencoder": None, "ppca": 0.0, "factor_analysis": 9.0}
    offsets |= {"vae_gaussian": 12.0, "vae_bernoulli": 110.0}
    for model, offset in offsets.items():
        for n_latents in (2, 8):
            estimated = model.startswith("vae_") and n_latents > 2
            values = {
                "n_images": [40.0],
                "reconstruction_rmse": [0.2],
                "data": rng.random(8 * 64),
                "reconstruction": rng.random(8 * 64),
            }
            if offset is not None:
                values |= {
                    "sample": rng.random(8 * 64),
                    "log_p": -140 + offset + 3 * n_latents + 8 * rng.standard_normal(40),
                }
            if estimated:
                values |= {"std_error": np.linspace(0.01, 0.05, 40), "n_unsure": [3.0]}
            cell = cell_of(
                "digits",
                "gallery",
                model=model,
                n_latents=n_latents,
                row=None,
                estimator="importance" if estimated else "exact",
                n_samples=4096 if estimated else 0,
                n_replicates=0,
            )
            store.write_cell(cell, values=values)


#: Models in the store made up below: latents, discrete ones, spread of the log weights, nats between the routes, ns.
MODELS = {
    "ppca": (2, 0, 0.5, 3e-15, 15.0),
    "gaussian_mixture": (1, 1, 0.2, 1e-14, 12.0),
    "ppca_mixture": (3, 1, 0.9, 2e-10, 45.0),
    "eggbox": (2, 0, 1.2, 5e-13, 250.0),
}


def add_models(store, n_replicates=64, n_samples=2**8, narrow=1.0):
    """Replicates of a few models, whose standard errors are `narrow` times what they should be."""
    for name, (n_latents, n_discrete, s, difference, ns) in MODELS.items():
        w = np.exp(log_weights(s, n_replicates, n_samples, seed=int(1000 * s)) - EXACT)
        values = {
            "exact": [EXACT, EXACT - 1],
            "second": [EXACT, EXACT - 1 + difference],
            "replicates": np.log(w.mean(axis=1)) + EXACT,
            "std_errors": narrow * w.std(axis=1) / w.mean(axis=1) / np.sqrt(n_samples),
            "ns": [ns, 1.1 * ns, 0.95 * ns],
            "ess_fraction": [math.exp(-s * s)],
            "n_discrete": [n_discrete],
        }
        cell = cell_of(
            "models",
            "models",
            model=name,
            model_options={"exact_route": f"sum of {name}", "second_route": f"grid of {name}"},
            n_latents=n_latents,
            row=0,
            estimator="importance",
            n_samples=n_samples,
            n_replicates=n_replicates,
            exact=EXACT,
            chi2=math.expm1(s * s) if name == "ppca" else None,
        )
        store.write_cell(cell, values=values)


def add_bounds(store, n_images=20, n_samples=2**17):
    """Images under two likelihoods: gaps of normal log weights, s²/2 at k = 1 and χ²/2k above, with errors of a run."""
    for likelihood, s in (("bernoulli", 1.1), ("gaussian", 0.6)):
        rng = np.random.default_rng(len(likelihood))
        exact = -20 - 10 * rng.random(n_images)
        values = {"exact": exact, "exact_error": np.full(n_images, 3e-8)}
        for k in (1, 64, 4096):
            gap = s * s / 2 if k == 1 else math.expm1(s * s) / (2 * k)
            error = (s if k == 1 else math.sqrt(math.expm1(s * s) / k)) * math.sqrt(k / n_samples)
            values |= {f"bound/{k}": exact - gap + error * rng.standard_normal(n_images)}
            values |= {f"std_error/{k}": np.full(n_images, error)}
        options = {"likelihood": likelihood, "n_latents": 2}
        cell = cell_of("vae", "bounds", model="vae", model_options=options, row=None, estimator="encoder")
        store.write_cell(cell | {"n_samples": n_samples, "n_replicates": 1}, values=values)


def add_race(store, case, dtype, threads, ratios, *, absent=None, rounds=9):
    """One race: `ratios` are peer → (best, library, as written), over ours of 10 ns; all rounds differ by a few
    per cent."""
    slow = 1 + 0.05 * np.random.default_rng([9, threads, len(case)]).random(rounds)
    values = {"ns/logpx/best": 10 * slow}
    told = {"logpx": (dict.fromkeys(ROLES, "estimate"), None)}
    for peer, times in ratios.items():
        jitter = 1 + 0.02 * np.random.default_rng([8, len(peer)]).standard_normal(rounds)
        values |= {f"ns/{peer}/{role}": 10 * one * slow * jitter for role, one in zip(ROLES, times, strict=True)}
        ways = ("chunk 2^14, reduced, soa, compiled", "chunk 2^14, soa, compiled", "chunk 2^20, aos")
        told[peer] = (dict(zip(ROLES, ways, strict=True)), None)
    for peer, reason in (absent or {}).items():
        told[peer] = (dict.fromkeys(ROLES), reason)
    peers = {
        peer: {
            "variant": variants,
            "summary": peer,
            "versions": {} if reason else {peer: "1.0"},
            "absent": reason,
            "compile_seconds": {"best": None if reason else 0.5},
            "note": dict.fromkeys(ROLES, ""),
            "tried": []
            if reason
            else [{"words": "x", "as_written": True, "ns": 1.0, "prepare_seconds": 1, "note": ""}],
        }
        for peer, (variants, reason) in told.items()
    }
    cell = cell_of(
        "peers",
        "peers",
        model=case,
        dtype=dtype,
        threads=threads,
        estimator="race",
        estimator_options={"peers": peers},
        n_samples=2**20,
        n_replicates=rounds,
    )
    store.write_cell(cell, values=values)


def add_peers(store):
    """Races of every kind, with one library ahead of us in one case, one absent, and one that runs on one thread."""
    ratios = {"numpy": (2.5, 4.1, 14.0), "jax": (1.4, 3.2, 5.0), "torch": (1.6, 1.6, 12.0)}
    absent = {"numpyro": "numpyro is not installed (`make peers` installs it)"}
    for dtype in ("float64", "float32"):
        for case in ("uniforms", "exp", "log_joint_fa", "chain_ppca_2_8", "chain_mixture_64"):
            add_race(store, case, dtype, 2, ratios | ({"jax": (0.8, 0.8, 3.0)} if case == "exp" else {}), absent=absent)
    add_race(store, "chain_ppca_2_8", "float64", 1, ratios | {"c-avx2": (1.1, math.nan, 1.2)}, absent=absent)
