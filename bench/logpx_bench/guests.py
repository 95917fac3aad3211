"""A model of the user's own in a suite: the same experiments, on its own data, beside the models of the suite.

Every experiment of a kind that is open to it (`Kind.closed`) is expanded once more with that model in place of the
suite's, on the rows of its x. A cell that it cannot run is left out, with the reason: no prior to draw from, no box for
uniform sampling, no exact log p(x) where the kind needs one. Each cell holds the file and its fingerprint, so that an
edit of the file makes other cells.
"""

import json
import math
from collections.abc import Iterator
from dataclasses import replace

from logpx_bench import contradictions, data, model_file
from logpx_bench.errors import LogpxError
from logpx_bench.experiments import KINDS, Cell
from logpx_bench.store import Store
from logpx_bench.suite import Experiment, Spec, Suite


def invite(suite: Suite, text: str) -> tuple[Suite, list[str]]:
    """The suite with the model of a file, mine.py or mine.py:variable; and where it does not take part, and why.

    Raises
    ------
    InputError
        The file cannot be loaded.
    """
    options = {"file": text, "fingerprint": model_file.load(text).fingerprint}
    name = model_file.name_of(text)
    guest = Spec(f"{name}_file" if name in data.MODELS else name, options)
    cells: list[Cell] = []
    absent: dict[str, None] = {}
    for experiment in suite.experiments:
        for one in _cells(suite.name, experiment, guest):
            if isinstance(one, Cell):
                cells.append(one)
            else:
                absent[f"{experiment.name}: {one}"] = None
    return replace(suite, guests=tuple(cells)), list(absent)


def compile_seconds(suite: Suite, store: Store) -> float:
    """The longest that cells of the guest, of this version of its file, waited for compiling; nan without a guest."""
    options = next((json.dumps(dict(cell.model_options), sort_keys=True) for cell in suite.guests), None)
    command = 'SELECT MAX("compile_seconds") AS most FROM "cells" WHERE "data" = ? AND "model_options" = ?'
    (row,) = store.rows(command, [data.FILE, options])
    return math.nan if row["most"] is None else float(row["most"])


def contradicted(suite: Suite, store: Store) -> list[str]:
    """Sentences on cells of the guest where its log_marginal contradicts its log joint (`contradictions`)."""
    names = {cell.experiment: cell.model for cell in suite.guests}
    rows = [row for name, model in names.items() for row in store.of_model(model).cells(name, suite.name)]
    return contradictions.found(rows)


def _cells(suite: str, experiment: Experiment, guest: Spec) -> Iterator[Cell | str]:
    """Cells of the guest, and reasons for those that are not."""
    kind = KINDS[experiment.kind]
    if kind.closed:
        yield kind.closed
        return
    if len(experiment.models) > 1 and len({model.name for model in experiment.models}) == 1:
        yield f"it is about {experiment.models[0].name} in several sizes"
        return
    subject = data.build(*guest, data.FILE)
    rows = tuple(row for row in experiment.rows if row < len(subject.X)) or (0,)
    for cell in kind.expand(suite, replace(experiment, models=(guest,), data=data.FILE, rows=rows)):
        try:
            if cell.dtype not in subject.model.log_joint.dtypes:
                yield f"its kernel is not written for {cell.dtype}"
                continue
            kind.verify(cell)
        except LogpxError as error:
            yield f"{cell.estimator}: {error}"
        else:
            yield cell
