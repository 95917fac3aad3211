"""Networks of PyTorch that are exported, or refused: run by test_export.py where PyTorch is, which reads the files.

Every layer is square where it can be, so that no shape gives a transposed weight away. Prints a JSON object: for each
case the message of its refusal, or null.
"""

import json
import sys
from pathlib import Path

import torch
from torch import nn

FOLDER = Path(sys.argv[1])
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench" / "examples"))

from export_torch import torch_network  # noqa: E402
from export_vae import ExportError, export, export_autoencoder  # noqa: E402

torch.manual_seed(1)
X, BITS = torch.tensor([0.3, -1.2, 0.7]), [1.0, 0.0, 1.0]


def net(*layers, out=3, last=()):
    """3 → 3 → out with these layers between, in eval mode."""
    return nn.Sequential(nn.Linear(3, 3), *layers, nn.Linear(3, out), *last).eval()


def bernoulli(name, decoder, likelihood="bernoulli_logits", **more):
    export(FOLDER / name, torch_network(decoder, "decoder"), likelihood=likelihood, x=BITS, **more)


def gaussian(name, decoder, likelihood, **more):
    export(FOLDER / name, torch_network(decoder, "decoder"), likelihood=likelihood, x=X, **more)


def with_encoder(name, encoder, scale, decoder=None):
    bernoulli(name, decoder or net(nn.Tanh()), encoder=torch_network(encoder, "encoder"), encoder_scale=scale)


def autoencoder(name, decoder, encoder):
    export_autoencoder(FOLDER / name, torch_network(decoder), torch_network(encoder), X)


def strided():
    decoder = net(nn.Tanh())
    decoder[0].weight = nn.Parameter(torch.randn(6, 3)[::2])
    decoder[2].weight = nn.Parameter(torch.randn(3, 3).T)
    return decoder


def double():
    """Weights that are no float32 numbers."""
    decoder = net(nn.Tanh()).double()
    decoder[0].weight.data += torch.rand(3, 3, dtype=torch.float64) / 3
    return decoder


def tied(name):
    """The decoder's last weight is the encoder's first, transposed; and a head is the decoder's own layer."""
    encoder, decoder = net(nn.Tanh(), out=6), net(nn.Tanh())
    decoder[2].weight = nn.Parameter(encoder[0].weight.data.T)
    decoder[0] = encoder[0]
    with_encoder(name, encoder, "log_variance", decoder)


def on_gpu(name):
    if not torch.cuda.is_available():
        raise ExportError("no GPU here")
    with_encoder(name, net(nn.GELU(), out=6).cuda(), "softplus", net(nn.Tanh()).cuda())


def hooked():
    decoder = net(nn.Tanh())
    decoder[0].register_forward_hook(lambda layer, given, out: 2 * out)
    return decoder


def spoilt(value):
    decoder = net(nn.Tanh())
    with torch.no_grad():
        decoder[0].weight[1, 1] = value
    return decoder


class Doubled(nn.Linear):
    """Looks like a Linear, and is none."""

    def forward(self, x):
        return 2 * super().forward(x)


