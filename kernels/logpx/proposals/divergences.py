r"""How far a proposal is from a posterior: KL, χ² and E_q[(p/q)²] of one Gaussian against another, in closed form.

With Λ precisions, δ = m_p − m_q, and e_1 … e_d the eigenvalues of L_pᵀ Λ_q L_p, where L_p L_pᵀ is the covariance of
p:

    KL(p‖q)     = ½ Σ (e − 1 − log e) + ½ δᵀ Λ_q δ
    E_q[(p/q)²] = Π (e (2 − e))^{−1/2} · exp(½ Σ v²/(2 − e) + ½ δᵀ Λ_q δ),   v = L_pᵀ Λ_q δ in the eigenvectors' basis
    χ²(p‖q)     = E_q[(p/q)²] − 1

finite where every e < 2, that is where 2Λ_p − Λ_q is positive definite, and infinite otherwise. They predict an
importance sampler with log weights l = log p(x, z) − log q(z) from q: with p the posterior, the ELBO is log p(x) −
KL(q‖p), the variance of w/p(x) is χ²(p‖q), the ESS of k samples about k/(1 + χ²), the Jensen gap about χ²/2k, and k
must be of the order exp KL(p‖q). For two categorical distributions the sums are over the states; other kinds bring
their own closed forms (`Proposal.kl`, `Proposal.log_second_moment`). For p a mixture of
Gaussians with diagonal covariances v_k and q a diagonal Gaussian, E_q[(p/q)²] is a sum over pairs of components,

    Σ_kl π_k π_l Π s (a v_k v_l)^{−½} exp(½ b²/a − ½ δ_k²/v_k − ½ δ_l²/v_l),
    a = 1/v_k + 1/v_l − 1/s²,   b = δ_k/v_k + δ_l/v_l,   δ_k = m_k − m_q, the product over the latents,

finite where every a > 0, and KL has no closed form. Source: T. van Erven and P. Harremoës (2014), IEEE Trans. Inf.
Theory 60, 3797-3820 (Rényi divergence of order 2, table 2 of M. Gil et al. (2013), Inf. Sci. 249, 124-131); S.
Chatterjee and P. Diaconis (2018), Ann. Appl. Probab. 28, 1099-1135, arXiv:1511.01437, for k. Cost d³ for each pair of
covariances.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy

from logpx.errors import InputError
from logpx.proposals.base import Floats, Proposal
from logpx.proposals.categorical import Categorical
from logpx.proposals.gaussian import Gaussian
from logpx.proposals.mixture import Mixture


def kl(p: Proposal, q: Proposal) -> Any:
    """KL(p‖q) in nats: a float, or (n,) where p or q has n rows.

    Parameters
    ----------
    p, q : two Gaussians, Categoricals, LogitBetas or MarkovChains; Bernoulli and BinaryTable in any pair
        For importance sampling p is the posterior and q the proposal.

    Raises
    ------
    InputError
        Other kinds, or different numbers of latents or states.

    Examples
    --------
    >>> float(kl(Gaussian([0.0], [1.0]), Gaussian([1.0], [1.0])))
    0.5
    """
    kind = _kind(p, q)
    if kind is None:
        return _plain(p.kl(q))
    if kind is Categorical:
        return _plain(scipy.special.rel_entr(_states(p), _states(q)).sum(axis=-1))
    e, _, shift = _spectrum(p, q)
    return _plain(0.5 * (e - 1 - np.log(e)).sum(axis=-1) + 0.5 * shift)


def log_second_moment(p: Proposal, q: Proposal) -> Any:
    """log E_q[(p/q)²] in nats, the Rényi divergence of order 2: a float or (n,); inf where the moment is.

    Besides the pairs that `kl` takes, p may be a Mixture where q is a diagonal Gaussian.
    """
    if isinstance(p, Mixture) and p.means.ndim == 2 and isinstance(q, Gaussian) and q.form == "diagonal":
        return _plain(_of_mixture(p, q))
    kind = _kind(p, q)
    if kind is None:
        return _plain(p.log_second_moment(q))
    if kind is Categorical:
        with np.errstate(divide="ignore", invalid="ignore"):
            terms = np.where(_states(p) > 0, _states(p) * (_states(p) / _states(q)), 0.0)
            return _plain(np.log(terms.sum(axis=-1)))
    e, v, shift = _spectrum(p, q)
    finite = np.all(e < 2, axis=-1)
    inner = np.where(e < 2, e, 1.0)
    log_volume = -0.5 * np.log1p(-((1 - inner) ** 2)).sum(axis=-1)
    value = log_volume + 0.5 * (v**2 / (2 - inner)).sum(axis=-1) + 0.5 * shift
    return _plain(np.where(finite, value, np.inf))


def second_moment(p: Proposal, q: Proposal) -> Any:
    """E_q[(p/q)²], a float or (n,): the mean squared weight over p(x)², k/ESS for large k; inf where it diverges.

    Examples
    --------
    >>> second_moment(Gaussian([0.0], [1.0]), Gaussian([0.0], [0.7]))
    inf
    """
    with np.errstate(over="ignore"):
        return _plain(np.exp(log_second_moment(p, q)))


def chi2(p: Proposal, q: Proposal) -> Any:
    """χ²(p‖q) = E_q[(p/q)²] − 1, a float or (n,), without cancellation where p and q are close; inf where it diverges.

    Examples
    --------
    >>> chi2(Gaussian([0.0], [1.0]), Gaussian([0.0], [1.0]))
    0.0
    """
    if isinstance(p, Categorical) and _kind(p, q) is Categorical:
        with np.errstate(divide="ignore", invalid="ignore"):
            terms = (_states(p) - _states(q)) ** 2 / _states(q)
            return _plain(np.where((_states(p) == 0) & (_states(q) == 0), 0.0, terms).sum(axis=-1))
    with np.errstate(over="ignore"):
        return _plain(np.expm1(log_second_moment(p, q)))


def _kind(p: Proposal, q: Proposal) -> type[Proposal] | None:
    """What p and q both are, of the kinds whose closed forms stand here; None where p itself knows them."""
    return next((kind for kind in (Gaussian, Categorical) if isinstance(p, kind) and isinstance(q, kind)), None)


def _states(p: Proposal) -> Floats:
    assert isinstance(p, Categorical)
    return p.probabilities


def _plain(values: Any) -> Any:
    return float(values) if np.ndim(values) == 0 else np.asarray(values)


def _of_mixture(p: Mixture, q: Gaussian) -> Floats:
    if p.n_latents != q.n_latents:
        raise InputError(f"p has {p.n_latents} latents and q {q.n_latents}; they must have as many")
    precision = p.scales**-2.0
    centre, variance = q.mean[..., None, :], np.broadcast_to(q.scale, q.mean.shape)[..., None, None, :] ** 2
    delta = p.means - centre
    slope = delta * precision
    fit = (delta * slope + np.log(p.scales**2)).sum(axis=-1)
    a = precision[:, None] + precision - 1 / variance
    b = slope[..., :, None, :] + slope[..., None, :, :]
    inner = np.where(a > 0, a, 1.0)
    exponents = (b**2 / inner + np.log(variance / inner)).sum(axis=-1) - fit[..., :, None] - fit[..., None, :]
    logs = np.log(p.weights)[:, None] + np.log(p.weights) + 0.5 * exponents
    value = scipy.special.logsumexp(logs, axis=(-2, -1))
    return np.where(np.all(a > 0, axis=(-3, -2, -1)), value, np.inf)


def _spectrum(p: Proposal, q: Proposal) -> tuple[Floats, Floats, Floats]:
    """e (…, d), v (…, d) and δᵀ Λ_q δ of the formulas above."""
    assert isinstance(p, Gaussian)
    assert isinstance(q, Gaussian)
    if p.n_latents != q.n_latents:
        raise InputError(f"p has {p.n_latents} latents and q {q.n_latents}; they must have as many")
    ratio = np.linalg.solve(q.cholesky, p.cholesky)
    e, vectors = np.linalg.eigh(np.swapaxes(ratio, -1, -2) @ ratio)
    delta = np.linalg.solve(q.cholesky, (p.mean - q.mean)[..., None])
    v = np.swapaxes(vectors, -1, -2) @ (np.swapaxes(ratio, -1, -2) @ delta)
    return e, v[..., 0], (delta[..., 0] ** 2).sum(axis=-1)
