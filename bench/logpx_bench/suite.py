"""What to run, as TOML: read into frozen dataclasses, every key and value checked.

    title = "what this suite is for"

    [[experiment]]
    name = "error_against_k"            # the figures it feeds carry this name
    kind = "ladder"                     # see `logpx list`
    model = {name = "ppca", n_latents = 2}      # or models = [ … ] or "all"; a list in place of a number is a sweep
    data = "digits"                     # or "sample"
    rows = [0, 1]                       # rows of the held-out data
    estimators = [{name = "prior"}, {name = "importance", widen = [1.0, 1.3]}]
    n_samples = "2^18"                  # an integer, "2^j", or a list of them where the kind takes one
    n_replicates = 64
    seeds = [0]
    points = "independent"
    dtype = "float64"                   # or "float32"

Anything unknown or out of range is a `SuiteError` that names file, experiment and key, says what is allowed, and the
nearest match.
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from logpx.points import REGISTRY
from logpx_bench.data import DATA, MODELS
from logpx_bench.errors import SuiteError
from logpx_bench.estimators import ESTIMATORS
from logpx_bench.experiments import KINDS, Cell
from logpx_bench.options import Names, Option, check, choose, distinct, fail, sweep

#: Largest n_samples: the sample index has 62 bits.
MAX_SAMPLES = 2**62
#: Where the suites that come along lie: in the package where it was installed, beside it in the source tree.
_HERE = Path(__file__).resolve().parent
FOLDER = next((one for one in (_HERE / "suites", _HERE.parent / "suites") if one.is_dir()), _HERE.parent / "suites")
#: In place of a list of models: every one that goes with the data, each with its default options.
ALL = "all"
#: Point sets a suite may ask for: the kinds of experiment read levels, which only independent weights have.
POINTS = tuple(name for name, points in REGISTRY.items() if points.iid)
#: Precisions a suite may ask for.
DTYPES = ("float64", "float32")


class Spec(NamedTuple):
    """A model or an estimator: its registry name and its checked options."""

    name: str
    options: Mapping[str, Any]


@dataclass(frozen=True)
class Experiment:
    """One experiment of a suite, checked; sweeps expanded."""

    name: str
    kind: str
    models: tuple[Spec, ...]
    estimators: tuple[Spec, ...]
    data: str
    rows: tuple[int, ...]
    n_samples: tuple[int, ...]
    n_replicates: int
    seeds: tuple[int, ...]
    threads: tuple[int, ...]
    points: str
    dtype: str
    settings: Mapping[str, Any]


@dataclass(frozen=True)
class Suite:
    """A suite: its name (the file's), a line on what it is for, its experiments in order, and the cells of a model of
    the user's own (`logpx_bench.guests`)."""

    name: str
    title: str
    path: Path
    experiments: tuple[Experiment, ...]
    guests: tuple[Cell, ...] = ()

    def only(self, name: str | None) -> "Suite":
        """The suite with one experiment of it; all of it for None."""
        if name is None:
            return self
        chosen = choose(name, [one.name for one in self.experiments], str(self.path.name), "experiment")
        return replace(self, experiments=tuple(one for one in self.experiments if one.name == chosen))


def available() -> list[Path]:
    """Suite files that come along, sorted."""
    return sorted(FOLDER.glob("*.toml"))


def find(name: str) -> Path:
    """The file of a suite, by name ("quick") or by path ("mine.toml")."""
    path = Path(name)
    if path.suffix == ".toml":
        if not path.is_file():
            raise SuiteError(f"{name}: there is no such suite file.")
        return path
    known = {one.stem: one for one in available()}
    return known[choose(name, known, "logpx run", "suite")]


def load(path: str | Path) -> Suite:
    """Read and check a suite file.

    Raises
    ------
    SuiteError
        Not readable, not TOML, an unknown key, a bad value.
    """
    path = Path(path)
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise SuiteError(f"{path}: cannot be read ({error}).") from error
    except tomllib.TOMLDecodeError as error:
        raise SuiteError(f"{path}: is not valid TOML ({error}).") from error
    for key in table:
        choose(key, ("title", "experiment"), path.name, "key")
    found = table.get("experiment")
    if not isinstance(found, list) or not found:
        fail(path.name, "holds no experiment; add one as [[experiment]] (see `logpx list` for the kinds)")
    experiments = tuple(_experiment(one, f"{path.name}, experiment {i + 1}", path.name) for i, one in enumerate(found))
    names = [one.name for one in experiments]
    for name in names:
        if names.count(name) > 1:
            fail(f"{path.name}: experiment {name!r}", "is there twice; names must differ")
    return Suite(path.stem, str(table.get("title", "")), path, experiments)


def _experiment(table: Any, where: str, file: str) -> Experiment:
    if not isinstance(table, dict):
        fail(where, "is not a table; write [[experiment]]")
    name = table.get("name")
    if not isinstance(name, str) or not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        fail(f"{where}: name", f"is {name!r}; allowed are lower-case letters, digits and _")
    where = f"{file}, experiment {name!r}"
    kind = choose(table.get("kind"), KINDS, where, "kind")
    keys = KINDS[kind].keys
    for key in table:
        choose(key, ("name", "kind", *keys), where, f"key (of the kind {kind!r})")
    for key in KINDS[kind].required:
        if key not in table and not (key == "models" and "model" in table):
            fail(f"{where}: {key}", f"is missing; a {kind} experiment needs {', '.join(KINDS[kind].required)}")
    n_samples = [_n_samples(one, f"{where}: n_samples") for one in _list(table.get("n_samples", 1))]
    distinct(n_samples, f"{where}: n_samples")
    data = choose(table.get("data", "digits"), DATA, f"{where}: data", "data set")
    experiment = Experiment(
        name=name,
        kind=kind,
        models=_models(table, data, where),
        estimators=_estimators(table, where),
        data=data,
        rows=_integers(table.get("rows", [0]), f"{where}: rows", 0, 10**9),
        n_samples=tuple(n_samples),
        n_replicates=_integer(table.get("n_replicates", 1), f"{where}: n_replicates", 1, 10**7),
        seeds=_integers(table.get("seeds", [0]), f"{where}: seeds", 0, 2**63 - 1),
        threads=_integers(table["threads"], f"{where}: threads", 1, 4096) if "threads" in table else (),
        points=_points(table.get("points", "independent"), f"{where}: points"),
        dtype=choose(table.get("dtype", "float64"), DTYPES, f"{where}: dtype", "dtype"),
        settings=_settings(table, KINDS[kind].settings, where),
    )
    for one in experiment.models:
        MODELS[one.name].check_data(experiment.data, f"{where}: model {one.name!r}")
    KINDS[kind].check(experiment, where)
    return experiment


def _models(table: Mapping[str, Any], data: str, where: str) -> tuple[Spec, ...]:
    if table.get("models") == ALL:
        given = [{"name": name} for name, entry in MODELS.items() if data in entry.data]
        return _specs(given, MODELS, where, "models", "model")
    if "model" in table and "models" in table:
        fail(f"{where}: model", "and models are both there; give one of them")
    if "model" not in table and "models" not in table:
        return ()
    given = [table["model"]] if "model" in table else table["models"]
    return _specs(given, MODELS, where, "models", "model")


def _estimators(table: Mapping[str, Any], where: str) -> tuple[Spec, ...]:
    if "estimators" not in table:
        return ()
    return _specs(table["estimators"], ESTIMATORS, where, "estimators", "estimator")


def _settings(table: Mapping[str, Any], known: Mapping[str, Option | Names], where: str) -> dict[str, Any]:
    return check({name: value for name, value in table.items() if name in known}, known, where, sweeps=False)


def _points(value: Any, where: str) -> str:
    if isinstance(value, str) and value in REGISTRY and value not in POINTS:
        fail(where, f"is {value!r}, whose samples are not independent: it has no levels. Allowed: {', '.join(POINTS)}")
    return choose(value, POINTS, where, "point set")


def _specs(given: Any, known: Mapping[str, Any], where: str, key: str, what: str) -> tuple[Spec, ...]:
    if not isinstance(given, list):
        fail(f"{where}: {key}", f'is {given!r}; allowed is a list of tables, as in [{{name = "…"}}]')
    specs: list[Spec] = []
    for one in given:
        if not isinstance(one, dict) or "name" not in one:
            fail(f"{where}: {key}", f'holds {one!r}; allowed is a table with a name, as in {{name = "…"}}')
        name = choose(one["name"], known, f"{where}: {key}", what)
        options = {option: value for option, value in one.items() if option != "name"}
        checked = check(options, known[name].options, f"{where}: {what} {name!r}")
        specs.extend(Spec(name, chosen) for chosen in sweep(checked))
    distinct([{"name": one.name, **one.options} for one in specs], f"{where}: {key}")
    return tuple(specs)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _integer(value: Any, where: str, low: int, high: int, more: str = "") -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        fail(where, f"is {value!r}; allowed is an integer from {low} to {high}{more}")
    return value


def _integers(value: Any, where: str, low: int, high: int) -> tuple[int, ...]:
    values = [_integer(one, where, low, high, ", or a list of them") for one in _list(value)]
    distinct(values, where)
    return tuple(values)


def _n_samples(value: Any, where: str) -> int:
    """An integer, or "2^j"."""
    power = re.fullmatch(r"2\^(\d{1,2})", value) if isinstance(value, str) else None
    number = 2 ** int(power[1]) if power else value
    if not isinstance(number, int) or isinstance(number, bool) or not 1 <= number <= MAX_SAMPLES:
        fail(where, f'is {value!r}; allowed is an integer from 1 to 2^62, or a power of two as "2^18"')
    return number
