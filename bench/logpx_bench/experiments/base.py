"""What a cell of an experiment is, what it leaves, and what a kind of experiment must say.

A cell is the smallest thing that is run and stored: one model, one row of data, one estimator, one size, one seed. Its
key is the content hash of its coordinates with the source of the library, the CPU target and the source of the files
here that decide what a cell does; a timed cell's key holds the machine too, so that times of two machines never
stand in for each other.
"""

import concurrent.futures
import functools
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from logpx import _jit, quadrature
from logpx_bench import data, machine, networks
from logpx_bench.estimators import make_proposal
from logpx_bench.options import Names, Option
from logpx_bench.schema import content_key

if TYPE_CHECKING:
    from logpx_bench.suite import Experiment

#: Options of a model that say nothing to a reader of a progress bar.
_UNSAID = ("seed", "other", "file", "fingerprint")
#: A registry name and its options.
Named = tuple[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Cell:
    """Coordinates of one cell. `threads` is None where it changes no result (the run's own number is used)."""

    suite: str
    experiment: str
    kind: str
    model: str
    model_options: Mapping[str, Any]
    data: str
    row: int | None
    estimator: str
    estimator_options: Mapping[str, Any]
    points: str
    dtype: str
    threads: int | None
    n_samples: int
    n_replicates: int
    seed: int
    settings: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        suite: str,
        experiment: "Experiment",
        model: Named,
        estimator: Named,
        *,
        n_samples: int,
        n_replicates: int,
        seed: int,
        row: int | None = None,
        threads: int | None = None,
    ) -> "Cell":
        """One cell of an experiment: what the experiment fixes for all of its cells, and what is this one's own."""
        return cls(
            suite=suite,
            experiment=experiment.name,
            kind=experiment.kind,
            model=model[0],
            model_options=model[1],
            data=experiment.data,
            row=row,
            estimator=estimator[0],
            estimator_options=estimator[1],
            points=experiment.points,
            dtype=experiment.dtype,
            threads=threads,
            n_samples=n_samples,
            n_replicates=n_replicates,
            seed=seed,
            settings=experiment.settings,
        )

    def coordinates(self) -> dict[str, Any]:
        """As a plain dict."""
        return asdict(self)

    def words(self) -> str:
        """In one line, for a progress bar or an error."""
        sizes = [f"{name}={value}" for name, value in self.model_options.items() if name not in _UNSAID]
        options = [f"{name}={value:g}" for name, value in self.estimator_options.items()]
        parts = [self.model, *sizes, self.estimator, *options]
        if self.row is not None:
            parts.append(f"row={self.row}")
        if self.threads is not None:
            parts.append(f"threads={self.threads}")
        return " ".join(part for part in parts if part) + f" k={power(self.n_samples)} ×{self.n_replicates}"


@dataclass(frozen=True)
class Resources:
    """What a cell runs on: so many threads of this process, or an executor that long cells give their tasks to; and
    the file in which one that can go on from there keeps its finished chunks."""

    threads: int
    executor: concurrent.futures.Executor | None = None
    checkpoint: Path | None = None

    @property
    def n_workers(self) -> int:
        """Threads, processes or workers that compute."""
        return int(getattr(self.executor, "_max_workers", self.threads))


@dataclass(frozen=True)
class Record:
    """What a cell leaves: columns of `cells` beside its coordinates, and its parts (see `Store.write_cell`)."""

    columns: Mapping[str, Any]
    levels: list[tuple[int, int, int, float, float]] = field(default_factory=list)
    histogram: Mapping[str, Any] | None = None
    values: Mapping[str, Any] = field(default_factory=dict)


def verify_row(cell: Cell) -> None:
    """That the cell's model, its row of data and its proposal can be made."""
    subject = data.build(cell.model, cell.model_options, cell.data)
    make_proposal(cell.estimator, cell.estimator_options, subject.model, data.take(subject, cell.row or 0))