SHARED, SIGMOID = nn.SiLU(), (nn.Sigmoid(),)
WRITTEN = {
    "relu": lambda n: bernoulli(n, net(nn.ReLU())),
    "tanh": lambda n: bernoulli(n, net(nn.Tanh())),
    "gelu": lambda n: bernoulli(n, net(nn.GELU())),
    "gelu_tanh": lambda n: bernoulli(n, net(nn.GELU("tanh"))),
    "softplus": lambda n: bernoulli(n, net(nn.Softplus())),
    "sigmoid": lambda n: bernoulli(n, net(nn.Sigmoid())),
    "silu": lambda n: bernoulli(n, net(nn.SiLU())),
    "nested": lambda n: bernoulli(n, net(SHARED, nn.Sequential(nn.Linear(3, 3), nn.Identity()), SHARED)),
    "one_layer": lambda n: bernoulli(n, nn.Sequential(nn.Linear(3, 3)).eval()),
    "no_bias": lambda n: bernoulli(n, nn.Sequential(nn.Linear(2, 4, bias=False), nn.Tanh(), nn.Linear(4, 3)).eval()),
    "strided": lambda n: bernoulli(n, strided()),
    "bfloat16": lambda n: bernoulli(n, net(nn.Tanh()).bfloat16()),
    "float16": lambda n: bernoulli(n, net(nn.Tanh()).half()),
    "float64": lambda n: bernoulli(n, double()),
    "probabilities": lambda n: bernoulli(n, net(nn.Tanh(), last=SIGMOID), "bernoulli_probabilities"),
    "fixed": lambda n: gaussian(n, net(nn.Tanh()), "gaussian_fixed", scale=torch.tensor([0.1, 0.2, 0.3])),
    "one_scale": lambda n: gaussian(n, net(nn.Tanh()), "gaussian_fixed", scale=0.1),
    "means_by_sigmoid": lambda n: gaussian(n, net(nn.Tanh(), last=SIGMOID), "gaussian_fixed", scale=0.1),
    "log_variance": lambda n: gaussian(n, net(nn.Tanh(), out=6), "gaussian_log_variance"),
    "softplus_scale": lambda n: gaussian(n, net(nn.Tanh(), out=6), "gaussian_softplus"),
    "encoder_log_variance": lambda n: with_encoder(n, net(nn.Tanh(), out=6), "log_variance"),
    "encoder_log_scale": lambda n: with_encoder(n, net(nn.Tanh(), out=6), "log_scale"),
    "encoder_softplus": lambda n: with_encoder(n, net(nn.Tanh(), out=6), "softplus"),
    "heads": lambda n: with_encoder(
        n, [net(nn.Tanh(), last=[nn.ReLU()]), nn.Linear(3, 3).eval(), nn.Linear(3, 3).eval()], "softplus"
    ),
    "tied": tied,
    "on_gpu": on_gpu,
    "autoencoder": lambda n: autoencoder(n, net(nn.Tanh()), net(nn.GELU())),
    "autoencoder_with_sigmoid": lambda n: autoencoder(n, net(nn.Tanh(), last=SIGMOID), net(nn.GELU())),
}
REFUSED = {
    "train_mode": lambda n: bernoulli(n, net(nn.Tanh()).train()),
    "dropout": lambda n: bernoulli(n, net(nn.Tanh(), nn.Dropout(0.1))),
    "batch_norm": lambda n: bernoulli(n, net(nn.BatchNorm1d(3))),
    "leaky_relu": lambda n: bernoulli(n, net(nn.LeakyReLU())),
    "softplus_beta": lambda n: bernoulli(n, net(nn.Softplus(beta=2))),
    "softplus_threshold": lambda n: bernoulli(n, net(nn.Softplus(threshold=3))),
    "subclass": lambda n: bernoulli(n, net(nn.Tanh(), Doubled(3, 3))),
    "hook": lambda n: bernoulli(n, hooked()),
    "weight_norm": lambda n: bernoulli(n, net(nn.Tanh(), nn.utils.parametrizations.weight_norm(nn.Linear(3, 3)))),
    "nan": lambda n: bernoulli(n, spoilt(float("nan"))),
    "not_a_module": lambda n: bernoulli(n, nn.ModuleList([nn.Linear(3, 3)]).eval()),
    "unknown_likelihood": lambda n: bernoulli(n, net(nn.Tanh()), "bernoulli"),
    "logits_with_sigmoid": lambda n: bernoulli(n, net(nn.Tanh(), last=SIGMOID)),
    "probabilities_without_sigmoid": lambda n: bernoulli(n, net(nn.Tanh()), "bernoulli_probabilities"),
    "grey_bits": lambda n: export(FOLDER / n, torch_network(net(nn.Tanh())), likelihood="bernoulli_logits", x=X),
    "fixed_without_scale": lambda n: gaussian(n, net(nn.Tanh()), "gaussian_fixed"),
    "scale_of_zero": lambda n: gaussian(n, net(nn.Tanh()), "gaussian_fixed", scale=[0.1, 0.0, 0.3]),
    "half_the_outputs": lambda n: gaussian(n, net(nn.Tanh()), "gaussian_log_variance"),
    "unstated_scale": lambda n: with_encoder(n, net(nn.Tanh(), out=6), None),
    "encoder_of_means": lambda n: with_encoder(n, net(nn.Tanh()), "log_variance"),
    "encoder_with_sigmoid": lambda n: with_encoder(n, net(nn.Tanh(), out=6, last=SIGMOID), "log_scale"),
    "two_activations": lambda n: bernoulli(n, net(nn.Tanh(), nn.ReLU())),
    "no_layers": lambda n: bernoulli(n, nn.Sequential().eval()),
    "identity_alone": lambda n: bernoulli(n, nn.Identity().eval()),
    "autoencoder_of_other_sizes": lambda n: autoencoder(n, net(nn.Tanh(), out=6), net(nn.Tanh())),
    "heads_of_two_layers": lambda n: with_encoder(n, [net(nn.Tanh()), net(), net()], "log_variance"),
}


def outcome(name, make):
    try:
        make(name)
    except ExportError as error:
        return str(error)
    return None


print(json.dumps({name: outcome(name, make) for name, make in (WRITTEN | REFUSED).items()}))
