"""Networks of Flax and JAX that are exported, or refused: run by test_export.py where JAX is, which reads the files.

Every layer is square where it can be, so that no shape gives a transposed weight away. Prints a JSON object: for each
case the message of its refusal, or null. Without Flax its cases are left out.
"""

import itertools
import json
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

FOLDER = Path(sys.argv[1])
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench" / "examples"))

from export_jax import jax_network  # noqa: E402
from export_vae import ExportError, export  # noqa: E402

X, BITS = [0.3, -1.2, 0.7], [1.0, 0.0, 1.0]
LAYERS = ["linear", "tanh", "linear"]
FUNCTIONS = {
    "relu": jax.nn.relu,
    "tanh": jnp.tanh,
    "gelu": lambda a: jax.nn.gelu(a, approximate=False),
    "gelu_tanh": jax.nn.gelu,
    "softplus": jax.nn.softplus,
    "sigmoid": jax.nn.sigmoid,
    "silu": jax.nn.silu,
}


def params(*sizes, dtype=np.float32):
    """Dicts of kernel (in, out) and bias (out,)."""
    generator = np.random.default_rng(3)

    def draw(*shape):
        return jnp.asarray(generator.standard_normal(shape), dtype)

    pairs = itertools.pairwise(sizes)
    return {f"Dense_{i}": {"kernel": draw(*pair), "bias": draw(pair[1])} for i, pair in enumerate(pairs)}


def applied(order, activation=jnp.tanh, last=lambda a: a):
    """A function that applies such dicts, layer by layer in this order."""

    def apply(tree, z):
        for name in order[:-1]:
            z = activation(z @ tree[name]["kernel"] + tree[name].get("bias", 0.0))
        return last(z @ tree[order[-1]]["kernel"] + tree[order[-1]]["bias"])

    return apply


TWO = ["Dense_0", "Dense_1"]


def plain(name, layers=LAYERS, likelihood="bernoulli_logits", x=BITS, tree=None, apply=None, order=None, **more):
    tree = params(3, 3, 3) if tree is None else tree
    decoder = jax_network(tree, apply or applied(TWO), layers, order, name="decoder")
    export(FOLDER / name, decoder, likelihood=likelihood, x=x, **more)


def activation(kind):
    return lambda n: plain(n, ["linear", kind, "linear"], apply=applied(TWO, FUNCTIONS[kind]))


def twelve_layers(name):
    order = [f"Dense_{i}" for i in range(12)]
    plain(name, ["linear", *["tanh", "linear"] * 11], tree=params(*[3] * 13), apply=applied(order))


def own_names(name, order):
    tree = params(3, 3, 3)
    plain(name, tree={"out": tree["Dense_1"], "hidden": tree["Dense_0"]}, apply=applied(["hidden", "out"]), order=order)


def encoder(name, scale):
    own = jax_network(params(3, 3, 6), applied(TWO), LAYERS, name="encoder")
    plain(name, encoder=own, encoder_scale=scale)


def heads(name, encoder_scale="log_variance", joined=False):
    """Flax's own VAE: a body, and two layers on it, which its encoder gives as a tuple, or joined."""
    tree = params(3, 3, 3, 3)
    tree = {"fc1": tree["Dense_0"], "mean": tree["Dense_1"], "logvar": tree["Dense_2"]}

    def apply(given, x):
        body = jnp.tanh(x @ given["fc1"]["kernel"] + given["fc1"]["bias"])
        out = tuple(body @ given[one]["kernel"] + given[one]["bias"] for one in ("mean", "logvar"))
        return jnp.concatenate(out, -1) if joined else out

    own = jax_network(tree, apply, LAYERS, ["fc1", ("mean", "logvar")], name="encoder")
    plain(name, encoder=own, encoder_scale=encoder_scale)


def wide_bias(name):
    """A float64 bias that is no float32 number, beside float32 kernels."""
    tree = params(3, 3, 3)
    tree["Dense_1"]["bias"] = np.array([0.1, 0.2, 0.3])
    plain(name, tree=tree)


def without_bias(name):
    tree = params(3, 3, 3)
    del tree["Dense_0"]["bias"]
    plain(name, tree=tree)


def transposed(name):
    """Kernels as (out, in), with an apply that knows."""
    plain(
        name,
        apply=lambda tree, z: (
            jnp.tanh(z @ tree["Dense_0"]["kernel"].T + tree["Dense_0"]["bias"]) @ tree["Dense_1"]["kernel"].T
            + tree["Dense_1"]["bias"]
        ),
    )


