"""Log weights from files, read off by the ladder: what `logpx score` says.

    .npy           (n,) one stream, or (rows, n) a stream a row; any real dtype from float32 up
    .txt, .csv     one number a line, in UTF-8; empty lines and lines that begin with # are left out

Several files are one stream after the other, in the order in which they are named. A file is mapped a piece at a
time, so it may be larger than memory. Cost: reading, and the ladder's few nanoseconds a weight.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from logpx import Estimate, Ladder, Reading, logsumexp
from logpx.levels import mean_reading
from logpx.totals import pool_moments
from logpx_bench.errors import InputError, LogpxError
from logpx_bench.plurals import counted

#: Weights of a piece, all rows together.
PIECE = 1 << 20
_TAKE_OUT = "take an array out of it: numpy.save('weights.npy', numpy.load(file)[name])"

Array = NDArray[Any]


class Score(NamedTuple):
    """The estimate, the readings at the group sizes asked for, and the exact log p(x), nan where it is not known."""

    estimate: Estimate
    groups: dict[int, Reading]
    exact: Array

    @property
    def error(self) -> Array:
        """log p̂ − log p(x), nats."""
        return np.asarray(self.estimate.log_marginal) - self.exact

    @property
    def z(self) -> Array:
        """The error in standard errors; nan where there is none."""
        scale = np.asarray(self.estimate.std_error)
        return np.divide(self.error, scale, out=np.full(scale.shape, math.nan), where=scale > 0)


def score(paths: Sequence[Path], *, axis: int = -1, groups: Sequence[int] = (), exact: str | None = None) -> Score:
    """Read log weights from files.

    Parameters
    ----------
    paths : sequence of Path
        Files of one stream, or of the same rows.
    axis : int
        The axis of a (rows, n) array along which samples run.
    groups : sequence of int
        Further group sizes for the bounds, any at all.
    exact : str, optional
        The exact log p(x): a number, or the name of a file with one a row.

    Raises
    ------
    InputError
        A file that holds no log weights; the message names it and says why.
    """
    ladder, start = None, 0
    means = [_GroupMeans(size) for size in groups]
    for path in paths:
        for piece in pieces(path, axis):
            try:
                ladder = ladder if ladder is not None else Ladder(piece.shape[:-1])
                ladder.update(piece, start)
            except LogpxError as error:
                raise InputError(f"{path}: {error}") from error
            for one in means:
                one.add(np.asarray(piece, dtype=np.float64))
            start += piece.shape[-1]
    if ladder is None:
        raise InputError(f"{', '.join(map(str, paths))}: there are no log weights in it")
    estimate = ladder.estimate()
    readings = {one.size: one.reading(ladder.shape) for one in means}
    return Score(estimate, readings, _exact(exact, ladder.shape))


# -- files --------------------------------------------------------------------------------------------------------


def pieces(path: Path, axis: int = -1) -> Iterator[Array]:
    """A file's weights in pieces (*rows, m), m ≥ 1, in order."""
    if path.suffix == ".npy":
        return _of_npy(path, axis)
    if path.suffix in (".txt", ".csv"):
        return _of_text(path)
    hint = f"; {_TAKE_OUT}" if path.suffix == ".npz" else ""
    raise InputError(f"{path}: log weights are read from .npy, and from .txt and .csv with one number a line{hint}")


def _mapped(path: Path) -> Array:
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise InputError(f"{path}: not a .npy file of numbers ({error}); write it with numpy.save") from error


