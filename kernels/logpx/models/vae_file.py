r"""A trained variational autoencoder on disk: NAME.json and NAME.safetensors, side by side. Nothing is unpickled.

The first holds the architecture, the likelihood, and eight golden values; the second the weights (the format of Hugging
Face's `safetensors`: a header of names, dtypes and shapes, then the numbers).

    format "logpx-vae", version 1; n_latents d, n_observed p; dtype of the tensors, "float32" or "float64"
    likelihood   {"kind": "bernoulli"}: the decoder gives p logits; {"kind": "gaussian", "scale": …} with "fixed" (p
                 means; tensor scale (p,)), "log_variance" or "softplus" (2p: means, then what scales are made of)
    decoder      layers from the input on, "linear" or an activation
    encoder      null, or {"layers": [...], "scale": "log_variance", "log_scale" or "softplus"}: means, then raw scales
    golden       x (p,), z (8, d), log_likelihood (8,) = log p(x given z), log_q (8,) = log q(z given x) or null
    about        anything; not read
    tensors      decoder.0.weight (outputs, inputs), decoder.0.bias, …, numbered by linear layer; encoder.0.weight, …

What a shape cannot tell (a square layer transposed, logits or probabilities, how a scale is meant, which GELU) the
golden values do: the framework that trained the network worked them out in float64, and here they must come out again,
to 1e-9 of their size: both sides widen float32 tensors and then compute in float64. With softplus it is 1e-8, since
PyTorch takes softplus(t) for t from t = 20 on, which is off by 2e-9. Where they do not, each misunderstanding is tried,
and the one that explains the first difference is named.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from logpx.activations import ACTIVATIONS
from logpx.checks import whole
from logpx.errors import InputError
from logpx.models.mlp import Network
from logpx.proposals.base import Floats, as_floats

FORMAT, VERSION = "logpx-vae", 1
#: Precisions of the tensors, by name, as a safetensors header has them.
DTYPES = {"float64": "F64", "float32": "F32"}
#: What golden values may differ by, as a share of 1 or their size; and where there is a softplus.
ALLOWED, ALLOWED_SOFTPLUS = 1e-9, 1e-8
LIKELIHOODS = {"bernoulli": (), "gaussian": ("fixed", "log_variance", "softplus")}
#: Scales that the decoder gives, and that the encoder may give.
RAW = ("log_variance", "softplus")
ENCODER_SCALES = ("log_variance", "log_scale", "softplus")
N_GOLDEN = 8


@dataclass(frozen=True, eq=False)
class Golden:
    """One x (p,), eight z (8, d), and what the framework said of them: (8,) each."""

    x: Floats
    z: Floats
    values: Mapping[str, Floats]


@dataclass(frozen=True, eq=False)
class Stored:
    """What a pair of files holds."""

    path: Path
    decoder: Network
    likelihood: str
    scale: Floats | str | None
    encoder: Network | None
    encoder_scale: str
    golden: Golden

    def agree(self, found: Floats, golden: Floats) -> NDArray[np.bool_]:
        """Whether values found with this model are the golden ones, one by one."""
        near: NDArray[np.bool_] = np.abs(found - golden) <= self.allowed * np.maximum(1.0, np.abs(golden))
        return near

    @property
    def allowed(self) -> float:
        """What golden values may differ by, as a share of 1 or their size."""
        networks = [self.decoder] if self.encoder is None else [self.decoder, self.encoder]
        names = [*(name for one in networks for name in one.activations), self.scale, self.encoder_scale]
        return ALLOWED_SOFTPLUS if any(isinstance(one, str) and one == "softplus" for one in names) else ALLOWED


def read(path: str | Path) -> Stored:
    """Both files, checked, but for the golden values.

    Raises
    ------
    InputError
        A file that is missing or not what it says.
    """
    place, numbers = both(path)
    told = document(place)
    needed = ("format", "version", "n_latents", "n_observed", "dtype", "likelihood", "decoder", "encoder", "golden")
    _check_keys(str(place), told, needed, optional=("about",))
    if (told["format"], told["version"]) != (FORMAT, VERSION):
        raise InputError(
            f"{place}: format {told['format']!r}, version {told['version']!r}; read is {FORMAT!r}, {VERSION}"
        )
    _choice(f"{place}: dtype", told["dtype"], tuple(DTYPES))
    d, p = (whole(f"{place}: {name}", told[name]) for name in ("n_latents", "n_observed"))
    kind, scale = _likelihood(place, told["likelihood"])
    taken = Taken(numbers, read_tensors(numbers, told["dtype"]))
    decoder = taken.network("decoder", layers(f"{place}: decoder", told["decoder"]), d, p * (1 + (scale in RAW)))
    if kind == "bernoulli" and decoder.activations[-1] == "sigmoid":
        raise InputError(
            f"{place}: the decoder ends with a sigmoid; a Bernoulli likelihood takes logits: drop the sigmoid"
        )
    encoder, encoder_scale = None, ENCODER_SCALES[0]
    if told["encoder"] is not None:
        where = f"{place}: encoder"
        _check_keys(where, told["encoder"], ("layers", "scale"))
        encoder_scale = _choice(f"{where}: scale", told["encoder"]["scale"], ENCODER_SCALES)
        encoder = taken.network("encoder", layers(f"{where}: layers", told["encoder"]["layers"]), p, 2 * d)
    fixed = taken.take("scale", (p,)) if scale == "fixed" else scale
    taken.check_nothing_left()
    golden = _golden(f"{place}: golden", told["golden"], p, d, encoder is not None)
    if kind == "bernoulli" and not np.isin(golden.x, (0, 1)).all():
        raise InputError(
            f"{place}: golden: x holds numbers other than 0 and 1; a Bernoulli likelihood is of binary data"
        )
    return Stored(place, decoder, kind, fixed, encoder, encoder_scale, golden)


def both(path: str | Path) -> tuple[Path, Path]:
    """NAME.json and NAME.safetensors, by either or by NAME, which may have dots in it.

    >>> [one.name for one in both("vae_beta_0.5")]
    ['vae_beta_0.5.json', 'vae_beta_0.5.safetensors']
    """
    given = Path(path)
    name = given.stem if given.suffix in (".json", ".safetensors") else given.name
    return given.with_name(f"{name}.json"), given.with_name(f"{name}.safetensors")


# -- the JSON -----------------------------------------------------------------------------------------------------


def document(path: Path) -> Any:
    """What a JSON file holds, or InputError."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"there is no {path}; a trained VAE is NAME.json with NAME.safetensors beside it") from None
    except ValueError as error:
        raise InputError(f"{path} is not JSON: {error}") from None


