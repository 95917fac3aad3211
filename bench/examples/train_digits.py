"""Train what comes with logpx in PyTorch: variational autoencoders of the digits, and deterministic ones beside them.

    z ~ N(0, I_d),  x given z ~ Bernoulli(sigmoid(a)) or N(a, diag s²),  a = decoder(z);  q(z given x) = N(encoder(x))

Each network has one hidden layer of 128 tanh units, d is 2 or 10. What is maximised is the ELBO, E_q[log p(x given z)]
− KL(q‖p(z)), the KL in closed form and the rest from one sample a step (D. P. Kingma and M. Welling, 2014,
arXiv:1312.6114), with the KL's weight rising from 0 to 1 over the first tenth so that no latent is given up early (S.
R. Bowman et al., 2016, doi:10.18653/v1/K16-1002). The Bernoulli models see whole images, ink or none; the Gaussian ones
the intensities of the pixels that vary, with a standard deviation a pixel, shared by all z and never below that of
rounding (`NOISE_FLOOR`). The autoencoder x → decoder(encoder(x)) has squared error and no distribution.

Training sees the training half alone, for a number of epochs fixed beforehand; the held-out half is only scored. One
thread, one seed: the same files, bit for bit, on one machine. About half a minute a model on one core:

    python bench/examples/train_digits.py [NAME ...] [--out FOLDER] [--curves FOLDER] [--epochs N]
"""

import argparse
import csv
import math
import time
from dataclasses import astuple, dataclass, replace
from pathlib import Path

import torch
from export_torch import torch_network
from export_vae import export, export_autoencoder
from torch import nn
from torch.distributions import Bernoulli, Normal, kl_divergence

from logpx_bench.data import NOISE_FLOOR, digits

ROOT = Path(__file__).resolve().parents[2]
HIDDEN, BATCH, SEED = 128, 64, 0
#: Samples of z an image that an ELBO is scored with, and how many points a loss curve has.
N_SCORED, N_POINTS = 16, 50


@dataclass(frozen=True)
class Recipe:
    """A model to train: its kind, latents, epochs, first learning rate, and decay of its weight matrices (AdamW)."""

    kind: str
    n_latents: int
    epochs: int
    rate: float = 2e-3
    decay: float = 1e-2

    @property
    def name(self):
        """Of its files."""
        return f"{self.kind if self.kind == 'autoencoder' else 'vae_' + self.kind}_{self.n_latents}"


EPOCHS = {"bernoulli": 600, "gaussian": 1000, "autoencoder": 600}
RECIPES = {recipe.name: recipe for recipe in (Recipe(kind, d, n) for kind, n in EPOCHS.items() for d in (2, 10))}


class Autoencoder(nn.Module):
    """Encoder and decoder; `scales` numbers a latent from the encoder, 1 or, with a scale, 2."""

    def __init__(self, p, d, scales):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(p, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, scales * d))
        self.decoder = nn.Sequential(nn.Linear(d, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, p))


class Deterministic(Autoencoder):
    """x → decoder(encoder(x))."""

    def __init__(self, p, d):
        super().__init__(p, d, 1)

    def loss(self, x, weight=1.0):
        """Half the squared error of each image, (n,)."""
        return 0.5 * (self.decoder(self.encoder(x)) - x).square().sum(-1)


class Variational(Autoencoder):
    """A VAE; `loss` is minus the ELBO."""

    def __init__(self, p, d, gaussian):
        super().__init__(p, d, 2)
        self.free = nn.Parameter(torch.full((p,), -3.0)) if gaussian else None

    def scale(self):
        """Standard deviation of each pixel: its variance is the floor and something above."""
        return (NOISE_FLOOR + self.free.exp()).sqrt()

    def loss(self, x, weight=1.0):
        """Minus the ELBO of each image from one sample of z, (n,), its KL times `weight`."""
        mean, log_variance = self.encoder(x).chunk(2, -1)
        q = Normal(mean, (0.5 * log_variance).exp())
        out = self.decoder(q.rsample())
        likelihood = Bernoulli(logits=out) if self.free is None else Normal(out, self.scale())
        kl = kl_divergence(q, Normal(0.0, 1.0)).sum(-1)
        return weight * kl - likelihood.log_prob(x).sum(-1)


@dataclass(frozen=True)
class Point:
    """Of a loss curve: nats an image (half squared error for the autoencoder), on both halves of the digits."""

    epoch: int
    train: float
    held_out: float


def halves(kind):
    """Training and held-out images as the kind of model sees them, (n, p) float32."""
    d = digits()
    rows = (d.binary(d.train), d.binary(d.test)) if kind == "bernoulli" else (d.train, d.test)
    return [torch.tensor(one, dtype=torch.float32) for one in rows]


