r"""Estimators by name: from a suite's words to a proposal; and how far that proposal is from the posterior.

Every estimator here averages the weights p(x, z)/q(z) of independent z ~ q and takes the log. What differs is q.
With p the posterior, the relative variance of one weight is χ²(p‖q), so that the delta method has

    E[log p̂] ≈ log p(x) − χ²/(2k),     sd[log p̂] ≈ sqrt(χ²/k),

and KL(p‖q) is what says how large k must be (Chatterjee and Diaconis, 2018, doi:10.1214/17-AAP1319): log k well above
it. Both are exact here. Between Gaussians they are the library's closed forms. For a box B that holds the posterior
N(m, Σ) in d dimensions, KL = log|B| − ½ log det(2πeΣ) and 1 + χ² = |B| (4π)^{−d/2} det(Σ)^{−½}, short of the mass
that the box leaves out (10^-12 or less). For finitely many states they are sums. Other proposals bring their own closed
forms; where there is none, or the posterior is not available, the answer is None.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from logpx.models import Model
from logpx.proposals import Categorical, Gaussian, Prior, Proposal, Uniform, divergences
from logpx_bench.errors import InputError, LogpxError
from logpx_bench.options import Option

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class EstimatorEntry:
    """How a suite names an estimator: `make(model, x, options)` gives its proposal for one row x, (p,)."""

    name: str
    summary: str
    options: Mapping[str, Option]
    make: Callable[[Any, Vector, Mapping[str, Any]], Proposal]


def _uniform(model: Any, x: Vector, options: Mapping[str, Any]) -> Proposal:
    return Uniform().bind(model, x)


def _prior(model: Any, x: Vector, options: Mapping[str, Any]) -> Proposal:
    return Prior().bind(model, x)


def _importance(model: Any, x: Vector, options: Mapping[str, Any]) -> Proposal:
    widen, own = options.get("widen"), getattr(model, "default_proposal", None)
    if own is None:
        raise InputError(
            f"the estimator 'importance' needs a default proposal, and {model.name} has none: give "
            "Model(…, default_proposal=…), or define proposal in its file"
        )
    if widen is not None and isinstance(model, Model):
        raise InputError(f"the default proposal of {model.name} has no width to set")
    chosen: Proposal = own(x) if widen is None else own(x, widen=widen)
    return chosen.bind(model, x)


def _encoder(model: Any, x: Vector, options: Mapping[str, Any]) -> Proposal:
    if getattr(model, "encoder", None) is None:
        raise InputError(f"the estimator 'encoder' needs a model with an encoder; {model.name} has none")
    chosen: Proposal = model.encoder_proposal(x)
    return chosen.bind(model, x)


def _gaussian(model: Any, x: Vector, options: Mapping[str, Any]) -> Proposal:
    centre = model.posterior(x) if hasattr(model, "posterior") else None
    if not isinstance(centre, Gaussian):
        raise InputError(
            f"the estimator 'gaussian' needs a model whose posterior is Gaussian; that of {model.name} is "
            f"{'not known' if centre is None else centre.name}. Use importance, prior or uniform there."
        )
    return Gaussian(centre.mean, np.full(model.n_latents, options["scale"]))


def _posterior(model: Any, x: Vector, options: Mapping[str, Any]) -> Proposal:
    if not hasattr(model, "posterior"):
        raise InputError(f"the estimator 'posterior' needs a model with a known posterior; {model.name} has none")
    exact: Proposal = model.posterior(x)
    return exact.bind(model, x)


#: Estimators a suite may name. A new one is a row here.
ESTIMATORS = {
    entry.name: entry
    for entry in (
        EstimatorEntry("uniform", "uniform Monte Carlo: z uniform on the states, or on a box", {}, _uniform),
        EstimatorEntry("prior", "prior Monte Carlo: z from p(z)", {}, _prior),
        EstimatorEntry(
            "importance",
            "importance sampling from the model's mean-field proposal, widened; by default so that χ² is least",
            {"widen": Option(float, 0.01, 100, "factor on the mean-field standard deviations")},
            _importance,
        ),
        EstimatorEntry(
            "gaussian",
            "importance sampling from a spherical Gaussian of a stated scale, at the posterior mean",
            {"scale": Option(float, 1e-6, 1e6, "standard deviation of every latent", default=1.0)},
            _gaussian,
        ),
        EstimatorEntry("encoder", "importance sampling from the model's encoder q(z|x), as it is", {}, _encoder),
        EstimatorEntry("posterior", "importance sampling from the exact posterior: zero variance", {}, _posterior),
    )
}


def make_proposal(name: str, options: Mapping[str, Any], model: Any, x: Vector) -> Proposal:
    """The proposal of an estimator, bound to the model and one row x of shape (p,)."""
    return ESTIMATORS[name].make(model, x, options)


def divergence(model: Any, x: Vector, proposal: Proposal) -> tuple[float | None, float | None]:
    """KL(posterior‖q) in nats and χ²(posterior‖q); inf where infinite, None where no exact answer is known.

    Examples
    --------
    >>> from logpx.models import ConjugateNormal
    >>> model, X = ConjugateNormal.example()
    >>> divergence(model, X[0], model.posterior(X[0]))
    (0.0, 0.0)
    """
    if not hasattr(model, "posterior"):
        return None, None
    try:
        posterior = model.posterior(x)
        if isinstance(posterior, Gaussian) and isinstance(proposal, Uniform) and proposal.low is not None:
            return _against_box(posterior, proposal)
        if isinstance(posterior, Categorical):
            return _between_states(posterior, proposal)
        return float(divergences.kl(posterior, proposal)), float(divergences.chi2(posterior, proposal))
    except LogpxError:
        return None, None


def _against_box(posterior: Gaussian, box: Uniform) -> tuple[float, float]:
    d = posterior.n_latents
    log_volume = float(np.log(np.asarray(box.high) - np.asarray(box.low)).sum())
    half_log_det = float(np.log(np.diagonal(posterior.cholesky)).sum())
    kl = log_volume - 0.5 * d * math.log(2 * math.pi * math.e) - half_log_det
    log_second = log_volume - 0.5 * d * math.log(4 * math.pi) - half_log_det
    return kl, math.expm1(log_second) if log_second < 700 else math.inf


def _between_states(posterior: Categorical, proposal: Proposal) -> tuple[float, float]:
    p = np.asarray(posterior.probabilities).reshape(-1)
    states = np.arange(p.size, dtype=float)[:, None]
    q = np.exp(proposal.log_density(states)).reshape(-1)
    some = p > 0
    if np.any(q[some] == 0):
        return math.inf, math.inf
    kl = float(np.sum(p[some] * np.log(p[some] / q[some])))
    return kl, float(np.sum(p[some] ** 2 / q[some])) - 1.0


def predicted_error(chi2: float | None, k: int) -> float:
    """Standard deviation of log p̂ at k by the delta method, sqrt(χ²/k); nan where χ² is not known."""
    return math.nan if chi2 is None else math.sqrt(max(0.0, chi2) / k)
