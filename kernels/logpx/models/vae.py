r"""A variational autoencoder: a normal latent behind a neural network, with its encoder for a proposal.

    z ~ N(0, I_d),   x given z ~ p(x; f(z)),   f a multilayer perceptron, the decoder
    Bernoulli    log p(x given z) = Σ_j x_j a_j − log(1 + e^{a_j}),   a = f(z) the logits, x_j ∈ {0, 1}
    Gaussian     log p(x given z) = Σ_j log N(x_j; m_j, s_j²),   m = f(z), s fixed; or (m, v) = f(z) with s = e^{v/2}
                 (log variance), or s = log(1 + e^v) (softplus)

Sources: D. P. Kingma and M. Welling (2014), arXiv:1312.6114, appendix C; D. J. Rezende, S. Mohamed and D. Wierstra
(2014), arXiv:1401.4082. The marginal has no closed form. With one or two latents it is an integral that two quadrature
rules agree on to 1e-6 nats (`logpx.quadrature`); the decoder is evaluated at a node once for those rows of x that need
it there, whose densities are then one matrix product. With more latents there is no exact route, and log p(x) is what
is to be estimated.

The kernel takes strips of samples through the decoder (`logpx.dense`, `logpx.activations`). Cost of d → h → p with tanh
and Bernoulli pixels: h (d + p) multiply-adds, h hyperbolic tangents, p exponentials and p/64 logarithms a sample: the
factors 1 + e^{−|a|} ≤ 2 are multiplied, 64 at a time, before a logarithm is taken. In float32 all but logarithms and
their sum is float32; log p(x given z) is off by some 1e-6 of its size.

The default proposal is not the encoder's q(z given x), which on data that it was not trained on may be at another mode
than the posterior, or too narrow (`encoder_proposal` gives it as it is). It is a mixture of Laplace approximations,
made wider, at modes that searches from the encoder's mean and from draws of the prior end at, with a small share of the
prior, which bounds the weights: a decoder that levels off leaves the posterior the prior's tails.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import scipy
from numpy.typing import ArrayLike

from logpx import quadrature
from logpx.checks import whole
from logpx.errors import InputError, NotAvailableError
from logpx.models import vae_file, vae_modes
from logpx.models.base import DEFAULT_WIDEN, check_states, check_x, positive, rows_or_one
from logpx.models.mlp import FUNCTIONS, Network
from logpx.models.vae_kernel import BERNOULLI, FIXED, LOG_VARIANCE, SOFTPLUS, log_joint, log_joint_scalar
from logpx.proposals import Gaussian, Mixture
from logpx.proposals.base import Floats, Integers, packed, set_fields, two_parts

LOG_2PI = math.log(2 * math.pi)
softplus = FUNCTIONS["softplus"]
#: Scales that a network gives as numbers of any sign, by name.
SCALES: dict[str, Callable[[Any], Any]] = {
    "log_variance": lambda raw: np.exp(0.5 * raw),
    "log_scale": np.exp,
    "softplus": softplus,
}
#: Latents whose log likelihoods are worked out together: what a network needs for them stays in cache.
PIECE = 2048
#: Standard deviations of the narrowest mode that quadrature is sure to see: the most, and, by latents, the least that
#: there are nodes for (2^18 and 2^20).
WIDEST_SEEN, NARROWEST_SEEN = 1 / 32, {1: 2.0**-16, 2: 2.0**-8}


@dataclass(frozen=True, eq=False, init=False)
class VAE:
    """A variational autoencoder.

    Parameters
    ----------
    decoder : Network
        From d latents to p logits (Bernoulli), p means (Gaussian of fixed scales), or 2p numbers: p means, then what
        the p scales are made of.
    likelihood : "bernoulli" or "gaussian"
    scale : array (p,), float, "log_variance" or "softplus"
        Of a Gaussian likelihood: its standard deviations, or how they come from the decoder's second half.
    encoder : Network, optional
        From p observed numbers to 2d: the means of q(z given x), then what its standard deviations are made of.
    encoder_scale : "log_variance", "log_scale" or "softplus"
        How.

    Raises
    ------
    InputError
        Networks whose sizes do not fit, another likelihood, a scale that is not above zero; of Bernoulli data, an entry
        that is neither 0 nor 1.

    Examples
    --------
    >>> decoder = Network([[[1.0]], [[2.0], [-2.0]]], [[0.0], [0.5, 0.5]], "tanh")
    >>> model = VAE(decoder)
    >>> round(model.log_marginal([1, 0]), 6)
    -1.186247
    """

    decoder: Network
    likelihood: str
    scale: Floats | str | None
    encoder: Network | None
    encoder_scale: str

    name: ClassVar[str] = "vae"
    summary: ClassVar[str] = "variational autoencoder: a normal latent behind a neural network"
    exact_route: ClassVar[str] = "two quadrature rules that agree to 1e-6 nats, for one or two latents"
    second_route: ClassVar[str] = "Gauss-Legendre rules over the latents, a forward pass of its own"
    log_joint: ClassVar[Any] = staticmethod(log_joint)
    log_joint_scalar: ClassVar[Callable[..., float]] = staticmethod(log_joint_scalar)
    theta: Floats = field(init=False, repr=False)
    dims: Integers = field(init=False, repr=False)
    n_latents: int = field(init=False, repr=False)
    n_observed: int = field(init=False, repr=False)
    prior: Gaussian = field(init=False, repr=False)

    def __init__(
        self,
        decoder: Network,
        likelihood: str = "bernoulli",
        *,
        scale: ArrayLike | None = None,
        encoder: Network | None = None,
        encoder_scale: str = "log_variance",
    ) -> None:
        d = decoder.n_inputs
        kind, p, scales = _likelihood(decoder, likelihood, scale)
        if encoder is not None and (encoder.n_inputs, encoder.n_outputs) != (p, 2 * d):
            raise InputError(
                f"the encoder takes {encoder.n_inputs} numbers and gives {encoder.n_outputs}; beside {p} observed "
                f"numbers and {d} latents it must take {p} and give {2 * d}: means, then scales"
            )
        if encoder_scale not in SCALES:
            raise InputError(f"encoder_scale is {encoder_scale!r}; it is one of {', '.join(SCALES)}")
        constant = -0.5 * (d + (0 if kind == BERNOULLI else p)) * LOG_2PI
        numbers, sizes = decoder.packed()
        roots = np.zeros(0)
        if isinstance(scales, np.ndarray):
            constant, roots = constant - np.log(scales).sum(), 1 / scales
        theta = packed(np.concatenate([two_parts(constant), roots, numbers]))
        set_fields(
            self, decoder=decoder, likelihood=likelihood, scale=scales, encoder=encoder, n_latents=d, n_observed=p
        )
        set_fields(self, encoder_scale=encoder_scale, theta=theta, dims=np.array([p, kind, *sizes], dtype=np.int64))
        set_fields(self, prior=Gaussian.diagonal(np.zeros(d), np.ones(d)))

    @classmethod
    def load(cls, path: str | Path) -> VAE:
        """The model in a pair of files NAME.json and NAME.safetensors, as the converters write them.

        Nothing is unpickled. Architecture, shapes and dtypes are checked, and then the golden values: log p(x given z)
        and log q(z given x) as the framework that trained it worked them out in float64.

        Parameters
        ----------
        path : str or Path
            Either file, or NAME.

        Raises
        ------
        InputError
            A file that is missing or not what it says; the message names key or tensor, or the first golden value that
            differs, with both numbers and what would explain it.
        """
        stored = vae_file.read(path)
        vae_file.check_golden(stored, cls._golden)
        return cls._of(stored)

    @classmethod
    def _of(cls, stored: vae_file.Stored) -> VAE:
        return cls(
            stored.decoder,
            stored.likelihood,
            scale=stored.scale,
            encoder=stored.encoder,
            encoder_scale=stored.encoder_scale,
        )

    @classmethod
    def _golden(cls, stored: vae_file.Stored) -> dict[str, Floats]:
        model, x, z = cls._of(stored), stored.golden.x, stored.golden.z
        log_q = {} if model.encoder is None else {"log_q": model.encoder_proposal(x).log_density(z)}
        return {"log_likelihood": model.log_likelihood(x, z)[0], **log_q}

    # -- the likelihood -----------------------------------------------------------------------------------------------

    def halves(self, Z: Floats) -> tuple[Floats, Floats | None]:
        """Logits or means (n, p), and standard deviations: (n, p), or (p,), or None for Bernoulli."""
        outputs, p = self.decoder(Z), self.n_observed
        if isinstance(self.scale, str):
            return outputs[:, :p], SCALES[self.scale](outputs[:, p:])
        return outputs, self.scale

    def decode(self, Z: ArrayLike) -> Floats:
        """Probabilities (Bernoulli) or means (Gaussian) of the observed numbers, (n, p) for latents (n, d)."""
        means, scales = self.halves(self._latents(Z))
        return np.asarray(scipy.special.expit(means)) if scales is None else means

    def log_likelihood(self, X: ArrayLike, Z: ArrayLike) -> Floats:
        """log p(x_i given z_j) in nats of every row of X (n, p) at every row of Z (m, d), as (n, m).

        By one matrix product (two where the decoder gives scales), with x and means taken from the rows' mean.
        """
        rows, latents = self._rows(np.atleast_2d(X))[0], self._latents(Z)
        pieces = [self._log_likelihood(rows, latents[i : i + PIECE]) for i in range(0, len(latents), PIECE)]
        return np.concatenate(pieces, axis=1)

    def _log_likelihood(self, rows: Floats, Z: Floats) -> Floats:
        means, scales = self.halves(Z)
        if scales is None:
            return np.asarray(rows @ means.T - softplus(means).sum(axis=1))
        centre, weights = rows.mean(axis=0), np.atleast_2d(scales) ** -2.0
        x, m = rows - centre, means - centre
        scaled = m * weights
        constant = 0.5 * np.log(weights / (2 * np.pi)).sum(axis=1) - 0.5 * (m * scaled).sum(axis=1)
        return np.asarray(x @ scaled.T - 0.5 * (x * x) @ weights.T + constant)

    def _rows(self, x: ArrayLike) -> tuple[Floats, bool]:
        if self.likelihood == "bernoulli":
            return check_states(x, self.n_observed, 2)
        return check_x(x, self.n_observed)

    def _latents(self, Z: ArrayLike) -> Floats:
        latents = np.asarray(Z, dtype=np.float64)
        if latents.ndim != 2 or latents.shape[1] != self.n_latents:
            raise InputError(f"Z has shape {latents.shape}; it must be (n, {self.n_latents})")
        return latents

    # -- the marginal -------------------------------------------------------------------------------------------------

    def log_marginal(self, x: ArrayLike) -> Any:
        """log p(x) in nats, to 1e-6, for one or two latents: a float for x (p,), an array (n,) for x (n, p).

        Modes of the posterior as narrow as half the narrowest that a search finds for these rows (`default_proposal`)
        are sure to be seen, and all of a standard deviation of 1/32 or more; down to 1/256 with two latents.

        Raises
        ------
        InputError
            x of another shape, or not binary where the likelihood is Bernoulli.
        NotAvailableError
            More than two latents; or two quadrature rules that do not agree to 1e-6 nats, as a decoder with kinks
            (ReLU) may bring about.
        """
        rows, batched = self._rows(x)
        return rows_or_one(self.quadrature(rows).required(), batched)

    def quadrature(self, x: ArrayLike, tolerance: float = 1e-6) -> quadrature.Certified:
        """log p(x) of rows (n, p) with the error that two quadrature rules vouch for; see `log_marginal`."""
        rows, _ = self._rows(np.atleast_2d(x))
        if self.n_latents > quadrature.MOST_LATENTS:
            raise NotAvailableError(
                f"this VAE has {self.n_latents} latents, and quadrature certifies log p(x) for 1 or 2; estimate it: "
                "logpx.estimate(model, x, n_samples=…) gives it with a standard error"
            )

        def log_f(z: Floats, which: Integers) -> Floats:
            prior = -0.5 * (z * z).sum(axis=0) - 0.5 * self.n_latents * LOG_2PI
            return self.log_likelihood(rows[which], z.T) + prior

        tail = None if math.isinf(self._largest_likelihood()) else self._log_tail
        narrowest = max(min(WIDEST_SEEN, 0.5 * vae_modes.narrowest(self, rows)), NARROWEST_SEEN[self.n_latents])
        return quadrature.certified(
            log_f, len(rows), self.n_latents, by_rows=True, tolerance=tolerance, narrowest=narrowest, log_tail=tail
        )

    def _largest_likelihood(self) -> float:
        """An upper bound of log p(x given z) over all x and z; inf where there is none."""
        if isinstance(self.scale, str):
            return math.inf
        return 0.0 if self.scale is None else float(-np.log(self.scale).sum() - 0.5 * self.n_observed * LOG_2PI)

    def _log_tail(self, reach: float) -> float:
        """log of a bound on the part of p(x) where some |z_l| > reach."""
        return float(self._largest_likelihood() + math.log(2 * self.n_latents) + scipy.special.log_ndtr(-reach))

    # -- proposals ----------------------------------------------------------------------------------------------------

    def encoder_proposal(self, x: ArrayLike) -> Gaussian:
        """The encoder's q(z given x) as it is: one Gaussian for x (p,), one a row for x (n, p)."""
        rows, batched = self._rows(x)
        if self.encoder is None:
            raise NotAvailableError("this VAE has no encoder; default_proposal works without one")
        means, scales = self.encoded(rows)
        return Gaussian.diagonal(rows_or_one(means, batched), rows_or_one(scales, batched))

    def encoded(self, rows: Floats) -> tuple[Floats, Floats]:
        """Means and standard deviations of q(z given x), (n, d) each, of rows (n, p)."""
        assert self.encoder is not None
        outputs, d = self.encoder(rows), self.n_latents
        return outputs[:, :d], SCALES[self.encoder_scale](outputs[:, d:])

    def default_proposal(self, x: ArrayLike, widen: float | None = None) -> Mixture:
        """A mixture of Gaussians at the modes that are found, `widen` times as wide as there, and 5 % of the prior.

        Modes of log p(x, z) are searched for from the encoder's mean, where there is an encoder, and from the best of
        256 draws of the prior in each quadrant of the first two latents. None is 1.3. No weight is above 20 times
        the largest likelihood.
        """
        rows, batched = self._rows(x)
        factor = DEFAULT_WIDEN if widen is None else float(positive("widen", widen, (0,)))
        modes, scales, heights = vae_modes.search(self, rows)
        shares = vae_modes.shares(modes, scales, heights)
        prior = np.zeros((len(rows), 1, self.n_latents))
        means, spreads = np.append(modes, prior, axis=1), np.append(factor * scales, prior + 1, axis=1)
        return Mixture(*(rows_or_one(part, batched) for part in (shares, means, spreads)))

    # -- samples ------------------------------------------------------------------------------------------------------

    def sample(self, n: int, seed: int = 0, *, return_latents: bool = False) -> Any:
        """n rows drawn from the model: X (n, p), or (X, Z (n, d)) with return_latents."""
        rng = np.random.default_rng(seed)
        Z = rng.standard_normal((whole("n", n), self.n_latents))
        means, scales = self.halves(Z)
        if scales is None:
            X = (rng.random(means.shape) < scipy.special.expit(means)).astype(np.float64)
        else:
            X = means + scales * rng.standard_normal(means.shape)
        return (X, Z) if return_latents else X

    @classmethod
    def example(
        cls, seed: int = 0, *, n_latents: int = 2, n_hidden: int = 16, n_observed: int = 12
    ) -> tuple[VAE, Floats]:
        """A decoder of random weights, of any size, with tanh and Bernoulli pixels; and 5 rows drawn from it."""
        rng = np.random.default_rng(seed)
        sizes = whole("n_latents", n_latents), whole("n_hidden", n_hidden), whole("n_observed", n_observed)
        d, h, p = sizes
        weights = rng.normal(0, 1, (h, d)), rng.normal(0, 3 / math.sqrt(h), (p, h))
        model = cls(Network(weights, [rng.normal(0, 0.5, h), rng.normal(0, 0.5, p)], "tanh"))
        return model, model.sample(5, seed + 1)


