r"""The cases of the race: what is computed, on which numbers, and what the right answer is.

==================== =============================================================================================
uniforms, normals    n numbers, delivered in buffers of any size
exp                  exp of 2^14 arguments between −50 and 5, again and again
logsumexp_cache      log Σ exp over 2^14 numbers, again and again
logsumexp_memory     log Σ exp over 2^26 numbers
log_joint_*          log p(x, z_i) of 2^12 latents z_i that are there already, for one x, again and again
chain_*              the whole: draw n latents from q(z given x), weigh them, log of the mean weight; x is row
                     seed mod rows
==================== =============================================================================================

Linear Gaussian cases: z ~ N(0, I_d), x ~ N(μ + W z, diag ψ), q = N(m(x), diag s²) mean-field, widened. The data hold
the model as it is (`W`, `mu`, `noise`) and reduced: with Ψ^{−½} W = Q R, the thin QR decomposition,

    log p(x, z) = c − ½|z|² − ½|Ψ^{−½}(x − μ − W z)|² = c(x) − ½|z|² − ½|t(x) − R z|²

(`R`, `T`, `reduced_constant`), for libraries that would rather pay d² than p d a sample. Mixture cases: log p(x, z) =
log evidence + log Σ π_k N(z; m_k, diag v_k) with z in R^64, the evidence N(x; 0, 1) of one number x, q Gaussian.
Autoencoder cases: a decoder 2 → 128 → 64 or 10 → 128 → 64 with tanh, binary pixels, see `autoencoder`.

Exact answers: log p(x) from SciPy's multivariate normal, or the evidence, or a lattice; its Monte Carlo standard error
√(χ²(p‖q)/n), χ² in closed form (`logpx.proposals.divergences`; for the mixture a double sum over components) or by the
same lattice. A time counts where the answer is within 5 standard errors, plus in float32 a floor for its rounding: 4e-6
max(1, |log p|) + 1e-5 nats.
"""

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from logpx.proposals import Gaussian, divergences
from logpx_bench.peers.autoencoder import autoencoder

Array = NDArray[np.float64]
Data = Mapping[str, Any]

#: Rows of x of a chain, and the largest deviation allowed, in standard errors.
ROWS, STANDARD_ERRORS = 8, 5.0
LOG_2PI = math.log(2 * math.pi)


class Verdict(NamedTuple):
    """How far a result is from the right answer: `error` of at most `allowed`; `value` is the number looked at."""

    value: float
    error: float
    allowed: float

    @property
    def right(self) -> bool:
        """Whether its time counts (nan does not)."""
        return self.error <= self.allowed


@dataclass(frozen=True, eq=False)
class Case:
    """One case.

    Attributes
    ----------
    name, summary : str
    kind : str
        "uniforms", "normals", "exp", "logsumexp", "log_joint" or "chain".
    model : str
        "linear", "mixture" or "vae" for log joints and chains, else "".
    n : int
        Elements (numbers or samples) that one run does.
    size : int
        Elements of one piece: runs of exp, logsumexp and log_joint do the same piece n / size times, by as many calls.
    make : () -> mapping
        Its data, arrays in float64.
    """

    name: str
    summary: str
    kind: str
    n: int
    size: int
    make: Callable[[], Data]
    model: str = ""

    @functools.cached_property
    def data(self) -> Data:
        """Arrays and numbers in float64, made on first use."""
        return self.make()

    @property
    def n_pieces(self) -> int:
        """How often a run does the piece."""
        return self.n // self.size

    def arrays(self, dtype: str) -> dict[str, Any]:
        """The data in a precision: arrays converted, numbers as they are."""
        return {k: v.astype(dtype, copy=False) if isinstance(v, np.ndarray) else v for k, v in self.data.items()}

    def forget(self) -> None:
        """Free the data, until they are asked for again."""
        self.__dict__.pop("data", None)

    def row(self, seed: int) -> int:
        """The row of x that a chain's run with this seed takes."""
        return seed % len(self.data["exact"])

    def check(self, result: Any, seed: int, n: int, dtype: str) -> Verdict:
        """Hold a run's result against the right answer; n is the run's number of elements."""
        with np.errstate(all="ignore"):
            found = np.asarray(result, dtype=np.float64)
            return CHECKS[self.kind](self, found, seed, n, dtype)


