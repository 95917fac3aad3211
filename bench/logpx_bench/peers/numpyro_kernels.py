r"""What NumPyro computes in the race: a model and a guide, and two routes to the log of their mean weight.

The route of its users is `RenyiELBO(alpha=0)`, whose loss is −log (1/k) Σ p(x, z_i)/q(z_i) (Li and Turner, 2016,
arXiv:1602.02311): here with all samples as particles, or by chunks that are put together after. The other draws a
chunk from the guide's distribution at once and maps `log_density` over it.

Imports NumPyro at the top: only for those who know that it is there.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro.infer import RenyiELBO
from numpyro.infer.util import log_density

from logpx_bench.peers import jax_kernels as kernels
from logpx_bench.peers.base import Run, Variant
from logpx_bench.peers.cases import Case, Data


def linear_gaussian(data: Data) -> Callable[[Any], None]:
    """x given z normal around μ + W z."""
    d, noise = data["W"].shape[1], np.sqrt(data["noise"])

    def model(x: Any) -> None:
        z = numpyro.sample("z", dist.Normal(jnp.zeros(d, x.dtype), 1).to_event(1))
        numpyro.sample("x", dist.Normal(data["mu"] + data["W"] @ z, noise).to_event(1), obs=x)

    return model


def mixture(data: Data) -> Callable[[Any], None]:
    """z from a mixture of Gaussians, times the evidence; there is no x."""
    components = dist.Normal(jnp.asarray(data["m"]), jnp.sqrt(data["v"])).to_event(1)

    def model(x: Any) -> None:
        numpyro.sample("z", dist.MixtureSameFamily(dist.Categorical(logits=jnp.asarray(data["log_pi"])), components))
        numpyro.factor("evidence", data["log_evidence"])

    return model


def proposal(data: Data, row: Any) -> Any:
    """q(z given x), independent for each latent."""
    return dist.Normal(jnp.asarray(data["proposal_mean"])[row], data["proposal_scale"]).to_event(1)


def observed(data: Data, row: Any) -> Any:
    """A row of x."""
    return jnp.asarray(data["X"])[row] if "X" in data else None


def model_of(case: Case, data: Data) -> Callable[[Any], None]:
    """The case's model."""
    return mixture(data) if case.model == "mixture" else linear_gaussian(data)


def by_bound(case: Case, data: Data) -> Callable[[Any, Any, int], Any]:
    """A function (key, row, particles) → log mean weight."""
    model = model_of(case, data)

    def log_mean(key: Any, row: Any, particles: int) -> Any:
        def guide(x: Any) -> None:
            numpyro.sample("z", proposal(data, row))

        return -RenyiELBO(alpha=0, num_particles=particles).loss(key, {}, model, guide, observed(data, row))

    return log_mean


def by_density(case: Case, data: Data, soa: bool) -> Callable[[Any, Any, tuple[int, ...]], Any]:
    """A function (key, row, shape) → log weights of that shape."""
    log_p = log_joint_of(case, data)
    axis = 1 if soa else 0

    def weigh(key: Any, row: Any, shape: tuple[int, ...]) -> Any:
        q, x = proposal(data, row), observed(data, row)
        z = q.sample(key, (math.prod(shape),))
        z = z.T if soa else z
        logs = jax.vmap(lambda one: log_p(one, x) - q.log_prob(one), axis)(z)
        return logs.reshape(shape)

    return weigh


def log_joint_of(case: Case, data: Data) -> Callable[[Any, Any], Any]:
    """log p(x, z) of one z by handlers."""
    model = model_of(case, data)
    return lambda z, x: log_density(model, (x,), {}, {"z": z})[0]


def chain(case: Case, dtype: str, threads: int, variant: Variant) -> Run:
    """The whole chain by either route. NumPyro draws in JAX's default precision, which is therefore set."""
    data = case.arrays(dtype)
    density, log_mean = by_density(case, data, variant.get("layout") == "soa"), by_bound(case, data)

    def weigh(key: Any, row: Any, shape: tuple[int, ...]) -> Any:
        with jax.enable_x64(dtype == "float64"):
            if variant["route"] == "log_density":
                return density(key, row, shape)
            return log_mean(key, row, math.prod(shape)) + math.log(math.prod(shape))

    return kernels.chunked(case, dtype, threads, variant, weigh)


def log_joint(case: Case, dtype: str, threads: int, variant: Variant) -> Run:
    """Log joint of latents that are there already."""
    data, axis = case.arrays(dtype), 1 if variant["layout"] == "soa" else 0
    z = jnp.asarray(data["z"].T.copy() if axis else data["z"])
    log_p, x = log_joint_of(case, data), observed(data, 0)
    call = kernels.compiled(lambda z: jax.vmap(lambda one: log_p(one, x), axis)(z), variant)
    return kernels.each_piece(case, threads, lambda: call(z))
