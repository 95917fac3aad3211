"""Answers to six questions of two abilities, a block at a time and one by one, written from the README alone.

x_j is right with odds exp(bias_j + loadings_j · z),   z ~ N(m, L Lᵀ)

logpx check bench/examples/models/logistic_items.py
"""

import math

import numpy as np

import logpx

P = 6
LOADINGS = [[1.2, 0.0], [0.9, 0.3], [0.7, -0.5], [0.2, 1.1], [0.0, 0.8], [-0.4, 1.0]]
CHOL = [[1.0, 0.0], [0.4, 0.9]]
theta = {"bias": [0.3, -0.2, 0.5, -1.0, 0.0, 0.4], "loadings": LOADINGS, "mean": [0.2, -0.1], "chol": CHOL}


@logpx.log_joint
def logit2(theta, dims, x, z, out):
    l00 = theta.chol[0, 0]
    l10 = theta.chol[1, 0]
    l11 = theta.chol[1, 1]
    const = -math.log(2.0 * math.pi) - math.log(l00) - math.log(l11)
    for i in range(z.shape[1]):
        e0 = (z[0, i] - theta.mean[0]) / l00
        e1 = (z[1, i] - theta.mean[1] - l10 * e0) / l11
        out[i] = const - 0.5 * (e0 * e0 + e1 * e1)
    for j in range(dims[0]):
        s = 2.0 * x[j] - 1.0
        for i in range(z.shape[1]):
            t = s * (theta.bias[j] + theta.loadings[j, 0] * z[0, i] + theta.loadings[j, 1] * z[1, i])
            out[i] -= max(-t, 0.0) + math.log1p(math.exp(-abs(t)))


def scalar(theta, dims, x, z):
    e0 = (z[0] - theta.mean[0]) / theta.chol[0, 0]
    e1 = (z[1] - theta.mean[1] - theta.chol[1, 0] * e0) / theta.chol[1, 1]
    total = -math.log(2 * math.pi) - math.log(theta.chol[0, 0] * theta.chol[1, 1]) - 0.5 * (e0**2 + e1**2)
    for j in range(dims[0]):
        t = theta.bias[j] + theta.loadings[j, 0] * z[0] + theta.loadings[j, 1] * z[1]
        total += x[j] * t - math.log1p(math.exp(t))
    return total


prior = logpx.proposals.Gaussian([0.2, -0.1], np.array(CHOL))
model = logpx.Model(logit2, theta, n_latents=2, n_observed=P, dims=[P], prior=prior)
x = [[1, 1, 0, 0, 1, 0], [1, 1, 1, 1, 1, 1]]
x_states = [0, 1]