def _check_keys(where: str, told: Any, needed: Sequence[str], optional: Sequence[str] = ()) -> None:
    if not isinstance(told, dict):
        raise InputError(f"{where} is {told!r}; it must be an object with {', '.join(needed)}")
    allowed = [*needed, *optional]
    for key in told:
        if key not in allowed:
            near = difflib.get_close_matches(key, allowed, n=1)
            raise InputError(f"{where}: unknown key {key!r}" + (f'; did you mean "{near[0]}"?' if near else ""))
    for key in needed:
        if key not in told:
            raise InputError(f'{where}: "{key}" is missing; needed are {", ".join(needed)}')


def _choice(where: str, given: Any, allowed: Sequence[str]) -> str:
    if given not in allowed:
        raise InputError(f"{where} is {given!r}; it is one of {', '.join(allowed)}")
    return str(given)


def _likelihood(place: Path, told: Any) -> tuple[str, str | None]:
    where = f"{place}: likelihood"
    _check_keys(where, told, ("kind",), ("scale",))
    kind = _choice(f"{where}: kind", told["kind"], tuple(LIKELIHOODS))
    _check_keys(where, told, ("kind", "scale") if LIKELIHOODS[kind] else ("kind",))
    return kind, _choice(f"{where}: scale", told["scale"], LIKELIHOODS[kind]) if LIKELIHOODS[kind] else None


