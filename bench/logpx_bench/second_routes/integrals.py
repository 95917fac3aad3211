"""Models with continuous latents that no closed form of ours is used for: SciPy's quadrature, or a plain grid.

Where the latents are independent given what is conditioned on, the integral is a product of one-dimensional ones, each
by adaptive Gauss-Kronrod quadrature (QUADPACK; R. Piessens et al., 1983). Where they are not, Gauss-Legendre rules of 8
nodes in 120 panels a side, over two dimensions. Densities are SciPy's, or as their definition reads.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import integrate, special, stats

Floats = NDArray[np.float64]
LINKS: Mapping[str, Callable[[Any], Any]] = {"logit": special.expit, "probit": stats.norm.cdf}


def integral(f: Callable[[Any], Any], low: float, high: float, n_pieces: int = 18) -> float:
    """∫ f by adaptive quadrature, the interval first cut into pieces so that no peak is missed."""
    points = np.linspace(low, high, n_pieces + 1)
    value, _ = integrate.quad(f, low, high, points=points, limit=400, epsabs=1e-15, epsrel=1e-11)
    return float(value)


def log_over_square(log_density: Callable[[Floats], Floats], low: float, high: float) -> float:
    """log ∫∫ exp log_density(z), z (2, n), over a square."""
    nodes, weights = np.polynomial.legendre.leggauss(8)
    edges = np.linspace(low, high, 121)
    half = 0.5 * (edges[1] - edges[0])
    axis = (0.5 * (edges[1:] + edges[:-1])[:, None] + half * nodes).ravel()
    side = np.log(np.tile(half * weights, 120))
    z = np.stack(np.meshgrid(axis, axis, indexing="ij")).reshape(2, -1)
    return float(special.logsumexp(log_density(z) + np.add.outer(side, side).ravel()))


def beside_the_data(log_evidence: float, X: Floats) -> Floats:
    """log p(x) of a target with this evidence: its data are one standard normal number."""
    logs: Floats = log_evidence + stats.norm.logpdf(X[:, 0])
    return logs


def random_intercept(model: Any, X: Floats) -> Any:
    """Group by group: the normal density of the intercept times the chance of the group's responses."""
    chance_of = LINKS[model.link]

    def group(x: Floats, g: int) -> float:
        mine = model.groups == g
        responses, offsets = x[mine] == 1, model.offsets[mine]

        def integrand(z: float) -> Any:
            chance = chance_of(offsets + model.scale * z)
            return stats.norm.pdf(z) * np.prod(np.where(responses, chance, 1 - chance))

        return math.log(integral(integrand, -10, 10))

    return [sum(group(x, g) for g in range(model.n_latents)) for x in X]


def mixture_target(model: Any, X: Floats) -> Any:
    """Every dimension of every Gaussian integrated, then weighted."""
    scales = np.sqrt(model.variances)
    masses = [
        math.prod(integral(stats.norm(m, s).pdf, m - 12 * s, m + 12 * s) for m, s in zip(*both, strict=True))
        for both in zip(model.means, scales, strict=True)
    ]
    return beside_the_data(math.log(model.weights @ masses), X)


def funnel(model: Any, X: Floats) -> Any:
    """Over z_1, of its density times the integral of one of the others at that scale, to the power of their number."""

    def one(z1: float) -> float:
        scale = math.exp(z1 / 2)
        z = scale * np.linspace(-10, 10, 401)
        return float(stats.norm(0, scale).pdf(z).sum() * (z[1] - z[0]))

    def integrand(z1: float) -> Any:
        return stats.norm(0, 3).pdf(z1) * one(z1) ** (model.n_latents - 1)

    return beside_the_data(math.log(integral(integrand, -30, 30)), X)


def eggbox(model: Any, X: Floats) -> Any:
    """Two dimensions: a grid over the square."""
    side = 10 * math.pi
    return beside_the_data(
        log_over_square(lambda z: (2 + np.cos(z / 2).prod(axis=0)) ** 5, 0, side) - 2 * math.log(side), X
    )


def gaussian_shells(model: Any, X: Floats) -> Any:
    """Two dimensions: a grid over the square."""

    def log_density(z: Floats) -> Floats:
        distances = [np.hypot(z[0] - centre, z[1]) for centre in (3.5, -3.5)]
        both: Floats = special.logsumexp(stats.norm(2, 0.1).logpdf(distances), axis=0)
        return both

    return beside_the_data(log_over_square(log_density, -6, 6) - 2 * math.log(12), X)


def many_well(model: Any, X: Floats) -> Any:
    """A well and a Gaussian by turns."""
    well = integral(lambda z: math.exp(-(z**4) + 6 * z**2 + z / 2), -5, 5)
    normal = integral(lambda z: math.exp(-(z**2) / 2), -12, 12)
    d = model.n_latents
    return beside_the_data((d + 1) // 2 * math.log(well) + d // 2 * math.log(normal), X)


def log_gamma(model: Any, X: Floats) -> Any:
    """Factor by factor over the unit interval: two bimodal ones, then skewed ones, then normal ones."""

    def mass(kind: Any, *modes: float) -> float:
        return sum(integral(kind(loc=m).pdf, 0, 1) for m in modes) / len(modes)

    def skewed(loc: float) -> Any:
        return stats.loggamma(1, loc=loc, scale=1 / 30)

    def normal(loc: float) -> Any:
        return stats.norm(loc=loc, scale=1 / 30)

    d = model.n_latents
    n_skewed = (d + 2) // 2 - 2
    logs = math.log(mass(skewed, 1 / 3, 2 / 3)) + math.log(mass(normal, 1 / 3, 2 / 3))
    logs += n_skewed * math.log(mass(skewed, 2 / 3)) + (d - 2 - n_skewed) * math.log(mass(normal, 2 / 3))
    return beside_the_data(logs, X)


def gaussian_box(model: Any, X: Floats) -> Any:
    """Dimension by dimension: the uniform prior times the likelihood."""
    c = model.half_side
    side = integral(lambda z: stats.uniform(-c, 2 * c).pdf(z) * math.exp(-(z**2) / 2), -c, c)
    return beside_the_data(model.n_latents * math.log(side), X)
