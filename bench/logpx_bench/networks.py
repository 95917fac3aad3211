"""The networks that come with logpx, trained on the digits by bench/examples/train_digits.py (`make train`).

They lie in weights/, a pair of files each: NAME.safetensors holds the numbers, NAME.json the layers and golden values
(the format is that of `logpx.models.vae_file`). NAME is the kind and the number of latents: vae_bernoulli_2, of whole
images of ink or none; vae_gaussian_2, of the intensities of the pixels that vary; autoencoder_2, deterministic, x →
decoder(encoder(x)), which has no p(x).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from logpx.models import VAE, vae_file
from logpx.models.mlp import Network
from logpx_bench.errors import InputError

WEIGHTS = Path(__file__).parent / "weights"
#: What a golden reconstruction may differ by: float32 weights, worked out in float64 on both sides.
TOLERANCE = 1e-9


def sizes(kind: str) -> tuple[int, ...]:
    """Numbers of latents that there are networks of this kind for.

    >>> sizes("vae_gaussian")
    (2, 10)
    """
    return tuple(sorted(int(path.stem.rpartition("_")[2]) for path in WEIGHTS.glob(f"{kind}_*.json")))


def path(kind: str, n_latents: int) -> Path:
    """The JSON of a network.

    Raises
    ------
    InputError
        There is none of this size.
    """
    if n_latents not in sizes(kind):
        known = " and ".join(map(str, sizes(kind)))
        raise InputError(
            f"n_latents is {n_latents}; {kind} was trained with {known}. Others: bench/examples/train_digits.py"
        )
    return WEIGHTS / f"{kind}_{n_latents}.json"


def vae_latents(kind: str, options: Mapping[str, Any]) -> int:
    """Latents of a variational autoencoder asked for by kind and options; 0 for any other model."""
    return int(options["n_latents"]) if kind.startswith("vae_") else 0


def vae(kind: str, n_latents: int) -> VAE:
    """The variational autoencoder of this kind, "vae_bernoulli" or "vae_gaussian"."""
    return VAE.load(path(kind, n_latents))


class Autoencoder(NamedTuple):
    """Two networks: p observed numbers to d, and back."""

    encoder: Network
    decoder: Network

    def reconstruct(self, X: NDArray[np.float64]) -> NDArray[np.float64]:
        """decoder(encoder(x)) for rows x of X (n, p)."""
        return self.decoder(self.encoder(X))


def autoencoder(n_latents: int) -> Autoencoder:
    """The deterministic autoencoder with so many latents, held against its golden value.

    >>> autoencoder(2).decoder.n_outputs
    61
    """
    place, numbers = vae_file.both(path("autoencoder", n_latents))
    told = vae_file.document(place)
    d, p = told["n_latents"], told["n_observed"]
    taken = vae_file.Taken(numbers, vae_file.read_tensors(numbers, told["dtype"]))
    encoder = taken.network("encoder", vae_file.layers(f"{place}: encoder", told["encoder"]["layers"]), p, d)
    decoder = taken.network("decoder", vae_file.layers(f"{place}: decoder", told["decoder"]), d, p)
    taken.check_nothing_left()
    found = Autoencoder(encoder, decoder)
    golden = told["golden"]
    away = np.abs(found.reconstruct(np.array([golden["x"]]))[0] - golden["reconstruction"]).max()
    if not away < TOLERANCE:
        raise InputError(f"{place}: the golden reconstruction differs by {away:.1e}; the files do not belong together")
    return found