def layers(where: str, told: Any) -> list[str]:
    """The activation after each linear layer, or InputError."""
    if not isinstance(told, list) or not told or told[0] != "linear":
        raise InputError(f'{where} is {told!r}; it is a list that begins with "linear"')
    activations: list[str] = []
    for i, (layer, before) in enumerate(zip(told, ["", *told], strict=False)):
        _choice(f"{where}[{i}]", layer, ("linear", *ACTIVATIONS[1:]))
        if layer == "linear":
            activations.append("identity")
        elif before != "linear":
            raise InputError(f"{where}[{i}] is {layer!r} after {before!r}; an activation follows a linear layer")
        else:
            activations[-1] = layer
    return activations


def _golden(where: str, told: Any, p: int, d: int, with_q: bool) -> Golden:
    _check_keys(where, told, ("x", "z", "log_likelihood", "log_q"))
    shapes = {"x": (p,), "z": (N_GOLDEN, d), "log_likelihood": (N_GOLDEN,), "log_q": (N_GOLDEN,)}
    if (told["log_q"] is not None) != with_q:
        raise InputError(f"{where}: log_q is {'missing' if with_q else 'given'}; it goes with an encoder")
    arrays = {}
    for name, shape in shapes.items():
        if told[name] is None and name == "log_q":
            continue
        arrays[name] = as_floats(f"{where}: {name}", told[name], n_axes=(len(shape),))
        if arrays[name].shape != shape:
            raise InputError(f"{where}: {name} has shape {arrays[name].shape}; it must be {shape}")
    return Golden(arrays.pop("x"), arrays.pop("z"), arrays)


# -- the tensors --------------------------------------------------------------------------------------------------


def read_tensors(path: Path, dtype: str) -> dict[str, NDArray[Any]]:
    """All tensors of a file, by name, all of this dtype; or InputError."""
    import safetensors

    code = DTYPES[dtype]
    if not path.is_file():
        raise InputError(f"there is no {path}; a trained VAE is NAME.json with NAME.safetensors beside it")
    try:
        with safetensors.safe_open(str(path), framework="numpy") as file:
            found = {name: str(file.get_slice(name).get_dtype()) for name in file.keys()}  # noqa: SIM118 # no mapping
            for name, its in found.items():
                if its != code:
                    raise InputError(
                        f"{path}: {name} has dtype {its}, and {dtype} ({code}) is what the JSON says. Narrower ones "
                        "(BF16, F16) are widened before they are saved: tensor.float()"
                    )
            return {name: file.get_tensor(name) for name in found}
    except safetensors.SafetensorError as error:
        raise InputError(f"{path} is no safetensors file: {error}") from None


class Taken:
    """The tensors of a file, taken one by one.

    Parameters
    ----------
    path : Path
        Named in messages.
    tensors : dict of arrays
        What is not yet taken.
    """

    def __init__(self, path: Path, tensors: dict[str, NDArray[Any]]) -> None:
        self.path, self.tensors = path, tensors

    def take(self, name: str, shape: tuple[int | None, int | None] | tuple[int | None]) -> Floats:
        """One tensor of this shape, where None is any size, finite, as float64."""
        if name not in self.tensors:
            raise InputError(
                f"{self.path}: tensor {name} is missing; left are {', '.join(sorted(self.tensors)) or 'none'}"
            )
        tensor = self.tensors.pop(name)
        fits = tensor.ndim == len(shape) and all(a in (None, b) for a, b in zip(shape, tensor.shape, strict=True))
        if not fits:
            wanted = ", ".join("any" if size is None else str(size) for size in shape)
            turned = tensor.ndim == 2 and all(a in (None, b) for a, b in zip(shape, tensor.shape[::-1], strict=True))
            hint = "; it looks transposed: (outputs, inputs) is the order, and Flax's kernels are (inputs, outputs)"
            raise InputError(
                f"{self.path}: {name} has shape {tensor.shape}; it must be ({wanted}){hint if turned else ''}"
            )
        return as_floats(f"{self.path}: {name}", tensor, n_axes=(tensor.ndim,))

    def network(self, name: str, activations: Sequence[str], n_inputs: int, n_outputs: int) -> Network:
        """The network whose tensors begin with `name`."""
        weights, biases, size = [], [], n_inputs
        for i in range(len(activations)):
            wanted = n_outputs if i == len(activations) - 1 else None
            weights.append(self.take(f"{name}.{i}.weight", (wanted, size)))
            size = weights[-1].shape[0]
            biases.append(self.take(f"{name}.{i}.bias", (size,)))
        return Network(weights, biases, activations)

    def check_nothing_left(self) -> None:
        """InputError if there are tensors that nothing in the JSON asked for."""
        if self.tensors:
            raise InputError(f"{self.path}: tensors that the JSON does not ask for: {', '.join(sorted(self.tensors))}")