def _likelihood(decoder: Network, likelihood: str, scale: Any) -> tuple[int, int, Floats | str | None]:
    """The kernel's code of a likelihood, p, and its scales, checked."""
    n = decoder.n_outputs
    if likelihood == "bernoulli":
        if scale is not None:
            raise InputError("a Bernoulli likelihood has no scale; leave it out")
        return BERNOULLI, n, None
    if likelihood != "gaussian":
        raise InputError(f'likelihood is {likelihood!r}; it is "bernoulli" or "gaussian"')
    if isinstance(scale, str):
        if scale not in ("log_variance", "softplus"):
            raise InputError(f'scale is {scale!r}; it is "log_variance", "softplus", or standard deviations (p,)')
        if n % 2:
            raise InputError(f"the decoder gives {n} numbers; with scale={scale!r} they are p means and p scales")
        return (LOG_VARIANCE if scale == "log_variance" else SOFTPLUS), n // 2, scale
    if scale is None:
        raise InputError('a Gaussian likelihood needs a scale: "log_variance", "softplus", or standard deviations (p,)')
    scales = positive("scale", scale, (0, 1))
    if scales.shape not in ((), (n,)):
        raise InputError(
            f"scale has shape {scales.shape}; the decoder gives {n} means, which need ({n},), or one number"
        )
    return FIXED, n, packed(np.broadcast_to(scales, n))