@dataclass(frozen=True)
class Kind:
    """A kind of experiment.

    Attributes
    ----------
    name, summary : str
        Its registry name and one line on it.
    keys, required : tuple of str
        Keys that a suite may and must give, beside name and kind.
    settings : mapping of str to Option
        Options of this kind alone; they travel in `Cell.settings`.
    facts : (cell) -> mapping
        What else a cell's results depend on: part of its key.
    timed : bool
        The machine is part of the key.
    overhead : float
        Seconds a cell takes beside its evaluations, for predictions.
    resumes : "never", "asked" or "always"
        Whether a cell keeps its finished chunks in `Resources.checkpoint` and goes on from there: where a run asks for
        it and the cell is long, or always.
    closed : str
        Why a model of the user's own cannot take part (`logpx_bench.guests`); empty where it can.
    duration : (cell) -> float, or None
        All the seconds of a cell, for predictions, where it is not evaluations that take them.
    besides : (cell) -> float
        Seconds of a cell that neither its evaluations nor threads have part in, for predictions.
    expand : (suite name, experiment) -> list of Cell
        Its cells, in the order they run.
    run : (cell, resources) -> Record
    evaluations : (cell) -> int
        Evaluations of log p(x, z) that it will make.
    check : (experiment, where) -> None
        Raises SuiteError where the parts of an experiment do not go together.
    verify : (cell) -> None
        Raises LogpxError where what the cell asks for is not there, before anything runs or is written.
    """

    name: str
    summary: str
    keys: tuple[str, ...]
    required: tuple[str, ...]
    expand: Callable[[str, "Experiment"], list[Cell]]
    run: Callable[[Cell, Resources], Record]
    evaluations: Callable[[Cell], int]
    check: Callable[["Experiment", str], None]
    verify: Callable[[Cell], None] = verify_row
    settings: Mapping[str, Option | Names] = field(default_factory=dict)
    facts: Callable[[Cell], Mapping[str, Any]] = lambda cell: {}
    timed: bool = False
    overhead: float = 0.0
    resumes: Literal["never", "asked", "always"] = "never"
    closed: str = "it measures no model of the suite's choice"
    duration: Callable[[Cell], float] | None = None
    besides: Callable[[Cell], float] = lambda cell: 0.0


def certified_seconds(cell: Cell, n_rows: int) -> float:
    """Seconds that the exact log p(x) of so many rows takes where it is a quadrature, by one thread, about; else 0."""
    certified = 0 < networks.vae_latents(cell.model, cell.model_options) <= quadrature.MOST_LATENTS
    return 0.04 * n_rows if certified else 0.0


def power(n: int) -> str:
    """A power of two above 64 as 2^j, any other number as it is."""
    return f"2^{n.bit_length() - 1}" if n > 64 and n & (n - 1) == 0 else str(n)


def stream_seed(*parts: Any) -> int:
    """A seed for a stream that has such coordinates, 60 bits of their hash: neighbours share no random numbers, as they
    would with seeds 0, 1, 2, … that are added up."""
    return int(content_key(list(parts))[:15], 16)


@functools.cache
def harness_hash() -> str:
    """Sixteen hex digits over what decides a cell's content: source of data, models, estimators, kinds; weights."""
    here = Path(__file__).parent
    above = ("data.py", "model_file.py", "networks.py", "estimators.py", "assembly.py", "counts.py", "roofline.py")
    weights = sorted((here.parent / "weights").iterdir())
    return hash_of([*sorted(here.glob("*.py")), *(here.parent / name for name in above), *weights])


def hash_of(paths: list[Path]) -> str:
    """Sixteen hex digits over the names and contents of files."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def cell_key(cell: Cell, kind: Kind, threads: int) -> str:
    """The content key of a cell of this kind: what determines its row."""
    made_of: dict[str, Any] = cell.coordinates() | {
        "source_hash": _jit.source_hash(),
        "cpu_target": _jit.target(),
        "harness": harness_hash(),
    }
    if facts := kind.facts(cell):
        made_of["facts"] = facts
    if kind.timed:
        made_of["machine"] = machine.timing_facts(threads)
    return content_key(made_of)
