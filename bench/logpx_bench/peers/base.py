"""What a peer is: another way to do what logpx does, at its best and as a user would first write it.

A `Case` says what is computed, on which numbers, and what the right answer is. A `Variant` is one way in which a peer
does it: layout, normal generator, eager or compiled, chunk size; by the library's own functions alone, or with parts
written by hand (`BY_HAND`). A `Peer` lists its variants of a case and builds one
of them; what it builds is a `Run`, whose call is all that is timed.

A peer's module imports its library inside its functions: a peer that is not installed can still be listed, as absent
and with the reason.
"""

import importlib.metadata
import importlib.util
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from logpx_bench.peers.cases import Case

#: Precisions of a case.
DTYPES = ("float64", "float32")

#: What a variant may hold that is not the library's but ours, by option and value. Every other option (layout,
#: generator, eager or compiled, width of vectors, threads, chunk) says how the library's functions are called. So does
#: Box–Muller from its uniforms, logarithm, sine and cosine; a mixture's squares, multiplied out for the sake of its
#: matrix product; and a running maximum and sum of exponentials, chunk by chunk or in lanes, in PyTorch, NumPy and JAX
#: alike. A loop in plain Numba is that library's own way, but `reduced` is ours there too.
BY_HAND: Mapping[str, tuple[str, ...]] = {
    # a QR decomposition beforehand: d² products a sample in place of p d; the factors 1 + e^{−|a|} of a Bernoulli
    # likelihood multiplied before one logarithm, in place of a softplus a pixel
    "form": ("reduced", "multiplied"),
    "normals": ("box-muller, words", "box-muller, own sine"),  # uniforms from raw bits, sine by a polynomial
    "products": ("unrolled",),  # a matrix product written out, number by number
    "target": ("avx2", "native"),  # a C program of intrinsics: there is no library
}


@dataclass(frozen=True)
class Variant:
    """One way of doing a case: its options, sorted by name, and whether a user would first write it so.

    Examples
    --------
    >>> one = Variant.of(layout="soa", chunk=2**14)
    >>> one["layout"], one.get("mode", "eager"), one.words()
    ('soa', 'eager', 'chunk 2^14, soa')
    >>> one.library, Variant.of(form="reduced").library
    (True, False)
    """

    options: tuple[tuple[str, Any], ...]
    as_written: bool = False

    @classmethod
    def of(cls, as_written: bool = False, **options: Any) -> "Variant":
        """A variant from its options (strings, integers or booleans, so that it can travel as JSON)."""
        return cls(tuple(sorted(options.items())), as_written)

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> "Variant":
        """The inverse of `to_dict`."""
        return cls.of(told["as_written"], **told["options"])

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {"options": dict(self.options), "as_written": self.as_written}

    @property
    def library(self) -> bool:
        """Whether it is made of the library's functions alone: no option of it is in `BY_HAND`."""
        return not any(value in BY_HAND.get(name, ()) for name, value in self.options)

    def __getitem__(self, name: str) -> Any:
        return dict(self.options)[name]

    def get(self, name: str, default: Any = None) -> Any:
        """An option, or `default` where the variant does not say."""
        return dict(self.options).get(name, default)

    def words(self) -> str:
        """In a few words: strings as they are, numbers after their name, true options by name."""
        return ", ".join(filter(None, map(_word, self.options))) or "as it is"


def _word(option: tuple[str, Any]) -> str:
    name, value = option
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return name if value else ""
    power = isinstance(value, int) and value > 64 and value & (value - 1) == 0
    return f"{name} 2^{value.bit_length() - 1}" if power else f"{name} {value}"


class Run(NamedTuple):
    """A variant ready to be timed.

    `call(seed)` does the whole case, and returns only when the result is there: for chains and log-sum-exp a float;
    otherwise an array or a tensor that NumPy can read, of the case's numbers or of a part of them (`Case.check` reads
    it, outside the clock). `n` is how many elements one call does: `Case.n`, or what whole chunks on all
    threads come to.
    """

    call: Callable[[int], Any]
    n: int


@dataclass(frozen=True)
class Peer:
    """A peer.

    Attributes
    ----------
    name, summary : str
    packages : tuple of str
        Distributions it needs, as the package index names them.
    variants : (case, dtype) -> list of Variant
        All the ways in which it does a case; empty where it does not do the case. One of them is `as_written`.
    build : (case, dtype, threads, variant) -> Run
        Everything that need not be timed: data in its layout, constants, compiled functions (a first call may compile).
    missing : () -> str or None
        A reason why it cannot run here, beside packages that are not installed.
    most_threads : int or None
        The most threads it can use; it takes no part in a race of more.
    """

    name: str
    summary: str
    packages: tuple[str, ...]
    variants: Callable[["Case", str], list[Variant]]
    build: Callable[["Case", str, int, Variant], Run]
    missing: Callable[[], str | None] = lambda: None
    most_threads: int | None = None

    def available(self) -> str | None:
        """None if it can run in this Python, else the reason."""
        for package in self.packages:
            try:
                importlib.metadata.version(package)
            except importlib.metadata.PackageNotFoundError:
                return f"{package} is not installed (`make peers` installs it)"
        return self.missing()

    def versions(self) -> dict[str, str]:
        """Versions of its packages."""
        return {package: importlib.metadata.version(package) for package in self.packages}


def in_threads(work: Callable[[int], Any], n_pieces: int, threads: int) -> Callable[[], Any]:
    """Calls `work(piece)` for every piece, in a pool where threads > 1; returns the results in order.

    For libraries that release the interpreter's lock but have no threads of their own.
    """
    if threads == 1:
        return lambda: [work(piece) for piece in range(n_pieces)]
    pool = ThreadPoolExecutor(threads)
    return lambda: list(pool.map(work, range(n_pieces)))
