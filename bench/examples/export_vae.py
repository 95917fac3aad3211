"""Write a variational autoencoder of your own as two files that `logpx.models.VAE.load` reads.

    p(x, z) = N(z; 0, I) p(x given decoder(z)),   q(z given x) = N(mean, diag scale²),  both from encoder(x)

NAME.safetensors holds the weights, NAME.json the layers, what the outputs mean, and golden values: 8 points z with
log p(x given z) and log q(z given x) in float64, computed by your framework's own modules. Loading computes them anew
and names the first that differs. Nothing is pickled. Copy this file and the one of your framework (export_torch.py, or
export_jax.py for Flax) to where your model is; beside the framework they need NumPy and safetensors, not logpx:

    from export_vae import export
    from export_torch import torch_network

    export("my_vae", torch_network(vae.decoder), likelihood="bernoulli_logits", x=one_image,
           encoder=torch_network(vae.encoder), encoder_scale="log_variance")

What cannot be seen in the weights is never guessed. `likelihood` says what the decoder puts out,

    bernoulli_logits          p logits                  gaussian_fixed          p means; standard deviations in `scale`
    bernoulli_probabilities   p probabilities: its      gaussian_log_variance   p means, then p log variances
                              final Sigmoid is dropped  gaussian_softplus       p means, then s, deviation softplus(s)

and `encoder_scale` what follows the encoder's means: log_variance, log_scale or softplus. Weights in 16 bits are
widened to float32; float32 and float64 stay what they are.
"""

import itertools
import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import safetensors.numpy

N_GOLDEN = 8
#: What golden values and written weights may differ by, over max(1, |value|): far above rounding in float64, and above
#: softplus(t) = t from t = 20 on, as PyTorch has it; far below another activation, layout or order.
TOLERANCE = 1e-6
LIKELIHOODS = {
    "bernoulli_logits": {"kind": "bernoulli"},
    "bernoulli_probabilities": {"kind": "bernoulli"},
    "gaussian_fixed": {"kind": "gaussian", "scale": "fixed"},
    "gaussian_log_variance": {"kind": "gaussian", "scale": "log_variance"},
    "gaussian_softplus": {"kind": "gaussian", "scale": "softplus"},
}
SCALES = {
    "log_variance": lambda raw: np.exp(0.5 * raw),
    "log_scale": np.exp,
    "softplus": lambda raw: np.logaddexp(0.0, raw),
}
ACTIVATIONS = {
    "relu": lambda a: np.maximum(a, 0.0),
    "tanh": np.tanh,
    "gelu": lambda a: 0.5 * a * (1.0 + np.vectorize(math.erf, otypes=[float])(a / math.sqrt(2.0))),
    "gelu_tanh": lambda a: 0.5 * a * (1.0 + np.tanh(math.sqrt(2.0 / math.pi) * (a + 0.044715 * a**3))),
    "softplus": lambda a: np.logaddexp(0.0, a),
    "sigmoid": lambda a: np.exp(-np.logaddexp(0.0, -a)),
    "silu": lambda a: a * np.exp(-np.logaddexp(0.0, -a)),
}


class ExportError(ValueError):
    """What was given cannot be written faithfully; the message says what was given, what is allowed, what to do."""


class Densities(NamedTuple):
    """Log densities by the framework, in float64, arrays in and out, not yet summed over pixels: `bernoulli(x, logits)`
    and `normal(x, mean, scale)`."""

    bernoulli: Callable
    normal: Callable


@dataclass(frozen=True)
class Network:
    """A multilayer perceptron.

    Attributes
    ----------
    layers : tuple of str
        "linear" or a name of ACTIVATIONS, in order.
    linears : tuple of (weight, bias)
        (out, in) and (out,), float64, in order.
    dtype : "float32" or "float64"
        What they are written in.
    forward : callable
        (n, in) → (n, out), by the framework in float64.
    logits : callable
        The same without the final sigmoid, where `layers` ends with one; else as `forward`.
    densities : Densities
    """

    layers: tuple[str, ...]
    linears: tuple[tuple[np.ndarray, np.ndarray], ...]
    dtype: str
    forward: Callable
    logits: Callable
    densities: Densities

    @property
    def n_inputs(self):
        """Numbers that it takes."""
        return self.linears[0][0].shape[1]

    @property
    def n_outputs(self):
        """Numbers that it gives."""
        return len(self.linears[-1][1])


