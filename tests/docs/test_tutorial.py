"""The tutorial's commands, typed as they stand, in a copy of the checkout."""

import pathlib
import re
import shlex
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
# Step 1 makes .venv from the network; here its interpreter is the one that runs the tests.
INSTALLATION = ("git clone", "cd ", "make install")
TIME_LIMIT = 300


def _commands() -> list[str]:
    text = (ROOT / "docs" / "tutorial.md").read_text()
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    lines = re.findall(r"^    (\S.*)$", re.sub(r"\\\n\s*", "", prose), re.MULTILINE)
    return [line for line in lines if not line.startswith(INSTALLATION)]


def _copy_checkout(folder: pathlib.Path) -> None:
    """What a clone has, and an interpreter. Its recipes are cut to one epoch; commands stay as they are."""
    for name in ("flags", "export", "tf_simclrv2", "docs/examples"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "run.py", folder)
    for recipe in (folder / "flags" / "recipes").glob("own_folder*.cfg"):
        recipe.write_text(re.sub(r"(--\w+_epochs)=\d+", r"\1=1", recipe.read_text()))
    python = folder / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
    python.chmod(0o755)


def test_the_tutorial_as_typed(tmp_path: pathlib.Path) -> None:
    _copy_checkout(tmp_path)
    said = ""
    for command in _commands():
        done = subprocess.run(
            command,
            shell=True,
            cwd=tmp_path,
            env={
                "PATH": "/usr/bin:/bin",
                "HOME": str(tmp_path),
                "PYTHONPATH": str(tmp_path),
                "CUDA_VISIBLE_DEVICES": "",
            },
            capture_output=True,
            text=True,
            timeout=TIME_LIMIT,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
        said += done.stdout
    assert "500 pictures of 5 classes" in said
    assert "linear evaluation on frozen features" in said
    assert "image_size 16, background white: from runs/mine\n" in said
    for run in ("mine", "mine_finetuned", "mine_distilled"):
        assert (tmp_path / "runs" / run / "report.html").stat().st_size > 10_000
    assert re.search(r"ring/080\.png (circle|cross|ring|square|triangle) [01]\.\d{3}", said)
    assert re.search(r"^1\.0000 pictures/test/ring/080\.png$", said, re.MULTILINE)
