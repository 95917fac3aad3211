"""A model of the user's own in a suite: the same experiments, on its own data, beside the models of the suite.

Every experiment of a kind that is open to it (`Kind.closed`) is expanded once more with that model in place of the
suite's, on the rows of its x. A cell that it cannot run is left out, with the reason: no prior to draw from, no box for
uniform sampling, no exact log p(x) where the kind needs one. Each cell holds the file and its fingerprint, so that an
edit of the file makes other cells.
"""

import json
from collections.abc import Iterator
from dataclasses import replace

from logpx_bench import contradictions, data, model_file
from logpx_bench.errors import InputError, LogpxError
from logpx_bench.experiments import KINDS, Cell
from logpx_bench.store import Store
from logpx_bench.suite import Experiment, Spec, Suite


def invite(suite: Suite, text: str) -> tuple[Suite, list[str]]:
    """The suite with the model of a file, mine.py or mine.py:variable, beside other guests; and in what it is not, or
    without which estimator, and why: sentences that go on from "mine.py is".

    Raises
    ------
    InputError
        The file cannot be loaded, its name is that of another guest, or no experiment of the suite takes it.
    """
    options = {"file": text, "fingerprint": model_file.load(text).fingerprint}
    name = model_file.name_of(text)
    guest = Spec(f"{name}_file" if name in data.MODELS else name, options)
    if guest.name in {cell.model for cell in suite.guests}:
        raise InputError(f"{text}: another model is called {guest.name} already; rename the file or the variable")
    cells: list[Cell] = []
    absent: dict[str, None] = {}
    for experiment in suite.experiments:
        made = list(_cells(suite.name, experiment, guest))
        own = [one for one in made if isinstance(one, Cell)]
        cells += own
        where = f"in {experiment.name} without" if own else f"not in {experiment.name}:"
        absent |= dict.fromkeys(f"{where} {one}" for one in made if not isinstance(one, Cell))
    if not cells:
        why = "; ".join(absent)
        raise InputError(f"{text} takes no part in this run of {suite.name}: it is {why}. Mend that, or choose others")
    return replace(suite, guests=(*suite.guests, *cells)), list(absent)


def compile_seconds(suite: Suite, store: Store) -> dict[str, float]:
    """The longest that cells of each guest's file, as it is now, waited for compiling, by that file."""
    files = {json.dumps(dict(cell.model_options), sort_keys=True): cell.model_options["file"] for cell in suite.guests}
    command = 'SELECT MAX("compile_seconds") AS most FROM "cells" WHERE "data" = ? AND "model_options" = ?'
    most = {file: store.rows(command, [data.FILE, options])[0]["most"] for options, file in files.items()}
    return {file: float(seconds) for file, seconds in most.items() if seconds is not None}


def contradicted(suite: Suite, store: Store) -> list[str]:
    """Sentences on cells of the guest where its log_marginal contradicts its log joint (`contradictions`)."""
    names = dict.fromkeys((cell.experiment, cell.model) for cell in suite.guests)
    rows = [row for name, model in names for row in store.of_model(model).cells(name, suite.name)]
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
