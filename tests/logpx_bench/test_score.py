"""`logpx score` and `logpx plan` from the shell: what is read, what is said, and bad files. Exact.

Where weights are drawn the seed is fixed; what is expected of them is computed from the numbers by hand.
"""

import json
import math
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from logpx import Ladder
from logpx_bench import cli, score

RNG = np.random.default_rng(7)
WEIGHTS = RNG.normal(-0.5, 1.0, 20_000)
ROWS = RNG.normal(-0.5, 0.7, (3, 4000))


@pytest.fixture
def invoke(tmp_path, monkeypatch):
    """Run the command in a folder with weights, on a wide terminal."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli, "console", cli.Console(width=10_000))
    np.save("w.npy", WEIGHTS)
    np.save("rows.npy", ROWS)

    def invoke(*arguments):
        return CliRunner().invoke(cli.app, [str(one) for one in arguments])

    return invoke


def facts(invoke, *arguments):
    result = invoke("score", *arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.output)


def test_one_stream_is_what_the_ladder_says(invoke):
    said, estimate = facts(invoke, "w.npy", "--exact", "0.01"), Ladder().update(WEIGHTS).estimate()
    assert said["log_marginal"] == estimate.log_marginal
    assert said["std_error"] == estimate.std_error
    assert said["interval_95"] == list(estimate.interval(0.95))
    assert (said["elbo"], said["ess"], said["pareto_k"]) == (estimate.elbo, estimate.ess, estimate.pareto_k)
    assert (said["n_samples"], said["rows"], said["n_neg_inf"], said["warnings"]) == (20_000, [], 0, [])
    assert said["error"] == estimate.log_marginal - 0.01
    assert said["z"] == pytest.approx((estimate.log_marginal - 0.01) / estimate.std_error)
    assert [one["k"] for one in said["bounds"]] == [1 << j for j in range(15)]
    assert said["bounds"][6] == {"k": 64, **estimate.bound(64)._asdict()}
    assert said["bounds"][-1]["std_error"] is None


def test_the_same_in_words(invoke):
    text = invoke("score", "w.npy", "--exact", "0").output
    estimate = Ladder().update(WEIGHTS).estimate()
    assert text.startswith("20000 log weights\n")
    assert f"log p̂      {estimate.log_marginal:.4f} ± {estimate.std_error:.2g} nats" in text
    assert f"exactly    0.0000: error {estimate.log_marginal:+.2g}, z = " in text
    assert f"Pareto k̂   {estimate.pareto_k:.2f}" in text
    assert text.count("\n") == 7 + 2 + 15


def test_rows_each_have_a_line_and_a_total(invoke, tmp_path):
    (tmp_path / "exact.txt").write_text("0.0\n0.1\n-0.1\n")
    said = facts(invoke, "rows.npy", "--exact", "exact.txt")
    estimate = Ladder((3,)).update(ROWS).estimate()
    assert said["log_marginal"] == estimate.log_marginal.tolist()
    assert said["error"] == (estimate.log_marginal - [0.0, 0.1, -0.1]).tolist()
    assert (said["total"], said["total_std_error"]) == (estimate.total, estimate.total_std_error)
    np.save("turned.npy", ROWS.T)
    assert facts(invoke, "turned.npy", "--axis", "0", "--exact", "exact.txt") == said
    text = invoke("score", "rows.npy").output.splitlines()
    assert text[0] == "3 rows of 4000 log weights"
    assert len(text) == 2 + 3 + 1
    assert text[-1].startswith("total  ")


def test_files_follow_each_other_and_any_precision_will_do(invoke):
    np.save("single.npy", WEIGHTS.astype("f4"))
    np.save("a.npy", WEIGHTS[:7001].astype("f4"))
    np.save("b.npy", WEIGHTS[7001:].astype(">f4"))
    whole = facts(invoke, "single.npy")
    assert facts(invoke, "a.npy", "b.npy") == whole
    np.savetxt("c.csv", WEIGHTS[:7001], header="log weights")
    np.savetxt("d.txt", WEIGHTS[7001:])
    assert facts(invoke, "c.csv", "d.txt") == facts(invoke, "w.npy")


@pytest.mark.parametrize("piece", [700, 1 << 20])
def test_groups_of_any_size_across_pieces(invoke, monkeypatch, piece):
    monkeypatch.setattr(score, "PIECE", piece)
    said = facts(invoke, "w.npy", "--groups", "50", "--groups", "3000")
    for size in (50, 3000):
        means = np.log(np.exp(WEIGHTS[: 20_000 // size * size]).reshape(-1, size).mean(axis=1))
        found = next(one for one in said["bounds"] if one["k"] == size)
        assert found["value"] == pytest.approx(means.mean(), abs=1e-13)
        assert found["n_groups"] == len(means)
        error = means.std(ddof=1) / math.sqrt(len(means)) if len(means) >= 32 else None
        assert found["std_error"] == (None if error is None else pytest.approx(error, rel=1e-9))
    assert said["log_marginal"] == facts(invoke, "w.npy")["log_marginal"]


def test_zero_weights_are_counted_and_json_stays_json(invoke):
    np.save("zeros.npy", np.where(np.arange(3000) % 3, -np.inf, 0.0))
    np.save("none.npy", np.full(2000, -np.inf))
    said = facts(invoke, "zeros.npy", "--groups", "3", "--groups", "5")
    assert said["n_neg_inf"] == 2000
    assert said["elbo"] == "-inf"
    found = {one["k"]: one["value"] for one in said["bounds"]}
    assert found[3] == pytest.approx(-math.log(3))
    assert found[5] == pytest.approx(np.mean(np.log([2 / 5, 2 / 5, 1 / 5])), abs=1e-12)
    assert any("−inf" in warning for warning in said["warnings"])
    assert "warning: " in invoke("score", "zeros.npy").output
    assert facts(invoke, "none.npy")["log_marginal"] == "-inf"
    assert "log p̂      -inf ± nan" in invoke("score", "none.npy").output


@pytest.fixture
def bad(tmp_path):
    """A file of each kind that cannot be read."""
    np.savez(tmp_path / "w.npz", a=WEIGHTS)
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    np.save(tmp_path / "complex.npy", WEIGHTS + 0j)
    np.save(tmp_path / "half.npy", WEIGHTS.astype("f2"))
    np.save(tmp_path / "cube.npy", np.zeros((2, 3, 4)))
    np.save(tmp_path / "nothing.npy", np.zeros(0))
    np.save(tmp_path / "no_rows.npy", np.zeros((0, 5)))
    np.save(tmp_path / "nan.npy", np.where(np.arange(3000) == 1234, np.nan, 0.0))
    (tmp_path / "cut.npy").write_bytes((tmp_path / "nan.npy").read_bytes()[:5000])
    (tmp_path / "header.npy").write_bytes((tmp_path / "nan.npy").read_bytes()[:30])
    (tmp_path / "empty.npy").write_bytes(b"")
    (tmp_path / "words.csv").write_text("# log weights\n-0.5\n\nhello\n")
    (tmp_path / "folder.npy").mkdir()
    (tmp_path / "archive.npy").write_bytes((tmp_path / "w.npz").read_bytes())
    (tmp_path / "utf16.txt").write_text("-0.5\n", encoding="utf-16")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("absent.npy",), "absent.npy: No such file"),
        (("folder.npy",), "folder.npy: Is a directory"),
        (("w.npz",), r"w.npz: log weights are read from .npy.*numpy.load\(file\)\[name\]"),
        (("objects.npy",), "objects.npy: not a .npy file of numbers"),
        (("archive.npy",), r"archive.npy: not a .npy file but an archive.*numpy.load\(file\)\[name\]"),
        (("utf16.txt",), "utf16.txt: not text in UTF-8"),
        (("complex.npy",), "complex.npy: an array of shape .* and dtype complex128"),
        (("half.npy",), "half.npy: log weights in float16 carry three digits"),
        (("cube.npy",), r"cube.npy: an array of shape \(2, 3, 4\)"),
        (("nothing.npy",), "nothing.npy: there are no log weights in it"),
        (("no_rows.npy",), r"no_rows.npy: shape\[0\]=0"),
        (("cut.npy",), "cut.npy: not a .npy file of numbers"),
        (("header.npy",), "header.npy: not a .npy file of numbers"),
        (("empty.npy",), "empty.npy: not a .npy file of numbers"),
        (("nan.npy",), "nan.npy: the log weight of index 1234 .* is nan"),
        (("w.npy", "nan.npy"), "nan.npy: the log weight of index 21234 .* is nan"),
        (("words.csv",), "words.csv, line 4: 'hello' is not a number"),
        (("w.npy", "rows.npy"), r"rows.npy: log weights have shape"),
        (("w.npy", "--axis", "1"), "--axis 1: w.npy has axes 0 to 0"),
        (("w.npy", "--groups", "30000"), "--groups 30000: there are fewer"),
        (("rows.npy", "--exact", "w.npy"), "--exact w.npy: it holds 20000 numbers, and the weights have 3 rows"),
        (("w.npy", "--exact", "zero"), "zero: log weights are read from"),
    ],
    ids=" ".join,
)
def test_a_bad_file_is_one_message_and_exit_code_2(invoke, bad, arguments, said):
    result = invoke("score", *arguments)
    assert result.exit_code == 2
    assert re.search(said, result.output), result.output
    assert "Traceback" not in result.output


def test_a_byte_order_mark_is_no_number(invoke):
    for encoding in ("utf-8", "utf-8-sig"):
        Path(f"{encoding}.txt").write_text("-0.5\n-1.5\n", encoding=encoding)
    assert facts(invoke, "utf-8-sig.txt") == facts(invoke, "utf-8.txt")


MEMORY = """
import sys
from pathlib import Path
from logpx import Ladder
from logpx_bench import score
from logpx_bench.ledger import peak_bytes