def network(name, layers, linears, dtypes, forward, logits, densities):
    """A Network whose parts fit together, or an ExportError."""
    if not layers:
        raise ExportError(f"{name} has no layers; it must have a linear one or more")
    unknown = [layer for layer in layers if layer != "linear" and layer not in ACTIVATIONS]
    if unknown:
        raise ExportError(f"{name}: layer {unknown[0]!r} is not known; allowed are linear, {', '.join(ACTIVATIONS)}")
    if not linears or layers[0] != "linear" or list(layers).count("linear") != len(linears):
        raise ExportError(f"{name}: {len(linears)} weights for the layers {list(layers)}; the first must be linear")
    for first, second in itertools.pairwise(layers):
        if "linear" not in (first, second):
            raise ExportError(f"{name}: {second!r} follows {first!r}; allowed is one activation after a linear layer")
    for i, (weight, bias) in enumerate(linears):
        if weight.ndim != 2 or bias.shape != weight.shape[:1]:
            raise ExportError(f"{name}: linear layer {i} has a weight {weight.shape} and a bias {bias.shape}")
        if i and weight.shape[1] != len(linears[i - 1][1]):
            sizes = f"takes {weight.shape[1]} numbers, and the one before gives {len(linears[i - 1][1])}"
            raise ExportError(
                f"{name}: linear layer {i} {sizes}; give the layers from input to output, (in, out) in JAX"
            )
        if not (np.isfinite(weight).all() and np.isfinite(bias).all()):
            raise ExportError(f"{name}: linear layer {i} holds numbers that are not finite")
    dtype = "float64" if any("float64" in str(one) for one in dtypes) else "float32"
    return Network(tuple(layers), tuple(linears), dtype, forward, logits, densities)


def export(path, decoder, *, likelihood, x, encoder=None, encoder_scale=None, scale=None, about=None):
    """Write path.safetensors and path.json.

    Parameters
    ----------
    path : str or Path
        With or without a suffix.
    decoder, encoder : Network
    likelihood : str
        What the decoder puts out: see the top of this file.
    x : array_like (p,)
        One observation, for the golden values.
    encoder_scale : str
        What follows the encoder's means; required with an encoder.
    scale : array_like (p,) or float
        Standard deviations, of likelihood "gaussian_fixed" alone.
    about : dict, optional
        Anything JSON holds, such as the data and the epochs.

    Returns
    -------
    dict
        What the JSON holds.
    """
    x, scale = _array(x), None if scale is None else _array(scale)
    about = dict(about or {})
    _check_claims(decoder, likelihood, x, encoder, encoder_scale, scale)
    if likelihood == "bernoulli_probabilities":
        decoder = replace(decoder, layers=decoder.layers[:-1], forward=decoder.logits)
        about["dropped"] = "the decoder's final sigmoid: what is written gives logits"
    wide = "float64" in (decoder.dtype, encoder.dtype if encoder else "")
    dtype, n_latents = np.dtype("float64" if wide else "float32"), decoder.n_inputs
    tensors = _tensors("decoder", decoder, dtype) | (_tensors("encoder", encoder, dtype) if encoder else {})
    if scale is not None:
        tensors["scale"] = np.broadcast_to(scale, x.shape).astype(dtype)
    z = np.random.default_rng(0).standard_normal((N_GOLDEN, n_latents))
    log_q = None
    if encoder:
        mean, raw = np.split(encoder.forward(x[None]), 2, axis=-1)
        log_q = encoder.densities.normal(z, mean, SCALES[encoder_scale](raw)).sum(-1).tolist()
    log_likelihood = _log_likelihood(decoder, likelihood, x, z, tensors.get("scale"))
    _check_written("decoder", decoder.layers, tensors, z, decoder.forward(z))
    if encoder:
        _check_written("encoder", encoder.layers, tensors, x[None], encoder.forward(x[None]))
    header = {
        "format": "logpx-vae",
        "version": 1,
        "n_latents": n_latents,
        "n_observed": len(x),
        "dtype": str(dtype),
        "likelihood": LIKELIHOODS[likelihood],
        "decoder": list(decoder.layers),
        "encoder": {"layers": list(encoder.layers), "scale": encoder_scale} if encoder else None,
        "golden": {"x": x.tolist(), "z": z.tolist(), "log_likelihood": log_likelihood.tolist(), "log_q": log_q},
        "about": about,
    }
    return _write(path, header, tensors)


