"""Log weights from elsewhere: what a ladder takes from any framework, with which bits, and what it refuses. Exact.

PyTorch and JAX are stood in for by what they hand over: arrays behind __array__ or DLPack, that record gradients, that
lie on another device, that cannot be written. The real ones run in tests/logpx_bench/test_examples.py.
"""

import array

import numpy as np
import pytest

import logpx
from logpx.errors import InputError, LadderError
from logpx.ladder import Ladder

WEIGHTS = np.random.default_rng(0).normal(-3.0, 2.0, 5000)
SINGLE = WEIGHTS.astype(np.float32)


class Recording:
    """As a tensor that records gradients: it is read after detach() only."""

    def __init__(self, values):
        self.values = values

    def detach(self):
        return Array(self.values)

    def __array__(self, dtype=None, copy=None):
        raise RuntimeError("Can't call numpy() on Tensor that requires grad.")


class Array:
    """Something with __array__."""

    def __init__(self, values):
        self.values = values

    def __array__(self, dtype=None, copy=None):
        return self.values


class Capsule:
    """Something that speaks DLPack and nothing else."""

    def __init__(self, values):
        self.values = values

    def __dlpack__(self, **how):
        return self.values.__dlpack__()

    def __dlpack_device__(self):
        return self.values.__dlpack_device__()


def read_only(values):
    values = values.copy()
    values.flags.writeable = False
    return values


def mapped(values, tmp_path):
    np.save(tmp_path / "weights.npy", values)
    return np.load(tmp_path / "weights.npy", mmap_mode="r")


GIVEN = {
    "list": lambda values, _: values.tolist(),
    "tuple": lambda values, _: tuple(values.tolist()),
    "array.array": lambda values, _: array.array("d", values),
    "memoryview": lambda values, _: memoryview(values),
    "read-only": lambda values, _: read_only(values),
    "memory-mapped": mapped,
    "strided": lambda values, _: np.repeat(values, 2)[::2],
    "backwards in memory": lambda values, _: values[::-1].copy()[::-1],
    "big-endian": lambda values, _: values.astype(values.dtype.newbyteorder(">")),
    "long double": lambda values, _: values.astype(np.longdouble),
    "__array__": lambda values, _: Array(values),
    "DLPack": lambda values, _: Capsule(values),
    "recording": lambda values, _: Recording(values),
}


@pytest.mark.parametrize("kind", GIVEN)
@pytest.mark.parametrize("values", [WEIGHTS, SINGLE], ids=["float64", "float32"])
def test_whatever_holds_the_weights_the_bits_are_the_same(kind, values, tmp_path):
    whole = Ladder().update(values.astype(np.float64))
    given = GIVEN[kind](values, tmp_path)
    assert Ladder().update(given) == whole
    if kind not in ("__array__", "DLPack", "recording"):
        in_pieces = Ladder().update(given[3000:], start=3000).update(given[:3000])
        assert in_pieces == whole


def test_integers_are_exact():
    assert Ladder().update(np.arange(-3000, 0)) == Ladder().update(np.arange(-3000.0, 0.0))
    assert Ladder().update(range(-5, 0)).n_samples == 5


def test_an_array_is_not_changed_and_not_kept():
    given = WEIGHTS.copy()
    ladder = Ladder().update(given)
    np.testing.assert_array_equal(given, WEIGHTS)
    given[:] = 0.0
    assert ladder == Ladder().update(WEIGHTS)


def test_appended_weights_are_the_stream_in_the_order_of_arrival():
    ladder = Ladder()
    for piece in np.split(SINGLE, [1, 700, 3000]):
        ladder.concat(Array(piece))
    assert ladder == Ladder().update(SINGLE)


def test_a_long_read_only_array_is_copied_a_piece_at_a_time():
    """Of 2^22 weights only pieces of 2^20 are copied, in aligned places: the bits are those of the array itself."""
    long = np.random.default_rng(1).normal(size=(1 << 22) + 5000)
    assert Ladder().update(read_only(long), start=1024) == Ladder().update(long, start=1024)


def test_sums_of_exponentials_take_the_same_arrays():
    for make in (read_only, Array, Recording, Capsule):
        assert logpx.logsumexp(make(WEIGHTS)) == logpx.logsumexp(WEIGHTS)


# -- refusals -----------------------------------------------------------------------------------------------------


class OnDevice:
    """As a tensor on a GPU."""

    def detach(self):
        return self

    def __array__(self, dtype=None, copy=None):
        raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu()\nand more")


class Rude:
    def __getattr__(self, name):
        raise KeyError(name)


REFUSED = {
    "on a device": (
        OnDevice(),
        r"OnDevice that cannot be read as an array \(can't convert cuda:0 .* Use Tensor.cpu\(\)\)",
    ),
    "float16": (WEIGHTS.astype(np.float16), "float16 carry three digits.*compute them in float32"),
    "complex": (WEIGHTS + 0j, "not of dtype complex128"),
    "truth values": (WEIGHTS > 0, "not of dtype bool"),
    "text": (["a", "b"], "not of dtype <U1"),
    "objects": ([None, 1.0], "not of dtype object"),
    "dates": (np.array(["2020-01-01"], dtype="M8[D]"), "not of dtype datetime64"),
    "ragged": ([[1.0], [1.0, 2.0]], "list that cannot be read as an array"),
    "masked": (np.ma.masked_greater(WEIGHTS, 0.0), "masked entries; fill them"),
    "rude": (Rude(), "Rude that cannot be read"),
    "a number": (1.0, "have shape ()"),
    "two axes": (WEIGHTS.reshape(2, -1), "have shape"),
    "none": (None, "not of dtype object"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_no_stream_of_real_numbers_is_refused(kind):
    given, said = REFUSED[kind]
    ladder = Ladder().update([1.0, 2.0])
    before = ladder.to_bytes()
    for ask in (lambda: ladder.update(given, start=2), lambda: ladder.concat(given)):
        with pytest.raises(InputError, match=said):
            ask()
    assert ladder.to_bytes() == before


def test_an_array_without_masked_entries_may_be_masked():
    assert Ladder().update(np.ma.array(WEIGHTS)) == Ladder().update(WEIGHTS)


def test_ladders_of_other_shapes_are_not_appended():
    with pytest.raises(LadderError, match="do not concatenate"):
        Ladder().concat(Ladder((2,)).update(np.zeros((2, 3))))
