"""README.md keeps its word: its Python runs, its targets and files exist. Exact, but for the example's error.

The example's estimate is checked against the exact log p(x) within 5 standard errors (fixed seed: false alarm 5.7e-7).
"""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", TEXT, flags=re.DOTALL | re.MULTILINE)


def execute(source):
    names = {"__name__": "readme"}
    exec(compile(source, "README.md", "exec"), names)
    return names


def test_there_are_three_python_blocks():
    assert len(BLOCKS) == 3


def test_the_example_finds_the_exact_answer(capsys):
    names = execute(BLOCKS[0])
    est, exact = names["est"], names["model"].log_marginal(names["x"])
    assert abs(est.log_marginal - exact) <= 5 * est.std_error
    assert est.std_error < 0.1
    assert "log p(x) = " in capsys.readouterr().out
    assert len([line for line in BLOCKS[0].splitlines() if line.strip()]) <= 10


def test_the_model_of_ones_own_agrees_with_quadrature():
    """Oracle: SciPy's adaptive quadrature of the same density, written anew."""
    import numpy as np
    from scipy import integrate, stats

    names = execute(BLOCKS[1])
    est = names["est"]

    def density(z):
        return stats.norm.pdf(z) * np.prod(stats.poisson.pmf([3, 1, 4], np.exp(0.5 + z)))

    exact = np.log(integrate.quad(density, -12, 12, epsabs=0, epsrel=1e-10, points=[0.0, 1.0])[0])
    assert est.std_error < 0.05
    assert abs(est.log_marginal - exact) <= 5 * est.std_error


def test_a_run_goes_on_from_its_checkpoint(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = execute(BLOCKS[2])
    est, exact = names["est"], names["model"].log_marginal(names["x"][0])
    assert est.n_samples == 2**25
    assert abs(est.log_marginal - exact) <= 5 * est.std_error
    assert (tmp_path / "run.sqlite").exists()


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\bmake ([a-z]+)(?=  )", TEXT))))
def test_a_named_target_is_in_the_makefile(target):
    assert re.search(rf"^{target}:.*##", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)


def test_linked_and_named_files_exist():
    named = set(re.findall(r"\]\(([^)#:]+)\)", TEXT)) | set(re.findall(r"`((?:kernels|bench|reports)/[\w/.]+)`", TEXT))
    assert len(named) > 5
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []
