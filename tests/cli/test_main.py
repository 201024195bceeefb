"""The program `simclrv2`: it lists its commands, finds the recipes, and answers before TensorFlow would."""

from __future__ import annotations

import pathlib
import re
import subprocess
import sys

import pytest

from tests.programs import ROOT
from tf_simclrv2.cli.main import COMMANDS, main
from tf_simclrv2.cli.recipes import with_flagfiles_read
from tf_simclrv2.config import AREAS
from tf_simclrv2.errors import ConfigError
from tf_simclrv2.setting import settings_of

RECIPES = sorted((ROOT / "flags" / "recipes").glob("*.cfg"))
# Flags of `run.py` that are not settings of a run.
OTHER_FLAGS = 5
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


@pytest.fixture(autouse=True)
def _own_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command sets that of the process."""
    monkeypatch.setattr(sys, "argv", sys.argv)


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
    [
        ["--help"],
        ["run", "--help"],
        ["run", "-h"],
        ["run", "--helpfull"],
        ["run", "--lr=1"],
        ["run", "--temperature=-1"],
        ["run", "--dataset=digits"],
        ["auto", "--help"],
        ["auto", "--budget=2h"],
        ["export", "--help"],
        ["export", "--checkpoint=x"],
        ["convert", "--help"],
        ["report", "--model_dir=x"],
        ["doctor", "-h"],
        ["embed", "--help"],
        ["search", "x.npz"],
        ["duplicates", "--help"],
        ["select", "x.npz", "--budget=1"],
        ["data-service", "--help"],
        ["data-service", "--prot=5050"],
        ["rehearse", "--help"],
        ["rehearse", "--dataset=digits"],
        ["serve", "--help"],
        ["serve", "x", "--port=-1"],
    ],
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


def said(*words: str, folder: pathlib.Path = ROOT) -> tuple[int, str]:
    """The exit code of `run.py`, started in a folder, and what it says."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "run.py"), *words],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return done.returncode, done.stdout + done.stderr


def test_help_is_thirty_flags_in_one_screen(tmp_path: pathlib.Path) -> None:
    pages = [said(word, folder=tmp_path) for word in ("--help", "-h")]
    code, page = pages[0]
    assert pages[1] == pages[0] and code == 0
    lines = page.splitlines()
    assert len(lines) <= 50 and max(map(len, lines)) <= 100
    names = re.findall(r"^  --(\w+)", page, re.MULTILINE)
    settings = {setting.flag for area in AREAS.values() for setting in settings_of(area).values()}
    assert len(names) == len(set(names)) == 30 and set(names) - settings == {"doctor"}
    assert "  --learning_rate         Base learning rate" in page and "[0.3]" in page
    assert "  --mode                  What to do: train, eval, train_then_eval [train]" in page
    assert page.rstrip().endswith("--helpfull lists every flag.")
    for recipe in RECIPES:
        assert re.search(rf"[ ,]{recipe.stem}\b", page)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--lr=3"], "--lr is not a flag; use --learning_rate."),
        (["--seed=1", "--epochs", "3"], "--epochs is not a flag; use --train_epochs."),
        (["runs/a"], "'runs/a' is not a flag; every option starts with --."),
        (
            ["--flagfile=quikstart"],
            "flagfile is 'quikstart', which is neither .*; did you mean quickstart\\?",
        ),
        (["--flagfile="], "flagfile is '', which is neither .*"),
        (["--temperature", "--seed=1"], "temperature has no value; pass --temperature=…"),
        (["--temperature"], "temperature has no value; pass --temperature=…"),
        (["--seed=a: b"], "seed is 'a: b'; it must be a whole number."),
        (["--temperature="], "temperature is ''; it must be a number."),
        (["--use_blur=maybe"], "use_blur is 'maybe'; it must be true or false."),
        (
            ['--eval_protocols="online,knn'],
            "eval_protocols is '\"online,knn'; it must be words with commas between them, .*",
        ),
        (
            ["--eval_protocols=online,\nlinear"],
            r"eval_protocols is 'online,\\nlinear'; it must be words with commas .*",
        ),
        (["--mode=test"], "mode is 'test'; choose one of train, eval, train_then_eval."),
        (["--nouse_blur=1"], "--nouse_blur takes no value; write --nouse_blur or --use_blur=1."),
        (["--use_blur", "False"], "'False' is not a flag; write --use_blur=False, with an equals sign."),
        (["--no-blur"], "--no-blur is not a flag; use --nouse_blur."),
        (["--notemperature"], "--notemperature is not a flag; use --temperature."),
        (["--seed 3"], "--seed 3 has a space after the name; write --seed=3."),
        (["--flagfile=quickstart", "--temperature=-1"], "temperature is -1.0; .*"),
        (["--flagfile", "flags/recipes/quickstart.cfg", "--temperature=-1"], "temperature is -1.0; .*"),
    ],
)
def test_a_wrong_flag_is_answered_in_any_folder(
    tmp_path: pathlib.Path, words: list[str], sentence: str
) -> None:
    (tmp_path / "quickstart").mkdir()  # A run of that name is not the recipe.
    code, text = said(*words, folder=tmp_path)
    assert code == 1 and re.fullmatch(f"error: {sentence}\n", text), text


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["finetune"], "'finetune' is not a command; use simclrv2 run --train_mode=finetune."),
        (["doctor", "--dataset=digits"], ".*; to examine a run before it starts, add --doctor to its own .*"),
        (["doctor", "--flagfile=mine"], ".*; to examine a run before it starts, add --doctor to its own .*"),
        (
            ["doctor", "--model_dir=a"],
            ".*; name the model_dir of a run without a flag, as in: .*",
        ),
    ],
)
def test_what_belongs_to_another_command_is_sent_there(
    words: list[str], sentence: str, capsys: pytest.CaptureFixture
) -> None:
    with pytest.raises(SystemExit):
        main(words)
    assert re.fullmatch(f"error: {sentence}\n", capsys.readouterr().err)


