"""What the story reads its numbers from: tables of the figures, errors, cells and provenance of one store."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass

from logpx_bench import contradictions, summary, targets
from logpx_bench.figures import FIGURES
from logpx_bench.figures import series as s
from logpx_bench.store import Store

MAIN = "error_against_k"  # the experiment that most of the story is about
TRAINED = "vae_ladder"  # the same on trained networks: in the table of results


@dataclass(frozen=True)
class Facts:
    """Tables of one store.

    Attributes
    ----------
    tables : mapping of figure name to table
        Empty where a figure has nothing to show.
    guests : mapping of model to mapping of figure name to table
        Of each model from a user's file, the tables of the figures that show another model.
    contradicted : mapping of model to list of str
        Of each of these, where its log_marginal contradicts its log joint (`logpx_bench.contradictions`).
    errors : table
        Error at every k of the main experiment, and of that on trained networks after it; all models and images.
    cells : table
        Their cells: diagnostics and cost of each estimator.
    targets : table
        What was to be reached, beside what was (`logpx_bench.targets`).
    precision : mapping of precision to number and count
        The largest error of our chain in standard errors, of so many (`targets.precision`).
    provenance : table
        Machines and versions behind all figures, oldest first.
    experiments : tuple of str
        What the store holds.
    suites : tuple of str
        The suites whose cells are read.
    commands : tuple of str
        What makes them again, as far as the store says: a suite, its one experiment if there is but one, and files.
    """

    tables: Mapping[str, s.Table]
    guests: Mapping[str, Mapping[str, s.Table]]
    contradicted: Mapping[str, list[str]]
    errors: s.Table
    cells: s.Table
    targets: s.Table
    precision: Mapping[str, tuple[float, int]]
    provenance: s.Table
    experiments: tuple[str, ...]
    suites: tuple[str, ...]
    commands: tuple[str, ...]

    @classmethod
    def of(cls, store: Store) -> Facts:
        """Read a store."""
        used = {module.EXPERIMENT for module in FIGURES.values()} | {TRAINED}
        names = sorted(used & set(store.experiments()))
        suites = {cell["suite"] for name in names for cell in store.cells(name)}
        tables = {name: module.data(store) for name, module in FIGURES.items()}
        everything = [cell for name in store.experiments() for cell in store.cells(name)]
        own = [cell for name in names for cell in store.cells(name) if cell["data"] == s.FILE]
        files = sorted({cell["model"] for cell in own})
        return cls(
            tables=tables,
            guests={model: _own(store, model, tables) for model in files},
            contradicted={
                model: contradictions.found(cell for cell in own if cell["model"] == model) for model in files
            },
            errors=summary.errors_by_k(store, MAIN) + _ours(summary.errors_by_k(store, TRAINED)),
            cells=summary.cells(store, MAIN) + _ours(summary.cells(store, TRAINED)),
            targets=targets.table(store),
            precision=targets.precision(store),
            provenance=summary.provenance(store, names),
            experiments=tuple(store.experiments()),
            suites=tuple(sorted(suites)),
            commands=tuple(_command(suite, everything) for suite in sorted(suites)),
        )

    def lead(self) -> list[s.Series]:
        """Errors against k of each estimator on the first model and image, those with an error at all k read."""
        rows = s.inexact(s.lead_case(self.errors))
        return s.by_estimator([row for row in rows if s.finite(row["rmse"]) and s.finite(row["bias"])], "k")

    def cell(self, each: s.Series) -> s.Row:
        """The cell that a series was read from."""
        names = ("model", "n_latents", "row", "estimator", "estimator_options", "points", "seed")
        return next(cell for cell in self.cells if all(cell[name] == each.rows[0][name] for name in names))

    def best(self) -> s.Series | None:
        """The series of smallest RMSE at the largest common k; None where there is none."""
        every = self.lead()
        k, rows = s.at_common_k(every)
        return min(zip(every, rows, strict=True), key=lambda pair: pair[1]["rmse"])[0] if k else None


def _command(suite: str, cells: s.Table) -> str:
    """The command that fills a store with these cells of a suite."""
    here = [cell for cell in cells if cell["suite"] == suite]
    experiments = {cell["experiment"] for cell in here}
    files = sorted({cell["model_options"].get("file", cell["model"]) for cell in here if cell["data"] == s.FILE})
    only = ["--only", *experiments] if len(experiments) == 1 else []
    return shlex.join(["logpx", "run", suite, *only, *(word for file in files for word in ("--model", file))])


def _ours(rows: s.Table) -> s.Table:
    """Without the models of a user's file, which are in the main experiment already."""
    return [row for row in rows if row["data"] != s.FILE]


def _own(store: Store, model: str, tables: Mapping[str, s.Table]) -> dict[str, s.Table]:
    """Tables of the figures on one model that do not show it yet; those that are empty are left out."""
    view = store.of_model(model)
    missing = [name for name, table in tables.items() if all(row.get("model") != model for row in table)]
    found = {name: FIGURES[name].data(view) for name in missing}
    return {name: table for name, table in found.items() if table}
