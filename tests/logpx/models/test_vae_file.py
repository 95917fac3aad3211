"""Trained autoencoders on disk: what is written comes back, and each trap of an export is named. Exact."""

import json
from dataclasses import dataclass

import numpy as np
import pytest
from safetensors.numpy import save_file
from scipy import special, stats

from logpx.errors import InputError
from logpx.models import VAE

RNG = np.random.default_rng(11)
#: p as many as hidden units, so that a layer is square: only golden values can tell it from its transpose.
D, H, P = 2, 6, 6
SIZES = {"decoder.0": (H, D), "decoder.1": (H, H), "decoder.2": (P, H), "encoder.0": (H, P), "encoder.1": (2 * D, H)}


@dataclass
class Files:
    """A pair of files as a dict and tensors, to be spoilt and written."""

    told: dict
    tensors: dict

    def write(self, folder):
        """Both files; the path of the JSON."""
        (folder / "own.json").write_text(json.dumps(self.told), encoding="utf-8")
        save_file(self.tensors, folder / "own.safetensors")
        return folder / "own.json"


def layer(tensors, name, h):
    return h @ tensors[f"{name}.weight"].astype(float).T + tensors[f"{name}.bias"].astype(float)


def decoded(tensors, z, gelu=None):
    """The decoder's outputs: tanh, then GELU as PyTorch has it by default."""
    h = layer(tensors, "decoder.1", np.tanh(layer(tensors, "decoder.0", z)))
    return layer(tensors, "decoder.2", (gelu or (lambda a: a * stats.norm.cdf(a)))(h))


def encoded(tensors, x):
    """Means and raw scales of q(z given x)."""
    return np.split(layer(tensors, "encoder.1", np.maximum(layer(tensors, "encoder.0", x), 0)), 2)


def bernoulli(dtype="float32"):
    """A VAE of binary data with golden values by SciPy."""
    tensors = {}
    for name, (n_out, n_in) in SIZES.items():
        tensors[f"{name}.weight"] = RNG.normal(size=(n_out, n_in)).astype(dtype)
        tensors[f"{name}.bias"] = RNG.normal(size=n_out).astype(dtype)
    x, z = (np.arange(P) % 3 == 0).astype(float), RNG.normal(size=(8, D))
    mean, raw = encoded(tensors, x)
    golden = {
        "x": x.tolist(),
        "z": z.tolist(),
        "log_likelihood": stats.bernoulli.logpmf(x, special.expit(decoded(tensors, z))).sum(axis=1).tolist(),
        "log_q": stats.norm.logpdf(z, mean, np.exp(raw / 2)).sum(axis=1).tolist(),
    }
    told = {
        "format": "logpx-vae",
        "version": 1,
        "n_latents": D,
        "n_observed": P,
        "dtype": dtype,
        "likelihood": {"kind": "bernoulli"},
        "decoder": ["linear", "tanh", "linear", "gelu", "linear"],
        "encoder": {"layers": ["linear", "relu", "linear"], "scale": "log_variance"},
        "golden": golden,
        "about": {"epochs": 3},
    }
    return Files(told, tensors)


def gaussian(scale):
    """The same with a Gaussian likelihood, and no encoder."""
    files = bernoulli("float64")
    tensors, golden = files.tensors, files.told["golden"]
    x, z = np.array(golden["x"]), np.array(golden["z"])
    if scale == "fixed":
        tensors["scale"] = RNG.uniform(0.5, 2.0, P)
        means, scales = decoded(tensors, z), tensors["scale"]
    else:
        tensors["decoder.2.weight"], tensors["decoder.2.bias"] = RNG.normal(size=(2 * P, H)), RNG.normal(size=2 * P)
        means, raw = np.split(decoded(tensors, z), 2, axis=1)
        scales = np.exp(raw / 2) if scale == "log_variance" else np.log1p(np.exp(raw))
    golden["log_likelihood"] = stats.norm.logpdf(x, means, scales).sum(axis=1).tolist()
    golden["log_q"] = files.told["encoder"] = None
    for name in [name for name in tensors if name.startswith("encoder")]:
        del tensors[name]
    files.told["likelihood"] = {"kind": "gaussian", "scale": scale}
    return files


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("suffix", [".json", ".safetensors", ""])
def test_what_is_written_comes_back(tmp_path, dtype, suffix):
    files = bernoulli(dtype)
    model = VAE.load(files.write(tmp_path).with_suffix(suffix))
    assert (model.n_latents, model.n_observed, model.likelihood) == (D, P, "bernoulli")
    assert model.decoder.activations == ("tanh", "gelu", "identity")
    for i, weights in enumerate(model.decoder.weights):
        np.testing.assert_array_equal(weights, files.tensors[f"decoder.{i}.weight"])
    golden = files.told["golden"]
    x, z = np.array(golden["x"]), np.array(golden["z"])
    joint = [model.log_joint_scalar(model.theta, model.dims, x, one) for one in z]
    np.testing.assert_allclose(joint - stats.norm.logpdf(z).sum(axis=1), golden["log_likelihood"], rtol=1e-12)
    np.testing.assert_allclose(model.encoder_proposal(x).log_density(z), golden["log_q"], rtol=1e-12)


