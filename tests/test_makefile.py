"""The Makefile's messages: what a newcomer reads where Python is too old, missing, or without venv. Exact.

A stand-in for Python answers as each of those would; nothing is installed, and the environment's folder is a
temporary one.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="there is no make on this machine")

OLD = """#!/bin/sh
case "$*" in --version) echo Python 3.9.6;; *) exit 1;; esac
"""
WITHOUT_VENV = """#!/bin/sh
case "$*" in --version) echo Python 3.12.0;; *ensurepip*) exit 1;; *) exit 0;; esac
"""
WITHOUT_PIP = """#!/bin/sh
case "$*" in
    "-m venv "*) mkdir -p "$3/bin" && printf '#!/bin/sh\\nexit 1\\n' > "$3/bin/python" && chmod +x "$3/bin/python";;
    *) exit 0;;
esac
"""


def make(*arguments, path=None):
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    if path is not None:
        environment["PATH"] = path
    program = shutil.which("make")
    return subprocess.run([program, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)


def stand_in(folder, source):
    path = folder / "python"
    path.write_text(source, encoding="utf-8")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (OLD, ["3.11 or later", "Python 3.9.6", "make PYTHON="]),
        (WITHOUT_VENV, ["without venv or pip", "python3-venv"]),
        (WITHOUT_PIP, ["is broken", "make distclean"]),
    ],
    ids=["too old", "without venv", "without pip"],
)
@pytest.mark.parametrize("target", ["report", "test"])
def test_a_python_that_will_not_do_is_named(tmp_path, source, words, target):
    venv = tmp_path / "venv"
    done = make(target, f"PYTHON={stand_in(tmp_path, source)}", f"VENV={venv}")
    assert done.returncode != 0
    assert all(word in done.stderr for word in words), done.stderr
    assert "Traceback" not in done.stderr
    assert not list(venv.glob(".installed-*"))


def test_no_python_at_all_is_said(tmp_path):
    """A path with the shell's own tools on it and no Python."""
    for tool in ("sh", "printf", "cksum", "cut", "sed", "test"):
        if found := shutil.which(tool):
            (tmp_path / tool).symlink_to(found)
    done = make("report", f"VENV={tmp_path / 'venv'}", path=str(tmp_path))
    assert done.returncode != 0
    assert "none was found on the path" in done.stderr


def test_help_lists_every_target():
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.search(r"^\.PHONY: (.*)$", text, flags=re.MULTILINE)[1].split())
    listed = {line.split()[0] for line in make().stdout.splitlines() if line.startswith("  ")}
    assert listed == targets
