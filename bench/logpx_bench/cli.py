"""The `logpx` command.

    logpx run SUITE      run a suite (quick, article, or a TOML file) into a store; run again to resume; --executor
                         gives long cells to processes or to a Dask cluster; --model adds a model of your own
    logpx check MODEL    whether a model of your own is what it says it is, and what to do if not
    logpx plan MODEL     the samples and hours that a target standard error takes
    logpx score FILES    log weights from files: estimate, bounds, warnings
    logpx report         draw the figures and the page from a store
    logpx list           what there is: models, estimators, point sets, kinds, suites, figures
    logpx doctor         versions, CPU, threads, kernel cache, store; a non-zero exit if something is wrong
    logpx merge A B      add B, and more, to A: results files, or checkpoints of one run
    logpx export FOLDER  every table as CSV

Results are in results/results.sqlite unless --store names another file; the chunks that a long cell has finished are in
a folder beside it. How a command ends, and with which exit code, is in `logpx_bench.exits`.
"""

import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from logpx_bench.exits import CODES, readable
from logpx_bench.plurals import counted

if TYPE_CHECKING:
    from logpx.points import PointSet
    from logpx_bench.runner import Planned
    from logpx_bench.store import Store

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Estimators of log p(x) for latent-variable models: run, measure, report.",
    epilog=CODES,
)
#: Width is that of the terminal; in a pipe or a file, wide enough that a table's row stays one line.
console = Console(width=None if sys.stdout.isatty() else 10_000)

StoreOption = Annotated[Path, typer.Option("--store", metavar="FILE", help="The results file.")]
ThreadsOption = Annotated[int | None, typer.Option("--threads", min=1, help="Threads of a run; all cores by default.")]
ExecutorOption = Annotated[
    str,
    typer.Option(
        "--executor",
        metavar="WHERE",
        help="Where long cells run: threads, processes, dask (workers on this machine), or the address of a Dask "
        "scheduler, tcp://host:port.",
    ),
]
DEFAULT_STORE = Path("results", "results.sqlite")
DEFAULT_REPORT = Path("results", "report")


def _opened(path: Path) -> "Store":
    """The store to write to; the folder of the default one is made."""
    from logpx_bench.store import Store

    if path == DEFAULT_STORE:
        path.parent.mkdir(exist_ok=True)
    return Store.open(path)


@app.command()
def run(
    suite: Annotated[
        str, typer.Argument(help='Name of a suite ("quick", "article") or path of a TOML file.')
    ] = "quick",
    store: StoreOption = DEFAULT_STORE,
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            metavar="FILE",
            help="A Python file that defines model and x: it joins the suite's models; repeatable.",
        ),
    ] = None,
    only: Annotated[str | None, typer.Option("--only", metavar="NAME", help="One experiment of the suite.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show cells, predicted time and error; run nothing.")
    ] = False,
    threads: ThreadsOption = None,
    executor: ExecutorOption = "threads",
    resume: Annotated[
        bool, typer.Option("--resume", help="Keep finished chunks of long cells, and go on from those that are there.")
    ] = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Move checkpoints that are there aside, and begin their cells anew.")
    ] = False,
) -> None:
    """Run a suite into a store; what is there already is skipped."""
    with readable():
        from logpx_bench import guests, machine, runner
        from logpx_bench import suite as suites
        from logpx_bench.cluster import executor_for
        from logpx_bench.store import Store

        chosen = suites.load(suites.find(suite)).only(only)
        for file in model or ():
            chosen, absent = guests.invite(chosen, file)
            for reason in absent:
                console.print(escape(f"{file} is {reason}"), highlight=False, soft_wrap=True)
        n_threads = threads or machine.n_cores()
        if dry_run:
            if not store.exists():
                _show_plan(runner.plan(chosen, None, n_threads))
                return
            with Store.open(store, create=False) as results:
                _show_plan(runner.plan(chosen, results, n_threads))
            return
        runner.verify(chosen)
        with _opened(store) as results, executor_for(executor, n_threads) as workers:
            done = runner.run(chosen, results, n_threads, executor=workers, resume=resume, fresh=fresh, console=console)
            waited, wrong = guests.compile_seconds(chosen, results), guests.contradicted(chosen, results)
        skipped = f", {done.n_skipped} were there already" if done.n_skipped else ""
        cells = counted(done.n_run, "cell")
        console.print(f"{chosen.name}: {cells} run in {done.seconds:.1f} s{skipped}. Results: {store}", soft_wrap=True)
        for file, seconds in waited.items():
            console.print(f"{file}: compiled in {seconds:.1f} s, at the start of a process.", soft_wrap=True)
        if done.checkpoints is not None:
            console.print(f"Finished chunks stay in {done.checkpoints}: a run of more samples goes on from them.")
        for sentence in wrong:
            console.print(f"[bold red]wrong[/] {escape(sentence)}", highlight=False, soft_wrap=True)
        if wrong:
            raise typer.Exit(1)