# -- data ---------------------------------------------------------------------------------------------------------


def linear_gaussian(p: int, d: int, equal_noise: bool, n_latents: int = 0) -> Data:
    """A model of p observed numbers and d latents, ROWS rows of data, the proposal, and `n_latents` latents from it."""
    rng = np.random.default_rng([20, p, d])
    W, mu = rng.normal(size=(p, d)) * 0.7, rng.normal(size=p)
    noise = np.full(p, 0.5) if equal_noise else rng.uniform(0.25, 1.0, size=p)
    X = mu + rng.normal(size=(ROWS, d)) @ W.T + np.sqrt(noise) * rng.normal(size=(ROWS, p))
    V, Y = W / np.sqrt(noise)[:, None], (X - mu) / np.sqrt(noise)
    precision = np.eye(d) + V.T @ V
    mean = np.linalg.solve(precision, V.T @ Y.T).T
    Q, R = np.linalg.qr(V)
    T = Y @ Q
    constant = -0.5 * (d + p) * LOG_2PI - 0.5 * np.log(noise).sum()
    reduced = constant - 0.5 * ((Y - T @ Q.T) ** 2).sum(axis=1)
    scale = widened(mean, precision)
    exact = stats.multivariate_normal(mu, W @ W.T + np.diag(noise)).logpdf(X)
    posterior = Gaussian.full(mean, np.linalg.cholesky(np.linalg.inv(precision)))
    spread = np.broadcast_to(divergences.chi2(posterior, Gaussian.diagonal(mean, scale)), ROWS)
    z = mean[0] + scale * rng.normal(size=(n_latents, d))
    arrays = {
        "W": W,
        "mu": mu,
        "noise": noise,
        "X": X,
        "R": R,
        "T": T,
        "proposal_mean": mean,
        "proposal_scale": scale,
        "z": z,
    }
    numbers = {"constant": float(constant), "log_q_constant": log_q_constant(scale)}
    return arrays | numbers | {"reduced_constant": reduced, "exact": np.asarray(exact), "chi2": np.array(spread)}


def widened(mean: Array, precision: Array) -> Array:
    """Mean-field standard deviations, 1.3 times, or as much more as makes χ² least on a grid."""
    base = 1 / np.sqrt(np.diagonal(precision))
    posterior = Gaussian.full(mean[0], np.linalg.cholesky(np.linalg.inv(precision)))
    factors = np.linspace(1.3, 4.0, 55)
    spread = [divergences.chi2(posterior, Gaussian.diagonal(mean[0], f * base)) for f in factors]
    return np.asarray(factors[int(np.argmin(spread))] * base)


def log_q_constant(scale: Array) -> float:
    """log q(z) + ½|ε|² of a Gaussian proposal with these standard deviations."""
    return float(-0.5 * len(scale) * LOG_2PI - np.log(scale).sum())


def mixture(d: int, n_components: int, n_latents: int = 0) -> Data:
    """A mixture target whose evidence is N(x; 0, 1) of one number x; its proposal; `n_latents` latents from that."""
    rng = np.random.default_rng([21, d, n_components])
    pi = rng.dirichlet(np.full(n_components, 3.0))
    m, v = 0.2 * rng.normal(size=(n_components, d)), rng.uniform(0.6, 1.0, size=(n_components, d))
    centre = pi @ m
    moment = pi @ (v + (m - centre) ** 2)
    factors = np.linspace(1.0, 2.0, 41)
    spreads = [mixture_chi2(pi, m, v, centre, f * moment) for f in factors]
    best = int(np.argmin(spreads))
    scale = np.sqrt(factors[best] * moment)
    x, z = np.array([[4.8]]), centre + scale * rng.normal(size=(n_latents, d))
    evidence = float(stats.norm.logpdf(x[0, 0]))
    arrays = {"log_pi": np.log(pi), "m": m, "v": v, "proposal_mean": centre[None], "proposal_scale": scale, "z": z}
    arrays["observation"] = x
    numbers = {"log_evidence": evidence, "log_q_constant": log_q_constant(scale)}
    return arrays | numbers | {"exact": np.array([evidence]), "chi2": np.array([spreads[best]])}


