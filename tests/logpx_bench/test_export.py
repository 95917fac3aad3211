"""Exact tests of bench/examples/export_vae.py and its two frameworks: what it writes is the model, and what it cannot
write faithfully is refused by name.

The frameworks run in a process of their own (`torch_exports.py`, `jax_exports.py`), on the Python of `make peers` or on
this one; without them the tests are listed as skipped, with the reason. What is written is read here from its bytes and
computed anew with SciPy, from the format's description alone: golden values of the framework must agree to 1e-10.
"""

import functools
import json
import re
import runpy
import struct
from pathlib import Path

import numpy as np
import pytest
from scipy import special, stats

from logpx.models import VAE
from logpx_bench.data import NOISE_FLOOR

HERE = Path(__file__).parent
WEIGHTS = HERE.parents[1] / "bench" / "logpx_bench" / "weights"
run = runpy.run_path(str(HERE / "test_examples.py"))["run"]

ACTIVATIONS = {
    "relu": lambda a: np.where(a > 0, a, 0.0),
    "tanh": np.tanh,
    "gelu": lambda a: a * stats.norm.cdf(a),
    "gelu_tanh": lambda a: a * special.expit(2 * np.sqrt(2 / np.pi) * (a + 0.044715 * a**3)),
    "softplus": lambda a: np.log1p(np.exp(a)),
    "sigmoid": special.expit,
    "silu": lambda a: a * special.expit(a),
}
DEVIATION = {
    "log_variance": lambda s: np.sqrt(np.exp(s)),
    "log_scale": np.exp,
    "softplus": lambda s: np.log1p(np.exp(s)),
}

TORCH_WRITTEN = {
    **dict.fromkeys(("relu", "tanh", "gelu", "gelu_tanh", "softplus", "sigmoid", "silu"), "one activation"),
    **dict.fromkeys(("nested", "one_layer", "no_bias", "strided", "probabilities", "tied", "heads"), "structure"),
    **dict.fromkeys(("bfloat16", "float16", "float64", "on_gpu"), "precision and place"),
    **dict.fromkeys(
        ("fixed", "one_scale", "means_by_sigmoid", "log_variance", "softplus_scale"), "Gaussian likelihood"
    ),
    **dict.fromkeys(("encoder_log_variance", "encoder_log_scale", "encoder_softplus"), "encoder"),
}
AUTOENCODERS = ("autoencoder", "autoencoder_with_sigmoid")
JAX_WRITTEN = (
    *("relu", "tanh", "gelu", "gelu_tanh", "softplus", "sigmoid", "silu", "twelve_layers", "own_names", "without_bias"),
    *("bfloat16", "probabilities", "fixed", "log_variance", "encoder_log_scale", "linen", "nnx"),
    *("heads", "heads_joined", "wide_bias", "means_by_sigmoid"),
)
#: What a refusal must say.
TORCH_REFUSED = {
    "train_mode": r"decoder is in train mode; call \.eval\(\)",
    "dropout": r"decoder\.2 is Dropout.*allowed are.*leave it out",
    "batch_norm": r"decoder\.1 is BatchNorm1d.*fold it into the Linear layer",
    "leaky_relu": r"decoder\.1 is LeakyReLU.*allowed are",
    "softplus_beta": r"decoder\.1 is Softplus\(beta=2.*allowed is Softplus\(beta=1",
    "softplus_threshold": r"decoder\.1 is Softplus\(.*threshold=3\)",
    "subclass": r"decoder\.2 is Doubled",
    "hook": r"decoder\.0 has hooks",
    "weight_norm": r"decoder\.2 is ParametrizedLinear",
    "nan": "linear layer 0 holds numbers that are not finite",
    "not_a_module": "decoder is ModuleList",
    "unknown_likelihood": "allowed are bernoulli_logits, bernoulli_probabilities, gaussian_fixed",
    "logits_with_sigmoid": "'bernoulli_logits' and the decoder's last layer 'sigmoid'",
    "probabilities_without_sigmoid": "'bernoulli_probabilities' and the decoder's last layer 'linear'",
    "grey_bits": "neither 0 nor 1",
    "fixed_without_scale": "must then be given",
    "scale_of_zero": "finite and above 0",
    "half_the_outputs": "gives 3 numbers for x of 3; 'gaussian_log_variance' takes 6",
    "unstated_scale": "encoder_scale is None; with an encoder it must be one of",
    "encoder_of_means": "must take 3 and give 6",
    "encoder_with_sigmoid": "encoder's last layer is a sigmoid",
    "heads_of_two_layers": "must be one Linear layer, a head",
    "two_activations": "decoder: 'relu' follows 'tanh'; allowed is one activation after a linear layer",
    "no_layers": "decoder has no layers",
    "identity_alone": "decoder has no layers",
    "autoencoder_of_other_sizes": "encoder 3 → 3 and decoder 3 → 6 make no autoencoder of 3",
}
JAX_REFUSED = {
    **dict.fromkeys(
        ("other_activation", "gelu_for_gelu_tanh", "transposed", "wrong_order"), "is not what your framework"
    ),
    "heads_first": "can only be the last",
    "unknown_name": r"order names 'Dense_2'; there are \['Dense_0', 'Dense_1'\]",
    "two_activations": "decoder: 'relu' follows 'tanh'; allowed is one activation after a linear layer",
    "no_layers": "decoder has no layers",
    "unknown_layer": "layer 'swish' is not known; allowed are linear, relu",
    "too_few_layers": r"2 weights for the layers \['linear'\]",
    "unknown_order": r"order of \['hidden', 'out'\] is not known; give order=",
    "saturated": "round to 0 or 1; give an apply without the final sigmoid",
    "single_precision": "apply gave float32 for float64",
    "linen_in_16_bits": "apply gave bfloat16 for float64",
    "batch_norm": r"'Dense_2' holds \['bias', 'scale'\]; allowed are a kernel and a bias",
}