@pytest.mark.parametrize("scale", ["fixed", "log_variance", "softplus"])
def test_gaussian_likelihoods_come_back(tmp_path, scale):
    files = gaussian(scale)
    model = VAE.load(files.write(tmp_path))
    assert model.encoder is None
    np.testing.assert_array_equal(model.scale, files.tensors["scale"] if scale == "fixed" else scale)


# -- misunderstandings that every shape passes ------------------------------------------------------------------------


def spoil(what):
    """A pair of files with one misunderstanding, and what is said of it."""
    files = gaussian("softplus") if what == "softplus" else bernoulli()
    told, tensors = files.told, files.tensors
    golden = told["golden"]
    x, z = np.array(golden["x"]), np.array(golden["z"])
    if what == "transposed":
        tensors["decoder.1.weight"] = np.ascontiguousarray(tensors["decoder.1.weight"].T)
        return files, "golden log_likelihood.*They agree with decoder.1.weight transposed"
    if what == "transposed encoder":
        tensors["encoder.0.weight"] = np.ascontiguousarray(tensors["encoder.0.weight"].T)
        return files, "golden log_q.*They agree with encoder.0.weight transposed"
    if what == "gelu":
        told["decoder"][3] = "gelu_tanh"
        return files, "if what follows decoder layer 1 is gelu and not gelu_tanh"
    if what == "probabilities":
        chances = special.expit(special.expit(decoded(tensors, z)))
        golden["log_likelihood"] = stats.bernoulli.logpmf(x, chances).sum(axis=1).tolist()
        return files, "if what follows decoder layer 2 is sigmoid and not identity"
    if what == "encoder scale":
        told["encoder"]["scale"] = "softplus"
        return files, "if encoder scales are log_variance and not softplus"
    if what == "softplus":
        told["likelihood"]["scale"] = "log_variance"
        return files, "if decoder scales are softplus and not log_variance"
    golden[what][5] += 1e-3
    return files, rf"golden {what}\[5\] is .*\(1 of 8 differ; allowed is 1e-09.*No single misunderstanding"


@pytest.mark.parametrize(
    "what",
    [
        "transposed",
        "transposed encoder",
        "gelu",
        "probabilities",
        "encoder scale",
        "softplus",
        "log_likelihood",
        "log_q",
    ],
)
def test_a_misunderstanding_is_found_by_the_golden_values_and_named(tmp_path, what):
    files, message = spoil(what)
    with pytest.raises(InputError, match=message):
        VAE.load(files.write(tmp_path))


def test_golden_values_differ_by_rounding_only(tmp_path):
    """To 1e-9 whatever the tensors' dtype, and to 1e-8 with a softplus, which PyTorch has 2e-9 off."""
    made = (bernoulli("float32"), 3e-9), (bernoulli("float64"), 3e-9), (gaussian("softplus"), 3e-8)
    for files, off in made:
        value = files.told["golden"]["log_likelihood"][0]
        assert abs(value) > 1
        for factor in (0.1, 1.0):
            files.told["golden"]["log_likelihood"][0] = value * (1 + factor * off)
            path = files.write(tmp_path)
            if factor < 1:
                VAE.load(path)
            else:
                with pytest.raises(InputError, match=r"log_likelihood\[0\]"):
                    VAE.load(path)


def test_a_misunderstanding_that_makes_no_model_explains_nothing(tmp_path):
    """Raw scales of 2000, right as softplus, are infinite as logarithms: those candidates are passed over."""
    files = bernoulli("float64")
    tensors, golden = files.tensors, files.told["golden"]
    tensors["encoder.1.weight"][D:] = 0.0
    tensors["encoder.1.bias"][D:] = 2000.0
    mean, raw = encoded(tensors, np.array(golden["x"]))
    golden["log_q"] = stats.norm.logpdf(golden["z"], mean, raw).sum(axis=1).tolist()
    files.told["encoder"]["scale"] = "softplus"
    VAE.load(files.write(tmp_path))
    golden["log_q"][0] += 1.0
    with pytest.raises(InputError, match="No single misunderstanding explains it"):
        VAE.load(files.write(tmp_path))


def test_a_name_may_have_dots(tmp_path):
    files = bernoulli().write(tmp_path)
    for suffix in (".json", ".safetensors"):
        files.with_suffix(suffix).rename(tmp_path / f"vae_beta_0.5{suffix}")
    for name in ("vae_beta_0.5", "vae_beta_0.5.json", "vae_beta_0.5.safetensors"):
        assert VAE.load(tmp_path / name).n_latents == D