def mixture_chi2(pi: Array, m: Array, v: Array, centre: Array, variance: Array) -> float:
    """χ² of a Gaussian mixture against a diagonal Gaussian: Σ_kl π_k π_l ∫ N_k N_l / q − 1; inf where it diverges."""
    m1, m2, v1, v2 = m[:, None], m[None], v[:, None], v[None]
    a = 1 / v1 + 1 / v2 - 1 / variance
    if np.any(a <= 0):
        return math.inf
    b = m1 / v1 + m2 / v2 - centre / variance
    c = m1**2 / v1 + m2**2 / v2 - centre**2 / variance
    logs = 0.5 * (np.log(variance / (a * v1 * v2)) + b**2 / a - c).sum(axis=-1)
    return float(pi @ np.exp(logs) @ pi) - 1.0


def arguments(n: int) -> Data:
    """Arguments of exp."""
    return {"x": np.random.default_rng(22).uniform(-50.0, 5.0, size=n)}


def log_weights(n: int) -> Data:
    """Numbers to log-sum-exp, narrow as log weights are."""
    return {"x": np.random.default_rng(23).normal(-100.0, 3.0, size=n)}


CASES = {
    case.name: case
    for case in (
        Case("uniforms", "uniform numbers", "uniforms", 2**20, 2**20, dict),
        Case("normals", "standard normal numbers", "normals", 2**20, 2**20, dict),
        Case("exp", "exp of 2^14 numbers", "exp", 2**20, 2**14, lambda: arguments(2**14)),
        Case("logsumexp_cache", "log-sum-exp of 2^14 numbers", "logsumexp", 2**19, 2**14, lambda: log_weights(2**14)),
        Case("logsumexp_memory", "log-sum-exp of 2^26 numbers", "logsumexp", 2**26, 2**26, lambda: log_weights(2**26)),
        Case(
            "log_joint_ppca",
            "log joint, PPCA, 2 latents, 8 observed",
            "log_joint",
            2**18,
            2**12,
            lambda: linear_gaussian(8, 2, True, 2**12),
            "linear",
        ),
        Case(
            "log_joint_fa",
            "log joint, factor analysis, 16 latents, 64 observed",
            "log_joint",
            2**16,
            2**12,
            lambda: linear_gaussian(64, 16, False, 2**12),
            "linear",
        ),
        Case(
            "log_joint_mixture",
            "log joint, 10 Gaussians in R^64",
            "log_joint",
            2**15,
            2**12,
            lambda: mixture(64, 10, 2**12),
            "mixture",
        ),
        Case(
            "chain_ppca_2_8",
            "whole chain, PPCA, 2 latents, 8 observed",
            "chain",
            2**22,
            2**22,
            lambda: linear_gaussian(8, 2, True),
            "linear",
        ),
        Case(
            "chain_ppca_16_64",
            "whole chain, PPCA, 16 latents, 64 observed",
            "chain",
            2**19,
            2**19,
            lambda: linear_gaussian(64, 16, True),
            "linear",
        ),
        Case(
            "chain_mixture_64",
            "whole chain, 10 Gaussians in R^64",
            "chain",
            2**17,
            2**17,
            lambda: mixture(64, 10),
            "mixture",
        ),
        *(
            Case(
                f"chain_vae_{d}",
                f"whole chain, autoencoder, {d} latents, 128 hidden, 64 binary pixels",
                "chain",
                2**19,
                2**19,
                functools.partial(autoencoder, d, ROWS),
                "vae",
            )
            for d in (2, 10)
        ),
    )
}

# -- checks -------------------------------------------------------------------------------------------------------