def _show_plan(planned: "list[Planned]") -> None:
    table = Table("experiment", "cell", "in store", "seconds", "error (nats)", box=None, header_style="bold")
    for one in planned:
        table.add_row(
            one.cell.experiment,
            escape(one.cell.words()),
            "yes" if one.stored else "",
            f"{one.seconds:.2f}{'' if one.measured else ' *'}",
            _error_words(one.error),
        )
    console.print(table)
    missing = [one for one in planned if not one.stored]
    total = sum(one.seconds for one in missing)
    cells = f"{counted(len(planned), 'cell')}, {len(missing)} to run"
    console.print(f"{cells}, about {total:.0f} s and compiling.", soft_wrap=True)
    console.print(
        "* a default time per sample; the others were measured. Error: sqrt(χ²/k), where χ² has a closed form.",
        soft_wrap=True,
    )


def _error_words(error: float) -> str:
    """The delta method says nothing of errors about a nat and above, but that they are large."""
    if math.isnan(error):
        return "-"
    if math.isinf(error):
        return "infinite variance"
    return f"{error:.2g}" if error < 1 else "above 1"


def _count(text: str) -> int:
    """A number of samples: digits, or a power of two as 2^16."""
    from logpx_bench.errors import InputError

    base, _, power = text.rpartition("2^")
    if base or not power.isdecimal():
        raise InputError(f"{text!r} is not a number of samples, such as 65536 or 2^16")
    return 1 << min(int(power), 62) if text != power else int(text)


@app.command()
def plan(
    model: Annotated[str, typer.Argument(help="A model's name, or a Python file that defines model and x.")],
    target: Annotated[float, typer.Option("--target", metavar="NATS", help="Standard error to reach, for each row.")],
    row: Annotated[int | None, typer.Option("--row", min=0, help="One row of x; all of them by default.")] = None,
    data: Annotated[str | None, typer.Option("--data", help="A data set that the model is fitted to.")] = None,
    option: Annotated[
        list[str] | None, typer.Option("--option", metavar="NAME=NUMBER", help="An option of the model; repeatable.")
    ] = None,
    threads: ThreadsOption = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the pilot.")] = 0,
    pilot: Annotated[str, typer.Option("--pilot", metavar="N", help="Pilot samples a row.")] = "2^16",
) -> None:
    """Say how many samples, and how long, a target standard error takes."""
    with readable():
        import numpy as np

        from logpx import plan
        from logpx_bench import user_file
        from logpx_bench.errors import InputError

        given = user_file.resolve(model, data, option or ())
        x = given.x
        if row is not None:
            rows = np.atleast_2d(x)
            if row >= len(rows):
                raise InputError(f"--row {row}: x has rows 0 to {len(rows) - 1}")
            x = rows[row]
        planned = plan(
            given.model, x, target, proposal=given.proposal, pilot_samples=_count(pilot), seed=seed, threads=threads
        )
        console.print(escape(str(planned)), highlight=False, soft_wrap=True)


@app.command()
def check(
    model: Annotated[str, typer.Argument(help="A Python file that defines model and x (mine.py), or a model's name.")],
) -> None:
    """Examine a model: shapes, values, bits, normalisation, speed; one line a check, and what to do about a failure."""
    with readable():
        from logpx_bench import conformance

        subject = conformance.subject(model)
        colours = {conformance.PASS: "green", conformance.FAIL: "bold red", conformance.SKIP: "yellow"}
        counts = dict.fromkeys(colours, 0)
        for one, found in conformance.examine(subject):
            counts[found.verdict] += 1
            verdict = f"[{colours[found.verdict]}]{found.verdict}[/]"
            console.print(f"{verdict}  {one.name:<14} {escape(found.said)}", highlight=False, soft_wrap=True)
            if found.todo:
                console.print(f"      {'':<14} → {escape(found.todo)}", highlight=False, soft_wrap=True)
        console.print(f"{counts['pass']} passed, {counts['fail']} failed, {counts['skip']} skipped", highlight=False)
        if counts[conformance.FAIL]:
            raise typer.Exit(1)


@app.command()
def score(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help=".npy, .txt or .csv files of log weights.")],
    exact: Annotated[str | None, typer.Option("--exact", help="The exact log p(x), or a file with one a row.")] = None,
    axis: Annotated[int, typer.Option("--axis", help="Axis of a 2-D array along which samples run.")] = -1,
    groups: Annotated[list[int] | None, typer.Option("--groups", min=1, help="A further k; repeatable.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Everything as JSON.")] = False,
) -> None:
    """Read log weights that were made elsewhere: the estimate, its error, the bounds, and whether to believe them."""
    with readable():
        import json

        from logpx_bench import score

        found = score.score(files, axis=axis, groups=groups or (), exact=exact)
        text = json.dumps(score.facts(found), allow_nan=False) if as_json else score.words(found)
        console.print(text, highlight=False, markup=False, soft_wrap=True)


