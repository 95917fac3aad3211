"""The examples in other frameworks run, and find the exact log p(x); and what those frameworks hand over is taken.

They run on the Python of `make peers`, or on this one, where it has the framework; elsewhere they are listed as
skipped, with the reason. Statistical: a seed each, fixed; |z| < 5 raises a false alarm once in 1.7e6 seeds. The
standard error is below 0.01 nats, so that an error of 0.1 is detected.
"""

import functools
import os
import re
import subprocess
from pathlib import Path

import pytest

from logpx_bench.peers.pool import interpreter

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "bench" / "examples"
FRAMEWORK = {"pytorch_vae": "torch", "jax_vae": "jax"}
#: Run by test_export.py.
EXPORTS = {"export_vae", "export_torch", "export_jax", "train_digits"}

HANDED_OVER = {
    "torch": """
import torch as t
weights = t.linspace(-3, 0, 5000, dtype=t.float64)
same = [weights, weights.clone().requires_grad_(), weights.flip(0).flip(0), weights.expand(2, -1)[1]]
refused = [weights.bfloat16(), weights.half(), weights.to(t.complex128), weights > -1, weights.to("meta"),
           weights.to_sparse()]
""",
    "jax": """
import jax
jax.config.update("jax_enable_x64", True)
import jax.numpy as jnp
weights = jnp.linspace(-3, 0, 5000)
same = [weights, weights + 0, jax.device_get(weights)]
refused = [weights.astype(jnp.bfloat16), weights.astype(jnp.float16), weights + 0j, weights > -1, jax.random.key(0)]
""",
}
TAKEN = """
import numpy as np, logpx
whole = logpx.Ladder().update(np.asarray(weights))
for one in same:
    assert logpx.Ladder().update(one) == whole
    assert logpx.Ladder().update(one[2000:], 2000).update(one[:2000]) == whole
    assert logpx.logsumexp(one) == logpx.logsumexp(np.asarray(weights))
for one in refused:
    try:
        logpx.Ladder().update(one)
    except logpx.InputError as error:
        print(f"refused: {error}")
    else:
        raise SystemExit(f"{one.dtype} was taken")
"""


@functools.cache
def python_with(framework):
    """A Python that has it, or a skip that says what to do."""
    python = interpreter(framework)
    if subprocess.run([python, "-c", f"import {framework}"], capture_output=True, check=False).returncode:
        pytest.skip(
            f"{framework} is not installed here; `make peers` installs it, and LOGPX_PEERS_PYTHON names another"
        )
    return python


def run(framework, *arguments):
    paths = os.pathsep.join(str(ROOT / folder) for folder in ("kernels", "bench"))
    environment = os.environ | {"PYTHONPATH": paths, "JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.run(
        [python_with(framework), *arguments], env=environment, capture_output=True, text=True, check=False, timeout=300
    )


def test_every_example_is_run_here():
    assert {path.stem for path in EXAMPLES.glob("*.py")} == set(FRAMEWORK) | EXPORTS


@pytest.mark.parametrize("name", FRAMEWORK)
def test_the_example_finds_the_exact_answer(name):
    done = run(FRAMEWORK[name], EXAMPLES / f"{name}.py", "17")
    assert done.returncode == 0, done.stdout + done.stderr
    found = re.match(r"log p\(x\) = (\S+) ± (\S+) nats; exactly (\S+), z = (\S+)\n", done.stdout)
    value, error, exact, z = map(float, found.groups())
    assert 0 < error < 0.01
    assert abs(value - exact) < 5 * error + 1e-4
    assert abs(z) < 5
    assert f"of {1 << 17}" in done.stdout


@pytest.mark.parametrize("framework", HANDED_OVER)
def test_what_the_framework_hands_over_is_taken_or_refused(framework):
    done = run(framework, "-c", HANDED_OVER[framework] + TAKEN)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("refused: log weights") >= 5
