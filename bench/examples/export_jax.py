"""Networks of Flax, and of anything else in JAX that is a dict of kernels and biases, for export_vae.py (see there).

    decoder = jax_network(params["decoder"], lambda params, z: Decoder().apply({"params": params}, z),
                          layers=["linear", "tanh", "linear"])
    encoder = jax_network(params["encoder"], lambda params, x: Encoder().apply({"params": params}, x),
                          layers=["linear", "relu", "linear"], order=["fc1", ("fc2_mean", "fc2_logvar")])

For Flax's nnx, split the module, and hand over `nnx.to_pure_dict(state)` with an apply that merges it again.
"""

import itertools
import re

import numpy as np
from export_vae import Densities, ExportError, network


def jax_network(params, apply, layers, order=None, name="network"):
    """The Network of `apply(params, z)`.

    Parameters
    ----------
    params : mapping
        A dict for each linear layer, with "kernel" (in, out), as Flax has it, and "bias" (out,) if there is one. What
        lies around it ({"params": …}, or the name of a submodule) is taken off first: params["params"]["decoder"].
    apply : callable
        (params, z (n, in)) → (n, out): your module's own apply. It is called once in float64: a module that sets a
        dtype of its own must be rebuilt without.
    layers : sequence of str
        "linear" and names of ACTIVATIONS, in order: what a Flax module calls cannot be read from its weights. Flax's
        own gelu is "gelu_tanh" unless it is called with approximate=False.
    order : sequence of str, optional
        Names of the linear layers from input to output. May be left out if they end in numbers (Dense_0, Dense_1, …).
        The last may be a pair, ("mean", "logvar"): two heads on one body, whose outputs are put side by side; `apply`
        may then give both as a tuple.
    """
    import jax

    order = _order(params, name) if order is None else list(order)
    heads = [[one] if isinstance(one, str) else list(one) for one in order]
    if any(len(one) != 1 for one in heads[:-1]):
        raise ExportError(f"{name}: order is {order}; heads, more than one layer side by side, can only be the last")
    linears = [_dense(params, one, name) for one in heads]
    dtypes = [np.asarray(array).dtype for one in itertools.chain(*heads) for array in params[one].values()]

    def forward(values):
        with _double():
            exact = jax.tree.map(lambda leaf: jax.numpy.asarray(leaf, "float64"), params)
            out = apply(exact, jax.numpy.asarray(values, "float64"))
            out = np.asarray(jax.numpy.concatenate(out, -1) if isinstance(out, tuple | list) else out)
        if out.dtype != np.float64:
            raise ExportError(f"{name}: apply gave {out.dtype} for float64; build the module without a dtype")
        return out

    def logits(values):
        return _logits(forward(values), name) if layers[-1] == "sigmoid" else forward(values)

    return network(name, layers, linears, dtypes, forward, logits, _jax_densities())


def _dense(params, heads, name):
    """Weight (out, in) and bias (out,) in float64 of these layers, their outputs side by side."""
    pairs = []
    for one in heads:
        if one not in params:
            raise ExportError(f"{name}: order names {one!r}; there are {sorted(params)}")
        if set(params[one]) - {"kernel", "bias"} or "kernel" not in params[one]:
            raise ExportError(f"{name}: {one!r} holds {sorted(params[one])}; allowed are a kernel and a bias (Dense)")
        weight = np.asarray(params[one]["kernel"]).astype(np.float64).T
        pairs.append((weight, np.array(params[one].get("bias", np.zeros(len(weight))), np.float64)))
    if len({weight.shape[1] for weight, _ in pairs}) > 1:
        raise ExportError(f"{name}: the heads {heads} take different numbers of inputs; they must stand on one body")
    return tuple(np.concatenate(arrays) for arrays in zip(*pairs, strict=True))


def _order(params, name):
    """Names in the order of the numbers that they end in: Dense_10 after Dense_2."""
    numbers = {one: re.search(r"(\d+)$", one) for one in params}
    if not all(numbers.values()) or len({one[: found.start()] for one, found in numbers.items()}) > 1:
        raise ExportError(f"{name}: the order of {sorted(params)} is not known; give order=[first, …, last]")
    return sorted(params, key=lambda one: int(numbers[one].group()))


def _logits(probabilities, name):
    """Logits, or an ExportError where a probability is so near to 1 that the log of what is left has lost digits."""
    if not (probabilities.min() > 0.0 and probabilities.max() < 1.0 - 1e-7):
        raise ExportError(f"{name}: probabilities round to 0 or 1; give an apply without the final sigmoid, for logits")
    return np.log(probabilities) - np.log1p(-probabilities)


def _double():
    """The context in which JAX computes in float64."""
    import jax

    if hasattr(jax, "enable_x64"):
        return jax.enable_x64(True)
    from jax.experimental import enable_x64  # before JAX 0.8

    return enable_x64()


def _jax_densities():
    import jax
    from jax.scipy import stats

    def bernoulli(x, logits):
        with _double():
            x, logits = jax.numpy.asarray(x, "float64"), jax.numpy.asarray(logits, "float64")
            return np.asarray(x * jax.nn.log_sigmoid(logits) + (1.0 - x) * jax.nn.log_sigmoid(-logits))

    def normal(x, mean, scale):
        with _double():
            return np.asarray(stats.norm.logpdf(*(jax.numpy.asarray(one, "float64") for one in (x, mean, scale))))

    return Densities(bernoulli, normal)
