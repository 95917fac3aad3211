"""The tables of the page: results of every estimator, bias against spread, what KL asks for, and provenance."""

from __future__ import annotations

import math

from logpx_bench.figures import peers as race
from logpx_bench.figures import series as s
from logpx_bench.figures import words
from logpx_bench.page.blocks import Block, Code, Grid, Paragraph
from logpx_bench.page.facts import Facts
from logpx_bench.plurals import counted

STEP = 4  # levels between the rows of a table: k, 16 k, 256 k, …
ONE = 1.0  # nats: the RMSE at which an estimate begins to be of use
RUNS = 4  # provenance columns shown


def chosen(rows: s.Table) -> s.Table:
    """Rows at k = 1, 16, 256, … and at the largest k."""
    last = rows[-1]
    return [row for row in rows if row is last or (int(row["k"]).bit_length() - 1) % STEP == 0]


def share(cell: s.Row) -> float | None:
    """ESS of a cell over its samples, if it has one."""
    return cell["ess_fraction"] if s.finite(cell["ess_fraction"]) else None


def results(facts: Facts) -> list[Block]:
    """Every estimator at some k: bias, spread, RMSE, ESS, k̂, seconds; a table for each model and image."""
    cases = list(dict.fromkeys((row["model"], row["n_latents"], row["row"]) for row in facts.errors))
    if not cases:
        return [Paragraph("The store has no errors against $k$.")]
    header = ("estimator", "$k$", "bias", "sd", "RMSE", "95% interval", "ESS", "$\\hat k$", "$k$ × time a sample")
    notes = (
        "Nats, except ESS (samples), Pareto $\\hat k$ (of the whole run of each estimator) and time ($k$ times the "
        f"time a sample took over all replicates, one timing, {_threads(facts)}; compilation and the fixed cost of a "
        "call are not in it). Bias ± its standard error; the interval of RMSE is a percentile bootstrap over "
        "replicates, which tends to be too narrow where few weights carry the sum. "
        f"{s.replicates(facts.errors)} The same at every $k$: [results.csv](data/results.csv)."
    )
    grids: list[Block] = []
    for case in cases:
        own = [row for row in facts.errors if (row["model"], row["n_latents"], row["row"]) == case]
        rows = []
        for each in s.by_estimator(own, "k"):
            rows += [(s.one_line(each), *_result(row, facts.cell(each))) for row in chosen(each.rows)]
        truth = s.truth(own[0]).replace("log p(x)", "$\\log p(x)$")
        exact = f"{truth} = {words.fixed(own[0]['exact'], 3)}"
        grids.append(Grid(f"{s.case_name(own[0])}, {exact}.", header, tuple(rows)))
    return [*grids, Paragraph(notes)]


def _threads(facts: Facts) -> str:
    counts = sorted({int(row["threads"]) for row in facts.errors})
    return f"{words.listed([str(count) for count in counts])} thread{'s' if counts[-1] > 1 else ''}"


def _result(row: s.Row, cell: s.Row) -> tuple[str, ...]:
    error, effective = s.rmse(row), share(cell)
    return (
        words.power(row["k"]),
        f"{words.number(row['bias'], 2)} ± {words.number(row['bias_std_error'], 1)}",
        words.number(row["sd"]),
        words.number(error.value),
        f"{words.number(error.low)} to {words.number(error.high)}",
        words.number(effective * row["k"], 2) if effective is not None else "none",
        words.number(cell["pareto_k"], 2) if s.finite(cell["pareto_k"]) else "none",
        words.seconds(row["seconds_at_k"]),
    )