def export_autoencoder(path, decoder, encoder, x, about=None):
    """Write path.safetensors and path.json of a deterministic autoencoder, x → decoder(encoder(x)): it has no
    likelihood, so its golden value is the reconstruction of x (p,). Parameters and result as of `export`."""
    x, n_latents = _array(x), decoder.n_inputs
    if (encoder.n_inputs, encoder.n_outputs, decoder.n_outputs) != (len(x), n_latents, len(x)):
        raise ExportError(
            f"encoder {encoder.n_inputs} → {encoder.n_outputs} and decoder {n_latents} → {decoder.n_outputs} make no "
            f"autoencoder of {len(x)} numbers"
        )
    dtype = np.dtype("float64" if "float64" in (decoder.dtype, encoder.dtype) else "float32")
    tensors = _tensors("decoder", decoder, dtype) | _tensors("encoder", encoder, dtype)
    code = encoder.forward(x[None])
    reconstruction = decoder.forward(code)
    _check_written("encoder", encoder.layers, tensors, x[None], code)
    _check_written("decoder", decoder.layers, tensors, code, reconstruction)
    header = {
        "format": "logpx-autoencoder",
        "version": 1,
        "n_latents": n_latents,
        "n_observed": len(x),
        "dtype": str(dtype),
        "decoder": list(decoder.layers),
        "encoder": {"layers": list(encoder.layers)},
        "golden": {"x": x.tolist(), "reconstruction": reconstruction[0].tolist()},
        "about": dict(about or {}),
    }
    return _write(path, header, tensors)


def _array(values):
    """float64 in NumPy, from a tensor of any device too."""
    values = values.detach().cpu().double() if hasattr(values, "detach") else values
    return np.asarray(values, np.float64)


def _check_claims(decoder, likelihood, x, encoder, encoder_scale, scale):
    """An ExportError where what the caller says does not go with the networks."""
    if likelihood not in LIKELIHOODS:
        raise ExportError(f"likelihood is {likelihood!r}; allowed are {', '.join(LIKELIHOODS)}")
    last = decoder.layers[-1]
    if likelihood.startswith("bernoulli") and (last == "sigmoid") != (likelihood == "bernoulli_probabilities"):
        raise ExportError(
            f"likelihood is {likelihood!r} and the decoder's last layer {last!r}; of the Bernoulli likelihoods "
            "'bernoulli_probabilities' goes with a final sigmoid, 'bernoulli_logits' with none"
        )
    if (scale is None) == (likelihood == "gaussian_fixed"):
        raise ExportError(f"likelihood is {likelihood!r}; `scale` goes with 'gaussian_fixed', and must then be given")
    if x.ndim != 1 or not np.isfinite(x).all():
        raise ExportError(f"x has shape {x.shape}; it must be one observation, (p,), of finite numbers")
    if scale is not None and (scale.shape not in ((), x.shape) or not np.all((scale > 0) & np.isfinite(scale))):
        raise ExportError(f"`scale` is {scale}; it must be one standard deviation, or {len(x)}, finite and above 0")
    if likelihood.startswith("bernoulli") and not np.isin(x, (0.0, 1.0)).all():
        raise ExportError("x holds numbers that are neither 0 nor 1, which a Bernoulli likelihood cannot have")
    times = 2 if likelihood in ("gaussian_log_variance", "gaussian_softplus") else 1
    if decoder.n_outputs != times * len(x):
        raise ExportError(
            f"the decoder gives {decoder.n_outputs} numbers for x of {len(x)}; {likelihood!r} takes {times * len(x)}"
        )
    if (encoder is None) != (encoder_scale is None) or (encoder and encoder_scale not in SCALES):
        raise ExportError(f"encoder_scale is {encoder_scale!r}; with an encoder it must be one of {', '.join(SCALES)}")
    if encoder and encoder.layers[-1] == "sigmoid":
        raise ExportError("the encoder's last layer is a sigmoid; its outputs must be means and raw scales")
    if encoder and (encoder.n_inputs, encoder.n_outputs) != (len(x), 2 * decoder.n_inputs):
        raise ExportError(
            f"the encoder takes {encoder.n_inputs} numbers and gives {encoder.n_outputs}; it must take {len(x)} and "
            f"give {2 * decoder.n_inputs}: a mean and a scale for each of {decoder.n_inputs} latents"
        )


