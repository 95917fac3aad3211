"""A store to a folder: README.md, where-time-goes.md, index.html, figures/ (SVG, PDF, PNG), data/ (CSV).

Everything is first made in a temporary folder beside the target and then moved over, file by file, the pages last:
a failure leaves the old report as it was. The same store gives the same bytes, with the same matplotlib.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from logpx_bench import races, summary
from logpx_bench.errors import InputError
from logpx_bench.figures import FIGURES, save
from logpx_bench.figures import series as s
from logpx_bench.page import html, markdown, places, story, where
from logpx_bench.page.facts import Facts
from logpx_bench.store import Store

FOLDERS, PAGES = ("figures", "data"), ("README.md", where.NAME, "index.html")
SWEEP = "sweep.csv"
OURS = {SWEEP} | {f"{name}.{kind}" for name in FIGURES for kind in ("svg", "pdf", "png", "csv")}


def build(results: Store | str | Path, out: str | Path) -> Path:
    """Draw the report of a store into the folder `out`; returns the path of its index.html.

    Parameters
    ----------
    results : Store or path
        An open store, or the path of one that exists.
    out : path
        The folder; made if need be. Figures of an earlier report that this one lacks are removed; files that are not
        of a report are left alone.

    Raises
    ------
    InputError
        `out` is a file.
    StoreError
        The store is not there, or is not ours.
    """
    out = Path(out)
    if out.exists() and not out.is_dir():
        raise InputError(f"the report was to go to {out}, which is a file; name a folder, or one that can be made")
    if not isinstance(results, Store):
        with Store.open(results, create=False) as store:
            return build(store, out)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as folder:
        _make(results, Path(folder))
        _move(Path(folder), out)
    return out / "index.html"


def _make(store: Store, folder: Path) -> None:
    for name in FOLDERS:
        (folder / name).mkdir()
    facts = Facts.of(store)
    drawn = [(name, name, "", table) for name, table in facts.tables.items() if table]
    for model, tables in facts.guests.items():
        drawn += [(name, places.guest_name(name, model), s.title(model), table) for name, table in tables.items()]
    for name, file, subject, table in drawn:
        figure = FIGURES[name].draw(table)
        if subject:  # which a figure that is shown elsewhere would not say
            figure.text(0.995, 0.012, subject, ha="right", va="bottom", fontsize=9, style="italic")
        save(figure, folder / "figures", file)
        summary.write_csv(table, folder / "data" / f"{file}.csv")
    summary.write_csv(facts.errors, folder / "data" / "results.csv")
    summary.write_csv(facts.targets, folder / "data" / "targets.csv")
    if facts.tables["peers"]:
        summary.write_csv(races.tried(store), folder / "data" / SWEEP)
    blocks, own = story.blocks(facts), story.where_time_goes(facts)
    for page, text in zip(PAGES, (markdown.render(blocks), markdown.render(own), html.render(blocks)), strict=True):
        (folder / page).write_text(text, encoding="utf-8", newline="\n")


def _move(folder: Path, out: Path) -> None:
    out.mkdir(exist_ok=True)
    for name in FOLDERS:
        new, old = folder / name, out / name
        old.mkdir(exist_ok=True)
        wanted = {path.name for path in new.iterdir()}
        for path in sorted(new.iterdir()):
            os.replace(path, old / path.name)
        guests = {
            path.name for path in old.glob(places.guest_name("*", "*")) if path.name.partition("--")[0] in FIGURES
        }
        for stale in (OURS | guests) - wanted:
            (old / stale).unlink(missing_ok=True)
    for page in PAGES:
        os.replace(folder / page, out / page)