@app.command()
def report(
    store: StoreOption = DEFAULT_STORE,
    out: Annotated[Path, typer.Option("--out", metavar="FOLDER", help="Where the report goes.")] = DEFAULT_REPORT,
) -> None:
    """Draw the figures and the page from a store."""
    with readable():
        from logpx_bench import page
        from logpx_bench.errors import StoreError
        from logpx_bench.store import Store

        with Store.open(store, create=False) as results:
            if not results.count("cells"):
                raise StoreError(f"{store}: there is nothing in it to report. Fill it: logpx run quick --store {store}")
            index = page.build(results, out)
        console.print(f"The report is at {index.resolve()}", soft_wrap=True)


@app.command("list")
def list_() -> None:
    """What there is: models, estimators, point sets, kinds of experiment, suites, figures."""
    with readable():
        from logpx.points import REGISTRY as POINTS
        from logpx.proposals import REGISTRY as PROPOSALS
        from logpx_bench import suite as suites
        from logpx_bench.data import DATA, MODELS
        from logpx_bench.estimators import ESTIMATORS
        from logpx_bench.experiments import KINDS
        from logpx_bench.figures import FIGURES

        sections = {
            "models": {name: _with_options(one.summary, one.options) for name, one in MODELS.items()},
            "data": DATA,
            "estimators": {name: _with_options(one.summary, one.options) for name, one in ESTIMATORS.items()},
            "proposals": {name: _first_line(one.__doc__) for name, one in PROPOSALS.items()},
            "point sets": {name: _point_set(one) for name, one in POINTS.items()},
            "kinds of experiment": {name: kind.summary for name, kind in KINDS.items()},
            "suites": {path.stem: suites.load(path).title for path in suites.available()},
            "figures": {name: one.TITLE for name, one in FIGURES.items()},
        }
    for title, rows in sections.items():
        console.print(f"[bold]{title}[/]")
        table = Table(box=None, show_header=False, padding=(0, 1))
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        for name, words in rows.items():
            table.add_row(f"  {name}", escape(words))
        console.print(table)


def _with_options(summary: str, options: Mapping[str, object]) -> str:
    names = ", ".join(options)
    return f"{summary.rstrip('.')} [{names}]" if names else summary.rstrip(".")


def _first_line(text: str | None) -> str:
    return (text or "").strip().partition("\n")[0].rstrip(".")


def _point_set(points: "PointSet") -> str:
    if points.iid:
        return "independent samples, each computed from its index"
    return "evenly spread samples, each computed from its index; no levels, so not for suites: for logpx.estimate"


@app.command()
def doctor(store: StoreOption = DEFAULT_STORE) -> None:
    """Versions, CPU, threads, kernel cache, store, and one estimate against its exact value."""
    with readable():
        from logpx_bench.doctor import examine

        findings = examine(store)
    table = Table(box=None, show_header=False, padding=(0, 1))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for one in findings:
        table.add_row(one.what, escape(one.found) if one.good else f"[bold red]{escape(one.found)}[/]")
    console.print(table)
    bad = [one for one in findings if not one.good]
    console.print("[bold red]something is wrong, see above[/]" if bad else "all is well")
    if bad:
        raise typer.Exit(1)


@app.command()
def merge(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Results files, or checkpoints of one run.")],
    into: Annotated[
        Path | None,
        typer.Option(
            "--into",
            "--store",
            metavar="FILE",
            help="What receives them: by default the first FILE, or for a single one results/results.sqlite.",
        ),
    ] = None,
) -> None:
    """Add files of other machines to the first. Twice adds nothing; files that contradict each other are refused."""
    with readable():
        from logpx_bench import merging
        from logpx_bench.errors import InputError

        if into is None and len(files) > 1:
            into, *files = files
        elif into is None and merging.kind_of(files[0]) == merging.CHECKPOINT:
            raise InputError(f"{files[0]} is a checkpoint; name the one that receives it first: logpx merge A B")
        elif into is None:
            into = DEFAULT_STORE
            merging.kind_of(files[0])
            into.parent.mkdir(exist_ok=True)
        for line in merging.merge(into, files):
            console.print(line, soft_wrap=True)


@app.command()
def export(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER")],
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Write every table of a results file to a folder as CSV."""
    with readable():
        from logpx_bench.store import Store

        with Store.open(store, create=False) as results:
            paths = results.export(folder)
        console.print(f"{counted(len(paths), 'table')} written to {folder}", soft_wrap=True)


def main() -> None:
    """Entry point of the `logpx` command."""
    app()


if __name__ == "__main__":
    main()