score.score([Path(sys.argv[1])])
before = peak_bytes()
score.PIECE = 1 << 16
found = score.score([Path(sys.argv[2])])
print(found.estimate.n_samples, peak_bytes() - before)
"""


def test_a_file_is_read_a_piece_at_a_time(tmp_path):
    """64 MiB of zeros, which take no room on the disk: memory grows by less than a tenth of it."""
    small, large = tmp_path / "small.npy", tmp_path / "large.npy"
    np.save(small, np.zeros(1 << 21))
    np.lib.format.open_memmap(large, "w+", np.float64, (1 << 23,)).flush()
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, small, large], capture_output=True, text=True, check=True
    ).stdout.split()
    assert done[0] == str(1 << 23)
    assert int(done[1]) < (8 << 23) // 10


# -- plan -------------------------------------------------------------------------------------------------------------


def test_a_plan_from_the_shell(invoke):
    result = invoke("plan", "ppca", "--target", "1e-3", "--row", "1", "--pilot", "2^12", "--threads", "1")
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert lines[0] == "standard error 0.001 nats"
    assert [line.split()[0] for line in lines[1:]] == ["k", "time", "machine-hours", "core-hours", "speed", "pilot"]
    assert "on 1 thread" in lines[2]
    assert "4096 samples a row" in lines[6]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("ppc", "--target", "1e-3"), 'Did you mean "ppca"'),
        (("ppca", "--target", "0"), "target_std_error=0.0: a number above 0"),
        (("ppca", "--target", "1e-3", "--row", "99"), "--row 99: x has rows 0 to "),
        (("ppca", "--target", "1e-3", "--pilot", "many"), "'many' is not a number of samples"),
        (("mine.py", "--target", "1e-3"), "mine.py: there is no such file"),
    ],
    ids=str,
)
def test_a_plan_that_cannot_be_made_is_one_message_and_exit_code_2(invoke, arguments, said):
    result = invoke("plan", *arguments)
    assert result.exit_code == 2
    assert said in result.output