def bias_and_spread(facts: Facts) -> list[Block]:
    """Measured bias and spread of the best estimator beside the delta method's, at some k."""
    best = facts.best()
    if best is None:
        return []
    chi2 = best.rows[0]["chi2"]
    rows = []
    for row in chosen(best.rows):
        theory = (-chi2 / (2 * row["k"]), math.sqrt(chi2 / row["k"])) if s.finite(chi2) else (None, None)
        relation = words.number(abs(row["bias"]) / row["sd"], 2) if row["sd"] > 0 else "none"
        bias = f"{words.number(row['bias'], 2)} ± {words.number(row['bias_std_error'], 1)}"
        rows.append(
            (
                words.power(row["k"]),
                bias,
                words.number(theory[0], 2),
                words.number(row["sd"], 2),
                words.number(theory[1], 2),
                relation,
            )
        )
    header = ("$k$", "bias", "$-\\chi^2/2k$", "spread (sd)", "$\\sqrt{\\chi^2/k}$", "bias / spread")
    known = (
        f"$\\chi^2$ = {words.number(chi2)} in closed form" if s.finite(chi2) else "$\\chi^2$ is not known or not finite"
    )
    return [
        Grid(
            f"{words.sentence(s.one_line(best))} sampling, {s.case_name(best.rows[0])}; nats; {known}.",
            header,
            tuple(rows),
        )
    ]


def needed(facts: Facts) -> list[Block]:
    """KL, exp KL and the k at which the RMSE falls under a nat, per estimator."""
    rows = []
    for each in facts.lead():
        cell = facts.cell(each)
        effective = share(cell)
        rows.append(
            (
                s.one_line(each),
                words.number(cell["kl"]),
                words.number(math.exp(cell["kl"])) if s.finite(cell["kl"]) and cell["kl"] < 700 else "unknown",
                words.number(cell["chi2"]),
                first_useful(each),
                words.percent(effective) if effective is not None else "none",
                words.number(cell["pareto_k"], 2) if s.finite(cell["pareto_k"]) else "none",
            )
        )
    if not rows:
        return []
    header = ("estimator", "KL, nats", "exp KL", "$\\chi^2$", f"$k$ for RMSE < {ONE:g} nat", "ESS / $k$", "$\\hat k$")
    caption = (
        f"{s.case_name(facts.lead()[0].rows[0])}; KL and $\\chi^2$ of the posterior from the proposal, in closed form."
    )
    return [Grid(caption, header, tuple(rows))]


def first_useful(each: s.Series) -> str:
    """The first k of a series whose RMSE is under a nat, in words."""
    found = next((row["k"] for row in each.rows if row["rmse"] < ONE), None)
    return words.power(found) if found else f"above {words.power(each.rows[-1]['k'])}"


def peers(facts: Facts) -> list[Block]:
    """Every library in every case: its best variant in words, its times, and its ratios to ours; a table a kind."""
    table = facts.tables["peers"]
    if not table:
        return []
    columns = ("case", "precision", "library", "best variant", "tried", "ns", "over ours", "95% interval")
    header = (*columns, "library functions only: ns", "over ours", "95% interval", "as first written")
    grids: list[Block] = []
    for title in race.groups(table):
        own = [row for row in table if race.kind(row) == title]
        rows = [_raced(row, own) for row in own if row["role"] == race.BEST and (s.finite(row["ns"]) or row["n_tried"])]
        grids.append(Grid(f"{words.sentence(title)}; ns an element, medians.", header, tuple(rows), n_left=5))
    notes = (
        "The best variants may hold parts that the library does not have, written by hand: a QR decomposition "
        "beforehand that leaves fewer products (reduced), uniforms out of a generator's raw bits (words), a sine by a "
        "polynomial (own sine), products of a matrix written out (unrolled). The columns on "
        "library functions only are of the best variant without any of these. The last column is the time of the "
        "variant that a user would first write, over ours. "
        "Tried: the variants that the search for the best gave a time, of all; the rest failed, or came after its time "
        "was up ([sweep.csv](data/sweep.csv): every variant, its time or why it has none). "
        f"{race.absent(table)}Versions, variants, compile times and all notes: [peers.csv](data/peers.csv)."
    )
    return [*grids, Paragraph(notes)]


def _raced(row: s.Row, table: s.Table) -> tuple[str, ...]:
    same = ("case", "dtype", "peer")
    own = {one["role"]: one for one in table if all(one[name] == row[name] for name in same)}
    ours = len(own) == 1
    library, written = own.get(race.LIBRARY), own.get(race.WRITTEN)
    return (
        race.case(row),
        row["dtype"],
        race.name(row["peer"]),
        (row["variant"] or "none") if not row["note"] else f"{row['variant'] or 'none'} ({row['note']})",
        f"{row['n_tried']} of {row['n_variants']}",
        *_times(row, bare=ours),
        *(_times(library) if library else ("", "", "")),
        words.number(written["ratio"]) if written and s.finite(written["ratio"]) else "",
    )


