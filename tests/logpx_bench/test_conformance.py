"""`logpx check`: every check passes a model that is right, and finds the bug that it is for.

Exact, but for the mean weight, which states a false-alarm rate of 1e-6 and runs on fixed seeds; what it must find here
is ten times what it says it would find. Whether p(x) sums to 1 is in `test_conformance_normalisation`.
"""

import math
import runpy
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from typer.testing import CliRunner

import logpx
from logpx_bench import cli, conformance
from logpx_bench.conformance import FAIL, PASS, SKIP, fresh, speed
from logpx_bench.errors import InputError

examined = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("examined.py"))))
CHECKS, subject, found, failed = examined.CHECKS, examined.subject, examined.found, examined.failed
exact, normal, shifted = examined.exact, examined.normal, examined.shifted


# -- a model that is right ----------------------------------------------------------------------------------------


APART = ("indices", "python", "speed")


@pytest.mark.parametrize("name", [name for name in CHECKS if name not in APART])
def test_a_model_that_is_right_passes(name):
    made = subject(log_marginal=exact, scalar=normal)
    assert found(name, made).verdict == PASS


def test_what_is_not_there_to_be_checked_is_skipped_with_a_reason():
    made = subject(x=[[1.0, 2.0, 3.5]], n_observed=3)
    for name, why in (("scalar", "one form alone"), ("mean weight", "no log_marginal"), ("normalisation", "3 real")):
        verdict, said, _ = found(name, made)
        assert verdict == SKIP
        assert why in said
    assert "x_states" in found("normalisation", subject(x=[[2.0]])).said


# -- planted bugs, in this process --------------------------------------------------------------------------------


def test_values_that_are_not_finite_are_found_with_their_z():
    @logpx.log_joint
    def bad(theta, dims, x, z, out):
        for i in range(z.shape[1]):
            out[i] = math.log(z[0, i] + 3.0)

    assert "z = [-3." in failed("finite", subject(bad), "log p(x, z) is nan at ")


def test_zero_density_is_no_failure():
    @logpx.log_joint
    def half(theta, dims, x, z, out):
        for i in range(z.shape[1]):
            out[i] = -z[0, i] if z[0, i] > 0 else -math.inf

    verdict, said, _ = found("finite", subject(half))
    assert verdict == PASS
    assert "are −inf" in said


def test_an_out_that_is_read_before_it_is_written_is_found():
    @logpx.log_joint
    def adds(theta, dims, x, z, out):
        for i in range(z.shape[1]):
            out[i] += -0.5 * z[0, i] ** 2

    @logpx.log_joint
    def forgets(theta, dims, x, z, out):
        for i in range(1, z.shape[1]):
            out[i] = -0.5 * z[0, i] ** 2

    failed("shapes", subject(adds), "out[0] depends on what was in out before (300 of 300")
    failed("shapes", subject(forgets), "out[0] depends on what was in out before (1 of 300")


def test_a_log_marginal_of_the_wrong_shape_is_found():
    failed("shapes", subject(log_marginal=lambda x: np.zeros((len(x), 1))), "has shape (1, 1)")
    failed("shapes", subject(log_marginal=lambda x: 0.0), "it must be (2,)")


def test_a_kernel_that_does_not_compile_is_found_and_says_what_the_compiler_says():
    @logpx.per_sample
    def misnamed(theta, dims, x, z):
        return theta.weight * z[0]

    made = subject(misnamed, theta={"weights": 1.0})
    first, *rest = conformance.examine(made)
    assert (first[0].name, first[1].verdict) == ("compiles", FAIL)
    assert "theta has no entry weight; it has weights; did you mean theta.weights?" in first[1].said
    assert "Unknown attribute 'weight'" in first[1].said
    assert "\n" not in first[1].said
    assert "one of the dict's" in first[1].todo
    assert all(one.verdict == SKIP and "'compiles'" in one.said for _, one in rest)


def test_what_a_function_of_the_users_raises_is_a_failure(monkeypatch):
    monkeypatch.setattr(conformance, "CHECKS", (CHECKS["shapes"],))
    ((_, said),) = conformance.examine(subject(log_marginal=lambda x: 1 / 0))
    assert said[:2] == (FAIL, "log_marginal, called with x of shape (1,), raised ZeroDivisionError: division by zero")
    assert "takes one row x (p,)" in said.todo
    ((_, said),) = conformance.examine(subject(proposal=lambda x: 1 / 0))
    assert said[:2] == (FAIL, "ZeroDivisionError: division by zero")


def test_state_that_is_carried_from_call_to_call_is_found():
    @logpx.log_joint
    def keeps(theta, dims, x, z, out):
        for i in range(z.shape[1]):
            out[i] = -0.5 * (z[0, i] - x[0]) ** 2
        x[0] += 1e-3

    failed("side effects", subject(keeps), "writes to x")
    failed("replay", subject(keeps), "in one replay and")