def _log_likelihood(decoder, likelihood, x, z, scale):
    """log p(x given z) at each z, (n,), by the framework."""
    out = decoder.forward(z)
    if likelihood.startswith("bernoulli"):
        return decoder.densities.bernoulli(x, out).sum(-1)
    if likelihood == "gaussian_fixed":
        return decoder.densities.normal(x, out, scale.astype(np.float64)).sum(-1)
    mean, raw = np.split(out, 2, axis=-1)
    return decoder.densities.normal(x, mean, SCALES[likelihood.removeprefix("gaussian_")](raw)).sum(-1)


def _tensors(part, net, dtype):
    """The file's arrays by name, each C-contiguous and with memory of its own."""
    return {
        f"{part}.{i}.{kind}": np.array(array, dtype, order="C")
        for i, pair in enumerate(net.linears)
        for kind, array in zip(("weight", "bias"), pair, strict=True)
    }


def outputs(part, layers, tensors, values):
    """What the network in the file gives, (n, in) → (n, out), in NumPy and float64: the check of what is written."""
    n = 0
    for layer in layers:
        if layer == "linear":
            weight, bias = (tensors[f"{part}.{n}.{kind}"].astype(np.float64) for kind in ("weight", "bias"))
            values, n = values @ weight.T + bias, n + 1
        else:
            values = ACTIVATIONS[layer](values)
    return values


def _check_written(part, layers, tensors, values, wanted):
    """An ExportError where what would be written does not compute what the framework does."""
    found = outputs(part, layers, tensors, values)
    away = np.abs(found - wanted) / np.maximum(1.0, np.abs(wanted)) if found.shape == wanted.shape else np.inf
    if not np.max(away) < TOLERANCE:
        raise ExportError(
            f"the {part} as it would be written is not what your framework computes (first output {found.flat[0]:.9g}, "
            f"there {wanted.flat[0]:.9g}). Check the layers {list(layers)}: activations, order, gelu or gelu_tanh"
        )


def _write(path, header, tensors):
    """Both files; returns the header."""
    stem = re.sub(r"\.(json|safetensors)$", "", str(path))
    safetensors.numpy.save_file(tensors, f"{stem}.safetensors")
    Path(f"{stem}.json").write_text(_readable(header) + "\n", encoding="utf-8")
    return header


def _readable(value, indent=1):
    """JSON with a line for each key, and a list of numbers on one line."""
    if not isinstance(value, dict):
        return json.dumps(value, allow_nan=False)
    lines = [f"{' ' * indent}{json.dumps(name)}: {_readable(one, indent + 1)}" for name, one in value.items()]
    return "{\n" + ",\n".join(lines) + "\n" + " " * (indent - 1) + "}"