# -- files that are not what they say ---------------------------------------------------------------------------------

TENSORS = [
    ("decoder.0.weight", lambda w: np.ascontiguousarray(w.T), r"has shape \(2, 6\); .*\(any, 2\); it looks transposed"),
    ("decoder.2.bias", lambda b: b[:-1].copy(), r"decoder.2.bias has shape \(5,\); it must be \(6\)"),
    ("encoder.1.weight", lambda w: w[:2].copy(), r"encoder.1.weight has shape \(2, 6\); it must be \(4, 6\)"),
    ("decoder.1.weight", lambda w: w * np.float32(np.nan), r"decoder.1.weight\[0, 0\] is nan; every entry"),
    ("decoder.1.weight", lambda w: w.astype(float), r"decoder.1.weight has dtype F64, and float32 \(F32\)"),
    ("decoder.1.weight", lambda w: w.astype(np.float16), r"dtype F16.*widened before they are saved: tensor.float\(\)"),
    ("decoder.1.bias", lambda b: None, "tensor decoder.1.bias is missing"),
    ("decoder.3.bias", lambda b: np.zeros(2, np.float32), "does not ask for: decoder.3.bias"),
]


@pytest.mark.parametrize(("name", "change", "message"), TENSORS)
def test_tensors_that_do_not_fit_are_named(tmp_path, name, change, message):
    files = bernoulli()
    changed = change(files.tensors.pop(name, None))
    if changed is not None:
        files.tensors[name] = changed
    with pytest.raises(InputError, match=message):
        VAE.load(files.write(tmp_path))


KEYS = [
    (("golden",), None, '"golden" is missing; needed are format'),
    (("n_latent",), 2, "unknown key 'n_latent'; did you mean \"n_latents\""),
    (("n_latents",), 0, "n_latents=0: a whole number from 1"),
    (("format",), "logpx-autoencoder", "format 'logpx-autoencoder', version 1; read is 'logpx-vae', 1"),
    (("version",), 2, "version 2; read is"),
    (("dtype",), "bfloat16", "dtype is 'bfloat16'; it is one of float64, float32"),
    (("likelihood",), "bernoulli", "likelihood is 'bernoulli'; it must be an object with kind"),
    (("likelihood", "scale"), "fixed", "likelihood: unknown key 'scale'"),
    (("likelihood", "kind"), "poisson", "kind is 'poisson'; it is one of bernoulli, gaussian"),
    (("decoder",), ["tanh", "linear"], 'a list that begins with "linear"'),
    (("decoder", 1), "elu", r"decoder\[1\] is 'elu'; it is one of linear, relu"),
    (("decoder", 2), "relu", r"decoder\[2\] is 'relu' after 'tanh'"),
    (("decoder",), ["linear", "linear"], r"decoder.1.weight has shape \(6, 6\)|does not ask for"),
    (("decoder",), ["linear", "tanh", "linear", "gelu", "linear", "sigmoid"], "ends with a sigmoid; .* takes logits"),
    (("encoder", "scale"), "variance", "scale is 'variance'; it is one of log_variance"),
    (("golden", "log_q"), None, "golden: log_q is missing; it goes with an encoder"),
    (("golden", "z"), [[0.0, 0.0]], r"golden: z has shape \(1, 2\); it must be \(8, 2\)"),
    (("golden", "x", 0), 0.5, "golden: x holds numbers other than 0 and 1"),
]


@pytest.mark.parametrize(("place", "value", "message"), KEYS)
def test_keys_that_do_not_fit_are_named(tmp_path, place, value, message):
    files = bernoulli()
    inside = files.told
    for step in place[:-1]:
        inside = inside[step]
    if value is None and place == ("golden",):
        del inside["golden"]
    else:
        inside[place[-1]] = value
    with pytest.raises(InputError, match=message):
        VAE.load(files.write(tmp_path))


def test_files_that_are_not_there_or_not_what_they_seem(tmp_path):
    with pytest.raises(InputError, match=r"there is no .*own\.json"):
        VAE.load(tmp_path / "own")
    path = bernoulli().write(tmp_path)
    path.with_suffix(".safetensors").write_bytes(b"\x80\x04K\x01.")
    with pytest.raises(InputError, match=r"own\.safetensors is no safetensors file"):
        VAE.load(path)
    path.with_suffix(".safetensors").unlink()
    with pytest.raises(InputError, match=r"there is no .*own\.safetensors"):
        VAE.load(path)
    path.write_text("{", encoding="utf-8")
    with pytest.raises(InputError, match="is not JSON"):
        VAE.load(path)