def scored(model, x):
    """Mean loss over images and N_SCORED samples of z, the same random numbers each time."""
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(SEED)
        return float(torch.stack([model.loss(x) for _ in range(N_SCORED)]).mean())


def train(recipe, progress=print):
    """The trained model in eval mode, and its loss curve."""
    torch.manual_seed(SEED)
    x, held_out = halves(recipe.kind)
    n, p = x.shape
    deterministic = recipe.kind == "autoencoder"
    d = recipe.n_latents
    model = Deterministic(p, d) if deterministic else Variational(p, d, recipe.kind == "gaussian")
    matrices = [one for one in model.parameters() if one.ndim == 2]
    others = [one for one in model.parameters() if one.ndim != 2]
    groups = [{"params": matrices, "weight_decay": recipe.decay}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, recipe.rate)
    steps = recipe.epochs * (n // BATCH)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    curve, done = [], 0
    for epoch in range(1, recipe.epochs + 1):
        for rows in torch.randperm(n)[: n // BATCH * BATCH].view(-1, BATCH):
            optimizer.zero_grad()
            model.loss(x[rows], min(1.0, 10 * done / steps)).mean().backward()
            optimizer.step()
            schedule.step()
            done += 1
        if epoch * N_POINTS // recipe.epochs > (epoch - 1) * N_POINTS // recipe.epochs:
            curve.append(Point(epoch, scored(model, x), scored(model, held_out)))
            progress(
                f"{recipe.name}: epoch {epoch} of {recipe.epochs}, loss {curve[-1].train:.3f}, "
                f"held out {curve[-1].held_out:.3f}"
            )
    return model.eval(), curve


def write(recipe, model, curve, folder):
    """The model's two files, by the converter that is there for everyone's models."""
    example = halves(recipe.kind)[1][0].numpy()
    about = {
        "data": "scikit-learn's digits, as logpx_bench.data splits them; golden x: the first held-out image",
        "made_by": f"bench/examples/train_digits.py, torch {torch.__version__.partition('+')[0]}",
        "seed": SEED,
        "epochs": recipe.epochs,
        "loss": "half squared error" if recipe.kind == "autoencoder" else "minus the ELBO, nats an image",
        "curve": [[one.epoch, round(one.train, 4), round(one.held_out, 4)] for one in curve],
    }
    decoder, encoder = torch_network(model.decoder, "decoder"), torch_network(model.encoder, "encoder")
    path = folder / recipe.name
    if recipe.kind == "autoencoder":
        export_autoencoder(path, decoder, encoder, example, about)
        return
    gaussian = recipe.kind == "gaussian"
    export(
        path,
        decoder,
        likelihood="gaussian_fixed" if gaussian else "bernoulli_logits",
        x=example,
        encoder=encoder,
        encoder_scale="log_variance",
        scale=model.scale().detach().numpy() if gaussian else None,
        about=about,
    )


def draw(curves, path):
    """Loss against epoch, a panel a model, on the training half and held out."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 2.6 * math.ceil(len(curves) / 2)), layout="constrained")
    for i, (name, curve) in enumerate(curves.items()):
        axes = figure.add_subplot(math.ceil(len(curves) / 2), min(2, len(curves)), i + 1)
        epochs = [one.epoch for one in curve]
        axes.plot(epochs, [one.train for one in curve], label="training half")
        axes.plot(epochs, [one.held_out for one in curve], "--", label="held out")
        axes.set(title=name, xlabel="epoch", ylabel="loss an image")
        axes.legend()
    figure.savefig(path)


def main(arguments=None):
    """Train the models named, or all; write weights, curves as CSV, and their figure."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(RECIPES)}; all by default")
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "logpx_bench" / "weights", help="for the weights")
    parser.add_argument("--curves", type=Path, default=ROOT / "results" / "training", help="for the loss curves")
    parser.add_argument("--epochs", type=int, help="instead of each model's own number")
    given = parser.parse_args(arguments)
    if unknown := set(given.names) - set(RECIPES):
        parser.error(f"there is no {', '.join(sorted(unknown))}; known are {', '.join(RECIPES)}")
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(1)
    for folder in (given.out, given.curves):
        folder.mkdir(parents=True, exist_ok=True)
    curves = {}
    for name in given.names or RECIPES:
        recipe = RECIPES[name] if given.epochs is None else replace(RECIPES[name], epochs=given.epochs)
        start = time.perf_counter()
        model, curves[name] = train(recipe)
        write(recipe, model, curves[name], given.out)
        print(f"{name}: {time.perf_counter() - start:.0f} s, in {given.out / name}.safetensors")
        with open(given.curves / f"{name}.csv", "w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("epoch", "train", "held_out"), *(astuple(one) for one in curves[name])])
    draw(curves, given.curves / "loss.png")
    draw(curves, given.curves / "loss.svg")


if __name__ == "__main__":
    main()