@pytest.mark.parametrize("name", ["doctor", "report", "data-service"])
def test_help_names_the_program_as_it_was_started(name: str, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as stop:
        main([name, "--help"])
    assert stop.value.code == 0 and capsys.readouterr().out.startswith(f"usage: simclrv2 {name} ")


def test_the_command_comes_first(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        main(["--seed=1"])
    assert "'--seed=1' is not a command; the command comes first" in capsys.readouterr().err


def words_of(path: pathlib.Path) -> list[str]:
    """The flags in a file."""
    return [line for line in path.read_text().split("\n") if line.startswith("--")]


@pytest.mark.parametrize("name", ["train", "eval"])
def test_the_mode_of_a_command_is_not_that_of_a_recipe(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An evaluation with a recipe trained."""
    seen = []
    monkeypatch.setattr("tf_simclrv2.cli.run.main", lambda: seen.append(sys.argv))
    main([name, "--flagfile=quickstart", "--model_dir=runs/x"])
    script = (
        "import sys; from absl import flags; from tf_simclrv2.cli.flags import define_flags; define_flags()\n"
        "from tf_simclrv2.cli.recipes import with_flagfiles_read\n"
        "flags.FLAGS(with_flagfiles_read(sys.argv)); print(flags.FLAGS.mode)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *seen[0][1:]], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.split() == [name]


@pytest.mark.parametrize("words", [["--mode=train"], ["-mode=train"], ["--mode", "train"]])
def test_a_mode_that_contradicts_the_command_is_refused(words: list[str]) -> None:
    message = "simclrv2 eval stands for --mode=eval, not for --mode=train; use simclrv2 run --mode=train."
    with pytest.raises(SystemExit, match=re.escape(message)):
        main(["eval", *words, "--model_dir=runs/x"])


def test_the_mode_of_a_command_may_be_said_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tf_simclrv2.cli.run.main", lambda: None)
    for words in (["--mode=eval"], ["--mode", "eval"], ["--model_dir"]):
        main(["eval", *words])


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_recipes_are_found_by_name(
    recipe: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in (recipe.stem, recipe.name, f"flags/recipes/{recipe.name}"):
        assert with_flagfiles_read([f"--flagfile={name}", "--seed=1"]) == [*words_of(recipe), "--seed=1"]
        assert with_flagfiles_read(["--flagfile", name]) == words_of(recipe)


def test_a_file_comes_before_the_recipe_of_its_name(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "quickstart.cfg").write_text("--seed=3\n")
    assert with_flagfiles_read(["--flagfile=quickstart.cfg"]) == ["--seed=3"]


def test_a_file_of_flags_may_build_on_a_recipe(tmp_path: pathlib.Path) -> None:
    mine = tmp_path / "mine.cfg"
    mine.write_text("\ufeff# Mine.\n\n--flagfile=quickstart\n  --seed=3 \n// No more.\n")
    recipe = words_of(ROOT / "flags" / "recipes" / "quickstart.cfg")
    assert with_flagfiles_read([f"--flagfile={mine}", "--seed=4"]) == [*recipe, "--seed=3", "--seed=4"]


def test_a_file_of_flags_that_cannot_be_read_is_refused(tmp_path: pathlib.Path) -> None:
    for name, content, fault in (
        ("picture", b"\x89PNG\xff", "which is not text"),
        ("outer", b"--flagfile=absent", "flagfile is 'absent', which is neither"),
        ("circle", b"--flagfile=%s" % bytes(tmp_path / "circle"), "includes itself"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ConfigError, match=fault):
            with_flagfiles_read([f"--flagfile={tmp_path / name}"])


def test_the_full_help_begins_with_the_flags_of_the_program() -> None:
    code, page = said("--helpfull")
    assert code == 0 and page.splitlines()[0] == "usage: python run.py --FLAG=VALUE …"
    settings = {setting.flag for area in AREAS.values() for setting in settings_of(area).values()} - {None}
    named = re.findall(r"^  --(?:\[no\])?(\w+)", page, re.MULTILINE)
    assert settings <= set(named[: len(settings) + OTHER_FLAGS])