# -- golden values ------------------------------------------------------------------------------------------------

#: log_likelihood and log_q of the golden x and z, (8,) each, by what is stored.
Evaluate = Callable[[Stored], Mapping[str, Floats]]


def check_golden(stored: Stored, evaluate: Evaluate) -> None:
    """InputError for the first golden value that does not come out again, with what would explain it."""
    found = evaluate(stored)
    for name, golden in stored.golden.values.items():
        wrong = np.flatnonzero(~stored.agree(found[name], golden))
        if len(wrong):
            i = int(wrong[0])
            raise InputError(
                f"{stored.path}: golden {name}[{i}] is {golden[i]:.10g} in the file and {found[name][i]:.10g} by these "
                f"weights ({len(wrong)} of {len(golden)} differ; allowed is {stored.allowed:.0e} of their size). "
                + _explanation(stored, evaluate, name)
            )


def _explanation(stored: Stored, evaluate: Evaluate, name: str) -> str:
    for words, other in _misunderstandings(stored, "decoder" if name == "log_likelihood" else "encoder"):
        try:
            with np.errstate(all="ignore"):
                values = evaluate(other)[name]
        except InputError:  # scales of zero or infinity, say: it was not meant so
            continue
        if np.all(other.agree(values, stored.golden.values[name])):
            return f"They agree {words}."
    return (
        "No single misunderstanding explains it (a transposed square layer, logits or probabilities, the meaning of a "
        "scale, another activation): are these the weights that the golden values were worked out with?"
    )


def _misunderstandings(stored: Stored, part: str) -> Iterator[tuple[str, Stored]]:
    """What may have been meant, in words, and as it would have to be stored."""
    network = getattr(stored, part)
    own = stored.encoder_scale if part == "encoder" else stored.scale

    def with_network(other: Network) -> Stored:
        return replace(stored, encoder=other) if part == "encoder" else replace(stored, decoder=other)

    for scale in (ENCODER_SCALES if part == "encoder" else RAW) if isinstance(own, str) else ():
        words = f"if {part} scales are {scale} and not {own}"
        yield words, replace(stored, encoder_scale=scale) if part == "encoder" else replace(stored, scale=scale)
    square = [i for i, one in enumerate(network.weights) if one.shape[0] == one.shape[1]]
    for chosen in [[i] for i in square] + [square] * (len(square) > 1):
        weights = [one.T if i in chosen else one for i, one in enumerate(network.weights)]
        words = ", ".join(f"{part}.{i}.weight" for i in chosen)
        yield (
            f"with {words} transposed",
            with_network(Network(weights, network.biases, network.activations)),
        )
    for i, activation in enumerate(network.activations):
        for other in ACTIVATIONS:
            if other != activation:
                names = [other if j == i else one for j, one in enumerate(network.activations)]
                words = f"if what follows {part} layer {i} is {other} and not {activation}"
                yield words, with_network(Network(network.weights, network.biases, names))
