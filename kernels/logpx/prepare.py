"""From what a user gives (model, x, proposal, points) to what the engine runs: checked, bound and packed.

Everything that can be wrong with the input is found here, before anything is compiled or run. Cost: one call of
the model's default proposal for all rows; a user's function x → proposal is called once a row.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from logpx.engine import Problem
from logpx.errors import InputError, NotAvailableError
from logpx.ladder import MAX_INDEX
from logpx.models.base import check_kernel, check_x
from logpx.points import REGISTRY as POINTS
from logpx.points.base import PointSet
from logpx.proposals.base import Proposal

_DTYPES = ("float64", "float32")


class Packed(NamedTuple):
    """A proposal ready to run: its kernel, base noise, packed numbers by row, and the bias it leaves (nats)."""

    kernel: Any
    base: str
    n_base: int
    lams: np.ndarray
    dims: np.ndarray
    bias_floor: float | np.ndarray


def check_count(name: str, value: Any, most: int = MAX_INDEX) -> int:
    """A whole number from 1 to `most`; floats such as 1e6 that are whole are taken."""
    whole = isinstance(value, int | np.integer) or (isinstance(value, float) and value.is_integer())
    if isinstance(value, bool) or not whole or not 1 <= value <= most:
        limit = "2^62" if most == MAX_INDEX else str(most)
        raise InputError(f"{name}={value!r}: a whole number from 1 to {limit}")
    return int(value)


def check_model(model: Any) -> None:
    """Raise InputError unless the object is a model."""
    missing = [field for field in ("log_joint", "theta", "n_latents") if not hasattr(model, field)]
    if missing:
        raise InputError(
            f"{model!r} is not a model: it has no {', '.join(missing)}. "
            "Give one of logpx.models, or logpx.Model(log_joint, theta, n_latents)"
        )
    check_kernel(model.log_joint)
    bad = np.flatnonzero(~np.isfinite(model.theta))
    if bad.size:
        raise InputError(f"theta[{bad[0]}] of {name_of(model)} is {model.theta[bad[0]]}; every entry must be finite")


def name_of(model: Any) -> str:
    """The model's name for messages."""
    return str(getattr(model, "name", "") or type(model).__name__)


def check_points(points: Any) -> PointSet:
    """A point set by name."""
    if isinstance(points, PointSet):
        return points
    if not isinstance(points, str) or points not in POINTS:
        raise InputError(f"points={points!r}: one of {', '.join(map(repr, POINTS))}")
    return POINTS[points]


def _check_dtype(dtype, kernels):
    if dtype not in _DTYPES:
        raise InputError(f"dtype={dtype!r}: one of {', '.join(map(repr, _DTYPES))}")
    for role, kernel in kernels.items():
        if dtype not in kernel.dtypes:
            name = getattr(kernel, "__qualname__", getattr(kernel, "__name__", "?"))
            raise InputError(
                f"dtype={dtype!r}: the {role} kernel {name} is written for {', '.join(kernel.dtypes)} only. "
                "Run it in one of these, or declare dtypes=('float64', 'float32') on a kernel that keeps its literals "
                "in z's precision"
            )


def _choose(model, x, proposal):
    """The proposal to use for x (n, p) or (p,): as given, or the model's default, or its prior."""
    if proposal is None:
        default = getattr(model, "default_proposal", None)
        if default is not None:
            return default(x)
        if getattr(model, "prior", None) is not None:
            return model.prior
        raise NotAvailableError(
            f"{name_of(model)} has neither a default proposal nor a prior; give proposal=, for example "
            "logpx.proposals.Gaussian(mean, scale)"
        )
    return proposal


def _by_row(function, rows):
    """One proposal a row from a user's function, side by side."""
    made = [function(row) for row in rows]
    for i, one in enumerate(made):
        if not isinstance(one, Proposal):
            raise InputError(f"proposal(x) gave a {type(one).__name__} for row {i}; it must give a logpx proposal")
        if one.kernel is not made[0].kernel or not np.array_equal(one.dims, made[0].dims):
            raise InputError(f"proposal(x) gave a {one.name} for row {i} and a {made[0].name} of other sizes for row 0")
    return made