def read(stem):
    """Header and tensors, from the bytes: eight of them for the length of a JSON, that JSON, and the numbers."""
    data = stem.with_suffix(".safetensors").read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    entries, body, tensors = json.loads(data[8 : 8 + length]), data[8 + length :], {}
    for name, entry in entries.items():
        kind = {"F32": "<f4", "F64": "<f8"}[entry["dtype"]]
        start, end = entry["data_offsets"]
        tensors[name] = np.frombuffer(body[start:end], kind).reshape(entry["shape"])
    return json.loads(stem.with_suffix(".json").read_text(encoding="utf-8")), tensors


def outputs(part, layers, tensors, values):
    """Outputs (n, out) of a network of the file."""
    n = 0
    for layer in layers:
        if layer == "linear":
            weight, bias = (tensors[f"{part}.{n}.{kind}"].astype(float) for kind in ("weight", "bias"))
            values, n = np.einsum("oi,ni->no", weight, values) + bias, n + 1
        else:
            values = ACTIVATIONS[layer](values)
    return values


def log_likelihood(header, tensors):
    """log p(x given z) at the golden points, by the format's description."""
    x, z = np.array(header["golden"]["x"]), np.array(header["golden"]["z"])
    out, p = outputs("decoder", header["decoder"], tensors, z), header["n_observed"]
    if header["likelihood"]["kind"] == "bernoulli":
        return stats.bernoulli.logpmf(x, special.expit(out)).sum(1)
    scale = header["likelihood"]["scale"]
    deviation = tensors["scale"].astype(float) if scale == "fixed" else DEVIATION[scale](out[:, p:])
    return stats.norm.logpdf(x, out[:, :p], deviation).sum(1)


def log_q(header, tensors):
    """log q(z given x) at the golden points."""
    golden, encoder = header["golden"], header["encoder"]
    out = outputs("encoder", encoder["layers"], tensors, np.array([golden["x"]]))[0]
    mean, raw = np.split(out, 2)
    return stats.norm.logpdf(golden["z"], mean, DEVIATION[encoder["scale"]](raw)).sum(1)


def agrees(header, tensors):
    """Whether every golden value is what SciPy makes of the file."""
    golden = header["golden"]
    same = np.allclose(golden["log_likelihood"], log_likelihood(header, tensors), rtol=1e-10, atol=0)
    if header["encoder"] is None:
        return same and golden["log_q"] is None
    return same and np.allclose(golden["log_q"], log_q(header, tensors), rtol=1e-10, atol=0)


def reconstructs(header, tensors):
    """Whether an autoencoder's golden reconstruction is what SciPy makes of the file."""
    golden = header["golden"]
    code = outputs("encoder", header["encoder"]["layers"], tensors, np.array([golden["x"]]))
    found = outputs("decoder", header["decoder"], tensors, code)[0]
    return np.allclose(golden["reconstruction"], found, rtol=1e-10, atol=1e-14)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """framework → the folder that its cases were written to, and {case: its refusal or None}."""

    @functools.cache
    def exports(framework):
        folder = tmp_path_factory.mktemp(framework)
        done = run(framework, str(HERE / f"{framework}_exports.py"), str(folder))
        assert done.returncode == 0, done.stderr
        return folder, json.loads(done.stdout)

    return exports


