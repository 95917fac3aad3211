"""From what a user gives (model, x, proposal, points) to what the engine runs: checked, bound and packed.

Everything that can be wrong with the input is found here, before anything is compiled or run. Cost: one call of
the model's default proposal for all rows; a user's function x → proposal is called once a row.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from logpx.checks import whole
from logpx.errors import InputError, NotAvailableError
from logpx.models.base import Model, check_kernel, check_x
from logpx.points import REGISTRY as POINTS
from logpx.points.base import PointSet
from logpx.proposals.base import Proposal
from logpx.tasks import Problem

_DTYPES = ("float64", "float32")


class Packed(NamedTuple):
    """A proposal ready to run: kernel, base noise, packed numbers by row, bias left (nats), states of a discrete z."""

    kernel: Any
    base: str
    n_base: int
    lams: np.ndarray
    dims: np.ndarray
    bias_floor: float | np.ndarray
    n_states: int | None


def check_model(model: Any) -> None:
    """Raise InputError unless the object is a model."""
    missing = [field for field in ("log_joint", "theta", "n_latents") if not hasattr(model, field)]
    if missing and getattr(model, "kind", None) == "log_joint":
        name = getattr(model, "__name__", "log_joint")
        raise InputError(f"{name} is a kernel; put it into logpx.Model: logpx.Model({name}, theta, n_latents, …)")
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


def _check_dtype(dtype, kernels, n_states):
    if not isinstance(dtype, str) or dtype not in _DTYPES:
        raise InputError(f"dtype={dtype!r}: one of {', '.join(map(repr, _DTYPES))}")
    for role, kernel in kernels.items():
        if dtype not in kernel.dtypes:
            name = getattr(kernel, "__qualname__", getattr(kernel, "__name__", "?"))
            raise InputError(
                f"dtype={dtype!r}: the {role} kernel {name} is written for {', '.join(kernel.dtypes)} only. "
                "Run it in one of these, or declare dtypes=('float64', 'float32') on a kernel that keeps its literals "
                "in z's precision"
            )
    if dtype == "float32" and n_states is not None and n_states > 2**24:
        raise InputError(
            f"dtype='float32': {n_states} states are more than the 2^24 that it tells apart; use 'float64'"
        )


def _choose(model, proposal):
    """What to take q from: as given, or the model's default, or its prior. A proposal, or a function of x."""
    if proposal is not None:
        return proposal
    if getattr(model, "default_proposal", None) is not None:
        return model.default_proposal
    if getattr(model, "prior", None) is not None:
        return model.prior
    raise NotAvailableError(
        f"{name_of(model)} has neither a default proposal nor a prior; give proposal=, for example "
        "logpx.proposals.Gaussian(mean, scale)"
    )


def _bound(model, x, chosen):
    """The proposals of all rows, ready to run: one for all, or one a row."""
    if isinstance(chosen, Proposal):
        return [chosen.bind(model, x)]
    if isinstance(chosen, type) or not callable(chosen):
        raise InputError(f"proposal={chosen!r}: a logpx proposal such as Prior(), or a function x → proposal")
    if chosen == getattr(model, "default_proposal", None) and not isinstance(model, Model):
        return [chosen(x).bind(model, x)]  # a built-in model's takes all rows at once
    made: list[Proposal] = []
    for i, row in enumerate(np.atleast_2d(x)):
        try:
            one = chosen(row)
        except Exception as error:
            error.add_note(f"raised by proposal(x) for row {i} of x")
            raise
        if not isinstance(one, Proposal):
            raise InputError(f"proposal(x) gave a {type(one).__name__} for row {i}; it must give a logpx proposal")
        one = one.bind(model, row)
        first = made[0] if made else one
        if np.ndim(one.lam) == 2 and len(one.lam) != 1:
            raise InputError(f"proposal(x) gave a {one.name} for {len(one.lam)} rows where x is row {i} alone")
        if _form(one) != _form(first):
            raise InputError(f"proposal(x) gave a {one.name} for row {i} and a {first.name} of another form for row 0")
        made.append(one)
    return made