def linen(name, **options):
    from flax import linen as nn

    module = nn.Sequential([nn.Dense(3, **options), nn.tanh, nn.Dense(3, **options)])
    tree = module.init(jax.random.key(0), jnp.zeros((1, 3)))["params"]
    plain(
        name,
        tree={key.replace("layers", "Dense"): one for key, one in tree.items()},
        apply=lambda given, z: module.apply({"params": {k.replace("Dense", "layers"): v for k, v in given.items()}}, z),
    )


def of_nnx(name):
    from flax import nnx

    class Decoder(nnx.Module):
        def __init__(self, rngs):
            self.hidden, self.out = nnx.Linear(3, 3, rngs=rngs), nnx.Linear(3, 3, rngs=rngs)

        def __call__(self, z):
            return self.out(jnp.tanh(self.hidden(z)))

    graph, state = nnx.split(Decoder(nnx.Rngs(0)))

    def apply(tree, z):
        nnx.replace_by_pure_dict(state, tree)
        return nnx.merge(graph, state)(z)

    plain(name, tree=nnx.to_pure_dict(state), apply=apply, order=["hidden", "out"])


WRITTEN = {kind: activation(kind) for kind in FUNCTIONS} | {
    "twelve_layers": twelve_layers,
    "own_names": lambda n: own_names(n, ["hidden", "out"]),
    "without_bias": without_bias,
    "heads": heads,
    "heads_joined": lambda n: heads(n, "softplus", joined=True),
    "wide_bias": wide_bias,
    "means_by_sigmoid": lambda n: plain(
        n, [*LAYERS, "sigmoid"], "gaussian_fixed", X, apply=applied(TWO, last=jax.nn.sigmoid), scale=0.1
    ),
    "bfloat16": lambda n: plain(n, tree=params(3, 3, 3, dtype=jnp.bfloat16)),
    "probabilities": lambda n: plain(
        n, [*LAYERS, "sigmoid"], "bernoulli_probabilities", apply=applied(TWO, last=jax.nn.sigmoid)
    ),
    "fixed": lambda n: plain(n, likelihood="gaussian_fixed", x=X, scale=[0.1, 0.2, 0.3]),
    "log_variance": lambda n: plain(n, likelihood="gaussian_log_variance", x=X, tree=params(3, 3, 6)),
    "encoder_log_scale": lambda n: encoder(n, "log_scale"),
}
REFUSED = {
    "heads_first": lambda n: plain(n, order=[("Dense_0", "Dense_1"), "Dense_1"]),
    "unknown_name": lambda n: plain(n, order=["Dense_0", "Dense_2"]),
    "two_activations": lambda n: plain(n, ["linear", "tanh", "relu", "linear"]),
    "no_layers": lambda n: plain(n, []),
    "other_activation": lambda n: plain(n, ["linear", "relu", "linear"]),
    "gelu_for_gelu_tanh": lambda n: plain(n, ["linear", "gelu", "linear"], apply=applied(TWO, jax.nn.gelu)),
    "transposed": transposed,
    "unknown_layer": lambda n: plain(n, ["linear", "swish", "linear"]),
    "too_few_layers": lambda n: plain(n, ["linear"]),
    "unknown_order": lambda n: own_names(n, None),
    "wrong_order": lambda n: own_names(n, ["out", "hidden"]),
    "saturated": lambda n: plain(
        n, [*LAYERS, "sigmoid"], "bernoulli_probabilities", apply=applied(TWO, last=lambda a: jax.nn.sigmoid(40 + a))
    ),
    "single_precision": lambda n: plain(n, apply=lambda tree, z: applied(TWO)(tree, z).astype("float32")),
    "batch_norm": lambda n: plain(n, tree={**params(3, 3, 3), "Dense_2": {"scale": jnp.ones(3), "bias": jnp.ones(3)}}),
}
try:
    import flax  # noqa: F401

    WRITTEN |= {"linen": linen, "nnx": of_nnx}
    REFUSED |= {"linen_in_16_bits": lambda n: linen(n, dtype=jnp.bfloat16)}
except ImportError:
    pass


def outcome(name, make):
    try:
        make(name)
    except ExportError as error:
        return str(error)
    return None


print(json.dumps({name: outcome(name, make) for name, make in (WRITTEN | REFUSED).items()}))
