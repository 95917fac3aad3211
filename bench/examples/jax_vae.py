"""A variational autoencoder in JAX whose log p(x) is known: its log weights, handed to a ladder in pieces.

    z ~ N(0, I),  x given z ~ N(W z + b, σ² I);  q(z given x) = N(A x + c, diag s²), trained on the ELBO

The decoder is linear, so that log p(x) = log N(x; b, W Wᵀ + σ² I) exactly. Each piece of the stream has a key of its
own, folded in from the index of its first sample, so any piece can be made again, and pieces may come in any order. Run
it where JAX is:

    python bench/examples/jax_vae.py [log2 of the number of weights]
"""

import functools
import math
import sys

import jax
import jax.numpy as jnp
from jax.scipy.stats import norm

import logpx

P, D, PIECE = 6, 2, 1 << 14
ROOT = jax.random.key(0)


@functools.partial(jax.jit, static_argnums=3)
def log_weights(parameters, key, x, n):
    """n log weights log p(x, z) − log q(z given x) for each row of x: (rows, n)."""
    w, b, log_noise, a, c, log_scale = parameters
    mean, scale = x @ a.T + c, jnp.exp(log_scale)
    z = mean + scale * jax.random.normal(key, (n, *mean.shape))
    likelihood = norm.logpdf(x, z @ w.T + b, jnp.exp(log_noise)).sum(-1)
    return (norm.logpdf(z).sum(-1) + likelihood - norm.logpdf(z, mean, scale).sum(-1)).T


@jax.jit
def step(parameters, momentum, key, data):
    """One step of gradient ascent on the ELBO, with momentum."""
    gradient = jax.grad(lambda p: log_weights(p, key, data, 4).mean())(parameters)
    momentum = [0.9 * m + g for m, g in zip(momentum, gradient, strict=True)]
    return [p + 0.01 * m for p, m in zip(parameters, momentum, strict=True)], momentum


def exact(parameters, x):
    """log p(x)."""
    w, b, log_noise, *_ = parameters
    return jax.scipy.stats.multivariate_normal.logpdf(x, b, w @ w.T + jnp.exp(2 * log_noise) * jnp.eye(P))


def main(power=18):
    """Train, then estimate log p(x) of the first observation; the error in standard errors."""
    k1, k2, k3, k4, k5, stream = jax.random.split(ROOT, 6)
    data = jax.random.normal(k1, (512, D)) @ jax.random.normal(k2, (D, P)) + 0.5 * jax.random.normal(k3, (512, P))
    w, a = 0.3 * jax.random.normal(k4, (P, D)), jnp.zeros((D, P))
    parameters = [w, jnp.zeros(P), jnp.zeros(()), a, jnp.zeros(D), jnp.zeros(D)]
    momentum = [jnp.zeros_like(one) for one in parameters]
    for i in range(400):
        parameters, momentum = step(parameters, momentum, jax.random.fold_in(k5, i), data)

    ladder, x = logpx.Ladder(), data[:1]
    for start in range(0, 1 << power, PIECE):
        ladder.update(log_weights(parameters, jax.random.fold_in(stream, start), x, PIECE)[0], start)

    est, answer = ladder.estimate(), float(exact(parameters, x[0]))
    z = (est.log_marginal - answer) / est.std_error
    print(f"log p(x) = {est.log_marginal:.4f} ± {est.std_error:.4f} nats; exactly {answer:.4f}, z = {z:+.2f}")
    print(f"ELBO {est.elbo:.4f}, bound at k = 64 {est.bound(64).value:.4f}, ESS {est.ess:.0f} of {est.n_samples}")
    print(est.warnings or "nothing speaks against it")
    return z


if __name__ == "__main__":
    sys.exit(0 if math.fabs(main(*map(int, sys.argv[1:]))) < 5 else 1)
