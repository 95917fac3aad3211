"""The whole chain reads the same as plain Python: NUMBA_DISABLE_JIT=1 gives what the machine code gives.

Fused multiply-adds are the only difference, so values agree to a few units in the last place.
"""

import json
import os
import subprocess
import sys

import numpy as np

SCRIPT = """
import json, logpx, numpy as np
model, x = logpx.models.PPCA.example()
est = logpx.estimate(model, x[0], n_samples=2500, groups=(50,), threads=1)
wide = logpx.Ladder().update(np.linspace(-3000.0, 5.0, 1100))
zeros = logpx.Ladder().update(np.where(np.arange(1024) % 3, -np.inf, 1.0))
read = [est.log_marginal, est.std_error, est.elbo, est.bound(50).value, est.bound(64).value, est.richardson(8).value,
        est.ess, wide.bound(16).value, wide.estimate().log_marginal, zeros.estimate().log_marginal,
        float(logpx.logsumexp(np.arange(1500.0)))]
print(json.dumps([read, logpx.facts()["jit"]]))
"""


def run(**environment):
    made = subprocess.run(
        [sys.executable, "-W", "error", "-c", SCRIPT],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(made.stdout)


def test_plain_python_gives_the_same():
    plain, said = run(NUMBA_DISABLE_JIT="1")
    compiled, said_compiled = run(NUMBA_DISABLE_JIT="0")
    assert (said, said_compiled) == ("disabled", "enabled")
    np.testing.assert_allclose(plain, compiled, rtol=1e-12)