def _form(proposal):
    """What must be the same for all rows of a run."""
    sizes = proposal.n_base, proposal.n_latents, np.shape(proposal.lam)[-1], tuple(np.atleast_1d(proposal.dims))
    return (id(proposal.kernel), proposal.base, *sizes)


def _check_discrete(model, proposal):
    """Raise InputError where a proposal draws real numbers for latents that are whole ones, or the other way about.

    How many latents, the first ones, are whole numbers is what the model's `n_discrete` says, else what its prior does;
    a model with neither is not checked.
    """
    prior = getattr(model, "prior", None)
    known = None if prior is None or prior.kernel is None else prior.n_discrete
    wanted = getattr(model, "n_discrete", known)
    if wanted is None or wanted == proposal.n_discrete:
        return
    raise InputError(
        f"{name_of(model)} has {wanted} discrete latents among its {model.n_latents}, and the proposal {proposal.name} "
        f"draws {proposal.n_discrete} whole numbers: the weights would be zero, or mean nothing. Categorical, "
        "Uniform.finite, Bernoulli, BinaryTable and MarkovChain draw whole numbers, ConditionalGaussian one, and real "
        "numbers after it, all others real numbers; without proposal= the model's own is taken"
    )


def pack_proposal(model: Any, x: np.ndarray, proposal: Any) -> Packed:
    """Choose, bind, check and pack the proposal of every row of x, (p,) or (n, p)."""
    bound = _bound(model, x, _choose(model, proposal))
    first = bound[0]
    if first.n_latents != model.n_latents:
        raise InputError(
            f"the proposal {first.name} has {first.n_latents} latents and the model {name_of(model)} "
            f"{model.n_latents}; they must be the same"
        )
    _check_discrete(model, first)
    lams = np.concatenate([np.atleast_2d(one.lam) for one in bound])
    n_rows = 1 if x.ndim == 1 else len(x)
    if len(lams) not in (1, n_rows):
        raise InputError(f"the proposal {first.name} has parameters for {len(lams)} rows and x has {n_rows}")
    missing = [one.missing_mass for one in bound]
    masses = np.array([math.nan if m is None else m for m in missing], dtype=float) if len(bound) > 1 else missing[0]
    floor = math.nan if masses is None else -np.log1p(-np.minimum(masses, 1.0 - 1e-16))
    floor = np.squeeze(floor)[()] if x.ndim == 1 else floor
    n_states = getattr(first, "n_states", None)
    floor = float(floor) if np.ndim(floor) == 0 else floor
    return Packed(first.kernel, first.base, first.n_base, lams, first.dims, floor, n_states)


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
    _check_dtype(dtype, kernels, packed.n_states)
    if not isinstance(common, bool | np.bool_):
        raise InputError(f"common={common!r}: True or False")
    if not isinstance(groups, tuple | list):
        raise InputError(f"groups={groups!r}: a tuple of group sizes, such as (50, 5000)")
    sizes = np.array([whole("groups", size) for size in groups], dtype=np.int64)
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
        lams=_own("the proposal", packed.lams, real),
        lam_of=row if len(packed.lams) > 1 else np.zeros_like(row),
        proposal_dims=_own("the proposal", packed.dims, np.dtype(np.int64)),
        theta=_own("theta", model.theta, real),
        model_dims=_own("dims", getattr(model, "dims", ()), np.dtype(np.int64)),
        x=_own("x", rows, real),
        x_of=row,
        n_latents=int(model.n_latents),
        shape=(n_replicates, n_rows) if has_rows else (n_replicates,),
        dtype=dtype,
        group_sizes=sizes,
    )
    return problem, packed.bias_floor


def _own(name, values, dtype):
    """A writable C-contiguous copy: compiled signatures take no read-only arrays."""
    with np.errstate(over="ignore"):
        own = np.array(values, dtype=dtype, order="C")
    if own.dtype.kind == "f" and (np.isinf(own) & np.isfinite(values)).any():
        raise InputError(f"{name} holds entries too large for {dtype}; scale the data, or use float64")
    return own