def pack_proposal(model: Any, x: np.ndarray, proposal: Any) -> Packed:
    """Choose, bind, check and pack the proposal of every row of x, (p,) or (n, p)."""
    chosen = _choose(model, x, proposal)
    if isinstance(chosen, Proposal):
        bound = [chosen.bind(model, x)]
    elif callable(chosen):
        bound = [
            one.bind(model, row) for one, row in zip(_by_row(chosen, np.atleast_2d(x)), np.atleast_2d(x), strict=True)
        ]
    else:
        raise InputError(f"proposal={chosen!r}: a logpx proposal, or a function x → proposal")
    first = bound[0]
    if first.n_latents != model.n_latents:
        raise InputError(
            f"the proposal {first.name} has {first.n_latents} latents and the model {name_of(model)} "
            f"{model.n_latents}; they must be the same"
        )
    lams = np.concatenate([np.atleast_2d(one.lam) for one in bound])
    n_rows = 1 if x.ndim == 1 else len(x)
    if len(lams) not in (1, n_rows):
        raise InputError(f"the proposal {first.name} has parameters for {len(lams)} rows and x has {n_rows}")
    missing = [one.missing_mass for one in bound]
    masses = np.array([math.nan if m is None else m for m in missing], dtype=float) if len(bound) > 1 else missing[0]
    floor = math.nan if masses is None else -np.log1p(-np.minimum(masses, 1.0 - 1e-16))
    floor = np.squeeze(floor)[()] if x.ndim == 1 else floor
    return Packed(
        first.kernel, first.base, first.n_base, lams, first.dims, float(floor) if np.ndim(floor) == 0 else floor
    )


def prepare(
    model: Any,
    x: ArrayLike,
    proposal: Any = None,
    *,
    points: Any = "independent",
    replicates: np.ndarray,
    first_row: int = 0,
    seed: int = 0,
    dtype: str = "float64",
    common: bool = False,
    groups: tuple[int, ...] = (),
) -> tuple[Problem, float | np.ndarray]:
    """Check and pack a run; the problem and its bias floor in nats. Raises InputError for whatever does not fit."""
    check_model(model)
    point_set = check_points(points)
    rows, has_rows = check_x(x, getattr(model, "n_observed", None))
    packed = pack_proposal(model, rows if has_rows else rows[0], proposal)
    kernels = {
        "points": point_set.kernels[packed.base], "proposal": packed.kernel, "log_joint": model.log_joint
    }  # fmt: skip
    _check_dtype(dtype, kernels)
    sizes = np.array([check_count("groups", size) for size in groups], dtype=np.int64)
    if sizes.size and not point_set.iid:
        raise InputError(f"groups={groups}: {point_set.name} points are not independent and have no group means")
    n_rows, n_replicates = len(rows), len(replicates)
    row = np.tile(np.arange(n_rows), n_replicates)
    stream_rows = np.zeros_like(row) if common else row + first_row
    real = np.dtype(dtype)
    problem = Problem(
        model_name=name_of(model),
        points=point_set,
        points_kernel=kernels["points"],
        proposal_kernel=packed.kernel,
        log_joint=model.log_joint,
        states=point_set.states(seed, np.repeat(replicates, n_rows), stream_rows, packed.n_base),
        n_base=packed.n_base,
        lams=_own(packed.lams, real),
        lam_of=row if len(packed.lams) > 1 else np.zeros_like(row),
        proposal_dims=_own(packed.dims, np.dtype(np.int64)),
        theta=_own(model.theta, real),
        model_dims=_own(getattr(model, "dims", ()), np.dtype(np.int64)),
        x=_own(rows, real),
        x_of=row,
        n_latents=int(model.n_latents),
        shape=(n_replicates, n_rows) if has_rows else (n_replicates,),
        dtype=dtype,
        group_sizes=sizes,
    )
    return problem, packed.bias_floor


def _own(values, dtype):
    """A writable C-contiguous copy: compiled signatures take no read-only arrays."""
    return np.array(values, dtype=dtype, order="C")