def _of_npy(path: Path, axis: int) -> Iterator[Array]:
    with path.open("rb") as file:
        if file.read(4) == b"PK\x03\x04":
            raise InputError(f"{path}: not a .npy file but an archive, a .npz by another name; {_TAKE_OUT}")
    array = _mapped(path)
    if array.ndim not in (1, 2) or array.dtype.kind not in "fiu":
        raise InputError(
            f"{path}: an array of shape {array.shape} and dtype {array.dtype}; log weights are real numbers, (n,) or "
            "(rows, n)"
        )
    if not -array.ndim <= axis < array.ndim:
        raise InputError(f"--axis {axis}: {path} has axes 0 to {array.ndim - 1}")
    n = array.shape[axis]
    step = max(1, PIECE // max(1, array.size // max(1, n)))
    del array
    for start in range(0, n, step):
        whole = np.moveaxis(_mapped(path), axis, -1)  # mapped anew, so that what was read can leave memory
        yield whole[..., start : start + step]


def _of_text(path: Path) -> Iterator[Array]:
    with path.open(encoding="utf-8-sig") as file:  # a byte order mark, as some editors write, is no number
        lines = ((number, line.strip()) for number, line in enumerate(file, 1))
        numbers = (_number(path, number, line) for number, line in lines if line and not line.startswith("#"))
        try:
            while (piece := np.fromiter(itertools.islice(numbers, PIECE), dtype=np.float64)).size:
                yield piece
        except UnicodeDecodeError as error:
            raise InputError(f"{path}: not text in UTF-8 ({error}); save it as UTF-8, one log weight a line") from error


def _number(path: Path, number: int, line: str) -> float:
    try:
        return float(line)
    except ValueError:
        raise InputError(f"{path}, line {number}: {line[:40]!r} is not a number; give one log weight a line") from None


def _exact(given: str | None, shape: tuple[int, ...]) -> Array:
    if given is None:
        return np.full(shape, math.nan)
    try:
        return np.full(shape, float(given))
    except ValueError:
        pass
    values = np.concatenate([np.asarray(piece, dtype=np.float64) for piece in pieces(Path(given))], axis=-1)
    if values.shape != (shape or (1,)):
        raise InputError(
            f"--exact {given}: it holds {counted(values.size, 'number')}, and the weights have "
            f"{counted(math.prod(shape), 'row')}"
        )
    return values.reshape(shape)


# -- groups of any size ---------------------------------------------------------------------------------------------


class _GroupMeans:
    """Count, mean and second moment of L_k over consecutive groups of k weights, for each row."""

    def __init__(self, size: int) -> None:
        self.size, self.seen = size, 0
        self.left: Array | None = None
        self.moments: Array | None = None  # (S, 3, 1)

    def add(self, piece: Array) -> None:
        """Take in the next weights, (*rows, m)."""
        rows = piece.reshape(-1, piece.shape[-1])
        rows = rows if self.left is None else np.concatenate([self.left, rows], axis=1)
        n = rows.shape[1] // self.size
        self.left = rows[:, n * self.size :].copy()
        if not n:
            return
        logs = np.asarray(logsumexp(rows[:, : n * self.size].reshape(len(rows), n, self.size), axis=2))
        logs -= math.log(self.size)
        there = np.isfinite(logs)
        count = there.sum(axis=1)
        mean = np.where(there, logs, 0.0).sum(axis=1) / np.maximum(count, 1)
        m2 = np.where(there, (np.where(there, logs, 0.0) - mean[:, None]) ** 2, 0.0).sum(axis=1)
        new = np.stack([count, mean, m2], axis=1)[..., None]
        self.moments = new if self.moments is None else pool_moments(np.stack([self.moments, new]))
        self.seen += n

    def reading(self, shape: tuple[int, ...]) -> Reading:
        """E[L_k] with its standard error."""
        if self.moments is None:
            raise InputError(f"--groups {self.size}: there are fewer than {self.size} weights a row")
        count, mean, m2 = (self.moments[:, i, 0].reshape(shape) for i in range(3))
        return mean_reading(count, mean, m2, np.full(shape, self.seen))


# -- what is said ---------------------------------------------------------------------------------------------------


def facts(score: Score) -> dict[str, Any]:
    """Everything as plain numbers and lists, for JSON: nan is null, infinities are "inf" and "-inf"."""
    estimate, low_high = score.estimate, score.estimate.interval(0.95)
    known = not np.isnan(score.exact).all()
    found = {
        "n_samples": estimate.n_samples,
        "rows": list(np.shape(estimate.log_marginal)),
        "log_marginal": estimate.log_marginal,
        "std_error": estimate.std_error,
        "interval_95": list(low_high),
        "elbo": estimate.elbo,
        "ess": estimate.ess,
        "pareto_k": estimate.pareto_k,
        "n_neg_inf": estimate.n_neg_inf,
        "bounds": [{"k": k, **reading._asdict()} for k, reading in readings(score)],
        "warnings": list(estimate.warnings),
    }
    if known:
        found |= {"exact": score.exact, "error": score.error, "z": score.z}
    if np.ndim(estimate.log_marginal):
        found |= {"total": estimate.total, "total_std_error": estimate.total_std_error}
    return {name: _plain(value) for name, value in found.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    return value


def readings(score: Score) -> list[tuple[int, Reading]]:
    """E[L_k] at every dyadic k, and at the group sizes asked for, by k."""
    levels = score.estimate.levels
    return sorted([*((int(k), levels.bound(int(k))) for k in levels.k), *score.groups.items()], key=lambda one: one[0])


def words(score: Score) -> str:
    """The score as text: for one stream with its bounds, for several a line each and their total."""
    estimate = score.estimate
    lines = _of_rows(score) if np.ndim(estimate.log_marginal) else _of_one(score)
    lines += [f"warning: {said}" for said in estimate.warnings]
    return "\n".join(lines)


def _of_one(score: Score) -> list[str]:
    estimate = score.estimate
    low, high = estimate.interval(0.95)
    digits = _digits(estimate.std_error)
    lines = [
        counted(estimate.n_samples, "log weight"),
        f"log p̂      {estimate.log_marginal:.{digits}f} ± {estimate.std_error:.2g} nats, 95 % interval "
        f"{low:.{digits}f} to {high:.{digits}f}",
    ]
    if not np.isnan(score.exact):
        lines.append(
            f"exactly    {float(score.exact):.{digits}f}: error {float(score.error):+.2g}, z = {float(score.z):+.2f}"
        )
    shape = estimate.pareto_k
    lines += [
        f"ELBO       {estimate.elbo:.{digits}f}",
        f"ESS        {estimate.ess:.4g}",
        f"Pareto k̂   {'not defined' if shape is None else f'{shape:.2f}'}",
        f"−inf       {estimate.n_neg_inf}",
        "",
        f"{'k':>14}  {'E[L_k]':>16}  {'std error':>10}  {'groups':>14}",
    ]
    for k, one in readings(score):
        lines.append(f"{k:>14}  {one.value:>16.{digits}f}  {_error(one.std_error):>10}  {one.n_groups:>14}")
    return lines


def _of_rows(score: Score) -> list[str]:
    estimate = score.estimate
    known = not np.isnan(score.exact).all()
    shapes = np.asarray(estimate.pareto_k, dtype=float)
    columns = [estimate.log_marginal, estimate.std_error, estimate.elbo, estimate.ess, shapes, estimate.n_neg_inf]
    lines = [
        f"{counted(len(shapes), 'row')} of {counted(estimate.n_samples, 'log weight')}",
        f"{'row':>6}  {'log p̂':>16}  {'std error':>10}  {'ELBO':>16}  {'ESS':>10}  {'k̂':>6}  {'−inf':>8}"
        + (f"  {'exactly':>16}  {'z':>6}" if known else ""),
    ]
    for row, (value, error, elbo, ess, shape, zeros) in enumerate(zip(*columns, strict=True)):
        digits = _digits(error)
        line = (
            f"{row:>6}  {value:>16.{digits}f}  {_error(error):>10}  {elbo:>16.{digits}f}  {ess:>10.4g}  {shape:>6.2f}"
        )
        line += f"  {zeros:>8}"
        lines.append(line + (f"  {score.exact[row]:>16.{digits}f}  {score.z[row]:>+6.2f}" if known else ""))
    total, error = estimate.total, estimate.total_std_error
    return [*lines, f"total  {total:.{_digits(error)}f} ± {error:.2g} nats"]


def _digits(error: Any) -> int:
    """Decimals that show an error's two leading digits."""
    return min(15, max(2, 1 - math.floor(math.log10(error)))) if 0 < error < math.inf else 4


def _error(value: Any) -> str:
    return "-" if math.isnan(value) else f"{value:.2g}"
