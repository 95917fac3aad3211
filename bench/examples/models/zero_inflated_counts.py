"""Zero-inflated Poisson regression with one latent effect z shared by the row, written from the README alone.

x_j = 0 with probability π, else Poisson with rate exp(design_j · beta + effect · z),   z ~ N(0, 1)

logpx check bench/examples/models/zero_inflated_counts.py
"""

import math

import numpy as np
from scipy import integrate, stats

import logpx


@logpx.per_sample
def zip_regression(theta, dims, x, z):
    total = -0.5 * z[0] * z[0] - 0.5 * math.log(2.0 * math.pi)
    log_pi = -math.log1p(math.exp(-theta.inflation))
    log_not = -math.log1p(math.exp(theta.inflation))
    for j in range(x.size):
        eta = theta.effect * z[0]
        for c in range(theta.beta.size):
            eta += theta.design[j, c] * theta.beta[c]
        log_pois = x[j] * eta - math.exp(eta) - math.lgamma(x[j] + 1.0)
        if x[j] == 0.0:
            a = log_pi
            b = log_not + log_pois
            m = max(a, b)
            total += m + math.log(math.exp(a - m) + math.exp(b - m))
        else:
            total += log_not + log_pois
    return total


DESIGN = np.column_stack([np.ones(5), np.linspace(-1, 1, 5)])
theta = {"beta": [0.6, 0.8], "design": DESIGN, "inflation": -1.0, "effect": 0.7}


def log_marginal(x):
    """By adaptive quadrature in SciPy, written apart from the kernel."""
    x = np.asarray(x, float)
    if x.ndim == 2:
        return np.array([log_marginal(row) for row in x])
    pi = 1 / (1 + math.exp(1.0))

    def log_f(z):
        rate = np.exp(DESIGN @ np.array([0.6, 0.8]) + 0.7 * z)
        pmf = (1 - pi) * stats.poisson.pmf(x, rate) + pi * (x == 0)
        with np.errstate(divide="ignore"):
            return float(np.log(pmf).sum() + stats.norm.logpdf(z))

    grid = np.linspace(-8, 8, 801)
    v = np.array([log_f(t) for t in grid])
    top, at = v.max(), grid[v.argmax()]
    val, _ = integrate.quad(lambda t: math.exp(log_f(t) - top), -10, 10, points=[at], epsabs=0, epsrel=1e-11, limit=400)
    return top + math.log(val)


prior = logpx.proposals.Gaussian([0.0], [1.0])
model = logpx.Model(zip_regression, theta, n_latents=1, n_observed=5, prior=prior, log_marginal=log_marginal)
x = [[0, 1, 0, 3, 6], [2, 0, 4, 9, 0]]