def test_randomness_of_ones_own_is_found():
    shift = np.random.default_rng()
    made = subject(proposal=lambda x: logpx.proposals.Gaussian([shift.random()], [1.0]))
    for name, said in (("seeds", "same seed differ"), ("threads", "different bits")):
        failed(name, made, said)


def test_a_block_that_differs_from_the_scalar_form_is_found():
    failed("scalar", subject(scalar=lambda theta, dims, x, z: normal(theta, dims, x, z) + 1e-8), "gives")


def test_named_parameters_reach_the_scalar_form():
    @logpx.per_sample
    def named(theta, dims, x, z):
        return -0.5 * (z[0] - theta.shift[1]) ** 2 + theta.level

    made = subject(named, theta={"shift": [0.0, 2.0], "level": 0.5})
    assert found("scalar", made).verdict == PASS


@pytest.mark.parametrize("error", [0.5 * math.log(2), -0.05], ids=["a constant left out", "five per cent"])
def test_a_wrong_normalising_constant_is_found_against_the_exact_marginal(error):
    right, off = (subject(shifted, log_marginal=exact, theta=[value]) for value in (0.0, error))
    assert found("mean weight", right).verdict == PASS
    words = failed("mean weight", off, "standard errors apart")
    difference, std_error = (float(one) for one in words.partition(" nats, ")[0].rpartition(": ")[2].split(" ± "))
    assert abs(difference - error) < 5 * std_error < 0.01


def test_what_a_nan_would_make_fail_again_is_skipped(monkeypatch):
    @logpx.log_joint
    def bad(theta, dims, x, z, out):
        for i in range(z.shape[1]):
            out[i] = math.log(z[0, i] + theta[0])

    names = ("finite", "scalar", "replay", "seeds", "normalisation")
    monkeypatch.setattr(conformance, "CHECKS", tuple(CHECKS[name] for name in names))
    scalar = lambda theta, dims, x, z: float(np.log(z[0] + theta[0]))  # noqa: E731

    def verdicts(shift):
        made = subject(bad, theta=[shift], scalar=scalar)
        return [(one.verdict, one.said.partition("see to ")[2]) for _, one in conformance.examine(made)]

    skipped = (SKIP, "'finite'")
    assert verdicts(2.0) == [(FAIL, ""), (PASS, ""), skipped, skipped, skipped]
    monkeypatch.setattr(conformance.values, "DRAWS", 16)  # none of them is nan: a replay of 8192 meets one
    first, *rest = verdicts(3.0)
    assert first == (PASS, "")
    assert rest == [(PASS, ""), (FAIL, ""), (SKIP, "'replay'"), (SKIP, "'replay'")]


# -- in a process of its own, and the command ---------------------------------------------------------------------

FILE = """
import math
import logpx

{body}

prior = logpx.proposals.Gaussian([0.0], [1.0])
model = logpx.Model(log_joint, [1.0], 1, n_observed=2, prior=prior)
x = [0.5, 1.0]
"""
GOOD = """
@logpx.log_joint
def log_joint(theta, dims, x, z, out):
    for i in range(z.shape[1]):
        out[i] = theta[0] - 0.5 * z[0, i] * z[0, i] - 0.5 * (x[0] - z[0, i]) * (x[0] - z[0, i]) + x[1] * z[0, i]
"""
WRITES_PAST = GOOD + "    out[z.shape[1]] = 0.0\n"
WRAPS = """
@logpx.per_sample
def log_joint(theta, dims, x, z):
    n = 1
    for _ in range(70):
        n *= 2
    return -0.5 * z[0] * z[0] + math.log(1.0 + n)
"""


@pytest.fixture
def file(tmp_path, monkeypatch):
    """Write a user's file and give its path; what it puts on the path and among the modules goes again."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)

    def write(body):
        (tmp_path / "conformance_mine.py").write_text(FILE.format(body=body))
        return "conformance_mine.py"

    yield write
    sys.modules.pop("conformance_mine", None)


def test_an_index_past_an_end_is_found_and_the_rest_is_left(file):
    made = conformance.subject(file(WRITES_PAST))
    _, second, *rest = conformance.examine(made)
    assert (second[0].name, second[1].verdict) == ("indices", FAIL)
    said = "out[512]: index 512 is out of bounds for axis 0 with size 512 (conformance_mine.py, line 10)"
    assert second[1].said == said
    assert all(one.verdict == SKIP and "'indices'" in one.said for _, one in rest)


RARE = """
@logpx.per_sample
def log_joint(theta, dims, x, z):
    return theta.level * x[0 if abs(z[0]) < 4.5 else 2]