def outcome(exported, framework, name):
    """The stem of a case's files and its refusal or None; a skip where it could not run."""
    folder, outcomes = exported(framework)
    if name not in outcomes:
        pytest.skip("flax is not installed here; `make peers` installs it")
    if outcomes[name] == "no GPU here":
        pytest.skip("there is no GPU here that PyTorch can use")
    return folder / name, outcomes[name]


def written(exported, framework, name):
    stem, refusal = outcome(exported, framework, name)
    assert refusal is None
    return read(stem)


@pytest.mark.parametrize(
    ("framework", "name"),
    [*(("torch", name) for name in TORCH_WRITTEN), *(("jax", name) for name in JAX_WRITTEN)],
)
def test_what_is_written_is_the_frameworks_own_model(exported, framework, name):
    header, tensors = written(exported, framework, name)
    assert len(header["golden"]["log_likelihood"]) == 8
    assert agrees(header, tensors)
    assert {str(tensor.dtype) for tensor in tensors.values()} == {header["dtype"]}
    model = VAE.load(outcome(exported, framework, name)[0])  # which works the golden values out once more
    assert (model.n_latents, model.n_observed) == (header["n_latents"], header["n_observed"])


def test_the_oracle_would_see_a_transposed_weight_and_a_wrong_scale(exported):
    """Planted: every weight is square, so that only the values can tell."""
    header, tensors = written(exported, "torch", "softplus_scale")
    assert not agrees(header, tensors | {"decoder.0.weight": tensors["decoder.0.weight"].T})
    assert not agrees(header | {"likelihood": {"kind": "gaussian", "scale": "log_variance"}}, tensors)
    assert not agrees(header | {"decoder": ["linear", "relu", "linear"]}, tensors)


def test_16_bits_are_widened_and_64_are_kept(exported):
    for name, bits in (("bfloat16", 0xFFFF), ("float16", 0x1FFF)):
        header, tensors = written(exported, "torch", name)
        assert header["dtype"] == "float32"
        assert not np.any(tensors["decoder.0.weight"].view(np.uint32) & bits)  # float32 numbers with few bits set
    header, tensors = written(exported, "torch", "float64")
    assert header["dtype"] == "float64"
    weight = tensors["decoder.0.weight"]
    assert np.all(weight != weight.astype(np.float32))


def test_a_final_sigmoid_is_dropped_and_flagged(exported):
    for framework in ("torch", "jax"):
        header, _ = written(exported, framework, "probabilities")
        assert header["decoder"] == ["linear", "tanh", "linear"]
        assert "final sigmoid" in header["about"]["dropped"]
    assert "dropped" not in written(exported, "torch", "tanh")[0]["about"]


def test_a_final_sigmoid_on_gaussian_means_is_kept(exported):
    for framework in ("torch", "jax"):
        header, _ = written(exported, framework, "means_by_sigmoid")
        assert header["decoder"] == ["linear", "tanh", "linear", "sigmoid"]
        assert "dropped" not in header["about"]


def test_a_wide_bias_beside_a_narrow_kernel_keeps_its_digits(exported):
    header, tensors = written(exported, "jax", "wide_bias")
    assert header["dtype"] == "float64"
    assert tensors["decoder.1.bias"].tolist() == [0.1, 0.2, 0.3]


def test_a_layer_without_bias_has_zeros(exported):
    _, tensors = written(exported, "torch", "no_bias")
    assert np.array_equal(tensors["decoder.0.bias"], np.zeros(4))


def test_tied_weights_are_written_twice(exported):
    _, tensors = written(exported, "torch", "tied")
    assert np.array_equal(tensors["encoder.0.weight"], tensors["decoder.1.weight"].T)
    assert np.array_equal(tensors["encoder.0.weight"], tensors["decoder.0.weight"])


def test_layers_are_in_the_order_of_their_numbers(exported):
    """Dense_10 after Dense_9, not after Dense_1."""
    header, tensors = written(exported, "jax", "twelve_layers")
    assert len(header["decoder"]) == 23
    assert {name for name in tensors if name.endswith("weight")} == {f"decoder.{i}.weight" for i in range(12)}


