"""What a check of a user's model is, what it finds, and what all checks look at: the model, some rows, some latents.

A check passes, fails, or is skipped with a reason; one that fails says what to do. Latents are drawn by the proposal's
own kernel from NumPy's noise, so that a log joint that is broken is first called where a check expects it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from logpx import _jit
from logpx.prepare import pack_proposal
from logpx.proposals import Prior
from logpx_bench.model_file import Given

Floats = NDArray[np.float64]

PASS, FAIL, SKIP = "pass", "fail", "skip"
#: Rows of x that checks look at, and the false-alarm rate of every statistical one.
ROWS, RATE = 4, 1e-6


#: What makes noise far out: a factor for normal numbers, a power for uniform ones that puts most near 0 or 1.
FAR_NORMAL, FAR_UNIFORM = 4.0, 16


class Finding(NamedTuple):
    """What a check found: its verdict, what was seen, and what to do about a failure."""

    verdict: str
    said: str
    todo: str = ""


@dataclass(frozen=True)
class Check:
    """A check: its name, one line on it, and how it is made. Where one that is `vital` fails, the others are skipped:
    there is nothing to run, or it writes where it must not and could take them down with it. One that `estimates` is
    skipped where a value was not finite: every estimate ends with that, and would say the same again."""

    name: str
    summary: str
    run: Callable[[Subject], Finding]
    vital: bool = False
    estimates: bool = False


@dataclass(frozen=True)
class Subject:
    """What is examined: MODEL as on the command line, and what that means."""

    text: str
    given: Given

    @property
    def model(self) -> Any:
        return self.given.model

    @cached_property
    def rows(self) -> Floats:
        """The first few rows of x, (n, p)."""
        return np.ascontiguousarray(np.atleast_2d(np.asarray(self.given.x, dtype=np.float64))[:ROWS])

    @property
    def own(self) -> Any:
        """The proposal that an estimate of the file would use: the file's, the model's own (None), or its prior."""
        return self.given.proposal

    def proposals(self) -> Iterator[tuple[str, Any]]:
        """What latents can be drawn from, with a name for it."""
        if self.own is not None or getattr(self.model, "default_proposal", None) is not None:
            yield "the proposal", self.own
        if getattr(self.model, "prior", None) is not None:
            yield "the prior", Prior()

    @cached_property
    def compile_seconds(self) -> float:
        """Compile the log joint; seconds, the first time."""
        return _jit.compile_kernel(self.model.log_joint)

    def draw(self, proposal: Any, x: Floats, n: int, seed: int = 0, *, far: bool = False) -> Floats:
        """Latents (d, n) of a proposal at one row x; `far` ones lie where only one in millions does."""
        packed = pack_proposal(self.model, x, proposal)
        _jit.compile_kernel(packed.kernel)
        noise = np.random.default_rng(seed)
        shape = packed.n_base, n
        if packed.base == "normal":
            eps = (FAR_NORMAL if far else 1.0) * noise.standard_normal(shape)
        else:
            eps = noise.random(shape) ** (FAR_UNIFORM if far else 1)
            eps = 2.0**-54 + (1 - 2.0**-53) * np.where(far & (noise.random(shape) < 0.5), 1 - eps, eps)
        z, log_q = np.full((self.model.n_latents, n), np.nan), np.full(n, np.nan)
        packed.kernel(np.array(packed.lams[0]), np.array(packed.dims, dtype=np.int64), eps, z, log_q)
        return z

    def log_joint(self, x: Floats, z: Floats, fill: float = np.nan) -> Floats:
        """The kernel's log p(x, z[:, i]), (n,), a block at a time as the engine calls it; `fill` is in out before."""
        out = np.full(z.shape[1], fill)
        arguments = np.array(self.model.theta), self.sizes, x.copy()
        assert self.compile_seconds >= 0
        for at in range(0, z.shape[1], _jit.BLOCK):
            own = out[at : at + _jit.BLOCK]
            self.model.log_joint(*arguments, np.ascontiguousarray(z[:, at : at + _jit.BLOCK]), own)
        return out

    @property
    def sizes(self) -> NDArray[np.int64]:
        """dims, as the kernel takes them."""
        return np.array(getattr(self.model, "dims", ()), dtype=np.int64)


def apart(a: Floats, b: Floats) -> Floats:
    """|a − b| over max(1, |a|); zero where both are nan or the same infinity, infinite where one alone is."""
    with np.errstate(invalid="ignore"):
        difference = np.abs(a - b) / np.maximum(1.0, np.abs(a))
    return np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0.0, np.where(np.isfinite(difference), difference, np.inf))


def at(z: Floats) -> str:
    """A latent in words."""
    return f"z = {np.array2string(z, precision=6, threshold=12)}"
