"""The tutorial's commands, typed as they stand, in a copy of the checkout."""

import pathlib
import re
import shutil

from tests.docs.typed_commands import ROOT, Shell, commands_of, make_program

# Step 1 makes .venv from the network; here its interpreter is the one that runs the tests.
INSTALLATION = ("git clone", "cd ", "make install")
TIME_LIMIT = 900


def _copy_checkout(folder: pathlib.Path) -> None:
    """What a clone has, and an interpreter. Its recipes are cut to one epoch; commands stay as they are."""
    for name in ("flags", "export", "tf_simclrv2", "docs/examples"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "run.py", folder)
    for recipe in (folder / "flags" / "recipes").glob("own_folder*.cfg"):
        recipe.write_text(re.sub(r"(--\w+_epochs)=\d+", r"\1=1", recipe.read_text()))
    make_program(folder / ".venv" / "bin" / "python")


def test_the_tutorial_as_typed(tmp_path: pathlib.Path) -> None:
    _copy_checkout(tmp_path)
    shell = Shell(tmp_path, checkout=tmp_path)
    said = ""
    for command in commands_of("tutorial.md"):
        if not command.startswith(INSTALLATION):
            said += shell.type(command, TIME_LIMIT)
    assert "500 pictures of 5 classes" in said
    assert "linear evaluation on frozen features" in said
    assert "image_size 16, background white: from runs/mine\n" in said
    for run in ("mine", "mine_finetuned", "mine_distilled"):
        assert (tmp_path / "runs" / run / "report.html").stat().st_size > 10_000
    assert re.search(r"ring/080\.png (circle|cross|ring|square|triangle) [01]\.\d{3}", said)
    assert re.search(r"^1\.0000 pictures/test/ring/080\.png$", said, re.MULTILINE)