def log_joint_exact(data: Data, z: Array) -> Array:
    """log p(x_0, z) of latents z (n, d) by SciPy, in float64."""
    if "W1" in data:
        logits = data["b2"] + np.tanh(data["b1"] + z @ data["W1"].T) @ data["W2"].T
        likelihood = stats.bernoulli.logpmf(data["X"][0], special.expit(logits)).sum(axis=1)
        return np.asarray(stats.norm.logpdf(z).sum(axis=1) + likelihood)
    if "log_pi" in data:
        parts = stats.norm.logpdf(z[:, None], data["m"], np.sqrt(data["v"])).sum(axis=-1) + data["log_pi"]
        return np.asarray(data["log_evidence"] + np.logaddexp.reduce(parts, axis=1))
    likelihood = stats.norm.logpdf(data["X"][0], data["mu"] + z @ data["W"].T, np.sqrt(data["noise"])).sum(axis=1)
    return np.asarray(stats.norm.logpdf(z).sum(axis=1) + likelihood)


@functools.lru_cache(maxsize=8)
def logsumexp_exact(case: Case, dtype: str) -> float:
    """In pieces of 2^20 by NumPy, the pieces summed exactly."""
    x = case.data["x"].astype(dtype, copy=False)
    high = float(x.max())
    pieces = np.split(x, max(1, x.size // 2**20))
    return high + math.log(math.fsum(float(np.exp(one.astype(np.float64) - high).sum()) for one in pieces))


def _check_moments(found: Array, exact: tuple[float, float], variance: tuple[float, float]) -> Verdict:
    """First and second moment; the error is that which is off by more, in standard errors."""
    moments = (found.mean(), (found**2).mean())
    offs = [abs(m - e) / math.sqrt(v / found.size) for m, e, v in zip(moments, exact, variance, strict=True)]
    worst = int(np.argmax(offs))
    return Verdict(float(moments[worst]), float(offs[worst]), STANDARD_ERRORS)


def _check_uniforms(case: Case, found: Array, seed: int, n: int, dtype: str) -> Verdict:
    if found.min() < 0 or found.max() > 1:
        return Verdict(float(found.min()), math.inf, STANDARD_ERRORS)
    return _check_moments(found, (1 / 2, 1 / 3), (1 / 12, 4 / 45))


def _check_normals(case: Case, found: Array, seed: int, n: int, dtype: str) -> Verdict:
    return _check_moments(found, (0.0, 1.0), (1.0, 2.0))


def _check_exp(case: Case, found: Array, seed: int, n: int, dtype: str) -> Verdict:
    exact = np.exp(case.data["x"].astype(dtype).astype(np.float64))
    error = np.abs(found.ravel() / exact - 1).max() if found.size == exact.size else math.inf
    return Verdict(float(found.ravel()[0]), float(error), 8 * float(np.finfo(dtype).eps))


def _check_logsumexp(case: Case, found: Array, seed: int, n: int, dtype: str) -> Verdict:
    exact = logsumexp_exact(case, dtype)
    allowed = {"float64": 1e-13, "float32": 1e-5}[dtype] * max(1.0, abs(exact))
    return Verdict(float(found), abs(float(found) - exact), allowed)


def _check_log_joint(case: Case, found: Array, seed: int, n: int, dtype: str) -> Verdict:
    some = np.arange(0, case.size, case.size // 64)
    exact = log_joint_exact(case.data, case.data["z"].astype(dtype).astype(np.float64)[some])
    off = np.abs(found.ravel()[some] - exact) / np.maximum(1, np.abs(exact)) if found.size == case.size else math.inf
    return Verdict(float(found.ravel()[0]), float(np.max(off)), {"float64": 1e-12, "float32": 2e-5}[dtype])


def _check_chain(case: Case, found: Array, seed: int, n: int, dtype: str) -> Verdict:
    row = case.row(seed)
    exact, chi2 = float(case.data["exact"][row]), float(case.data["chi2"][row])
    floor = {"float64": 1e-12, "float32": 4e-6}[dtype] * max(1.0, abs(exact)) + (1e-5 if dtype == "float32" else 0.0)
    return Verdict(float(found), abs(float(found) - exact), STANDARD_ERRORS * math.sqrt(chi2 / n) + floor)


CHECKS = {
    "uniforms": _check_uniforms,
    "normals": _check_normals,
    "exp": _check_exp,
    "logsumexp": _check_logsumexp,
    "log_joint": _check_log_joint,
    "chain": _check_chain,
}