"""


def test_an_index_that_only_a_far_z_takes_past_an_end_is_found_by_name(file, tmp_path):
    """Of the 256 draws of the prior itself one lies beyond 4.5 with probability 0.0017."""
    (tmp_path / file(RARE)).write_text(FILE.format(body=RARE).replace("[1.0], 1,", "{'level': 1.0}, 1,"))
    made = conformance.subject("conformance_mine.py")
    failed("indices", made, "x[2]: index 2 is out of bounds for axis 0 with size 2 (conformance_mine.py, line 8)")


def test_python_that_differs_from_compiled_code_is_found(file):
    made = conformance.subject(file(WRAPS))
    failed("python", made, "plain Python gives 45.8174185877 and compiled code -2.70288405151")


def test_what_takes_the_process_down_is_a_finding(file, monkeypatch):
    made = conformance.subject(file(GOOD))
    monkeypatch.setitem(fresh.ENVIRONMENTS, "checked", {"PYTHONHOME": "nowhere"})
    failed("indices", made, "ended with status")


ENDLESS = """
@logpx.per_sample
def log_joint(theta, dims, x, z):
    total = theta[0]
    while total > 0.0:
        total = 0.5 * (total + 1.0)
    return total
"""


def test_a_kernel_that_never_ends_is_stopped_and_said(file, monkeypatch):
    monkeypatch.setattr(fresh, "LIMIT", 10.0)
    _, second, *rest = conformance.examine(conformance.subject(file(ENDLESS)))
    assert (second[0].name, second[1].verdict) == ("indices", FAIL)
    assert "with bounds checks on 512 samples in a process of its own, had not ended after 10 s" in second[1].said
    assert "Look for a loop that never ends" in second[1].said
    assert second[1].todo == "Do what the error says"
    assert all(one.verdict == SKIP and "'indices'" in one.said for _, one in rest)


@pytest.mark.parametrize(
    ("name", "said"), [("python", "not compared: the kernel"), ("speed", "not measured: the kernel")]
)
def test_a_process_that_is_only_slow_is_no_failure(name, said, file, monkeypatch):
    monkeypatch.setattr(fresh, "LIMIT", 0.1)
    verdict, words, _ = found(name, conformance.subject(file(GOOD)))
    assert verdict == SKIP
    assert words.startswith(said)
    assert "had not ended after 0.1 s" in words


def test_a_packed_kernel_is_called_packed(file):
    verdict, said, _ = found("speed", conformance.subject(file(GOOD)))
    assert verdict == PASS
    assert "ns a sample, compiled in" in said
    assert not fresh.assembly.supported() or "100 % of the arithmetic is packed" in said


def test_the_command_says_a_line_a_check_and_ends_with_its_code(file, monkeypatch):
    monkeypatch.setattr(conformance, "CHECKS", (CHECKS["shapes"], CHECKS["scalar"]))
    good = CliRunner().invoke(cli.app, ["check", file(GOOD)])
    assert good.exit_code == 0, good.output
    first, second, last = good.output.splitlines()
    assert first.startswith("pass  shapes")
    assert second.startswith("skip  scalar")
    assert last == "1 passed, 0 failed, 1 skipped"
    assert CliRunner().invoke(cli.app, ["check", "nowhere.py"]).exit_code == 2


IN_PROCESS = ("shapes", "side effects", "finite", "scalar", "normalisation")


@pytest.mark.parametrize("name", logpx.models.REGISTRY)
def test_no_model_of_ours_fails(name):
    """The checks that are quick; `logpx check NAME` makes all of them. The sum over the 4096 states of the variational
    autoencoder's x is not quick."""
    made = conformance.subject(name)
    said = {check: found(check, made) for check in IN_PROCESS if (name, check) != ("vae", "normalisation")}
    assert {check: one.said for check, one in said.items() if one.verdict == FAIL} == {}
    assert said["scalar"].verdict == PASS


def test_a_failure_is_exit_code_one_and_says_what_to_do(file, monkeypatch):
    monkeypatch.setattr(conformance, "CHECKS", (CHECKS["finite"],))
    bad = CliRunner().invoke(cli.app, ["check", file(GOOD.replace("theta[0] -", "math.log(z[0, i]) -"))])
    assert bad.exit_code == 1
    assert bad.output.startswith("fail  finite")
    assert "→ Look for log or sqrt" in bad.output
    assert "0 passed, 1 failed, 0 skipped" in bad.output


def test_why_a_kernel_is_not_packed():
    scalar = subject(logpx.per_sample(normal))
    counts = {"counts": {"multiply128": 3.0, "add128": 1.0}, "called": ["lgamma", "memset"]}
    said = speed._packed(scalar, counts)
    assert said.startswith("0 % of the arithmetic is packed: a per_sample function takes one sample at a time")
    assert said.endswith("lgamma of libm take one number at a time")
    assert "innermost loop" in speed._packed(subject(), counts)
    assert speed.packed_share({"multiply512": 3.0, "divide64_128": 1.0}) == 0.75
    assert speed.packed_share({}) is None


def test_nothing_to_draw_from_is_refused(file, tmp_path):
    path = tmp_path / file(GOOD)
    path.write_text(path.read_text().replace(", prior=prior", ""))
    with pytest.raises(InputError, match="nothing to draw z from"):
        conformance.subject(str(path))