def _times(row: s.Row, bare: bool = False) -> tuple[str, str, str]:
    """ns, the ratio to ours and its interval (none where it is ours: bare)."""
    if not s.finite(row["ratio"]):
        return (words.number(row["ns"]) if s.finite(row["ns"]) else "none", "none", "")
    interval = "" if bare else f"{words.number(row['ratio_low'])} to {words.number(row['ratio_high'])}"
    return words.number(row["ns"]), words.number(row["ratio"]), interval


def models(facts: Facts) -> list[Block]:
    """One row a model with an exact marginal: its latents, both routes and how far they are apart, time, ESS."""
    table = facts.tables["models"]
    if not table:
        return []
    numbers = ("max |difference|, nats", "ns a sample", "ESS / samples")
    header = ("model", "latents", "exact route", "second route", *numbers)
    rows = tuple(
        (
            s.title(row["model"]),
            latents(row),
            row["exact_route"] or "its own",
            row["second_route"] or "none",
            words.number(row["max_difference"], 2) if row["second_route"] else "–",
            words.number(row["ns"], 2),
            words.percent(row["ess_fraction"]),
        )
        for row in table
    )
    counts = sorted({row["n_rows"] for row in table})
    over = counted(counts[0], "row") if len(counts) == 1 else f"{counts[0]} to {counts[-1]} rows"
    caption = (
        f"Differences are the largest over {over} of data each; time and ESS are of the model's own "
        "default proposal, one thread, points, proposal, log joint and full ladder. Everything else that was measured: "
        "[models.csv](data/models.csv)."
    )
    return [Grid(caption, header, rows, n_left=4)]


def latents(row: s.Row) -> str:
    """How many latents of which kind: "2 continuous", "1 discrete and 2 continuous"."""
    kinds = {"discrete": row["n_discrete"], "continuous": row["n_latents"] - row["n_discrete"]}
    return words.listed([f"{count} {kind}" for kind, count in kinds.items() if count])


FACTS = (
    ("created_utc", "when (UTC)"),
    ("cpu_model", "processor"),
    ("n_cores", "cores"),
    ("threads", "threads"),
    ("load_1m", "load at the start"),
    ("python", "Python"),
    ("numba", "numba"),
    ("llvmlite", "llvmlite"),
    ("numpy", "NumPy"),
    ("scipy", "SciPy"),
    ("scikit_learn", "scikit-learn"),
    ("matplotlib", "Matplotlib"),
    ("logpx", "logpx"),
    ("commit_hash", "commit"),
    ("dirty", "uncommitted changes"),
    ("cpu_target", "CPU target"),
    ("source_hash", "source of the kernels"),
)


def provenance(facts: Facts) -> list[Block]:
    """Machine, versions, commit and commands behind every number."""
    runs = facts.provenance[-RUNS:]
    if not runs:
        return [Paragraph("The store does not say where its numbers come from.")]
    header = ("", *(f"run {i + 1}" for i in range(len(runs)))) if len(runs) > 1 else ("", "")
    rows = tuple((name, *(_fact(run, column) for run in runs)) for column, name in FACTS)
    more = len(facts.provenance) - len(runs)
    caption = (
        f"{counted(more, 'earlier run')}, whose cells are also read, {'is' if more == 1 else 'are'} not shown."
        if more
        else ""
    )
    commands = [*facts.commands, "logpx report"]
    return [
        Paragraph(
            "Every number and every sentence that compares numbers is computed from one results file, written by the "
            f"suite{'s' if len(facts.suites) > 1 else ''} {words.listed([f'`{name}`' for name in facts.suites])}. "
            "The commands, without options that a store does not keep, such as `--threads`:"
        ),
        Code("\n".join(commands)),
        Grid(caption, header, rows, n_left=len(header)),
    ]


def _fact(run: s.Row, column: str) -> str:
    value = run.get(column)
    if value is None:
        return "not recorded"
    if column == "dirty":
        return "yes" if value else "no"
    if column in ("commit_hash", "source_hash"):
        return f"`{str(value)[:12]}`"
    return f"{value:.2f}" if isinstance(value, float) else str(value)
