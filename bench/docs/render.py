"""Runs the code on the pages of these docs and puts what it prints, and the figure that it draws, back into them.

    python bench/docs/render.py

A block of Python whose first line is a comment naming a file is put into that file, at its end if the comment says
"further down"; any other is executed, all of them in one namespace. A shell block's commands begin with `logpx`. A text
block is what the block before it printed. All of it happens in a folder that is empty at the start. The tests render
the pages and compare: so no number on them is typed. Cost: half a minute.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
PAGE, VAE_PAGE = HERE / "your-own-model.md", HERE / "your-own-vae.md"
#: The figure on the page, and where its commands draw it.
FIGURE, DRAWN = HERE / "your-own-model.svg", Path("results", "report", "figures", "error_against_k--my_model.svg")
_BLOCK = re.compile(r"^```(python|sh|text)\n(.*?)^```$", flags=re.DOTALL | re.MULTILINE)
_FILE = re.compile(r"# (\w+\.py)(, further down)?\n")


def rendered(text: str, folder: Path) -> str:
    """The page with the outputs that its code has when it is run in a folder."""
    names: dict[str, Any] = {"__name__": "page"}
    printed = ""

    def replaced(found: re.Match[str]) -> str:
        nonlocal printed
        kind, source = found.groups()
        if kind == "text":
            return f"```text\n{printed}```"
        printed = _python(source, names, folder) if kind == "python" else _shell(source, folder)
        return found.group()

    with _inside(folder):
        return _BLOCK.sub(replaced, text)


def _python(source: str, names: dict[str, Any], folder: Path) -> str:
    file = _FILE.match(source)
    if file is not None:
        with (folder / file[1]).open("a" if file[2] else "w", encoding="utf-8") as out:
            out.write("\n\n" * bool(file[2]) + source[file.end() :])
        return ""
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(compile(source, "a page of the docs", "exec"), names)
    return out.getvalue()


def _shell(source: str, folder: Path) -> str:
    printed = ""
    for line in source.splitlines():
        command = [sys.executable, "-m", "logpx_bench.cli", *shlex.split(line)[1:]]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"{line}: exit code {done.returncode}: {done.stdout}{done.stderr}")
        lines = [one.rstrip() for one in done.stdout.replace(f"{folder.resolve()}{os.sep}", "").splitlines()]
        printed += "".join(f"{one}\n" for one in lines if one)
    return printed


@contextlib.contextmanager
def _inside(folder: Path) -> Any:
    """The folder as the working folder, and first on the path."""
    before, path = Path.cwd(), list(sys.path)
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        os.chdir(before)
        sys.path[:] = path
        for name in ("my_model", "my_vae"):
            sys.modules.pop(name, None)


def main() -> None:
    """Render both pages in place."""
    with tempfile.TemporaryDirectory() as name:
        text = rendered(PAGE.read_text(encoding="utf-8"), Path(name))
        shutil.copyfile(Path(name) / DRAWN, FIGURE)
    PAGE.write_text(text, encoding="utf-8", newline="\n")
    with tempfile.TemporaryDirectory() as name:
        text = rendered(VAE_PAGE.read_text(encoding="utf-8"), Path(name))
    VAE_PAGE.write_text(text, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
