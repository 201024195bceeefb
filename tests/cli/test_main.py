"""The program `simclrv2`: it lists its commands, finds the recipes, and answers before TensorFlow would."""

from __future__ import annotations

import pathlib
import subprocess
import sys

import pytest

from tests.programs import ROOT
from tf_simclrv2.cli.main import COMMANDS, main
from tf_simclrv2.cli.recipes import with_recipes_found

RECIPES = sorted((ROOT / "flags" / "recipes").glob("*.cfg"))
# Runs a command, and reports the heavy packages that it imported.
WATCHED = """
import sys
from tf_simclrv2.cli.main import main
try:
    main(sys.argv[1:])
except SystemExit:
    pass
print([name for name in ("tensorflow", "keras") if name in sys.modules])
"""


def test_every_command_is_listed(capsys: pytest.CaptureFixture) -> None:
    main(["--help"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[2 : 2 + len(COMMANDS)]] == list(COMMANDS)


def test_a_word_that_is_not_a_command_is_refused(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["exprt"])
    assert stop.value.code == 2
    assert "'exprt' is not a command; did you mean export?" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [["--help"], ["run", "--help"], ["run", "--temperature=-1"], ["export", "--help"], ["convert", "--help"]],
)
def test_what_needs_no_tensorflow_does_not_import_it(words: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_recipes_are_found_by_name(recipe: pathlib.Path) -> None:
    for name in (recipe.stem, recipe.name):
        assert with_recipes_found([f"--flagfile={name}", "--seed=1"]) == [f"--flagfile={recipe}", "--seed=1"]


def test_a_file_comes_before_the_recipe_of_its_name(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "quickstart.cfg").write_text("--seed=3\n")
    assert with_recipes_found(["--flagfile=quickstart.cfg"]) == ["--flagfile=quickstart.cfg"]
    assert with_recipes_found(["--flagfile=mine"]) == ["--flagfile=mine"]