@pytest.mark.parametrize("name", AUTOENCODERS)
def test_an_autoencoder_reconstructs(exported, name):
    header, tensors = written(exported, "torch", name)
    assert reconstructs(header, tensors)
    assert not reconstructs(header, tensors | {"encoder.0.weight": tensors["encoder.0.weight"].T})
    assert "likelihood" not in header


@pytest.mark.parametrize(
    ("framework", "name", "said"),
    [*(("torch", *one) for one in TORCH_REFUSED.items()), *(("jax", *one) for one in JAX_REFUSED.items())],
)
def test_what_cannot_be_written_faithfully_is_refused(exported, framework, name, said):
    stem, refusal = outcome(exported, framework, name)
    assert refusal is not None
    assert re.search(said, refusal), refusal
    assert not stem.with_suffix(".json").exists()
    assert not stem.with_suffix(".safetensors").exists()


@pytest.mark.parametrize("framework", ["torch", "jax"])
def test_every_case_is_looked_at(exported, framework):
    """A case that is exported and not named here would pass unread."""
    _, outcomes = exported(framework)
    here = {"torch": {*TORCH_WRITTEN, *TORCH_REFUSED, *AUTOENCODERS}, "jax": {*JAX_WRITTEN, *JAX_REFUSED}}
    assert set(outcomes) <= here[framework]


# -- the weights that come with logpx -----------------------------------------------------------------------------

VAES = [f"vae_{kind}_{d}" for kind in ("bernoulli", "gaussian") for d in (2, 10)]
NAMES = [*VAES, "autoencoder_2", "autoencoder_10"]


def test_each_network_is_there_and_nothing_else():
    assert {path.name for path in WEIGHTS.iterdir()} == {
        name + suffix for name in NAMES for suffix in (".json", ".safetensors")
    }


@pytest.mark.parametrize("name", NAMES)
def test_the_networks_that_come_along_are_what_was_trained(name):
    header, tensors = read(WEIGHTS / name)
    d, p = int(name.rpartition("_")[2]), 64 if "bernoulli" in name else 61
    assert (header["n_latents"], header["n_observed"], header["dtype"]) == (d, p, "float32")
    assert tensors["decoder.0.weight"].shape == (128, d)
    assert tensors["decoder.1.weight"].shape == (p, 128)
    assert reconstructs(header, tensors) if name.startswith("autoencoder") else agrees(header, tensors)


@pytest.mark.parametrize("d", [2, 10])
def test_no_pixel_is_known_better_than_it_was_written_down(d):
    _, tensors = read(WEIGHTS / f"vae_gaussian_{d}")
    assert tensors["scale"].min() >= np.sqrt(NOISE_FLOOR)


@pytest.mark.parametrize("name", NAMES)
def test_training_came_to_rest_and_generalises(name):
    """Over the last tenth under 1 % of all that was gained; held-out images behind by under a quarter of it."""
    curve = np.array(read(WEIGHTS / name)[0]["about"]["curve"])
    gained = curve[0] - curve[-1]
    assert np.all(np.abs(curve[-6] - curve[-1])[1:] < 0.01 * gained[1:])
    assert curve[-1, 2] - curve[-1, 1] < 0.25 * gained[1]


# -- training them ------------------------------------------------------------------------------------------------


TWICE = """
import sys
sys.path.insert(0, sys.argv[1])
from train_digits import main
for folder in sys.argv[2:]:
    main(["vae_gaussian_2", "autoencoder_2", "--epochs", "3", "--out", folder, "--curves", folder + "/curves"])
"""


def test_training_gives_the_same_bits_twice(tmp_path):
    """Three epochs of two kinds of model; the generator's state after the first run is not that before it."""
    examples = HERE.parents[1] / "bench" / "examples"
    done = run("torch", "-c", TWICE, str(examples), str(tmp_path / "first"), str(tmp_path / "second"))
    assert done.returncode == 0, done.stderr
    files = [path.relative_to(tmp_path / "first") for path in (tmp_path / "first").rglob("*.*")]
    assert len(files) == 8
    for file in files:
        if file.name != "loss.svg":
            assert (tmp_path / "first" / file).read_bytes() == (tmp_path / "second" / file).read_bytes(), file
    header, tensors = read(tmp_path / "first" / "vae_gaussian_2")
    assert agrees(header, tensors)
    assert [point[0] for point in header["about"]["curve"]] == [1, 2, 3]
